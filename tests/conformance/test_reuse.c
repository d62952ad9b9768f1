/*
 * Kept connections (`reuse`), by each scheme that has them, against a server that closes, resets,
 * talks or goes quiet between two questions or just as the second one goes out; how old they may be,
 * what a reload makes of them, and whose descriptors they give way to.
 *
 * The server is a process of its own, a thread a connection with blocking calls; what it is to do
 * and what it has seen lies in shared memory.
 */
#ifdef HAVE_CONFIG_H
#include <config.h>
#endif

#include "../asking.h"
#include "../certs.h"
#include "../testing.h"

#include <healthsvc/clock.h>
#include <healthsvc/stats.h>
#include <healthsvc/strbuf.h>

#include <arpa/inet.h>
#include <errno.h>
#include <netinet/in.h>
#include <openssl/ssl.h>
#include <poll.h>
#include <pthread.h>
#include <signal.h>
#include <stdatomic.h>
#include <sys/mman.h>
#include <sys/prctl.h>
#include <sys/socket.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

/* ---- the server ---- */

#define PAUSE_MS 600

enum manner {
    SERVE = 0,
    CLOSE_SECOND,    /* the second question on a connection is read, then the connection closed, */
    RESET_SECOND,    /* or reset, */
    PART_SECOND,     /* or part of an answer sent before it is closed, */
    HANG_SECOND,     /* or nothing done, */
    BAD_SECOND,      /* or answered badly, */
    GIVE_UP_SECOND,  /* or answered that the connection is at its end: 408, GOAWAY */
    CLOSE_THEN_HANG, /* or closed after PAUSE_MS; nothing is done on any other connection */
    CLOSE_ALL,       /* no question but the first of all gets an answer */
    LEFT_OVER,       /* more than the answer, in one piece with it */
    ENDLESS,         /* an answer without an end */
};

/* To those connections on which something has been answered. */
enum order {
    NO_ORDER = 0,
    CLOSE,
    RESET,
    TALK,  /* what is no answer to anything: a line, a ping */
    FLOOD, /* the same, for ever */
};

struct shared {
    atomic_int manner, order;
    atomic_uint accepted, asked, open, acks;
    atomic_bool second_cert;
};

enum {
    PORT_HTTP = 0,
    PORT_HTTPS,
    PORT_GRPC,
    PORT_GRPCS,
    PORTS
};

struct conn {
    int fd;
    unsigned questions;
    bool h2, began;
    SSL *ssl; /* NULL: in clear */
};

static struct shared *shared;
static uint16_t ports[PORTS];
static pid_t server;
static char folder[] = "/tmp/healthsvc-reuse-XXXXXX";
static char ca_file[64];
static struct cert_spec leaf_specs[2]; /* the second one ends sooner */
static SSL_CTX *contexts[2];

static bool conn_send(struct conn *c, const char *bytes, size_t len)
{
    if (c->ssl != NULL)
        return SSL_write(c->ssl, bytes, (int)len) == (int)len;
    return send(c->fd, bytes, len, MSG_NOSIGNAL) == (ssize_t)len;
}

static bool conn_read(struct conn *c, char *bytes, size_t len)
{
    while (len > 0) {
        ssize_t n = c->ssl != NULL ? SSL_read(c->ssl, bytes, (int)len) : recv(c->fd, bytes, len, 0);
        if (n <= 0)
            return false;
        bytes += n;
        len -= (size_t)n;
    }
    return true;
}

static void conn_reset(struct conn *c)
{
    setsockopt(c->fd, SOL_SOCKET, SO_LINGER, &(struct linger){.l_onoff = 1}, sizeof(struct linger));
}

static void conn_flood(struct conn *c, const char *bytes, size_t len)
{
    while (conn_send(c, bytes, len))
        ;
}

#define FRAME_BYTES 9
#define PING "\0\0\x8\6\0\0\0\0\0pingpong"
#define PING_BYTES (FRAME_BYTES + 8)

enum heard {
    ENDED = 0,
    QUESTION,
    NOTHING, /* a frame that is none */
};

static enum heard read_http(struct conn *c)
{
    char seen[4] = "";
    while (memcmp(seen, "\r\n\r\n", 4) != 0) {
        memmove(seen, seen + 1, 3);
        if (!conn_read(c, &seen[3], 1))
            return ENDED;
    }
    return QUESTION;
}

