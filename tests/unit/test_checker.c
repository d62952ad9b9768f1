/*
 * The checker with a stand-in for the probe engine: each dependency plays a script of results, so
 * that what the checker makes of them is all there is to see.
 *
 * The stand-ins below replace the archive's engine and configuration objects in this program.
 */
#include "../testing.h"

#include <healthsvc/checker.h>
#include <healthsvc/clock.h>
#include <healthsvc/config.h>
#include <healthsvc/loop.h>
#include <healthsvc/probe.h>
#include <healthsvc/strbuf.h>

#include <errno.h>
#include <pthread.h>
#include <stdlib.h>
#include <time.h>

/* ---- stand-in for config ---- */

struct config *config_ref(struct config *config)
{
    atomic_fetch_add(&config->refs, 1);
    return config;
}

struct config *config_unref(struct config *config)
{
    if (config != NULL)
        atomic_fetch_sub(&config->refs, 1);
    return NULL;
}

enum config_change config_compare_targets(const struct target_conf *a, const struct target_conf *b,
                                          struct strbuf *names)
{
    if (strcmp(a->url, b->url) != 0) {
        strbuf_adds(names, "url");
        return CONFIG_CHANGE_ASKED;
    }
    if (a->period_ms != b->period_ms || a->fall != b->fall) {
        strbuf_adds(names, a->fall != b->fall ? "fall" : "period");
        return CONFIG_CHANGE_JUDGED;
    }
    return CONFIG_CHANGE_NONE;
}

const struct target_conf *config_find_target(const struct config *config, const char *name)
{
    for (size_t i = 0; i < config->target_count; i++) {
        if (strcmp(config->targets[i]->name, name) == 0)
            return config->targets[i];
    }
    return NULL;
}

/* ---- stand-in for the engine ---- */

struct engine {
    struct loop *loop;
    size_t probes;
};

struct probe {
    struct loop_timer timer;
    struct loop_garbage garbage;
    struct engine *engine;
    char result;
    probe_done_fn done;
    void *arg;
};

static size_t probes_left; /* when the engine ended */
static char nameservers[64];
static size_t in_flight_limit;

int engine_new(struct loop *loop, const char *servers, struct engine **ret_engine)
{
    (void)servers;
    struct engine *e = calloc(1, sizeof *e);
    if (e == NULL)
        return -ENOMEM;
    e->loop = loop;
    *ret_engine = e;
    return 0;
}

struct engine *engine_free(struct engine *e)
{
    if (e != NULL)
        probes_left = e->probes;
    free(e);
    return NULL;
}

int engine_set_nameservers(struct engine *e, const char *servers)
{
    (void)e;
    (void)snprintf(nameservers, sizeof nameservers, "%s", servers);
    return 0;
}

void engine_set_limit(struct engine *e, size_t max_in_flight)
{
    (void)e;
    in_flight_limit = max_in_flight;
}

static void probe_end(struct probe *p, enum outcome outcome)
{
    checker_role_assert();
    struct probe_result result = {.outcome = outcome, .total_us = 1000};
    (void)snprintf(result.text, sizeof result.text, "%s",
                   outcome == OUTCOME_OK ? "" : outcome_sentence(outcome));
    loop_timer_clear(p->engine->loop, &p->timer);
    p->engine->probes--;
    p->done(p, &result, p->arg);
    loop_free_later(p->engine->loop, &p->garbage, p);
}

static void on_probe_timer(struct loop_timer *t)
{
    struct probe *p = (struct probe *)t;
    switch (p->result) {
    case 'g':
        probe_end(p, OUTCOME_OK);
        break;
    case 'w':
        probe_end(p, OUTCOME_TLS_EXPIRES_SOON);
        break;
    case 'b':
        probe_end(p, OUTCOME_CONNECT_REFUSED);
        break;
    case 'n':
        probe_end(p, OUTCOME_OWN_NO_ROUTE);
        break;
    default: /* hangs */
        break;
    }
}

/* conf->path is the script; its last letter is played for ever. 'e': refused to start; 'S': blocks
 * the loop for 450 ms, then good. */
int probe_start(struct engine *e, const struct target_conf *conf, struct kept **kept,
                probe_done_fn done, void *arg, struct probe **ret_probe)
{
    (void)kept;
    checker_role_assert();
    char letter = conf->path[0];
    if (conf->path[1] != '\0')
        memmove(conf->path, conf->path + 1, strlen(conf->path));
    if (letter == 'e')
        return -EMFILE;
    if (letter == 'S') {
        struct timespec pause = {.tv_nsec = 450000000};
        nanosleep(&pause, NULL);
        letter = 'g';
    }
    struct probe *p = calloc(1, sizeof *p);
    if (p == NULL)
        return -ENOMEM;
    p->engine = e;
    p->done = done;
    p->arg = arg;
    p->result = letter;
    p->timer.fire = on_probe_timer;
    loop_timer_set(e->loop, &p->timer, loop_now_ms(e->loop) + 1);
    e->probes++;
    *ret_probe = p;
    return 0;
}

