/*
 * The body is made first, behind a gap that is wide enough for any header; the header, which
 * needs the body's length, is then put right before it, and both go out in one write without
 * being copied again. mg_printf() and its kin would cost a send for every line.
 *
 * Keep-alive. A kept connection occupies a worker, so a reserve of workers never serves one. And
 * CivetWeb 1.15 decides by rules of its own, for which it has no question: a body of two
 * lengths, a folded line, a 65th header make it read part of one request as the next. So here
 * only the plainest request is kept, for which its rules say "keep" too; every other connection
 * is closed by its must_close flag, which also spares the draining of a body.
 */
#include "web/reply.h"

#include <assert.h>
#include <civetweb.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>
#include <strings.h>
#include <time.h>

#include <healthsvc/clock.h>
#include <healthsvc/stats.h>
#include <healthsvc/strbuf.h>

#define HEADER_ROOM_BYTES 320
#define DATE_BYTES 30                       /* an IMF-fixdate, RFC 9110 section 5.6.7 */
#define BODY_LIMIT_BYTES (64 * 1024 * 1024) /* /metrics of 10,000 dependencies is below 40 MB */
#define KEPT_BUFFER_BYTES (32 * 1024)       /* what a worker holds on to between answers */

static _Thread_local struct {
    struct strbuf out;
    int64_t date_s; /* the second that `date` is of */
    char date[DATE_BYTES];
} worker;

void reply_thread_init(void)
{
    strbuf_init(&worker.out, BODY_LIMIT_BYTES);
}

void reply_thread_done(void)
{
    strbuf_done(&worker.out);
}

struct strbuf *reply_begin(void)
{
    static const char gap[HEADER_ROOM_BYTES];
    strbuf_clear(&worker.out);
    strbuf_add(&worker.out, gap, sizeof gap);
    return &worker.out;
}

static const char *reason_phrase(int status)
{
    static const struct {
        int status;
        const char *phrase;
    } phrases[] = {
        {200, "OK"},
        {500, "Internal Server Error"},
        {503, "Service Unavailable"},
        {400, "Bad Request"},
        {404, "Not Found"},
        {405, "Method Not Allowed"},
        {411, "Length Required"},
        {429, "Too Many Requests"},
        {502, "Bad Gateway"},
        {504, "Gateway Timeout"},
        {505, "HTTP Version Not Supported"},
    };
    for (size_t i = 0; i < sizeof phrases / sizeof *phrases; i++) {
        if (phrases[i].status == status)
            return phrases[i].phrase;
    }
    return "Unhealthy"; /* an unhealthy_status of the administrator's choice */
}

/* Header lines put one after the other; the longest sum is far below the room. */
struct header {
    char bytes[HEADER_ROOM_BYTES];
    size_t len;
};

static void put_bytes(struct header *h, const char *bytes, size_t len)
{
    assert(len <= sizeof h->bytes - h->len);
    memcpy(h->bytes + h->len, bytes, len);
    h->len += len;
}

#define PUT_LITERAL(h, text) put_bytes(h, text, sizeof(text) - 1)

static void put_number(struct header *h, size_t n)
{
    char digits[20];
    char *at = digits + sizeof digits;
    do {
        *--at = (char)('0' + n % 10);
        n /= 10;
    } while (n > 0);
    put_bytes(h, at, (size_t)(digits + sizeof digits - at));
}

static void put_two(char *at, int n)
{
    at[0] = (char)('0' + n / 10);
    at[1] = (char)('0' + n % 10);
}

/* strftime() would follow the locale. */
static void write_date(int64_t wall_s)
{
    static const char days[] = "SunMonTueWedThuFriSat";
    static const char months[] = "JanFebMarAprMayJunJulAugSepOctNovDec";
    time_t t = (time_t)wall_s;
    struct tm tm;
    gmtime_r(&t, &tm);
    memcpy(worker.date, "ddd, DD mmm YYYY HH:MM:SS GMT", DATE_BYTES);
    memcpy(worker.date, days + 3 * tm.tm_wday, 3);
    put_two(worker.date + 5, tm.tm_mday);
    memcpy(worker.date + 8, months + 3 * tm.tm_mon, 3);
    put_two(worker.date + 12, (tm.tm_year + 1900) / 100);
    put_two(worker.date + 14, (tm.tm_year + 1900) % 100);
    put_two(worker.date + 17, tm.tm_hour);
    put_two(worker.date + 20, tm.tm_min);
    put_two(worker.date + 23, tm.tm_sec);
}

static const char *date_now(void)
{
    int64_t wall_s = clock_wall_ms() / 1000;
    if (wall_s != worker.date_s) {
        worker.date_s = wall_s;
        write_date(wall_s);
    }
    return worker.date;
}

static void put_status(struct header *h, int status)
{
    const char *phrase = reason_phrase(status);
    PUT_LITERAL(h, "HTTP/1.1 ");
    put_number(h, (size_t)status);
    PUT_LITERAL(h, " ");
    put_bytes(h, phrase, strlen(phrase));
}

