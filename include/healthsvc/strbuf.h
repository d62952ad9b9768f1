/*
 * strbuf.h: a growing byte buffer with a stated limit and a sticky error.
 *
 * Owner: whoever called strbuf_init(); strbuf_done() frees. The bytes are always followed by a
 * NUL that `len` does not count, so `data` is a C string whenever nothing binary was added
 * (`data` is never NULL: an empty buffer shows "").
 * Threads: one at a time.
 * Errors: the first failure (-E2BIG: the limit; -ENOMEM) sticks: later additions do nothing, and
 * strbuf_error() tells. What was there before stays whole: an addition is made wholly or not at
 * all. Check once, at the end.
 */
#ifndef HEALTHSVC_STRBUF_H
#define HEALTHSVC_STRBUF_H

#include <healthsvc/attr.h>

#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

struct strbuf {
    char *data;         /* never NULL; NUL-terminated */
    size_t len;         /* bytes in use */
    size_t room;        /* bytes allocated, 0 while nothing is */
    size_t limit_bytes; /* `len` never exceeds this */
    int error;          /* 0, -E2BIG or -ENOMEM */
};

/* Starts an empty buffer that allocates nothing until something is added. */
void strbuf_init(struct strbuf *b, size_t limit_bytes);
/* Frees the memory; the buffer is then as after strbuf_init(). */
void strbuf_done(struct strbuf *b);
/* The same, for a buffer that held a secret: nothing of it stays in its memory. Accepts one that is
 * all zero. */
void strbuf_wipe(struct strbuf *b);
/* Empties the buffer and clears its error; keeps the memory. */
void strbuf_clear(struct strbuf *b);
/* 0, -E2BIG or -ENOMEM. */
int strbuf_error(const struct strbuf *b) MUST_CHECK;

void strbuf_add(struct strbuf *b, const void *bytes, size_t len);
void strbuf_adds(struct strbuf *b, const char *s);
void strbuf_addc(struct strbuf *b, char c);
void strbuf_addf(struct strbuf *b, const char *fmt, ...) PRINTF_LIKE(2, 3);
void strbuf_vaddf(struct strbuf *b, const char *fmt, va_list args) PRINTF_LIKE(2, 0);
/* Shortens to `len` bytes, which must not exceed the present length. */
void strbuf_truncate(struct strbuf *b, size_t len);
/* Removes the first `count` bytes. */
void strbuf_consume(struct strbuf *b, size_t count);
/* Gives back the memory that was reserved to grow, for a text that will stay as it is. */
void strbuf_fit(struct strbuf *b);
/* Hands the allocated string to the caller, who frees it; NULL on a sticky error or no memory.
 * The buffer is then empty. */
char *strbuf_take(struct strbuf *b) MUST_CHECK;

/* Adds a foreign text so that people can read it and no terminal or log can be fooled: printable
 * ASCII as it is, every run of anything else as one '.', at most `max` output bytes, "..." as the
 * last of them where it was cut. */
void strbuf_add_printable(struct strbuf *b, const void *bytes, size_t len, size_t max);
/* Adds `s` as a JSON string with its quotes (RFC 8259 section 7); bytes that are not valid UTF-8
 * become U+FFFD. */
void strbuf_add_json(struct strbuf *b, const char *s);

#endif
