/*
 * forecast: the times against the real rules. src/check/target.c runs here with its schedule and its
 * judge, in a world with a clock of its own: the stand-ins below replace the archive's loop, engine,
 * clock and log in this program. In that world a dependency changes at a random moment, and what
 * the forecast says must never be exceeded, and must be reached.
 */
#include "../testing.h"

#include "check/schedule.h"
#include "check/target.h"
#include "command/forecast.h"

#include <healthsvc/clock.h>
#include <healthsvc/config.h>
#include <healthsvc/log.h>
#include <healthsvc/probe.h>
#include <healthsvc/units.h>

#include <errno.h>

enum truth {
    ANSWERS = 0,
    REFUSES,
    HANGS,
    CANNOT_BE_ASKED, /* for a reason of our own */
};

struct world {
    enum truth before, after; /* the change */
    int64_t change_ms;
    int64_t begin_ms;       /* when the first check starts */
    int64_t slowest_ms;     /* what an answer, or a refusal, takes at most */
    bool always_slowest;    /* instead of at random */
    unsigned glitch_in_100; /* checks before the change that see the other truth, by chance */

    int64_t now_ms;
    struct loop_timer *timer; /* the target's, if armed */
    bool asking;              /* a check is under way, */
    int64_t answer_ms;        /* and ends then, */
    enum outcome outcome;     /* so */
    probe_done_fn done;
    void *done_arg;
};
static struct world world;
static uint64_t seed;

/* xorshift64*, so that a run is like any other */
static uint64_t any(void)
{
    seed ^= seed >> 12;
    seed ^= seed << 25;
    seed ^= seed >> 27;
    return seed * UINT64_C(2685821657736338717);
}

static int64_t between(int64_t low, int64_t high)
{
    return low + (int64_t)(any() % (uint64_t)(high - low + 1));
}

/* ---- stand-ins ---- */

void checker_role_assert(void)
{
}

int64_t loop_now_ms(const struct loop *loop)
{
    (void)loop;
    return world.now_ms;
}

void loop_timer_set(struct loop *loop, struct loop_timer *t, int64_t due_mono_ms)
{
    (void)loop;
    t->node.due = due_mono_ms;
    world.timer = t;
}

void loop_timer_clear(struct loop *loop, struct loop_timer *t)
{
    (void)loop;
    (void)t;
    world.timer = NULL;
}

int64_t clock_mono_ms(void)
{
    return world.now_ms;
}

int64_t clock_mono_us(void)
{
    return world.now_ms * 1000;
}

int64_t clock_wall_ms(void)
{
    return world.now_ms;
}

void log_line(enum log_level level, const char *fmt, ...)
{
    (void)level;
    (void)fmt;
}

static enum truth truth_at(int64_t t_ms)
{
    if (t_ms >= world.change_ms)
        return world.after;
    if (world.after != CANNOT_BE_ASKED && between(0, 99) < world.glitch_in_100)
        return world.after;
    return world.before;
}

/* A peer shows how it is at some moment between the question and the answer. */
int probe_start(struct engine *engine, const struct target_conf *conf, struct kept **kept,
                probe_done_fn done, void *arg, struct probe **ret_probe)
{
    (void)engine;
    (void)kept;
    int64_t takes_ms = world.always_slowest ? world.slowest_ms : between(0, world.slowest_ms);
    int64_t seen_after_ms = world.always_slowest ? 0 : between(0, takes_ms);
    switch (truth_at(world.now_ms + seen_after_ms)) {
    case ANSWERS:
        world.outcome = OUTCOME_OK;
        break;
    case REFUSES:
        world.outcome = OUTCOME_CONNECT_REFUSED;
        break;
    case HANGS:
        world.outcome = OUTCOME_TIMEOUT;
        takes_ms = conf->timeout_ms;
        break;
    case CANNOT_BE_ASKED:
        return -EMFILE;
    }
    world.asking = true;
    world.answer_ms = world.now_ms + takes_ms;
    world.done = done;
    world.done_arg = arg;
    *ret_probe = (struct probe *)&world; /* never looked into */
    return 0;
}

void probe_cancel(struct probe *p)
{
    (void)p;
    world.asking = false;
}

void probe_drop_kept(struct kept **kept)
{
    (void)kept;
}

/* ---- one dependency in that world ---- */

static void on_checked(void *arg, bool changed, bool first)
{
    (void)arg;
    (void)changed;
    (void)first;
}

