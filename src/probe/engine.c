/*
 * Every way a check can end goes through probe_finish(): there the times are added up, a good
 * result is held against the limits, a bad one of a stalled loop or of a library that has gone
 * without memory (memory.h) is turned into "not tried", and the end is asserted to be the only one.
 * An end from inside the start is only noted and delivered on the next turn, so that the caller of
 * probe_start() never meets its own callback.
 */
#include "probe/engine.h"

#include "probe/children.h"
#include "probe/dialogue.h"
#include "probe/kept.h"
#include "probe/limits.h"
#include "probe/resolver.h"

#include <healthsvc/clock.h>
#include <healthsvc/config.h>
#include <healthsvc/memory.h>
#include <healthsvc/stats.h>
#include <healthsvc/strbuf.h>
#include <healthsvc/units.h>

#include <assert.h>
#include <errno.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <time.h>

struct engine {
    struct loop *loop;
    struct resolver *resolver;
    struct children *children;
    struct keeper keeper;
    size_t in_flight, limit; /* in_flight and what is kept together are within it */
};

int engine_new(struct loop *loop, const char *nameservers, struct engine **ret_engine)
{
    struct engine *engine = calloc(1, sizeof *engine);
    if (engine == NULL)
        return -ENOMEM;
    engine->loop = loop;
    engine->limit = SIZE_MAX;
    engine->keeper = (struct keeper){.loop = loop, .keep_ms = PROBE_KEEP_MS};
    int r = resolver_new(loop, nameservers, &engine->resolver);
    if (r == 0)
        r = children_new(loop, &engine->children);
    if (r < 0) {
        engine_free(engine);
        return r;
    }
    *ret_engine = engine;
    return 0;
}

struct engine *engine_free(struct engine *engine)
{
    if (engine == NULL)
        return NULL;
    assert(engine->in_flight == 0 && engine->keeper.count == 0);
    children_free(engine->children);
    resolver_free(engine->resolver);
    free(engine);
    return NULL;
}

int engine_set_nameservers(struct engine *engine, const char *nameservers)
{
    return resolver_set_nameservers(engine->resolver, nameservers);
}

/* Whether there is room for `more` probes; makes it if only kept connections are in the way. */
static bool make_room(struct engine *engine, size_t more)
{
    checker_role_assert();
    while (engine->in_flight + engine->keeper.count + more > engine->limit) {
        if (!keeper_give_way(&engine->keeper))
            return false;
    }
    return true;
}

void engine_set_limit(struct engine *engine, size_t max_in_flight)
{
    engine->limit = max_in_flight;
    (void)make_room(engine, 0);
}

void engine_set_keep(struct engine *engine, int64_t keep_ms)
{
    engine->keeper.keep_ms = keep_ms;
}

struct loop *engine_loop(const struct engine *engine)
{
    return engine->loop;
}

struct resolver *engine_resolver(const struct engine *engine)
{
    return engine->resolver;
}

struct children *engine_children(const struct engine *engine)
{
    return engine->children;
}

struct keeper *engine_keeper(struct engine *engine)
{
    return &engine->keeper;
}

static void deliver(struct probe *p) REQUIRES(checker_role)
{
    struct engine *engine = p->engine;
    loop_timer_clear(engine->loop, &p->deadline);
    engine->in_flight--;
    atomic_fetch_sub_explicit(&stats.in_flight, 1, memory_order_relaxed);
    p->done(p, &p->result, p->arg);
    p->result.perfdata = perfdata_unref(p->result.perfdata);
    config_unref(p->conf->owner);
    loop_free_later(engine->loop, &p->garbage, p);
}

static void settle(struct probe *p, enum outcome outcome, const char *text) REQUIRES(checker_role)
{
    assert(!p->finished);
    p->finished = true;
    probe_enter(p, p->result.phase); /* adds up the last phase's time */
    p->result.total_us = p->phase_start_us - p->start_us;
    char limit_text[OUTCOME_TEXT_BYTES];
    bool stalled = loop_stalled_mono_ms(p->engine->loop) >= p->start_us / 1000;
    enum outcome limited = outcome;
    if (!stalled) /* else the time taken is our own fault */
        limited = limits_judge(p->conf, &p->result, outcome, (int64_t)time(NULL), limit_text);
    if (limited != outcome) {
        outcome = limited;
        text = limit_text;
    }
    if (outcome_class(outcome) == OUTCOME_CLASS_BAD) {
        bool no_memory = memory_refusals() != p->refusals;
        if (stalled || no_memory) {
            outcome = stalled ? OUTCOME_OWN_STALLED : OUTCOME_OWN_MEMORY;
            text = NULL;
        }
    }
    if (text == NULL || text[0] == '\0')
        text = outcome == OUTCOME_OK ? "" : outcome_sentence(outcome);
    p->result.outcome = outcome;
    (void)snprintf(p->result.text, sizeof p->result.text, "%s", text);
    p->conf->scheme->ops->stop(p);
}

