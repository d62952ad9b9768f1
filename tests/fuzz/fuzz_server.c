/*
 * Whole connections to the real server, CivetWeb included, by a Unix socket. An input is one byte,
 * where the client's bytes are cut in two, and then those bytes; the client says that there are no
 * more, and reads until the server closes. What comes must be whole answers, no more of them than
 * requests can have been, and nothing after one that says it is the last.
 */
#include "fuzz.h"

#include "../unit/report_fixture.h"

#include <healthsvc/board.h>
#include <healthsvc/clock.h>
#include <healthsvc/http_reply.h>
#include <healthsvc/log.h>
#include <healthsvc/server.h>
#include <healthsvc/strbuf.h>

#include <limits.h>
#include <stdbool.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <unistd.h>

#define WORKERS 3
#define ANSWERS_BYTES (4 << 20)

static struct sockaddr_un address;
static struct server *server;

static void stop(void)
{
    server = server_stop(server);
}

static void start(void)
{
    static struct config_listen listen = {
        .kind = LISTEN_UNIX, .serve = SERVE_ALL, .workers = WORKERS, .mode = 0600};
    static char text[sizeof address.sun_path + 8];
    const char *temporary = getenv("TMPDIR");
    struct strbuf why;
    fuzz_open_board();
    fixture_reset();
    fixture_config.unhealthy_status = 503;
    for (size_t i = 0; i < FIXTURE_COUNT; i++) {
        fixture_confs[i].max_age_ms = INT64_C(1) << 40;
        fixture_views[i].checked_mono_ms = clock_mono_ms();
    }
    snprintf(text, sizeof text, "unix:%s/healthsvc-fuzz-%d",
             temporary != NULL && strlen(temporary) < 60 ? temporary : "/tmp", (int)getpid());
    address.sun_family = AF_UNIX;
    memcpy(address.sun_path, text + 5, strlen(text + 5) + 1);
    listen.text = text;
    listen.group = (gid_t)-1;
    memcpy(&listen.addr, &address, sizeof address);
    listen.addr_len = sizeof address;
    fixture_config.listen = &listen;
    fixture_config.listen_count = 1;
    fixture_config.workers = WORKERS;
    strbuf_init(&why, 1024);
    HOLDS(server_start(&fixture_config, &server, &why) == 0);
    strbuf_done(&why);
    atexit(stop);
}

static void publish(void)
{
    struct snapshot *s = fixture_snapshot(FIXTURE_COUNT);
    HOLDS(s != NULL);
    board_beat(clock_mono_ms() + 3600000);
    board_publish(s);
}

/* ---- the client ---- */

static void send_all(int fd, const uint8_t *bytes, size_t len)
{
    while (len > 0) {
        ssize_t n = send(fd, bytes, len, MSG_NOSIGNAL);
        if (n <= 0)
            return; /* the server has had enough */
        bytes += n;
        len -= (size_t)n;
    }
}

static void talk(const uint8_t *bytes, size_t len, size_t cut, struct strbuf *answers)
{
    char chunk[65536];
    ssize_t n;
    int fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0);
    HOLDS(fd >= 0 && connect(fd, (struct sockaddr *)&address, sizeof address) == 0);
    cut = cut < len ? cut : len;
    send_all(fd, bytes, cut);
    send_all(fd, bytes + cut, len - cut);
    (void)shutdown(fd, SHUT_WR);
    while ((n = recv(fd, chunk, sizeof chunk, 0)) > 0)
        strbuf_add(answers, chunk, (size_t)n);
    close(fd);
    HOLDS(strbuf_error(answers) == 0);
}

/* ---- what must hold ---- */

/* One answer from the front; false: what is there is none that is whole. */
static bool read_answer(const uint8_t **in, size_t *len, bool head, bool *ret_closes)
{
    struct http_reply reply;
    struct dlg_result ret = {.outcome = OUTCOME_OK};
    enum http_reply_step step = HTTP_REPLY_HEAD;
    http_reply_init(&reply, head);
    http_reply_limit_body(&reply, ANSWERS_BYTES);
    while (step == HTTP_REPLY_HEAD)
        step = http_reply_feed(&reply, in, len, &ret);
    *ret_closes = reply.closes;
    bool known = reply.status == 200 || reply.status == 400 || reply.status == 404 ||
                 reply.status == 405 || reply.status == 503 || reply.status == 505;
    http_reply_done(&reply);
    return step == HTTP_REPLY_END && known;
}

/* The answer to HEAD has no body: another one begins right behind its head, or nothing does. */
static bool is_to_head(const uint8_t *in, size_t len)
{
    static const char end[] = "\r\n\r\n", begin[] = "HTTP/1.1 ";
    const uint8_t *found = memmem(in, len, end, sizeof end - 1);
    size_t left = found != NULL ? len - (size_t)(found - in) - (sizeof end - 1) : 1;
    return left == 0 || (left > sizeof begin && found != NULL &&
                         memcmp(found + sizeof end - 1, begin, sizeof begin - 1) == 0);
}

static size_t count_answers(const struct strbuf *answers, bool heads)
{
    const uint8_t *in = (const uint8_t *)answers->data;
    size_t len = answers->len, count = 0;
    bool last = false;
    for (; len > 0; count++) {
        HOLDS(!last);
        HOLDS(read_answer(&in, &len, heads && is_to_head(in, len), &last));
    }
    return count;
}

void fuzz_server(const struct fuzz_target *target, const uint8_t *data, size_t size)
{
    struct strbuf answers;
    size_t lines = 0;
    (void)target;
    if (size < 1)
        return;
    if (server == NULL)
        start();
    publish();
    strbuf_init(&answers, ANSWERS_BYTES);
    talk(data + 1, size - 1, data[0], &answers);
    for (size_t i = 1; i < size; i++)
        lines += data[i] == '\n';
    bool heads = memmem(data, size, "HEAD", 4) != NULL;
    HOLDS(count_answers(&answers, heads) <= lines / 2 + 1); /* a line and an empty one each */
    strbuf_done(&answers);
}
