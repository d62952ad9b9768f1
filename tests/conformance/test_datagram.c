/*
 * dns and ntp against every bad peer: what test_conformance is for connections. Packets may be lost,
 * late, forged or broken; and for dns a truncated one leads to TCP, where all can go wrong again.
 */
#include "../asking.h"
#include "../testing.h"

#include <healthsvc/strbuf.h>

#include <arpa/inet.h>
#include <netinet/in.h>
#include <pthread.h>
#include <signal.h>
#include <sys/mman.h>
#include <sys/prctl.h>
#include <sys/socket.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

enum manner {
    REFUSE = 0, /* nobody listens */
    SILENT,
    RIGHT,
    LATE,         /* the right answer to the second packet only */
    GARBAGE,      /* random bytes */
    FORGED,       /* the right answer to another question */
    EMPTY,        /* a packet of no bytes, then silence */
    FLOOD,        /* forged ones for as long as the test runs, then silence */
    AFTER_FORGED, /* several forged ones, then the right one */
    BROKEN,       /* the right beginning, nothing behind */
    /* These answer truncated by UDP, and then by TCP: */
    TCP_REFUSE,
    TCP_HANG,
    TCP_CLOSE,
    TCP_RESET,
    TCP_RIGHT,
    TCP_BYTES, /* the right answer, a segment a byte */
    TCP_CUT,   /* half of it, then the end */
    TCP_FORGED,
    TCP_TRUNCATED,
    TCP_DRIBBLE,
    MANNERS,
};
static const char *const manner_names[MANNERS] = {
    "refuse",    "silent",    "right",   "late",       "garbage",       "forged",      "empty",
    "flood",     "after",     "broken",  "tcp_refuse", "tcp_hang",      "tcp_close",   "tcp_reset",
    "tcp_right", "tcp_bytes", "tcp_cut", "tcp_forged", "tcp_truncated", "tcp_dribble",
};

struct peer {
    enum manner manner;
    int udp, tcp;
    uint16_t port;
    unsigned packets;
};
static struct peer dns_peers[MANNERS], ntp_peers[MANNERS];

/* ---- the peers, in a process of their own ---- */

static const uint8_t record[] = {0xc0, 12, 0, 1, 0, 1, 0, 0, 0, 60, 0, 4, 127, 0, 0, 1};

static size_t answer_dns(const struct peer *p, uint8_t *packet, size_t len)
{
    packet[2] |= 0x80;
    if (p->manner == FORGED || p->manner == TCP_FORGED)
        packet[0] ^= 1;
    if (p->manner == TCP_TRUNCATED)
        packet[2] |= 2;
    packet[7] = 1; /* one record */
    if (p->manner == BROKEN)
        return len;
    memcpy(packet + len, record, sizeof record);
    return len + sizeof record;
}

static size_t answer_ntp(const struct peer *p, uint8_t *packet)
{
    struct timespec now;
    clock_gettime(CLOCK_REALTIME, &now);
    uint32_t s = htonl((uint32_t)(now.tv_sec + 2208988800));
    memcpy(packet + 24, packet + 40, 8);
    memcpy(packet + 32, &s, 4);
    memcpy(packet + 40, &s, 4);
    packet[0] = 0x24;
    packet[1] = 2;
    if (p->manner == FORGED)
        packet[24] ^= 1;
    return p->manner == BROKEN ? 40 : 48;
}

static size_t answer(const struct peer *p, bool dns, uint8_t *packet, size_t len)
{
    return dns ? answer_dns(p, packet, len) : answer_ntp(p, packet);
}

static void fill_random(uint8_t *bytes, size_t len)
{
    for (size_t i = 0; i < len; i++)
        bytes[i] = (uint8_t)(i * 167 + 13);
}

static void answer_packet(struct peer *p, uint8_t *packet, size_t len)
{
    struct sockaddr_in to;
    socklen_t to_len = sizeof to;
    bool dns = p >= dns_peers && p < dns_peers + MANNERS;
    ssize_t r = recvfrom(p->udp, packet, len, 0, (struct sockaddr *)&to, &to_len);
    if (r < 12)
        return;
    size_t asked = (size_t)r, times = 1, out = 0;
    bool truncated = p->manner >= TCP_REFUSE;
    p->packets++;
    if (p->manner == SILENT || (p->manner == LATE && p->packets == 1))
        return;
    if (truncated) {
        packet[2] |= 0x82;
        out = asked;
    } else if (p->manner == GARBAGE) {
        fill_random(packet, out = 100);
    } else if (p->manner == AFTER_FORGED || p->manner == FLOOD) {
        struct peer forged = {.manner = FORGED};
        uint8_t copy[1024];
        memcpy(copy, packet, asked);
        size_t forged_len = answer(&forged, dns, copy, asked);
        times = p->manner == FLOOD ? 20000 : 5;
        for (size_t i = 0; i < times; i++)
            (void)sendto(p->udp, copy, forged_len, 0, (struct sockaddr *)&to, to_len);
        if (p->manner == FLOOD)
            return;
        out = answer(p, dns, packet, asked);
    } else if (p->manner != EMPTY) {
        out = answer(p, dns, packet, asked);
    }
    (void)sendto(p->udp, packet, out, 0, (struct sockaddr *)&to, to_len);
}

