/*
 * An idle connection has no deadline of its own: the next check of its dependency takes or closes
 * it, and a peer that vanished without a word is found out by TCP's keepalive, which also keeps what
 * lies between (NAT, firewalls) from forgetting the connection.
 * A peer cannot make an idle connection cost much: what it may say between two checks is bounded.
 */
#include "probe/kept.h"

#include "probe/dialogue.h"
#include "probe/tls.h"
#include "probe/wire.h"

#include <healthsvc/config.h>
#include <healthsvc/probe.h>
#include <healthsvc/stats.h>
#include <healthsvc/strbuf.h>

#include <errno.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <openssl/err.h>
#include <stdlib.h>
#include <sys/epoll.h>
#include <sys/socket.h>
#include <time.h>
#include <unistd.h>

#define QUIET_BYTES 16384 /* that a peer may say between two checks, TLS records included */
#define ALIVE_AFTER_S 30  /* idle: ask TCP whether the peer is there */
#define ALIVE_EVERY_S 10
#define ALIVE_TRIES 3

bool keeper_allows(const struct keeper *keeper, const struct target_conf *conf,
                   int64_t since_mono_ms, int64_t start_mono_ms)
{
    return start_mono_ms + conf->period_ms - since_mono_ms <= keeper->keep_ms;
}

bool keeper_give_way(struct keeper *keeper)
{
    if (keeper->newest == NULL)
        return false;
    kept_free(keeper->newest);
    return true;
}

static void ask_alive(int fd)
{
    const int on = 1, after_s = ALIVE_AFTER_S, every_s = ALIVE_EVERY_S, tries = ALIVE_TRIES;
    /* Fails on a Unix socket, whose peer cannot vanish. */
    (void)setsockopt(fd, SOL_SOCKET, SO_KEEPALIVE, &on, sizeof on);
    (void)setsockopt(fd, IPPROTO_TCP, TCP_KEEPIDLE, &after_s, sizeof after_s);
    (void)setsockopt(fd, IPPROTO_TCP, TCP_KEEPINTVL, &every_s, sizeof every_s);
    (void)setsockopt(fd, IPPROTO_TCP, TCP_KEEPCNT, &tries, sizeof tries);
}

int kept_new(struct keeper *keeper, struct loop_watch *from, void *user, struct kept **ret_kept)
{
    struct kept *kept = calloc(1, sizeof *kept);
    if (kept == NULL)
        return -ENOMEM;
    kept->keeper = keeper;
    kept->user = user;
    int r = loop_watch_move(keeper->loop, from, &kept->watch);
    if (r < 0) {
        free(kept);
        return r;
    }
    ask_alive(kept->watch.fd);
    *ret_kept = kept;
    return 0;
}

/* Out of the keeper's list and the target's slot. */
static void unlink_idle(struct kept *kept)
{
    struct keeper *keeper = kept->keeper;
    if (kept->newer != NULL)
        kept->newer->older = kept->older;
    else
        keeper->newest = kept->older;
    if (kept->older != NULL)
        kept->older->newer = kept->newer;
    kept->older = kept->newer = NULL;
    *kept->slot = NULL;
    kept->slot = NULL;
    keeper->count--;
    atomic_fetch_sub_explicit(&stats.kept, 1, memory_order_relaxed);
}

struct kept *kept_free(struct kept *kept)
{
    if (kept == NULL)
        return NULL;
    if (kept->slot != NULL)
        unlink_idle(kept);
    if (kept->session != NULL)
        kept->reuse->forget(kept->session);
    SSL_free(kept->ssl);
    ERR_clear_error();
    if (kept->watch.fd >= 0) {
        struct linger reset = {.l_onoff = 1, .l_linger = 0}; /* as stream.c does */
        (void)setsockopt(kept->watch.fd, SOL_SOCKET, SO_LINGER, &reset, sizeof reset);
        loop_watch_close(kept->keeper->loop, &kept->watch);
    }
    loop_free_later(kept->keeper->loop, &kept->garbage, kept);
    return NULL;
}

static uint64_t said_so_far(const struct kept *kept)
{
    return kept->ssl != NULL ? BIO_number_read(SSL_get_rbio(kept->ssl)) : kept->said_bytes;
}

/* What the protocol says to bytes that came unasked. */
static bool take_bytes(struct kept *kept, const uint8_t *in, size_t len)
{
    struct strbuf out;
    int error;
    if (kept->reuse->idle == NULL)
        return false;
    strbuf_init(&out, QUIET_BYTES);
    bool calm = kept->reuse->idle(kept->session, in, len, &out) && strbuf_error(&out) == 0;
    if (calm && out.len > 0)
        calm = wire_write(kept->watch.fd, kept->ssl, out.data, out.len, &error) == (ssize_t)out.len;
    strbuf_done(&out);
    return calm;
}

/* Reads until there is no more. False: it can no longer be asked. */
static bool is_calm(struct kept *kept)
{
    uint8_t in[2048];
    int error;
    for (;;) {
        ssize_t len = wire_read(kept->watch.fd, kept->ssl, in, sizeof in, &error);
        if (len > 0)
            kept->said_bytes += (uint64_t)len;
        if (len < 0 || said_so_far(kept) > kept->said_limit)
            return false;
        if (len == WIRE_AGAIN)
            return true;
        if (!take_bytes(kept, in, (size_t)len))
            return false;
    }
}

static void on_idle(struct loop_watch *w, uint32_t events)
{
    checker_role_assert();
    struct kept *kept = (struct kept *)w; /* first member */
    if ((events & (EPOLLRDHUP | EPOLLHUP | EPOLLERR)) || !is_calm(kept))
        kept_free(kept);
}

void kept_leave(struct kept *kept, struct kept **slot)
{
    struct keeper *keeper = kept->keeper;
    kept->user = NULL;
    kept->watch.ready = on_idle;
    kept->said_limit = said_so_far(kept) + QUIET_BYTES;
    if (!is_calm(kept)) { /* what came with the answer has had its event */
        kept_free(kept);
        return;
    }
    kept->older = keeper->newest;
    if (kept->older != NULL)
        kept->older->newer = kept;
    keeper->newest = kept;
    keeper->count++;
    kept->slot = slot;
    *slot = kept;
    stats_add(&stats.kept, 1);
}

struct kept *kept_take(struct kept **slot, const struct target_conf *conf, void *user,
                       int64_t now_mono_ms)
{
    struct kept *kept = *slot;
    if (kept == NULL)
        return NULL;
    bool expired =
        kept->cert_expires_wall_s != 0 && (int64_t)time(NULL) >= kept->cert_expires_wall_s;
    if (expired || !keeper_allows(kept->keeper, conf, kept->since_mono_ms, now_mono_ms) ||
        (kept->ssl != NULL && !tls_made_with(kept->ssl, conf->tls_profile)))
        return kept_free(kept);
    unlink_idle(kept);
    kept->user = user;
    return kept;
}

void probe_drop_kept(struct kept **kept)
{
    checker_role_assert();
    kept_free(*kept);
}
