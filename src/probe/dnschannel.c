/*
 * The loop tells edges, c-ares 1.18 expects levels: it reads UDP until it is empty, but one piece
 * of a TCP answer a call, and it queues TCP questions without trying to send. Hence each descriptor
 * is processed until poll(2) finds nothing more to do, and a tick while questions are outstanding,
 * which drives c-ares' timeouts, looks at all of them again. (ares_timeout() would walk every
 * outstanding question at each call.)
 *
 * /etc/hosts is read by c-ares for each question: changes count at once, and it costs 1 us of the
 * question's 10 while the file is small (70 us with 1,000 lines).
 */
#include "probe/dnschannel.h"

#include <healthsvc/memory.h>

#include <ares.h>
#include <errno.h>
#include <limits.h>
#include <poll.h>
#include <stdlib.h>
#include <string.h>

/* One server: 800 + 1600 ms, so that a look-up ends within the default time of a check. */
#define TRY_MS 800
#define TRIES 2
#define TICK_MS 100
#define MAX_ROUNDS 64 /* of processing one descriptor in one go */

struct watch {
    struct loop_watch watch; /* first member */
    struct loop_garbage garbage;
    struct watch *next;
    struct dns_channel *channel;
    bool wants_write;
};

struct dns_channel {
    struct loop_timer tick; /* first member */
    struct loop *loop;
    ares_channel ares;
    struct watch *watches;
    bool failing; /* no memory, or a socket that is not watched: all questions are given up soon */
    size_t outstanding;
    struct dns_channel **list; /* once retired: where `next` hangs */
    struct dns_channel *next;
};

/* Not from inside c-ares, which would only notice that an answer fails to come. */
static void give_up_soon(struct dns_channel *ch) REQUIRES(checker_role)
{
    ch->failing = true;
    loop_timer_set(ch->loop, &ch->tick, 0);
}

static void give_up_if_refused(struct dns_channel *ch, uint64_t refusals_before)
    REQUIRES(checker_role)
{
    if (memory_refusals() != refusals_before)
        give_up_soon(ch);
}

static void process(struct watch *w) REQUIRES(checker_role)
{
    struct dns_channel *ch = w->channel;
    uint64_t refusals = memory_refusals();
    for (int i = 0; w->watch.fd >= 0; i++) {
        struct pollfd p = {.fd = w->watch.fd, .events = POLLIN};
        if (w->wants_write)
            p.events |= POLLOUT;
        if (poll(&p, 1, 0) <= 0 || i == MAX_ROUNDS) /* the tick goes on with it */
            break;
        ares_process_fd(ch->ares, p.fd, p.fd);
    }
    give_up_if_refused(ch, refusals);
}

static void on_ready(struct loop_watch *watch, uint32_t events)
{
    (void)events;
    checker_role_assert();
    process((struct watch *)watch);
}

/* NULL: no memory. */
static struct watch *watch_new(struct dns_channel *ch, ares_socket_t fd) REQUIRES(checker_role)
{
    struct watch *w = calloc(1, sizeof *w);
    if (w == NULL)
        return NULL;
    w->watch.ready = on_ready;
    w->channel = ch;
    if (loop_watch_add(ch->loop, &w->watch, fd) < 0) {
        free(w);
        return NULL;
    }
    w->next = ch->watches;
    ch->watches = w;
    return w;
}

/* c-ares opened, closes or wants to write to one of its sockets. */
static void on_socket_state(void *arg, ares_socket_t fd, int readable, int writable)
{
    checker_role_assert();
    struct dns_channel *ch = arg;
    struct watch **link = &ch->watches;
    while (*link != NULL && (*link)->watch.fd != fd)
        link = &(*link)->next;
    struct watch *w = *link;

    if (!readable && !writable) {
        if (w == NULL)
            return;
        *link = w->next;
        loop_watch_remove(ch->loop, &w->watch);
        loop_free_later(ch->loop, &w->garbage, w);
        return;
    }
    if (w == NULL) {
        w = watch_new(ch, fd);
        if (w == NULL) {
            give_up_soon(ch);
            return;
        }
    } else if (writable) {
        loop_timer_set(ch->loop, &ch->tick, 0); /* it may be writable already: no edge will tell */
    }
    w->wants_write = writable != 0;
}

