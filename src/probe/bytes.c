/* A message is only looked at when all of it is there, so no verdict depends on how its bytes were
 * cut; held in a fixed array, because a probe must not grow with what a peer announces. */
#include "probe/bytes.h"

#include <healthsvc/strbuf.h>

#include <assert.h>
#include <stdarg.h>
#include <stdio.h>
#include <string.h>

#define SAID_MAX_BYTES 120

bool bytes_gather(struct bytes_held *held, size_t want, const uint8_t **in, size_t *len)
{
    assert(want <= BYTES_HELD_MAX);
    if (held->len < want) {
        size_t missing = want - held->len;
        size_t count = *len < missing ? *len : missing;
        memcpy(held->at + held->len, *in, count);
        held->len += count;
        *in += count;
        *len -= count;
    }
    return held->len >= want;
}

struct bytes bytes_of(const void *at, size_t len)
{
    return (struct bytes){.at = at, .left = len};
}

const uint8_t *bytes_take(struct bytes *b, size_t len)
{
    if (b->failed || len > b->left) {
        b->failed = true;
        return NULL;
    }
    const uint8_t *taken = b->at;
    b->at += len;
    b->left -= len;
    return taken;
}

uint8_t bytes_u8(struct bytes *b)
{
    const uint8_t *p = bytes_take(b, 1);
    return p != NULL ? p[0] : 0;
}

uint16_t bytes_be16(struct bytes *b)
{
    const uint8_t *p = bytes_take(b, 2);
    return p != NULL ? (uint16_t)((unsigned)p[0] << 8 | p[1]) : 0;
}

uint32_t bytes_be32(struct bytes *b)
{
    const uint8_t *p = bytes_take(b, 4);
    return p != NULL ? (uint32_t)p[0] << 24 | (uint32_t)p[1] << 16 | (uint32_t)p[2] << 8 | p[3] : 0;
}

uint16_t bytes_le16(struct bytes *b)
{
    const uint8_t *p = bytes_take(b, 2);
    return p != NULL ? (uint16_t)((unsigned)p[1] << 8 | p[0]) : 0;
}

uint32_t bytes_le32(struct bytes *b)
{
    const uint8_t *p = bytes_take(b, 4);
    return p != NULL ? (uint32_t)p[3] << 24 | (uint32_t)p[2] << 16 | (uint32_t)p[1] << 8 | p[0] : 0;
}

const char *bytes_text(struct bytes *b)
{
    const uint8_t *end = b->failed || b->left == 0 ? NULL : memchr(b->at, '\0', b->left);
    if (end == NULL) {
        b->failed = true;
        return NULL;
    }
    return (const char *)bytes_take(b, (size_t)(end - b->at) + 1);
}

void bytes_add_be16(struct strbuf *out, uint16_t value)
{
    const uint8_t bytes[] = {(uint8_t)(value >> 8), (uint8_t)value};
    strbuf_add(out, bytes, sizeof bytes);
}

void bytes_add_be32(struct strbuf *out, uint32_t value)
{
    bytes_add_be16(out, (uint16_t)(value >> 16));
    bytes_add_be16(out, (uint16_t)value);
}

void bytes_add_le32(struct strbuf *out, uint32_t value)
{
    bytes_add_be32(out, __builtin_bswap32(value));
}

void bytes_put_be32(struct strbuf *out, size_t offset, uint32_t value)
{
    const uint8_t bytes[] = {(uint8_t)(value >> 24), (uint8_t)(value >> 16), (uint8_t)(value >> 8),
                             (uint8_t)value};
    if (strbuf_error(out) == 0)
        memcpy(out->data + offset, bytes, sizeof bytes);
}

enum dlg_step bytes_end(struct dlg_result *ret, enum outcome outcome, const char *fmt, ...)
{
    va_list args;
    ret->outcome = outcome;
    va_start(args, fmt);
    (void)vsnprintf(ret->text, sizeof ret->text, fmt, args);
    va_end(args);
    return DLG_DONE;
}

enum dlg_step bytes_end_said(struct dlg_result *ret, enum outcome outcome, const char *ours,
                             const void *said, size_t len)
{
    struct strbuf text;
    strbuf_init(&text, OUTCOME_TEXT_BYTES);
    strbuf_adds(&text, ours);
    strbuf_add_printable(&text, said, len, SAID_MAX_BYTES);
    (void)bytes_end(ret, outcome, "%s", text.data);
    strbuf_done(&text);
    return DLG_DONE;
}
