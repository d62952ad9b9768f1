/* Every fuzz target. One program holds them all, so a new one is a file and a row. */
#ifdef HAVE_CONFIG_H
#include <config.h>
#endif

#include "fuzz.h"

static const struct fuzz_target targets[] = {
    {"http", fuzz_dialogue},     {"lines", fuzz_dialogue}, {"binary", fuzz_dialogue},
    {"script", fuzz_dialogue},
#ifdef HAVE_NGHTTP2
    {"grpc", fuzz_dialogue},
#endif
    {"probes", fuzz_probes},     {"dns", fuzz_dns},        {"names", fuzz_names},
    {"perfdata", fuzz_perfdata},
#ifdef HAVE_JANSSON
    {"json", fuzz_json},
#endif
    {"config", fuzz_config},     {"units", fuzz_units},    {"request", fuzz_request},
    {"server", fuzz_server},     {"query", fuzz_query},
};
#define TARGETS (sizeof targets / sizeof targets[0])

const struct fuzz_target *fuzz_target_at(size_t i)
{
    return i < TARGETS ? &targets[i] : NULL;
}

const struct fuzz_target *fuzz_target_find(const char *name)
{
    for (size_t i = 0; i < TARGETS; i++) {
        if (strcmp(targets[i].name, name) == 0)
            return &targets[i];
    }
    return NULL;
}
