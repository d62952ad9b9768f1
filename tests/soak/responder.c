/*
 * responder FOLDER PLAN SEED [CERT]: every target of a soak, and the truth about them.
 *
 * PLAN has two letters a target: its kind (what is spoken there) and its temper (when it fails).
 * Target i is asked on 127.1.x.y (i + 1 in the last two bytes) and one port for all, on
 * FOLDER/i.sock, by the name i.soak.test of the name server here, or as a command that reads
 * FOLDER/i.exec. Each changes its behaviour by a random script, and FOLDER/truth, a file to be
 * mapped, says since when it behaves as it does, and when it last behaved otherwise. Behind the
 * targets it has what the steady ones' checks missed, and how late each processor was.
 *
 * Prints its port and the name server's. On standard input: "measure" begins to note how the checks
 * of the steady targets lie in time; "report" prints what was noted as one line of JSON; its end
 * ends the program.
 */
#include <arpa/inet.h>
#include <errno.h>
#include <fcntl.h>
#include <math.h>
#include <netinet/in.h>
#include <openssl/ssl.h>
#include <pthread.h>
#include <sched.h>
#include <signal.h>
#include <stdatomic.h>
#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/mman.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <time.h>
#include <unistd.h>

#define MAX_TARGETS 20000
#define MAX_FDS 65536
#define MAX_BLOCKS 6000
#define SECOND_US INT64_C(1000000)
#define TICK_US (SECOND_US / 20)
#define BLOCK_US (15 * SECOND_US)
#define STILL_US (SECOND_US / 20) /* it looks every 10 ms at least */
#define WATCH_US (SECOND_US / 100)
#define SLOW_US (SECOND_US / 4)
#define DRIP_US (SECOND_US / 50)
#define NEVER INT64_MAX

enum class {
    GOOD = 0,
    WARN,
    BAD,
    CLASSES
};

/* The observer knows them by number. */
enum behaviour {
    HEALTHY = 0,
    SLOW,
    DRIP,
    WARNING,
    STATUS_500,
    STATUS_503,
    REFUSE,
    RESET,
    HANG,
    GARBAGE,
    CUT,
    NO_NAME,
};

static enum class class_of(enum behaviour b) {
    return b <= DRIP ? GOOD : b == WARNING ? WARN : BAD;
}

/* What a target of that kind may do beside being healthy. */
static const struct kind {
    char letter;
    const enum behaviour *faults;
    size_t fault_count;
} kinds[] = {
#define FAULTS(...)                        \
    (const enum behaviour[]){__VA_ARGS__}, \
        sizeof((const enum behaviour[]){__VA_ARGS__}) / sizeof(enum behaviour)
    {'h', FAULTS(SLOW, DRIP, WARNING, STATUS_500, STATUS_503, REFUSE, RESET, HANG, GARBAGE, CUT)},
    {'u', FAULTS(SLOW, DRIP, WARNING, STATUS_500, STATUS_503, REFUSE, RESET, HANG, GARBAGE, CUT)},
    {'k', FAULTS(SLOW, WARNING, STATUS_500, STATUS_503, REFUSE, RESET, HANG, GARBAGE, CUT)},
    {'d', FAULTS(SLOW, WARNING, STATUS_500, REFUSE, RESET, HANG, CUT, NO_NAME)},
    {'s', FAULTS(SLOW, WARNING, STATUS_500, REFUSE, RESET, HANG, GARBAGE)},
    {'r', FAULTS(SLOW, STATUS_500, REFUSE, RESET, HANG, GARBAGE, CUT)},
    {'t', FAULTS(REFUSE)},
    {'x', FAULTS(WARNING, STATUS_500, HANG)},
};

/* One target's part of the truth. The order of writing is such that whoever reads in between
 * believes more states possible, never fewer. */
struct truth {
    _Atomic int64_t behaviour;
    _Atomic int64_t since_us;         /* of the behaviour; NEVER while it changes */
    _Atomic int64_t last_us[CLASSES]; /* until when it was of that class; NEVER: it is; 0: never */
    _Atomic uint64_t checks;          /* that came */
    int64_t reserved[2];
};

struct target {
    const struct kind *kind;
    char temper;
    int listener; /* -1: refuses, or has none */
    int64_t flip_us;
    int64_t named_us; /* when its name came back */
    /* Of a steady one: the earliest phase seen at first, then the slot of the last check. */
    int64_t base_us, slot;
    unsigned seen;
};