static enum heard read_h2(struct conn *c)
{
    char preface[24], frame[FRAME_BYTES], payload[16384];
    if (!c->began && !conn_read(c, preface, sizeof preface))
        return ENDED;
    c->began = true;
    if (!conn_read(c, frame, sizeof frame))
        return ENDED;
    size_t len = (size_t)(uint8_t)frame[1] << 8 | (uint8_t)frame[2];
    if (len > sizeof payload || !conn_read(c, payload, len))
        return ENDED;
    if (frame[3] == 6 && frame[4] == 1)
        atomic_fetch_add(&shared->acks, 1);
    return frame[3] == 0 && frame[4] == 1 ? QUESTION : NOTHING;
}

static bool say_http(struct conn *c, const char *text)
{
    return conn_send(c, text, strlen(text));
}

/* The answer to the present question, or the first `len` bytes of it. */
static bool answer_h2(struct conn *c, char serving, size_t len)
{
    size_t from = c->questions > 1 ? FRAME_BYTES : 0; /* SETTINGS come once */
    char bytes[] = "\0\0\0\4\0\0\0\0\0"
                   "\0\0\1\1\4\0\0\0\1\x88"
                   "\0\0\7\0\0\0\0\0\1\0\0\0\0\2\x08\1"
                   "\0\0\xf\1\5\0\0\0\1\0\xbgrpc-status\1"
                   "0";
    char stream = (char)(2 * c->questions - 1);
    bytes[17] = bytes[27] = bytes[43] = stream;
    bytes[34] = serving;
    if (len > sizeof bytes - 1 - from)
        len = sizeof bytes - 1 - from;
    return conn_send(c, bytes + from, len);
}

static bool answer(struct conn *c)
{
    return c->h2 ? answer_h2(c, 1, SIZE_MAX)
                 : say_http(c, "HTTP/1.1 200 OK\r\nContent-Length: 3\r\n\r\nok\n");
}

static void pause_ms(int64_t ms)
{
    nanosleep(&(struct timespec){.tv_sec = ms / 1000, .tv_nsec = ms % 1000 * 1000000}, NULL);
}

static void conn_hang(struct conn *c)
{
    char byte;
    while (conn_read(c, &byte, 1))
        ;
}

/* True: the connection stays. */
static bool treat_second(struct conn *c, enum manner manner)
{
    switch (manner) {
    case RESET_SECOND:
        conn_reset(c);
        return false;
    case PART_SECOND:
        if (c->h2)
            answer_h2(c, 1, FRAME_BYTES + 1); /* :status 200 */
        else
            say_http(c, "HTTP/1.1 2");
        return false;
    case HANG_SECOND:
        conn_hang(c);
        return false;
    case BAD_SECOND:
        return c->h2 ? answer_h2(c, 2, SIZE_MAX)
                     : say_http(c, "HTTP/1.1 500 No\r\nContent-Length: 0\r\n\r\n");
    case GIVE_UP_SECOND:
        if (c->h2)
            conn_send(c, "\0\0\x8\7\0\0\0\0\0\0\0\0\1\0\0\0\0", FRAME_BYTES + 8);
        else
            say_http(c, "HTTP/1.1 408 Idle\r\nConnection: close\r\nContent-Length: 0\r\n\r\n");
        conn_hang(c); /* let it be read, and closed, over there */
        return false;
    case CLOSE_THEN_HANG:
        pause_ms(PAUSE_MS * ask_scale());
        return false;
    case CLOSE_SECOND:
    case CLOSE_ALL:
        return false;
    case SERVE:
    case LEFT_OVER:
    case ENDLESS:
        break;
    }
    return answer(c);
}

static bool treat(struct conn *c)
{
    enum manner manner = (enum manner)atomic_load(&shared->manner);
    if (c->questions > 1)
        return treat_second(c, manner);
    if (manner == CLOSE_ALL)
        return false;
    if (manner == CLOSE_THEN_HANG) {
        conn_hang(c);
        return false;
    }
    if (manner == LEFT_OVER)
        return say_http(c, "HTTP/1.1 200 OK\r\nContent-Length: 3\r\n\r\nok\nleft over");
    if (manner == ENDLESS) {
        say_http(c, "HTTP/1.1 200 OK\r\nContent-Length: 1000000\r\n\r\n");
        conn_flood(c, PING PING PING, 3 * PING_BYTES);
        return false;
    }
    return answer(c);
}

/* True: the connection stays. */
static bool obey(struct conn *c, enum order order)
{
    const char *talk = c->h2 ? PING : "HTTP/1.1 408 Idle\r\n\r\n";
    size_t len = c->h2 ? PING_BYTES : strlen(talk);
    switch (order) {
    case NO_ORDER:
        break;
    case CLOSE:
        if (c->ssl != NULL)
            SSL_shutdown(c->ssl);
        return false;
    case RESET:
        conn_reset(c);
        return false;
    case TALK:
        if (!conn_send(c, talk, len))
            return false;
        atomic_store(&shared->order, NO_ORDER);
        break;
    case FLOOD:
        conn_flood(c, talk, len);
        return false;
    }
    return true;
}

