/*
 * The one engine of every byte dialogue: look up, connect, TLS, talk, close.
 *
 * Addresses are tried in the resolver's order, the next one 250 ms after the last or as soon as it
 * failed, and the first connection wins (RFC 8305 section 5). A TLS handshake step costs up to half
 * a millisecond of CPU, so it is taken as a task: the loop runs a few of those each turn.
 * Where we speak first, the last packet of TCP's handshake waits for the question and goes with it:
 * a packet less, and the peer wakes once, not twice. That is a fifth of what a check costs on
 * loopback, and a third of what it costs the peer.
 * A Unix socket is an address like another, but there is only the one and nothing to look up.
 * Sockets are edge-triggered: reads go on until the kernel has no more.
 * After the verdict a reset closes at once and leaves no TIME_WAIT, unless the dialogue is polite or
 * the connection is kept for the next check (kept.h). One that was kept may be closing just as the
 * question goes out; then the check starts over on a new one.
 */
#include "probe/dialogue.h"
#include "probe/engine.h"
#include "probe/kept.h"
#include "probe/resolver.h"
#include "probe/tls.h"
#include "probe/wire.h"

#include <healthsvc/config.h>
#include <healthsvc/strbuf.h>
#include <healthsvc/units.h>

#include <assert.h>
#include <errno.h>
#include <netinet/tcp.h>
#include <openssl/err.h>
#include <stdio.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <time.h>
#include <unistd.h>

#define STAGGER_MS 250
#define REQUEST_MAX_BYTES 65536
#define READ_BYTES 16384
#define UNIX_RETRY_MS 20

struct stream;

struct attempt {
    struct loop_watch watch;
    struct stream *stream;
};

enum stream_state {
    STREAM_CONNECTING = 0, /* look-up included */
    STREAM_HANDSHAKING,
    STREAM_TALKING,
};

struct stream {
    struct probe probe; /* first */
    enum stream_state state;
    struct resolver_wait wait;
    union resolver_address addresses[RESOLVER_MAX_ADDRESSES];
    size_t address_count, next_address;
    struct attempt attempts[RESOLVER_MAX_ADDRESSES]; /* by address */
    struct loop_timer stagger;
    bool failed; /* an address failed: */
    enum outcome failure;
    int failure_errno;
    int fd;            /* the connected socket: an attempt's, or that of `kept`; -1: none yet */
    struct kept *kept; /* a kept connection that is in use again; NULL: it is a new one */
    SSL *ssl;
    struct loop_task handshake;
    struct strbuf out;
    size_t out_sent;
    size_t received;
    _Alignas(max_align_t) unsigned char dialogue_state[]; /* dialogue->state_size bytes */
};

/* What was read last; only the checker thread reads. */
static uint8_t in_buffer[READ_BYTES];

static const struct dialogue *dialogue_of(const struct stream *s)
{
    return s->probe.conf->scheme->dialogue;
}

/* If not, being connected (and TLS) is enough. */
static bool speaks(const struct stream *s)
{
    const struct dialogue *d = dialogue_of(s);
    return d != NULL && (d->speaks == NULL || d->speaks(s->probe.conf));
}

/* Whether the first word after the connection is ours. */
static bool asks_first(const struct stream *s)
{
    return (s->probe.conf->scheme->flags & SCHEME_TLS) || (speaks(s) && dialogue_of(s)->asks_first);
}

static struct loop *loop_of(const struct stream *s)
{
    return engine_loop(s->probe.engine);
}

static bool start_over(struct stream *s) REQUIRES(checker_role);

static void finish_tls(struct stream *s, int ssl_error) REQUIRES(checker_role)
{
    char text[OUTCOME_TEXT_BYTES];
    if (start_over(s))
        return;
    s->probe.result.cert_expires_wall_s = tls_cert_expires(s->ssl);
    enum outcome outcome = tls_outcome(s->ssl, ssl_error, (int64_t)time(NULL), text, sizeof text);
    probe_finish(&s->probe, outcome, text);
}

/* An error of the connected socket. */
static void finish_errno(struct stream *s, int err) REQUIRES(checker_role)
{
    if (start_over(s))
        return;
    enum outcome outcome = outcome_of_errno(err);
    probe_finish(&s->probe, outcome, outcome == OUTCOME_OWN_ERROR ? strerror(err) : NULL);
}

