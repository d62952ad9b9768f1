/*
 * The gRPC dialogue against any bytes: it must not crash, and must give an end that is one. An input
 * is one byte that gives the length of the pieces, and then what the peer sends before it closes.
 * How the bytes are cut may decide which of two faults is met first, so only good ends are compared.
 */
#include "fuzz.h"

#include "../dialogue/transcript.h"

#include <healthsvc/probe.h>

extern const struct scheme scheme_grpc;

const char *const fuzz_corpus = "grpc";

static const struct target_conf *the_conf(void)
{
    static const struct transcript settings = {.settings = "service = \"trips\";"};
    static struct target_conf conf;
    static bool made;
    struct strbuf why;
    if (made)
        return &conf;
    strbuf_init(&why, 200);
    if (transcript_prepare(&scheme_grpc, &settings, &conf, &why) != 0)
        abort();
    strbuf_done(&why);
    made = true;
    return &conf;
}

static bool is_sound(const struct transcript_end *end)
{
    const struct dlg_result *r = &end->result;
    if (end->step != DLG_DONE || r->outcome <= OUTCOME_FIRST_UNUSED ||
        r->outcome >= OUTCOME_COUNT || r->http_status < 0 || r->http_status > 999 ||
        memchr(r->text, '\0', sizeof r->text) == NULL)
        return false;
    for (const char *p = r->text; *p != '\0'; p++) {
        if (*p < ' ' || *p > '~')
            return false;
    }
    return true;
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    if (size < 1)
        return 0;
    const struct transcript_bytes bytes = {(const char *)data + 1, size - 1};
    const struct transcript_bytes none = {NULL, 0};
    size_t piece = (size_t)data[0] + 1;
    struct transcript_end whole, cut;
    transcript_feed(the_conf(), bytes, none, SIZE_MAX, SIZE_MAX, true, &whole);
    transcript_feed(the_conf(), bytes, none, piece, piece, true, &cut);
    if (!is_sound(&whole) || !is_sound(&cut) ||
        (whole.result.outcome == OUTCOME_OK && cut.result.outcome != OUTCOME_OK))
        abort();
    strbuf_done(&whole.sent);
    strbuf_done(&cut.sent);
    return 0;
}
