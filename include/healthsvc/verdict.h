/*
 * verdict.h: when to believe: one dependency's rise and fall, and the verdict of all of them.
 *
 * Pure: no clock, no I/O; the time is an argument. Threads: any, each on its own data.
 */
#ifndef HEALTHSVC_VERDICT_H
#define HEALTHSVC_VERDICT_H

#include <healthsvc/attr.h>
#include <healthsvc/outcome.h>
#include <healthsvc/results.h>

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

/* One dependency's state and how many results in a row stand against or for it. */
struct judge {
    enum target_state state; /* never TARGET_STALE */
    uint16_t good_in_row;    /* good or warning; stays at the most that it holds */
    uint16_t bad_in_row;
    bool warned; /* the last good one was a warning */
};

/* Counts one outcome's class and decides: the first real one at once, then `fall` bad in a row
 * turn up (or degraded) to down, `rise` others in a row down to up (or degraded). A warning
 * shows at once while up. Not tried changes nothing. True if the state changed. */
bool judge_count(struct judge *j, enum outcome_class class, int64_t fall, int64_t rise);
/* Decides again by what was counted, after fall or rise changed. True if the state changed. */
bool judge_again(struct judge *j, int64_t fall, int64_t rise);
/* True while a change is being confirmed (or nothing has been seen): check again soon. */
bool judge_in_doubt(const struct judge *j);

/* The state as it must be shown at `now`: stale once the last result is older than max_age. */
enum target_state target_state_at(const struct target_view *v, int64_t now_mono_ms);

enum verdict {
    VERDICT_PASS = 0,
    VERDICT_WARN,
    VERDICT_FAIL,
};
const char *verdict_token(enum verdict v); /* "pass" "warn" "fail" */

/* fail: a required dependency is down, stale or unknown; warn: a required one is degraded or an
 * optional one is not up; else pass. Pending ones do not count. Feed every dependency's share:
 * the verdict is the worst of verdict_of_target(). */
enum verdict verdict_of_target(const struct target_view *v, enum target_state state_now);

#endif
