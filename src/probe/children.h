/*
 * children.h: the commands that run for `exec` checks: how many at once, their output, their end.
 *
 * Each is the leader of a process group of its own, and the group ends with it: what a command
 * leaves behind in its group is killed.
 * Owner: the engine. A struct child is owned here, and lives until its process is reaped, which may
 * be after the check that started it has ended.
 * Threads: checker only. Errors: negative errno.
 */
#ifndef HEALTHSVC_PROBE_CHILDREN_H
#define HEALTHSVC_PROBE_CHILDREN_H

#include <healthsvc/attr.h>
#include <healthsvc/loop.h>
#include <healthsvc/probe.h>

#include <stdbool.h>
#include <stddef.h>

struct child;
struct children;

#define CHILD_OUTPUT_BYTES 4096 /* kept; more is read and forgotten */

int children_new(struct loop *loop, struct children **ret_children) MUST_CHECK;
/* Ends what still runs, at most CHILD_GRACE_MS and a moment later. Accepts NULL, returns NULL. */
struct children *children_free(struct children *c);

/* A wish to run a command; lies in its owner. */
struct child_wait {
    struct child_wait *prev, *next; /* NULL: not waiting */
    void (*ready)(struct child_wait *w);
};
/* True if a command may start now; else w->ready will be called once, when one may. */
bool children_may_start(struct children *c, struct child_wait *w) MUST_CHECK REQUIRES(checker_role);
/* w->ready will not be called any more. Nothing if it is not waiting. */
void children_cancel(struct children *c, struct child_wait *w) REQUIRES(checker_role);

/* How it ended: `status` as waitpid() gives it; the output is borrowed for the call. */
typedef void (*child_ended_fn)(void *arg, int status, const char *output, size_t len);

/* Runs argv[0], an absolute path, with a clean environment and no input. 0, or the errno of what
 * failed (ENOENT: there is no such command); on success `ended` is called once, later. */
int child_start(struct children *c, char *const argv[], child_ended_fn ended, void *arg,
                struct child **ret_child) MUST_CHECK REQUIRES(checker_role);
/* `ended` will not be called any more; the group is told to end, and made to if it does not. */
void child_abandon(struct child *child) REQUIRES(checker_role);

#endif
