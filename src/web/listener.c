/*
 * The descriptor that CivetWeb polls stays the same number; dup3() changes what is behind it. The
 * acceptor must not be in poll() then: Linux looks a number up again when poll() wakes, but does
 * not wait anew for what it finds, so it would sleep on, deaf, for up to 2 s.
 *
 * A listening socket that is shut down refuses clients and makes poll() return at once. The
 * acceptor then turns without rest until mg_stop(), which is a matter of milliseconds, and needs
 * no waking.
 *
 * TCP_DEFER_ACCEPT: the kernel gives a connection out when its first bytes are here, so silent
 * clients occupy no worker. After the time asked for it gives them out nevertheless, whatever the
 * value (Linux resends the SYN-ACK once more as a last chance); it counts in retransmissions, at
 * 1, 3, 7, 15, 31, 63, 127 s. Measured on Linux 6.18: 1 -> 1 s, 2 -> 3 s, 30 -> 31 s,
 * 60 -> 63 s, 120 -> 127 s. A longer time saves nothing against clients that stay (each takes a
 * worker for the request timeout, once), but lets them fill the kernel's table of half-open
 * connections (as long as the backlog) with less effort; past it, SYN cookies give connections
 * out at once. A minute is longer than a load balancer keeps an unused connection.
 *
 * Connections are found by what the kernel says of our own descriptors: CivetWeb does not tell
 * them, nor how many it has queued. A descriptor found may be closed and used anew by another
 * thread at any moment, so each is duplicated first, and it is the duplicate that is examined
 * and shut down.
 */
#include "web/listener.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <linux/filter.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <poll.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

#include <healthsvc/clock.h>
#include <healthsvc/units.h>

#define DEFER_ACCEPT_S 60
#define BACKLOG 1024
#define REACH_LIMIT_MS 2000
#define ANSWER_LIMIT_MS 5000

static int set_option(int fd, int level, int option, int value)
{
    return setsockopt(fd, level, option, &value, sizeof value) == 0 ? 0 : -errno;
}

static int close_fd(int fd)
{
    if (fd >= 0)
        close(fd);
    return -1;
}

static int bind_and_listen(int fd, const struct sockaddr *addr, socklen_t addr_len)
{
    int rc = set_option(fd, SOL_SOCKET, SO_REUSEADDR, 1);
    if (rc == 0 && addr->sa_family == AF_INET6)
        rc = set_option(fd, IPPROTO_IPV6, IPV6_V6ONLY, 0);
    if (rc == 0)
        rc = set_option(fd, IPPROTO_TCP, TCP_DEFER_ACCEPT, DEFER_ACCEPT_S);
    /* Accepted sockets inherit it, so CivetWeb need not set it on each. */
    if (rc == 0)
        rc = set_option(fd, IPPROTO_TCP, TCP_NODELAY, 1);
    if (rc == 0 && (bind(fd, addr, addr_len) != 0 || listen(fd, BACKLOG) != 0))
        rc = -errno;
    return rc;
}

int listener_open(struct listener *l, const struct sockaddr *addr, socklen_t addr_len)
{
    *l = (struct listener){.sock = -1, .place = -1};
    l->sock = socket(addr->sa_family, SOCK_STREAM | SOCK_CLOEXEC, 0);
    if (l->sock < 0)
        return -errno;
    int rc = bind_and_listen(l->sock, addr, addr_len);
    if (rc < 0)
        return rc;
    socklen_t len = sizeof l->addr;
    return getsockname(l->sock, (struct sockaddr *)&l->addr, &len) == 0 ? 0 : -errno;
}

void listener_done(struct listener *l)
{
    l->sock = close_fd(l->sock);
}

/* Calls visit(fd, arg) for each descriptor of this process until it returns true. */
static int each_descriptor(bool (*visit)(int fd, void *arg), void *arg)
{
    DIR *dir = opendir("/proc/self/fd");
    if (dir == NULL)
        return -errno;
    const struct dirent *entry;
    while ((entry = readdir(dir)) != NULL) {
        uint64_t fd;
        if (units_parse_digits(entry->d_name, strlen(entry->d_name), &fd) == 0 &&
            visit((int)fd, arg))
            break;
    }
    closedir(dir);
    return 0;
}

static bool is_listening(int fd)
{
    int listening = 0;
    socklen_t len = sizeof listening;
    return getsockopt(fd, SOL_SOCKET, SO_ACCEPTCONN, &listening, &len) == 0 && listening != 0;
}

static bool local_address(int fd, struct sockaddr_storage *ret_addr)
{
    socklen_t len = sizeof *ret_addr;
    return getsockname(fd, (struct sockaddr *)ret_addr, &len) == 0;
}

struct search {
    uint16_t port;
    int found;
};

static bool visit_for_port(int fd, void *arg)
{
    struct search *search = arg;
    struct sockaddr_storage addr;
    const struct sockaddr_in *in = (const struct sockaddr_in *)&addr;
    if (local_address(fd, &addr) && addr.ss_family == AF_INET &&
        in->sin_addr.s_addr == htonl(INADDR_LOOPBACK) && in->sin_port == htons(search->port) &&
        is_listening(fd))
        search->found = fd;
    return search->found >= 0;
}

int listener_install(struct listener *l, uint16_t port)
{
    struct search search = {.port = port, .found = -1};
    int rc = each_descriptor(visit_for_port, &search);
    if (rc < 0)
        return rc;
    if (search.found < 0)
        return -ENOENT;
    l->place = search.found;
    return dup3(l->sock, l->place, O_CLOEXEC) >= 0 ? 0 : -errno;
}

