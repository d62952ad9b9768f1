/*
 * The bounds, for period P, timeout T, confirm C: a check starts each P, and while in doubt C after
 * the one before began, or when that has ended if it took longer: max(C, T) at most. A slot that
 * passes while a check is under way is skipped, which lengthens the way to the next start to
 * P + T: after the first check of all, and after one that ended a doubt, for only these begin
 * between slots.
 */
#include "command/forecast.h"

#include <healthsvc/config.h>
#include <healthsvc/probe.h>

#include <stdbool.h>

/* Measured on Debian 12, x86-64: resident memory with 10 to 4,000 dependencies and 1 to 512 workers,
 * CPU time of the checker's thread. A TLS check holds the most while its server says nothing. */
#define BASE_BYTES INT64_C(4600000)
#define WORKER_BYTES INT64_C(19500)
#define LISTEN_BYTES INT64_C(60000)
#define TLS_LIBRARY_BYTES \
    INT64_C(3600000) /* once: pages of the library, the trusted certificates */

struct cost {
    int64_t rest_bytes, kept_bytes, flight_bytes; /* kept: by `reuse`, between two checks */
    double cpu_us;
};
static const struct cost plain = {
    .rest_bytes = 1200, .kept_bytes = 700, .flight_bytes = 1400, .cpu_us = 22};
static const struct cost tls = {
    .rest_bytes = 5200, .kept_bytes = 27000, .flight_bytes = 38000, .cpu_us = 660};
static const struct cost command = {.rest_bytes = 1800, .flight_bytes = 5000, .cpu_us = 1000};

static const struct cost *cost_of(const struct target_conf *conf)
{
    if (conf->scheme->flags & SCHEME_COMMAND)
        return &command;
    return conf->tls_profile != NULL ? &tls : &plain;
}

/* While nothing changes; a kept connection is replaced every PROBE_KEEP_MS. */
static double steady_cpu_us(const struct target_conf *conf, const struct cost *cost)
{
    if (!conf->reuse || conf->period_ms >= PROBE_KEEP_MS)
        return cost->cpu_us;
    return plain.cpu_us + (cost->cpu_us - plain.cpu_us) * (double)conf->period_ms / PROBE_KEEP_MS;
}

struct forecast_times forecast_times(const struct target_conf *conf)
{
    int64_t period = conf->period_ms, timeout = conf->timeout_ms, confirm = conf->confirm_ms;
    int64_t slow = confirm > timeout ? confirm : timeout;
    return (struct forecast_times){
        .down_prompt_ms = period + (conf->fall - 1) * confirm,
        .down_ms = period + timeout + (conf->fall - 1) * slow + timeout,
        .up_prompt_ms = period + (conf->rise - 1) * confirm,
        .up_ms = period + timeout + (conf->rise - 1) * slow + timeout,
        .stale_ms = conf->max_age_ms,
        .result_gap_ms = period + timeout,
    };
}

static void add(struct forecast *f, const struct target_conf *conf)
{
    const struct cost *cost = cost_of(conf);
    double steady_per_s = 1000.0 / (double)conf->period_ms;
    double doubt_per_s = 1000.0 / (double)conf->confirm_ms;
    f->steady_per_s += steady_per_s;
    f->doubt_per_s += doubt_per_s;
    f->steady_cores += steady_per_s * steady_cpu_us(conf, cost) / 1e6;
    f->doubt_cores += doubt_per_s * cost->cpu_us / 1e6;
    if (cost == &command)
        f->commands_running +=
            (double)(conf->timeout_ms + CHILD_GRACE_MS) / (double)conf->period_ms;
    f->rest_bytes += cost->rest_bytes + (conf->reuse ? cost->kept_bytes : 0);
    f->worst_bytes += cost->rest_bytes + cost->flight_bytes;
}

void forecast_make(const struct config *config, struct forecast *ret_forecast)
{
    struct forecast f = {.at_once = config->target_count};
    bool any_tls = false;
    for (size_t i = 0; i < config->target_count; i++) {
        add(&f, config->targets[i]);
        any_tls = any_tls || config->targets[i]->tls_profile != NULL;
    }
    for (size_t i = 0; i < config->listen_count; i++)
        f.workers += (size_t)config->listen[i].workers;
    f.threads = f.workers + config->listen_count + 2; /* acceptors; main and the checker */
    int64_t base_bytes = BASE_BYTES + (int64_t)f.workers * WORKER_BYTES +
                         (int64_t)config->listen_count * LISTEN_BYTES +
                         (any_tls ? TLS_LIBRARY_BYTES : 0);
    f.rest_bytes += base_bytes;
    f.worst_bytes += base_bytes;
    *ret_forecast = f;
}