/* ---- talking ---- */

static void finish_failed(struct stream *s, int error) REQUIRES(checker_role)
{
    if (s->ssl != NULL)
        finish_tls(s, error);
    else
        finish_errno(s, error);
}

/* Sends what is left of `out`. 1: all sent; 0: the socket is full; -1: this talk is over. */
static int flush(struct stream *s) REQUIRES(checker_role)
{
    while (s->out_sent < s->out.len) {
        int error = 0;
        ssize_t sent =
            wire_write(s->fd, s->ssl, s->out.data + s->out_sent, s->out.len - s->out_sent, &error);
        if (sent == WIRE_AGAIN)
            return 0;
        if (sent < 0) {
            finish_failed(s, error);
            return -1;
        }
        s->out_sent += (size_t)sent;
    }
    strbuf_clear(&s->out);
    s->out_sent = 0;
    return 1;
}

static void start_tls(struct stream *s) REQUIRES(checker_role);

/* Does what the dialogue said. True: go on reading. */
static bool take_step(struct stream *s, enum dlg_step step, const struct dlg_result *ret)
    REQUIRES(checker_role)
{
    if (step != DLG_DONE && strbuf_error(&s->out) != 0) {
        probe_finish(&s->probe, OUTCOME_OWN_MEMORY, NULL);
        return false;
    }
    switch (step) {
    case DLG_MORE:
        return flush(s) >= 0;
    case DLG_STARTTLS:
        /* The go-ahead is the peer's answer to what was sent, so `out` is empty or small. */
        if (flush(s) >= 0)
            start_tls(s);
        return false;
    case DLG_DONE:
        if (outcome_class(ret->outcome) == OUTCOME_CLASS_BAD && start_over(s))
            return false;
        s->probe.result.http_status = ret->http_status;
        if (s->out.len > s->out_sent && dialogue_of(s)->polite && flush(s) < 0)
            return false; /* the goodbye failed: that end counts */
        probe_finish(&s->probe, ret->outcome, ret->text);
        return false;
    }
    return false;
}

static void end_of_stream(struct stream *s) REQUIRES(checker_role)
{
    struct dlg_result ret = {.outcome = OUTCOME_CLOSED};
    if (dialogue_of(s)->eof != NULL)
        dialogue_of(s)->eof(s->dialogue_state, &ret);
    take_step(s, DLG_DONE, &ret);
}

/* Reads once. >0: bytes in in_buffer; 0: nothing now; -1: this talk is over. */
static ssize_t read_some(struct stream *s) REQUIRES(checker_role)
{
    int error = 0;
    ssize_t len = wire_read(s->fd, s->ssl, in_buffer, sizeof in_buffer, &error);
    if (len >= 0)
        return len;
    if (len == WIRE_END)
        end_of_stream(s);
    else
        finish_failed(s, error);
    return -1;
}

static void read_all(struct stream *s, bool until_end) REQUIRES(checker_role)
{
    const struct dialogue *d = dialogue_of(s);
    for (;;) {
        ssize_t len = read_some(s);
        if (len <= 0)
            return;
        s->received += (size_t)len;
        struct dlg_result ret = {.outcome = OUTCOME_BAD_REPLY};
        enum dlg_step step = d->feed(s->dialogue_state, in_buffer, (size_t)len, &s->out, &ret);
        if (step != DLG_DONE && s->received > d->max_reply_bytes) {
            probe_finish(&s->probe, OUTCOME_BAD_REPLY, "reply is too long");
            return;
        }
        if (!take_step(s, step, &ret))
            return;
        /* A short read has emptied the socket, unless the end of the stream lies behind it. */
        if (s->ssl == NULL && !until_end && (size_t)len < sizeof in_buffer)
            return;
    }
}

/* `readable`: bytes (a greeting) may be here already, and have had their edge. */
static void start_talking(struct stream *s, bool readable) REQUIRES(checker_role)
{
    if (!speaks(s)) {
        probe_finish(&s->probe, OUTCOME_OK, NULL);
        return;
    }
    s->state = STREAM_TALKING;
    probe_enter(&s->probe, PROBE_PHASE_EXCHANGE);
    struct dlg_result ret = {.outcome = OUTCOME_BAD_REPLY};
    enum dlg_step step = dialogue_of(s)->open(s->dialogue_state, s->probe.conf, &s->out, &ret);
    assert(!dialogue_of(s)->asks_first || step == DLG_DONE || s->out.len > 0 ||
           strbuf_error(&s->out) != 0);
    if (take_step(s, step, &ret) && readable)
        read_all(s, true);
}

