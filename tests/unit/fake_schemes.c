/* fake_schemes.c: a small table of schemes in the place of the probes' (src/probe/scheme.c), so that
 * the tests of the configuration depend on nothing but the configuration. Every public function of
 * that file is here, so that the linker never takes the real one from the library. */
#include "fake_schemes.h"

#include <errno.h>
#include <stddef.h>
#include <string.h>

#include <healthsvc/keys.h>
#include <healthsvc/strbuf.h>

int fake_prepared, fake_released;

/* What a built scheme has; nobody calls it. */
struct probe_ops {
    int unused;
};
static const struct probe_ops fake_ops;
struct dialogue {
    int unused;
};
static const struct dialogue fake_dialogue;

static int read_even(const config_setting_t *setting, void *dest, struct strbuf *why)
{
    int *even = dest;
    if (setting == NULL) {
        *even = 2;
        return 0;
    }
    *even = config_setting_get_int(setting);
    if (*even % 2 == 0)
        return 0;
    strbuf_addf(why, "is odd (%d)", *even);
    return -EINVAL;
}

static const struct key_row http_keys[] = {
    {.name = "method",
     .type = KEY_STRING,
     .flags = KEY_ASKED | KEY_SENT,
     .offset = offsetof(struct fake_http_conf, method),
     .min = 1,
     .max = 16,
     .default_text = "GET",
     .sentence = "the request's method"},
    {.name = "headers",
     .type = KEY_TEXT_LIST,
     .flags = KEY_ASKED,
     .offset = offsetof(struct fake_http_conf, headers),
     .min = 3,
     .max = 100,
     .sentence = "further header lines"},
    {.name = "even",
     .type = KEY_CUSTOM,
     .flags = KEY_JUDGED,
     .offset = offsetof(struct fake_http_conf, even),
     .custom = read_even,
     .custom_bytes = sizeof(int),
     .shown_default = "2",
     .sentence = "an even number"},
    KEYS_END,
};

/* A method may not be "BREW"; the sentence names the setting. */
static int http_prepare(struct target_conf *conf, struct strbuf *why)
{
    const struct fake_http_conf *http = conf->scheme_conf;
    if (strcmp(http->method, "BREW") != 0)
        return 0;
    strbuf_adds(why, "'method' is BREW: this is a 'teapot'");
    return -EINVAL;
}

static const struct scheme fake_table[] = {
    {.name = "tcp", .ops = &fake_ops, .dialogue = &fake_dialogue},
    {.name = "tls", .flags = SCHEME_TLS, .ops = &fake_ops},
    {.name = "http",
     .port = 80,
     .flags = SCHEME_PATH | SCHEME_SECRET | SCHEME_REUSE,
     .conf_size = sizeof(struct fake_http_conf),
     .keys = http_keys,
     .prepare = http_prepare,
     .ops = &fake_ops,
     .dialogue = &fake_dialogue},
    {.name = "https",
     .port = 443,
     .flags = SCHEME_TLS | SCHEME_PATH | SCHEME_SECRET | SCHEME_REUSE,
     .conf_size = sizeof(struct fake_http_conf),
     .keys = http_keys,
     .prepare = http_prepare,
     .ops = &fake_ops},
    {.name = "redis"},
    {.name = "exec"},
};

const struct scheme *scheme_at(size_t i)
{
    return i < sizeof fake_table / sizeof fake_table[0] ? &fake_table[i] : NULL;
}

const struct scheme *scheme_find(const char *name)
{
    for (size_t i = 0; scheme_at(i) != NULL; i++) {
        if (strcmp(scheme_at(i)->name, name) == 0)
            return scheme_at(i);
    }
    return NULL;
}

const char *probe_phase_token(enum probe_phase phase)
{
    (void)phase;
    return "none";
}

int probe_prepare(struct config *config, struct target_conf *conf, struct strbuf *why)
{
    (void)config;
    fake_prepared++;
    if (conf->tls.ca_file != NULL && strstr(conf->tls.ca_file, "missing") != NULL) {
        strbuf_addf(why, "'ca_file': cannot read %s", conf->tls.ca_file);
        return -EINVAL;
    }
    return conf->scheme->prepare != NULL ? conf->scheme->prepare(conf, why) : 0;
}

void probe_release(struct target_conf *conf)
{
    (void)conf;
    fake_released++;
}
