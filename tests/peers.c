/* A thread a connection: a peer that misbehaves is easiest to believe when its code reads like its
 * description. One process for each set keeps their descriptors out of the test's count. */
#include "peers.h"

#include <arpa/inet.h>
#include <errno.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <openssl/ssl.h>
#include <poll.h>
#include <pthread.h>
#include <signal.h>
#include <stdbool.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/prctl.h>
#include <sys/socket.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

struct conn {
    enum peer_kind kind;
    int fd;
    SSL *ssl;    /* NULL: plain */
    bool greets; /* it is for the peer to speak first */
};

/* The child's own; set before its first thread. */
static const struct peer_script *script;
static enum peer_tls tls_mode;
static SSL_CTX *tls_ctx;
static struct peer_seen *seen;

const char *peer_kind_token(enum peer_kind kind)
{
    switch (kind) {
    case PEER_REFUSE:
        return "refuse";
    case PEER_BLACKHOLE:
        return "blackhole";
    case PEER_HANG:
        return "hang";
    case PEER_CLOSE:
        return "close";
    case PEER_RESET:
        return "reset";
    case PEER_RESET_MID:
        return "reset-mid";
    case PEER_GARBAGE:
        return "garbage";
    case PEER_DRIBBLE:
        return "dribble";
    case PEER_ENDLESS:
        return "endless";
    case PEER_RIGHT:
        return "right";
    case PEER_RIGHT_BYTES:
        return "right-bytes";
    case PEER_RIGHT_CLOSE:
        return "right-close";
    case PEER_HALF_CLOSE:
        return "half-close";
    case PEER_KINDS:
        break;
    }
    return "none";
}

static bool conn_send(struct conn *c, const char *bytes, size_t len)
{
    if (c->ssl != NULL)
        return SSL_write(c->ssl, bytes, (int)len) == (int)len;
    return send(c->fd, bytes, len, MSG_NOSIGNAL) == (ssize_t)len;
}

/* Waits until something has been asked, unless it is for the peer to speak first. */
static bool conn_await(struct conn *c)
{
    char buf[4096];
    if (c->greets) {
        c->greets = false;
        return true;
    }
    if (c->ssl != NULL)
        return SSL_read(c->ssl, buf, sizeof buf) > 0;
    return recv(c->fd, buf, sizeof buf, 0) > 0;
}

/* Reads below TLS until the client has closed, and notes how it did. */
static void conn_drain(struct conn *c)
{
    char buf[4096];
    ssize_t n;
    while ((n = recv(c->fd, buf, sizeof buf, 0)) > 0)
        atomic_fetch_add(&seen[c->kind].goodbye_bytes, (unsigned long)n);
    atomic_fetch_add(n == 0 ? &seen[c->kind].ended_fin : &seen[c->kind].ended_reset, 1);
}

static void conn_reset(struct conn *c)
{
    setsockopt(c->fd, SOL_SOCKET, SO_LINGER, &(struct linger){.l_onoff = 1}, sizeof(struct linger));
}

static void pause_ms(long ms)
{
    nanosleep(&(struct timespec){.tv_nsec = ms * 1000000}, NULL);
}

static void babble(struct conn *c)
{
    char bytes[4096];
    uint32_t x = 2463534242; /* xorshift (Marsaglia 2003) */
    for (size_t i = 0; i < sizeof bytes; i++) {
        x ^= x << 13;
        x ^= x >> 17;
        x ^= x << 5;
        bytes[i] = (char)x;
    }
    conn_send(c, bytes, sizeof bytes);
}

static size_t length_of(const char *bytes, size_t len)
{
    return len > 0 ? len : strlen(bytes);
}

static void dribble(struct conn *c)
{
    size_t sent = 0, len = length_of(script->endless, script->endless_len);
    while (conn_send(c, sent < len ? script->endless + sent : "a", 1)) {
        sent++;
        pause_ms(50);
    }
}

static void flood(struct conn *c)
{
    char bytes[4096];
    memset(bytes, 'a', sizeof bytes);
    if (!conn_send(c, script->endless, length_of(script->endless, script->endless_len)))
        return;
    while (conn_send(c, bytes, sizeof bytes))
        ;
}

