/*
 * CivetWeb polls one descriptor, and calls accept() on it when it is readable. Here that descriptor
 * is an epoll of the real socket and of an eventfd, and accept() is the one below: the executable
 * defines the name, so the library's calls come here, whether it is linked shared or static. Threads
 * that are no acceptor of ours get what they would have got.
 *
 * What that gives: the acceptor can be woken (it would sleep for up to 2 s), be given a connection
 * that never was on the network (the proof that it answers), stop accepting at an exact point,
 * and leave a socket that others listen on as well as it is; it never spins when descriptors are
 * short; every connection is known from its accept() on, CivetWeb's queue included; and CivetWeb is told
 * who asks (peer.h).
 *
 * CivetWeb does not say when it closes a connection that has asked for nothing, so a descriptor in
 * the list may have become something else: it is that connection if it has its cookie. It may be
 * closed at any moment, too, so it is duplicated before it is shut down.
 *
 * The descriptor that CivetWeb polls stays the same number; dup3() changes what is behind it. The
 * acceptor must not be in poll() then: Linux looks a number up again when poll() wakes, but does
 * not wait anew for what it finds, so it would sleep on, deaf.
 *
 * A Unix socket that is shut down for reading refuses to be connected to, from that moment on, but
 * still gives out what it had before: when it has no more, nothing has been lost.
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
 * So a client that opens thousands of connections and says nothing does get workers, and so do those
 * that begin a request and do not go on. Each would hold one for the request timeout, and all would
 * have to be waited for: 10,000 on 32 workers kept everybody else out for 92 s. So when somebody has to
 * wait for a worker, those that have had a tenth of a second to ask are hung up on, and in a flood the
 * oldest, whatever its age.
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
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/eventfd.h>
#include <time.h>
#include <unistd.h>

#include <healthsvc/clock.h>
#include <healthsvc/config.h>
#include <healthsvc/units.h>

#include "web/peer.h"

#define DEFER_ACCEPT_S 60
#define BACKLOG 1024
#define ANSWER_LIMIT_MS 5000
/* Between two attempts that gave no connection: for want of descriptors, or at the end; and between
 * two looks for a worker. */
#define ACCEPT_PAUSE_MS 5
#define PATIENCE_MS 100 /* with who has no request, while somebody waits for a worker */
#define CROWD 96        /* that many may wait for one; CivetWeb's queue holds 128 */
#define PEEK_BYTES 2048 /* the head of a request that is longer has begun well enough */

static _Thread_local struct listener *acceptors; /* what this thread accepts for; NULL: nothing */

static void lock(struct listener *l) ACQUIRE(l->lock) NO_THREAD_SAFETY_ANALYSIS
{
    pthread_mutex_lock(&l->lock.mutex);
}

static void unlock(struct listener *l) RELEASE(l->lock) NO_THREAD_SAFETY_ANALYSIS
{
    pthread_mutex_unlock(&l->lock.mutex);
}

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

/* ---- opening ---- */

static int set_tcp_options(int fd)
{
    int rc = set_option(fd, IPPROTO_TCP, TCP_DEFER_ACCEPT, DEFER_ACCEPT_S);
    /* Accepted sockets inherit it, so CivetWeb need not set it on each. */
    return rc == 0 ? set_option(fd, IPPROTO_TCP, TCP_NODELAY, 1) : rc;
}

static int bind_network(int fd, const struct config_listen *listen)
{
    int rc = set_option(fd, SOL_SOCKET, SO_REUSEADDR, 1);
    if (rc == 0 && listen->addr.ss_family == AF_INET6)
        rc = set_option(fd, IPPROTO_IPV6, IPV6_V6ONLY, 0);
    if (rc == 0)
        rc = set_tcp_options(fd);
    if (rc == 0 && bind(fd, (const struct sockaddr *)&listen->addr, listen->addr_len) != 0)
        rc = -errno;
    return rc;
}

