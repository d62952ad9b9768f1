/*
 * kept.h: connections between two checks of their dependency.
 *
 * A kept connection belongs to a target's run time: it holds nothing of a configuration, so a
 * reload may replace that. While idle it is watched: what its peer says or does then ends it, unless
 * the protocol knows better (HTTP/2's pings).
 * Owner: while idle the keeper, which clears the target's slot when it goes away; in use the stream
 * that took it. Threads: checker only. Errors: negative errno.
 */
#ifndef HEALTHSVC_PROBE_KEPT_H
#define HEALTHSVC_PROBE_KEPT_H

#include <healthsvc/attr.h>
#include <healthsvc/loop.h>

#include <openssl/ssl.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

struct dlg_reuse;
struct kept;
struct target_conf;

/* All that are idle, of one engine. */
struct keeper {
    struct loop *loop;
    struct kept *newest;
    size_t count;
    int64_t keep_ms; /* how old a connection may be when it is asked for the last time but one */
};

struct kept {
    struct loop_watch watch; /* first */
    void *user;              /* the stream that uses it; NULL while idle */
    SSL *ssl;                /* NULL: in clear. While in use the stream's */
    void *session;           /* the dialogue's, the same */
    const struct dlg_reuse *reuse;
    int ip_family;
    int64_t cert_expires_wall_s; /* as the handshake showed it */
    int64_t since_mono_ms;       /* when the check that made the connection started */
    /* the keeper's: */
    struct keeper *keeper;
    struct kept *older, *newer;
    struct kept **slot;
    uint64_t said_bytes; /* by the peer, in clear, while idle */
    uint64_t said_limit; /* more of them, or of TLS, than this are too many */
    struct loop_garbage garbage;
};

/* Whether a connection made by a check that started at `since` may serve one that starts at `start`:
 * the one after that, which comes a period later, must still find it young enough. */
bool keeper_allows(const struct keeper *keeper, const struct target_conf *conf,
                   int64_t since_mono_ms, int64_t start_mono_ms);
/* Closes the idle one that was left last, so that a check can have its descriptors: its own next
 * check is the furthest away. False: there is none. */
bool keeper_give_way(struct keeper *keeper) REQUIRES(checker_role);

/* A new one with the socket of `from`, in use by `user`. */
int kept_new(struct keeper *keeper, struct loop_watch *from, void *user, struct kept **ret_kept)
    MUST_CHECK REQUIRES(checker_role);
/* Takes what lies in the slot, if it may serve a check of `conf` that starts now; else closes it.
 * NULL: nothing to be had. The caller sets watch.ready. */
struct kept *kept_take(struct kept **slot, const struct target_conf *conf, void *user,
                       int64_t now_mono_ms) REQUIRES(checker_role);
/* Leaves it in the slot, unless its peer has already done or said something. Takes it. */
void kept_leave(struct kept *kept, struct kept **slot) REQUIRES(checker_role);
/* Closes it, idle or in use, and frees it with what it holds. Accepts NULL, returns NULL. */
struct kept *kept_free(struct kept *kept) REQUIRES(checker_role);

#endif
