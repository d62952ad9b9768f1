/*
 * checker.h: the one thread that asks the dependencies and decides what to believe.
 *
 * Owner: main, from checker_start() to checker_stop().
 * Threads: the functions here may be called by main only; the hooks are called on the checker
 * thread and must not block.
 * Errors: negative errno.
 */
#ifndef HEALTHSVC_CHECKER_H
#define HEALTHSVC_CHECKER_H

#include <healthsvc/attr.h>
#include <healthsvc/results.h>

#include <stddef.h>
#include <stdint.h>

struct checker;
struct config;

struct checker_hooks {
    /* What is known now, in configuration order: views[0..count-1], borrowed; `config` likewise
     * (reference it to keep it). Called once from checker_start() before any check. A negative errno:
     * it could not be done, and is tried again soon. */
    int (*publish)(void *arg, struct config *config, const struct target_view *const *views,
                   size_t count);
    /* A reload has been applied: "3 kept, 1 changed (period), 1 added, 0 removed". May be NULL. */
    void (*reloaded)(void *arg, const char *summary);
    /* The loop has turned; at least once a second. May be NULL. */
    void (*beat)(void *arg);
    /* Every dependency has ended its first check, whatever its outcome. May be NULL. */
    void (*first_round)(void *arg);
    void *arg;
};

/* Publishes the initial (unknown) results, then starts the thread. Takes no reference beyond its
 * own; hooks are copied. `max_in_flight` bounds the probes at once (descriptors). */
int checker_start(struct config *config, size_t max_in_flight, const struct checker_hooks *hooks,
                  struct checker **ret_checker) MUST_CHECK;
/* Applies a new configuration on the checker's thread, later; hooks->reloaded tells when. */
int checker_reload(struct checker *checker, struct config *config, size_t max_in_flight) MUST_CHECK;
/* Cancels what is under way, ends the thread, frees. Accepts NULL, returns NULL. */
struct checker *checker_stop(struct checker *checker);

#endif