static void *udp_thread(void *arg)
{
    uint8_t packet[1024];
    for (;;)
        answer_packet(arg, packet, sizeof packet - sizeof record);
    return NULL;
}

static void send_bytes(int fd, const uint8_t *bytes, size_t len, long pause_ms)
{
    for (size_t i = 0; i < len && send(fd, bytes + i, 1, MSG_NOSIGNAL) == 1; i++)
        nanosleep(&(struct timespec){.tv_nsec = pause_ms * 1000000}, NULL);
}

static void converse(const struct peer *p, int fd)
{
    uint8_t message[1024];
    struct linger reset = {.l_onoff = 1, .l_linger = 0};
    ssize_t r = p->manner == TCP_CLOSE ? 0 : recv(fd, message, 512, 0);
    size_t len = r > 2 ? answer_dns(p, message + 2, (size_t)r - 2) : 0;
    message[1] = (uint8_t)len;
    switch (p->manner) {
    case TCP_RESET:
        setsockopt(fd, SOL_SOCKET, SO_LINGER, &reset, sizeof reset);
        break;
    case TCP_HANG:
        (void)recv(fd, message, 1, 0);
        break;
    case TCP_BYTES:
        send_bytes(fd, message, len + 2, 0);
        (void)recv(fd, message, 1, 0);
        break;
    case TCP_DRIBBLE:
        message[0] = 1; /* 256 more to come */
        send_bytes(fd, message, sizeof message, 50);
        break;
    case TCP_CUT:
        (void)send(fd, message, len / 2, MSG_NOSIGNAL);
        break;
    case TCP_RIGHT:
    case TCP_FORGED:
    case TCP_TRUNCATED:
        (void)send(fd, message, len + 2, MSG_NOSIGNAL);
        (void)recv(fd, message, 1, 0);
        break;
    case REFUSE:
    case SILENT:
    case RIGHT:
    case LATE:
    case GARBAGE:
    case FORGED:
    case EMPTY:
    case FLOOD:
    case AFTER_FORGED:
    case BROKEN:
    case TCP_REFUSE:
    case TCP_CLOSE:
    case MANNERS:
        break;
    }
    close(fd);
}

static void *tcp_thread(void *arg)
{
    const struct peer *p = arg;
    for (;;) {
        int fd = accept(p->tcp, NULL, NULL);
        if (fd >= 0)
            converse(p, fd);
    }
    return NULL;
}

/* The same port by both; for those that refuse it is taken and left again. */
static bool peer_open(struct peer *p, enum manner manner)
{
    struct sockaddr_in at = {.sin_family = AF_INET, .sin_addr.s_addr = htonl(INADDR_LOOPBACK)};
    socklen_t len = sizeof at;
    p->manner = manner;
    for (int tries = 0; tries < 20; tries++) {
        at.sin_port = 0;
        p->udp = socket(AF_INET, SOCK_DGRAM, 0);
        p->tcp = socket(AF_INET, SOCK_STREAM, 0);
        if (p->udp >= 0 && p->tcp >= 0 && bind(p->udp, (struct sockaddr *)&at, len) == 0 &&
            getsockname(p->udp, (struct sockaddr *)&at, &len) == 0 &&
            bind(p->tcp, (struct sockaddr *)&at, len) == 0 &&
            (manner <= TCP_REFUSE || listen(p->tcp, 64) == 0)) {
            p->port = ntohs(at.sin_port);
            return true;
        }
        close(p->udp);
        close(p->tcp);
    }
    return false;
}

static void serve(void)
{
    pthread_t thread;
    prctl(PR_SET_PDEATHSIG, SIGKILL);
    for (int i = 0; i < 2 * MANNERS; i++) {
        struct peer *p = i < MANNERS ? &dns_peers[i] : &ntp_peers[i - MANNERS];
        if (p->manner == REFUSE)
            continue;
        if (pthread_create(&thread, NULL, udp_thread, p) != 0 ||
            (p->manner > TCP_REFUSE && pthread_create(&thread, NULL, tcp_thread, p) != 0))
            _exit(1);
    }
    for (;;)
        pause();
}

static bool open_peers(struct peer *list)
{
    for (int i = 0; i < MANNERS; i++) {
        if (!peer_open(&list[i], (enum manner)i))
            return false;
    }
    return true;
}

static void close_peers(struct peer *list)
{
    for (int i = 0; i < MANNERS; i++) {
        close(list[i].udp);
        close(list[i].tcp);
    }
}

/* ---- the checks ---- */

#define BIT(id) ((uint64_t)1 << OUTCOME_##id)

