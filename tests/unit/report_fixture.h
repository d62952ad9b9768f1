/*
 * report_fixture.h: a service with four dependencies in every kind of trouble, at a fixed moment,
 * for the tests of the report room.
 *
 * Threads: main only.
 */
#ifndef HEALTHSVC_REPORT_FIXTURE_H
#define HEALTHSVC_REPORT_FIXTURE_H

#include <healthsvc/config.h>
#include <healthsvc/probe.h>
#include <healthsvc/snapshot.h>

#include <string.h>
#include <sys/socket.h>

#define FIXTURE_NOW_MONO_MS INT64_C(1000000)
#define FIXTURE_NOW_WALL_MS INT64_C(1788084005000) /* 2026-08-30T10:00:05Z */
#define FIXTURE_MAX_AGE_MS INT64_C(33000)
#define FIXTURE_COUNT 4

enum fixture_row {
    TRIPS = 0, /* http, required */
    AIRPORTS,  /* https, required */
    BROKER,    /* tcp, optional */
    DISK,      /* tls, info */
};

static char fixture_service[] = "gateway";
static char fixture_names[FIXTURE_COUNT][16] = {"trips", "airports", "broker", "disk"};
static const struct scheme fixture_schemes[FIXTURE_COUNT] = {
    {.name = "http"}, {.name = "https"}, {.name = "tcp"}, {.name = "tls"}};
/* The test keeps the first reference, so that nothing here is ever freed. */
static struct config fixture_config = {.refs = 1, .name = fixture_service};
static struct target_conf fixture_confs[FIXTURE_COUNT];
static struct target_view fixture_views[FIXTURE_COUNT];
static const struct target_view *fixture_list[FIXTURE_COUNT];

/* Everything up, checked 1.5 s ago. */
static inline void fixture_reset(void)
{
    static const enum importance importances[FIXTURE_COUNT] = {
        IMPORTANCE_REQUIRED, IMPORTANCE_REQUIRED, IMPORTANCE_OPTIONAL, IMPORTANCE_INFO};
    for (size_t i = 0; i < FIXTURE_COUNT; i++) {
        fixture_confs[i] = (struct target_conf){
            .owner = &fixture_config,
            .name = fixture_names[i],
            .scheme = &fixture_schemes[i],
            .importance = importances[i],
            .max_age_ms = FIXTURE_MAX_AGE_MS,
        };
        fixture_views[i] = (struct target_view){
            .conf = &fixture_confs[i],
            .state = TARGET_UP,
            .outcome = OUTCOME_OK,
            .own = OUTCOME_OK,
            .reason = "",
            .own_text = "",
            .since_wall_ms = FIXTURE_NOW_WALL_MS - 3600000,
            .checked_wall_ms = FIXTURE_NOW_WALL_MS - 1500,
            .checked_mono_ms = FIXTURE_NOW_MONO_MS - 1500,
            .phase_us = {10, 120, 0, 1074},
            .total_us = 1204,
            .ip_family = AF_INET,
            .checks = {[OUTCOME_CLASS_GOOD] = 360},
        };
        fixture_list[i] = &fixture_views[i];
    }
    fixture_views[TRIPS].http_status = 200;
    fixture_views[AIRPORTS].http_status = 204;
    fixture_views[AIRPORTS].phase_us[PROBE_PHASE_TLS] = 650;
    fixture_views[AIRPORTS].cert_expires_wall_s = FIXTURE_NOW_WALL_MS / 1000 + 20 * 86400;
    fixture_views[BROKER].ip_family = AF_INET6;
    fixture_views[BROKER].skipped = 2;
}

static inline void fixture_set(enum fixture_row row, enum target_state state, enum outcome outcome,
                               const char *reason)
{
    fixture_views[row].state = state;
    fixture_views[row].outcome = outcome;
    fixture_views[row].reason = reason;
}

static inline void fixture_set_unknown(enum fixture_row row)
{
    const struct target_conf *conf = fixture_views[row].conf;
    fixture_views[row] =
        (struct target_view){.conf = conf, .own = OUTCOME_OK, .reason = "", .own_text = ""};
}

/* airports refuses, broker warns, disk has never been asked because of ourselves. */
static inline void fixture_trouble(void)
{
    fixture_reset();
    fixture_set(AIRPORTS, TARGET_DOWN, OUTCOME_CONNECT_REFUSED, "connection refused");
    fixture_views[AIRPORTS].http_status = 0;
    fixture_views[AIRPORTS].cert_expires_wall_s = FIXTURE_NOW_WALL_MS / 1000 - 86400;
    fixture_views[AIRPORTS].checks[OUTCOME_CLASS_BAD] = 3;
    fixture_set(BROKER, TARGET_DEGRADED, OUTCOME_TLS_EXPIRES_SOON, "certificate expires in 2 days");
    fixture_set_unknown(DISK);
    fixture_views[DISK].own = OUTCOME_DNS_TRY_AGAIN;
    fixture_views[DISK].own_text = "name servers failed to answer";
    fixture_views[DISK].checks[OUTCOME_CLASS_NOT_TRIED] = 7;
}

static inline struct moment fixture_moment(int64_t later_ms)
{
    return (struct moment){
        .now_mono_ms = FIXTURE_NOW_MONO_MS + later_ms,
        .now_wall_ms = FIXTURE_NOW_WALL_MS + later_ms,
        .beat_mono_ms = FIXTURE_NOW_MONO_MS + later_ms - 400,
    };
}

/* A snapshot of the first `count` rows as they are now; NULL only without memory. */
static inline struct snapshot *fixture_snapshot(size_t count)
{
    struct snapshot *s = NULL;
    if (snapshot_new(&fixture_config, fixture_list, count, &s) != 0)
        return NULL;
    return s;
}

#endif
