/*
 * One place for all schemes, asked at the one finish. A limit only makes an end worse: what fails
 * comes first, a warning that the answer itself gave stays before one of ours.
 */
#include "probe/limits.h"

#include <healthsvc/config.h>

#include <stdio.h>

#define HOUR_S 3600
#define DAY_S 86400

static bool exceeds(int64_t took_us, int64_t limit_ms)
{
    return limit_ms > 0 && took_us > limit_ms * 1000;
}

static void say_time(char *text, int64_t took_us, int64_t limit_ms)
{
    (void)snprintf(text, OUTCOME_TEXT_BYTES, "took %lld ms, more than %lld",
                   (long long)(took_us / 1000), (long long)limit_ms);
}

static bool expires_within(const struct probe_result *r, int64_t days, int64_t now_wall_s)
{
    return days > 0 && r->cert_expires_wall_s != 0 &&
           r->cert_expires_wall_s - now_wall_s < days * DAY_S;
}

static void say_expiry(char *text, int64_t left_s)
{
    bool days = left_s >= DAY_S;
    long long count = left_s / (days ? DAY_S : HOUR_S);
    if (left_s < 0) { /* it was not verified */
        (void)snprintf(text, OUTCOME_TEXT_BYTES, "certificate has expired");
        return;
    }
    (void)snprintf(text, OUTCOME_TEXT_BYTES, "certificate expires in %lld %s%s", count,
                   days ? "day" : "hour", count == 1 ? "" : "s");
}

enum outcome limits_judge(const struct target_conf *conf, const struct probe_result *result,
                          enum outcome outcome, int64_t now_wall_s,
                          char ret_text[OUTCOME_TEXT_BYTES])
{
    int64_t took_us = result->total_us;
    int64_t left_s = result->cert_expires_wall_s - now_wall_s;
    enum outcome_class class = outcome_class(outcome);
    if (class == OUTCOME_CLASS_BAD || class == OUTCOME_CLASS_NOT_TRIED)
        return outcome;
    if (expires_within(result, conf->tls.cert_fail, now_wall_s)) {
        say_expiry(ret_text, left_s);
        return OUTCOME_TLS_EXPIRING;
    }
    if (exceeds(took_us, conf->time_fail_ms)) {
        say_time(ret_text, took_us, conf->time_fail_ms);
        return OUTCOME_TOO_SLOW;
    }
    if (class == OUTCOME_CLASS_WARNING)
        return outcome;
    if (expires_within(result, conf->tls.cert_warn, now_wall_s)) {
        say_expiry(ret_text, left_s);
        return OUTCOME_TLS_EXPIRES_SOON;
    }
    if (exceeds(took_us, conf->time_warn_ms)) {
        say_time(ret_text, took_us, conf->time_warn_ms);
        return OUTCOME_SLOW;
    }
    return outcome;
}
