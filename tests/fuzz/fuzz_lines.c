/*
 * The line protocols against any bytes: each must not crash, must give an end that is one, in words
 * that print, and the same one however the bytes are cut.
 * An input is one byte that chooses scheme and settings, one that gives the length of the pieces,
 * and then what the peer sends before it closes: in clear up to a byte 0xff, after it inside TLS.
 */
#include "fuzz.h"

#include "../dialogue/transcript.h"

#include <healthsvc/probe.h>

const char *const fuzz_corpus = "lines";

static const struct {
    const char *scheme;
    struct transcript row;
} choices[] = {
    {"redis", {.settings = NULL}},
    {"redis", {.settings = "role = \"master\";", .secret = "x"}},
    {"redis", {.settings = "role = \"replica\";"}},
    {"smtp", {.settings = NULL}},
    {"smtp", {.settings = "starttls = true;"}},
    {"imap", {.settings = NULL}},
    {"imap", {.settings = "starttls = true;"}},
    {"pop3", {.settings = "starttls = true;"}},
    {"ftp", {.settings = NULL}},
    {"ftp", {.settings = "starttls = true;"}},
    {"nats", {.user = "u", .secret = "p"}},
    {"nats", {.settings = "starttls = true;"}},
    {"memcached", {.settings = NULL}},
    {"zookeeper", {.settings = NULL}},
    {"ssh", {.settings = NULL}},
};
#define CHOICES (sizeof choices / sizeof choices[0])

static const struct target_conf *conf_of(uint8_t choice)
{
    static struct target_conf confs[CHOICES];
    static bool made;
    for (size_t i = 0; i < CHOICES && !made; i++) {
        struct strbuf why;
        strbuf_init(&why, 200);
        if (transcript_prepare(scheme_find(choices[i].scheme), &choices[i].row, &confs[i], &why) !=
            0)
            abort();
        strbuf_done(&why);
    }
    made = true;
    return &confs[choice % CHOICES];
}

/* A verdict that the engine can publish. */
static bool is_sound(const struct transcript_end *end)
{
    const struct dlg_result *r = &end->result;
    if (end->step != DLG_DONE || r->outcome <= OUTCOME_FIRST_UNUSED ||
        r->outcome >= OUTCOME_COUNT || r->http_status != 0)
        return false;
    for (size_t i = 0; i < sizeof r->text && r->text[i] != '\0'; i++) {
        if (r->text[i] < ' ' || r->text[i] > '~')
            return false;
    }
    return memchr(r->text, '\0', sizeof r->text) != NULL;
}

/* Whether clear text behind the go-ahead came in one piece with it decides who sees it: the
 * dialogue, or TLS. */
static bool same(const struct transcript_end *a, const struct transcript_end *b)
{
    if (a->clear_behind > 0 || b->clear_behind > 0)
        return true;
    return a->result.outcome == b->result.outcome && strcmp(a->result.text, b->result.text) == 0 &&
           strcmp(a->sent.data, b->sent.data) == 0;
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    if (size < 2)
        return 0;
    const struct target_conf *conf = conf_of(data[0]);
    const uint8_t *at = data + 2;
    const uint8_t *mark = memchr(at, 0xff, size - 2);
    size_t clear_len = mark != NULL ? (size_t)(mark - at) : size - 2;
    const struct transcript_bytes clear = {(const char *)at, clear_len};
    const struct transcript_bytes secured = {(const char *)at + clear_len + (mark != NULL),
                                             size - 2 - clear_len - (mark != NULL)};
    size_t piece = (size_t)data[1] + 1;
    struct transcript_end whole, cut;
    transcript_feed(conf, clear, secured, SIZE_MAX, SIZE_MAX, true, &whole);
    transcript_feed(conf, clear, secured, piece, piece, true, &cut);
    if (!is_sound(&whole) || !is_sound(&cut) || !same(&whole, &cut))
        abort();
    strbuf_done(&whole.sent);
    strbuf_done(&cut.sent);
    return 0;
}