static void make_header(struct header *h, const struct answer *answer, size_t body_len, bool keep)
{
    h->len = 0;
    put_status(h, answer->status);
    PUT_LITERAL(h, "\r\nDate: ");
    put_bytes(h, date_now(), DATE_BYTES - 1);
    PUT_LITERAL(h, "\r\nContent-Type: ");
    put_bytes(h, answer->type, strlen(answer->type));
    PUT_LITERAL(h, "\r\nContent-Length: ");
    put_number(h, body_len);
    PUT_LITERAL(h, "\r\nCache-Control: no-store\r\nX-Content-Type-Options: nosniff\r\n");
    if (answer->status == 405)
        PUT_LITERAL(h, "Allow: GET, HEAD\r\n");
    if (keep)
        PUT_LITERAL(h, "Connection: keep-alive\r\n\r\n");
    else
        PUT_LITERAL(h, "Connection: close\r\n\r\n");
}

static void write_all(struct mg_connection *conn, const char *bytes, size_t len, bool keep)
{
    /* A client that did not take it all gets nothing after it. */
    if (mg_write(conn, bytes, len) != (int)len || !keep)
        mg_disable_connection_keep_alive(conn);
}

void reply_send(struct mg_connection *conn, const struct answer *answer, bool head, bool keep)
{
    static const char no_memory[] = "there is no memory for the answer\n";
    struct answer failed = {.status = 500, .type = "text/plain; charset=utf-8"};
    struct strbuf *out = &worker.out;
    struct header header;
    bool whole = strbuf_error(out) == 0;
    size_t body_len = whole ? out->len - HEADER_ROOM_BYTES : sizeof no_memory - 1;

    if (!whole)
        answer = &failed;
    make_header(&header, answer, body_len, keep);
    if (!answer->uncounted)
        stats_add(&stats.requests[answer->status], 1);
    if (whole) {
        char *start = out->data + HEADER_ROOM_BYTES - header.len;
        memcpy(start, header.bytes, header.len);
        write_all(conn, start, header.len + (head ? 0 : body_len), keep);
    } else {
        char bytes[HEADER_ROOM_BYTES + sizeof no_memory];
        memcpy(bytes, header.bytes, header.len);
        memcpy(bytes + header.len, no_memory, body_len);
        write_all(conn, bytes, header.len + (head ? 0 : body_len), keep);
    }
    if (out->room > KEPT_BUFFER_BYTES)
        strbuf_done(out);
}

/* True if the request head ends right after this last header, in the one way that leaves no doubt:
 * CR LF CR LF. CivetWeb has put a NUL over the first CR and LF and over the last LF. Anything
 * else there is a line that it did not understand and skipped, lengths included. */
static bool head_ends_after(const struct mg_request_info *ri, const struct mg_header *last)
{
    const char *end = last->value + strlen(last->value);
    /* Leading blank lines, which it does not count as part of the request, misplace the end; its
     * buffer begins where malloc() put it. */
    if ((uintptr_t)ri->request_method % _Alignof(max_align_t) != 0)
        return false;
    return end + 4 - ri->request_method <= REQUEST_HEAD_BYTES && end[1] == '\0' && end[2] == '\r' &&
           end[3] == '\0';
}

static bool headers_allow_keeping(const struct mg_request_info *ri)
{
    bool asked_to_keep = false;
    /* CivetWeb drops what follows the last header that its table holds. */
    if (ri->num_headers < 1 || ri->num_headers >= MG_MAX_HEADERS)
        return false;
    for (int i = 0; i < ri->num_headers; i++) {
        const char *name = ri->http_headers[i].name;
        switch (name[0] | 0x20) {
        case 'c':
            if (strcasecmp(name, "Content-Length") == 0)
                return false;
            if (strcasecmp(name, "Connection") == 0) {
                /* Only the first counts there, and only if it is one token. */
                if (asked_to_keep || strcasecmp(ri->http_headers[i].value, "keep-alive") != 0)
                    return false;
                asked_to_keep = true;
            }
            break;
        case 't':
            if (strcasecmp(name, "Transfer-Encoding") == 0)
                return false;
            break;
        case 'u':
            if (strcasecmp(name, "Upgrade") == 0)
                return false;
            break;
        case 'e':
            if (strcasecmp(name, "Expect") == 0)
                return false;
            break;
        default:
            break;
        }
    }
    return (asked_to_keep || strcmp(ri->http_version, "1.1") == 0) &&
           head_ends_after(ri, &ri->http_headers[ri->num_headers - 1]);
}

bool reply_may_keep(const struct mg_request_info *ri)
{
    struct web_shared *shared = ri->user_data;
    return !atomic_load_explicit(&shared->draining, memory_order_relaxed) &&
           atomic_load_explicit(&shared->busy, memory_order_relaxed) <= shared->keep_limit &&
           headers_allow_keeping(ri);
}
