/*
 * A line is parsed when it is whole: in place if it came in one piece, as nearly all do, else from
 * a buffer. That makes the verdict and its text independent of where the reply was cut.
 *
 * Strict where leniency would make two readers see two different replies (RFC 9112 sections 6.3 and
 * 11.2): both lengths, differing lengths, folded lines, bare CR, NUL. Lenient where it cannot:
 * a bare LF ends a line (section 2.2 allows it; curl and HAProxy do so too), a status line may lack
 * its reason phrase and the space before it, a chunk size may be followed by blanks.
 * Bytes behind the end of a reply are not looked at.
 */
#include <healthsvc/http_reply.h>

#include <healthsvc/units.h>

#include <stdio.h>
#include <string.h>
#include <strings.h>

#define SHOWN_BYTES 120                /* of the peer's own words in a text */
#define LENGTH_MAX (UINT64_C(1) << 40) /* no health answer has a terabyte */
#define PREFIX "HTTP/1."
#define PREFIX_BYTES (sizeof PREFIX - 1)

/* RFC 9110 section 5.6.2 */
static const bool is_token[256] = {
    ['0' ... '9'] = true, ['A' ... 'Z'] = true, ['a' ... 'z'] = true, ['!'] = true,  ['#'] = true,
    ['$'] = true,         ['%'] = true,         ['&'] = true,         ['\''] = true, ['*'] = true,
    ['+'] = true,         ['-'] = true,         ['.'] = true,         ['^'] = true,  ['_'] = true,
    ['`'] = true,         ['|'] = true,         ['~'] = true,
};

static enum http_reply_step fail(struct dlg_result *ret, enum outcome outcome, const char *text)
{
    ret->outcome = outcome;
    (void)snprintf(ret->text, sizeof ret->text, "%s", text);
    return HTTP_REPLY_FAILED;
}

/* Fails with what is wrong and what the peer said. */
static enum http_reply_step bad(struct dlg_result *ret, const char *what, const char *said,
                                size_t len)
{
    struct strbuf text;
    strbuf_init(&text, sizeof ret->text - 1);
    strbuf_addf(&text, "%s: \"", what);
    strbuf_add_printable(&text, said, len, SHOWN_BYTES);
    strbuf_addc(&text, '"');
    enum http_reply_step step = fail(ret, OUTCOME_BAD_REPLY, text.data);
    strbuf_done(&text);
    return step;
}

void http_reply_init(struct http_reply *r, bool head)
{
    *r = (struct http_reply){.head = head};
    strbuf_init(&r->line, HTTP_REPLY_SECTION_BYTES);
    http_reply_limit_body(r, HTTP_REPLY_BODY_BYTES);
}

void http_reply_limit_body(struct http_reply *r, uint32_t limit_bytes)
{
    r->body_limit = limit_bytes;
    strbuf_init(&r->body, limit_bytes);
}

void http_reply_done(struct http_reply *r)
{
    strbuf_done(&r->line);
    strbuf_done(&r->body);
}

/* ---- the first line ---- */

static bool like_http(const char *bytes, size_t len)
{
    return memcmp(bytes, PREFIX, len < PREFIX_BYTES ? len : PREFIX_BYTES) == 0;
}

/* Who speaks there, by the `len` > 0 first bytes of what is not HTTP. Waits (unless `complete`)
 * until there are enough of them to tell: those that print, up to the first that does not. */
static enum http_reply_step not_http(const char *bytes, size_t len, bool complete,
                                     struct dlg_result *ret)
{
    size_t print = 0;
    while (print < len && print <= SHOWN_BYTES && bytes[print] >= ' ' && bytes[print] <= '~')
        print++;
    if (print > 0) {
        if (print == len && print <= SHOWN_BYTES && !complete)
            return HTTP_REPLY_MORE;
        return bad(ret, "not HTTP", bytes, print);
    }
    /* An alert or a handshake record of TLS (RFC 8446 section 5.1). */
    bool tls = bytes[0] == 0x15 || bytes[0] == 0x16;
    /* SETTINGS or GOAWAY with its length (RFC 9113 section 4.1): no HTTP/1 here. */
    bool http2 = bytes[0] == 0;
    if (!complete && ((tls && len < 2) || (http2 && len < 4)))
        return HTTP_REPLY_MORE;
    if (tls && len >= 2 && bytes[1] == 3)
        return fail(ret, OUTCOME_BAD_REPLY, "peer speaks TLS, use https");
    if (http2 && len >= 4 && bytes[1] == 0 && (bytes[3] == 4 || bytes[3] == 7))
        return fail(ret, OUTCOME_BAD_REPLY, "peer speaks HTTP/2 only");
    char text[64];
    (void)snprintf(text, sizeof text, "not HTTP: starts with byte 0x%02x", (unsigned char)bytes[0]);
    return fail(ret, OUTCOME_BAD_REPLY, text);
}