static void finish_at_deadline(struct probe *p) REQUIRES(checker_role)
{
    struct strbuf text;
    strbuf_init(&text, OUTCOME_TEXT_BYTES);
    strbuf_adds(&text, "timeout after ");
    units_format_duration(&text, p->conf->timeout_ms);
    strbuf_addf(&text, " in %s", probe_phase_token(p->result.phase));
    enum outcome outcome = OUTCOME_TIMEOUT;
    switch (p->result.phase) {
    case PROBE_PHASE_DNS:
        outcome = OUTCOME_DNS_TIMEOUT;
        break;
    case PROBE_PHASE_CONNECT:
        outcome = OUTCOME_CONNECT_TIMEOUT;
        break;
    case PROBE_PHASE_TLS:
    case PROBE_PHASE_EXCHANGE:
        break;
    }
    probe_finish(p, outcome, text.data);
    strbuf_done(&text);
}

static void on_deadline(struct loop_timer *t)
{
    checker_role_assert();
    struct probe *p = (struct probe *)((char *)t - offsetof(struct probe, deadline));
    const struct probe_ops *ops = p->conf->scheme->ops;
    if (p->finished)
        deliver(p);
    else if (ops->late == NULL || !ops->late(p))
        finish_at_deadline(p);
}

int probe_start(struct engine *engine, const struct target_conf *conf, struct kept **kept,
                probe_done_fn done, void *arg, struct probe **ret_probe)
{
    checker_role_assert();
    bool has_kept = kept != NULL && *kept != NULL; /* which makes room for itself */
    if (!has_kept && !make_room(engine, 1))
        return -EMFILE;
    const struct scheme *scheme = conf->scheme;
    size_t tail = scheme->dialogue != NULL ? scheme->dialogue->state_size : 0;
    struct probe *p = calloc(1, scheme->ops->probe_size + tail);
    if (p == NULL)
        return -ENOMEM;
    p->engine = engine;
    p->conf = conf;
    p->kept = kept;
    p->done = done;
    p->arg = arg;
    p->deadline.fire = on_deadline;
    p->start_us = p->phase_start_us = clock_mono_us();
    p->refusals = memory_refusals();
    loop_timer_set(engine->loop, &p->deadline, p->start_us / 1000 + conf->timeout_ms);
    p->starting = true;
    int r = scheme->ops->start(p);
    p->starting = false;
    if (r < 0 && !p->finished) {
        loop_timer_clear(engine->loop, &p->deadline);
        free(p);
        return r;
    }
    if (p->finished)
        loop_timer_set(engine->loop, &p->deadline, loop_now_ms(engine->loop));
    config_ref(conf->owner);
    engine->in_flight++;
    stats_add(&stats.in_flight, 1);
    *ret_probe = p;
    return 0;
}

void probe_cancel(struct probe *p)
{
    checker_role_assert();
    if (!p->finished)
        settle(p, OUTCOME_OWN_CANCELLED, NULL);
    p->result.outcome = OUTCOME_OWN_CANCELLED;
    deliver(p);
}

void probe_enter(struct probe *p, enum probe_phase phase)
{
    int64_t now_us = clock_mono_us();
    p->result.phase_us[p->result.phase] += now_us - p->phase_start_us;
    p->phase_start_us = now_us;
    p->result.phase = phase;
}

void probe_finish(struct probe *p, enum outcome outcome, const char *text)
{
    settle(p, outcome, text);
    if (!p->starting)
        deliver(p);
}

void probe_finishf(struct probe *p, enum outcome outcome, const char *fmt, ...)
{
    char text[OUTCOME_TEXT_BYTES];
    va_list args;
    va_start(args, fmt);
    (void)vsnprintf(text, sizeof text, fmt, args);
    va_end(args);
    probe_finish(p, outcome, text);
}