struct connection {
    int target; /* -1: none */
    uint32_t generation;
    uint8_t said;
    bool hung;
    SSL *tls;
};

/* What is to be said later; each queue has one delay, so it is in order by itself. */
struct later {
    int fd;
    uint32_t generation;
    int64_t due_us;
    const char *bytes;
    size_t len;
    bool then_again; /* the rest of a reply, in pieces */
};
struct queue {
    struct later items[MAX_FDS];
    size_t head, count;
};

static const char *folder;
static struct truth *truths;
static struct target targets[MAX_TARGETS];
static size_t target_count, processors;
static struct connection connections[MAX_FDS];
static struct queue slow_queue, drip_queue;
static int epoll_fd, name_server;
static in_port_t port; /* network order */
static SSL_CTX *tls_context;
static uint64_t random_state;
static uint64_t flips;
static int64_t start_us;

/* How the steady ones' checks lie in time. */
static bool measuring;
static int64_t measure_us;
#define BIN_US 20
#define BINS 50000
static uint32_t block_bins[BINS], all_bins[BINS];
static uint64_t block_count, all_count;
static _Atomic int64_t *skips, *doubles, *still_us; /* in the truth, behind the targets */
static int64_t latest_us;
static int block;
static double medians_ms[MAX_BLOCKS];

#define REPLY(status, type, text, len) \
    "HTTP/1.1 " status "\r\nContent-Type: " type "\r\nContent-Length: " len "\r\n\r\n" text
static const char good_reply[] = REPLY("200 OK", "text/plain", "ok\n", "3");
static const char warning_reply[] = REPLY("200 OK", "application/health+json",
                                          "{\"status\":\"warn\",\"output\":\"half full\"}", "38");
static const char reply_500[] = REPLY("500 Internal Server Error", "text/plain", "broken\n", "7");
static const char reply_503[] = REPLY("503 Service Unavailable", "text/plain", "later\n", "6");
static const char garbage[] = "\x7f\x01garbage, and no protocol at all\r\n\r\n";

static int64_t now_us(void)
{
    struct timespec t;
    clock_gettime(CLOCK_MONOTONIC, &t);
    return (int64_t)t.tv_sec * SECOND_US + t.tv_nsec / 1000;
}

static _Noreturn void die(const char *what)
{
    fprintf(stderr, "responder: %s: %s\n", what, strerror(errno));
    exit(1);
}

/* splitmix64: the same script for the same seed. */
static uint64_t random_number(void)
{
    uint64_t z = random_state += UINT64_C(0x9e3779b97f4a7c15);
    z = (z ^ z >> 30) * UINT64_C(0xbf58476d1ce4e5b9);
    z = (z ^ z >> 27) * UINT64_C(0x94d049bb133111eb);
    return z ^ z >> 31;
}

static double random_part(void)
{
    return (double)(random_number() >> 11) / (double)(UINT64_C(1) << 53);
}

static int64_t random_us(double from_s, double to_s)
{
    return (int64_t)((from_s + (to_s - from_s) * random_part()) * (double)SECOND_US);
}

/* ---- connections ---- */

static void hang_up(int fd, bool reset)
{
    struct connection *c = &connections[fd];
    if (reset) {
        struct linger at_once = {.l_onoff = 1};
        setsockopt(fd, SOL_SOCKET, SO_LINGER, &at_once, sizeof at_once);
    }
    SSL_free(c->tls);
    c->tls = NULL;
    c->target = -1;
    c->generation++;
    close(fd);
}

static void say(int fd, const char *bytes, size_t len)
{
    struct connection *c = &connections[fd];
    if (c->tls != NULL)
        (void)SSL_write(c->tls, bytes, (int)len);
    else
        (void)send(fd, bytes, len, MSG_NOSIGNAL);
}

static void say_later(struct queue *q, int64_t delay_us, int fd, const char *bytes, size_t len,
                      bool then_again)
{
    if (q->count == MAX_FDS)
        die("a queue is full");
    q->items[(q->head + q->count++) % MAX_FDS] =
        (struct later){fd, connections[fd].generation, now_us() + delay_us, bytes, len, then_again};
}