static bool is_digit(char c)
{
    return c >= '0' && c <= '9';
}

/* NUL or a bare CR (RFC 9112 section 2.2, RFC 9110 section 5.5). */
static bool has_poison(const char *line, size_t len)
{
    return memchr(line, '\0', len) != NULL || memchr(line, '\r', len) != NULL;
}

/* Section 4. Any three digits are a status; those outside 100..599 are a failure like 5xx
 * (RFC 9110 section 15), which no set of expected ones contains. */
static enum http_reply_step parse_status(struct http_reply *r, const char *line, size_t len,
                                         struct dlg_result *ret)
{
    if (len < PREFIX_BYTES || !like_http(line, len))
        return not_http(line, len > 0 ? len : 1, true, ret); /* if empty: its line end */
    if (len < 12 || !is_digit(line[7]) || line[8] != ' ' || !is_digit(line[9]) ||
        !is_digit(line[10]) || !is_digit(line[11]) || (len > 12 && line[12] != ' ') ||
        has_poison(line, len))
        return bad(ret, "bad status line", line, len);
    r->status = (uint16_t)((line[9] - '0') * 100 + (line[10] - '0') * 10 + (line[11] - '0'));
    r->http10 = line[7] == '0';
    r->closes = false;
    r->has_length = false;
    r->chunked = false;
    r->left = 0;
    if (r->status == 101)
        return fail(ret, OUTCOME_BAD_REPLY, "peer switches protocols unasked (101)");
    r->part = HTTP_PART_HEADERS;
    return HTTP_REPLY_MORE;
}

/* ---- headers ---- */

static void trim(const char **text, size_t *len)
{
    while (*len > 0 && (**text == ' ' || **text == '\t')) {
        (*text)++;
        (*len)--;
    }
    while (*len > 0 && ((*text)[*len - 1] == ' ' || (*text)[*len - 1] == '\t'))
        (*len)--;
}

/* A length, or the same one several times (RFC 9110 section 8.6). */
static enum http_reply_step parse_length(struct http_reply *r, const char *value, size_t len,
                                         struct dlg_result *ret)
{
    const char *next = value;
    size_t rest = len;
    for (;;) {
        const char *comma = memchr(next, ',', rest);
        const char *number = next;
        size_t digits = comma != NULL ? (size_t)(comma - next) : rest;
        uint64_t length;
        trim(&number, &digits);
        if (units_parse_digits(number, digits, &length) != 0 || length > LENGTH_MAX)
            return bad(ret, "bad Content-Length", value, len);
        if (r->has_length && length != r->left)
            return bad(ret, "differing Content-Length", value, len);
        r->has_length = true;
        r->left = length;
        if (comma == NULL)
            return HTTP_REPLY_MORE;
        rest -= (size_t)(comma + 1 - next);
        next = comma + 1;
    }
}

static bool is_name(const char *name, size_t len, const char *known)
{
    return len == strlen(known) && strncasecmp(name, known, len) == 0;
}

/* Whether a list of options has "close" (RFC 9110 section 7.6.1). */
static bool has_close(const char *value, size_t len)
{
    for (;;) {
        const char *comma = memchr(value, ',', len);
        const char *option = value;
        size_t option_len = comma != NULL ? (size_t)(comma - value) : len;
        trim(&option, &option_len);
        if (is_name(option, option_len, "close"))
            return true;
        if (comma == NULL)
            return false;
        len -= (size_t)(comma + 1 - value);
        value = comma + 1;
    }
}

/* Section 5; a trailer has the same form, but frames nothing. */
static enum http_reply_step parse_field(struct http_reply *r, const char *line, size_t len,
                                        struct dlg_result *ret)
{
    if (line[0] == ' ' || line[0] == '\t')
        return bad(ret, "folded header line", line, len);
    size_t name = 0;
    while (name < len && is_token[(unsigned char)line[name]])
        name++;
    if (name == 0 || name == len || line[name] != ':' || has_poison(line, len))
        return bad(ret, "bad header line", line, len);
    if (r->part == HTTP_PART_TRAILERS)
        return HTTP_REPLY_MORE;
    const char *value = line + name + 1;
    size_t value_len = len - name - 1;
    trim(&value, &value_len);
    if (r->on_field != NULL && r->status / 100 != 1)
        r->on_field(r->arg, &(struct http_field){line, value, name, value_len});
    if (is_name(line, name, "Content-Length"))
        return parse_length(r, value, value_len, ret);
    if (is_name(line, name, "Transfer-Encoding")) {
        /* No other was allowed by the request, and it must not be applied twice (section 6.1). */
        if (!is_name(value, value_len, "chunked") || r->chunked)
            return bad(ret, "unknown Transfer-Encoding", value, value_len);
        r->chunked = true;
    }
    if (is_name(line, name, "Connection") && has_close(value, value_len))
        r->closes = true;
    return HTTP_REPLY_MORE;
}

