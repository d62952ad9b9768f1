/*
 * pollers.h: who has asked lately, by class of address, kind of program and path: for the one who
 * wonders whether the load balancer asks at all, and what it was told.
 *
 * The classes are closed lists, so the memory is fixed whatever clients send, and noting a request
 * is three relaxed atomic writes.
 * Threads: any. Errors: none; what does not fit is forgotten.
 */
#ifndef HEALTHSVC_POLLERS_H
#define HEALTHSVC_POLLERS_H

#include <healthsvc/attr.h>

#include <stddef.h>
#include <stdint.h>
#include <sys/socket.h>

struct strbuf;

enum poller_from {
    POLLER_FROM_UNKNOWN = 0,
    POLLER_FROM_UNIX,     /* a Unix socket */
    POLLER_FROM_LOOPBACK, /* 127.0.0.0/8, ::1 */
    POLLER_FROM_PRIVATE,  /* RFC 1918, RFC 6598, link-local, RFC 4193 */
    POLLER_FROM_PUBLIC,
};
#define POLLER_FROM_COUNT 5

enum poller_path {
    POLLER_PATH_OTHER = 0,
    POLLER_PATH_HEALTH,
    POLLER_PATH_DEPENDENCY, /* /health/NAME */
    POLLER_PATH_LIVEZ,
    POLLER_PATH_READYZ,
    POLLER_PATH_METRICS,
};
#define POLLER_PATH_COUNT 6

/* The class of a peer's address; AF_UNSPEC is unknown. */
enum poller_from pollers_from(const struct sockaddr *peer) MUST_CHECK;
/* `user_agent` as the header says (any bytes), NULL: none. */
void pollers_note(enum poller_from from, const char *user_agent, enum poller_path path, int status,
                  int64_t now_wall_ms);
/* The value of an X-Haproxy-Server-State header (HAProxy's `http-check send-state`): what HAProxy
 * thinks of this server. The last POLLERS_HAPROXY_MAX servers are kept. */
#define POLLERS_HAPROXY_MAX 16
void pollers_note_haproxy(const char *header, int64_t now_wall_ms);

/* Their families of /metrics. */
void pollers_add_metrics(struct strbuf *out);
/* Logs those of the last `recent_ms`, a line each; says so if there are none. */
void pollers_log(int64_t now_wall_ms, int64_t recent_ms);
/* Forgets all, for tests. */
void pollers_clear(void);

#endif
