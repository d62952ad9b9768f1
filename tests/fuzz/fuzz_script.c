/*
 * The script dialogue against any bytes: it must not crash and must give an end that is one, the
 * same however the bytes are cut. A script that turns to TLS is left out: whether bytes in clear
 * come with the go-ahead or behind it is a matter of cuts.
 * An input is one byte that chooses the script, one that gives the length of the pieces, and then
 * what the peer sends before it closes.
 */
#include "fuzz.h"

#include "../dialogue/transcript.h"

#include <healthsvc/probe.h>

extern const struct scheme scheme_tcp;

const char *const fuzz_corpus = "script";

static const struct transcript settings[] = {
    {.settings = "script = ( \"send_line PING\", \"expect +PONG\" );"},
    {.settings = "script = ( \"expect 220\", \"send_line EHLO\", \"expect_match ^250 \" );"},
    {.settings = "script = ( \"expect_hex 00 01\", \"expect a\", \"expect_match (b+)+$\", "
                 "\"expect_hex ff\", \"expect_match x\", \"send end\" );"},
};
#define SETTINGS_COUNT (sizeof settings / sizeof settings[0])

static const struct target_conf *conf_of(uint8_t choice)
{
    static struct target_conf confs[SETTINGS_COUNT];
    static bool made;
    for (size_t i = 0; i < SETTINGS_COUNT && !made; i++) {
        struct strbuf why;
        strbuf_init(&why, 200);
        if (transcript_prepare(&scheme_tcp, &settings[i], &confs[i], &why) != 0)
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
    if (end->step != DLG_DONE || r->outcome <= OUTCOME_FIRST_UNUSED || r->outcome >= OUTCOME_COUNT)
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
    if (bytes.len > 60000)
        return 0; /* the engine's byte limit comes before */
    transcript_feed(conf, bytes, none, SIZE_MAX, SIZE_MAX, true, &whole);
    transcript_feed(conf, bytes, none, piece, piece, true, &cut);
    if (!is_sound(&whole) || whole.result.outcome != cut.result.outcome ||
        strcmp(whole.result.text, cut.result.text) != 0)
        abort();
    strbuf_done(&whole.sent);
    strbuf_done(&cut.sent);
    return 0;
}