/* ---- TLS ---- */

static void on_handshake(struct loop_task *t)
{
    checker_role_assert();
    struct stream *s = (struct stream *)((char *)t - offsetof(struct stream, handshake));
    ERR_clear_error();
    int r = SSL_do_handshake(s->ssl);
    if (r == 1) {
        s->probe.result.cert_expires_wall_s = tls_cert_expires(s->ssl);
        start_talking(s, true);
        return;
    }
    int ssl_error = SSL_get_error(s->ssl, r);
    if (ssl_error != SSL_ERROR_WANT_READ && ssl_error != SSL_ERROR_WANT_WRITE)
        finish_tls(s, ssl_error);
}

static bool ask_for(SSL *ssl, const char *protocol)
{
    unsigned char list[256]; /* one name, its length first (RFC 7301 section 3.1) */
    size_t len = strlen(protocol);
    assert(len < sizeof list);
    list[0] = (unsigned char)len;
    memcpy(list + 1, protocol, len);
    return SSL_set_alpn_protos(ssl, list, (unsigned)len + 1) == 0;
}

static void start_tls(struct stream *s)
{
    const struct target_conf *conf = s->probe.conf;
    probe_enter(&s->probe, PROBE_PHASE_TLS);
    s->state = STREAM_HANDSHAKING;
    const char *host = conf->tls.server_name != NULL ? conf->tls.server_name : conf->host;
    s->ssl = tls_new(conf->tls_profile, host, s->fd);
    if (s->ssl == NULL || (conf->scheme->alpn != NULL && !ask_for(s->ssl, conf->scheme->alpn))) {
        probe_finish(&s->probe, OUTCOME_OWN_MEMORY, NULL);
        return;
    }
    s->handshake.run = on_handshake;
    loop_soon(loop_of(s), &s->handshake);
}

/* ---- connecting ---- */

static void connect_next(struct stream *s) REQUIRES(checker_role);

/* Keeps why an address failed. The first reason stays, but one that speaks of the peer outweighs
 * one of our own (no route to its IPv6 address, say). */
static void note_failure(struct stream *s, int err)
{
    enum outcome outcome = outcome_of_errno(err);
    if (s->failed && (outcome_class(outcome) == OUTCOME_CLASS_NOT_TRIED ||
                      outcome_class(s->failure) != OUTCOME_CLASS_NOT_TRIED))
        return;
    s->failed = true;
    s->failure = outcome;
    s->failure_errno = err;
}

/* Without a listener, a connection to a local port of the ephemeral range can meet itself (TCP
 * simultaneous open, RFC 9293 section 3.5): connected, to nobody. */
static bool met_itself(int fd, const union resolver_address *peer)
{
    union resolver_address own = {.sa.sa_family = AF_UNSPEC};
    socklen_t len = sizeof own;
    if (getsockname(fd, &own.sa, &len) != 0 || own.sa.sa_family != peer->sa.sa_family)
        return false;
    if (own.sa.sa_family == AF_INET)
        return own.in.sin_port == peer->in.sin_port &&
               own.in.sin_addr.s_addr == peer->in.sin_addr.s_addr;
    return own.in6.sin6_port == peer->in6.sin6_port &&
           memcmp(&own.in6.sin6_addr, &peer->in6.sin6_addr, sizeof own.in6.sin6_addr) == 0;
}

static void connected(struct stream *s, struct attempt *a, bool readable) REQUIRES(checker_role)
{
    const union resolver_address *peer = &s->addresses[a - s->attempts];
    s->fd = a->watch.fd;
    s->probe.result.ip_family = peer->sa.sa_family;
    loop_timer_clear(loop_of(s), &s->stagger);
    for (size_t i = 0; i < s->address_count; i++) {
        if (&s->attempts[i] != a)
            loop_watch_close(loop_of(s), &s->attempts[i].watch);
    }
    if (s->probe.conf->scheme->flags & SCHEME_TLS)
        start_tls(s);
    else
        start_talking(s, readable);
}