static bool is_readable(struct conn *c)
{
    struct pollfd fds = {.fd = c->fd, .events = POLLIN};
    return (c->ssl != NULL && SSL_pending(c->ssl) > 0) || poll(&fds, 1, 1) > 0;
}

/* True: the connection stays. */
static bool conn_next(struct conn *c)
{
    if (!is_readable(c))
        return c->questions == 0 || obey(c, (enum order)atomic_load(&shared->order));
    switch (c->h2 ? read_h2(c) : read_http(c)) {
    case ENDED:
        return false;
    case NOTHING:
        return true;
    case QUESTION:
        break;
    }
    c->questions++;
    atomic_fetch_add(&shared->asked, 1);
    return treat(c);
}

static void *conn_thread(void *arg)
{
    struct conn *c = arg;
    bool open = true;
    if (c->ssl != NULL)
        open = SSL_set_fd(c->ssl, c->fd) == 1 && SSL_accept(c->ssl) == 1;
    while (open)
        open = conn_next(c);
    SSL_free(c->ssl);
    close(c->fd);
    free(c);
    atomic_fetch_sub(&shared->open, 1);
    return NULL;
}

static void conn_accept(int listener, int port)
{
    struct conn *c = calloc(1, sizeof *c);
    pthread_t thread;
    if (c == NULL)
        _exit(1);
    c->fd = accept(listener, NULL, NULL);
    if (c->fd < 0)
        _exit(1);
    c->h2 = port == PORT_GRPC || port == PORT_GRPCS;
    if (port == PORT_HTTPS || port == PORT_GRPCS)
        c->ssl = SSL_new(contexts[atomic_load(&shared->second_cert)]);
    atomic_fetch_add(&shared->open, 1);
    atomic_fetch_add(&shared->accepted, 1);
    if (pthread_create(&thread, NULL, conn_thread, c) != 0)
        _exit(1);
    pthread_detach(thread);
}

static void serve(const int *listeners, pid_t parent)
{
    prctl(PR_SET_PDEATHSIG, SIGKILL);
    if (getppid() != parent)
        _exit(1);
    for (;;) {
        struct pollfd fds[PORTS];
        for (int i = 0; i < PORTS; i++)
            fds[i] = (struct pollfd){.fd = listeners[i], .events = POLLIN};
        if (poll(fds, PORTS, -1) <= 0)
            continue;
        for (int i = 0; i < PORTS; i++) {
            if (fds[i].revents != 0)
                conn_accept(listeners[i], i);
        }
    }
}

static bool start_server(void)
{
    int listeners[PORTS];
    shared = mmap(NULL, sizeof *shared, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0);
    if (shared == MAP_FAILED)
        return false;
    for (int i = 0; i < PORTS; i++) {
        struct sockaddr_in sin = {.sin_family = AF_INET, .sin_addr.s_addr = htonl(INADDR_LOOPBACK)};
        socklen_t len = sizeof sin;
        listeners[i] = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
        if (listeners[i] < 0 || bind(listeners[i], (struct sockaddr *)&sin, sizeof sin) != 0 ||
            listen(listeners[i], 64) != 0 ||
            getsockname(listeners[i], (struct sockaddr *)&sin, &len) != 0)
            return false;
        ports[i] = ntohs(sin.sin_port);
    }
    pid_t parent = getpid();
    server = fork();
    if (server == 0)
        serve(listeners, parent);
    for (int i = 0; i < PORTS; i++)
        close(listeners[i]);
    return server > 0;
}

static SSL_CTX *context_of(const struct cert *c)
{
    SSL_CTX *ctx = SSL_CTX_new(TLS_server_method());
    if (ctx == NULL || SSL_CTX_use_certificate(ctx, c->x509) != 1 ||
        SSL_CTX_use_PrivateKey(ctx, c->key) != 1)
        exit(1);
    return ctx;
}

static void make_certificates(void)
{
    const int64_t day_s = 86400;
    struct cert ca = cert_make(&(struct cert_spec){.name = "ca", .ca = true});
    if (mkdtemp(folder) == NULL)
        exit(1);
    snprintf(ca_file, sizeof ca_file, "%s/ca.pem", folder);
    cert_write(ca_file, &ca);
    for (int i = 0; i < 2; i++) {
        leaf_specs[i] = (struct cert_spec){.name = "peer",
                                           .san = "IP:127.0.0.1",
                                           .from_s = -day_s,
                                           .to_s = (i == 0 ? 60 : 30) * day_s,
                                           .issuer = &ca};
        struct cert leaf = cert_make(&leaf_specs[i]);
        contexts[i] = context_of(&leaf);
        cert_free(&leaf);
    }
    cert_free(&ca);
}

