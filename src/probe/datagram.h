/*
 * datagram.h: a question in one packet, an answer in one packet: what dns and ntp share.
 *
 * Looks the host up, sends by a connected UDP socket (which takes packets from that address only
 * and is told when nobody listens there), waits for a packet that the scheme calls its answer, and
 * can turn to TCP, where each message is preceded by its length (RFC 1035 section 4.2.2).
 * Owner: the struct lies at the beginning of the scheme's own probe.
 * Threads: checker only. Errors: as probe_ops.
 */
#ifndef HEALTHSVC_PROBE_DATAGRAM_H
#define HEALTHSVC_PROBE_DATAGRAM_H

#include "probe/engine.h"
#include "probe/resolver.h"

#include <stdint.h>

#define DATAGRAM_QUESTION_BYTES 512
#define DATAGRAM_ANSWER_BYTES 65535

struct datagram {
    struct probe probe; /* first */
    /* By the scheme, before datagram_start(): */
    uint8_t question[DATAGRAM_QUESTION_BYTES];
    size_t question_len;
    int64_t resend_ms; /* by UDP, asks again after this time without an answer; 0: never */
    /* One whole packet or message. True: not the answer, goes on waiting; false: has finished the
     * probe or called datagram_by_tcp(). */
    bool (*take)(struct datagram *d, const uint8_t *in, size_t len);
    void (*sending)(struct datagram *d); /* before each packet: to note the time; may be NULL */
    /* datagram.c's: */
    struct resolver_wait wait;
    union resolver_address addresses[RESOLVER_MAX_ADDRESSES];
    size_t address_count, next_address;
    struct loop_watch watch;
    struct loop_timer resend;
    struct loop_task more;
    uint8_t *message; /* what has come by TCP, its length first; NULL: by UDP */
    size_t message_len;
    bool asked; /* the question has been sent by TCP */
};

int datagram_start(struct datagram *d) MUST_CHECK REQUIRES(checker_role);
void datagram_stop(struct datagram *d) REQUIRES(checker_role);
/* Asks the same server again by TCP, for an answer that does not fit a packet. */
void datagram_by_tcp(struct datagram *d) REQUIRES(checker_role);

#endif
