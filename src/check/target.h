/*
 * target.h: one dependency at run time: its timer, what is believed of it, at most one probe.
 *
 * Settings stand apart in target_conf, which a reload replaces; this stays.
 * Owner: the checker. Threads: checker only, but for target_new(): main, before it is handed over.
 */
#ifndef HEALTHSVC_CHECK_TARGET_H
#define HEALTHSVC_CHECK_TARGET_H

#include <healthsvc/attr.h>
#include <healthsvc/loop.h>
#include <healthsvc/results.h>
#include <healthsvc/verdict.h>

#include <stdbool.h>

struct engine;
struct target;

/* What all targets run on, and whom they tell. */
struct target_ground {
    struct loop *loop;
    struct engine *engine;
    /* After each check. */
    /* `changed`: the state, or whether it counts, changed; else only times and texts. `first`: it
     * was this target's first check. */
    void (*checked)(void *arg, bool changed, bool first);
    void *arg;
};

struct target {
    struct target_view view;        /* conf is borrowed from the checker's configuration */
    char *reason_owned, *own_owned; /* what the view's texts point to; NULL: static */
    char *doubt; /* what was wrong last, while up; NULL: nothing, or there was no memory */
    const struct target_ground *ground; /* borrowed */
    struct loop_timer start;
    uint64_t name_hash;
    int64_t slot_ms;     /* latest slot of the schedule that was used or passed */
    int64_t started_ms;  /* when the last check started; 0: none yet */
    struct probe *probe; /* NULL: none under way */
    struct kept *kept;   /* its connection between two checks (`reuse`); NULL: none */
    struct judge judge;
    bool dropping;
    bool asked; /* a first check has ended */
};

struct target *target_new(const struct target_conf *conf) MUST_CHECK;
/* Begins: the first check after `delay_ms`. */
void target_begin(struct target *t, const struct target_ground *ground, int64_t delay_ms)
    REQUIRES(checker_role);
/* Only how it is judged or timed has changed (or nothing): goes on with another conf. */
void target_adopt(struct target *t, const struct target_conf *conf, bool judged_anew)
    REQUIRES(checker_role);
/* Frees one that never began. */
void target_free(struct target *t);
/* Gives up the check under way and frees. */
void target_drop(struct target *t) REQUIRES(checker_role);

#endif
