/*
 * bytes.h: binary messages: gathered whole from pieces, read with every bound checked, written.
 *
 * Owner: `struct bytes_held` lies in a dialogue's state and allocates nothing; a `struct bytes`
 * borrows what it reads. Threads: one at a time (pure).
 * Errors: reading past the end sets `failed`, which sticks; what was read then is 0 or NULL. Check
 * once, at the end.
 */
#ifndef HEALTHSVC_PROBE_BYTES_H
#define HEALTHSVC_PROBE_BYTES_H

#include "probe/dialogue.h"

#include <healthsvc/attr.h>

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

struct strbuf;

/* No server's answer to a probe is longer: a hello of a MongoDB with 50 members has 3 KB. */
#define BYTES_HELD_MAX 8192

/* A message that is not whole yet. */
struct bytes_held {
    size_t len;
    uint8_t at[BYTES_HELD_MAX];
};

/* Moves bytes from the front of what *in, *len describe until `want` (at most BYTES_HELD_MAX) are
 * held. True if they are. */
bool bytes_gather(struct bytes_held *held, size_t want, const uint8_t **in, size_t *len);

/* What is left to be read. */
struct bytes {
    const uint8_t *at;
    size_t left;
    bool failed;
};

struct bytes bytes_of(const void *at, size_t len);
uint8_t bytes_u8(struct bytes *b);
uint16_t bytes_be16(struct bytes *b);
uint32_t bytes_be32(struct bytes *b);
uint16_t bytes_le16(struct bytes *b);
uint32_t bytes_le32(struct bytes *b);
/* The next `len` bytes. */
const uint8_t *bytes_take(struct bytes *b, size_t len);
/* The next bytes up to a NUL, which is passed. */
const char *bytes_text(struct bytes *b);

void bytes_add_be16(struct strbuf *out, uint16_t value);
void bytes_add_be32(struct strbuf *out, uint32_t value);
void bytes_add_le32(struct strbuf *out, uint32_t value);
/* Writes a big-endian 32-bit value over the four bytes at `offset`, if nothing failed before. */
void bytes_put_be32(struct strbuf *out, size_t offset, uint32_t value);

/* The end of a dialogue, with words of ours. */
enum dlg_step bytes_end(struct dlg_result *ret, enum outcome outcome, const char *fmt, ...)
    PRINTF_LIKE(3, 4);
/* The same, followed by the peer's own words (printable, at most 120 bytes of them). */
enum dlg_step bytes_end_said(struct dlg_result *ret, enum outcome outcome, const char *ours,
                             const void *said, size_t len);

#endif
