/*
 * icmp: one echo request, one reply, by the kernel's ping socket: no privilege, no raw packets.
 *
 * One socket of a family serves all checks that are under way, so ten thousand targets cost two
 * descriptors; it is open only while a check is. Replies find their check by the sequence number
 * and a random token in the data; the kernel itself matches the identifier. What a router says
 * instead ("host unreachable") comes by the socket's error queue, with the packet it is about.
 */
#include "probe/engine.h"
#include "probe/resolver.h"

#include <healthsvc/config.h>

#include <assert.h>
#include <errno.h>
#include <linux/errqueue.h>
#include <netinet/icmp6.h>
#include <netinet/ip_icmp.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/random.h>
#include <sys/socket.h>
#include <unistd.h>

#define TOKEN_BYTES 16
#define BUCKETS 256
#define RECEIVE_BUFFER_BYTES (1024 * 1024)
#define PACKETS_PER_TURN 256

/* The first eight bytes are the same in both families (RFC 792, RFC 4443 section 4.1). */
struct echo {
    uint8_t type, code;
    uint16_t checksum; /* the kernel's */
    uint16_t id;       /* the kernel's: the socket */
    uint16_t sequence;
    uint8_t token[TOKEN_BYTES];
};

struct icmp_probe {
    struct probe probe; /* first */
    struct resolver_wait wait;
    union resolver_address address;
    struct icmp_socket *socket; /* NULL: nothing sent */
    struct icmp_probe *next;    /* in its bucket */
    uint16_t sequence;
    uint8_t token[TOKEN_BYTES];
};

struct icmp_socket {
    struct loop_watch watch; /* first */
    struct loop_task more;
    struct loop *loop;
    int family;
    size_t users;
    uint16_t last_sequence;
    struct icmp_probe *buckets[BUCKETS]; /* by sequence */
};

/* Of the checker thread, the only one that asks. */
static struct icmp_socket sockets[] = {
    {.watch.fd = -1, .family = AF_INET},
    {.watch.fd = -1, .family = AF_INET6},
};

static struct icmp_probe **find(struct icmp_socket *s, const struct echo *echo)
{
    struct icmp_probe **at = &s->buckets[ntohs(echo->sequence) % BUCKETS];
    while (*at != NULL && memcmp((*at)->token, echo->token, TOKEN_BYTES) != 0)
        at = &(*at)->next;
    return at;
}

static bool same_address(const union resolver_address *a, const union resolver_address *b)
{
    if (a->sa.sa_family != b->sa.sa_family)
        return false;
    if (a->sa.sa_family == AF_INET)
        return a->in.sin_addr.s_addr == b->in.sin_addr.s_addr;
    return memcmp(&a->in6.sin6_addr, &b->in6.sin6_addr, sizeof a->in6.sin6_addr) == 0;
}

/* ---- receiving ---- */

/* 1: one packet dealt with; 0: no more. */
static int receive(struct icmp_socket *s) REQUIRES(checker_role)
{
    uint8_t reply = s->family == AF_INET ? ICMP_ECHOREPLY : ICMP6_ECHO_REPLY;
    union resolver_address from = {0};
    socklen_t from_len = sizeof from;
    struct echo echo;
    ssize_t r = recvfrom(s->watch.fd, &echo, sizeof echo, 0, &from.sa, &from_len);
    if (r < 0)
        return errno != EAGAIN; /* an error that is told here is in the error queue too */
    if (r < (ssize_t)sizeof echo || echo.type != reply)
        return 1;
    const struct icmp_probe *i = *find(s, &echo);
    if (i != NULL && same_address(&from, &i->address))
        probe_finish((struct probe *)(uintptr_t)i, OUTCOME_OK, NULL);
    return 1;
}