static int open_own(struct listener *l, const struct config_listen *conf)
{
    l->addr = conf->addr;
    l->sock = socket(conf->addr.ss_family, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
    if (l->sock < 0)
        return -errno;
    int rc = conf->kind == LISTEN_UNIX ? unix_path_bind(&l->path, l->sock, conf)
                                       : bind_network(l->sock, conf);
    if (rc == 0 && listen(l->sock, BACKLOG) != 0)
        rc = -errno;
    return rc;
}

static int open_shared(struct listener *l, int shared)
{
    l->shared = true;
    l->sock = fcntl(shared, F_DUPFD_CLOEXEC, 0);
    /* Somebody else may accept what poll() has seen. */
    int flags = l->sock >= 0 ? fcntl(l->sock, F_GETFL) : -1;
    if (flags < 0 || fcntl(l->sock, F_SETFL, flags | O_NONBLOCK) != 0)
        return -errno;
    return 0;
}

static int watch(const struct listener *l, int fd)
{
    struct epoll_event event = {.events = EPOLLIN};
    return epoll_ctl(l->events, EPOLL_CTL_ADD, fd, &event) == 0 ? 0 : -errno;
}

static int prepare_events(struct listener *l)
{
    l->wake = eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK);
    l->events = epoll_create1(EPOLL_CLOEXEC);
    if (l->wake < 0 || l->events < 0)
        return -errno;
    int rc = watch(l, l->wake);
    return rc == 0 ? watch(l, l->sock) : rc;
}

int listener_open(struct listener *l, const struct config_listen *listen, int shared, size_t room,
                  size_t workers) NO_THREAD_SAFETY_ANALYSIS
{
    *l = (struct listener){.sock = -1,
                           .wake = -1,
                           .events = -1,
                           .place = -1,
                           .handed = -1,
                           .room = room,
                           .workers = workers};
    pthread_mutex_init(&l->lock.mutex, NULL);
    l->connections = calloc(room, sizeof *l->connections);
    if (l->connections == NULL)
        return -ENOMEM;
    int rc = shared >= 0 ? open_shared(l, shared) : open_own(l, listen);
    if (rc == 0)
        rc = prepare_events(l);
    if (rc < 0)
        return rc;
    socklen_t len = sizeof l->addr;
    if (getsockname(l->sock, (struct sockaddr *)&l->addr, &len) != 0)
        return -errno;
    if (l->shared && l->addr.ss_family != AF_UNIX)
        (void)set_tcp_options(l->sock);
    return 0;
}

void listener_done(struct listener *l) NO_THREAD_SAFETY_ANALYSIS
{
    if (!l->shared)
        unix_path_remove(&l->path, &l->addr);
    l->events = close_fd(l->events);
    l->wake = close_fd(l->wake);
    l->sock = close_fd(l->sock);
    l->handed = close_fd(l->handed);
    free(l->connections);
    l->connections = NULL;
    pthread_mutex_destroy(&l->lock.mutex);
}

/* ---- in CivetWeb's place ---- */

/* True if `fd` listens on that port of 127.0.0.1. */
static bool listens_on(int fd, uint16_t port)
{
    struct sockaddr_in addr = {.sin_family = AF_UNSPEC};
    socklen_t len = sizeof addr;
    int listening = 0;
    socklen_t int_len = sizeof listening;
    return getsockname(fd, (struct sockaddr *)&addr, &len) == 0 && addr.sin_family == AF_INET &&
           addr.sin_addr.s_addr == htonl(INADDR_LOOPBACK) && addr.sin_port == htons(port) &&
           getsockopt(fd, SOL_SOCKET, SO_ACCEPTCONN, &listening, &int_len) == 0 && listening != 0;
}

int listener_install(struct listener *l, uint16_t port)
{
    DIR *dir = opendir("/proc/self/fd");
    if (dir == NULL)
        return -errno;
    const struct dirent *entry;
    while (l->place < 0 && (entry = readdir(dir)) != NULL) {
        uint64_t fd;
        if (units_parse_digits(entry->d_name, strlen(entry->d_name), &fd) == 0 &&
            listens_on((int)fd, port))
            l->place = (int)fd;
    }
    closedir(dir);
    if (l->place < 0)
        return -ENOENT;
    return dup3(l->events, l->place, O_CLOEXEC) >= 0 ? 0 : -errno;
}

void listener_serve_thread(struct listener *l)
{
    acceptors = l;
}

static uint64_t cookie_of(int fd)
{
    uint64_t cookie = 0;
    socklen_t len = sizeof cookie;
    return getsockopt(fd, SOL_SOCKET, SO_COOKIE, &cookie, &len) == 0 ? cookie : 0;
}

static bool is_open(const struct listener_connection *c)
{
    return c->cookie != 0 && cookie_of(c->fd) == c->cookie;
}

static void drop_closed(struct listener *l) REQUIRES(l->lock)
{
    size_t kept = 0;
    for (size_t i = 0; i < l->count; i++) {
        if (is_open(&l->connections[i]))
            l->connections[kept++] = l->connections[i];
    }
    l->count = kept;
}