void probe_cancel(struct probe *p)
{
    probe_end(p, OUTCOME_OWN_CANCELLED);
}

void probe_drop_kept(struct kept **kept)
{
    EXPECT(*kept == NULL);
}

/* ---- what the checker says ---- */

#define ROWS 8

struct seen {
    size_t count;
    char names[ROWS][16];
    enum target_state states[ROWS];
    bool pending[ROWS];
    char reasons[ROWS][64];
    char own[ROWS][64];
    uint64_t checks[ROWS], skipped[ROWS];
    unsigned publications;
    bool round;
    char summary[128];
    char history[64]; /* a letter a state change of row 0 */
};

static struct seen seen;
static pthread_mutex_t lock = PTHREAD_MUTEX_INITIALIZER;
static pthread_cond_t news = PTHREAD_COND_INITIALIZER;

static atomic_uint passed_publications, refused_publications; /* the next ones, in this order */

static int on_publish(void *arg, struct config *config, const struct target_view *const *views,
                      size_t count)
{
    (void)arg;
    if (atomic_load(&passed_publications) > 0) {
        atomic_fetch_sub(&passed_publications, 1);
    } else if (atomic_load(&refused_publications) > 0) {
        atomic_fetch_sub(&refused_publications, 1);
        return -ENOMEM;
    }
    pthread_mutex_lock(&lock);
    EXPECT_INT(count, config->target_count);
    seen.count = count;
    seen.publications++;
    for (size_t i = 0; i < count && i < ROWS; i++) {
        const struct target_view *v = views[i];
        EXPECT(v->conf == config->targets[i]);
        (void)snprintf(seen.names[i], sizeof seen.names[i], "%s", v->conf->name);
        (void)snprintf(seen.reasons[i], sizeof seen.reasons[i], "%s", v->reason);
        (void)snprintf(seen.own[i], sizeof seen.own[i], "%s", v->own_text);
        size_t len = strlen(seen.history);
        if (i == 0 && len < sizeof seen.history - 1 && (len == 0 || seen.states[0] != v->state))
            seen.history[len] = "?UWD"[v->state];
        seen.states[i] = v->state;
        seen.pending[i] = v->pending;
        seen.skipped[i] = v->skipped;
        seen.checks[i] = 0;
        for (int c = 0; c < OUTCOME_CLASS_COUNT; c++)
            seen.checks[i] += v->checks[c];
    }
    pthread_cond_broadcast(&news);
    pthread_mutex_unlock(&lock);
    return 0;
}

static void on_round(void *arg)
{
    (void)arg;
    pthread_mutex_lock(&lock);
    seen.round = true;
    pthread_cond_broadcast(&news);
    pthread_mutex_unlock(&lock);
}

static void on_reloaded(void *arg, const char *summary)
{
    (void)arg;
    pthread_mutex_lock(&lock);
    (void)snprintf(seen.summary, sizeof seen.summary, "%s", summary);
    pthread_cond_broadcast(&news);
    pthread_mutex_unlock(&lock);
}

static const struct checker_hooks hooks = {
    .publish = on_publish,
    .reloaded = on_reloaded,
    .first_round = on_round,
};

/* Waits, with a bound, until what was seen satisfies the question. */
static bool wait_until(bool (*question)(void), const char *what)
{
    struct timespec limit;
    clock_gettime(CLOCK_REALTIME, &limit);
    limit.tv_sec += 30;
    int r = 0;
    pthread_mutex_lock(&lock);
    while (!question() && r == 0)
        r = pthread_cond_timedwait(&news, &lock, &limit);
    bool held = question();
    pthread_mutex_unlock(&lock);
    return held ? true : testing_fault(__FILE__, __LINE__, what);
}
#define WAIT_UNTIL(question) wait_until(question, "never came: " #question)

/* ---- configurations ---- */

struct setup {
    struct config config;
    struct target_conf targets[ROWS];
    struct target_conf *list[ROWS];
    char scripts[ROWS][32];
    char names[ROWS][16];
};