static void behave(struct conn *c)
{
    size_t len = length_of(script->reply, script->reply_len);
    switch (c->kind) {
    case PEER_HANG:
        conn_drain(c);
        break;
    case PEER_RESET:
        conn_reset(c);
        break;
    case PEER_RESET_MID:
        if (conn_await(c) && conn_send(c, script->reply, len / 2))
            conn_reset(c);
        break;
    case PEER_GARBAGE:
        babble(c);
        conn_drain(c);
        break;
    case PEER_DRIBBLE:
        dribble(c);
        break;
    case PEER_ENDLESS:
        flood(c);
        break;
    case PEER_RIGHT:
        if (conn_await(c) && conn_send(c, script->reply, len))
            conn_drain(c);
        break;
    case PEER_RIGHT_BYTES:
        if (!conn_await(c))
            break;
        for (size_t i = 0; i < len && conn_send(c, script->reply + i, 1); i++)
            ;
        conn_drain(c);
        break;
    case PEER_RIGHT_CLOSE:
        if (conn_await(c) && conn_send(c, script->reply, len) && c->ssl != NULL)
            SSL_shutdown(c->ssl);
        break;
    case PEER_HALF_CLOSE:
        if (c->ssl != NULL)
            SSL_shutdown(c->ssl);
        shutdown(c->fd, SHUT_WR);
        conn_drain(c);
        break;
    case PEER_CLOSE:
    case PEER_REFUSE:
    case PEER_BLACKHOLE:
    case PEER_KINDS:
        break;
    }
}

static bool conn_lead_to_tls(struct conn *c)
{
    for (const char *line = script->go; *line != '\0';) {
        size_t len = strcspn(line, "\n");
        len += line[len] == '\n';
        if (!conn_await(c) || !conn_send(c, line, len))
            return false;
        line += len;
    }
    return true;
}

static bool conn_secure(struct conn *c)
{
    if (tls_mode == PEER_PLAIN)
        return true;
    if (tls_mode == PEER_STARTTLS && !conn_lead_to_tls(c))
        return false;
    SSL *ssl = SSL_new(tls_ctx);
    if (ssl == NULL || SSL_set_fd(ssl, c->fd) != 1 || SSL_accept(ssl) != 1) {
        SSL_free(ssl);
        return false;
    }
    c->ssl = ssl;
    return true;
}

static void *conn_thread(void *arg)
{
    struct conn *c = arg;
    if (conn_secure(c))
        behave(c);
    SSL_free(c->ssl);
    close(c->fd);
    free(c);
    return NULL;
}

static void conn_accept(enum peer_kind kind, int listener)
{
    struct conn *c = malloc(sizeof *c);
    pthread_t thread;
    if (c == NULL)
        _exit(1);
    *c = (struct conn){.kind = kind, .fd = accept(listener, NULL, NULL), .greets = script->greets};
    if (c->fd < 0) {
        free(c);
        return;
    }
    setsockopt(c->fd, IPPROTO_TCP, TCP_NODELAY, &(int){1}, sizeof(int));
    atomic_fetch_add(&seen[kind].accepted, 1);
    if (pthread_create(&thread, NULL, conn_thread, c) != 0)
        _exit(1);
    pthread_detach(thread);
}

static void serve(const int *listeners)
{
    for (;;) {
        struct pollfd fds[PEER_KINDS];
        for (int kind = 0; kind < PEER_KINDS; kind++) {
            bool silent = kind == PEER_REFUSE || kind == PEER_BLACKHOLE;
            fds[kind] = (struct pollfd){.fd = silent ? -1 : listeners[kind], .events = POLLIN};
        }
        if (poll(fds, PEER_KINDS, -1) <= 0)
            continue;
        for (int kind = 0; kind < PEER_KINDS; kind++) {
            if (fds[kind].revents != 0)
                conn_accept((enum peer_kind)kind, listeners[kind]);
        }
    }
}

