/*
 * fetch.h: one HTTP request to one target, for a command: it blocks until the answer is whole or the
 * deadline has come.
 *
 * Threads: main, once at a time (a name is looked up on a thread of its own).
 * Errors: false with outcome and text.
 */
#ifndef HEALTHSVC_COMMAND_FETCH_H
#define HEALTHSVC_COMMAND_FETCH_H

#include <healthsvc/attr.h>

#include <stdbool.h>

struct dlg_result;
struct http_reply;
struct strbuf;
struct target_conf;

/* Sends `request` to what conf names (host and port, or unix_path) and reads the answer into *reply,
 * which the caller has initialised; an answer longer than its body_limit is none. All of it, name
 * look-up included, takes conf->timeout_ms at most. False: *ret_end says why there is no answer. */
bool fetch(const struct target_conf *conf, const struct strbuf *request, struct http_reply *reply,
           struct dlg_result *ret_end) MUST_CHECK;

#endif
