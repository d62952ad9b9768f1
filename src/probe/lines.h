/*
 * lines.h: a reply read line by line, in constant memory.
 *
 * A line ends in LF, a CR before it is dropped. Only its beginning is kept: what protocols tell by
 * lines they tell there. How long a line may be is the stream engine's matter (max_reply_bytes).
 * Owner: a dialogue's state; zeroed is ready. Threads: one at a time.
 * Errors: none; what a line means is the dialogue's to say.
 */
#ifndef HEALTHSVC_PROBE_LINES_H
#define HEALTHSVC_PROBE_LINES_H

#include "probe/dialogue.h"

#include <healthsvc/attr.h>
#include <healthsvc/keys.h>

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#define LINES_KEPT_BYTES 256

struct lines {
    size_t len; /* of what is kept */
    bool ended; /* `text` is a whole line: the next byte begins another */
    char text[LINES_KEPT_BYTES + 1];
};

enum lines_step {
    LINES_MORE = 0, /* all was taken, the line goes on */
    LINES_LINE,     /* text[0..len-1] and a NUL, until the next call */
    LINES_BINARY,   /* a NUL: whoever speaks there does not speak in lines */
};

/* Takes bytes from the front of what *in, *len describe, to the end of one line at most. */
enum lines_step lines_next(struct lines *l, const uint8_t **in, size_t *len);

bool lines_begin(const struct lines *l, const char *word);
/* The same, in any case of ASCII letters. */
bool lines_begin_any_case(const struct lines *l, const char *word);

/* Each gives a verdict and returns DLG_DONE: in words of ours; */
enum dlg_step lines_end(enum outcome outcome, const char *text, struct dlg_result *ret);
/* in the peer's: `before` and the line from its byte `from` on, made printable; */
enum dlg_step lines_quote(const char *before, const struct lines *l, size_t from,
                          enum outcome outcome, struct dlg_result *ret);
/* bad_reply, `not SMTP: "what the line says"`, or, after LINES_BINARY, `not SMTP: binary`. */
enum dlg_step lines_strange(const struct lines *l, const char *protocol, struct dlg_result *ret);

/* The settings of a scheme whose only one is STARTTLS; its private settings begin with this. */
struct lines_starttls {
    bool starttls;
};
#define LINES_STARTTLS_ROW                                                                  \
    {                                                                                       \
        .name = "starttls", .type = KEY_BOOL, .flags = KEY_ASKED,                           \
        .offset = offsetof(struct lines_starttls, starttls), .default_text = "false",       \
        .sentence = "Whether to turn to TLS once connected; a server that does not is bad." \
    }
extern const struct key_row lines_starttls_keys[];
/* The go-ahead for TLS has come: DLG_STARTTLS, or bad_reply if `behind` bytes follow it. */
enum dlg_step lines_starttls(size_t behind, struct dlg_result *ret);

#endif
