/*
 * The checker thread: the loop, the targets in configuration order, and the word to the publisher.
 *
 * A change of state is published at once, times every COALESCE_MS. Both give way when publishing
 * itself becomes dear: then changes (ten thousand first results within a second) take at most a
 * tenth of the time, and times a five-hundredth, but wait for a second at most.
 */
#include <healthsvc/checker.h>

#include "check/reload.h"
#include "check/schedule.h"
#include "check/target.h"

#include <healthsvc/clock.h>
#include <healthsvc/config.h>
#include <healthsvc/log.h>
#include <healthsvc/loop.h>
#include <healthsvc/probe.h>
#include <healthsvc/stats.h>

#include <errno.h>
#include <pthread.h>
#include <stdlib.h>
#include <string.h>

#define COALESCE_MS 100
#define PATIENCE_MS 1000
#define NAMESERVERS_AGAIN_MS 5000
#define PUBLISH_AGAIN_MS 100 /* when there was no memory for it */
#define PUBLISH_SHARE 10     /* publishing takes at most one part in so many */
#define TIMES_SHARE 500      /* that of mere times; as long as nothing turns stale by it */

struct checker {
    struct checker_hooks hooks;
    struct loop *loop;
    struct engine *engine;
    pthread_t thread;
    struct loop_letter stop;

    struct config *posted; /* main's: the configuration that was posted last */

    struct config *config; /* the loop's, as all below */
    struct target **targets;
    const struct target_view **views;
    size_t count;
    struct target_ground ground;
    size_t first_missing; /* first checks that have not ended yet */
    bool unpublished;     /* what is known now could not be published */
    bool first_round_told;
    struct loop_timer publish;
    int64_t patience_ms;           /* how long times may wait */
    struct loop_timer nameservers; /* set while those in use are not the configuration's */
    int64_t published_us, publish_cost_us;
};

struct reload_letter {
    struct loop_letter letter;
    struct checker *checker;
    struct reload_plan *plan;
    size_t max_in_flight;
};

static void publish_now(struct checker *c) REQUIRES(checker_role)
{
    int64_t begin_us = clock_cpu_us();
    loop_timer_clear(c->loop, &c->publish);
    c->unpublished = c->hooks.publish(c->hooks.arg, c->config, c->views, c->count) < 0;
    c->published_us = clock_mono_us();
    c->publish_cost_us = clock_cpu_us() - begin_us;
    if (c->unpublished)
        loop_timer_set(c->loop, &c->publish, c->published_us / 1000 + PUBLISH_AGAIN_MS);
}

static void publish_soon(struct checker *c, bool changed) REQUIRES(checker_role)
{
    int64_t free_us = c->published_us + c->publish_cost_us * PUBLISH_SHARE;
    if (changed && clock_mono_us() >= free_us) {
        publish_now(c);
        return;
    }
    int64_t due_ms = free_us / 1000 + 1;
    if (!changed) {
        int64_t wait_ms = c->publish_cost_us * TIMES_SHARE / 1000;
        wait_ms = wait_ms < COALESCE_MS ? COALESCE_MS : wait_ms;
        wait_ms = wait_ms > c->patience_ms ? c->patience_ms : wait_ms;
        due_ms = c->published_us / 1000 + wait_ms;
    }
    if (!c->publish.node.queued || due_ms < c->publish.node.due)
        loop_timer_set(c->loop, &c->publish, due_ms);
}

/* Once, when it is published. */
static void tell_first_round(struct checker *c) REQUIRES(checker_role)
{
    if (c->first_round_told || c->first_missing > 0)
        return;
    publish_now(c);
    if (c->unpublished)
        return; /* on_publish() comes here again */
    c->first_round_told = true;
    if (c->hooks.first_round != NULL)
        c->hooks.first_round(c->hooks.arg);
}

static void on_publish(struct loop_timer *t)
{
    checker_role_assert();
    struct checker *c = (struct checker *)((char *)t - offsetof(struct checker, publish));
    publish_now(c);
    if (!c->unpublished)
        tell_first_round(c);
}

