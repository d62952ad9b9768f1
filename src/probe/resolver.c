/*
 * The cache (dnscache) remembers, a channel (dnschannel) asks; here is who waits for which name.
 *
 * c-ares cannot give up one question, so a query outlives its waiters and ends in the cache. It can
 * neither take new settings while it works, and keeps its source port as long as it is busy: so
 * every CHANNEL_LIFE_MS, and whenever resolv.conf or the configured servers change, a new channel
 * takes over and the old one lives until its last question has ended.
 *
 * A query of a name with an old answer is given PATIENCE_MS; then its waiters get the old one, so
 * that dead name servers do not eat up the time of the check.
 */
#include "probe/resolver.h"

#include "probe/dnscache.h"
#include "probe/dnschannel.h"

#include <healthsvc/memory.h>

#include <ares.h>
#include <arpa/inet.h>
#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>

#define NAME_BYTES 256 /* RFC 1035 section 2.3.4, with a NUL */
#define PATIENCE_MS 500
#define CHANNEL_LIFE_MS 600000
#define RESOLV_CONF "/etc/resolv.conf"
#define RESOLV_CONF_LOOK_MS 1000

struct query {
    struct dns_question question; /* first member */
    struct loop_timer patience;
    struct resolver *resolver;
    struct dns_entry *entry;
    struct resolver_wait waiters; /* ring */
    int64_t start_mono_ms;
    bool starting; /* inside dns_channel_ask() */
    bool ended;
};

struct resolver {
    struct loop *loop;
    char *nameservers; /* NULL: the system's */
    struct dns_channel *channel;
    struct dns_channel *retired;
    int64_t channel_born_mono_ms;
    struct stat resolv_conf; /* as it was when the channel was made */
    int64_t resolv_conf_looked_mono_ms;
    char text[OUTCOME_TEXT_BYTES]; /* of the answer that was at hand last */
    struct dnscache cache;
};

static void look_at_resolv_conf(struct stat *ret)
{
    if (stat(RESOLV_CONF, ret) != 0)
        memset(ret, 0, sizeof *ret);
}

static bool resolv_conf_changed(struct resolver *r) REQUIRES(checker_role)
{
    int64_t now_ms = loop_now_ms(r->loop);
    if (r->nameservers != NULL || now_ms - r->resolv_conf_looked_mono_ms < RESOLV_CONF_LOOK_MS)
        return false;
    r->resolv_conf_looked_mono_ms = now_ms;
    const struct stat *old = &r->resolv_conf;
    struct stat now;
    look_at_resolv_conf(&now);
    return now.st_mtim.tv_sec != old->st_mtim.tv_sec ||
           now.st_mtim.tv_nsec != old->st_mtim.tv_nsec || now.st_ino != old->st_ino ||
           now.st_size != old->st_size;
}

/* A new channel in the place of the present one, which ends when it is idle. */
static int channel_replace(struct resolver *r) REQUIRES(checker_role)
{
    struct dns_channel *ch = NULL;
    struct stat resolv_conf; /* from before it is read, so that no change is missed */
    look_at_resolv_conf(&resolv_conf);
    int err = dns_channel_new(r->loop, r->nameservers, &ch);
    if (err < 0)
        return err;
    if (r->channel != NULL)
        dns_channel_retire(r->channel, &r->retired);
    r->channel = ch;
    r->channel_born_mono_ms = r->resolv_conf_looked_mono_ms = loop_now_ms(r->loop);
    r->resolv_conf = resolv_conf;
    return 0;
}

static void channel_renew_if_due(struct resolver *r) REQUIRES(checker_role)
{
    int64_t now_ms = loop_now_ms(r->loop);
    bool old = now_ms - r->channel_born_mono_ms >= CHANNEL_LIFE_MS;
    if (old)
        dnscache_sweep(&r->cache, now_ms);
    if ((old || resolv_conf_changed(r)) && channel_replace(r) < 0)
        r->channel_born_mono_ms = now_ms; /* no memory: the present one goes on */
}

static bool is_waiting(const struct query *q)
{
    return q->waiters.next != &q->waiters;
}

static void unlink_wait(struct resolver_wait *w)
{
    w->prev->next = w->next;
    w->next->prev = w->prev;
    w->prev = w->next = NULL;
    w->entry = NULL;
}

/* The text is in a buffer of its own: a callback may look up again. */
static void deliver(struct query *q, const struct resolver_answer *answer)
{
    while (is_waiting(q)) {
        struct resolver_wait *w = q->waiters.next;
        unlink_wait(w);
        w->done(w, answer);
    }
}

static void on_patience_end(struct loop_timer *t)
{
    checker_role_assert();
    struct query *q = (struct query *)((char *)t - offsetof(struct query, patience));
    struct resolver_answer answer;
    char text[OUTCOME_TEXT_BYTES];
    dns_entry_answer(q->entry, loop_now_ms(q->resolver->loop), text, sizeof text, &answer);
    deliver(q, &answer);
}

static void on_answer(struct dns_question *question, const struct dns_result *result)
{
    checker_role_assert();
    struct query *q = (struct query *)question;
    struct dns_entry *e = q->entry;
    struct loop *loop = q->resolver->loop;
    dns_entry_settle(e, result, loop_now_ms(loop));
    q->ended = true;
    if (q->starting)
        return; /* resolver_lookup() has the answer at hand */

    struct resolver_answer answer;
    char text[OUTCOME_TEXT_BYTES];
    dns_entry_answer(e, loop_now_ms(loop), text, sizeof text, &answer);
    e->query = NULL;
    if (e->detached)
        free(e);
    loop_timer_clear(loop, &q->patience);
    deliver(q, &answer);
    free(q);
}

