/*
 * The HTTP dialogue against any bytes: it must not crash, must not send a thing after its request,
 * must give an end that is one, and the same one however the bytes are cut.
 * An input is one byte that chooses the settings, one that gives the length of the pieces, and then
 * what the peer sends before it closes.
 */
#ifdef HAVE_CONFIG_H
#include <config.h>
#endif

#include "fuzz.h"

#include "../dialogue/transcript.h"

#include <healthsvc/probe.h>

extern const struct scheme scheme_http;

const char *const fuzz_corpus = "http";

static const struct transcript settings[] = {
    {.settings = NULL},
    {.settings = "method = \"HEAD\"; expect_status = [ \"2xx\", \"3xx\" ];"},
    {.settings = "expect_body = \"(?s)^(up.*)+$\"; expect_status = [ \"2xx\", \"4xx\", \"5xx\" ];"},
    {.settings = "expect_headers = [ \"X-A: ^(b+)+$\", \"!X-B\" ];"},
#ifdef HAVE_JANSSON
    {.settings = "expect_json = [ \"/a/0 >= 1\", \"!/e\" ];"},
    {.settings = "expect_json = \"/a = b\"; invert = true;"},
#endif
};
#define SETTINGS_COUNT (sizeof settings / sizeof settings[0])

static const struct target_conf *conf_of(uint8_t choice)
{
    static struct target_conf confs[SETTINGS_COUNT];
    static bool made;
    for (size_t i = 0; i < SETTINGS_COUNT && !made; i++) {
        struct strbuf why;
        strbuf_init(&why, 200);
        if (transcript_prepare(&scheme_http, &settings[i], &confs[i], &why) != 0)
            abort();
        strbuf_done(&why);
    }
    made = true;
    return &confs[choice % SETTINGS_COUNT];
}

/* A verdict that the engine can publish. */
static bool is_sound(const struct transcript_end *end)
{
    const struct dlg_result *r = &end->result;
    if (end->step != DLG_DONE || r->outcome <= OUTCOME_FIRST_UNUSED ||
        r->outcome >= OUTCOME_COUNT || r->http_status < 0 || r->http_status > 999 ||
        (r->outcome == OUTCOME_OK && r->http_status < 200))
        return false;
    for (size_t i = 0; i < sizeof r->text && r->text[i] != '\0'; i++) {
        if (r->text[i] < ' ' || r->text[i] > '~')
            return false;
    }
    return memchr(r->text, '\0', sizeof r->text) != NULL;
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    if (size < 2)
        return 0;
    const struct target_conf *conf = conf_of(data[0]);
    const struct transcript_bytes bytes = {(const char *)data + 2, size - 2};
    const struct transcript_bytes none = {NULL, 0};
    size_t piece = (size_t)data[1] + 1;
    struct transcript_end whole, cut;
    transcript_feed(conf, bytes, none, SIZE_MAX, SIZE_MAX, true, &whole);
    transcript_feed(conf, bytes, none, piece, piece, true, &cut);
    if (!is_sound(&whole) || whole.result.outcome != cut.result.outcome ||
        whole.result.http_status != cut.result.http_status ||
        strcmp(whole.result.text, cut.result.text) != 0 ||
        strcmp(whole.sent.data, cut.sent.data) != 0)
        abort();
    strbuf_done(&whole.sent);
    strbuf_done(&cut.sent);
    return 0;
}
