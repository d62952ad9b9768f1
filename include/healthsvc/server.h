/*
 * server.h: CivetWeb up and down: one context for each listen address, answers from the board.
 *
 * Owner: main. Threads: main only (the callbacks of the workers are private to web/).
 * Errors: negative errno, after a sentence in *why ("cannot listen on 127.0.0.1:80: Permission
 * denied").
 */
#ifndef HEALTHSVC_SERVER_H
#define HEALTHSVC_SERVER_H

#include <healthsvc/attr.h>

#include <stddef.h>

struct config;
struct server;
struct strbuf;

/* Starts serving every address of config; logs "listening on ADDRESS:PORT" for each. */
int server_start(const struct config *config, struct server **ret_server, struct strbuf *why)
    MUST_CHECK;

/* A reload in two steps, so that a failing address leaves everything as it was: prepare binds and
 * starts what is new (not yet counted as serving), commit drops what is gone, abort undoes. `config`
 * must live until either. What has not changed is not touched, and no other change closes an
 * address that stays. */
int server_prepare(struct server *server, const struct config *config, struct strbuf *why)
    MUST_CHECK;
void server_commit(struct server *server);
void server_abort(struct server *server);

/* Descriptors that `config`'s addresses can hold at most: listeners, workers, queues. */
size_t server_descriptors(const struct config *config);

/* Stops accepting, lets replies in flight finish (bounded), frees. Accepts NULL, returns NULL. */
struct server *server_stop(struct server *server);

#endif