static void add(struct setup *s, const char *name, const char *script)
{
    size_t i = s->config.target_count++;
    (void)snprintf(s->names[i], sizeof s->names[i], "%s", name);
    (void)snprintf(s->scripts[i], sizeof s->scripts[i], "%s", script);
    static char url[] = "http://x/";
    s->targets[i] = (struct target_conf){
        .position = (unsigned)i,
        .owner = &s->config,
        .name = s->names[i],
        .url = url,
        .path = s->scripts[i],
        .period_ms = 100,
        .timeout_ms = 80,
        .confirm_ms = 10,
        .max_age_ms = 60000,
        .fall = 3,
        .rise = 2,
    };
    s->list[i] = &s->targets[i];
    s->config.targets = s->list;
}

static struct checker *start(struct setup *s)
{
    struct checker *checker = NULL;
    memset(&seen, 0, sizeof seen);
    EXPECT_INT(checker_start(&s->config, 100, &hooks, &checker), 0);
    return checker;
}

static bool round_done(void)
{
    return seen.round;
}

/* ---- the cases ---- */

TEST(first_publication_is_unknown_and_then_each_is_asked)
{
    struct setup s = {0};
    add(&s, "good", "g");
    add(&s, "bad", "b");
    add(&s, "own", "n");
    add(&s, "hung", "g");
    struct checker *checker = start(&s);
    pthread_mutex_lock(&lock);
    EXPECT_INT(seen.history[0], '?');
    pthread_mutex_unlock(&lock);
    WAIT_UNTIL(round_done);
    EXPECT_INT(seen.states[0], TARGET_UP);
    EXPECT_INT(seen.states[1], TARGET_DOWN);
    EXPECT_STR(seen.reasons[1], "connection refused");
    EXPECT_INT(seen.states[2], TARGET_UNKNOWN);
    EXPECT_STR(seen.own[2], "network unreachable from here");
    checker_stop(checker);
    EXPECT_INT(s.config.refs, 0);
}

/* The next check comes in an hour, so nothing else would publish it. */
TEST(what_could_not_be_published_is_published_soon)
{
    struct setup s = {0};
    add(&s, "a", "g");
    s.targets[0].period_ms = 3600000;
    s.targets[0].max_age_ms = 3 * 3600000;
    struct checker *checker = NULL;
    memset(&seen, 0, sizeof seen);
    atomic_store(&refused_publications, 1);
    EXPECT_INT(checker_start(&s.config, 100, &hooks, &checker), -ENOMEM);
    atomic_store(&refused_publications, 3);
    atomic_store(&passed_publications, 1); /* that nothing is known yet */
    checker = start(&s);
    WAIT_UNTIL(round_done);
    EXPECT_INT(atomic_load(&refused_publications), 0);
    EXPECT_INT(seen.states[0], TARGET_UP);
    checker_stop(checker);
    EXPECT_INT(s.config.refs, 0);
}

static bool went_down_and_up(void)
{
    return strcmp(seen.history, "?UDU") == 0;
}

TEST(falls_and_rises_by_its_limits)
{
    struct setup s = {0};
    add(&s, "a", "gbgbbgbbbgbgg"); /* only three bad in a row count, and two good */
    struct checker *checker = start(&s);
    WAIT_UNTIL(went_down_and_up);
    pthread_mutex_lock(&lock);
    EXPECT_INT(seen.checks[0] >= 13, 1);
    EXPECT_STR(seen.reasons[0], "");
    pthread_mutex_unlock(&lock);
    checker_stop(checker);
}

static bool asked_again_after_faults(void)
{
    return seen.states[0] == TARGET_UP && seen.own[0][0] == '\0';
}

TEST(own_faults_leave_the_state_and_are_retried)
{
    struct setup s = {0};
    add(&s, "a", "eneg");
    struct checker *checker = start(&s);
    WAIT_UNTIL(asked_again_after_faults);
    EXPECT_STR(seen.history, "?U");
    checker_stop(checker);
}

static bool skipped_some(void)
{
    return seen.skipped[0] >= 3 && seen.checks[0] >= 3;
}

TEST(slots_missed_by_a_blocked_loop_are_skipped_and_counted)
{
    struct setup s = {0};
    add(&s, "a", "ggSg");
    struct checker *checker = start(&s);
    WAIT_UNTIL(skipped_some);
    checker_stop(checker);
}

static bool reloaded(void)
{
    return seen.summary[0] != '\0';
}

static bool three_up(void)
{
    return seen.states[0] == TARGET_UP && seen.states[1] == TARGET_UP &&
           seen.states[2] == TARGET_UP;
}

static bool row_1_known(void)
{
    return seen.states[1] == TARGET_UP && !seen.pending[1];
}