/* Section 6.3: where the body ends. */
static enum http_reply_step end_of_headers(struct http_reply *r, struct dlg_result *ret)
{
    if (r->status / 100 == 1) {
        r->part = HTTP_PART_STATUS;
        return HTTP_REPLY_MORE;
    }
    if (r->chunked && r->has_length)
        return fail(ret, OUTCOME_BAD_REPLY, "both Content-Length and Transfer-Encoding");
    if (r->chunked && r->http10)
        return fail(ret, OUTCOME_BAD_REPLY, "Transfer-Encoding in a reply of HTTP/1.0");
    r->section_bytes = 0;
    if (r->head || r->status == 204 || r->status == 304 || (r->has_length && r->left == 0))
        r->part = HTTP_PART_END;
    else if (r->chunked)
        r->part = HTTP_PART_CHUNK_SIZE;
    else
        r->part = r->has_length ? HTTP_PART_LENGTH : HTTP_PART_CLOSE;
    return HTTP_REPLY_HEAD;
}

/* ---- chunks ---- */

/* The value of a hexadecimal digit, -1: it is none. */
static int hex_value(char c)
{
    if (is_digit(c))
        return c - '0';
    if (c >= 'a' && c <= 'f')
        return c - 'a' + 10;
    return c >= 'A' && c <= 'F' ? c - 'A' + 10 : -1;
}

/* Section 7.1; extensions are ignored. */
static enum http_reply_step parse_chunk_size(struct http_reply *r, const char *line, size_t len,
                                             struct dlg_result *ret)
{
    uint64_t size = 0;
    size_t i = 0;
    for (; i < len && hex_value(line[i]) >= 0 && size <= LENGTH_MAX; i++)
        size = size * 16 + (uint64_t)hex_value(line[i]);
    size_t digits = i;
    while (i < len && (line[i] == ' ' || line[i] == '\t'))
        i++;
    if (digits == 0 || size > LENGTH_MAX || (i < len && line[i] != ';') || has_poison(line, len))
        return bad(ret, "bad chunk size", line, len);
    r->left = size;
    r->part = size > 0 ? HTTP_PART_CHUNK : HTTP_PART_TRAILERS;
    return HTTP_REPLY_MORE;
}

static enum http_reply_step parse_chunk_end(struct http_reply *r, const char *line, size_t len,
                                            struct dlg_result *ret)
{
    if (len > 0)
        return bad(ret, "chunk longer than its size", line, len);
    r->part = HTTP_PART_CHUNK_SIZE;
    return HTTP_REPLY_MORE;
}

/* ---- lines and bodies ---- */

static enum http_reply_step parse_line(struct http_reply *r, const char *line, size_t len,
                                       struct dlg_result *ret)
{
    if (len > 0 && ++r->lines > HTTP_REPLY_LINES)
        return fail(ret, OUTCOME_BAD_REPLY, "reply of more than 1000 lines");
    switch (r->part) {
    case HTTP_PART_STATUS:
        return parse_status(r, line, len, ret);
    case HTTP_PART_HEADERS:
        return len > 0 ? parse_field(r, line, len, ret) : end_of_headers(r, ret);
    case HTTP_PART_CHUNK_SIZE:
        return parse_chunk_size(r, line, len, ret);
    case HTTP_PART_CHUNK_END:
        return parse_chunk_end(r, line, len, ret);
    case HTTP_PART_TRAILERS:
        if (len > 0)
            return parse_field(r, line, len, ret);
        r->part = HTTP_PART_END;
        return HTTP_REPLY_END;
    case HTTP_PART_LENGTH:
    case HTTP_PART_CLOSE:
    case HTTP_PART_CHUNK:
    case HTTP_PART_END:
        break;
    }
    return HTTP_REPLY_END;
}

