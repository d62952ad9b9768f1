/* What goes out for what comes in: paths, codes, headers, formats, and every malformed request. */
#include "serving.h"

TEST(an_answer_is_complete)
{
    static const char before_date[] = "HTTP/1.1 200 OK\r\nDate: ";
    static const char after_date[] = " GMT\r\nContent-Type: text/plain; charset=utf-8\r\n"
                                     "Content-Length: 104\r\nCache-Control: no-store\r\n"
                                     "X-Content-Type-Options: nosniff\r\nConnection: close\r\n\r\n"
                                     "gateway status: OK\nDependencies:\ntrips status: OK\n"
                                     "airports status: OK\nbroker status: OK\ndisk status: OK\n";
    start(4, "127.0.0.1:0");
    publish();
    get("/health", "");
    if (EXPECT(strncmp(reply, before_date, strlen(before_date)) == 0)) {
        struct tm tm;
        const char *date = reply + strlen(before_date);
        const char *rest = strptime(date, "%a, %d %b %Y %H:%M:%S", &tm);
        if (EXPECT(rest == date + 25)) {
            int64_t age_s = clock_wall_ms() / 1000 - (int64_t)timegm(&tm);
            EXPECT(age_s >= 0 && age_s <= scaled(10));
            EXPECT_STR(rest, after_date);
        }
    }
    stop();
}

TEST(paths_and_codes)
{
    start(4, "127.0.0.1:0");
    fixture_set(AIRPORTS, TARGET_DOWN, OUTCOME_CONNECT_REFUSED, "connection refused");
    fixture_config.unhealthy_status = 503;
    publish();
    EXPECT_HAS(get("/health", ""), "HTTP/1.1 503 Service Unavailable\r\n");
    EXPECT_HAS(reply, "airports status: Error. connection refused\n");
    EXPECT_HAS(get("/health/airports", ""), "HTTP/1.1 503 ");
    EXPECT_HAS(reply, "\r\n\r\nairports status: Error. connection refused\n");
    EXPECT_HAS(get("/health/trips", ""), "HTTP/1.1 200 ");
    EXPECT_HAS(reply, "\r\n\r\ntrips status: OK\n");
    EXPECT_HAS(get("/livez", ""), "HTTP/1.1 200 OK");
    EXPECT_HAS(reply, "\r\n\r\nUp and running\n");
    EXPECT_HAS(get("/readyz", ""), "HTTP/1.1 503 ");
    EXPECT_HAS(reply, "readyz check failed");
    EXPECT_HAS(get("/metrics", ""), "HTTP/1.1 200 ");
    EXPECT_HAS(reply, "Content-Type: text/plain; version=0.0.4; charset=utf-8\r\n");
    static const char *const unknown[] = {
        "/",         "/healthz",  "/health/",     "/health/nobody", "/health/trips/",   "//health",
        "/./health", "/Health",   "/health%00x",  "/%68ealth",      "/health;x",        "/health#x",
        "/livez/x",  "/metrics/", "/x/../health", "/x\\..\\health", "/health/../livez",
    };
    for (size_t i = 0; i < sizeof unknown / sizeof *unknown; i++) {
        if (!EXPECT_HAS(get(unknown[i], ""), "HTTP/1.1 404 Not Found\r\n"))
            printf("# for %s\n", unknown[i]);
    }
    stop();
}

TEST(ready_when_healthy)
{
    start(4, "127.0.0.1:0");
    publish();
    EXPECT_HAS(get("/readyz", ""), "HTTP/1.1 200 OK");
    EXPECT(strstr(reply, "[+]") == NULL);
    EXPECT_HAS(get("/readyz?verbose", ""), "[+]trips ok\n");
    EXPECT_HAS(get("/readyz?a=b&verbose=1", ""), "[+]trips ok\n");
    EXPECT(strstr(get("/readyz?verbosely", ""), "[+]") == NULL);
    stop();
}

