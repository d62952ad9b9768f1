/*
 * peers.h: bad peers: servers on loopback that refuse, hang, cut, dribble or babble.
 *
 * They live in a child process, a thread a connection with blocking calls, so that their
 * descriptors and memory are not the test's and their code is as plain as their manners.
 * Owner: whoever called peers_start(). The child dies with its parent.
 * Threads: start before the test makes threads; the counters may be read by any.
 * Errors: negative errno.
 */
#ifndef HEALTHSVC_TESTS_PEERS_H
#define HEALTHSVC_TESTS_PEERS_H

#include <stdatomic.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <sys/types.h>

enum peer_kind {
    PEER_REFUSE = 0,  /* nobody listens */
    PEER_BLACKHOLE,   /* the handshake of TCP is never answered: a full backlog */
    PEER_HANG,        /* accepts, never speaks */
    PEER_CLOSE,       /* closes at once, without having read */
    PEER_RESET,       /* resets at once */
    PEER_RESET_MID,   /* half the right reply, then resets */
    PEER_GARBAGE,     /* random bytes at once, then hangs */
    PEER_DRIBBLE,     /* one byte of the endless reply every 50 ms */
    PEER_ENDLESS,     /* the endless reply as fast as it is taken */
    PEER_RIGHT,       /* the right reply, then hangs */
    PEER_RIGHT_BYTES, /* the same, a segment a byte */
    PEER_RIGHT_CLOSE, /* the same, whole, then closes */
    PEER_HALF_CLOSE,  /* sends its end at once and goes on reading */
    PEER_KINDS,
};
const char *peer_kind_token(enum peer_kind kind);

enum peer_tls {
    PEER_PLAIN = 0,
    PEER_TLS,      /* TLS first, the manners inside it */
    PEER_STARTTLS, /* says `go`, a line for each that is asked, then as PEER_TLS */
};

struct peer_script {
    const char *reply;   /* the right one, sent when something has been asked */
    const char *endless; /* how a reply begins that is right so far, then 'a' for ever */
    bool greets;         /* speaks first, in clear: nothing need be asked before `reply`, `go` */
    const char *go;      /* what leads to TLS */
    size_t reply_len, endless_len; /* 0: they are texts without NUL */
    bool short_reply; /* nothing right is long enough to be dribbled until the deadline */
};

struct peer_seen {
    atomic_uint accepted;
    atomic_uint ended_fin, ended_reset; /* how the client closed those that waited for it */
    atomic_ulong goodbye_bytes;         /* that came after the reply */
};

struct peers {
    pid_t pid;
    uint16_t ports[PEER_KINDS];
    struct peer_seen *seen; /* [PEER_KINDS], shared with the child */
};

/* One peer of each kind, each on its own port of 127.0.0.1. `script` must stay;
 * the files (PEM) are NULL with PEER_PLAIN. */
int peers_start(struct peers *peers, const struct peer_script *script, enum peer_tls tls,
                const char *cert_file, const char *key_file);
void peers_stop(struct peers *peers);

/* A listener on `address` (127.x.y.z, host order) and `port` (0: any) whose backlog is full, so
 * that further connections hang. Returns the listener; the one that fills it in *ret_filler. */
int peers_blackhole(uint32_t address, uint16_t port, int *ret_filler);

#endif