/* True if the head of a request is here: not so for one that sends nothing, or bit by bit. */
static bool has_request(int fd)
{
    char head[PEEK_BYTES];
    ssize_t len = recv(fd, head, sizeof head, MSG_PEEK | MSG_DONTWAIT);
    return len == (ssize_t)sizeof head ||
           (len > 0 && memmem(head, (size_t)len, "\n\r\n", 3) != NULL);
}

/* The place of a descriptor in the list; l->count: it has none. */
static size_t find_connection(const struct listener *l, int fd) REQUIRES(l->lock)
{
    size_t i = 0;
    while (i < l->count && l->connections[i].fd != fd)
        i++;
    return i;
}

static void note_connection(struct listener *l, int fd) REQUIRES(l->lock)
{
    size_t i = find_connection(l, fd); /* what had that number has been closed */
    l->connections[i] = (struct listener_connection){.cookie = cookie_of(fd),
                                                     .fd = fd,
                                                     .unfinished = !has_request(fd),
                                                     .since_mono_us = clock_mono_us()};
    l->count += i == l->count;
    l->open++;
}

/* True if the connection still is that one, and is now told that no more will be read of it: what it
 * has sent is still answered. False, too, if this cannot be done at the moment. */
static bool hang_up(const struct listener_connection *c)
{
    int mine = fcntl(c->fd, F_DUPFD_CLOEXEC, 0);
    if (mine < 0)
        return false;
    bool same = cookie_of(mine) == c->cookie;
    if (same)
        shutdown(mine, SHUT_RD);
    close(mine);
    return same;
}

/* Of those that have yet to finish a request, but for the newest, who was first to come. */
static struct listener_connection *oldest_unfinished(struct listener *l, int newest)
    REQUIRES(l->lock)
{
    struct listener_connection *oldest = NULL;
    for (size_t i = 0; i < l->count; i++) {
        struct listener_connection *c = &l->connections[i];
        if (c->unfinished && !c->heard && c->fd != newest &&
            (oldest == NULL || c->since_mono_us < oldest->since_mono_us))
            oldest = c;
    }
    return oldest;
}

/* Others wait to be accepted. Not asked of a Unix socket, whose connections always come before their
 * requests. */
static bool is_flooded(const struct listener *l)
{
    struct pollfd more = {.fd = l->sock, .events = POLLIN};
    return l->addr.ss_family != AF_UNIX && poll(&more, 1, 0) > 0;
}

/* If the newest connection has to wait for a worker, hangs up on those that had their time to ask; in
 * a flood, when CivetWeb's queue is nearly full, on one that had not. False: this is to be tried again
 * in a moment, when some have had it. */
static bool make_room(struct listener *l, int newest) REQUIRES(l->lock)
{
    struct listener_connection *c;
    while (l->open > l->workers && !l->closed && (c = oldest_unfinished(l, newest)) != NULL) {
        bool had_its_time = clock_mono_us() - c->since_mono_us >= PATIENCE_MS * 1000;
        bool crowded = l->open > l->workers + CROWD;
        if (!had_its_time && !is_flooded(l))
            return false;
        if (!had_its_time && !crowded)
            break;
        c->unfinished = false;
        if (hang_up(c) && !had_its_time)
            break;
    }
    return true;
}

/* The next connection; -1 with errno. */
static int take_connection(struct listener *l) REQUIRES(l->lock)
{
    int fd = l->handed;
    if (l->count == l->room)
        drop_closed(l);
    errno = EAGAIN;
    if (l->count == l->room || (fd < 0 && l->closed))
        return -1;
    if (fd >= 0) {
        eventfd_t ignored;
        l->handed = -1;
        (void)eventfd_read(l->wake, &ignored);
    } else {
        fd = accept4(l->sock, NULL, NULL, SOCK_CLOEXEC);
    }
    if (fd >= 0)
        note_connection(l, fd);
    else if (l->refusing && errno == EAGAIN)
        l->drained = true;
    return fd;
}

/* accept(), for the whole program. The C library declares it in a way of its own. */
int listener_accept(int fd, struct sockaddr *addr, socklen_t *addr_len) __asm__("accept");