static void close_by_reset(int fd)
{
    struct linger reset = {.l_onoff = 1, .l_linger = 0};
    (void)setsockopt(fd, SOL_SOCKET, SO_LINGER, &reset, sizeof reset);
}

/* Fetches how a non-blocking connect ended: 0 or errno. One that met itself is not found out by a
 * scheme that says nothing, and would by a polite close keep the port in TIME_WAIT, and so from the
 * service that wants to listen on it again. */
static int connect_error(struct stream *s, struct attempt *a, uint32_t events)
{
    bool look = !speaks(s) || dialogue_of(s)->polite;
    int err = 0;
    socklen_t len = sizeof err;
    if ((events & (EPOLLERR | EPOLLHUP)) &&
        getsockopt(a->watch.fd, SOL_SOCKET, SO_ERROR, &err, &len) != 0)
        err = errno;
    if (err == 0 && look && met_itself(a->watch.fd, &s->addresses[a - s->attempts])) {
        close_by_reset(a->watch.fd);
        err = ECONNREFUSED;
    }
    return err;
}

static void on_talk(struct stream *s, uint32_t events) REQUIRES(checker_role)
{
    if ((events & EPOLLOUT) && s->out.len > 0 && flush(s) < 0)
        return;
    read_all(s, (events & (EPOLLRDHUP | EPOLLHUP | EPOLLERR)) != 0);
}

static void on_ready(struct loop_watch *w, uint32_t events)
{
    checker_role_assert();
    struct attempt *a = (struct attempt *)w; /* first member */
    struct stream *s = a->stream;
    switch (s->state) {
    case STREAM_CONNECTING: {
        int err = connect_error(s, a, events);
        if (err != 0) {
            note_failure(s, err);
            loop_watch_close(loop_of(s), w);
            connect_next(s);
        } else if (events & EPOLLOUT) {
            connected(s, a, (events & (EPOLLIN | EPOLLRDHUP)) != 0);
        }
        break;
    }
    case STREAM_HANDSHAKING:
        loop_soon(loop_of(s), &s->handshake);
        break;
    case STREAM_TALKING:
        on_talk(s, events);
        break;
    }
}

/* Without TCP_QUICKACK Linux holds back the acknowledgement of the peer's SYN, for 200 ms at most,
 * so that data can carry it (tcp(7)). */
static void set_tcp_options(const struct stream *s, int fd)
{
    int on = 1, off = 0;
    (void)setsockopt(fd, IPPROTO_TCP, TCP_NODELAY, &on, sizeof on);
    if (asks_first(s))
        (void)setsockopt(fd, IPPROTO_TCP, TCP_QUICKACK, &off, sizeof off);
}

/* 0: under way or connected; else errno. */
static int connect_to(struct stream *s, struct attempt *a, const struct sockaddr *peer,
                      socklen_t len) REQUIRES(checker_role)
{
    int fd = socket(peer->sa_family, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0);
    if (fd < 0)
        return errno;
    if (peer->sa_family != AF_UNIX)
        set_tcp_options(s, fd);
    int err = connect(fd, peer, len) == 0 ? 0 : errno;
    if (err == 0 || err == EINPROGRESS) {
        /* Watched only now: a socket that is not yet connecting reads as hung up. */
        a->watch.ready = on_ready;
        err = -loop_watch_add(loop_of(s), &a->watch, fd);
    }
    if (err != 0)
        close(fd);
    return err;
}

/* The one attempt. Linux says EAGAIN where a blocking connect would wait for the backlog, and
 * nothing tells when it has room. */
static void connect_unix(struct stream *s) REQUIRES(checker_role)
{
    struct sockaddr_un peer = {.sun_family = AF_UNIX};
    (void)snprintf(peer.sun_path, sizeof peer.sun_path, "%s", s->probe.conf->unix_path);
    int err = connect_to(s, &s->attempts[0], (const struct sockaddr *)&peer, sizeof peer);
    if (err == EAGAIN)
        loop_timer_set(loop_of(s), &s->stagger, loop_now_ms(loop_of(s)) + UNIX_RETRY_MS);
    else if (err == ENOENT || err == ENOTDIR)
        probe_finish(&s->probe, OUTCOME_CONNECT_REFUSED, "the Unix socket does not exist");
    else if (err == EPROTOTYPE)
        probe_finish(&s->probe, OUTCOME_CONNECT_FAILED, "the Unix socket is not a stream's");
    else if (err != 0)
        finish_errno(s, err);
}