/* The same for what could not be delivered: the packet that was sent, and why. */
static int receive_error(struct icmp_socket *s) REQUIRES(checker_role)
{
    struct echo echo;
    _Alignas(struct cmsghdr) uint8_t control[512];
    struct iovec part = {.iov_base = &echo, .iov_len = sizeof echo};
    struct msghdr message = {
        .msg_iov = &part,
        .msg_iovlen = 1,
        .msg_control = control,
        .msg_controllen = sizeof control,
    };
    ssize_t r = recvmsg(s->watch.fd, &message, MSG_ERRQUEUE);
    if (r < 0)
        return 0;
    if (r < (ssize_t)sizeof echo)
        return 1;
    for (struct cmsghdr *c = CMSG_FIRSTHDR(&message); c != NULL; c = CMSG_NXTHDR(&message, c)) {
        struct sock_extended_err why;
        if (!(c->cmsg_level == IPPROTO_IP && c->cmsg_type == IP_RECVERR) &&
            !(c->cmsg_level == IPPROTO_IPV6 && c->cmsg_type == IPV6_RECVERR))
            continue;
        memcpy(&why, CMSG_DATA(c), sizeof why);
        struct icmp_probe *i = *find(s, &echo);
        if (i == NULL)
            continue;
        enum outcome outcome = OUTCOME_CONNECT_UNREACHABLE;
        if (why.ee_origin == SO_EE_ORIGIN_LOCAL)
            outcome = outcome_of_errno((int)why.ee_errno);
        probe_finish(&i->probe, outcome, NULL);
        return 1;
    }
    return 1;
}

static void receive_all(struct icmp_socket *s) REQUIRES(checker_role)
{
    int left = PACKETS_PER_TURN;
    /* The last check that ends closes the socket. */
    while (left > 0 && s->watch.fd >= 0 && receive_error(s))
        left--;
    while (left > 0 && s->watch.fd >= 0 && receive(s))
        left--;
    if (left == 0 && s->watch.fd >= 0)
        loop_soon(s->loop, &s->more);
}

static void on_ready(struct loop_watch *w, uint32_t events)
{
    checker_role_assert();
    if (events & (EPOLLIN | EPOLLERR))
        receive_all((struct icmp_socket *)w); /* first member */
}

static void on_more(struct loop_task *t)
{
    checker_role_assert();
    receive_all((struct icmp_socket *)((char *)t - offsetof(struct icmp_socket, more)));
}

/* ---- sending ---- */

/* 0 or errno. */
static int open_socket(struct icmp_socket *s, struct loop *loop) REQUIRES(checker_role)
{
    bool v4 = s->family == AF_INET;
    int on = 1, buffer = RECEIVE_BUFFER_BYTES;
    int fd = socket(s->family, SOCK_DGRAM | SOCK_NONBLOCK | SOCK_CLOEXEC,
                    v4 ? IPPROTO_ICMP : IPPROTO_ICMPV6);
    if (fd < 0)
        return errno;
    (void)setsockopt(fd, SOL_SOCKET, SO_RCVBUF, &buffer, sizeof buffer);
    (void)setsockopt(fd, v4 ? IPPROTO_IP : IPPROTO_IPV6, v4 ? IP_RECVERR : IPV6_RECVERR, &on,
                     sizeof on);
    s->watch.ready = on_ready;
    s->more.run = on_more;
    s->loop = loop;
    int err = -loop_watch_add(loop, &s->watch, fd);
    if (err != 0)
        close(fd);
    return err;
}

static void close_if_unused(struct icmp_socket *s) REQUIRES(checker_role)
{
    if (s->users > 0 || s->watch.fd < 0)
        return;
    loop_soon_cancel(s->loop, &s->more);
    loop_watch_close(s->loop, &s->watch);
}