int listener_accept(int fd, struct sockaddr *addr, socklen_t *addr_len)
{
    static const struct timespec rest = {.tv_nsec = ACCEPT_PAUSE_MS * 1000000L};
    struct listener *l = acceptors;
    struct sockaddr_in mark;
    if (l == NULL)
        return accept4(fd, addr, addr_len, 0);
    lock(l);
    int conn = take_connection(l);
    int err = errno;
    while (conn >= 0 && !make_room(l, conn)) {
        unlock(l);
        nanosleep(&rest, NULL);
        lock(l);
    }
    unlock(l);
    if (conn < 0) {
        if (err != ECONNABORTED)
            nanosleep(&rest, NULL);
        errno = err;
        return -1;
    }
    peer_mark(conn, &mark);
    memcpy(addr, &mark, *addr_len < sizeof mark ? *addr_len : sizeof mark);
    *addr_len = sizeof mark;
    return conn;
}

void listener_heard(struct listener *l, int fd)
{
    lock(l);
    size_t i = find_connection(l, fd);
    if (i < l->count)
        l->connections[i].heard = true;
    unlock(l);
}

void listener_closed(struct listener *l)
{
    lock(l);
    l->open--;
    unlock(l);
}

/* ---- the proof ---- */

static void wake_acceptor(const struct listener *l)
{
    (void)eventfd_write(l->wake, 1);
}

static bool wait_readable(int fd, int64_t limit_mono_ms)
{
    struct pollfd p = {.fd = fd, .events = POLLIN};
    for (;;) {
        int64_t left_ms = limit_mono_ms - clock_mono_ms();
        if (left_ms <= 0)
            return false;
        if (poll(&p, 1, (int)left_ms) > 0)
            return true;
    }
}

/* Reads the beginning of the answer, as much as tells its code. */
static int read_answer(int client)
{
    static const char want[] = "HTTP/1.1 200 ";
    char got[sizeof want - 1] = {0};
    size_t len = 0;
    int64_t limit_mono_ms = clock_mono_ms() + ANSWER_LIMIT_MS;
    while (len < sizeof got) {
        if (!wait_readable(client, limit_mono_ms))
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

int listener_prove(struct listener *l, const char *path)
{
    int ends[2];
    char request[128];
    int len = snprintf(request, sizeof request, "GET %s HTTP/1.0\r\n\r\n", path);
    if (socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, ends) != 0)
        return -errno;
    int rc = send(ends[0], request, (size_t)len, MSG_NOSIGNAL) == len ? 0 : -EPROTO;
    lock(l);
    l->handed = ends[1];
    unlock(l);
    wake_acceptor(l);
    if (rc == 0)
        rc = read_answer(ends[0]);
    close(ends[0]);
    return rc;
}

/* ---- the end ---- */

void listener_succeed(struct listener *l, struct listener *old)
{
    l->shared = old->shared;
    l->path = old->path;
    old->shared = true;
    old->path = (struct unix_path){0};
}

static void stop_accepting(struct listener *l)
{
    lock(l);
    l->closed = true;
    unlock(l);
    (void)epoll_ctl(l->events, EPOLL_CTL_DEL, l->sock, NULL);
}

static void refuse_new_handshakes(const struct listener *l)
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

void listener_hold(struct listener *l)
{
    if (l->shared) {
        stop_accepting(l);
    } else if (l->addr.ss_family == AF_UNIX) {
        unix_path_remove(&l->path, &l->addr);
        shutdown(l->sock, SHUT_RD);
        lock(l);
        l->refusing = true;
        unlock(l);
    } else {
        refuse_new_handshakes(l);
    }
}

bool listener_waiting(struct listener *l)
{
    if (l->shared)
        return false;
    if (l->addr.ss_family == AF_UNIX) {
        lock(l);
        bool waiting = !l->drained;
        unlock(l);
        return waiting;
    }
    struct pollfd p = {.fd = l->sock, .events = POLLIN};
    return poll(&p, 1, 0) > 0;
}

bool listener_has_unheard(struct listener *l)
{
    bool any = false;
    lock(l);
    for (size_t i = 0; i < l->count && !any; i++)
        any = !l->connections[i].heard && is_open(&l->connections[i]);
    unlock(l);
    return any;
}

void listener_retire(struct listener *l)
{
    stop_accepting(l);
    if (!l->shared)
        shutdown(l->sock, SHUT_RDWR);
    wake_acceptor(l);
}

size_t listener_hang_up(struct listener *l)
{
    lock(l);
    drop_closed(l);
    for (size_t i = 0; i < l->count; i++)
        (void)hang_up(&l->connections[i]); /* the caller tries again */
    size_t count = l->count;
    unlock(l);
    return count;
}
