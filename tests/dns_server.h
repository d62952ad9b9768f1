/*
 * dns_server.h: a name server for tests, on a loopback port of its own, by UDP and TCP.
 *
 * Answers A and AAAA of the names it was told (others: NXDOMAIN), and counts what it was asked.
 * Owner: the test. Threads: any; it answers on one of its own.
 */
#ifndef HEALTHSVC_TESTS_DNS_SERVER_H
#define HEALTHSVC_TESTS_DNS_SERVER_H

#include <stdint.h>

struct dns_server;

enum dns_reply {
    DNS_REPLY_ADDRESSES = 0, /* those of the rule; none of the type asked: an empty answer */
    DNS_REPLY_NXDOMAIN,
    DNS_REPLY_SERVFAIL,
    DNS_REPLY_SILENCE,
    DNS_REPLY_HALF,   /* IPv4: SERVFAIL; IPv6, when asked again: an empty answer */
    DNS_REPLY_BY_TCP, /* truncated and empty by UDP, the addresses by TCP */
};

struct dns_server *dns_server_start(void); /* NULL: no socket or thread */
void dns_server_stop(struct dns_server *s);
const char *dns_server_address(const struct dns_server *s); /* "127.0.0.1:PORT" */

/* What to answer from now on; `addresses`: numeric, both families, separated by spaces. */
void dns_server_set(struct dns_server *s, const char *name, enum dns_reply reply,
                    const char *addresses, uint32_t ttl_s);
/* How often the name's IPv4 address was asked for by UDP. */
unsigned dns_server_count(struct dns_server *s, const char *name);

#endif
