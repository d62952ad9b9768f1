/*
 * One request, one answer, one absolute deadline. So the sockets block, each call for what is left
 * of the time at most; a name is looked up by the system's resolver on a thread of its own, which
 * cannot be hurried but can be left behind.
 */
#include "command/fetch.h"

#include <healthsvc/clock.h>
#include <healthsvc/config.h>
#include <healthsvc/http_reply.h>
#include <healthsvc/probe.h>
#include <healthsvc/strbuf.h>
#include <healthsvc/units.h>

#include <errno.h>
#include <netdb.h>
#include <poll.h>
#include <pthread.h>
#include <stdio.h>
#include <string.h>
#include <sys/eventfd.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <unistd.h>

struct fetch {
    const struct target_conf *conf;
    int64_t limit_mono_ms;
    int fd;                /* -1: not connected */
    struct dlg_result end; /* why there is no answer */
};

static bool fail(struct fetch *f, enum outcome outcome, const char *text)
{
    f->end.outcome = outcome;
    (void)snprintf(f->end.text, sizeof f->end.text, "%s", text);
    return false;
}

static bool fail_late(struct fetch *f, enum probe_phase phase)
{
    struct strbuf text;
    strbuf_init(&text, sizeof f->end.text - 1);
    strbuf_adds(&text, "timeout after ");
    units_format_duration(&text, f->conf->timeout_ms);
    strbuf_addf(&text, " in %s", probe_phase_token(phase));
    (void)fail(f, OUTCOME_TIMEOUT, text.data);
    strbuf_done(&text);
    return false;
}

/* EAGAIN and EINPROGRESS are how a blocking call says that its time is over. */
static bool fail_errno(struct fetch *f, enum probe_phase phase, int err)
{
    if (err == EAGAIN || err == EINPROGRESS)
        return fail_late(f, phase);
    if (err == ENOENT || err == ENOTDIR)
        return fail(f, OUTCOME_CONNECT_REFUSED, "the Unix socket does not exist");
    enum outcome outcome = outcome_of_errno(err);
    return fail(f, outcome, outcome == OUTCOME_OWN_ERROR ? strerror(err) : "");
}

/* ---- names ---- */

struct lookup {
    const char *host;
    char port[8];
    int done_fd;
    int result; /* of getaddrinfo() */
    struct addrinfo *found;
};

static void *look_up(void *arg)
{
    struct lookup *l = arg;
    const struct addrinfo hints = {.ai_socktype = SOCK_STREAM, .ai_flags = AI_NUMERICSERV};
    l->result = getaddrinfo(l->host, l->port, &hints, &l->found);
    (void)eventfd_write(l->done_fd, 1);
    return NULL;
}

static bool wait_for(int fd, int64_t limit_mono_ms)
{
    struct pollfd p = {.fd = fd, .events = POLLIN};
    for (;;) {
        int64_t left_ms = limit_mono_ms - clock_mono_ms();
        if (left_ms <= 0)
            return false;
        if (poll(&p, 1, left_ms < INT32_MAX ? (int)left_ms : INT32_MAX) > 0)
            return true;
    }
}

static bool find_addresses(struct fetch *f, struct addrinfo **ret_found)
{
    static struct lookup lookup; /* outlives a thread that is left behind */
    pthread_t thread;
    lookup.host = f->conf->host;
    (void)snprintf(lookup.port, sizeof lookup.port, "%u", f->conf->port);
    lookup.done_fd = eventfd(0, EFD_CLOEXEC);
    if (lookup.done_fd < 0)
        return fail_errno(f, PROBE_PHASE_DNS, errno);
    int err = pthread_create(&thread, NULL, look_up, &lookup);
    if (err != 0)
        return fail(f, OUTCOME_OWN_ERROR, strerror(err));
    if (!wait_for(lookup.done_fd, f->limit_mono_ms)) {
        (void)pthread_detach(thread);
        return fail_late(f, PROBE_PHASE_DNS);
    }
    (void)pthread_join(thread, NULL);
    (void)close(lookup.done_fd);
    if (lookup.result == EAI_SYSTEM || lookup.result == EAI_MEMORY)
        return fail(f, OUTCOME_OWN_ERROR, gai_strerror(lookup.result));
    if (lookup.result != 0)
        return fail(f, OUTCOME_DNS_NXDOMAIN, gai_strerror(lookup.result));
    *ret_found = lookup.found;
    return true;
}

/* ---- the talk ---- */