/* ---- asking it, one check after the other ---- */

#define MAX_CHECKS 64
static struct asked asked[MAX_CHECKS];
static struct config *config;
static struct kept *kept[4]; /* by target */
static int port;             /* of the present scheme */

static int64_t scaled(int64_t ms)
{
    return ms * ask_scale();
}

static const char *scheme_at_port(int at)
{
    static const char *const names[PORTS] = {"http", "https", "grpc", "grpcs"};
    return names[at];
}

static bool is_tls(void)
{
    return port == PORT_HTTPS || port == PORT_GRPCS;
}

/* So many targets alike, with `settings` too. */
static struct config *load(size_t count, int64_t timeout_ms, const char *settings)
{
    struct strbuf text;
    strbuf_init(&text, 65536);
    strbuf_adds(&text, "dependencies = (");
    for (size_t i = 0; i < count; i++) {
        strbuf_addf(&text, "%s{ name = \"t%zu\"; url = \"%s://127.0.0.1:%u\"; reuse = true; ",
                    i > 0 ? ", " : "", i, scheme_at_port(port), ports[port]);
        strbuf_addf(&text, "timeout = \"%lldms\"; %s", (long long)timeout_ms, settings);
        if (is_tls())
            strbuf_addf(&text, "ca_file = \"%s\"; ", ca_file);
        strbuf_adds(&text, "}");
    }
    strbuf_adds(&text, ");");
    struct config *loaded = ask_config(text.data);
    strbuf_done(&text);
    EXPECT(loaded != NULL);
    return loaded;
}

static bool wait_until(bool (*is_so)(void))
{
    for (int64_t waited_ms = 0; waited_ms < scaled(5000); waited_ms++) {
        if (is_so())
            return true;
        pause_ms(1);
    }
    return false;
}

static bool none_open(void)
{
    return atomic_load(&shared->open) == 0;
}

static void reset_server(void)
{
    EXPECT(wait_until(none_open)); /* what the test before left is closed, and seen to be */
    atomic_store(&shared->manner, SERVE);
    atomic_store(&shared->order, NO_ORDER);
    atomic_store(&shared->accepted, 0);
    atomic_store(&shared->asked, 0);
    atomic_store(&shared->acks, 0);
    atomic_store(&shared->second_cert, false);
    memset(asked, 0, sizeof asked);
    memset(kept, 0, sizeof kept);
}

/* A check, and what comes before it. */
struct step {
    enum order order;
    bool unseen; /* the loop does not turn between the order's fulfilment and the check; else the
                     check waits until the kept connection has gone away */
    bool stays;  /* the kept connection lives through it */
    enum manner manner;
    enum outcome outcome;
    enum outcome outcome_h2;  /* if it is another there */
    unsigned accepted, asked; /* so far, after it */
    bool keeps;               /* a connection is kept after it */
};

static const struct step *steps;
static size_t step_count, step_now;
static bool order_given;
static int64_t waits_since_ms;

static bool obeyed(void)
{
    return steps[step_now].stays ? atomic_load(&shared->order) == NO_ORDER : none_open();
}

static void start_step(struct asking *round)
{
    checker_role_assert();
    atomic_store(&shared->order, NO_ORDER);
    atomic_store(&shared->manner, (int)steps[step_now].manner);
    asked[step_now].conf = config->targets[0];
    asked[step_now].kept = &kept[0];
    ask_start(round, &asked[step_now]);
}

/* Gives the order, and starts the check when its time has come. */
static void on_step(struct loop_timer *t)
{
    checker_role_assert();
    struct asking *round = (struct asking *)((char *)t - offsetof(struct asking, timer));
    const struct step *s = &steps[step_now];
    if (!order_given) {
        order_given = true;
        waits_since_ms = loop_now_ms(round->loop);
        EXPECT(s->order == NO_ORDER || kept[0] != NULL);
        atomic_store(&shared->order, (int)s->order);
        if (s->unseen)
            EXPECT(wait_until(obeyed));
    }
    bool ready = s->order == NO_ORDER || s->unseen;
    if (s->order != NO_ORDER && !s->unseen)
        ready = s->stays ? obeyed() && atomic_load(&shared->acks) > 0 : kept[0] == NULL;
    if (!ready && loop_now_ms(round->loop) - waits_since_ms < scaled(5000)) {
        loop_timer_clear(round->loop, &round->calm);
        loop_timer_set(round->loop, t, loop_now_ms(round->loop) + 1);
        return;
    }
    EXPECT(ready);
    start_step(round);
}

