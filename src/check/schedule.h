/*
 * schedule.h: when the next check is due. Pure arithmetic on monotonic milliseconds.
 *
 * A dependency's slots are the times t with t mod period == hash(name) mod period: the same after a
 * restart, spread over the period between dependencies, and without drift, since each slot comes
 * from the one before and not from when the check happened to run.
 * Threads: any.
 */
#ifndef HEALTHSVC_CHECK_SCHEDULE_H
#define HEALTHSVC_CHECK_SCHEDULE_H

#include <stdint.h>

/* Phases lie on a grid, so that at thousands of checks a second one waking of the loop starts
 * several: measured at 5,000/s, it saves a tenth of the CPU; no
 * check is late against its own slot. */
#define SCHEDULE_GRID_MS 5

/* The latest slot that is not after `t_ms`. */
int64_t schedule_slot_before(uint64_t hash, int64_t period_ms, int64_t t_ms);
/* The slot after `slot_ms` that is still to come at `now_ms`; the slots that were missed on the
 * way are added to *skipped. */
int64_t schedule_next(int64_t slot_ms, int64_t period_ms, int64_t now_ms, uint64_t *skipped);
/* When the i-th of `count` first checks starts, from now: all at once, yet spread so that
 * thousands do not start in one millisecond; never more than a second. */
int64_t schedule_first_delay_ms(uint64_t i, uint64_t count);

#endif
