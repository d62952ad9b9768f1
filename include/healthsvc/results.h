/*
 * results.h: what is known of each dependency: the checker's word to whoever publishes it.
 *
 * Owner: the checker; a view is borrowed for the duration of the call it is handed to.
 * Threads: checker.
 */
#ifndef HEALTHSVC_RESULTS_H
#define HEALTHSVC_RESULTS_H

#include <healthsvc/outcome.h>
#include <healthsvc/probe.h>

#include <stdbool.h>
#include <stdint.h>

struct target_conf;

enum target_state {
    TARGET_UNKNOWN = 0, /* not asked yet, or never yet answerable */
    TARGET_UP,
    TARGET_DEGRADED,
    TARGET_DOWN,
    TARGET_STALE, /* never stored: judged by the age of the result when it is read */
};
const char *target_state_token(enum target_state s); /* "unknown" "up" ... "stale" */

/* There is one in each target and one in each snapshot, so it is kept narrow. */
struct target_view {
    const struct target_conf *conf;
    const char *reason;      /* why it is down or degraded; while up what a good check had to add
                              ("alive, authentication required"), mostly ""; never NULL */
    const char *own_text;    /* what kept us from asking; "" if nothing did; never NULL */
    int64_t since_wall_ms;   /* when the state began; 0 while unknown */
    int64_t checked_wall_ms; /* when the last outcome that counts was seen; 0: never */
    int64_t checked_mono_ms; /* the same by clock_mono_ms(); 0: never */
    int64_t phase_us[PROBE_PHASE_COUNT]; /* of that check */
    int64_t total_us;
    int64_t cert_expires_wall_s;          /* 0: none seen */
    struct perfdata *perfdata;            /* what a plugin measured in that check; NULL: nothing */
    uint32_t checks[OUTCOME_CLASS_COUNT]; /* by class, since the dependency was added; may wrap */
    uint32_t skipped;                     /* slots of its schedule that were missed; may wrap */
    uint32_t dns_serial;                  /* of a SOA record in that check, if `has_dns_serial` */
    uint16_t http_status;
    uint8_t ip_family; /* AF_INET, AF_INET6; 0: not connected */
    enum target_state state : 8;
    enum outcome outcome : 8; /* the last that was not "not tried"; meaningless while unknown */
    enum outcome own : 8;     /* the latest check's, if it was not tried; else OUTCOME_OK */
    bool pending; /* new or changed by a reload: does not count until its first outcome */
    bool has_dns_serial;
};

#endif