TEST(formats)
{
    static const char json_type[] = "Content-Type: application/json\r\n";
    static const char health_type[] = "Content-Type: application/health+json\r\n";
    static const char text_type[] = "Content-Type: text/plain; charset=utf-8\r\n";
    start(4, "127.0.0.1:0");
    publish();
    EXPECT_HAS(get("/health?format=json", ""), json_type);
    EXPECT_HAS(reply, "\"status\":\"pass\"");
    EXPECT_HAS(get("/health?x&format=json&y", "Accept: text/plain\r\n"), json_type);
    EXPECT_HAS(get("/health?format=text", "Accept: application/json\r\n"), text_type);
    EXPECT_HAS(get("/health", "Accept: application/json\r\n"), json_type);
    EXPECT_HAS(get("/health", "ACCEPT: application/health+json\r\n"), health_type);
    EXPECT_HAS(get("/health", "Accept: image/png\r\n"), text_type);
    EXPECT_HAS(get("/health", "Accept: text/plain;q=0.1\r\nAccept: application/json\r\n"),
               json_type);
    EXPECT_HAS(get("/health/trips", "Accept: application/health+json\r\n"), health_type);
    EXPECT_HAS(get("/health?format=nagios", "Accept: application/json\r\n"), text_type);
    EXPECT_HAS(reply, "\r\n\r\nHEALTHSVC OK - 4 of 4 dependencies up | 'trips'=");
    EXPECT_HAS(get("/health/trips?format=nagios", ""), text_type);
    EXPECT_HAS(reply, "\r\n\r\nHEALTHSVC OK - trips: up | 'trips'=");
    EXPECT_HAS(get("/livez", "Accept: application/json\r\n"), text_type);
    static const char *const unknown[] = {"/health?format=xml", "/health?format",
                                          "/health?format=", "/health/trips?format=JSON",
                                          "/health?a&format=jso"};
    for (size_t i = 0; i < sizeof unknown / sizeof *unknown; i++) {
        if (!EXPECT_HAS(get(unknown[i], ""), "HTTP/1.1 400 Bad Request\r\n"))
            printf("# for %s\n", unknown[i]);
    }
    EXPECT_HAS(reply, "\r\n\r\nunknown format: there are format=text, format=json, "
                      "format=nagios\n");
    EXPECT_HAS(get("/health?formats=xml", ""), "HTTP/1.1 200 ");
    stop();
}

TEST(before_the_first_publication)
{
    start(4, "127.0.0.1:0");
    static const char *const paths[] = {"/health", "/livez", "/readyz", "/metrics", "/health/x"};
    for (size_t i = 0; i < sizeof paths / sizeof *paths; i++) {
        EXPECT_HAS(get(paths[i], ""), "HTTP/1.1 500 Internal Server Error\r\n");
        EXPECT_HAS(reply, "\r\n\r\nstarting\n");
    }
    EXPECT_HAS(get("/nowhere", ""), "HTTP/1.1 404 ");
    stop();
}

TEST(methods)
{
    start(4, "127.0.0.1:0");
    publish();
    ask("HEAD /health HTTP/1.1\r\nConnection: close\r\n\r\n");
    EXPECT_HAS(reply, "HTTP/1.1 200 OK\r\n");
    EXPECT_HAS(reply, "Content-Length: 104\r\n");
    EXPECT_STR(strstr(reply, "\r\n\r\n"), "\r\n\r\n");
    static const char *const others[] = {"POST",  "PUT",     "DELETE",   "OPTIONS", "PATCH",
                                         "MKCOL", "CONNECT", "PROPFIND", "LOCK"};
    for (size_t i = 0; i < sizeof others / sizeof *others; i++) {
        char request[64];
        snprintf(request, sizeof request, "%s /health HTTP/1.1\r\nHost: x\r\n\r\n", others[i]);
        ask(request);
        if (!EXPECT_HAS(reply, "HTTP/1.1 405 Method Not Allowed\r\n") ||
            !EXPECT_HAS(reply, "\r\nAllow: GET, HEAD\r\n") ||
            !EXPECT_HAS(reply, "\r\nConnection: close\r\n"))
            printf("# for %s\n", others[i]);
    }
    stop();
}

/* What comes back for bytes as they are: how many answers, of which codes, and that the
 * connection is closed without waiting for its idle time. */
