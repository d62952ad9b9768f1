/*
 * context.h: one listen address and the CivetWeb context that serves it.
 *
 * One context an address, so that a reload can add and remove one and leave the others alone.
 * Owner: server.c. Threads: main only; what the workers run is in routes.
 * Errors: negative errno, after a sentence in *why.
 */
#ifndef HEALTHSVC_WEB_CONTEXT_H
#define HEALTHSVC_WEB_CONTEXT_H

#include <healthsvc/attr.h>

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

struct config_listen;
struct strbuf;
struct web_context;

/* Starts the workers, proves that they answer, serves; logs the address. Binds it, or with `shared`
 * (not -1) listens on that socket, which others hold as well. */
int web_context_start(const struct config_listen *listen, int shared,
                      struct web_context **ret_context, struct strbuf *why) MUST_CHECK;
/* True if it serves the address of `listen`; no longer if the path of its Unix socket has become
 * something else. */
bool web_context_is_at(const struct web_context *c, const struct config_listen *listen);
int64_t web_context_workers(const struct web_context *c);
int web_context_socket(const struct web_context *c);

/* A reload of one that stays: what can fail is tried first, then kept or undone. Nobody who is
 * connected notices. */
int web_context_try(struct web_context *c, const struct config_listen *listen, struct strbuf *why)
    MUST_CHECK;
void web_context_keep(struct web_context *c, const struct config_listen *listen);
void web_context_undo(struct web_context *c);
/* `c`, which was started on the socket of `old`, takes its place: `old` can be stopped, and nobody
 * is refused. */
void web_context_succeed(struct web_context *c, struct web_context *old);

/* The end in two steps, so that several can end together. First: let no new connection begin and
 * close each one with its next answer. */
void web_context_drain(struct web_context *c);
/* True while connections wait that will be accepted. */
bool web_context_has_waiting(struct web_context *c);
/* True while connections that were accepted have not asked for anything yet. */
bool web_context_has_unheard(struct web_context *c);
/* True while connections are being served, idle ones included. */
bool web_context_has_busy(const struct web_context *c);
/* Second: refuse clients, end the idle connections, let answers under way finish (bounded), free.
 * Accepts NULL, returns NULL. */
struct web_context *web_context_stop(struct web_context *c);

/* Descriptors that a context with that many workers can hold at most. */
size_t web_context_descriptors(int64_t workers);

#endif