static void on_checked(void *arg, bool changed, bool first)
{
    checker_role_assert();
    struct checker *c = arg;
    publish_soon(c, changed);
    if (first && c->first_missing > 0) {
        c->first_missing--;
        tell_first_round(c);
    }
}

/* The verdict of what is known now; with nothing stale, as publishing would give it. */
static enum verdict present_verdict(const struct checker *c)
{
    enum verdict worst = VERDICT_PASS;
    int64_t now_ms = clock_mono_ms();
    for (size_t i = 0; i < c->count; i++) {
        enum verdict v = verdict_of_target(c->views[i], target_state_at(c->views[i], now_ms));
        worst = v > worst ? v : worst;
    }
    return worst;
}

/* A result must not turn stale only because times are published together. */
static int64_t patience_ms_of(const struct config *config)
{
    int64_t ms = PATIENCE_MS;
    for (size_t i = 0; i < config->target_count; i++) {
        int64_t slack_ms = (config->targets[i]->max_age_ms - config->targets[i]->period_ms) / 4;
        if (slack_ms < ms)
            ms = slack_ms > 1 ? slack_ms : 1;
    }
    return ms;
}

/* Puts the plan into force; `serving`: a verdict is being given already. */
static void apply(struct checker *c, struct reload_plan *plan, bool serving) REQUIRES(checker_role)
{
    /* What is new must not take away a verdict that is being given; where none is (the verdict is
     * fail), it must not make one out of nothing having been seen. */
    bool pending = serving && present_verdict(c) != VERDICT_FAIL;
    size_t fresh = 0, started = 0;
    for (size_t i = 0; i < plan->count; i++)
        fresh += plan->targets[i] != NULL;
    c->first_missing = 0;
    for (size_t i = 0; i < plan->count; i++) {
        struct target *t = plan->targets[i];
        if (t != NULL) {
            t->view.pending = pending;
            target_begin(t, &c->ground, schedule_first_delay_ms(started++, fresh));
        } else {
            size_t old = plan->old_index[i];
            t = plan->targets[i] = c->targets[old];
            c->targets[old] = NULL;
            target_adopt(t, plan->config->targets[i], plan->change[i] == CONFIG_CHANGE_JUDGED);
        }
        plan->views[i] = &t->view;
        c->first_missing += !t->asked;
    }
    for (size_t i = 0; i < c->count; i++) {
        if (c->targets[i] != NULL)
            target_drop(c->targets[i]);
    }
    free(c->targets);
    free(c->views);
    config_unref(c->config);
    c->config = config_ref(plan->config);
    c->targets = plan->targets;
    c->views = plan->views;
    c->count = plan->count;
    plan->targets = NULL;
    plan->views = NULL;
    c->patience_ms = patience_ms_of(c->config);
    publish_now(c);
    tell_first_round(c);
}

static bool same_text(const char *a, const char *b)
{
    return a == b || (a != NULL && b != NULL && strcmp(a, b) == 0);
}

static void set_nameservers(struct checker *c) REQUIRES(checker_role)
{
    int r = engine_set_nameservers(c->engine, c->config->nameservers);
    loop_timer_clear(c->loop, &c->nameservers);
    if (r == 0)
        return;
    log_error("cannot change the name servers: %s; keeping those in use, trying again in %d ms",
              strerror(-r), NAMESERVERS_AGAIN_MS);
    loop_timer_set(c->loop, &c->nameservers, loop_now_ms(c->loop) + NAMESERVERS_AGAIN_MS);
}

static void on_nameservers(struct loop_timer *t)
{
    checker_role_assert();
    set_nameservers((struct checker *)((char *)t - offsetof(struct checker, nameservers)));
}

static void on_reload(void *arg)
{
    checker_role_assert();
    struct reload_letter *letter = arg;
    struct checker *c = letter->checker;
    struct reload_plan *plan = letter->plan;
    bool other_nameservers = !same_text(c->config->nameservers, plan->config->nameservers);
    engine_set_limit(c->engine, letter->max_in_flight);
    apply(c, plan, true);
    if (other_nameservers)
        set_nameservers(c);
    if (c->hooks.reloaded != NULL)
        c->hooks.reloaded(c->hooks.arg, plan->summary);
    reload_plan_free(plan);
    free(letter);
}

