/*
 * dns_reply.h: a DNS question as bytes, and what a message says to it.
 *
 * Pure: no socket, no clock, no allocation but in the caller's strbuf.
 * Threads: any. Errors: a message that is wrong is a verdict, not an error.
 * Sources: RFC 1035 section 4, RFC 3596 (AAAA), RFC 2782 (SRV), RFC 4343 (case of names).
 */
#ifndef HEALTHSVC_PROBE_DNS_REPLY_H
#define HEALTHSVC_PROBE_DNS_REPLY_H

#include <healthsvc/attr.h>

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

struct strbuf;

enum dns_type {
    DNS_TYPE_A = 1,
    DNS_TYPE_NS = 2,
    DNS_TYPE_CNAME = 5,
    DNS_TYPE_SOA = 6,
    DNS_TYPE_PTR = 12,
    DNS_TYPE_MX = 15,
    DNS_TYPE_TXT = 16,
    DNS_TYPE_AAAA = 28,
    DNS_TYPE_SRV = 33,
};
/* The type of that name ("MX"), in any case; 0: none of those known here. */
unsigned dns_type_of(const char *name, size_t len);

/* RFC 1035 section 4.1.1, RFC 2136 section 2.2. */
#define DNS_RCODES 11
#define DNS_RCODE_NOERROR 0
#define DNS_RCODE_SERVFAIL 2
#define DNS_RCODE_NXDOMAIN 3
#define DNS_RCODE_REFUSED 5
/* "NXDOMAIN"; NULL: no such code. */
const char *dns_rcode_name(unsigned rcode);

#define DNS_QUESTION_BYTES 272 /* header, name of 255 bytes, type and class */
#define DNS_TEXT_BYTES 4096    /* of one record as text */

/* Writes a query for `name` (text, an end dot is optional) with id 0, recursion desired. Its
 * length, or 0 if the name cannot be one. */
size_t dns_question(const char *name, unsigned type, uint8_t out[DNS_QUESTION_BYTES]) MUST_CHECK;

enum dns_seen {
    DNS_SEEN_OTHER = 0, /* not an answer to this question */
    DNS_SEEN_BROKEN,    /* an answer that cannot be read */
    DNS_SEEN_TRUNCATED, /* ask by TCP */
    DNS_SEEN_ANSWER,
};
struct dns_answer {
    unsigned rcode;
    bool authoritative;
    unsigned records; /* of the type asked for, in the answer section */
};
/* Calls `record` with each record of the type asked for, as a zone file would write its data:
 * "192.0.2.1", "10 mx.example.", a TXT's strings joined. `text` may hold any byte. */
enum dns_seen dns_read(const uint8_t *question, size_t question_len, const uint8_t *in, size_t len,
                       struct dns_answer *ret_answer,
                       void (*record)(void *arg, const struct strbuf *text), void *arg);

#endif
