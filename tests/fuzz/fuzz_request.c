/*
 * What is made of a request that CivetWeb has parsed: paths, the query, Accept, Authorization, who
 * asks, whether the connection stays. An input is one byte that chooses the settings, one that chooses
 * who asks, and a request head; it is cut into words as CivetWeb does it, in a buffer like its own, and answered by the real
 * routes, with this file in the library's place. Each answer is one write, read by our own client's
 * parser, and says no more than who asks may know.
 */
#include "fuzz.h"

#include "../unit/report_fixture.h"
#include "web/peer.h"
#include "web/reply.h"
#include "web/routes.h"

#include <healthsvc/board.h>
#include <healthsvc/clock.h>
#include <healthsvc/http_reply.h>
#include <healthsvc/pollers.h>
#include <healthsvc/strbuf.h>
#include <healthsvc/units.h>

#include <arpa/inet.h>
#include <civetweb.h>
#include <netinet/in.h>
#include <stdbool.h>
#include <strings.h>

#define PROOF "/0123" /* only by a Unix socket */
#define TOKEN "open-sesame"
#define REASON "refused by the fuzzer" /* what not everybody may know */

/* The linker puts these in the place of the library's. */
int __real_mg_write(struct mg_connection *conn, const void *bytes, size_t len);
int __wrap_mg_write(struct mg_connection *conn, const void *bytes, size_t len);
const struct mg_request_info *__real_mg_get_request_info(const struct mg_connection *conn);
const struct mg_request_info *__wrap_mg_get_request_info(const struct mg_connection *conn);
int __real_mg_disable_connection_keep_alive(struct mg_connection *conn);
int __wrap_mg_disable_connection_keep_alive(struct mg_connection *conn);
/* And in that of the kernel's word. */
const struct sockaddr_storage *__real_peer_find(const struct mg_request_info *of);
const struct sockaddr_storage *__wrap_peer_find(const struct mg_request_info *of);

/* Who may ask. */
static const struct {
    int family;
    const char *address;
    bool near; /* of this machine, or of the network that details_for names */
} peers[] = {
    {AF_UNSPEC, NULL, false},        {AF_UNIX, NULL, true},
    {AF_INET, "127.9.9.9", true},    {AF_INET6, "::1", true},
    {AF_INET, "10.1.2.3", true},     {AF_INET6, "fd00::1", false},
    {AF_INET, "203.0.113.1", false}, {AF_INET6, "2001:db8::1", false},
};
#define PEERS (sizeof peers / sizeof peers[0])

/* The connection. */
static size_t peer;
static char mark;
static struct mg_request_info info;
static struct strbuf written;
static unsigned writes;
static bool closes;

static bool is_ours(const struct mg_connection *conn)
{
    return (const void *)conn == &mark;
}

int __wrap_mg_write(struct mg_connection *conn, const void *bytes, size_t len)
{
    if (!is_ours(conn))
        return __real_mg_write(conn, bytes, len);
    strbuf_add(&written, bytes, len);
    writes++;
    return (int)len;
}

const struct mg_request_info *__wrap_mg_get_request_info(const struct mg_connection *conn)
{
    return is_ours(conn) ? &info : __real_mg_get_request_info(conn);
}

int __wrap_mg_disable_connection_keep_alive(struct mg_connection *conn)
{
    if (!is_ours(conn))
        return __real_mg_disable_connection_keep_alive(conn);
    closes = true;
    return 0;
}

const struct sockaddr_storage *__wrap_peer_find(const struct mg_request_info *of)
{
    static struct sockaddr_storage addr;
    if (of != &info)
        return __real_peer_find(of);
    memset(&addr, 0, sizeof addr);
    addr.ss_family = (sa_family_t)peers[peer].family;
    if (addr.ss_family == AF_INET)
        (void)inet_pton(AF_INET, peers[peer].address, &((struct sockaddr_in *)&addr)->sin_addr);
    else if (addr.ss_family == AF_INET6)
        (void)inet_pton(AF_INET6, peers[peer].address, &((struct sockaddr_in6 *)&addr)->sin6_addr);
    return &addr;
}

/* ---- the head, cut into words in place ---- */

/* Ends the word at the first `stop`, which is passed; NULL: there is none. */
static char *take_word(char **at, const char *stop)
{
    char *word = *at, *end = strstr(word, stop);
    if (end == NULL)
        return NULL;
    memset(end, 0, strlen(stop));
    *at = end + strlen(stop);
    return word;
}

/* False: CivetWeb would not have called. */
static bool read_head(char *head)
{
    char *at = head, *version;
    info.request_method = take_word(&at, " ");
    info.request_uri = info.request_method != NULL ? take_word(&at, " ") : NULL;
    version = info.request_uri != NULL ? take_word(&at, "\r\n") : NULL;
    if (version == NULL || head[0] == '\0' || info.request_uri[0] != '/' ||
        (strcmp(version, "HTTP/1.1") != 0 && strcmp(version, "HTTP/1.0") != 0))
        return false;
    char *query = strchr(info.request_uri, '?');
    if (query != NULL)
        *query++ = '\0';
    info.query_string = query;
    info.local_uri_raw = info.local_uri = info.request_uri;
    info.http_version = version + strlen("HTTP/");
    for (info.num_headers = 0; info.num_headers < MG_MAX_HEADERS; info.num_headers++) {
        char *line = take_word(&at, "\r\n");
        char *value = line != NULL ? strchr(line, ':') : NULL;
        if (line == NULL || *line == '\0' || value == NULL || value == line) {
            if (line != NULL && *line == '\0')
                at[-2] = '\r'; /* the end of the head: its CR is left */
            break;
        }
        *value++ = '\0';
        value += strspn(value, " \t");
        info.http_headers[info.num_headers] = (struct mg_header){line, value};
    }
    return true;
}