static void say_due(struct queue *q, int64_t now)
{
    while (q->count > 0 && q->items[q->head].due_us <= now) {
        struct later l = q->items[q->head];
        q->head = (q->head + 1) % MAX_FDS;
        q->count--;
        if (connections[l.fd].target < 0 || connections[l.fd].generation != l.generation)
            continue;
        if (!l.then_again) {
            say(l.fd, l.bytes, l.len);
            continue;
        }
        size_t piece = l.len < 16 ? l.len : 16;
        say(l.fd, l.bytes, piece);
        if (l.len > piece)
            say_later(q, DRIP_US, l.fd, l.bytes + piece, l.len - piece, true);
    }
}

/* The steady ones are asked once a second: one check in each slot, and each as early in it. */
static void note_phase(struct target *t, int64_t at_us)
{
    if (t->seen == 0)
        t->base_us = at_us;
    int64_t since_us = at_us - t->base_us;
    int64_t slot = (since_us + SECOND_US / 2) / SECOND_US;
    int64_t late_us = since_us - slot * SECOND_US;
    if (t->seen < 10) { /* the earliest of the first ten is taken for the slot's own time */
        t->seen++;
        if (late_us < 0)
            t->base_us += late_us;
        t->slot = slot;
        return;
    }
    if (slot <= t->slot)
        atomic_fetch_add(doubles, 1);
    else
        atomic_fetch_add(skips, slot - t->slot - 1);
    t->slot = slot;
    int64_t away_us = late_us < 0 ? -late_us : late_us;
    if (away_us > latest_us)
        latest_us = away_us;
    size_t bin = (size_t)(late_us < 0 ? 0 : late_us / BIN_US);
    bin = bin < BINS ? bin : BINS - 1;
    block_bins[bin]++;
    block_count++;
    all_bins[bin]++;
    all_count++;
}

static double quantile_ms(const uint32_t *bins, uint64_t count, double part)
{
    uint64_t below = 0, wanted = (uint64_t)((double)count * part);
    for (size_t i = 0; i < BINS; i++) {
        below += bins[i];
        if (below > wanted)
            return (double)i * BIN_US / 1000;
    }
    return 0;
}

static void end_block(void)
{
    if (block < MAX_BLOCKS)
        medians_ms[block++] = quantile_ms(block_bins, block_count, 0.5);
    memset(block_bins, 0, sizeof block_bins);
    block_count = 0;
}

static void count_check(int target)
{
    struct target *t = &targets[target];
    atomic_fetch_add_explicit(&truths[target].checks, 1, memory_order_relaxed);
    if (measuring && t->temper == 'w')
        note_phase(t, now_us());
}

static enum behaviour behaviour_of(int target)
{
    return (enum behaviour)atomic_load_explicit(&truths[target].behaviour, memory_order_relaxed);
}

static void take(int target)
{
    int fd = accept4(targets[target].listener, NULL, NULL, SOCK_NONBLOCK | SOCK_CLOEXEC);
    if (fd < 0)
        return;
    struct epoll_event event = {.events = EPOLLIN, .data.u64 = (uint64_t)fd};
    if (fd >= MAX_FDS || epoll_ctl(epoll_fd, EPOLL_CTL_ADD, fd, &event) != 0)
        die("too many connections");
    struct connection *c = &connections[fd];
    c->target = target;
    c->said = 0;
    c->hung = false;
    char kind = targets[target].kind->letter;
    if (kind != 'k')
        count_check(target);
    enum behaviour b = behaviour_of(target);
    if (kind == 's' && b == GARBAGE)
        say(fd, garbage, sizeof garbage - 1);
    else if (kind == 's') {
        c->tls = SSL_new(tls_context);
        SSL_set_fd(c->tls, fd);
        SSL_set_accept_state(c->tls);
    }
}

static void reply(int fd, const char *bytes, size_t len, enum behaviour b)
{
    if (b == SLOW)
        say_later(&slow_queue, SLOW_US, fd, bytes, len, false);
    else if (b == DRIP)
        say_later(&drip_queue, DRIP_US, fd, bytes, len, true);
    else
        say(fd, bytes, len);
}