/* Takes bytes up to a line's end, and parses the line if it is whole. */
static enum http_reply_step feed_line(struct http_reply *r, const uint8_t **in, size_t *len,
                                      struct dlg_result *ret)
{
    const char *bytes = (const char *)*in;
    const char *end = memchr(bytes, '\n', *len);
    size_t take = end != NULL ? (size_t)(end + 1 - bytes) : *len;
    bool too_long = take > HTTP_REPLY_SECTION_BYTES - r->section_bytes;
    if (too_long)
        take = HTTP_REPLY_SECTION_BYTES - r->section_bytes;
    r->section_bytes += (uint32_t)take;
    *in += take;
    *len -= take;

    bool whole = end != NULL && !too_long;
    if (!whole || r->line.len > 0) {
        strbuf_add(&r->line, bytes, take);
        if (strbuf_error(&r->line) != 0)
            return fail(ret, OUTCOME_OWN_MEMORY, "");
        bytes = r->line.data;
        take = r->line.len;
    }
    if (whole) {
        size_t line_len = take - 1;
        if (line_len > 0 && bytes[line_len - 1] == '\r')
            line_len--;
        enum http_reply_step step = parse_line(r, bytes, line_len, ret);
        strbuf_clear(&r->line);
        return step;
    }
    if (r->part == HTTP_PART_STATUS && !like_http(bytes, take)) {
        enum http_reply_step step = not_http(bytes, take, false, ret);
        if (step != HTTP_REPLY_MORE)
            return step;
    }
    if (too_long)
        return fail(ret, OUTCOME_BAD_REPLY,
                    r->part <= HTTP_PART_HEADERS ? "headers longer than 16 KB"
                                                 : "chunk lines longer than 16 KB");
    return HTTP_REPLY_MORE;
}

static enum http_reply_step feed_body(struct http_reply *r, const uint8_t **in, size_t *len,
                                      struct dlg_result *ret)
{
    size_t take = *len;
    if (take > r->body_limit - r->body_bytes)
        take = r->body_limit - r->body_bytes;
    if (r->part != HTTP_PART_CLOSE) {
        if (take > r->left)
            take = (size_t)r->left;
        r->left -= take;
    }
    if (r->keep_body)
        strbuf_add(&r->body, *in, take);
    if (strbuf_error(&r->body) != 0)
        return fail(ret, OUTCOME_OWN_MEMORY, "");
    r->body_bytes += (uint32_t)take;
    *in += take;
    *len -= take;
    if (r->part == HTTP_PART_LENGTH && r->left == 0) {
        r->part = HTTP_PART_END;
        return HTTP_REPLY_END;
    }
    if (r->body_bytes == r->body_limit)
        return HTTP_REPLY_END;
    if (r->part == HTTP_PART_CLOSE || r->left > 0)
        return HTTP_REPLY_MORE;
    r->part = HTTP_PART_CHUNK_END;
    return HTTP_REPLY_MORE;
}

enum http_reply_step http_reply_feed(struct http_reply *r, const uint8_t **in, size_t *len,
                                     struct dlg_result *ret)
{
    enum http_reply_step step = HTTP_REPLY_MORE;
    while (step == HTTP_REPLY_MORE) {
        if (r->part == HTTP_PART_END)
            return HTTP_REPLY_END;
        if (*len == 0)
            return HTTP_REPLY_MORE;
        bool body =
            r->part == HTTP_PART_LENGTH || r->part == HTTP_PART_CLOSE || r->part == HTTP_PART_CHUNK;
        step = body ? feed_body(r, in, len, ret) : feed_line(r, in, len, ret);
    }
    return step;
}

bool http_reply_persists(const struct http_reply *r)
{
    return r->part == HTTP_PART_END && !r->http10 && !r->closes;
}

enum http_reply_step http_reply_eof(struct http_reply *r, struct dlg_result *ret)
{
    switch (r->part) {
    case HTTP_PART_STATUS:
        if (r->section_bytes == 0)
            return fail(ret, OUTCOME_CLOSED, "closed without a reply");
        if (r->line.len > 0 && !like_http(r->line.data, r->line.len))
            return not_http(r->line.data, r->line.len, true, ret);
        return fail(ret, OUTCOME_CLOSED, "closed in the middle of the headers");
    case HTTP_PART_HEADERS:
        return fail(ret, OUTCOME_CLOSED, "closed in the middle of the headers");
    case HTTP_PART_LENGTH:
    case HTTP_PART_CHUNK_SIZE:
    case HTTP_PART_CHUNK:
    case HTTP_PART_CHUNK_END:
    case HTTP_PART_TRAILERS:
        return fail(ret, OUTCOME_CLOSED, "closed in the middle of the body");
    case HTTP_PART_CLOSE:
    case HTTP_PART_END:
        break;
    }
    return HTTP_REPLY_END;
}
