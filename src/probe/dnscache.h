/*
 * dnscache.h: what is known of host names, how long that holds, and what to say while the name
 * servers fail.
 *
 * Pure: the clock is an argument; the resolver asks and tells.
 * Owner: the resolver. Threads: one at a time.
 * Errors: no memory, at the one place that allocates.
 * Sources: RFC 2308 (negative answers), RFC 8767 (serving stale data).
 */
#ifndef HEALTHSVC_PROBE_DNSCACHE_H
#define HEALTHSVC_PROBE_DNSCACHE_H

#include "probe/resolver.h"

#include <healthsvc/attr.h>
#include <healthsvc/outcome.h>

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#define DNSCACHE_MIN_MS 5000                          /* any answer holds this long */
#define DNSCACHE_MAX_MS 300000                        /* and none longer than this */
#define DNSCACHE_UNUSED_MS (3600 * INT64_C(1000))     /* then a name is forgotten */
#define DNSCACHE_STALE_MS (24 * 3600 * INT64_C(1000)) /* RFC 8767 section 5: 1 to 3 days */
#define DNSCACHE_BUCKETS 1024                         /* 10,000 names: chains of ten */

/* How one query ended. */
struct dns_result {
    enum outcome outcome; /* OK, or a dns_* or own_* outcome */
    union resolver_address addresses[RESOLVER_MAX_ADDRESSES];
    size_t count;
    int64_t ttl_s;
};

/* One name. */
struct dns_entry {
    struct dns_entry *next; /* in its bucket */
    uint64_t hash;
    void *query;          /* the resolver's, while one is in flight; keeps the entry alive */
    bool detached;        /* no longer in the cache: the resolver frees it after its query */
    bool failing;         /* the last query failed; what is here is older */
    enum outcome outcome; /* of the last query that counts */
    size_t count;
    union resolver_address addresses[RESOLVER_MAX_ADDRESSES];
    int64_t learned_mono_ms;     /* when the addresses came */
    int64_t fresh_until_mono_ms; /* ask again from then on */
    int64_t used_mono_ms;
    char name[]; /* in lower case */
};

struct dnscache {
    struct dns_entry *buckets[DNSCACHE_BUCKETS];
    size_t count;
};

/* The entry of that name (in lower case), added if need be, and marked as used; NULL: no memory.
 * The cache owns it. */
struct dns_entry *dnscache_get(struct dnscache *c, const char *name, int64_t now_ms) MUST_CHECK;
/* Forgets the names that nobody asked for in the last hour. */
void dnscache_sweep(struct dnscache *c, int64_t now_ms);
/* Forgets all; an entry whose query is in flight is detached and stays with that query. */
void dnscache_clear(struct dnscache *c);

/* True while the entry answers without asking again. */
bool dns_entry_is_fresh(const struct dns_entry *e, int64_t now_ms);
/* True if there are addresses, fresh or old, that may still be served. */
bool dns_entry_has_addresses(const struct dns_entry *e, int64_t now_ms);
/* Takes in how a query ended: an authoritative answer replaces what was known, a failure only
 * puts off the next query. */
void dns_entry_settle(struct dns_entry *e, const struct dns_result *result, int64_t now_ms);
/* What is known now; the words for people go into `text`, which the answer borrows. */
void dns_entry_answer(const struct dns_entry *e, int64_t now_ms, char *text, size_t text_bytes,
                      struct resolver_answer *ret_answer);

#endif
