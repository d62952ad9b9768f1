/*
 * Addresses of the host are tried in the resolver's order, the next one as soon as the last has
 * failed; silence is no failure, for a packet may be lost or slow, so it is only asked again.
 * Packets that are not the answer are ignored: anybody can send packets in the server's name.
 */
#include "probe/datagram.h"

#include <healthsvc/config.h>

#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/socket.h>
#include <sys/uio.h>
#include <unistd.h>

#define LENGTH_BYTES 2
#define PACKETS_PER_TURN 64 /* a flood must not hold the loop up */

/* The last packet; only the checker thread reads. */
static uint8_t in_buffer[DATAGRAM_ANSWER_BYTES];

static struct loop *loop_of(const struct datagram *d)
{
    return engine_loop(d->probe.engine);
}

static void finish_errno(struct datagram *d, int err) REQUIRES(checker_role)
{
    enum outcome outcome = outcome_of_errno(err);
    probe_finish(&d->probe, outcome, outcome == OUTCOME_OWN_ERROR ? strerror(err) : NULL);
}

static void ask_next(struct datagram *d) REQUIRES(checker_role);

/* This address does not answer; any other? */
static void failed(struct datagram *d, int err) REQUIRES(checker_role)
{
    loop_timer_clear(loop_of(d), &d->resend);
    loop_watch_close(loop_of(d), &d->watch);
    if (d->message == NULL && d->next_address < d->address_count)
        ask_next(d);
    else
        finish_errno(d, err);
}

/* ---- UDP ---- */

static void send_packet(struct datagram *d) REQUIRES(checker_role)
{
    if (d->sending != NULL)
        d->sending(d);
    ssize_t r = send(d->watch.fd, d->question, d->question_len, MSG_NOSIGNAL);
    if (r < 0 && errno != EAGAIN && errno != EINTR)
        failed(d, errno);
    else if (d->resend_ms > 0)
        loop_timer_set(loop_of(d), &d->resend, loop_now_ms(loop_of(d)) + d->resend_ms);
}

static void on_resend(struct loop_timer *t)
{
    checker_role_assert();
    send_packet((struct datagram *)((char *)t - offsetof(struct datagram, resend)));
}

static void receive_packets(struct datagram *d) REQUIRES(checker_role)
{
    for (int i = 0; i < PACKETS_PER_TURN; i++) {
        ssize_t r = recv(d->watch.fd, in_buffer, sizeof in_buffer, 0);
        if (r < 0 && (errno == EAGAIN || errno == EINTR))
            return;
        if (r < 0) {
            failed(d, errno);
            return;
        }
        if (!d->take(d, in_buffer, (size_t)r))
            return;
    }
    loop_soon(loop_of(d), &d->more);
}

static void on_more(struct loop_task *t)
{
    checker_role_assert();
    receive_packets((struct datagram *)((char *)t - offsetof(struct datagram, more)));
}

static void on_udp(struct loop_watch *w, uint32_t events)
{
    checker_role_assert();
    if (events & (EPOLLIN | EPOLLERR))
        receive_packets((struct datagram *)((char *)w - offsetof(struct datagram, watch)));
}

/* ---- TCP ---- */

static void receive_message(struct datagram *d) REQUIRES(checker_role)
{
    for (;;) {
        size_t wanted = LENGTH_BYTES;
        if (d->message_len >= LENGTH_BYTES)
            wanted += (size_t)d->message[0] << 8 | d->message[1];
        if (d->message_len == wanted) {
            if (d->take(d, d->message + LENGTH_BYTES, wanted - LENGTH_BYTES))
                probe_finish(&d->probe, OUTCOME_BAD_REPLY, "an answer to another question");
            return;
        }
        ssize_t r = recv(d->watch.fd, d->message + d->message_len, wanted - d->message_len, 0);
        if (r < 0 && (errno == EAGAIN || errno == EINTR))
            return;
        if (r < 0) {
            finish_errno(d, errno);
            return;
        }
        if (r == 0) {
            probe_finish(&d->probe, OUTCOME_CLOSED, NULL);
            return;
        }
        d->message_len += (size_t)r;
    }
}