static void next_step(struct asking *round)
{
    checker_role_assert();
    if (++step_now == step_count)
        return;
    order_given = false;
    round->timer.fire = on_step;
    loop_timer_set(round->loop, &round->timer, loop_now_ms(round->loop));
}

static void expect_new_or_reused(const struct probe_result *r, bool reused)
{
    EXPECT_INT(r->phase_us[PROBE_PHASE_DNS] + r->phase_us[PROBE_PHASE_CONNECT] > 0, !reused);
    EXPECT_INT(r->phase_us[PROBE_PHASE_TLS] > 0, !reused && is_tls());
    EXPECT(r->phase_us[PROBE_PHASE_EXCHANGE] > 0);
    EXPECT_INT(r->ip_family, AF_INET);
    EXPECT_INT(r->cert_expires_wall_s > 0, is_tls());
    EXPECT(r->total_us >= r->phase_us[PROBE_PHASE_EXCHANGE]);
}

static void step_ended(struct asking *round, const struct asked *done)
{
    const struct step *s = &steps[step_now];
    unsigned accepted = atomic_load(&shared->accepted);
    unsigned before = step_now > 0 ? steps[step_now - 1].accepted : 0;
    bool other = s->outcome_h2 != OUTCOME_OK && port >= PORT_GRPC;
    EXPECT_STR(outcome_token(done->result.outcome),
               outcome_token(other ? s->outcome_h2 : s->outcome));
    EXPECT_INT(accepted, s->accepted);
    EXPECT_INT(atomic_load(&shared->asked), s->asked);
    EXPECT_INT(kept[0] != NULL, s->keeps);
    EXPECT_INT(atomic_load(&stats.kept), s->keeps);
    if (done->result.outcome == OUTCOME_TIMEOUT) /* one deadline, whatever came before */
        EXPECT(done->result.total_us <= (done->conf->timeout_ms + LOOP_STALL_MS) * 1000);
    expect_new_or_reused(&done->result, s->accepted == before);
    if (testing_faults > 0)
        printf("# %s, step %zu: %s\n", scheme_at_port(port), step_now, done->result.text);
    next_step(round);
}

static void begin_steps(struct asking *round)
{
    step_now = 0;
    start_step(round);
}

static void play(const struct step *what, size_t count, int64_t timeout_ms)
{
    static const struct ask_options options = {.after = begin_steps, .ended = step_ended};
    steps = what;
    step_count = count;
    reset_server();
    config = load(1, timeout_ms, "period = \"4m\"; ");
    if (config == NULL)
        return;
    EXPECT_INT(ask(asked, MAX_CHECKS, &options), 0);
    EXPECT_INT(step_now, count);
    EXPECT(kept[0] == NULL);
    EXPECT(wait_until(none_open));
    config = config_unref(config);
}

#define HTTP (1u << PORT_HTTP | 1u << PORT_HTTPS)
#define GRPC (1u << PORT_GRPC | 1u << PORT_GRPCS)
#define ALL (HTTP | GRPC)
#define LONG scaled(20000)

static bool has_scheme(unsigned those)
{
    const struct scheme *scheme = scheme_find(scheme_at_port(port));
    return (those & 1u << port) && scheme != NULL && scheme->ops != NULL;
}

#define PLAY(those, timeout_ms, ...)                                  \
    do {                                                              \
        static const struct step rows[] = {__VA_ARGS__};              \
        for (port = 0; port < PORTS; port++) {                        \
            if (has_scheme(those))                                    \
                play(rows, sizeof rows / sizeof rows[0], timeout_ms); \
        }                                                             \
    } while (0)

TEST(one_connection_serves_many)
{
    PLAY(ALL, LONG, {.accepted = 1, .asked = 1, .keeps = true},
         {.accepted = 1, .asked = 2, .keeps = true}, {.accepted = 1, .asked = 3, .keeps = true},
         {.accepted = 1, .asked = 4, .keeps = true});
}

TEST(closed_while_idle)
{
    PLAY(ALL, LONG, {.accepted = 1, .asked = 1, .keeps = true},
         {.order = CLOSE, .accepted = 2, .asked = 2, .keeps = true},
         {.order = RESET, .accepted = 3, .asked = 3, .keeps = true});
}

/* Closed, but this side has not heard of it when it asks. */
TEST(closed_just_before_the_question)
{
    PLAY(ALL, LONG, {.accepted = 1, .asked = 1, .keeps = true},
         {.order = CLOSE, .unseen = true, .accepted = 2, .asked = 2, .keeps = true},
         {.order = RESET, .unseen = true, .accepted = 3, .asked = 3, .keeps = true});
}