static void step(void)
{
    if (world.asking) {
        struct probe_result result = {.outcome = world.outcome};
        world.now_ms = world.answer_ms;
        world.asking = false;
        world.done((struct probe *)&world, &result, world.done_arg);
    } else {
        struct loop_timer *t = world.timer;
        world.timer = NULL;
        if (t->node.due > world.now_ms)
            world.now_ms = t->node.due;
        t->fire(t);
    }
}

static int64_t next_ms(void)
{
    return world.asking                           ? world.answer_ms
           : world.timer->node.due > world.now_ms ? world.timer->node.due
                                                  : world.now_ms;
}

struct seen {
    enum target_state at_change;
    int64_t lag_ms;     /* from the change until the state was `wanted` */
    int64_t longest_ms; /* between two results, before the change */
};

/* Plays the world until the state is `wanted`. */
static struct seen play(const struct target_conf *conf, enum target_state wanted)
{
    static const struct target_ground ground = {.checked = on_checked};
    checker_role_assert();
    struct seen seen = {0};
    struct target *t = target_new(conf);
    if (t == NULL)
        abort();
    world.now_ms = world.begin_ms;
    world.timer = NULL;
    world.asking = false;
    target_begin(t, &ground, 0);
    int64_t result_ms = 0;
    while (next_ms() < world.change_ms) {
        step();
        int64_t gap_ms = result_ms > 0 ? t->view.checked_mono_ms - result_ms : 0;
        result_ms = t->view.checked_mono_ms;
        seen.longest_ms = gap_ms > seen.longest_ms ? gap_ms : seen.longest_ms;
    }
    seen.at_change = t->view.state;
    while (wanted != TARGET_STALE && t->view.state != wanted)
        step();
    /* Staleness is not an event: it is seen by whoever looks. */
    int64_t at_ms = world.now_ms;
    if (wanted == TARGET_STALE) {
        while (next_ms() <= t->view.checked_mono_ms + conf->max_age_ms)
            step();
        at_ms = t->view.checked_mono_ms + conf->max_age_ms + 1;
        EXPECT_INT(target_state_at(&t->view, at_ms - 1), t->view.state);
        EXPECT_INT(target_state_at(&t->view, at_ms), TARGET_STALE);
    }
    seen.lag_ms = at_ms - world.change_ms;
    target_drop(t);
    return seen;
}

static char name[16];

static struct target_conf any_conf(void)
{
    (void)snprintf(name, sizeof name, "d%u", (unsigned)(any() & 0xffffff));
    struct target_conf conf = {.name = name, .period_ms = between(100, 20000)};
    conf.timeout_ms = between(10, conf.period_ms - 1);
    conf.confirm_ms = between(10, conf.period_ms);
    conf.fall = between(1, 6);
    conf.rise = between(1, 6);
    conf.max_age_ms = conf.period_ms + conf.timeout_ms + between(0, 50000);
    return conf;
}

/* The change comes at any moment of the third to twentieth period. */
static void any_world(const struct target_conf *conf, enum truth before, enum truth after,
                      int64_t slowest_ms)
{
    int64_t begin_ms = between(100000, 200000);
    world = (struct world){
        .before = before,
        .after = after,
        .begin_ms = begin_ms,
        .change_ms = begin_ms + between(3 * conf->period_ms, 20 * conf->period_ms),
        .slowest_ms = slowest_ms,
        .glitch_in_100 = (unsigned)between(0, 30),
    };
}

#define ROUNDS 20000

/* Tries the change at random moments, in random settings; how often it was measured. */
static unsigned try_change(enum truth before, enum truth after, bool prompt)
{
    bool falls = before == ANSWERS;
    unsigned measured = 0;
    for (int i = 0; i < ROUNDS && testing_faults == 0; i++) {
        struct target_conf conf = any_conf();
        struct forecast_times times = forecast_times(&conf);
        any_world(&conf, before, after, prompt ? 0 : conf.timeout_ms - 1);
        struct seen seen = play(&conf, falls ? TARGET_DOWN : TARGET_UP);
        if (seen.at_change != (falls ? TARGET_UP : TARGET_DOWN))
            continue; /* by glitches it was there already */
        int64_t most_ms = falls ? (prompt ? times.down_prompt_ms : times.down_ms)
                                : (prompt ? times.up_prompt_ms : times.up_ms);
        measured++;
        if (!EXPECT(seen.lag_ms <= most_ms) || !EXPECT(seen.longest_ms <= times.result_gap_ms))
            printf("# round %d: took %" PRId64 ", forecast %" PRId64 "; period %" PRId64
                   " timeout %" PRId64 " confirm %" PRId64 " fall %" PRId64 " rise %" PRId64 "\n",
                   i, seen.lag_ms, most_ms, conf.period_ms, conf.timeout_ms, conf.confirm_ms,
                   conf.fall, conf.rise);
    }
    return measured;
}