static void answer(int fd)
{
    struct connection *c = &connections[fd];
    int target = c->target;
    bool redis = targets[target].kind->letter == 'r';
    enum behaviour b = behaviour_of(target);
    if (targets[target].kind->letter == 'k')
        count_check(target);
    switch (b) {
    case HEALTHY:
    case SLOW:
    case DRIP:
        reply(fd, redis ? "+PONG\r\n" : good_reply, redis ? 7 : sizeof good_reply - 1, b);
        break;
    case WARNING:
        reply(fd, warning_reply, sizeof warning_reply - 1, b);
        break;
    case STATUS_500:
        if (redis)
            say(fd, "-LOADING the data set\r\n", 23);
        else
            say(fd, reply_500, sizeof reply_500 - 1);
        break;
    case STATUS_503:
        say(fd, reply_503, sizeof reply_503 - 1);
        break;
    case REFUSE:
    case RESET:
        hang_up(fd, true);
        break;
    case HANG:
    case NO_NAME:
        c->hung = true;
        break;
    case GARBAGE:
        say(fd, garbage, sizeof garbage - 1);
        break;
    case CUT:
        say(fd, redis ? "+PO" : good_reply, redis ? 3 : 30);
        hang_up(fd, false);
        break;
    }
}

static void hear(int fd)
{
    struct connection *c = &connections[fd];
    char request[2048];
    bool ended, asked;
    if (c->target < 0)
        return;
    if (c->tls != NULL) {
        int n = SSL_read(c->tls, request, sizeof request);
        int error = n <= 0 ? SSL_get_error(c->tls, n) : SSL_ERROR_NONE;
        ended = n <= 0 && error != SSL_ERROR_WANT_READ && error != SSL_ERROR_WANT_WRITE;
        asked = n > 0;
    } else {
        ssize_t n = recv(fd, request, sizeof request, 0);
        ended = n == 0 || (n < 0 && errno != EAGAIN);
        asked = n > 0;
    }
    char kind = targets[c->target].kind->letter;
    if (ended)
        hang_up(fd, false);
    else if (asked && !c->hung && kind != 't' && (kind == 'k' || c->said++ == 0))
        answer(fd);
}

/* ---- targets ---- */

static socklen_t place_of(size_t i, struct sockaddr_storage *ret_place, const char *suffix)
{
    memset(ret_place, 0, sizeof *ret_place);
    if (targets[i].kind->letter == 'u') {
        struct sockaddr_un *un = (struct sockaddr_un *)ret_place;
        un->sun_family = AF_UNIX;
        snprintf(un->sun_path, sizeof un->sun_path, "%s/%zu.sock%s", folder, i, suffix);
        return sizeof *un;
    }
    struct sockaddr_in *in = (struct sockaddr_in *)ret_place;
    in->sin_family = AF_INET;
    in->sin_addr.s_addr = htonl(0x7f010000 + (uint32_t)i + 1);
    in->sin_port = port;
    return sizeof *in;
}

/* A Unix socket takes the place of the one before at once: there is always something to connect to,
 * which refuses while nobody listens. */
static void target_listen(size_t i)
{
    struct sockaddr_storage place, final;
    bool local = targets[i].kind->letter == 'u';
    socklen_t len = place_of(i, &place, ".new");
    int one = 1;
    int fd = socket(place.ss_family, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0);
    setsockopt(fd, SOL_SOCKET, SO_REUSEADDR, &one, sizeof one);
    if (bind(fd, (struct sockaddr *)&place, len) != 0 || listen(fd, 64) != 0)
        die("listen");
    if (local) {
        place_of(i, &final, "");
        if (rename(((struct sockaddr_un *)&place)->sun_path,
                   ((struct sockaddr_un *)&final)->sun_path) != 0)
            die("rename");
    } else if (port == 0) {
        len = sizeof place;
        getsockname(fd, (struct sockaddr *)&place, &len);
        port = ((struct sockaddr_in *)&place)->sin_port;
    }
    struct epoll_event event = {.events = EPOLLIN, .data.u64 = (uint64_t)i << 32};
    event.data.u64 |= UINT64_C(1) << 63;
    if (epoll_ctl(epoll_fd, EPOLL_CTL_ADD, fd, &event) != 0)
        die("epoll_ctl");
    targets[i].listener = fd;
}

/* As when a server dies: what it had open is gone too. */
static void target_refuse(size_t i)
{
    close(targets[i].listener);
    targets[i].listener = -1;
    for (int fd = 0; fd < MAX_FDS; fd++)
        if (connections[fd].target == (int)i)
            hang_up(fd, true);
}

