/*
 * times.c: how a dependency's times depend on one another. What is written must hold together as it
 * stands; only what is written nowhere adapts (and is 0 until then: no time may be 0).
 */
#include <healthsvc/config.h>
#include <healthsvc/probe.h>
#include <healthsvc/strbuf.h>
#include <healthsvc/units.h>

#include <errno.h>
#include <inttypes.h>

#include "config/loader.h"

#define SENTENCE_MAX_BYTES 256

static int64_t adapted_timeout_ms(const struct target_conf *conf)
{
    return conf->period_ms > 3000 ? 3000 : conf->period_ms * 8 / 10;
}

static int64_t adapted_confirm_ms(const struct target_conf *conf)
{
    return conf->period_ms > 1000 ? 1000 : conf->period_ms;
}

static int64_t adapted_max_age_ms(const struct target_conf *conf)
{
    return 3 * conf->period_ms + conf->timeout_ms;
}

void times_settle(struct target_conf *conf)
{
    if (conf->timeout_ms == 0)
        conf->timeout_ms = adapted_timeout_ms(conf);
    if (conf->confirm_ms == 0)
        conf->confirm_ms = adapted_confirm_ms(conf);
    if (conf->max_age_ms == 0)
        conf->max_age_ms = adapted_max_age_ms(conf);
}

void times_level(const struct target_conf *a, struct target_conf *b)
{
    if (a->max_age_ms == adapted_max_age_ms(a) && b->max_age_ms == adapted_max_age_ms(b))
        b->max_age_ms = a->max_age_ms;
    if (a->confirm_ms == adapted_confirm_ms(a) && b->confirm_ms == adapted_confirm_ms(b))
        b->confirm_ms = a->confirm_ms;
    if (a->timeout_ms == adapted_timeout_ms(a) && b->timeout_ms == adapted_timeout_ms(b))
        b->timeout_ms = a->timeout_ms;
}

/* What must hold together: small < large, or small <= large; 0 is "never" and fits anything. */
struct relation {
    const char *small, *large;
    int64_t small_ms, large_ms;
    bool less;
};

/* The fault is at what the dependency wrote itself, if it wrote one of the two. */
static void check_relation(struct loader *l, const config_setting_t *group,
                           const struct relation *r)
{
    const config_setting_t *small = dependency_find_written(l, group, r->small);
    const config_setting_t *large = dependency_find_written(l, group, r->large);
    struct strbuf text;

    if ((small == NULL && large == NULL) || r->small_ms == 0 || r->large_ms == 0 ||
        (r->less ? r->small_ms < r->large_ms : r->small_ms <= r->large_ms))
        return;
    if ((small != NULL && faults_has(&l->faults, small)) ||
        (large != NULL && faults_has(&l->faults, large)))
        return; /* what was read instead is nobody's will */

    bool at_small = small != NULL && (large == NULL || config_setting_parent(small) == group ||
                                      config_setting_parent(large) != group);
    strbuf_init(&text, SENTENCE_MAX_BYTES);
    strbuf_addf(&text, "'%s' is ", at_small ? r->small : r->large);
    units_format_duration(&text, at_small ? r->small_ms : r->large_ms);
    if (at_small)
        strbuf_adds(&text, r->less ? ", must be less than" : ", must be at most");
    else
        strbuf_adds(&text, r->less ? ", must be more than" : ", must be at least");
    strbuf_addf(&text, " '%s' (", at_small ? r->large : r->small);
    units_format_duration(&text, at_small ? r->large_ms : r->small_ms);
    strbuf_addc(&text, ')');
    l->no_memory = l->no_memory || strbuf_error(&text) == -ENOMEM;
    /* By the line: the setting itself is not wrong for every dependency that shares it. */
    faults_add_line(&l->faults, config_setting_source_line(at_small ? small : large), "%s",
                    text.data);
    strbuf_done(&text);
}

/* Days are no durations, but the same holds of them. */
static void check_days(struct loader *l, const config_setting_t *group, const struct tls_conf *tls)
{
    const config_setting_t *fail = dependency_find_written(l, group, "cert_fail");

    if (fail == NULL || tls->cert_warn == 0 || tls->cert_fail < tls->cert_warn)
        return;
    faults_add_line(&l->faults, config_setting_source_line(fail),
                    "'cert_fail' is %" PRId64 ", must be less than 'cert_warn' (%" PRId64 ")",
                    tls->cert_fail, tls->cert_warn);
}

/* A default does no harm where it has no use. */
static void check_reuse(struct loader *l, const config_setting_t *group,
                        const struct target_conf *conf)
{
    const config_setting_t *reuse = config_setting_get_member(group, "reuse");

    if (reuse == NULL || !conf->reuse || 2 * conf->period_ms <= PROBE_KEEP_MS)
        return;
    faults_add(&l->faults, reuse,
               "'reuse' has no use with a 'period' of more than 5m: a connection is kept for 10m "
               "at most");
}

void times_check(struct loader *l, const config_setting_t *group, const struct target_conf *conf)
{
    const struct relation relations[] = {
        {"timeout", "period", conf->timeout_ms, conf->period_ms, true},
        {"confirm", "period", conf->confirm_ms, conf->period_ms, false},
        {"period", "max_age", conf->period_ms, conf->max_age_ms, false},
        {"time_warn", "time_fail", conf->time_warn_ms, conf->time_fail_ms, true},
        {"time_warn", "timeout", conf->time_warn_ms, conf->timeout_ms, true},
        {"time_fail", "timeout", conf->time_fail_ms, conf->timeout_ms, true},
    };

    for (size_t i = 0; i < sizeof relations / sizeof relations[0]; i++)
        check_relation(l, group, &relations[i]);
    check_days(l, group, &conf->tls);
    check_reuse(l, group, conf);
}
