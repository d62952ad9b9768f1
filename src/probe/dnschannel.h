/*
 * dnschannel.h: one c-ares channel on the loop: a set of name servers, and the questions to them.
 *
 * Owner: the resolver. A question lies in its owner and must live until its `done`.
 * Threads: checker only.
 * Errors: negative errno; a question that fails is an outcome.
 */
#ifndef HEALTHSVC_PROBE_DNSCHANNEL_H
#define HEALTHSVC_PROBE_DNSCHANNEL_H

#include "probe/dnscache.h"

#include <healthsvc/loop.h>

struct dns_channel;

struct dns_question {
    struct dns_channel *channel; /* the channel's, as the next */
    uint64_t refusals;           /* memory_refusals() when it was asked */
    /* Exactly once; from inside dns_channel_ask() if the answer is at hand (the hosts file). */
    const char *name; /* borrowed until `done` */
    int family;       /* what is asked for now; AF_UNSPEC: both */
    void (*done)(struct dns_question *q, const struct dns_result *result);
};

int dns_channel_new(struct loop *loop, const char *nameservers, struct dns_channel **ret_channel)
    MUST_CHECK REQUIRES(checker_role);
/* Ends what is outstanding (by `done`) and frees. Never from inside a `done`. Accepts NULL,
 * returns NULL. */
struct dns_channel *dns_channel_free(struct dns_channel *ch) REQUIRES(checker_role);
/* Puts the channel on the list `*retired`; it leaves it and frees itself when it is idle. */
void dns_channel_retire(struct dns_channel *ch, struct dns_channel **retired)
    REQUIRES(checker_role);

/* Asks for the addresses of `name`, of both families; borrows it until `done`. */
void dns_channel_ask(struct dns_channel *ch, const char *name, struct dns_question *q)
    REQUIRES(checker_role);

#endif