static void on_tcp(struct loop_watch *w, uint32_t events)
{
    checker_role_assert();
    struct datagram *d = (struct datagram *)((char *)w - offsetof(struct datagram, watch));
    int err = 0;
    socklen_t len = sizeof err;
    if (!d->asked) {
        if ((events & (EPOLLERR | EPOLLHUP)) &&
            getsockopt(w->fd, SOL_SOCKET, SO_ERROR, &err, &len) != 0)
            err = errno;
        if (err != 0) {
            finish_errno(d, err);
            return;
        }
        if (!(events & EPOLLOUT))
            return;
        d->asked = true;
        probe_enter(&d->probe, PROBE_PHASE_EXCHANGE);
        uint8_t prefix[LENGTH_BYTES] = {(uint8_t)(d->question_len >> 8), (uint8_t)d->question_len};
        struct iovec parts[] = {{prefix, sizeof prefix}, {d->question, d->question_len}};
        struct msghdr message = {.msg_iov = parts, .msg_iovlen = 2};
        /* The first bytes on a connection: they fit its buffer, or it has failed. */
        if (sendmsg(w->fd, &message, MSG_NOSIGNAL) != (ssize_t)(sizeof prefix + d->question_len)) {
            finish_errno(d, errno);
            return;
        }
    }
    receive_message(d);
}

/* ---- both ---- */

/* 0 or errno. */
static int open_socket(struct datagram *d, const union resolver_address *peer, int type)
    REQUIRES(checker_role)
{
    int fd = socket(peer->sa.sa_family, type | SOCK_NONBLOCK | SOCK_CLOEXEC, 0);
    if (fd < 0)
        return errno;
    socklen_t len = peer->sa.sa_family == AF_INET ? sizeof peer->in : sizeof peer->in6;
    int err = connect(fd, &peer->sa, len) == 0 || errno == EINPROGRESS ? 0 : errno;
    if (err == 0)
        err = -loop_watch_add(loop_of(d), &d->watch, fd);
    if (err != 0)
        close(fd);
    return err;
}

static void ask_next(struct datagram *d)
{
    const union resolver_address *peer = &d->addresses[d->next_address++];
    d->probe.result.ip_family = peer->sa.sa_family;
    d->watch.ready = on_udp;
    int err = open_socket(d, peer, SOCK_DGRAM);
    if (err != 0)
        failed(d, err);
    else
        send_packet(d);
}

void datagram_by_tcp(struct datagram *d)
{
    loop_timer_clear(loop_of(d), &d->resend);
    loop_soon_cancel(loop_of(d), &d->more);
    loop_watch_close(loop_of(d), &d->watch);
    d->message = malloc(LENGTH_BYTES + DATAGRAM_ANSWER_BYTES);
    if (d->message == NULL) {
        probe_finish(&d->probe, OUTCOME_OWN_MEMORY, NULL);
        return;
    }
    probe_enter(&d->probe, PROBE_PHASE_CONNECT);
    d->watch.ready = on_tcp;
    int err = open_socket(d, &d->addresses[d->next_address - 1], SOCK_STREAM);
    if (err != 0)
        finish_errno(d, err);
}

static void take_answer(struct datagram *d, const struct resolver_answer *answer)
    REQUIRES(checker_role)
{
    if (answer->outcome != OUTCOME_OK) {
        probe_finish(&d->probe, answer->outcome, answer->text);
        return;
    }
    d->address_count = resolver_answer_addresses(answer, d->probe.conf->port, d->addresses);
    probe_enter(&d->probe, PROBE_PHASE_EXCHANGE);
    ask_next(d);
}

static void on_answer(struct resolver_wait *w, const struct resolver_answer *answer)
{
    checker_role_assert();
    take_answer((struct datagram *)((char *)w - offsetof(struct datagram, wait)), answer);
}

int datagram_start(struct datagram *d)
{
    struct probe *p = &d->probe;
    d->watch.fd = -1;
    d->resend.fire = on_resend;
    d->more.run = on_more;
    d->wait.done = on_answer;
    struct resolver_answer answer;
    int r = resolver_lookup(engine_resolver(p->engine), p->conf->host, &d->wait, &answer);
    if (r > 0)
        take_answer(d, &answer);
    return r < 0 ? r : 0;
}

void datagram_stop(struct datagram *d)
{
    resolver_cancel(engine_resolver(d->probe.engine), &d->wait);
    loop_timer_clear(loop_of(d), &d->resend);
    loop_soon_cancel(loop_of(d), &d->more);
    if (d->message != NULL && d->watch.fd >= 0) { /* no TIME_WAIT */
        struct linger reset = {.l_onoff = 1, .l_linger = 0};
        (void)setsockopt(d->watch.fd, SOL_SOCKET, SO_LINGER, &reset, sizeof reset);
    }
    loop_watch_close(loop_of(d), &d->watch);
    free(d->message);
    d->message = NULL;
}
