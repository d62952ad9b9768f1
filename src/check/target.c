/*
 * Every check ends at on_done() (or at could_not_start(), which calls the same count()): there and
 * only there it is counted, believed, logged and reported. Changes are logged, results are not.
 */
#include "check/target.h"

#include "check/schedule.h"

#include <healthsvc/clock.h>
#include <healthsvc/config.h>
#include <healthsvc/log.h>
#include <healthsvc/probe.h>
#include <healthsvc/slab.h>
#include <healthsvc/stats.h>
#include <healthsvc/units.h>

#include <stdlib.h>
#include <string.h>

/* The view's texts are allocated copies, or static strings where there was no memory. */
static void set_text(const char **text, char **owned, const char *value, const char *fallback)
{
    if (strcmp(*text, value) == 0)
        return;
    free(*owned);
    *owned = value[0] != '\0' ? strdup(value) : NULL;
    *text = *owned != NULL ? *owned : value[0] != '\0' ? fallback : "";
}

/* A reload makes some anew, which live longer than what is made and freed around them. */
static struct slab targets = SLAB_OF(struct target);

struct target *target_new(const struct target_conf *conf)
{
    struct target *t = slab_get(&targets);
    if (t == NULL)
        return NULL;
    t->view.conf = conf;
    t->view.reason = t->view.own_text = "";
    t->name_hash = units_hash64(conf->name);
    return t;
}

static void log_change(const struct target *t, enum target_state was)
{
    const struct target_view *v = &t->view;
    const char *name = v->conf->name;
    switch (v->state) {
    case TARGET_UP:
        if (was != TARGET_UNKNOWN)
            log_notice("dependency %s is up name=%s state=up was=%s", name, name,
                       target_state_token(was));
        break;
    case TARGET_DEGRADED:
    case TARGET_DOWN:
        log_warning("dependency %s is %s: %s name=%s state=%s was=%s outcome=%s", name,
                    target_state_token(v->state), v->reason, name, target_state_token(v->state),
                    target_state_token(was), outcome_token(v->outcome));
        break;
    case TARGET_UNKNOWN:
    case TARGET_STALE:
        break;
    }
}

static void count_not_tried(struct target *t, enum outcome outcome, const char *text)
{
    struct target_view *v = &t->view;
    if (v->own == OUTCOME_OK)
        log_warning("cannot ask %s: %s; its last state stays until it is stale name=%s outcome=%s",
                    v->conf->name, text, v->conf->name, outcome_token(outcome));
    v->own = outcome;
    set_text(&v->own_text, &t->own_owned, text, outcome_sentence(outcome));
}

/* True if the state, or whether it counts, changed. */
static bool count_tried(struct target *t, const struct probe_result *r)
{
    struct target_view *v = &t->view;
    const struct target_conf *conf = v->conf;
    enum outcome_class class = outcome_class(r->outcome);
    enum target_state was = t->judge.state;

    if (v->own != OUTCOME_OK)
        log_notice("can ask %s again name=%s", conf->name, conf->name);
    v->own = OUTCOME_OK;
    set_text(&v->own_text, &t->own_owned, "", "");
    v->outcome = r->outcome;
    v->checked_mono_ms = clock_mono_ms();
    v->checked_wall_ms = clock_wall_ms();
    memcpy(v->phase_us, r->phase_us, sizeof v->phase_us);
    v->total_us = r->total_us;
    v->http_status = (uint16_t)r->http_status;
    v->ip_family = (uint8_t)r->ip_family;
    if (r->cert_expires_wall_s != 0)
        v->cert_expires_wall_s = r->cert_expires_wall_s;
    v->has_dns_serial = r->has_dns_serial;
    v->dns_serial = r->dns_serial;
    perfdata_unref(v->perfdata);
    v->perfdata = perfdata_ref(r->perfdata);

    bool changed = judge_count(&t->judge, class, conf->fall, conf->rise);
    v->state = t->judge.state;
    bool doubted = v->state == TARGET_UP && class == OUTCOME_CLASS_BAD;
    free(t->doubt);
    t->doubt = doubted ? strdup(r->text) : NULL;
    if (v->state == TARGET_UP)
        set_text(&v->reason, &t->reason_owned, class == OUTCOME_CLASS_GOOD ? r->text : "", "");
    else if (class != OUTCOME_CLASS_GOOD) /* the last thing that was wrong explains the state */
        set_text(&v->reason, &t->reason_owned, r->text, outcome_sentence(r->outcome));
    if (changed) {
        v->since_wall_ms = v->checked_wall_ms;
        log_change(t, was);
    }
    changed = changed || v->pending;
    v->pending = false;
    return changed;
}