TEST(closed_by_the_question)
{
    PLAY(ALL, LONG, {.accepted = 1, .asked = 1, .keeps = true},
         {.manner = CLOSE_SECOND, .accepted = 2, .asked = 3, .keeps = true},
         {.manner = RESET_SECOND, .accepted = 3, .asked = 5, .keeps = true},
         {.manner = GIVE_UP_SECOND, .accepted = 4, .asked = 7, .keeps = true},
         {.manner = SERVE, .accepted = 4, .asked = 8, .keeps = true});
}

/* A server that closes every connection without a word is told so: it is asked once more, no
 * oftener, and the second end counts. */
TEST(a_new_connection_that_fails_is_an_end)
{
    PLAY(ALL, LONG, {.accepted = 1, .asked = 1, .keeps = true},
         {.manner = CLOSE_ALL, .outcome = OUTCOME_CLOSED, .accepted = 2, .asked = 3},
         {.manner = CLOSE_ALL, .outcome = OUTCOME_CLOSED, .accepted = 3, .asked = 4},
         {.manner = SERVE, .accepted = 4, .asked = 5, .keeps = true});
}

TEST(a_new_connection_that_hangs_has_what_is_left_of_the_deadline)
{
    PLAY(ALL, scaled(1000), {.accepted = 1, .asked = 1, .keeps = true},
         {.manner = CLOSE_THEN_HANG, .outcome = OUTCOME_TIMEOUT, .accepted = 2, .asked = 3});
}

TEST(part_of_an_answer_is_an_end)
{
    PLAY(ALL, LONG, {.accepted = 1, .asked = 1, .keeps = true},
         {.manner = PART_SECOND, .outcome = OUTCOME_CLOSED, .accepted = 1, .asked = 2},
         {.accepted = 2, .asked = 3, .keeps = true});
}

TEST(a_bad_answer_is_an_end)
{
    PLAY(ALL, LONG, {.accepted = 1, .asked = 1, .keeps = true},
         {.manner = BAD_SECOND,
          .outcome = OUTCOME_HTTP_STATUS,
          .outcome_h2 = OUTCOME_NOT_SERVING,
          .accepted = 1,
          .asked = 2},
         {.accepted = 2, .asked = 3, .keeps = true});
}

TEST(no_answer_is_an_end)
{
    PLAY(ALL, scaled(300), {.accepted = 1, .asked = 1, .keeps = true},
         {.manner = HANG_SECOND, .outcome = OUTCOME_TIMEOUT, .accepted = 1, .asked = 2},
         {.accepted = 2, .asked = 3, .keeps = true});
}

TEST(talk_between_two_questions)
{
    PLAY(HTTP, LONG, {.accepted = 1, .asked = 1, .keeps = true},
         {.order = TALK, .accepted = 2, .asked = 2, .keeps = true},
         {.order = FLOOD, .accepted = 3, .asked = 3, .keeps = true});
    PLAY(GRPC, LONG, {.accepted = 1, .asked = 1, .keeps = true},
         {.order = TALK, .stays = true, .accepted = 1, .asked = 2, .keeps = true},
         {.order = FLOOD, .accepted = 2, .asked = 3, .keeps = true});
}

TEST(bytes_that_were_not_read)
{
    PLAY(HTTP, LONG, {.manner = LEFT_OVER, .accepted = 1, .asked = 1},
         {.manner = ENDLESS, .accepted = 2, .asked = 2},
         {.accepted = 3, .asked = 3, .keeps = true});
}

/* ---- how old ---- */

#define SHORT_PERIOD_MS 50
#define SHORT_KEEP_MS 300
#define PACE_MS 20

static struct target_conf short_period;
static size_t at_now, reuses, renewals;
static int64_t asked_from_ms, asked_by_ms; /* the present check started in between */
static int64_t made_by_ms;                 /* the one that made the connection, by then */

static void set_short_keep(struct asking *round)
{
    engine_set_keep(round->engine, scaled(SHORT_KEEP_MS));
}

static void ask_paced(struct asking *round)
{
    checker_role_assert();
    asked[at_now].conf = &short_period;
    asked[at_now].kept = &kept[0];
    asked_from_ms = clock_mono_ms();
    ask_start(round, &asked[at_now]);
    asked_by_ms = clock_mono_ms();
}

static void on_pace(struct loop_timer *t)
{
    ask_paced((struct asking *)((char *)t - offsetof(struct asking, timer)));
}