TEST(a_failure_is_never_seen_later_than_forecast)
{
    EXPECT(try_change(ANSWERS, REFUSES, true) > ROUNDS / 2);
    EXPECT(try_change(ANSWERS, REFUSES, false) > ROUNDS / 2);
    EXPECT(try_change(ANSWERS, HANGS, false) > ROUNDS / 2);
}

TEST(a_recovery_is_never_seen_later_than_forecast)
{
    EXPECT(try_change(REFUSES, ANSWERS, true) > ROUNDS / 2);
    EXPECT(try_change(REFUSES, ANSWERS, false) > ROUNDS / 2);
    EXPECT(try_change(HANGS, ANSWERS, false) > ROUNDS / 2);
}

/* Prompt answers: the worst moment is just after a check. */
TEST(the_prompt_times_are_reached)
{
    for (int i = 0; i < 1000 && testing_faults == 0; i++) {
        struct target_conf conf = any_conf();
        struct forecast_times times = forecast_times(&conf);
        for (int falls = 0; falls < 2; falls++) {
            any_world(&conf, falls ? ANSWERS : REFUSES, falls ? REFUSES : ANSWERS, 0);
            world.glitch_in_100 = 0;
            struct target *t = target_new(&conf);
            world.change_ms =
                schedule_slot_before(t->name_hash, conf.period_ms, world.change_ms) + 1;
            target_free(t);
            EXPECT_INT(play(&conf, falls ? TARGET_DOWN : TARGET_UP).lag_ms,
                       (falls ? times.down_prompt_ms : times.up_prompt_ms) - 1);
        }
    }
}

/* Slow ones: just after the first check began, which makes the schedule skip a slot as it ends. */
TEST(the_slow_times_are_reached)
{
    for (int i = 0; i < 1000 && testing_faults == 0; i++) {
        struct target_conf conf = any_conf();
        struct forecast_times times = forecast_times(&conf);
        for (int falls = 0; falls < 2; falls++) {
            any_world(&conf, falls ? ANSWERS : HANGS, falls ? HANGS : ANSWERS, conf.timeout_ms - 1);
            world.always_slowest = true;
            world.glitch_in_100 = 0;
            struct target *t = target_new(&conf);
            int64_t slot_ms = schedule_slot_before(t->name_hash, conf.period_ms, world.begin_ms);
            target_free(t);
            world.begin_ms = slot_ms - conf.timeout_ms + falls;
            world.change_ms = world.begin_ms + 1;
            struct seen seen = play(&conf, falls ? TARGET_DOWN : TARGET_UP);
            int64_t most_ms = falls ? times.down_ms : times.up_ms;
            /* An answer comes within the timeout: a millisecond less for each. */
            EXPECT(seen.lag_ms <= most_ms && seen.lag_ms >= most_ms - 2 - conf.rise);
        }
    }
}

/* Counted from the last result, which a check under way at the change may still bring. */
TEST(it_is_stale_just_when_forecast)
{
    for (int i = 0; i < ROUNDS && testing_faults == 0; i++) {
        struct target_conf conf = any_conf();
        struct forecast_times times = forecast_times(&conf);
        any_world(&conf, ANSWERS, CANNOT_BE_ASKED, conf.timeout_ms - 1);
        int64_t lag_ms = play(&conf, TARGET_STALE).lag_ms;
        EXPECT(lag_ms <= times.stale_ms + 1 + conf.timeout_ms);
        EXPECT(lag_ms >= times.stale_ms + 1 - times.result_gap_ms);
    }
}

/* What is asked on time is stale in between if max_age is any less. */
TEST(the_gap_between_results_is_reached)
{
    struct target_conf conf = any_conf();
    any_world(&conf, ANSWERS, HANGS, 0);
    world.begin_ms = schedule_slot_before(units_hash64(conf.name), conf.period_ms, world.begin_ms);
    world.change_ms = world.begin_ms + 50 * conf.period_ms;
    world.glitch_in_100 = 50;
    EXPECT_INT(play(&conf, TARGET_DOWN).longest_ms, forecast_times(&conf).result_gap_ms);
}

/* ---- numbers ---- */

