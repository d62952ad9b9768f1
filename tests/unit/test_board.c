/* The board alone, then with readers and a publisher at once (the case for the thread sanitizer). */
#include "../testing.h"
#include "report_fixture.h"

#include <healthsvc/board.h>
#include <healthsvc/clock.h>
#include <healthsvc/render.h>
#include <healthsvc/strbuf.h>

#include <pthread.h>
#include <sched.h>
#include <stdatomic.h>

#define READERS 4
#define ROUNDS 3000

/* A snapshot in which every time and every text tell the same number. */
static struct snapshot *numbered(uint64_t number)
{
    char text[32];
    snprintf(text, sizeof text, "round %" PRIu64, number);
    for (int i = 0; i < FIXTURE_COUNT; i++) {
        fixture_set((enum fixture_row)i, TARGET_DOWN, OUTCOME_TIMEOUT, text);
        fixture_views[i].total_us = (int64_t)number;
    }
    struct snapshot *s = NULL;
    if (snapshot_new(&fixture_config, fixture_list, FIXTURE_COUNT, &s) != 0)
        abort();
    return s;
}

static int64_t number_of(const struct snapshot *s)
{
    return snapshot_row(s, 0)->total_us;
}

static bool consistent(const struct snapshot *s)
{
    char text[32];
    snprintf(text, sizeof text, "round %" PRId64, number_of(s));
    for (size_t i = 0; i < snapshot_count(s); i++) {
        const struct target_view *v = snapshot_row(s, i);
        if (strcmp(v->reason, text) != 0 || v->total_us != number_of(s))
            return false;
    }
    return true;
}

TEST(empty_until_published)
{
    EXPECT_INT(board_open(), 0);
    EXPECT(board_acquire() == NULL);
    board_publish(numbered(1));
    struct snapshot *first = board_acquire();
    EXPECT(first != NULL && number_of(first) == 1);
    board_publish(numbered(2));
    struct snapshot *second = board_acquire();
    EXPECT(second != NULL && number_of(second) == 2);
    /* The reader's reference outlives the publication. */
    EXPECT(consistent(first));
    EXPECT_INT(atomic_load(&fixture_config.refs), 3);
    snapshot_unref(first);
    EXPECT_INT(atomic_load(&fixture_config.refs), 2);
    snapshot_unref(second);
    EXPECT_INT(atomic_load(&fixture_config.refs), 2);
    board_close();
    EXPECT_INT(atomic_load(&fixture_config.refs), 1);
}

TEST(moment_tells_clocks_beat_and_stopping)
{
    int64_t before_mono = clock_mono_ms(), before_wall = clock_wall_ms();
    EXPECT_INT(board_open(), 0);
    struct moment m;
    board_moment(&m);
    EXPECT(m.now_mono_ms >= before_mono && m.now_mono_ms <= clock_mono_ms());
    EXPECT(m.now_wall_ms >= before_wall);
    /* A checker that has not beaten yet is given its time. */
    EXPECT(m.beat_mono_ms >= before_mono && m.beat_mono_ms <= m.now_mono_ms);
    EXPECT(!m.stopping);

    board_beat(before_mono - 12000);
    board_set_stopping();
    board_moment(&m);
    EXPECT_INT(m.beat_mono_ms, before_mono - 12000);
    EXPECT(m.stopping);
    board_close();

    EXPECT_INT(board_open(), 0);
    board_moment(&m);
    EXPECT(!m.stopping);
    board_close();
}

static atomic_bool finished;
static atomic_int readers_ready;

struct reader {
    pthread_t thread;
    uint64_t seen, torn, backwards;
};

static void *read_until_finished(void *arg)
{
    struct reader *me = arg;
    struct strbuf out;
    strbuf_init(&out, 65536);
    int64_t last = 0;
    bool last_turn = false;
    while (!last_turn) {
        last_turn = atomic_load(&finished); /* then one more, which sees the last of all */
        struct snapshot *s = board_acquire();
        if (s == NULL)
            continue;
        struct moment m;
        board_moment(&m);
        struct reading r = snapshot_read(s, &m);
        strbuf_clear(&out);
        render_health(s, &m, &r, RENDER_JSON, &out);
        me->torn += !consistent(s) || strbuf_error(&out) != 0;
        me->backwards += number_of(s) < last;
        last = number_of(s);
        if (me->seen++ == 0)
            atomic_fetch_add(&readers_ready, 1);
        snapshot_unref(s);
    }
    me->backwards += last != ROUNDS;
    strbuf_done(&out);
    return NULL;
}

TEST(readers_see_whole_snapshots_in_order)
{
    struct reader readers[READERS] = {{.seen = 0}};
    EXPECT_INT(board_open(), 0);
    board_publish(numbered(1));
    for (size_t i = 0; i < READERS; i++) {
        if (pthread_create(&readers[i].thread, NULL, read_until_finished, &readers[i]) != 0)
            abort();
    }
    /* The rest is published under their eyes. */
    while (atomic_load(&readers_ready) < READERS)
        sched_yield();
    for (uint64_t number = 2; number <= ROUNDS; number++) {
        board_beat(clock_mono_ms());
        board_publish(numbered(number));
    }
    atomic_store(&finished, true);
    for (size_t i = 0; i < READERS; i++) {
        pthread_join(readers[i].thread, NULL);
        EXPECT(readers[i].seen > 1);
        EXPECT_INT(readers[i].torn, 0);
        EXPECT_INT(readers[i].backwards, 0);
    }
    board_close();
    EXPECT_INT(atomic_load(&fixture_config.refs), 1);
}

int main(void)
{
    fixture_reset(); /* once: the configuration never changes under the readers */
    RUN(empty_until_published);
    RUN(moment_tells_clocks_beat_and_stopping);
    RUN(readers_see_whole_snapshots_in_order);
    return testing_end();
}