static void on_tick(struct loop_timer *t)
{
    checker_role_assert();
    struct dns_channel *ch = (struct dns_channel *)t;
    uint64_t refusals = memory_refusals();
    if (ch->failing)
        ares_cancel(ch->ares); /* which closes its sockets: the next question opens others */
    ch->failing = false;
    ares_process_fd(ch->ares, ARES_SOCKET_BAD, ARES_SOCKET_BAD);
    struct watch *next;
    for (struct watch *w = ch->watches; w != NULL; w = next) {
        next = w->next; /* closed ones stay in memory until the batch is over */
        process(w);
    }
    give_up_if_refused(ch, refusals);
    if (ch->outstanding > 0)
        loop_timer_set(ch->loop, t, loop_now_ms(ch->loop) + (ch->failing ? 0 : TICK_MS));
    else if (ch->list != NULL)
        dns_channel_free(ch);
}

int dns_channel_new(struct loop *loop, const char *nameservers, struct dns_channel **ret_channel)
{
    struct dns_channel *ch = calloc(1, sizeof *ch);
    if (ch == NULL)
        return -ENOMEM;
    ch->loop = loop;
    ch->tick.fire = on_tick;

    char lookups[] = "fb"; /* the hosts file, then the servers */
    struct ares_options options = {
        .flags = ARES_FLAG_NOALIASES, /* nothing from the environment */
        .timeout = TRY_MS,
        .tries = TRIES,
        .lookups = lookups,
        .sock_state_cb = on_socket_state,
        .sock_state_cb_data = ch,
    };
    int status = ares_init_options(&ch->ares, &options,
                                   ARES_OPT_FLAGS | ARES_OPT_TIMEOUTMS | ARES_OPT_TRIES |
                                       ARES_OPT_LOOKUPS | ARES_OPT_SOCK_STATE_CB);
    if (status != ARES_SUCCESS)
        ch->ares = NULL;
    else if (nameservers != NULL)
        status = ares_set_servers_ports_csv(ch->ares, nameservers);
    if (status != ARES_SUCCESS) {
        dns_channel_free(ch);
        return status == ARES_ENOMEM ? -ENOMEM : -EINVAL;
    }
    *ret_channel = ch;
    return 0;
}

struct dns_channel *dns_channel_free(struct dns_channel *ch)
{
    if (ch == NULL)
        return NULL;
    struct dns_channel **link = ch->list;
    while (link != NULL && *link != ch)
        link = &(*link)->next;
    if (link != NULL)
        *link = ch->next;
    if (ch->ares != NULL)
        ares_destroy(ch->ares); /* ends its questions, closes its sockets */
    loop_timer_clear(ch->loop, &ch->tick);
    free(ch);
    return NULL;
}

void dns_channel_retire(struct dns_channel *ch, struct dns_channel **retired)
{
    ch->list = retired;
    ch->next = *retired;
    *retired = ch;
    loop_timer_set(ch->loop, &ch->tick, 0);
}

static enum outcome outcome_of_status(int status)
{
    static const struct {
        int status;
        enum outcome outcome;
    } rows[] = {
        {ARES_SUCCESS, OUTCOME_OK},
        {ARES_ENOTFOUND, OUTCOME_DNS_NXDOMAIN},
        {ARES_EBADNAME, OUTCOME_DNS_NXDOMAIN}, /* no such name can exist */
        {ARES_ENODATA, OUTCOME_DNS_NO_ADDRESS},
        {ARES_ETIMEOUT, OUTCOME_DNS_TIMEOUT},
        {ARES_ENOMEM, OUTCOME_OWN_MEMORY},
    };
    for (size_t i = 0; i < sizeof rows / sizeof rows[0]; i++)
        if (rows[i].status == status)
            return rows[i].outcome;
    return OUTCOME_DNS_TRY_AGAIN;
}