TEST(times_of_the_defaults)
{
    const struct target_conf conf = {.period_ms = 10000,
                                     .timeout_ms = 3000,
                                     .confirm_ms = 1000,
                                     .fall = 3,
                                     .rise = 2,
                                     .max_age_ms = 33000};
    struct forecast_times t = forecast_times(&conf);
    EXPECT_INT(t.down_prompt_ms, 12000);
    EXPECT_INT(t.down_ms, 10000 + 3000 + 2 * 3000 + 3000);
    EXPECT_INT(t.up_prompt_ms, 11000);
    EXPECT_INT(t.up_ms, 10000 + 3000 + 3000 + 3000);
    EXPECT_INT(t.stale_ms, 33000);
    EXPECT_INT(t.result_gap_ms, 13000);
}

static void forecast_of(const struct target_conf *one, size_t count, int64_t workers,
                        struct forecast *ret_forecast)
{
    struct target_conf **targets = calloc(count + 1, sizeof targets[0]);
    struct target_conf copy = *one;
    for (size_t i = 0; i < count; i++)
        targets[i] = &copy;
    struct config_listen listen[] = {{.workers = workers}, {.workers = workers}};
    const struct config config = {
        .listen = listen, .listen_count = 2, .targets = targets, .target_count = count};
    forecast_make(&config, ret_forecast);
    free(targets);
}

TEST(sums)
{
    static const struct scheme http = {.name = "http"}, exec = {.flags = SCHEME_COMMAND};
    int profile;
    struct target_conf conf = {
        .scheme = &http, .period_ms = 10000, .timeout_ms = 3000, .confirm_ms = 500};
    struct forecast none, plain, tls, reused, seldom, command;
    forecast_of(&conf, 0, 8, &none);
    forecast_of(&conf, 1000, 8, &plain);
    conf.tls_profile = (struct tls_profile *)&profile;
    forecast_of(&conf, 1000, 8, &tls);
    conf.reuse = true;
    forecast_of(&conf, 1000, 8, &reused);
    conf.period_ms = PROBE_KEEP_MS;
    forecast_of(&conf, 1000, 8, &seldom);
    conf = (struct target_conf){
        .scheme = &exec, .period_ms = 10000, .timeout_ms = 3000, .confirm_ms = 500};
    forecast_of(&conf, 1000, 8, &command);

    EXPECT_INT(none.workers, 16);
    EXPECT_INT(none.threads, 20);
    EXPECT_INT(none.at_once, 0);
    EXPECT_INT(none.rest_bytes, none.worst_bytes);
    EXPECT_INT(plain.at_once, 1000);
    EXPECT_INT(plain.steady_per_s + 0.5, 100);
    EXPECT_INT(plain.doubt_per_s + 0.5, 2000);
    EXPECT_INT(plain.steady_cores * 1e6 + 0.5, 100 * 22);
    EXPECT_INT(plain.doubt_cores * 1e6 + 0.5, 2000 * 22);
    EXPECT_INT(tls.steady_cores * 1e6 + 0.5, 100 * 660);
    /* 22 us, and the rest of the 660 at each sixtieth */
    EXPECT_INT(reused.steady_cores * 1e6 + 0.5, 100 * 22 + 100 * 638 / 60);
    EXPECT_INT(reused.doubt_cores * 1e6 + 0.5, 2000 * 660);
    EXPECT(tls.rest_bytes < reused.rest_bytes && reused.worst_bytes == tls.worst_bytes);
    EXPECT_INT(seldom.steady_cores * 1e9 + 0.5, 1000 * 660 * 1000 / 600);
    EXPECT_INT(command.steady_cores * 1e6 + 0.5, 100 * 1000);
    EXPECT_INT(plain.commands_running, 0);
    EXPECT_INT(command.commands_running + 0.5, 350); /* half a second until it is killed */
    EXPECT(none.rest_bytes < plain.rest_bytes && plain.rest_bytes < tls.rest_bytes);
    EXPECT(plain.rest_bytes < plain.worst_bytes && tls.rest_bytes < tls.worst_bytes);
}

int main(void)
{
    seed = UINT64_C(88172645463325252);
    RUN(a_failure_is_never_seen_later_than_forecast);
    RUN(a_recovery_is_never_seen_later_than_forecast);
    RUN(the_prompt_times_are_reached);
    RUN(the_slow_times_are_reached);
    RUN(it_is_stale_just_when_forecast);
    RUN(the_gap_between_results_is_reached);
    RUN(times_of_the_defaults);
    RUN(sums);
    return testing_end();
}
