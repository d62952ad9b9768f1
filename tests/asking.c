/* A loop and an engine for each round, so that what a round leaves can be counted when it is over:
 * a descriptor by /proc, memory by the sanitizer's leak check at exit. */
#include "asking.h"

#include <healthsvc/attr.h>

#include <dirent.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#define LATE_MS 5000 /* how long after its deadline a check counts as hung */
#define CALM_MS 30
#define WATCH_MS 100

static unsigned faults; /* of the present ask() */

static void fault(const char *fmt, ...) PRINTF_LIKE(1, 2);

static void fault(const char *fmt, ...)
{
    va_list args;
    va_start(args, fmt);
    printf("# ");
    vprintf(fmt, args);
    printf("\n");
    va_end(args);
    faults++;
}

int64_t ask_scale(void)
{
    const char *text = getenv("HEALTHSVC_TEST_SCALE");
    long scale = text != NULL ? strtol(text, NULL, 10) : 1;
    return scale >= 1 ? scale : 1;
}

int ask_descriptors(void)
{
    DIR *dir = opendir("/proc/self/fd");
    int count = 0;
    if (dir == NULL)
        return -1;
    while (readdir(dir) != NULL)
        count++;
    closedir(dir);
    return count - 3; /* ".", ".." and the directory's own */
}

static void print_fault(void *arg, const char *text)
{
    (void)arg;
    fault("%s", text);
}

struct config *ask_config(const char *text)
{
    char path[] = "/tmp/healthsvc-test-XXXXXX";
    int fd = mkstemp(path);
    FILE *file = fd >= 0 ? fdopen(fd, "w") : NULL;
    struct config *config = NULL;
    if (file == NULL)
        return NULL;
    fputs(text, file);
    fclose(file);
    int r = config_load(path, print_fault, NULL, &config);
    unlink(path);
    return r == 0 ? config : NULL;
}

static void on_calm(struct loop_timer *t)
{
    checker_role_assert();
    struct asking *round = (struct asking *)((char *)t - offsetof(struct asking, calm));
    loop_timer_clear(round->loop, &round->watch);
    loop_timer_clear(round->loop, &round->timer);
    loop_stop(round->loop);
}

static void ended(struct asking *round)
{
    checker_role_assert();
    if (round->running == 0 && !round->timer.node.queued)
        loop_timer_set(round->loop, &round->calm, loop_now_ms(round->loop) + CALM_MS);
}

static void on_done(struct probe *p, const struct probe_result *result, void *arg)
{
    struct asked *asked = arg;
    if (++asked->ends != 1 || asked->probe != p)
        fault("%s: ended %u times", asked->conf->name, asked->ends);
    asked->result = *result;
    asked->result.perfdata = NULL; /* ours only during this call */
    asked->probe = NULL;
    asked->round->running--;
    if (asked->round->options->ended != NULL)
        asked->round->options->ended(asked->round, asked);
    ended(asked->round);
}

static void on_watch(struct loop_timer *t)
{
    checker_role_assert();
    struct asking *round = (struct asking *)((char *)t - offsetof(struct asking, watch));
    for (size_t i = 0; i < round->count; i++) {
        struct asked *asked = &round->asked[i];
        if (asked->probe != NULL && loop_now_ms(round->loop) > asked->hung_mono_ms) {
            fault("%s still runs long after its deadline", asked->conf->name);
            probe_cancel(asked->probe);
        }
    }
    loop_timer_set(round->loop, t, loop_now_ms(round->loop) + WATCH_MS);
}

void ask_start(struct asking *round, struct asked *asked)
{
    checker_role_assert();
    asked->round = round;
    round->running++;
    loop_timer_clear(round->loop, &round->calm);
    asked->start_error =
        probe_start(round->engine, asked->conf, asked->kept, on_done, asked, &asked->probe);
    if (asked->ends != 0)
        fault("%s: ended from inside probe_start()", asked->conf->name);
    if (asked->start_error != 0) {
        asked->probe = NULL;
        round->running--;
        return;
    }
    asked->hung_mono_ms =
        loop_now_ms(round->loop) + asked->conf->timeout_ms + LATE_MS * ask_scale();
}