static bool wait_ready(int fd, short events, int64_t limit_mono_ms)
{
    struct pollfd p = {.fd = fd, .events = events};
    for (;;) {
        int64_t left_ms = limit_mono_ms - clock_mono_ms();
        if (left_ms <= 0)
            return false;
        if (poll(&p, 1, (int)left_ms) > 0)
            return true;
    }
}

/* Connects to our own socket and asks for `path`. False if nothing arrives: an address that this
 * machine may bind but does not have (a floating one), or a packet filter. */
static bool reach(const struct listener *l, int client, const char *path)
{
    char request[128];
    int64_t limit_mono_ms = clock_mono_ms() + REACH_LIMIT_MS;
    int len = snprintf(request, sizeof request, "GET %s HTTP/1.0\r\n\r\n", path);
    if (connect(client, (const struct sockaddr *)&l->addr, sizeof l->addr) != 0 &&
        errno != EINPROGRESS)
        return false;
    return wait_ready(client, POLLOUT, limit_mono_ms) &&
           send(client, request, (size_t)len, MSG_NOSIGNAL) == len;
}

/* Reads the beginning of the answer, as much as tells its code. */
static int read_answer(int client)
{
    static const char want[] = "HTTP/1.1 200 ";
    char got[sizeof want - 1] = {0};
    size_t len = 0;
    int64_t limit_mono_ms = clock_mono_ms() + ANSWER_LIMIT_MS;
    while (len < sizeof got) {
        if (!wait_ready(client, POLLIN, limit_mono_ms))
            return -ETIMEDOUT;
        ssize_t n = recv(client, got + len, sizeof got - len, 0);
        if (n == 0)
            return -EPROTO;
        if (n > 0)
            len += (size_t)n;
        else if (errno != EAGAIN && errno != EINTR)
            return -errno;
    }
    return memcmp(got, want, sizeof got) == 0 ? 0 : -EPROTO;
}

int listener_prove(const struct listener *l, const char *path, bool *ret_reached)
{
    int client = socket(l->addr.ss_family, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
    if (client < 0)
        return -errno;
    bool reached = reach(l, client, path);
    int rc = reached ? read_answer(client) : 0;
    close(client);
    if (rc == 0)
        *ret_reached = reached;
    return rc;
}

void listener_hold(const struct listener *l)
{
    /* Drops every segment with SYN and without ACK (byte 13 of the TCP header, RFC 9293 section
     * 3.1). Who is dropped tries again after a second and is then refused, where closing at once
     * would reset those whose request is on its way. Best effort. */
    static struct sock_filter code[] = {
        BPF_STMT(BPF_LD | BPF_B | BPF_ABS, 13),          BPF_STMT(BPF_ALU | BPF_AND | BPF_K, 0x12),
        BPF_JUMP(BPF_JMP | BPF_JEQ | BPF_K, 0x02, 0, 1), BPF_STMT(BPF_RET | BPF_K, 0),
        BPF_STMT(BPF_RET | BPF_K, UINT32_MAX),
    };
    struct sock_fprog program = {.len = sizeof code / sizeof *code, .filter = code};
    (void)setsockopt(l->sock, SOL_SOCKET, SO_ATTACH_FILTER, &program, sizeof program);
}

bool listener_waiting(const struct listener *l)
{
    struct pollfd p = {.fd = l->sock, .events = POLLIN};
    return poll(&p, 1, 0) > 0;
}

void listener_retire(struct listener *l)
{
    shutdown(l->sock, SHUT_RDWR);
    l->sock = close_fd(l->sock);
}

static bool is_any(const struct sockaddr_storage *addr)
{
    if (addr->ss_family == AF_INET6)
        return IN6_IS_ADDR_UNSPECIFIED(&((const struct sockaddr_in6 *)addr)->sin6_addr);
    return ((const struct sockaddr_in *)addr)->sin_addr.s_addr == htonl(INADDR_ANY);
}

/* True if a connection with that local address came in through `listening`. */
static bool came_through(const struct sockaddr_storage *listening,
                         const struct sockaddr_storage *local)
{
    if (local->ss_family != listening->ss_family)
        return false;
    if (local->ss_family == AF_INET6) {
        const struct sockaddr_in6 *a = (const struct sockaddr_in6 *)listening;
        const struct sockaddr_in6 *b = (const struct sockaddr_in6 *)local;
        return a->sin6_port == b->sin6_port &&
               (is_any(listening) || IN6_ARE_ADDR_EQUAL(&a->sin6_addr, &b->sin6_addr));
    }
    const struct sockaddr_in *a = (const struct sockaddr_in *)listening;
    const struct sockaddr_in *b = (const struct sockaddr_in *)local;
    return a->sin_port == b->sin_port &&
           (is_any(listening) || a->sin_addr.s_addr == b->sin_addr.s_addr);
}

struct hang_up {
    const struct listener *listener;
    size_t count;
};

static bool visit_to_hang_up(int fd, void *arg)
{
    struct hang_up *h = arg;
    const struct sockaddr_storage *listening = &h->listener->addr;
    struct sockaddr_storage local;
    if (fd == h->listener->place || !local_address(fd, &local) || !came_through(listening, &local))
        return false;
    int mine = fcntl(fd, F_DUPFD_CLOEXEC, 0);
    if (mine < 0) {
        h->count++; /* seen, if not told: the caller tries again */
        return false;
    }
    if (local_address(mine, &local) && came_through(listening, &local)) {
        shutdown(mine, SHUT_RD);
        h->count++;
    }
    close(mine);
    return false;
}

size_t listener_hang_up(const struct listener *l)
{
    struct hang_up h = {.listener = l};
    if (each_descriptor(visit_to_hang_up, &h) < 0)
        return SIZE_MAX; /* not known: the caller's bound ends the wait */
    return h.count;
}
