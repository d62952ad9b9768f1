/*
 * reply.h: one complete answer, sent in one write, and whether its connection may stay.
 *
 * Owner: the buffer belongs to the worker's thread, from reply_thread_init() to
 * reply_thread_done(), so that an answer allocates nothing once it has grown.
 * Threads: CivetWeb's workers.
 * Errors: a body that could not be made is answered 500; a client that is gone is nobody's fault.
 */
#ifndef HEALTHSVC_WEB_REPLY_H
#define HEALTHSVC_WEB_REPLY_H

#include <stdatomic.h>
#include <stdbool.h>

struct mg_connection;
struct mg_request_info;
struct strbuf;

/* What the workers of one listen address share. CivetWeb's user data points to it. */
struct web_shared {
    atomic_int busy;      /* connections being served */
    atomic_bool draining; /* every answer closes its connection */
    atomic_uint serve;    /* of enum serve; a reload changes it */
    int keep_limit;       /* no connection is kept while more than this are busy */
    char proof_path[34];  /* "/" and 32 hexadecimal digits that nobody else knows */
};

struct answer {
    int status;
    const char *type; /* Content-Type */
    bool uncounted;   /* not a client's: the proof of a new listener */
};

/* The largest request head; CivetWeb's max_request_size. */
#define REQUEST_HEAD_BYTES 16384

void reply_thread_init(void);
void reply_thread_done(void);

/* The buffer for the next answer's body; what is in it already must stay. */
struct strbuf *reply_begin(void);
/* Sends it. `head`: without the body. `keep`: the connection may stay, so CivetWeb's own rule has
 * to come to the same (reply_may_keep()). */
void reply_send(struct mg_connection *conn, const struct answer *answer, bool head, bool keep);

/* True if the connection of this request may stay open after the answer: only where there can be
 * no doubt about where the next request begins, and while a reserve of workers is free. */
bool reply_may_keep(const struct mg_request_info *ri);

#endif