static void begin(void *arg)
{
    checker_role_assert();
    struct asking *round = arg;
    if (round->options->before != NULL)
        round->options->before(round);
    for (size_t i = 0; i < round->count; i++) {
        if (round->asked[i].conf != NULL)
            ask_start(round, &round->asked[i]);
    }
    loop_timer_set(round->loop, &round->watch, loop_now_ms(round->loop) + WATCH_MS);
    if (round->options->after != NULL)
        round->options->after(round);
    ended(round);
}

unsigned ask(struct asked *asked, size_t count, const struct ask_options *options)
{
    static const struct ask_options none;
    struct asking round = {
        .asked = asked,
        .count = count,
        .options = options != NULL ? options : &none,
        .watch.fire = on_watch,
        .calm.fire = on_calm,
    };
    int before = ask_descriptors();
    faults = 0;
    int r = loop_new(&round.loop);
    if (r == 0)
        r = engine_new(round.loop, round.options->nameservers, &round.engine);
    struct loop_letter letter = {.fn = begin, .arg = &round};
    if (r == 0) {
        loop_post(round.loop, &letter);
        if (round.options->limit > 0)
            engine_set_limit(round.engine, round.options->limit);
        loop_run(round.loop);
    } else {
        fault("the round could not begin: %d", r);
    }
    for (size_t i = 0; i < count; i++) {
        if (asked[i].kept != NULL)
            probe_drop_kept(asked[i].kept);
    }
    engine_free(round.engine);
    loop_free(round.loop);
    int after = ask_descriptors();
    if (after != before)
        fault("%d descriptors before, %d after", before, after);
    for (size_t i = 0; i < count; i++) {
        unsigned expected = asked[i].conf != NULL && asked[i].start_error == 0;
        if (r == 0 && asked[i].ends != expected)
            fault("check %zu ended %u times", i, asked[i].ends);
    }
    return faults;
}

/* ---- checks that are given up ---- */

static unsigned turns_left, cancelled;

static void on_turn(struct loop_timer *t)
{
    checker_role_assert();
    struct asking *round = (struct asking *)((char *)t - offsetof(struct asking, timer));
    if (turns_left-- > 0) {
        loop_timer_set(round->loop, t, loop_now_ms(round->loop));
        return;
    }
    for (size_t i = 0; i < round->count; i++) {
        struct asked *asked = &round->asked[i];
        if (asked->probe == NULL)
            continue;
        probe_cancel(asked->probe);
        cancelled++;
        if (asked->ends != 1 || asked->result.outcome != OUTCOME_OWN_CANCELLED)
            fault("%s: given up, and ended %u times, at last %s", asked->conf->name, asked->ends,
                  outcome_token(asked->result.outcome));
    }
    ended(round); /* all may have ended before */
}

static void count_turns(struct asking *round)
{
    checker_role_assert();
    round->timer.fire = on_turn;
    loop_timer_set(round->loop, &round->timer, loop_now_ms(round->loop));
}

unsigned ask_cancelling(struct asked *asked, size_t count, unsigned most_turns)
{
    static const struct ask_options options = {.after = count_turns};
    unsigned all_faults = 0;
    size_t rounds = 0;
    cancelled = 0;
    for (unsigned turns = 0; turns < most_turns; turns += 1 + turns / 4) {
        for (size_t i = 0; i < count; i++)
            asked[i] = (struct asked){.conf = asked[i].conf};
        turns_left = turns;
        all_faults += ask(asked, count, &options);
        rounds++;
    }
    faults = 0;
    if (cancelled == 0 || cancelled == rounds * count)
        fault("%u of %zu checks were given up", cancelled, rounds * count);
    return all_faults + faults;
}