static void write_exec(size_t i, enum behaviour b)
{
    char path[200], new_path[210];
    snprintf(path, sizeof path, "%s/%zu.exec", folder, i);
    snprintf(new_path, sizeof new_path, "%s.new", path);
    FILE *f = fopen(new_path, "w");
    if (f == NULL)
        die(new_path);
    fprintf(f, "%d\n", b == HEALTHY ? 0 : b == WARNING ? 1 : b == HANG ? 9 : 2);
    if (fclose(f) != 0 || rename(new_path, path) != 0)
        die(path);
}

static void target_become(size_t i, enum behaviour b)
{
    struct truth *t = &truths[i];
    enum behaviour was = behaviour_of((int)i);
    if (b == was)
        return;
    enum class before = class_of(was), after = class_of(b);
    flips++;
    atomic_store(&t->since_us, NEVER);
    atomic_store(&t->last_us[after], NEVER);
    atomic_store(&t->behaviour, b);
    if (targets[i].kind->letter == 'x')
        write_exec(i, b);
    else if (b == REFUSE)
        target_refuse(i);
    else if (was == REFUSE)
        target_listen(i);
    int64_t now = now_us();
    if (was == NO_NAME)
        targets[i].named_us = now;
    if (before != after)
        atomic_store(&t->last_us[before], now);
    atomic_store(&t->since_us, now);
}

/* Steady ones never fail. Calm ones, which a verdict may hang on, begin to fail only in the first
 * quarter of two minutes; lively ones at any time, but for the last quarter of four minutes: so the
 * verdict comes to be everything that it can be. */
static bool may_fail(const struct target *t, int64_t now)
{
    if (t->temper == 'c')
        return (now - start_us) / SECOND_US % 120 < 30;
    return (now - start_us) / SECOND_US % 240 < 180;
}

static void flip(size_t i, int64_t now)
{
    struct target *t = &targets[i];
    if (behaviour_of((int)i) != HEALTHY) {
        /* Now and then from one fault into another. */
        if (t->temper != 'c' && random_part() < 0.1 && may_fail(t, now)) {
            target_become(i, t->kind->faults[random_number() % t->kind->fault_count]);
            t->flip_us = now + random_us(1, 20);
            return;
        }
        target_become(i, HEALTHY);
        t->flip_us = now + (t->temper == 'c' ? random_us(60, 1200) : random_us(5, 240));
        return;
    }
    if (!may_fail(t, now)) {
        t->flip_us = now + random_us(1, 30);
        return;
    }
    target_become(i, t->kind->faults[random_number() % t->kind->fault_count]);
    t->flip_us = now + (random_part() < 0.25 ? random_us(0.1, 2) : random_us(5, 25));
}

static void tick(int64_t now)
{
    for (size_t i = 0; i < target_count; i++)
        if (targets[i].flip_us <= now)
            flip(i, now);
    if (measuring && now - measure_us >= (block + 1) * BLOCK_US)
        end_block();
}

/* ---- the name server ---- */

/* RFC 1035 section 4.1. For twenty seconds of two minutes it says SERVFAIL or nothing: what it said
 * before has to do. */
static void answer_names(void)
{
    static const uint8_t record[] = {0xc0, 12, 0, 1, 0, 1, 0, 0, 0, 1, 0, 4};
    uint8_t m[512];
    struct sockaddr_in from;
    socklen_t from_len = sizeof from;
    ssize_t n;
    while ((n = recvfrom(name_server, m, sizeof m - 32, 0, (struct sockaddr *)&from, &from_len)) >
           0) {
        size_t end = 12, i;
        while (end < (size_t)n && m[end] != 0)
            end += 1 + m[end];
        if (n < 17 || end + 5 > (size_t)n)
            continue;
        bool address = m[end + 1] == 0 && m[end + 2] == 1;
        char label[64];
        snprintf(label, sizeof label, "%.*s", m[12] & 63, (const char *)m + 13);
        i = (size_t)strtoul(label, NULL, 10);
        end += 5;
        int64_t phase_s = (now_us() - start_us) / SECOND_US % 120;
        bool known = i < target_count && targets[i].kind->letter == 'd';
        bool failing = phase_s >= 60 && phase_s < 80;
        if (known)
            failing = failing && behaviour_of((int)i) != NO_NAME &&
                      now_us() - targets[i].named_us > 30 * SECOND_US;
        if (failing && random_number() % 2)
            continue;
        bool none = !known || behaviour_of((int)i) == NO_NAME;
        m[2] = 0x81;
        m[3] = (uint8_t)(0x80 | (failing ? 2 : none ? 3 : 0));
        memcpy(m + 4, "\0\1\0\0\0\0\0\0", 8);
        if (!failing && !none && address) {
            uint32_t a = htonl(0x7f010000 + (uint32_t)i + 1);
            m[7] = 1;
            memcpy(m + end, record, sizeof record);
            memcpy(m + end + sizeof record, &a, 4);
            end += sizeof record + 4;
        }
        sendto(name_server, m, end, 0, (struct sockaddr *)&from, from_len);
    }
}