/* Asks for the entry's name; e->query stays NULL if the answer came at once. */
static int query_start(struct resolver *r, struct dns_entry *e) REQUIRES(checker_role)
{
    channel_renew_if_due(r);
    struct query *q = calloc(1, sizeof *q);
    if (q == NULL)
        return -ENOMEM;
    q->question.done = on_answer;
    q->patience.fire = on_patience_end;
    q->resolver = r;
    q->entry = e;
    q->waiters.prev = q->waiters.next = &q->waiters;
    q->start_mono_ms = loop_now_ms(r->loop);
    q->starting = true;
    dns_channel_ask(r->channel, e->name, &q->question);
    q->starting = false;
    if (q->ended) {
        free(q);
        return 0;
    }
    e->query = q;
    if (dns_entry_has_addresses(e, q->start_mono_ms))
        loop_timer_set(r->loop, &q->patience, q->start_mono_ms + PATIENCE_MS);
    return 0;
}

int resolver_new(struct loop *loop, const char *nameservers, struct resolver **ret_resolver)
{
    struct resolver *r = calloc(1, sizeof *r);
    if (r == NULL)
        return -ENOMEM;
    r->loop = loop;
    if (ares_library_init_mem(ARES_LIB_INIT_ALL, memory_malloc, free, memory_realloc) !=
        ARES_SUCCESS) {
        free(r);
        return -ENOMEM;
    }
    int err = resolver_set_nameservers(r, nameservers);
    if (err < 0) {
        resolver_free(r);
        return err;
    }
    *ret_resolver = r;
    return 0;
}

int resolver_set_nameservers(struct resolver *r, const char *nameservers)
{
    checker_role_assert();
    char *before = r->nameservers;
    r->nameservers = nameservers != NULL ? strdup(nameservers) : NULL;
    int err = nameservers != NULL && r->nameservers == NULL ? -ENOMEM : channel_replace(r);
    if (err < 0) {
        free(r->nameservers);
        r->nameservers = before;
        return err;
    }
    free(before);
    dnscache_clear(&r->cache);
    return 0;
}

struct resolver *resolver_free(struct resolver *r)
{
    checker_role_assert();
    if (r == NULL)
        return NULL;
    dns_channel_free(r->channel);
    while (r->retired != NULL)
        dns_channel_free(r->retired);
    dnscache_clear(&r->cache);
    free(r->nameservers);
    ares_library_cleanup();
    free(r);
    return NULL;
}

/* RFC 4343: names are compared in ASCII, whatever the locale. */
static bool lower_name(const char *host, char ret_name[NAME_BYTES])
{
    size_t len = strlen(host);
    if (len >= NAME_BYTES)
        return false;
    for (size_t i = 0; i <= len; i++)
        ret_name[i] = (char)(host[i] >= 'A' && host[i] <= 'Z' ? host[i] - 'A' + 'a' : host[i]);
    return true;
}

static bool is_numeric(const char *host, struct resolver_answer *ret_answer)
{
    struct resolver_answer answer = {.outcome = OUTCOME_OK, .text = "", .count = 1};
    union resolver_address *address = &answer.addresses[0];
    if (inet_pton(AF_INET, host, &address->in.sin_addr) == 1)
        address->in.sin_family = AF_INET;
    else if (inet_pton(AF_INET6, host, &address->in6.sin6_addr) == 1)
        address->in6.sin6_family = AF_INET6;
    else
        return false;
    *ret_answer = answer;
    return true;
}

int resolver_lookup(struct resolver *r, const char *host, struct resolver_wait *w,
                    struct resolver_answer *ret_answer)
{
    char name[NAME_BYTES];
    if (is_numeric(host, ret_answer))
        return 1;
    if (!lower_name(host, name)) {
        *ret_answer = (struct resolver_answer){.outcome = OUTCOME_DNS_NXDOMAIN,
                                               .text = "host name is longer than a name can be"};
        return 1;
    }
    int64_t now_ms = loop_now_ms(r->loop);
    struct dns_entry *e = dnscache_get(&r->cache, name, now_ms);
    if (e == NULL)
        return -ENOMEM;
    if (!dns_entry_is_fresh(e, now_ms)) {
        if (e->query == NULL) {
            int err = query_start(r, e);
            if (err < 0)
                return err;
        }
        struct query *q = e->query;
        bool impatient = q != NULL && now_ms - q->start_mono_ms >= PATIENCE_MS &&
                         dns_entry_has_addresses(e, now_ms);
        if (q != NULL && !impatient) {
            w->entry = e;
            w->next = &q->waiters;
            w->prev = q->waiters.prev;
            w->prev->next = w;
            q->waiters.prev = w;
            return 0;
        }
    }
    dns_entry_answer(e, now_ms, r->text, sizeof r->text, ret_answer);
    return 1;
}

size_t resolver_answer_addresses(const struct resolver_answer *answer, uint16_t port,
                                 union resolver_address ret_addresses[RESOLVER_MAX_ADDRESSES])
{
    for (size_t i = 0; i < answer->count; i++) {
        ret_addresses[i] = answer->addresses[i];
        if (ret_addresses[i].sa.sa_family == AF_INET)
            ret_addresses[i].in.sin_port = htons(port);
        else
            ret_addresses[i].in6.sin6_port = htons(port);
    }
    return answer->count;
}

void resolver_cancel(struct resolver *r, struct resolver_wait *w)
{
    (void)r;
    if (w->entry != NULL)
        unlink_wait(w);
}