static void connect_next(struct stream *s)
{
    while (s->next_address < s->address_count) {
        size_t i = s->next_address++;
        const struct sockaddr *peer = &s->addresses[i].sa;
        socklen_t len =
            peer->sa_family == AF_INET ? sizeof s->addresses[i].in : sizeof s->addresses[i].in6;
        int err = connect_to(s, &s->attempts[i], peer, len);
        if (err == 0) {
            if (s->next_address < s->address_count)
                loop_timer_set(loop_of(s), &s->stagger, loop_now_ms(loop_of(s)) + STAGGER_MS);
            return;
        }
        note_failure(s, err);
    }
    for (size_t i = 0; i < s->address_count; i++) {
        if (s->attempts[i].watch.fd >= 0)
            return; /* another one is still under way */
    }
    probe_finish(&s->probe, s->failure,
                 s->failure == OUTCOME_OWN_ERROR ? strerror(s->failure_errno) : NULL);
}

static void on_stagger(struct loop_timer *t)
{
    checker_role_assert();
    struct stream *s = (struct stream *)((char *)t - offsetof(struct stream, stagger));
    if (s->probe.conf->unix_path != NULL)
        connect_unix(s);
    else
        connect_next(s);
}

static void take_answer(struct stream *s, const struct resolver_answer *answer)
    REQUIRES(checker_role)
{
    if (answer->outcome != OUTCOME_OK) {
        probe_finish(&s->probe, answer->outcome, answer->text);
        return;
    }
    s->address_count = resolver_answer_addresses(answer, s->probe.conf->port, s->addresses);
    probe_enter(&s->probe, PROBE_PHASE_CONNECT);
    connect_next(s);
}

static void on_answer(struct resolver_wait *w, const struct resolver_answer *answer)
{
    checker_role_assert();
    take_answer((struct stream *)((char *)w - offsetof(struct stream, wait)), answer);
}

/* 0, or a negative errno: nothing has begun. */
static int start_connecting(struct stream *s) REQUIRES(checker_role)
{
    const struct target_conf *conf = s->probe.conf;
    s->state = STREAM_CONNECTING;
    if (conf->unix_path != NULL) {
        probe_enter(&s->probe, PROBE_PHASE_CONNECT);
        s->address_count = s->next_address = 1;
        connect_unix(s);
        return 0;
    }
    struct resolver_answer answer;
    int r = resolver_lookup(engine_resolver(s->probe.engine), conf->host, &s->wait, &answer);
    if (r > 0)
        take_answer(s, &answer);
    return r < 0 ? r : 0;
}

static void disconnect(struct stream *s, bool polite) REQUIRES(checker_role)
{
    if (s->ssl != NULL) {
        if (polite)
            (void)SSL_shutdown(s->ssl);
        SSL_free(s->ssl);
        ERR_clear_error();
        s->ssl = NULL;
    }
    if (s->fd >= 0 && !polite)
        close_by_reset(s->fd);
    s->fd = -1;
    s->kept = kept_free(s->kept);
    for (size_t i = 0; i < RESOLVER_MAX_ADDRESSES; i++)
        loop_watch_close(loop_of(s), &s->attempts[i].watch);
}

/* ---- kept connections ---- */

static void on_kept_ready(struct loop_watch *w, uint32_t events)
{
    checker_role_assert();
    on_talk(((struct kept *)w)->user, events);
}

/* Goes on where the last check has left off: what it had to wait for has had its events. */
static void talk_again(struct stream *s) REQUIRES(checker_role)
{
    const struct dlg_reuse *reuse = dialogue_of(s)->reuse;
    struct kept *kept = s->kept;
    kept->watch.ready = on_kept_ready;
    s->fd = kept->watch.fd;
    s->ssl = kept->ssl;
    kept->ssl = NULL;
    if (reuse->resume != NULL)
        reuse->resume(s->dialogue_state, kept->session);
    kept->session = NULL;
    s->probe.result.ip_family = kept->ip_family;
    s->probe.result.cert_expires_wall_s = kept->cert_expires_wall_s;
    s->probe.result.phase = PROBE_PHASE_EXCHANGE; /* it was never in those before */
    start_talking(s, false);
}

