/* Grows by doubling, so that adding n bytes costs O(n); an addition over the limit is not made at
 * all, so that what is there is never a torn half of something. */
#include <healthsvc/strbuf.h>

#include <errno.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

static char empty[1]; /* what an unallocated buffer shows; never written */

void strbuf_init(struct strbuf *b, size_t limit_bytes)
{
    *b = (struct strbuf){.data = empty, .limit_bytes = limit_bytes};
}

void strbuf_done(struct strbuf *b)
{
    if (b->room > 0)
        free(b->data);
    strbuf_init(b, b->limit_bytes);
}

void strbuf_wipe(struct strbuf *b)
{
    if (b->room > 0)
        explicit_bzero(b->data, b->room);
    strbuf_done(b);
}

void strbuf_clear(struct strbuf *b)
{
    b->len = 0;
    b->error = 0;
    if (b->room > 0)
        b->data[0] = '\0';
}

int strbuf_error(const struct strbuf *b)
{
    return b->error;
}

/* Makes room for `more` bytes and the NUL; false (with the error set) if that cannot be. */
static bool reserve(struct strbuf *b, size_t more)
{
    if (b->error != 0)
        return false;
    if (more > b->limit_bytes - b->len) {
        b->error = -E2BIG;
        return false;
    }
    size_t need = b->len + more + 1;
    if (need <= b->room)
        return true;
    size_t room = b->room > 0 ? b->room : 64;
    while (room < need)
        room *= 2;
    char *data = realloc(b->room > 0 ? b->data : NULL, room);
    if (data == NULL) {
        b->error = -ENOMEM;
        return false;
    }
    b->data = data;
    b->room = room;
    return true;
}

void strbuf_add(struct strbuf *b, const void *bytes, size_t len)
{
    if (len == 0 || !reserve(b, len))
        return;
    memcpy(b->data + b->len, bytes, len);
    b->len += len;
    b->data[b->len] = '\0';
}

void strbuf_adds(struct strbuf *b, const char *s)
{
    strbuf_add(b, s, strlen(s));
}

void strbuf_addc(struct strbuf *b, char c)
{
    strbuf_add(b, &c, 1);
}

void strbuf_vaddf(struct strbuf *b, const char *fmt, va_list args)
{
    if (b->error != 0)
        return;
    va_list again;
    va_copy(again, args);
    size_t free_bytes = b->room - b->len; /* mostly it fits, and is formatted once */
    int len = vsnprintf(b->data + b->len, free_bytes, fmt, args);
    if (len > 0 && reserve(b, (size_t)len)) {
        if ((size_t)len >= free_bytes)
            (void)vsnprintf(b->data + b->len, (size_t)len + 1, fmt, again);
        b->len += (size_t)len;
    } else if (b->room > 0) {
        b->data[b->len] = '\0'; /* what was formatted there is no part of it */
    }
    va_end(again);
}

void strbuf_addf(struct strbuf *b, const char *fmt, ...)
{
    va_list args;
    va_start(args, fmt);
    strbuf_vaddf(b, fmt, args);
    va_end(args);
}

void strbuf_truncate(struct strbuf *b, size_t len)
{
    if (len >= b->len)
        return;
    b->len = len;
    b->data[len] = '\0';
}

void strbuf_consume(struct strbuf *b, size_t count)
{
    if (count == 0)
        return;
    b->len -= count;
    memmove(b->data, b->data + count, b->len + 1);
}

void strbuf_fit(struct strbuf *b)
{
    if (b->room <= b->len + 1)
        return;
    char *data = realloc(b->data, b->len + 1);
    if (data == NULL)
        return; /* it stays larger than it need be */
    b->data = data;
    b->room = b->len + 1;
}

char *strbuf_take(struct strbuf *b)
{
    char *data = NULL;
    if (b->error == 0) {
        if (b->room == 0)
            return strdup("");
        data = b->data;
        b->room = 0;
    }
    strbuf_done(b);
    return data;
}

void strbuf_add_printable(struct strbuf *b, const void *bytes, size_t len, size_t max)
{
    const unsigned char *in = bytes;
    size_t start = b->len;
    bool dotted = false;
    for (size_t i = 0; i < len; i++) {
        bool printable = in[i] >= 0x20 && in[i] < 0x7f;
        if (!printable && dotted)
            continue;
        dotted = !printable;
        if (b->len - start == max) {
            strbuf_truncate(b, start + (max > 3 ? max - 3 : 0));
            strbuf_add(b, "...", max > 3 ? 3 : max);
            return;
        }
        strbuf_addc(b, printable ? (char)in[i] : '.');
        if (b->error != 0)
            return;
    }
}

/* Length of the valid UTF-8 sequence at s (RFC 3629 section 4), or 0. */
static size_t utf8_length(const unsigned char *s)
{
    size_t len;
    unsigned char low = 0x80, high = 0xbf;
    if (s[0] < 0x80)
        return 1;
    if (s[0] >= 0xc2 && s[0] <= 0xdf) {
        len = 2;
    } else if ((s[0] & 0xf0) == 0xe0) {
        len = 3;
        low = s[0] == 0xe0 ? 0xa0 : 0x80;
        high = s[0] == 0xed ? 0x9f : 0xbf; /* surrogates */
    } else if (s[0] >= 0xf0 && s[0] <= 0xf4) {
        len = 4;
        low = s[0] == 0xf0 ? 0x90 : 0x80;
        high = s[0] == 0xf4 ? 0x8f : 0xbf;
    } else {
        return 0;
    }
    if (s[1] < low || s[1] > high)
        return 0;
    for (size_t i = 2; i < len; i++) {
        if ((s[i] & 0xc0) != 0x80)
            return 0;
    }
    return len;
}

void strbuf_add_json(struct strbuf *b, const char *s)
{
    const unsigned char *in = (const unsigned char *)s;
    strbuf_addc(b, '"');
    while (*in != '\0') {
        size_t len = utf8_length(in);
        if (len == 0) {
            strbuf_adds(b, "\xef\xbf\xbd");
            len = 1;
        } else if (*in == '"' || *in == '\\') {
            strbuf_addc(b, '\\');
            strbuf_addc(b, (char)*in);
        } else if (*in < 0x20 || *in == 0x7f) {
            strbuf_addf(b, "\\u%04x", *in);
        } else {
            strbuf_add(b, in, len);
        }
        in += len;
    }
    strbuf_addc(b, '"');
}
