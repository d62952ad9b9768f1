/*
 * stats.h: the process's own counters, for /metrics and the supervisor's status.
 *
 * One static set of relaxed atomics: every room may count, only report/ reads.
 * Threads: any. Errors: none.
 */
#ifndef HEALTHSVC_STATS_H
#define HEALTHSVC_STATS_H

#include <healthsvc/outcome.h>

#include <stdatomic.h>
#include <stdint.h>

struct stats {
    atomic_uint_fast64_t checks[OUTCOME_COUNT]; /* ended checks by outcome */
    atomic_uint_fast64_t skipped_slots;
    atomic_uint_fast64_t late_starts; /* checks that started, for the mean of the next */
    atomic_uint_fast64_t late_us;     /* their lateness against the schedule, summed */
    atomic_int_fast64_t loop_lag_us;  /* lateness of the loop's last beat */
    atomic_int_fast64_t loop_lag_max_us;
    atomic_uint_fast64_t loop_stalls;
    atomic_uint_fast64_t in_flight;        /* probes under way now */
    atomic_uint_fast64_t kept;             /* idle connections of `reuse` now */
    atomic_uint_fast64_t children;         /* commands of `exec` checks that run now */
    atomic_uint_fast64_t children_waiting; /* and that wait for their turn now */
    atomic_uint_fast64_t children_waited;  /* that ever had to */
    atomic_uint_fast64_t reloads_ok, reloads_failed;
    atomic_int_fast64_t last_reload_ok; /* 1: the last (or the first) load had no fault */
    atomic_int_fast64_t
        last_reload_wall_ms; /* when a configuration was last loaded without fault */
    atomic_int_fast64_t start_wall_ms;
    atomic_uint_fast64_t requests[600]; /* HTTP answers by status code */
    atomic_int_fast64_t workers_busy;   /* connections being served */
    atomic_int_fast64_t workers;
};
extern struct stats stats;

static inline void stats_add(atomic_uint_fast64_t *counter, uint64_t n)
{
    atomic_fetch_add_explicit(counter, n, memory_order_relaxed);
}

#endif