static void plan_next(struct target *t) REQUIRES(checker_role)
{
    const struct target_conf *conf = t->view.conf;
    int64_t now_ms = loop_now_ms(t->ground->loop);
    if (judge_in_doubt(&t->judge)) {
        loop_timer_set(t->ground->loop, &t->start, t->started_ms + conf->confirm_ms);
        return;
    }
    uint64_t skipped = 0;
    int64_t due_ms = schedule_next(t->slot_ms, conf->period_ms, now_ms, &skipped);
    t->view.skipped += (uint32_t)skipped;
    stats_add(&stats.skipped_slots, skipped);
    loop_timer_set(t->ground->loop, &t->start, due_ms);
}

/* The one door that every check ends at. */
static void count(struct target *t, const struct probe_result *r) REQUIRES(checker_role)
{
    enum outcome_class class = outcome_class(r->outcome);
    bool changed = false;
    bool first = !t->asked;
    t->asked = true;
    stats_add(&stats.checks[r->outcome], 1);
    t->view.checks[class]++;
    if (class == OUTCOME_CLASS_NOT_TRIED)
        count_not_tried(t, r->outcome, r->text);
    else
        changed = count_tried(t, r);
    plan_next(t);
    t->ground->checked(t->ground->arg, changed, first);
}

static void on_done(struct probe *p, const struct probe_result *result, void *arg)
{
    (void)p;
    checker_role_assert();
    struct target *t = arg;
    t->probe = NULL;
    if (!t->dropping)
        count(t, result);
}

static void on_start(struct loop_timer *timer)
{
    checker_role_assert();
    struct target *t = (struct target *)((char *)timer - offsetof(struct target, start));
    const struct target_conf *conf = t->view.conf;
    int64_t due_ms = timer->node.due;
    t->started_ms = loop_now_ms(t->ground->loop);
    stats_add(&stats.late_starts, 1);
    stats_add(&stats.late_us, (uint64_t)(t->started_ms - due_ms) * 1000);
    int64_t slot_ms = schedule_slot_before(t->name_hash, conf->period_ms, t->started_ms);
    if (slot_ms > due_ms) { /* late by a whole slot or more: those are gone */
        uint64_t skipped = (uint64_t)((slot_ms - due_ms + conf->period_ms - 1) / conf->period_ms);
        t->view.skipped += (uint32_t)skipped;
        stats_add(&stats.skipped_slots, skipped);
    }
    t->slot_ms = slot_ms;
    int r = probe_start(t->ground->engine, conf, &t->kept, on_done, t, &t->probe);
    if (r < 0) {
        struct probe_result result = {.outcome = outcome_of_errno(-r)};
        if (outcome_class(result.outcome) != OUTCOME_CLASS_NOT_TRIED)
            result.outcome = OUTCOME_OWN_ERROR; /* nothing was asked, whatever the number says */
        const char *text = outcome_sentence(result.outcome);
        memcpy(result.text, text, strlen(text) + 1);
        count(t, &result);
    }
}

void target_begin(struct target *t, const struct target_ground *ground, int64_t delay_ms)
{
    t->ground = ground;
    t->start.fire = on_start;
    loop_timer_set(ground->loop, &t->start, loop_now_ms(ground->loop) + delay_ms);
}

void target_adopt(struct target *t, const struct target_conf *conf, bool judged_anew)
{
    t->view.conf = conf;
    if (!judged_anew)
        return;
    enum target_state was = t->judge.state;
    if (judge_again(&t->judge, conf->fall, conf->rise)) {
        t->view.state = t->judge.state;
        t->view.since_wall_ms = clock_wall_ms();
        if (t->view.state == TARGET_UP)
            set_text(&t->view.reason, &t->reason_owned, "", "");
        else if (was == TARGET_UP)
            set_text(&t->view.reason, &t->reason_owned,
                     t->doubt != NULL ? t->doubt : outcome_sentence(t->view.outcome),
                     outcome_sentence(t->view.outcome));
        log_change(t, was);
    }
    if (t->probe == NULL && t->asked) {
        t->slot_ms =
            schedule_slot_before(t->name_hash, conf->period_ms, loop_now_ms(t->ground->loop));
        plan_next(t);
    }
}

void target_drop(struct target *t)
{
    t->dropping = true;
    if (t->probe != NULL)
        probe_cancel(t->probe);
    probe_drop_kept(&t->kept);
    loop_timer_clear(t->ground->loop, &t->start);
    target_free(t);
}

void target_free(struct target *t)
{
    free(t->reason_owned);
    free(t->own_owned);
    free(t->doubt);
    perfdata_unref(t->view.perfdata);
    slab_put(&targets, t);
}
