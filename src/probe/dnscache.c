/*
 * Two kinds of ends are kept apart. NXDOMAIN and "no address" are answers: they replace what was
 * known, however good that was. SERVFAIL, a timeout and the like say nothing about the name: the
 * addresses stay and are served as stale for a day, and the next query waits a little, so that
 * dead name servers cost each name one query in DNSCACHE_MIN_MS instead of one a check. A failure
 * with no address to fall back on is not kept: the next check asks again.
 */
#include "probe/dnscache.h"

#include <healthsvc/units.h>

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

struct dns_entry *dnscache_get(struct dnscache *c, const char *name, int64_t now_ms)
{
    uint64_t hash = units_hash64(name);
    struct dns_entry **bucket = &c->buckets[hash % DNSCACHE_BUCKETS];
    struct dns_entry *e = *bucket;
    while (e != NULL && (e->hash != hash || strcmp(e->name, name) != 0))
        e = e->next;
    if (e == NULL) {
        size_t bytes = strlen(name) + 1;
        e = calloc(1, sizeof *e + bytes);
        if (e == NULL)
            return NULL;
        memcpy(e->name, name, bytes);
        e->hash = hash;
        e->outcome = OUTCOME_DNS_TRY_AGAIN;
        e->fresh_until_mono_ms = now_ms;
        e->next = *bucket;
        *bucket = e;
        c->count++;
    }
    e->used_mono_ms = now_ms;
    return e;
}

/* Takes every entry out that was not used since `used_before_ms`. */
static void forget(struct dnscache *c, int64_t used_before_ms, bool even_with_query)
{
    for (size_t i = 0; i < DNSCACHE_BUCKETS; i++) {
        struct dns_entry **link = &c->buckets[i];
        while (*link != NULL) {
            struct dns_entry *e = *link;
            if (e->used_mono_ms >= used_before_ms || (e->query != NULL && !even_with_query)) {
                link = &e->next;
                continue;
            }
            *link = e->next;
            c->count--;
            if (e->query != NULL)
                e->detached = true;
            else
                free(e);
        }
    }
}

void dnscache_sweep(struct dnscache *c, int64_t now_ms)
{
    forget(c, now_ms - DNSCACHE_UNUSED_MS, false);
}

void dnscache_clear(struct dnscache *c)
{
    forget(c, INT64_MAX, true);
}

bool dns_entry_is_fresh(const struct dns_entry *e, int64_t now_ms)
{
    return now_ms < e->fresh_until_mono_ms;
}

bool dns_entry_has_addresses(const struct dns_entry *e, int64_t now_ms)
{
    return e->count > 0 && now_ms - e->learned_mono_ms < DNSCACHE_STALE_MS;
}

static int64_t clamp_ttl_ms(int64_t ttl_s)
{
    if (ttl_s > DNSCACHE_MAX_MS / 1000)
        return DNSCACHE_MAX_MS;
    return ttl_s < DNSCACHE_MIN_MS / 1000 ? DNSCACHE_MIN_MS : ttl_s * 1000;
}

void dns_entry_settle(struct dns_entry *e, const struct dns_result *result, int64_t now_ms)
{
    bool answered = result->outcome == OUTCOME_OK || result->outcome == OUTCOME_DNS_NXDOMAIN ||
                    result->outcome == OUTCOME_DNS_NO_ADDRESS;
    e->failing = !answered;
    if (!answered && dns_entry_has_addresses(e, now_ms)) {
        e->fresh_until_mono_ms = now_ms + DNSCACHE_MIN_MS;
        return;
    }
    e->outcome = result->outcome;
    e->count = result->count;
    memcpy(e->addresses, result->addresses, sizeof e->addresses);
    e->learned_mono_ms = now_ms;
    if (result->outcome == OUTCOME_OK)
        e->fresh_until_mono_ms = now_ms + clamp_ttl_ms(result->ttl_s);
    else
        e->fresh_until_mono_ms = answered ? now_ms + DNSCACHE_MIN_MS : now_ms;
}

static void describe(enum outcome outcome, const char *name, char *text, size_t text_bytes)
{
    static const struct {
        enum outcome outcome;
        const char *before, *after;
    } words[] = {
        {OUTCOME_DNS_NXDOMAIN, "host name '", "' does not exist"},
        {OUTCOME_DNS_NO_ADDRESS, "host name '", "' has no address"},
        {OUTCOME_DNS_TRY_AGAIN, "name servers failed to answer for '", "'"},
        {OUTCOME_DNS_TIMEOUT, "name servers did not answer in time for '", "'"},
    };
    for (size_t i = 0; i < sizeof words / sizeof words[0]; i++) {
        if (words[i].outcome == outcome) {
            (void)snprintf(text, text_bytes, "%s%.120s%s", words[i].before, name, words[i].after);
            return;
        }
    }
    (void)snprintf(text, text_bytes, "%s", outcome == OUTCOME_OK ? "" : outcome_sentence(outcome));
}

void dns_entry_answer(const struct dns_entry *e, int64_t now_ms, char *text, size_t text_bytes,
                      struct resolver_answer *ret_answer)
{
    bool usable = dns_entry_has_addresses(e, now_ms);
    ret_answer->outcome = e->outcome;
    ret_answer->count = e->count;
    ret_answer->stale = usable && (e->failing || !dns_entry_is_fresh(e, now_ms));
    memcpy(ret_answer->addresses, e->addresses, sizeof ret_answer->addresses);
    describe(e->outcome, e->name, text, text_bytes);
    ret_answer->text = text;
}