static int bind_to(uint32_t address, uint16_t port)
{
    struct sockaddr_in sin = {
        .sin_family = AF_INET, .sin_port = htons(port), .sin_addr.s_addr = htonl(address)};
    int fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
    if (fd >= 0 && bind(fd, (struct sockaddr *)&sin, sizeof sin) == 0)
        return fd;
    int err = -errno;
    if (fd >= 0)
        close(fd);
    return err;
}

int peers_blackhole(uint32_t address, uint16_t port, int *ret_filler)
{
    struct sockaddr_in sin;
    socklen_t len = sizeof sin;
    int filler = -1;
    int fd = bind_to(address, port);
    if (fd < 0)
        return fd;
    /* Linux queues one more than the backlog says and drops the SYNs that follow. */
    if (listen(fd, 0) != 0 || getsockname(fd, (struct sockaddr *)&sin, &len) != 0)
        goto fail;
    filler = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
    if (filler < 0 || connect(filler, (struct sockaddr *)&sin, len) != 0)
        goto fail;
    *ret_filler = filler;
    return fd;
fail:;
    int err = -errno;
    if (filler >= 0)
        close(filler);
    close(fd);
    return err;
}

static int listen_all(struct peers *peers, int *listeners, int *filler)
{
    for (int kind = 0; kind < PEER_KINDS; kind++) {
        struct sockaddr_in sin;
        socklen_t len = sizeof sin;
        int fd = kind == PEER_BLACKHOLE ? peers_blackhole(INADDR_LOOPBACK, 0, filler)
                                        : bind_to(INADDR_LOOPBACK, 0);
        if (fd < 0)
            return fd;
        listeners[kind] = fd;
        if (kind != PEER_REFUSE && kind != PEER_BLACKHOLE && listen(fd, 1024) != 0)
            return -errno;
        if (getsockname(fd, (struct sockaddr *)&sin, &len) != 0)
            return -errno;
        peers->ports[kind] = ntohs(sin.sin_port);
    }
    return 0;
}

static void run_child(pid_t parent, const int *listeners, const char *cert_file,
                      const char *key_file)
{
    prctl(PR_SET_PDEATHSIG, SIGKILL);
    if (getppid() != parent)
        _exit(1);
    signal(SIGPIPE, SIG_IGN); /* OpenSSL writes without MSG_NOSIGNAL */
    if (tls_mode != PEER_PLAIN) {
        tls_ctx = SSL_CTX_new(TLS_server_method());
        if (tls_ctx == NULL || SSL_CTX_use_certificate_chain_file(tls_ctx, cert_file) != 1 ||
            SSL_CTX_use_PrivateKey_file(tls_ctx, key_file, SSL_FILETYPE_PEM) != 1)
            _exit(1);
    }
    serve(listeners);
}

int peers_start(struct peers *peers, const struct peer_script *what, enum peer_tls tls,
                const char *cert_file, const char *key_file)
{
    int listeners[PEER_KINDS];
    int filler = -1;
    void *shared = mmap(NULL, PEER_KINDS * sizeof *seen, PROT_READ | PROT_WRITE,
                        MAP_SHARED | MAP_ANONYMOUS, -1, 0);
    if (shared == MAP_FAILED)
        return -errno;
    peers->seen = shared;
    memset(listeners, -1, sizeof listeners);
    int err = listen_all(peers, listeners, &filler);
    if (err == 0) {
        pid_t parent = getpid();
        peers->pid = fork();
        if (peers->pid == 0) {
            script = what;
            tls_mode = tls;
            seen = peers->seen;
            run_child(parent, listeners, cert_file, key_file);
        }
        if (peers->pid < 0)
            err = -errno;
    }
    for (int kind = 0; kind < PEER_KINDS; kind++) {
        if (listeners[kind] >= 0)
            close(listeners[kind]);
    }
    if (filler >= 0)
        close(filler);
    if (err != 0)
        munmap(shared, PEER_KINDS * sizeof *seen);
    return err;
}

void peers_stop(struct peers *peers)
{
    kill(peers->pid, SIGKILL);
    waitpid(peers->pid, NULL, 0);
    munmap(peers->seen, PEER_KINDS * sizeof *seen);
}