static in_port_t open_name_server(void)
{
    struct sockaddr_in sin = {.sin_family = AF_INET, .sin_addr.s_addr = htonl(INADDR_LOOPBACK)};
    socklen_t len = sizeof sin;
    name_server = socket(AF_INET, SOCK_DGRAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0);
    struct epoll_event event = {.events = EPOLLIN, .data.u64 = (uint64_t)name_server};
    if (bind(name_server, (struct sockaddr *)&sin, sizeof sin) != 0 ||
        getsockname(name_server, (struct sockaddr *)&sin, &len) != 0 ||
        epoll_ctl(epoll_fd, EPOLL_CTL_ADD, name_server, &event) != 0)
        die("name server");
    return ntohs(sin.sin_port);
}

/* ---- whether the machine stands still ---- */

/* One on each processor, which sends itself a packet: whoever else wants to run there, or waits for
 * a packet, is as late as this one. A virtual processor may stand still for seconds, which the
 * kernel takes for the time of who was running; and packets wait for ksoftirqd when it is busy. */
static void *watch_processor(void *arg)
{
    struct truth *own = arg;
    struct sockaddr_in sin = {.sin_family = AF_INET, .sin_addr.s_addr = htonl(INADDR_LOOPBACK)};
    socklen_t len = sizeof sin;
    char byte = 0;
    int fd = socket(AF_INET, SOCK_DGRAM | SOCK_CLOEXEC, 0);
    if (bind(fd, (struct sockaddr *)&sin, sizeof sin) != 0 ||
        getsockname(fd, (struct sockaddr *)&sin, &len) != 0 ||
        connect(fd, (struct sockaddr *)&sin, len) != 0)
        die("a socket to itself");
    for (int64_t last_us = now_us();;) {
        atomic_store(&own->last_us[1], last_us);
        usleep(WATCH_US);
        if (send(fd, &byte, 1, 0) == 1)
            (void)recv(fd, &byte, 1, 0);
        int64_t now = now_us();
        if (now - last_us > STILL_US)
            atomic_fetch_add(&own->last_us[0], now - last_us);
        last_us = now;
    }
    return NULL;
}

static void watch_processors(void)
{
    for (size_t i = 0; i < processors; i++) {
        pthread_attr_t attr;
        pthread_t thread;
        cpu_set_t one;
        CPU_ZERO(&one);
        CPU_SET(i, &one);
        pthread_attr_init(&attr);
        if (pthread_attr_setaffinity_np(&attr, sizeof one, &one) != 0 ||
            pthread_create(&thread, &attr, watch_processor, &truths[target_count + 1 + i]) != 0)
            die("a thread on each processor");
        pthread_attr_destroy(&attr);
    }
}

/* ---- start and end ---- */

static void report(void)
{
    printf("{\"checks\": %llu, \"p50_ms\": %.2f, \"p99_ms\": %.2f, \"max_ms\": %.2f, "
           "\"skips\": %lld, \"doubles\": %lld, \"flips\": %llu, \"medians_ms\": [",
           (unsigned long long)all_count, quantile_ms(all_bins, all_count, 0.5),
           quantile_ms(all_bins, all_count, 0.99), (double)latest_us / 1000,
           (long long)atomic_load(skips), (long long)atomic_load(doubles),
           (unsigned long long)flips);
    for (int i = 0; i < block; i++)
        printf("%s%.2f", i > 0 ? ", " : "", medians_ms[i]);
    printf("]}\n");
    fflush(stdout);
}