/* What the next call may take: all that is left until then. False: nothing is. */
static bool allow_until(int fd, int64_t limit_mono_ms)
{
    int64_t left_ms = limit_mono_ms - clock_mono_ms();
    if (left_ms <= 0)
        return false;
    struct timeval left = {.tv_sec = left_ms / 1000, .tv_usec = left_ms % 1000 * 1000};
    return setsockopt(fd, SOL_SOCKET, SO_RCVTIMEO, &left, sizeof left) == 0 &&
           setsockopt(fd, SOL_SOCKET, SO_SNDTIMEO, &left, sizeof left) == 0;
}

static bool connect_to(struct fetch *f, const struct sockaddr *addr, socklen_t len,
                       int64_t limit_mono_ms)
{
    int fd = socket(addr->sa_family, SOCK_STREAM | SOCK_CLOEXEC, 0);
    if (fd < 0)
        return fail_errno(f, PROBE_PHASE_CONNECT, errno);
    if (!allow_until(fd, limit_mono_ms)) {
        (void)fail_late(f, PROBE_PHASE_CONNECT);
    } else if (connect(fd, addr, len) != 0) {
        (void)fail_errno(f, PROBE_PHASE_CONNECT, errno);
    } else {
        f->fd = fd;
        return true;
    }
    (void)close(fd);
    return false;
}

/* The addresses in order; one that does not answer gets no more than its share of the time. What an
 * address did counts more than that another one cannot be reached from here. */
static bool connect_any(struct fetch *f, const struct addrinfo *list)
{
    struct dlg_result bad = {.outcome = OUTCOME_OK};
    int64_t count = 0;
    for (const struct addrinfo *i = list; i != NULL; i = i->ai_next)
        count++;
    for (const struct addrinfo *i = list; i != NULL; i = i->ai_next, count--) {
        int64_t now = clock_mono_ms();
        if (connect_to(f, i->ai_addr, i->ai_addrlen, now + (f->limit_mono_ms - now) / count))
            return true;
        if (outcome_class(f->end.outcome) == OUTCOME_CLASS_BAD)
            bad = f->end;
    }
    if (bad.outcome != OUTCOME_OK)
        f->end = bad;
    return false;
}

static bool connect_target(struct fetch *f)
{
    if (f->conf->unix_path != NULL) {
        struct sockaddr_un peer = {.sun_family = AF_UNIX};
        (void)snprintf(peer.sun_path, sizeof peer.sun_path, "%s", f->conf->unix_path);
        return connect_to(f, (const struct sockaddr *)&peer, sizeof peer, f->limit_mono_ms);
    }
    struct addrinfo *list = NULL;
    if (!find_addresses(f, &list))
        return false;
    bool connected = connect_any(f, list);
    freeaddrinfo(list);
    return connected;
}

static bool send_request(struct fetch *f, const struct strbuf *request)
{
    for (size_t sent = 0; sent < request->len;) {
        if (!allow_until(f->fd, f->limit_mono_ms))
            return fail_late(f, PROBE_PHASE_EXCHANGE);
        ssize_t n = send(f->fd, request->data + sent, request->len - sent, MSG_NOSIGNAL);
        if (n < 0 && errno == EINTR)
            continue;
        if (n < 0)
            return fail_errno(f, PROBE_PHASE_EXCHANGE, errno);
        sent += (size_t)n;
    }
    return true;
}

static bool read_reply(struct fetch *f, struct http_reply *reply)
{
    static uint8_t bytes[65536];
    enum http_reply_step step = HTTP_REPLY_MORE;
    while (step == HTTP_REPLY_MORE) {
        if (!allow_until(f->fd, f->limit_mono_ms))
            return fail_late(f, PROBE_PHASE_EXCHANGE);
        ssize_t n = recv(f->fd, bytes, sizeof bytes, 0);
        if (n < 0 && errno == EINTR)
            continue;
        if (n < 0)
            return fail_errno(f, PROBE_PHASE_EXCHANGE, errno);
        const uint8_t *in = bytes;
        size_t len = (size_t)n;
        do {
            step =
                n > 0 ? http_reply_feed(reply, &in, &len, &f->end) : http_reply_eof(reply, &f->end);
        } while (step == HTTP_REPLY_HEAD);
    }
    if (step == HTTP_REPLY_END && reply->body_bytes == reply->body_limit)
        return fail(f, OUTCOME_BAD_REPLY, "the answer is too long");
    return step == HTTP_REPLY_END;
}

bool fetch(const struct target_conf *conf, const struct strbuf *request, struct http_reply *reply,
           struct dlg_result *ret_end)
{
    struct fetch f = {
        .conf = conf,
        .limit_mono_ms = clock_mono_ms() + conf->timeout_ms,
        .fd = -1,
    };
    bool answered = connect_target(&f) && send_request(&f, request) && read_reply(&f, reply);
    if (!answered)
        *ret_end = f.end;
    if (f.fd >= 0)
        (void)close(f.fd);
    return answered;
}
