/*
 * query.h: `-q`: asks a running healthsvc, or anything else that tells its health by HTTP.
 *
 * Threads: main (a name is looked up on a thread of its own).
 * Errors: told on standard error; to a monitoring system in the line that it reads.
 */
#ifndef HEALTHSVC_COMMAND_QUERY_H
#define HEALTHSVC_COMMAND_QUERY_H

#include <healthsvc/render.h>

struct query {
    const char *target; /* http://HOST[:PORT][/PATH], HOST:PORT[/PATH] or unix:PATH[:/PATH] */
    enum render_format format;
    bool format_given;  /* it is asked for; else the server decides */
    int64_t timeout_ms; /* for all of it, name look-up included */
};

/* Asks, prints the answer's body. Returns the exit code: 0 if the answer is 2xx, 1 if it is not or
 * there is none, 2 if the target is none; in a plugin's format that of its line, in which no
 * answer is CRITICAL. */
int query_run(const struct query *query);

#endif
