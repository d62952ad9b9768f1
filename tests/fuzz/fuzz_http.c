/* The HTTP dialogue against any bytes; nor may it send a thing after its request. */
#ifdef HAVE_CONFIG_H
#include <config.h>
#endif

#include "fuzz_dialogue.h"

const char *const fuzz_corpus = "http";

static const struct fuzz_subject subjects[] = {
    {"http", {.settings = NULL}},
    {"http", {.settings = "method = \"HEAD\"; expect_status = [ \"2xx\", \"3xx\" ];"}},
    {"http",
     {.settings =
          "expect_body = \"(?s)^(up.*)+$\"; expect_status = [ \"2xx\", \"4xx\", \"5xx\" ];"}},
    {"http", {.settings = "expect_headers = [ \"X-A: ^(b+)+$\", \"!X-B\" ];"}},
#ifdef HAVE_JANSSON
    {"http", {.settings = "expect_json = [ \"/a/0 >= 1\", \"!/e\" ];"}},
    {"http", {.settings = "expect_json = \"/a = b\"; invert = true;"}},
#endif
};

static bool same(const struct transcript_end *whole, const struct transcript_end *cut)
{
    return fuzz_same(whole, cut) &&
           (whole->result.outcome != OUTCOME_OK || whole->result.http_status >= 200);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    return fuzz_input(subjects, sizeof subjects / sizeof subjects[0], data, size, same);
}
