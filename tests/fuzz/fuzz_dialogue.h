/*
 * fuzz_dialogue.h: what fuzz targets that play a dialogue share.
 *
 * An input is one byte that chooses scheme and settings, one that gives the length of the pieces,
 * and then what the peer sends before it closes. It is played whole, and cut into pieces: each must
 * come to an end that the engine can publish, in words that print, and both to the same.
 * Threads: main only. Errors: abort().
 */
#ifndef HEALTHSVC_FUZZ_DIALOGUE_H
#define HEALTHSVC_FUZZ_DIALOGUE_H

#include "../dialogue/transcript.h"
#include "fuzz.h"

#include <healthsvc/probe.h>

#include <stdlib.h>
#include <string.h>

/* What is asked, and how. A corpus names them by number: append only. */
struct fuzz_subject {
    const char *scheme;
    struct transcript row;
};

/* The target of a subject; all are made at the first call. */
static inline const struct target_conf *fuzz_conf(const struct fuzz_subject *subjects, size_t count,
                                                  uint8_t choice)
{
    static struct target_conf *confs;
    if (confs == NULL) {
        confs = calloc(count, sizeof *confs);
        for (size_t i = 0; i < count; i++) {
            struct strbuf why;
            strbuf_init(&why, 200);
            if (confs == NULL || transcript_prepare(scheme_find(subjects[i].scheme),
                                                    &subjects[i].row, &confs[i], &why) != 0)
                abort();
            strbuf_done(&why);
        }
    }
    return &confs[choice % count];
}

/* A verdict that the engine can publish. */
static inline bool fuzz_sound(const struct transcript_end *end)
{
    const struct dlg_result *r = &end->result;
    if (end->step != DLG_DONE || r->outcome <= OUTCOME_FIRST_UNUSED ||
        r->outcome >= OUTCOME_COUNT || r->http_status < 0 || r->http_status > 999)
        return false;
    for (size_t i = 0; i < sizeof r->text && r->text[i] != '\0'; i++) {
        if (r->text[i] < ' ' || r->text[i] > '~')
            return false;
    }
    return memchr(r->text, '\0', sizeof r->text) != NULL;
}

/* Whether whole and cut came to the same. */
typedef bool (*fuzz_same_fn)(const struct transcript_end *whole, const struct transcript_end *cut);

/* The same words after the same bytes sent. */
static inline bool fuzz_same(const struct transcript_end *whole, const struct transcript_end *cut)
{
    return whole->result.outcome == cut->result.outcome &&
           whole->result.http_status == cut->result.http_status &&
           strcmp(whole->result.text, cut->result.text) == 0 && whole->sent.len == cut->sent.len &&
           memcmp(whole->sent.data, cut->sent.data, whole->sent.len) == 0;
}

static inline void fuzz_play(const struct target_conf *conf, struct transcript_bytes clear,
                             struct transcript_bytes secured, size_t piece, fuzz_same_fn same)
{
    struct transcript_end whole, cut;
    transcript_feed(conf, clear, secured, SIZE_MAX, SIZE_MAX, true, &whole);
    transcript_feed(conf, clear, secured, piece, piece, true, &cut);
    if (!fuzz_sound(&whole) || !fuzz_sound(&cut) || !same(&whole, &cut))
        abort();
    strbuf_done(&whole.sent);
    strbuf_done(&cut.sent);
}

/* One input, all of it in clear. */
static inline int fuzz_input(const struct fuzz_subject *subjects, size_t count, const uint8_t *data,
                             size_t size, fuzz_same_fn same)
{
    const struct transcript_bytes none = {NULL, 0};
    if (size < 2)
        return 0;
    const struct transcript_bytes bytes = {(const char *)data + 2, size - 2};
    fuzz_play(fuzz_conf(subjects, count, data[0]), bytes, none, (size_t)data[1] + 1, same);
    return 0;
}

#endif