TEST(reload_keeps_changes_adds_and_removes)
{
    static char other_url[] = "http://y/";
    struct setup s = {0}, next = {0};
    add(&s, "kept", "g");
    add(&s, "moved", "g");
    add(&s, "faster", "g");
    add(&s, "gone", "h");
    struct checker *checker = start(&s);
    add(&next, "new", "h");
    add(&next, "moved", "g");
    add(&next, "kept", "g");
    add(&next, "faster", "g");
    next.targets[1].url = other_url;
    next.targets[3].period_ms = 200;
    WAIT_UNTIL(three_up);
    pthread_mutex_lock(&lock);
    uint64_t kept_checks = seen.checks[0];
    EXPECT_INT(seen.states[3], TARGET_UNKNOWN);
    pthread_mutex_unlock(&lock);
    EXPECT_INT(checker_reload(checker, &next.config, 7), 0);
    WAIT_UNTIL(reloaded);
    EXPECT_STR(seen.summary, "1 kept, 2 changed (url, period), 1 added, 1 removed");
    pthread_mutex_lock(&lock);
    EXPECT_STR(seen.names[0], "new");
    EXPECT_STR(seen.names[2], "kept");
    EXPECT_INT(seen.states[2], TARGET_UP);
    EXPECT(seen.checks[2] >= kept_checks);
    EXPECT_INT(seen.states[3], TARGET_UP);
    EXPECT_INT(seen.states[0], TARGET_UNKNOWN);
    /* "gone" was never answered, so the verdict was fail: nothing may pass as pending. */
    EXPECT(!seen.pending[0]);
    pthread_mutex_unlock(&lock);
    WAIT_UNTIL(row_1_known);
    EXPECT_INT(s.config.refs, 0);
    checker_stop(checker);
    EXPECT_INT(next.config.refs, 0);
    EXPECT_INT(probes_left, 0);
}

static bool row_1_up(void)
{
    return seen.count == 2 && seen.states[1] == TARGET_UP;
}

TEST(what_a_reload_adds_is_pending_while_a_verdict_is_given)
{
    struct setup s = {0}, next = {0};
    add(&s, "a", "g");
    struct checker *checker = start(&s);
    WAIT_UNTIL(round_done);
    add(&next, "a", "g");
    add(&next, "b", "nnnnnnnng"); /* its first outcome comes late */
    next.config.nameservers = (char[]){"127.0.0.1:53"};
    EXPECT_INT(checker_reload(checker, &next.config, 7), 0);
    WAIT_UNTIL(reloaded);
    EXPECT_STR(nameservers, "127.0.0.1:53");
    EXPECT_INT(in_flight_limit, 7);
    EXPECT_STR(seen.summary, "1 kept, 0 changed, 1 added, 0 removed");
    WAIT_UNTIL(row_1_up);
    EXPECT(!seen.pending[1]);
    checker_stop(checker);
}

static bool row_0_down(void)
{
    return seen.states[0] == TARGET_DOWN;
}

static bool row_0_doubtful(void)
{
    return seen.checks[0] >= 3;
}

TEST(another_fall_decides_again_at_once)
{
    struct setup s = {0}, next = {0};
    add(&s, "a", "gbbn"); /* two bad, then nothing is known any more */
    struct checker *checker = start(&s);
    WAIT_UNTIL(row_0_doubtful);
    add(&next, "a", "n");
    next.targets[0].fall = 2;
    EXPECT_INT(checker_reload(checker, &next.config, 7), 0);
    WAIT_UNTIL(row_0_down);
    EXPECT_STR(seen.reasons[0], "connection refused");
    checker_stop(checker);
}

TEST(stop_gives_up_what_is_under_way)
{
    struct setup s = {0};
    add(&s, "a", "h");
    add(&s, "b", "h");
    struct checker *checker = start(&s);
    checker_stop(checker);
    EXPECT_INT(probes_left, 0);
    EXPECT_INT(s.config.refs, 0);
}

int main(void)
{
    RUN(first_publication_is_unknown_and_then_each_is_asked);
    RUN(what_could_not_be_published_is_published_soon);
    RUN(falls_and_rises_by_its_limits);
    RUN(own_faults_leave_the_state_and_are_retried);
    RUN(slots_missed_by_a_blocked_loop_are_skipped_and_counted);
    RUN(reload_keeps_changes_adds_and_removes);
    RUN(what_a_reload_adds_is_pending_while_a_verdict_is_given);
    RUN(another_fall_decides_again_at_once);
    RUN(stop_gives_up_what_is_under_way);
    return testing_end();
}