static const struct {
    const char *name;
    const char *sent;
    const char *codes; /* of the answers, in order */
    bool kept;
} raw_cases[] = {
    {"1.1", "GET /livez HTTP/1.1\r\nHost: x\r\n\r\n", "200", true},
    {"1.1 asks to keep", "GET /livez HTTP/1.1\r\nConnection: Keep-Alive\r\n\r\n", "200", true},
    {"1.0", "GET /livez HTTP/1.0\r\nHost: x\r\n\r\n", "200", false},
    {"1.0 asks to keep", "GET /livez HTTP/1.0\r\nConnection: keep-alive\r\n\r\n", "200", true},
    {"no header at all", "GET /livez HTTP/1.1\r\n\r\n", "200", false},
    {"close", "GET /livez HTTP/1.1\r\nConnection: close\r\n\r\n", "200", false},
    {"two tokens", "GET /livez HTTP/1.1\r\nConnection: close, keep-alive\r\n\r\n", "200", false},
    {"a prefix", "GET /livez HTTP/1.1\r\nConnection: k\r\n\r\n", "200", false},
    {"two headers", "GET /livez HTTP/1.1\r\nConnection: keep-alive\r\nConnection: close\r\n\r\n",
     "200", false},
    {"upgrade", "GET /livez HTTP/1.1\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n\r\n", "200",
     false},
    {"upgrade kept", "GET /livez HTTP/1.1\r\nUpgrade: h2c\r\nHost: x\r\n\r\n", "200", false},
    {"expect", "GET /livez HTTP/1.1\r\nExpect: 100-continue\r\nContent-Length: 1\r\n\r\n", "200",
     false},
    {"body", "GET /livez HTTP/1.1\r\nContent-Length: 5\r\n\r\nhello", "200", false},
    {"no body", "GET /livez HTTP/1.1\r\nContent-Length: 0\r\n\r\n", "200", false},
    {"absurd length", "GET /livez HTTP/1.1\r\nContent-Length: 9223372036854775807\r\n\r\n", "200",
     false},
    {"length in words", "GET /livez HTTP/1.1\r\nContent-Length: abc\r\n\r\n", "400", false},
    {"chunked", "GET /livez HTTP/1.1\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n", "200", false},
    {"other coding", "GET /livez HTTP/1.1\r\nTransfer-Encoding: gzip\r\n\r\n", "400", false},
    {"both lengths",
     "GET /livez HTTP/1.1\r\nContent-Length: 4\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n"
     "GET /readyz HTTP/1.1\r\nHost: x\r\n\r\n",
     "200", false},
    {"folded line",
     "GET /livez HTTP/1.1\r\nHost: x\r\n Content-Length: 41\r\n\r\n"
     "GET /readyz HTTP/1.1\r\nHost: x\r\n\r\n",
     "200", false},
    {"line of a high byte",
     "GET /livez HTTP/1.1\r\nHost: x\r\n\x80: y\r\nContent-Length: 41\r\n\r\n"
     "GET /readyz HTTP/1.1\r\nHost: x\r\n\r\n",
     "200", false},
    {"bare LF", "GET /livez HTTP/1.1\nHost: x\n\nGET /readyz HTTP/1.1\nHost: x\n\n", "200", false},
    {"mixed ends", "GET /livez HTTP/1.1\r\nHost: x\n\r\nA: b\r\n\r\n", "200", false},
    {"blank line first", "\r\nGET /livez HTTP/1.1\r\nHost: x\r\n\r\n", "200", false},
    {"pipelined",
     "GET /livez HTTP/1.1\r\nHost: x\r\n\r\nGET /nowhere HTTP/1.1\r\nHost: x\r\n\r\n"
     "GET /livez HTTP/1.1\r\nConnection: close\r\n\r\n",
     "200 404 200", false},
    {"other version", "GET /livez HTTP/1.2\r\nHost: x\r\n\r\n", "505", false},
    {"HTTP/2 preface", "PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n", "400", false},
    {"HTTP/0.9", "GET /livez\r\n\r\n", "400", false},
    {"garbage", "hello\r\n\r\n", "400", false},
    {"TLS", "\x16\x03\x01\x02", "400", false},
    {"lower case", "get /livez HTTP/1.1\r\n\r\n", "400", false},
    {"unknown method", "TRACE /livez HTTP/1.1\r\n\r\n", "400", false},
    {"high byte in the path", "GET /\x80 HTTP/1.1\r\n\r\n", "400", false},
    {"line without colon", "GET /livez HTTP/1.1\r\nHost x\r\n\r\n", "400", false},
    {"asterisk", "OPTIONS * HTTP/1.1\r\nHost: x\r\n\r\n", "", false},
    {"absolute, other port", "GET http://x:1/livez HTTP/1.1\r\nHost: x\r\n\r\n", "", false},
};