static void obey(void)
{
    char line[64];
    ssize_t n = read(STDIN_FILENO, line, sizeof line);
    if (n <= 0)
        exit(0);
    if (line[0] == 'm') {
        measuring = true;
        measure_us = now_us();
    } else {
        report();
    }
}

static void read_plan(const char *path)
{
    FILE *f = fopen(path, "r");
    char letters[4];
    if (f == NULL)
        die(path);
    while (target_count < MAX_TARGETS && fscanf(f, "%2s", letters) == 1) {
        struct target *t = &targets[target_count++];
        for (size_t k = 0; k < sizeof kinds / sizeof kinds[0]; k++)
            if (kinds[k].letter == letters[0])
                t->kind = &kinds[k];
        if (t->kind == NULL)
            die("a kind that is not known");
        t->temper = letters[1];
        t->listener = -1;
    }
    fclose(f);
}

static void open_truth(void)
{
    char path[200];
    snprintf(path, sizeof path, "%s/truth", folder);
    size_t bytes = (target_count + 1 + processors) * sizeof *truths;
    int fd = open(path, O_RDWR | O_CREAT | O_CLOEXEC, 0600);
    if (fd < 0 || ftruncate(fd, (off_t)bytes) != 0)
        die(path);
    truths = mmap(NULL, bytes, PROT_READ | PROT_WRITE, MAP_SHARED, fd, 0);
    if (truths == MAP_FAILED)
        die("mmap");
    close(fd);
    skips = &truths[target_count].last_us[0];
    doubles = &truths[target_count].last_us[1];
    still_us = &truths[target_count].last_us[2];
}

static void start_targets(void)
{
    int64_t now = now_us();
    for (size_t i = 0; i < target_count; i++) {
        struct target *t = &targets[i];
        truths[i].since_us = now;
        truths[i].last_us[GOOD] = NEVER;
        truths[i].last_us[WARN] = truths[i].last_us[BAD] = 0;
        t->flip_us = t->temper == 'w'   ? NEVER
                     : t->temper == 'c' ? now + random_us(20, 600)
                                        : now + random_us(5, 120);
        if (t->kind->letter == 'x')
            write_exec(i, HEALTHY);
        else
            target_listen(i);
    }
}

int main(int argc, char **argv)
{
    static struct epoll_event events[512];
    if (argc < 4)
        return 2;
    folder = argv[1];
    random_state = strtoull(argv[3], NULL, 10);
    signal(SIGPIPE, SIG_IGN);
    for (int i = 0; i < MAX_FDS; i++)
        connections[i].target = -1;
    if (argc > 4) {
        tls_context = SSL_CTX_new(TLS_server_method());
        if (tls_context == NULL || SSL_CTX_use_certificate_chain_file(tls_context, argv[4]) != 1 ||
            SSL_CTX_use_PrivateKey_file(tls_context, argv[4], SSL_FILETYPE_PEM) != 1)
            die(argv[4]);
    }
    epoll_fd = epoll_create1(EPOLL_CLOEXEC);
    read_plan(argv[2]);
    processors = (size_t)sysconf(_SC_NPROCESSORS_ONLN);
    open_truth();
    watch_processors();
    start_us = now_us();
    start_targets();
    printf("%u ", ntohs(port));
    printf("%u\n", open_name_server());
    fflush(stdout);
    struct epoll_event event = {.events = EPOLLIN, .data.u64 = STDIN_FILENO};
    epoll_ctl(epoll_fd, EPOLL_CTL_ADD, STDIN_FILENO, &event);
    for (int64_t ticked_us = 0, looked_us = 0;;) {
        int n = epoll_wait(epoll_fd, events, 512, 10);
        for (int i = 0; i < n; i++) {
            uint64_t of = events[i].data.u64;
            if (of >> 63)
                take((int)(of << 1 >> 33));
            else if (of == STDIN_FILENO)
                obey();
            else if ((int)of == name_server)
                answer_names();
            else
                hear((int)of);
        }
        int64_t now = now_us();
        if (looked_us > 0 && now - looked_us > STILL_US)
            atomic_fetch_add(still_us, now - looked_us);
        looked_us = now;
        say_due(&slow_queue, now);
        say_due(&drip_queue, now);
        if (now - ticked_us >= TICK_US) {
            ticked_us = now;
            tick(now);
        }
    }
}