/* A kept connection has failed before a byte of an answer: that tells nothing of the peer but that
 * it had enough of this connection. True: the check goes on, on a new one. */
static bool start_over(struct stream *s)
{
    const struct dialogue *d = dialogue_of(s);
    if (s->kept == NULL || d->reuse->answered(s->dialogue_state))
        return false;
    ERR_clear_error();
    disconnect(s, false);
    if (d->done != NULL)
        d->done(s->dialogue_state);
    memset(s->dialogue_state, 0, d->state_size);
    strbuf_clear(&s->out);
    s->out_sent = s->received = 0;
    s->probe.result.ip_family = 0;
    s->probe.result.cert_expires_wall_s = 0;
    probe_enter(&s->probe, PROBE_PHASE_DNS);
    int r = start_connecting(s);
    if (r < 0)
        probe_finish(&s->probe, outcome_of_errno(-r), NULL);
    return true;
}

/* Sends what the dialogue has left to say. */
static bool say_rest(struct stream *s)
{
    int error = 0;
    ssize_t len = (ssize_t)s->out.len;
    return strbuf_error(&s->out) == 0 &&
           (len == 0 || wire_write(s->fd, s->ssl, s->out.data, s->out.len, &error) == len);
}

/* Leaves the connection to the next check, if it is wanted and in no doubt whatever. */
static void keep(struct stream *s) REQUIRES(checker_role)
{
    const struct probe *p = &s->probe;
    const struct dlg_reuse *reuse = p->conf->reuse ? dialogue_of(s)->reuse : NULL;
    struct keeper *keeper = engine_keeper(p->engine);
    struct kept *kept = s->kept;
    int64_t start_ms = p->start_us / 1000;
    int64_t since_ms = kept != NULL ? kept->since_mono_ms : start_ms;
    void *session = NULL;
    if (reuse == NULL || p->kept == NULL || p->result.outcome != OUTCOME_OK || s->out.len > 0 ||
        !keeper_allows(keeper, p->conf, since_ms, start_ms + p->conf->period_ms))
        return;
    bool calm = reuse->rest(s->dialogue_state, &s->out, &session) && say_rest(s);
    for (size_t i = 0; calm && kept == NULL && i < s->address_count; i++) {
        if (s->attempts[i].watch.fd == s->fd &&
            kept_new(keeper, &s->attempts[i].watch, s, &kept) != 0)
            break;
    }
    if (!calm || kept == NULL) {
        if (session != NULL)
            reuse->forget(session);
        return;
    }
    kept->reuse = reuse;
    kept->session = session;
    kept->ssl = s->ssl;
    kept->ip_family = p->result.ip_family;
    kept->cert_expires_wall_s = p->result.cert_expires_wall_s;
    kept->since_mono_ms = since_ms;
    s->kept = NULL;
    s->ssl = NULL;
    s->fd = -1;
    kept_leave(kept, p->kept);
}

/* ---- the engine's two hooks ---- */

static int stream_start(struct probe *p)
{
    checker_role_assert();
    struct stream *s = (struct stream *)p;
    for (size_t i = 0; i < RESOLVER_MAX_ADDRESSES; i++)
        s->attempts[i] = (struct attempt){.watch = {.fd = -1}, .stream = s};
    s->fd = -1;
    s->stagger.fire = on_stagger;
    s->wait.done = on_answer;
    strbuf_init(&s->out, REQUEST_MAX_BYTES);
    if (p->kept != NULL)
        s->kept = kept_take(p->kept, p->conf, s, p->start_us / 1000);
    if (s->kept == NULL)
        return start_connecting(s);
    talk_again(s);
    return 0;
}

static void stream_stop(struct probe *p)
{
    checker_role_assert();
    struct stream *s = (struct stream *)p;
    const struct dialogue *d = dialogue_of(s);
    resolver_cancel(engine_resolver(p->engine), &s->wait);
    loop_timer_clear(loop_of(s), &s->stagger);
    loop_soon_cancel(loop_of(s), &s->handshake);
    keep(s);
    disconnect(s, speaks(s) && d->polite);
    strbuf_done(&s->out);
    if (d != NULL && d->done != NULL)
        d->done(s->dialogue_state);
}

const struct probe_ops stream_ops = {
    .probe_size = sizeof(struct stream),
    .start = stream_start,
    .stop = stream_stop,
};