/* Once there is a second certificate, only a new handshake shows it. */
static void paced_ended(struct asking *round, const struct asked *done)
{
    checker_role_assert();
    const struct probe_result *r = &done->result;
    int64_t first_s = asked[0].result.cert_expires_wall_s;
    bool reused = r->phase_us[PROBE_PHASE_CONNECT] == 0;
    EXPECT_INT(r->outcome, OUTCOME_OK);
    if (reused)
        EXPECT(asked_from_ms - made_by_ms + SHORT_PERIOD_MS <= scaled(SHORT_KEEP_MS));
    else
        made_by_ms = asked_by_ms;
    reuses += reused;
    renewals += !reused && at_now > 0;
    if (is_tls() && reused && renewals == 0)
        EXPECT_INT(r->cert_expires_wall_s, first_s);
    if (is_tls() && renewals > 0)
        EXPECT(r->cert_expires_wall_s < first_s);
    atomic_store(&shared->second_cert, true);
    if (renewals == 2 || ++at_now == MAX_CHECKS)
        return;
    round->timer.fire = on_pace;
    loop_timer_set(round->loop, &round->timer, loop_now_ms(round->loop) + scaled(PACE_MS));
}

TEST(never_older_than_it_may_be)
{
    static const struct ask_options options = {
        .before = set_short_keep, .after = ask_paced, .ended = paced_ended};
    for (port = 0; port < PORTS; port++) {
        reset_server();
        at_now = reuses = renewals = 0;
        config = has_scheme(ALL) ? load(1, LONG, "period = \"4m\"; ") : NULL;
        if (config == NULL)
            continue;
        short_period = *config->targets[0];
        short_period.period_ms = SHORT_PERIOD_MS;
        EXPECT_INT(ask(asked, MAX_CHECKS, &options), 0);
        EXPECT_INT(renewals, 2);
        EXPECT_INT(atomic_load(&shared->accepted), 3);
        EXPECT(reuses > 0);
        config = config_unref(config);
    }
}

/* ---- reloads, limits, cancelling ---- */

static size_t plan_now;
static const size_t *plan; /* whose turn it is, by target; PLAN_END */
#define PLAN_END SIZE_MAX
static void (*plan_hook)(struct asking *round); /* before each but the first. May be NULL. */

static void ask_planned(struct asking *round)
{
    checker_role_assert();
    asked[plan_now].conf = config->targets[plan[plan_now]];
    asked[plan_now].kept = &kept[plan[plan_now]];
    ask_start(round, &asked[plan_now]);
    EXPECT_INT(asked[plan_now].start_error, 0);
}

static void on_plan(struct loop_timer *t)
{
    checker_role_assert();
    struct asking *round = (struct asking *)((char *)t - offsetof(struct asking, timer));
    if (plan_hook != NULL)
        plan_hook(round);
    ask_planned(round);
}

static void planned_ended(struct asking *round, const struct asked *done)
{
    checker_role_assert();
    EXPECT_INT(done->result.outcome, OUTCOME_OK);
    if (plan[++plan_now] == PLAN_END)
        return;
    round->timer.fire = on_plan;
    loop_timer_set(round->loop, &round->timer, loop_now_ms(round->loop));
}

static void limit_to_one(struct asking *round)
{
    checker_role_assert();
    engine_set_limit(round->engine, 1);
}

static void play_plan(const size_t *what, size_t limit, void (*hook)(struct asking *round))
{
    const struct ask_options options = {
        .limit = limit, .after = ask_planned, .ended = planned_ended};
    plan = what;
    plan_now = 0;
    plan_hook = hook;
    config = load(3, LONG, "period = \"4m\"; ");
    if (config != NULL)
        EXPECT_INT(ask(asked, MAX_CHECKS, &options), 0);
    config = config_unref(config);
    for (size_t i = 0; i < 3; i++)
        EXPECT(kept[i] == NULL);
}

static void reload(struct asking *round)
{
    (void)round;
    config_unref(config); /* nothing of it is looked at any more */
    config = load(3, LONG, "period = \"3m\"; ");
}

/* What a connection was trusted by may have changed with the files that are read: by TLS the next
 * check makes a new one. */
TEST(a_reload_that_changes_nothing)
{
    static const size_t three[] = {0, 0, 0, PLAN_END};
    for (port = 0; port < PORTS; port++) {
        if (!has_scheme(ALL))
            continue;
        reset_server();
        play_plan(three, 0, reload);
        EXPECT_INT(atomic_load(&shared->accepted), is_tls() ? 3 : 1);
        EXPECT_INT(atomic_load(&shared->asked), 3);
    }
}

