/*
 * resolver.h: names to addresses, with one cache for the process.
 *
 * One query in flight per name; TTL clamped to 5..300 s; while DNS fails, the last good answer is
 * served; /etc/hosts is honoured; numeric addresses need no look-up. c-ares asks.
 * Owner: the engine. Threads: checker only.
 * Errors: a failed look-up is an outcome (dns_*), not an error.
 */
#ifndef HEALTHSVC_PROBE_RESOLVER_H
#define HEALTHSVC_PROBE_RESOLVER_H

#include <healthsvc/loop.h>
#include <healthsvc/outcome.h>

#include <netinet/in.h>
#include <stdbool.h>
#include <stddef.h>

struct resolver;

#define RESOLVER_MAX_ADDRESSES 4

union resolver_address {
    struct sockaddr sa;
    struct sockaddr_in in;
    struct sockaddr_in6 in6;
};

/* Borrowed for the duration of the callback. */
struct resolver_answer {
    enum outcome outcome; /* OUTCOME_OK, or why there are no addresses */
    const char *text;     /* for people, "" on success: "host name 'trips' does not exist" */
    union resolver_address addresses[RESOLVER_MAX_ADDRESSES]; /* port 0; in the order to try */
    size_t count;
    bool stale; /* the name servers fail; this is the last good answer */
};
/* The answer's addresses, with a port. Returns how many there are. */
size_t resolver_answer_addresses(const struct resolver_answer *answer, uint16_t port,
                                 union resolver_address ret_addresses[RESOLVER_MAX_ADDRESSES]);

/* One waiting look-up; lies in its owner. */
struct resolver_wait {
    struct resolver_wait *prev, *next;
    void *entry; /* the resolver's; NULL: not waiting */
    void (*done)(struct resolver_wait *w, const struct resolver_answer *answer);
};

int resolver_new(struct loop *loop, const char *nameservers, struct resolver **ret_resolver)
    MUST_CHECK;
int resolver_set_nameservers(struct resolver *r, const char *nameservers) MUST_CHECK;
struct resolver *resolver_free(struct resolver *r);

/* Looks `host` up. Returns 1 with *ret_answer filled if the answer is at hand (numeric, or fresh
 * in the cache); 0 if w->done will be called later, exactly once; or a negative errno. */
int resolver_lookup(struct resolver *r, const char *host, struct resolver_wait *w,
                    struct resolver_answer *ret_answer) MUST_CHECK REQUIRES(checker_role);
/* w->done will not be called any more. Nothing if it is not waiting. */
void resolver_cancel(struct resolver *r, struct resolver_wait *w) REQUIRES(checker_role);

#endif