/* The codes of the answers in `text`, separated by spaces. */
static void codes_in(const char *text, char *to, size_t room)
{
    size_t len = 0;
    to[0] = '\0';
    for (const char *at = text; (at = strstr(at, "HTTP/1.1 ")) != NULL; at += 9)
        len += (size_t)snprintf(to + len, room - len, "%s%.3s", len > 0 ? " " : "", at + 9);
}

TEST(raw_requests)
{
    start(8, "127.0.0.1:0");
    publish();
    for (size_t i = 0; i < sizeof raw_cases / sizeof *raw_cases; i++) {
        char codes[64];
        int fd = connect_to(only_port());
        send_text(fd, raw_cases[i].sent);
        int faults = testing_faults;
        if (raw_cases[i].kept) {
            /* The same connection answers again. */
            EXPECT(read_answer(fd, reply, sizeof reply));
            EXPECT_HAS(reply, "Connection: keep-alive\r\n");
            send_text(fd, "GET /livez HTTP/1.1\r\nConnection: close\r\n\r\n");
            EXPECT(read_answer(fd, reply, sizeof reply));
        } else {
            EXPECT(read_until_closed(fd, reply, sizeof reply, scaled(4000)));
            EXPECT(strlen(raw_cases[i].codes) > 3 || strstr(reply, "keep-alive") == NULL);
        }
        codes_in(reply, codes, sizeof codes);
        EXPECT_STR(codes, raw_cases[i].codes);
        if (testing_faults > faults)
            printf("# in the case \"%s\"\n", raw_cases[i].name);
        close(fd);
    }
    stop();
}

TEST(too_many_headers_close)
{
    struct strbuf request;
    start(4, "127.0.0.1:0");
    publish();
    for (int headers = 63; headers <= 65; headers++) {
        strbuf_init(&request, 8192);
        strbuf_adds(&request, "GET /livez HTTP/1.1\r\n");
        for (int i = 0; i < headers; i++)
            strbuf_addf(&request, "X-%d: y\r\n", i);
        strbuf_adds(&request, "\r\n");
        int fd = connect_to(only_port());
        send_text(fd, request.data);
        EXPECT(read_answer(fd, reply, sizeof reply));
        EXPECT_HAS(reply, headers < 64 ? "Connection: keep-alive" : "Connection: close");
        close(fd);
        strbuf_done(&request);
    }
    stop();
}

TEST(a_head_too_long_is_refused)
{
    struct strbuf request;
    start(4, "127.0.0.1:0");
    publish();
    strbuf_init(&request, 65536);
    strbuf_adds(&request, "GET /livez HTTP/1.1\r\nX: ");
    for (int i = 0; i < 17000; i++)
        strbuf_addc(&request, 'x');
    strbuf_adds(&request, "\r\n\r\n");
    EXPECT_HAS(ask(request.data), "HTTP/1.1 400 Bad Request\r\n");
    strbuf_done(&request);
    stop();
}

TEST(requests_are_counted)
{
    start(4, "127.0.0.1:0");
    publish();
    uint64_t good = atomic_load(&stats.requests[200]);
    uint64_t unknown = atomic_load(&stats.requests[404]);
    uint64_t bad = atomic_load(&stats.requests[400]);
    get("/health", "");
    get("/nowhere", "");
    ask("hello\r\n\r\n");
    /* Counted before it is sent; the proof at the start is not. */
    EXPECT_INT(atomic_load(&stats.requests[200]) - good, 1);
    EXPECT_INT(atomic_load(&stats.requests[404]) - unknown, 1);
    EXPECT_INT(atomic_load(&stats.requests[400]) - bad, 1);
    stop();
    start(4, "127.0.0.1:0");
    EXPECT_INT(atomic_load(&stats.requests[200]) - good, 1);
    stop();
}

int main(void)
{
    RUN(an_answer_is_complete);
    RUN(paths_and_codes);
    RUN(ready_when_healthy);
    RUN(formats);
    RUN(before_the_first_publication);
    RUN(methods);
    RUN(raw_requests);
    RUN(too_many_headers_close);
    RUN(a_head_too_long_is_refused);
    RUN(requests_are_counted);
    return testing_end();
}