TEST(kept_connections_give_way_to_checks)
{
    /* The one that was left last gives way: 1 to 2; 0 stays. */
    static const size_t in_turn[] = {0, 1, 2, 0, PLAN_END};
    port = PORT_HTTP;
    reset_server();
    play_plan(in_turn, 2, NULL);
    EXPECT_INT(atomic_load(&shared->accepted), 3);
    EXPECT_INT(atomic_load(&shared->asked), 4);
}

TEST(a_kept_connection_makes_room_for_its_own_check)
{
    static const size_t again[] = {0, 0, 0, PLAN_END};
    port = PORT_HTTP;
    reset_server();
    play_plan(again, 1, NULL);
    EXPECT_INT(atomic_load(&shared->accepted), 1);
}

TEST(a_lower_limit_closes_what_is_too_much)
{
    static const size_t in_turn[] = {0, 1, 0, 1, PLAN_END};
    port = PORT_HTTP;
    reset_server();
    play_plan(in_turn, 3, limit_to_one); /* from before the second check on */
    EXPECT_INT(atomic_load(&shared->accepted), 4);
}

static void on_second_asked(struct loop_timer *t)
{
    checker_role_assert();
    struct asking *round = (struct asking *)((char *)t - offsetof(struct asking, timer));
    if (atomic_load(&shared->asked) < 2) {
        loop_timer_set(round->loop, t, loop_now_ms(round->loop) + 1);
        return;
    }
    EXPECT(kept[0] == NULL); /* in use */
    probe_cancel(asked[1].probe);
    EXPECT_INT(asked[1].result.outcome, OUTCOME_OWN_CANCELLED);
    EXPECT(kept[0] == NULL);
}

static void on_again(struct loop_timer *t)
{
    checker_role_assert();
    struct asking *round = (struct asking *)((char *)t - offsetof(struct asking, timer));
    atomic_store(&shared->manner, HANG_SECOND);
    asked[1].conf = config->targets[0];
    asked[1].kept = &kept[0];
    ask_start(round, &asked[1]);
    round->timer.fire = on_second_asked;
    loop_timer_set(round->loop, &round->timer, loop_now_ms(round->loop) + 1);
}

static void cancel_ended(struct asking *round, const struct asked *done)
{
    checker_role_assert();
    if (done != &asked[0])
        return;
    EXPECT(kept[0] != NULL);
    round->timer.fire = on_again;
    loop_timer_set(round->loop, &round->timer, loop_now_ms(round->loop));
}

TEST(cancelled_in_the_second_question)
{
    static const size_t once[] = {0, PLAN_END};
    static const struct ask_options options = {.after = ask_planned, .ended = cancel_ended};
    for (port = 0; port < PORTS; port++) {
        if (!has_scheme(ALL))
            continue;
        reset_server();
        plan = once;
        plan_now = 0;
        config = load(1, LONG, "period = \"4m\"; ");
        if (config != NULL)
            EXPECT_INT(ask(asked, MAX_CHECKS, &options), 0);
        EXPECT_INT(atomic_load(&shared->accepted), 1);
        EXPECT(wait_until(none_open));
        config = config_unref(config);
    }
}

int main(void)
{
    signal(SIGPIPE, SIG_IGN); /* as the daemon does */
    alarm((unsigned)(200 * ask_scale()));
    make_certificates();
    if (!start_server()) {
        printf("Bail out! no server\n");
        return 1;
    }
    struct asked nothing = {0};
    if (ask(&nothing, 1, NULL) != 0)
        printf("# (what libraries keep open from their first use on)\n");
    RUN(one_connection_serves_many);
    RUN(closed_while_idle);
    RUN(closed_just_before_the_question);
    RUN(closed_by_the_question);
    RUN(a_new_connection_that_fails_is_an_end);
    RUN(a_new_connection_that_hangs_has_what_is_left_of_the_deadline);
    RUN(part_of_an_answer_is_an_end);
    RUN(a_bad_answer_is_an_end);
    RUN(no_answer_is_an_end);
    RUN(talk_between_two_questions);
    RUN(bytes_that_were_not_read);
    RUN(never_older_than_it_may_be);
    RUN(a_reload_that_changes_nothing);
    RUN(kept_connections_give_way_to_checks);
    RUN(a_kept_connection_makes_room_for_its_own_check);
    RUN(a_lower_limit_closes_what_is_too_much);
    RUN(cancelled_in_the_second_question);
    kill(server, SIGKILL);
    waitpid(server, NULL, 0);
    unlink(ca_file);
    rmdir(folder);
    for (size_t i = 0; i < 2; i++)
        SSL_CTX_free(contexts[i]);
    return testing_end();
}