static uint64_t allowed(bool dns, enum manner manner)
{
    switch (manner) {
    case REFUSE:
        return BIT(CONNECT_REFUSED);
    case RIGHT:
    case AFTER_FORGED:
        return BIT(OK);
    case LATE:
        return dns ? BIT(OK) : BIT(TIMEOUT); /* a time server is asked once */
    case BROKEN:
        return dns ? BIT(BAD_REPLY) : BIT(TIMEOUT);
    case SILENT:
    case GARBAGE:
    case FORGED:
    case EMPTY:
    case FLOOD:
    case TCP_HANG:
    case TCP_DRIBBLE:
        return BIT(TIMEOUT);
    case TCP_REFUSE:
        return BIT(CONNECT_REFUSED);
    case TCP_CLOSE:
        return BIT(CLOSED) | BIT(RESET);
    case TCP_RESET:
        return BIT(RESET);
    case TCP_RIGHT:
    case TCP_BYTES:
        return BIT(OK);
    case TCP_CUT:
        return BIT(CLOSED);
    case TCP_FORGED:
    case TCP_TRUNCATED:
        return BIT(BAD_REPLY);
    case MANNERS:
        break;
    }
    return 0;
}

static struct config *config;
static struct asked asked[2 * MANNERS];

static size_t ntp_count(void)
{
    return TCP_REFUSE; /* it knows no TCP */
}

static bool configure(void)
{
    struct strbuf text;
    strbuf_init(&text, 65536);
    strbuf_adds(&text, "dependencies = (\n");
    for (size_t i = 0; i < MANNERS + ntp_count(); i++) {
        bool dns = i < MANNERS;
        enum manner manner = (enum manner)(dns ? i : i - MANNERS);
        bool to_the_end = allowed(dns, manner) == BIT(TIMEOUT);
        strbuf_addf(&text,
                    "%s { name = \"%s_%s\"; url = \"%s://127.0.0.1:%u%s\"; period = \"1h\"; "
                    "timeout = \"%lldms\"; }",
                    i > 0 ? ",\n" : "", dns ? "dns" : "ntp", manner_names[manner],
                    dns ? "dns" : "ntp", dns ? dns_peers[manner].port : ntp_peers[manner].port,
                    dns ? "/trips.test" : "",
                    (to_the_end ? 1500LL : 20000LL) * (long long)ask_scale());
    }
    strbuf_adds(&text, "\n);\n");
    config = strbuf_error(&text) == 0 ? ask_config(text.data) : NULL;
    strbuf_done(&text);
    return config != NULL;
}

static void gather(void)
{
    memset(asked, 0, sizeof asked);
    for (size_t i = 0; i < config->target_count; i++)
        asked[i].conf = config->targets[i];
}

/* A check that was under way while this machine held the test up for long is no evidence. */
static bool held_up(void)
{
    for (size_t i = 0; i < config->target_count; i++) {
        if (asked[i].result.outcome == OUTCOME_OWN_STALLED)
            return true;
    }
    return false;
}
#define TRIES 3

TEST(every_manner)
{
    int tries = 0;
    do {
        gather();
        EXPECT_INT(ask(asked, config->target_count, NULL), 0);
    } while (held_up() && ++tries < TRIES);
    for (size_t i = 0; i < config->target_count; i++) {
        bool dns = i < MANNERS;
        const struct probe_result *r = &asked[i].result;
        uint64_t right = allowed(dns, (enum manner)(dns ? i : i - MANNERS));
        if (!EXPECT(right & (uint64_t)1 << r->outcome))
            printf("# %s ended %s: %s\n", asked[i].conf->name, outcome_token(r->outcome), r->text);
        if (r->outcome == OUTCOME_OK)
            EXPECT_INT(r->ip_family, AF_INET);
        if (right == BIT(TIMEOUT))
            EXPECT(r->total_us >= asked[i].conf->timeout_ms * 1000 - 1000);
    }
}

TEST(cancelled_at_any_turn)
{
    gather();
    EXPECT_INT(ask_cancelling(asked, config->target_count, 200), 0);
}

int main(void)
{
    signal(SIGPIPE, SIG_IGN); /* as the daemon does */
    alarm((unsigned)(250 * ask_scale()));
    if (!open_peers(dns_peers) || !open_peers(ntp_peers)) {
        printf("Bail out! no ports\n");
        return 1;
    }
    /* Nobody listens: neither here nor in the child. */
    close(dns_peers[REFUSE].udp);
    close(ntp_peers[REFUSE].udp);
    dns_peers[REFUSE].udp = ntp_peers[REFUSE].udp = -1;
    pid_t child = fork();
    if (child < 0)
        return 1;
    if (child == 0)
        serve();
    close_peers(dns_peers);
    close_peers(ntp_peers);
    bool made = configure();
    EXPECT(made);
    struct asked nothing = {0};
    if (made && ask(&nothing, 1, NULL) != 0)
        printf("# (what libraries keep open from their first use on)\n");
    if (made) {
        RUN(every_manner);
        RUN(cancelled_at_any_turn);
    }
    config_unref(config);
    kill(child, SIGKILL);
    waitpid(child, NULL, 0);
    return testing_end() != 0 || !made;
}