/* ---- what must hold ---- */

static bool has_header(const char *name, const char *value)
{
    for (int i = 0; i < info.num_headers; i++) {
        const struct mg_header *h = &info.http_headers[i];
        if (strcasecmp(h->name, name) == 0 && (value == NULL || strcmp(h->value, value) == 0))
            return true;
    }
    return false;
}

static bool may_know(enum details details)
{
    static const char bearer[] = "bearer ";
    for (int i = 0; i < info.num_headers; i++) {
        const struct mg_header *h = &info.http_headers[i];
        if (strcasecmp(h->name, "Authorization") == 0 &&
            strncasecmp(h->value, bearer, sizeof bearer - 1) == 0 &&
            strcmp(h->value + sizeof bearer - 1, TOKEN) == 0)
            return true;
    }
    return details == DETAILS_ALWAYS || (details == DETAILS_LOCAL && peers[peer].near);
}

static void check_answer(enum details details)
{
    const uint8_t *in = (const uint8_t *)written.data;
    size_t len = written.len;
    struct http_reply reply;
    struct dlg_result ret = {.outcome = OUTCOME_OK};
    enum http_reply_step step = HTTP_REPLY_HEAD;
    HOLDS(writes == 1 && strbuf_error(&written) == 0);
    http_reply_init(&reply, strcmp(info.request_method, "HEAD") == 0);
    http_reply_limit_body(&reply, 1 << 20);
    while (step == HTTP_REPLY_HEAD)
        step = http_reply_feed(&reply, &in, &len, &ret);
    HOLDS(step == HTTP_REPLY_END && len == 0);
    HOLDS(reply.status == 200 || reply.status == 400 || reply.status == 404 ||
          reply.status == 405 || reply.status == 503 ||
          (reply.status == 500 && strcmp(info.local_uri_raw, PROOF) == 0 &&
           peers[peer].family != AF_UNIX));
    HOLDS(reply.closes == closes);
    HOLDS(closes || !(has_header("Content-Length", NULL) || has_header("Transfer-Encoding", NULL) ||
                      has_header("Expect", NULL) || has_header("Upgrade", NULL) ||
                      has_header("Connection", "close")));
    HOLDS(strstr(written.data, TOKEN) == NULL);
    if (strstr(written.data, REASON) != NULL)
        HOLDS(may_know(details));
    if (reply.status == 200 && strcmp(info.local_uri_raw, "/metrics") == 0 && !reply.head)
        fuzz_check_metrics(strstr(written.data, "\r\n\r\n") + 4);
    http_reply_done(&reply);
}

/* What was noted of who asks is shown there. */
static void check_pollers(void)
{
    struct strbuf metrics;
    strbuf_init(&metrics, 1 << 20);
    pollers_add_metrics(&metrics);
    HOLDS(strbuf_error(&metrics) == 0);
    fuzz_check_metrics(metrics.data);
    strbuf_done(&metrics);
}

void fuzz_open_board(void)
{
    static bool open;
    if (!open)
        HOLDS(board_open() == 0);
    open = true;
}

/* Three dependencies are well and one is not. */
static void publish(enum details details)
{
    static char token[] = TOKEN;
    static struct units_network networks[] = {{AF_INET, {10}, 8}};
    struct snapshot *s;
    fuzz_open_board();
    if (writes == 0) {
        reply_thread_init();
        strbuf_init(&written, 1 << 20);
    }
    fixture_reset();
    fixture_set(BROKER, TARGET_DOWN, OUTCOME_CONNECT_REFUSED, REASON);
    fixture_config.unhealthy_status = 503;
    fixture_config.details = details;
    fixture_config.details_for = networks;
    fixture_config.details_for_count = 1;
    fixture_config.details_token = token;
    for (size_t i = 0; i < FIXTURE_COUNT; i++) {
        fixture_confs[i].max_age_ms = INT64_C(3600000);
        fixture_views[i].checked_mono_ms = clock_mono_ms();
    }
    s = fixture_snapshot(FIXTURE_COUNT);
    HOLDS(s != NULL);
    board_beat(clock_mono_ms());
    board_publish(s);
}

void fuzz_request(const struct fuzz_target *target, const uint8_t *data, size_t size)
{
    static struct web_shared shared = {.keep_limit = 1, .proof_path = PROOF};
    (void)target;
    if (size < 2 || size > REQUEST_HEAD_BYTES)
        return;
    peer = data[1] % PEERS;
    enum details details = (enum details)(data[0] % 3);
    char *head = malloc(REQUEST_HEAD_BYTES);
    HOLDS(head != NULL);
    memcpy(head, data + 2, size - 2);
    memset(head + size - 2, 0, REQUEST_HEAD_BYTES - size + 2);
    memset(&info, 0, sizeof info);
    if (read_head(head)) {
        publish(details);
        pollers_clear();
        atomic_store(&shared.serve, data[0] & 4 ? (unsigned)data[0] >> 4 : (unsigned)SERVE_ALL);
        info.user_data = &shared;
        strbuf_clear(&written);
        writes = 0;
        closes = false;
        (void)routes_begin_request((struct mg_connection *)(void *)&mark);
        check_answer(details);
        check_pollers();
    }
    free(head);
}
