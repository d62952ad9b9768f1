/*
 * forecast.h: what a configuration will do and need, worked out before anything is asked.
 *
 * The times are bounds that follow from the rules of check/ (schedule, target, verdict), and are
 * held against them by a simulation; what a check costs is an estimate from measurements.
 * Owner: plain values. Threads: any (pure). Errors: none.
 */
#ifndef HEALTHSVC_COMMAND_FORECAST_H
#define HEALTHSVC_COMMAND_FORECAST_H

#include <stddef.h>
#include <stdint.h>

struct config;
struct target_conf;

/* The longest that one dependency's state can lag behind the truth, once that stays as it is.
 * `prompt`: it answers or refuses at once; the other: every check takes up to its timeout. */
struct forecast_times {
    int64_t down_prompt_ms, down_ms; /* from the failure until it is down */
    int64_t up_prompt_ms, up_ms;     /* from the recovery until it is up again */
    int64_t stale_ms;                /* from its last result until it is stale */
    int64_t result_gap_ms;           /* from one result to the next */
};
struct forecast_times forecast_times(const struct target_conf *conf);

struct forecast {
    double steady_per_s, doubt_per_s; /* checks; while nothing changes, while all are in doubt */
    double steady_cores, doubt_cores; /* what they cost; one thread makes them: there is 1.0 */
    double commands_running;          /* of exec, on average, if all of them hang */
    size_t at_once;                   /* checks, at worst */
    size_t workers;                   /* HTTP clients that are served at the same time */
    size_t threads;
    int64_t rest_bytes, worst_bytes; /* resident memory: with no check under way, with all */
};
void forecast_make(const struct config *config, struct forecast *ret_forecast);

#endif
