/*
 * transcript.h: a dialogue played against a recorded peer, cut at every byte.
 *
 * A transcript is a row: the scheme's settings, what the peer sends, how it must end. It is played
 * with the reply cut in two at every position and byte by byte, and must end the same way each time.
 * Replies longer than 4 KB are cut near both ends and at some places between.
 * Owner: a row borrows its texts. Threads: main only.
 */
#ifndef HEALTHSVC_TRANSCRIPT_H
#define HEALTHSVC_TRANSCRIPT_H

#include "../testing.h"
#include "probe/dialogue.h"

#include <healthsvc/config.h>
#include <healthsvc/strbuf.h>

#include <stdbool.h>
#include <stddef.h>

struct transcript_bytes {
    const char *at;
    size_t len;
};
/* For an initialiser: the bytes of a literal, NULs included. */
#define BYTES(literal)                 \
    {                                  \
        (literal), sizeof(literal) - 1 \
    }

/* For an initialiser: binary bytes that must have been sent. */
#define SENT(literal) .sent = (literal), .sent_len = sizeof(literal) - 1

struct transcript {
    const char *name;
    /* What is asked: */
    const char *settings;      /* the scheme's own, as a file writes them; NULL: none */
    const char *host, *path;   /* NULL: "trips", "/health" */
    const char *user, *secret; /* NULL: none */
    const char *ca_file;       /* NULL: none */
    uint16_t port;             /* 0: the scheme's */
    bool reuse;
    /* What the peer sends: `reply`, `unit` times over, `tail`; and after STARTTLS `secured`. */
    struct transcript_bytes reply;
    const char *unit;
    size_t times;
    struct transcript_bytes tail;
    struct transcript_bytes secured;
    bool eof; /* and then closes */
    /* How it must end: */
    const char *fault; /* the settings are refused with this sentence; nothing is played */
    bool waits;        /* for more; else: */
    enum outcome outcome;
    const char *text; /* NULL: "" */
    int http_status;
    const char *sent; /* all that was sent, "[TLS]" where it began; NULL: not looked at */
    size_t sent_len;  /* 0: it is a text without NUL */
};

/* Makes the target of a row. 0; -EINVAL with the fault's sentence in *why; -ENOMEM.
 * transcript_release() frees it in every case. */
int transcript_prepare(const struct scheme *scheme, const struct transcript *t,
                       struct target_conf *ret_conf, struct strbuf *why);
void transcript_release(struct target_conf *conf);

#define TRANSCRIPT_WHOLE ((const size_t[]){SIZE_MAX}), 1 /* for transcript_feed(): not cut */

/* How one playing ended. */
struct transcript_end {
    enum dlg_step step; /* DLG_DONE, or DLG_MORE: it waits */
    struct dlg_result result;
    struct strbuf sent;  /* transcript_feed() initialises, the caller frees */
    size_t clear_behind; /* bytes that came in clear behind STARTTLS */
};

/* Plays `clear` and then, after STARTTLS, `secured`, cut into pieces of these lengths (`count` of
 * them, at least one, none 0), of which the last repeats. Each lies in memory of its own, exactly as
 * long. */
void transcript_feed(const struct target_conf *conf, struct transcript_bytes clear,
                     struct transcript_bytes secured, const size_t *pieces, size_t count, bool eof,
                     struct transcript_end *ret_end);

/* Plays a row at every cut. NULL if it ended as told each time; else what was seen at the first cut
 * where it did not (static memory). */
const char *transcript_play(const struct scheme *scheme, const struct transcript *t);

/* What a test expects: `injected` holds more in clear than the turn to TLS. */
static inline void transcript_expect_injection(const struct scheme *scheme, const char *settings,
                                               struct transcript_bytes injected)
{
    const struct transcript row = {.settings = settings};
    const struct transcript_bytes none = {NULL, 0};
    struct target_conf conf;
    struct strbuf why;
    struct transcript_end end;
    strbuf_init(&why, 200);
    if (EXPECT_INT(transcript_prepare(scheme, &row, &conf, &why), 0)) {
        transcript_feed(&conf, injected, none, TRANSCRIPT_WHOLE, false, &end);
        EXPECT_INT(end.step, DLG_DONE);
        EXPECT_INT(end.result.outcome, OUTCOME_BAD_REPLY);
        EXPECT_STR(end.result.text, "bytes in clear after the turn to TLS");
        strbuf_done(&end.sent);
    }
    transcript_release(&conf);
    strbuf_done(&why);
}

/* One test case a row. */
static const struct scheme *transcript_scheme;
static const struct transcript *transcript_row;

static inline void transcript_case(void)
{
    const char *wrong = transcript_play(transcript_scheme, transcript_row);
    if (wrong != NULL)
        testing_fault("transcript", 0, wrong);
}

static inline void transcripts_run(const struct scheme *scheme, const struct transcript *rows,
                                   size_t count)
{
    transcript_scheme = scheme;
    for (size_t i = 0; i < count; i++) {
        transcript_row = &rows[i];
        testing_run(rows[i].name, transcript_case);
    }
}

#endif
