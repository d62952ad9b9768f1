/*
 * asking.h: checks made on a loop and an engine of the test's own, each watched for exactly one
 * end, in time, and for what it leaves behind.
 *
 * Threads: main, which is the loop's thread while ask() runs.
 */
#ifndef HEALTHSVC_TESTS_ASKING_H
#define HEALTHSVC_TESTS_ASKING_H

#include <healthsvc/attr.h>
#include <healthsvc/config.h>
#include <healthsvc/loop.h>
#include <healthsvc/probe.h>

#include <stddef.h>
#include <stdint.h>

struct asking;

struct asked {
    const struct target_conf *conf;
    struct asking *round;
    struct kept **kept;   /* where its connection is kept until the round is over; NULL: nowhere */
    struct probe *probe;  /* NULL: not running */
    int start_error;      /* what probe_start() said */
    unsigned ends;        /* calls of `done` */
    int64_t hung_mono_ms; /* from when on it counts as hung */
    struct probe_result result;
};

struct ask_options {
    const char *nameservers; /* NULL: the system's */
    size_t limit;            /* of the engine; 0: none set */
    /* Called on the loop before, and after, the checks are started. May be NULL. */
    void (*before)(struct asking *round);
    void (*after)(struct asking *round);
    /* Called from inside `done`. May be NULL. */
    void (*ended)(struct asking *round, const struct asked *asked);
};

struct asking {
    struct loop *loop;
    struct engine *engine;
    struct asked *asked;
    size_t count, running;
    const struct ask_options *options;
    struct loop_timer watch; /* for checks that hang */
    struct loop_timer calm;  /* after the last end: a second `done` would come now */
    struct loop_timer timer; /* for the hooks */
};

/* HEALTHSVC_TEST_SCALE. */
int64_t ask_scale(void);
/* Descriptors that this process holds. */
int ask_descriptors(void);
/* The configuration of that text, by way of a file and config_load(); NULL after a fault,
 * which is printed. */
struct config *ask_config(const char *text);

/* Starts every check whose conf is set, runs the loop until all have ended, takes engine and loop
 * down. Returns the number of faults, each printed: a check that ends other than once, or inside
 * its start, or long after its deadline; a descriptor left. */
unsigned ask(struct asked *asked, size_t count, const struct ask_options *options) MUST_CHECK;

/* Asks again and again, and gives up what still runs after 0, 1, 2, ... `most_turns` turns of the
 * loop (ever fewer of the later ones). Faults, each printed, are those of ask(), a check that
 * has not ended as cancelled when probe_cancel() returns, and rounds in which all, or none, were. */
unsigned ask_cancelling(struct asked *asked, size_t count, unsigned most_turns) MUST_CHECK;

/* Starts one more from a hook. */
void ask_start(struct asking *round, struct asked *asked);

#endif