int checker_reload(struct checker *c, struct config *config, size_t max_in_flight)
{
    struct reload_letter *letter = malloc(sizeof *letter);
    if (letter == NULL)
        return -ENOMEM;
    *letter = (struct reload_letter){
        .letter = {.fn = on_reload, .arg = letter},
        .checker = c,
        .max_in_flight = max_in_flight,
    };
    int r = reload_plan_new(c->posted, config, &letter->plan);
    if (r < 0) {
        free(letter);
        return r;
    }
    loop_post(c->loop, &letter->letter);
    config_unref(c->posted);
    c->posted = config_ref(config);
    return 0;
}

static void on_begin(void *arg)
{
    checker_role_assert();
    struct reload_letter *letter = arg;
    apply(letter->checker, letter->plan, false);
    reload_plan_free(letter->plan);
    free(letter);
}

static void *run(void *arg)
{
    struct checker *c = arg;
    (void)pthread_setname_np(pthread_self(), "healthsvc-check");
    loop_run(c->loop);
    return NULL;
}

static void on_stop(void *arg)
{
    checker_role_assert();
    struct checker *c = arg;
    for (size_t i = 0; i < c->count; i++)
        target_drop(c->targets[i]);
    c->count = 0;
    loop_timer_clear(c->loop, &c->publish);
    loop_timer_clear(c->loop, &c->nameservers);
    loop_stop(c->loop);
}

/* Frees a checker whose thread does not run and whose targets are gone. */
static struct checker *checker_free(struct checker *c)
{
    engine_free(c->engine);
    loop_free(c->loop);
    free(c->targets);
    free(c->views);
    config_unref(c->config);
    config_unref(c->posted);
    free(c);
    return NULL;
}

/* Unknown, all of them: what there is to say before the first check. */
static int publish_unknown(const struct checker_hooks *hooks, struct config *config,
                           const struct reload_plan *plan)
{
    for (size_t i = 0; i < plan->count; i++)
        plan->views[i] = &plan->targets[i]->view;
    return hooks->publish(hooks->arg, config, plan->views, plan->count);
}

int checker_start(struct config *config, size_t max_in_flight, const struct checker_hooks *hooks,
                  struct checker **ret_checker)
{
    struct reload_letter *letter = NULL;
    struct checker *c = calloc(1, sizeof *c);
    if (c == NULL)
        return -ENOMEM;
    c->hooks = *hooks;
    c->publish.fire = on_publish;
    c->stop = (struct loop_letter){.fn = on_stop, .arg = c};
    c->nameservers.fire = on_nameservers;
    c->patience_ms = COALESCE_MS;
    c->config = config_ref(config);
    c->posted = config_ref(config);
    int r = loop_new(&c->loop);
    if (r < 0)
        goto fail;
    loop_on_beat(c->loop, hooks->beat, hooks->arg);
    r = engine_new(c->loop, config->nameservers, &c->engine);
    if (r < 0)
        goto fail;
    engine_set_limit(c->engine, max_in_flight);
    c->ground = (struct target_ground){
        .loop = c->loop, .engine = c->engine, .checked = on_checked, .arg = c};
    letter = calloc(1, sizeof *letter);
    if (letter == NULL) {
        r = -ENOMEM;
        goto fail;
    }
    letter->letter = (struct loop_letter){.fn = on_begin, .arg = letter};
    letter->checker = c;
    r = reload_plan_new(NULL, config, &letter->plan);
    if (r < 0)
        goto fail;
    r = publish_unknown(hooks, config, letter->plan);
    if (r < 0)
        goto fail;
    loop_post(c->loop, &letter->letter);
    r = -pthread_create(&c->thread, NULL, run, c);
    if (r < 0)
        goto fail;
    *ret_checker = c;
    return 0;

fail:
    if (letter != NULL)
        reload_plan_free(letter->plan);
    free(letter);
    checker_free(c);
    return r;
}

struct checker *checker_stop(struct checker *c)
{
    if (c == NULL)
        return NULL;
    loop_post(c->loop, &c->stop);
    pthread_join(c->thread, NULL);
    return checker_free(c);
}