static bool set_address(union resolver_address *address, const struct ares_addrinfo_node *node)
{
    memset(address, 0, sizeof *address);
    if (node->ai_family == AF_INET && node->ai_addrlen >= sizeof address->in)
        memcpy(&address->in, node->ai_addr, sizeof address->in);
    else if (node->ai_family == AF_INET6 && node->ai_addrlen >= sizeof address->in6)
        memcpy(&address->in6, node->ai_addr, sizeof address->in6);
    else
        return false;
    return true;
}

/* The first addresses in c-ares' order (RFC 6724). If they are all of one family, the last place
 * goes to the first of the other: a host with many IPv6 addresses must stay reachable by IPv4. */
static void collect(const struct ares_addrinfo *ai, struct dns_result *result)
{
    int ttl_s = INT_MAX;
    bool mixed = false;
    for (const struct ares_addrinfo_cname *c = ai->cnames; c != NULL; c = c->next)
        ttl_s = c->ttl < ttl_s ? c->ttl : ttl_s;
    for (const struct ares_addrinfo_node *node = ai->nodes; node != NULL; node = node->ai_next) {
        bool other = result->count > 0 && result->addresses[0].sa.sa_family != node->ai_family;
        size_t place = result->count;
        if (place == RESOLVER_MAX_ADDRESSES) {
            if (mixed || !other)
                continue;
            place--;
        }
        if (!set_address(&result->addresses[place], node))
            continue;
        result->count = place + 1;
        mixed = mixed || other;
        ttl_s = node->ai_ttl < ttl_s ? node->ai_ttl : ttl_s;
    }
    result->ttl_s = ttl_s;
}

static void on_answer(void *arg, int status, int timeouts, struct ares_addrinfo *ai);

static void ask(struct dns_question *q)
{
    const struct ares_addrinfo_hints hints = {.ai_family = q->family};
    ares_getaddrinfo(q->channel->ares, q->name, NULL, &hints, on_answer, q);
}

/* "No address" of both families is the word of the answer that came last, whatever became of the
 * other; so it counts only once each family alone has none (c-ares 1.18, end_hquery()). */
static int family_to_ask_alone(int asked)
{
    return asked == AF_UNSPEC ? AF_INET : asked == AF_INET ? AF_INET6 : AF_UNSPEC;
}

static void on_answer(void *arg, int status, int timeouts, struct ares_addrinfo *ai)
{
    (void)timeouts;
    struct dns_question *q = arg;
    struct dns_result result = {.outcome = outcome_of_status(status)};
    if (ai != NULL && status == ARES_SUCCESS)
        collect(ai, &result);
    ares_freeaddrinfo(ai);
    if (result.outcome == OUTCOME_OK && result.count == 0)
        result.outcome = OUTCOME_DNS_NO_ADDRESS;
    /* Half an answer, an answer to half of the question: c-ares says success, or no such name. */
    if (q->channel->failing || memory_refusals() != q->refusals)
        result = (struct dns_result){.outcome = OUTCOME_OWN_MEMORY};
    int next = family_to_ask_alone(q->family);
    if (result.outcome == OUTCOME_DNS_NO_ADDRESS && next != AF_UNSPEC) {
        q->family = next;
        ask(q);
        return;
    }
    q->channel->outstanding--;
    q->done(q, &result);
}

void dns_channel_ask(struct dns_channel *ch, const char *name, struct dns_question *q)
{
    q->channel = ch;
    uint64_t refusals = memory_refusals();
    q->name = name;
    q->family = AF_UNSPEC;
    q->refusals = refusals;
    ch->outstanding++;
    if (!ch->tick.node.queued)
        loop_timer_set(ch->loop, &ch->tick, loop_now_ms(ch->loop) + TICK_MS);
    ask(q);
    give_up_if_refused(ch, refusals);
}