/* 0 or errno. */
static int send_echo(struct icmp_probe *i) REQUIRES(checker_role)
{
    struct icmp_socket *s = &sockets[i->address.sa.sa_family == AF_INET ? 0 : 1];
    int err = s->watch.fd < 0 ? open_socket(s, engine_loop(i->probe.engine)) : 0;
    if (err != 0)
        return err == EACCES ? EPERM : err; /* EACCES is also what a route may say */
    i->sequence = ++s->last_sequence;
    struct echo echo = {
        .type = s->family == AF_INET ? ICMP_ECHO : ICMP6_ECHO_REQUEST,
        .sequence = htons(i->sequence),
    };
    memcpy(echo.token, i->token, sizeof echo.token);
    /* What an earlier packet met would be told by this call; its details are in the error queue. */
    socklen_t err_len = sizeof err;
    (void)getsockopt(s->watch.fd, SOL_SOCKET, SO_ERROR, &err, &err_len);
    socklen_t len = s->family == AF_INET ? sizeof i->address.in : sizeof i->address.in6;
    if (sendto(s->watch.fd, &echo, sizeof echo, 0, &i->address.sa, len) < 0) {
        err = errno == EAGAIN ? ENOBUFS : errno;
        close_if_unused(s);
        return err;
    }
    i->next = s->buckets[i->sequence % BUCKETS];
    s->buckets[i->sequence % BUCKETS] = i;
    i->socket = s;
    s->users++;
    return 0;
}

static void finish_errno(struct icmp_probe *i, int err) REQUIRES(checker_role)
{
    enum outcome outcome = outcome_of_errno(err);
    if (err == EPERM)
        probe_finish(&i->probe, outcome,
                     "the kernel lets this group send no ICMP: "
                     "sysctl -w net.ipv4.ping_group_range=\"0 2147483647\" allows it");
    else
        probe_finish(&i->probe, outcome, outcome == OUTCOME_OWN_ERROR ? strerror(err) : NULL);
}

/* The first address that anything can be sent to: a host may have one that this machine has no way
 * to. */
static void take_answer(struct icmp_probe *i, const struct resolver_answer *answer)
    REQUIRES(checker_role)
{
    if (answer->outcome != OUTCOME_OK) {
        probe_finish(&i->probe, answer->outcome, answer->text);
        return;
    }
    int err = 0;
    probe_enter(&i->probe, PROBE_PHASE_EXCHANGE);
    for (size_t at = 0; at < answer->count; at++) {
        i->address = answer->addresses[at];
        i->probe.result.ip_family = i->address.sa.sa_family;
        err = send_echo(i);
        if (err == 0)
            return;
    }
    finish_errno(i, err);
}

static void on_answer(struct resolver_wait *w, const struct resolver_answer *answer)
{
    checker_role_assert();
    take_answer((struct icmp_probe *)((char *)w - offsetof(struct icmp_probe, wait)), answer);
}

static int icmp_start(struct probe *p)
{
    checker_role_assert();
    struct icmp_probe *i = (struct icmp_probe *)p;
    struct resolver_answer answer;
    if (getrandom(i->token, sizeof i->token, GRND_NONBLOCK) != (ssize_t)sizeof i->token)
        return -EAGAIN;
    i->wait.done = on_answer;
    int r = resolver_lookup(engine_resolver(p->engine), p->conf->host, &i->wait, &answer);
    if (r > 0)
        take_answer(i, &answer);
    return r < 0 ? r : 0;
}

static void icmp_stop(struct probe *p)
{
    checker_role_assert();
    struct icmp_probe *i = (struct icmp_probe *)p;
    struct icmp_socket *s = i->socket;
    resolver_cancel(engine_resolver(p->engine), &i->wait);
    if (s == NULL)
        return;
    struct icmp_probe **at = &s->buckets[i->sequence % BUCKETS];
    while (*at != i)
        at = &(*at)->next;
    *at = i->next;
    s->users--;
    close_if_unused(s);
}

static const struct probe_ops icmp_ops = {
    .probe_size = sizeof(struct icmp_probe),
    .start = icmp_start,
    .stop = icmp_stop,
};

extern const struct scheme scheme_icmp;

const struct scheme scheme_icmp = {
    .name = "icmp",
    .flags = SCHEME_NO_PORT,
    .ops = &icmp_ops,
};
