/* What a snapshot keeps, and how it reads at one moment and another. */
#include "../testing.h"
#include "report_fixture.h"

#include <healthsvc/perfdata.h>
#include <healthsvc/render.h>
#include <healthsvc/strbuf.h>

#include <stdatomic.h>

static struct reading read_at(const struct snapshot *s, int64_t later_ms)
{
    struct moment m = fixture_moment(later_ms);
    return snapshot_read(s, &m);
}

TEST(keeps_texts_and_configuration)
{
    fixture_reset();
    char reason[32] = "connection refused", own[32] = "no memory left";
    fixture_set(AIRPORTS, TARGET_DOWN, OUTCOME_CONNECT_REFUSED, reason);
    fixture_views[AIRPORTS].own_text = own;
    struct snapshot *s = NULL;
    EXPECT_INT(snapshot_new(&fixture_config, fixture_list, FIXTURE_COUNT, &s), 0);
    EXPECT_INT(atomic_load(&fixture_config.refs), 2);
    memset(reason, 'x', sizeof reason);
    memset(own, 'x', sizeof own);
    fixture_views[TRIPS].total_us = 9;

    EXPECT(snapshot_config(s) == &fixture_config);
    EXPECT_INT(snapshot_count(s), FIXTURE_COUNT);
    EXPECT_STR(snapshot_row(s, AIRPORTS)->reason, "connection refused");
    EXPECT_STR(snapshot_row(s, AIRPORTS)->own_text, "no memory left");
    EXPECT_STR(snapshot_row(s, TRIPS)->reason, "");
    EXPECT_INT(snapshot_row(s, TRIPS)->total_us, 1204);
    EXPECT(snapshot_row(s, DISK)->conf == &fixture_confs[DISK]);

    EXPECT(snapshot_ref(s) == s);
    EXPECT(snapshot_unref(s) == NULL);
    EXPECT_INT(atomic_load(&fixture_config.refs), 2);
    EXPECT(snapshot_unref(s) == NULL);
    EXPECT_INT(atomic_load(&fixture_config.refs), 1);
    EXPECT(snapshot_unref(NULL) == NULL);
}

/* Shared, not copied: what a plugin measured lives as long as the last snapshot that shows it. */
TEST(keeps_what_plugins_measured)
{
    fixture_reset();
    struct perfdata *p = perfdata_parse("|a=1", 4, false);
    if (!EXPECT(p != NULL))
        return;
    fixture_views[DISK].perfdata = p;
    struct snapshot *first = fixture_snapshot(FIXTURE_COUNT);
    struct snapshot *second = fixture_snapshot(FIXTURE_COUNT);
    EXPECT_INT(atomic_load(&p->refs), 3);
    EXPECT(snapshot_row(first, DISK)->perfdata == p);
    EXPECT(snapshot_row(first, TRIPS)->perfdata == NULL);
    snapshot_unref(first);
    EXPECT_INT(atomic_load(&p->refs), 2);
    perfdata_unref(p); /* the target has seen another result, or is gone */
    EXPECT_STR(snapshot_row(second, DISK)->perfdata->values[0].label, "a");
    EXPECT_INT(atomic_load(&p->refs), 1);
    snapshot_unref(second); /* a leak would be reported at exit */
    fixture_reset();
}

TEST(cuts_long_texts)
{
    fixture_reset();
    char reason[3 * OUTCOME_TEXT_BYTES];
    memset(reason, 'x', sizeof reason);
    reason[sizeof reason - 1] = '\0';
    fixture_set(TRIPS, TARGET_DOWN, OUTCOME_BAD_REPLY, reason);
    fixture_set(DISK, TARGET_DOWN, OUTCOME_BAD_REPLY, "behind it");
    struct snapshot *s = fixture_snapshot(FIXTURE_COUNT);
    EXPECT_INT(strlen(snapshot_row(s, TRIPS)->reason), OUTCOME_TEXT_BYTES - 1);
    EXPECT_STR(snapshot_row(s, DISK)->reason, "behind it");
    snapshot_unref(s);
}

TEST(finds_by_whole_name)
{
    fixture_reset();
    struct snapshot *s = fixture_snapshot(FIXTURE_COUNT);
    EXPECT(snapshot_find(s, "trips", 5) == snapshot_row(s, TRIPS));
    EXPECT(snapshot_find(s, "disk?x", 4) == snapshot_row(s, DISK));
    EXPECT(snapshot_find(s, "trip", 4) == NULL);
    EXPECT(snapshot_find(s, "trips2", 6) == NULL);
    EXPECT(snapshot_find(s, "Trips", 5) == NULL);
    EXPECT(snapshot_find(s, "trips\0x", 7) == NULL);
    EXPECT(snapshot_find(s, "", 0) == NULL);
    snapshot_unref(s);
}

static enum verdict verdict_with(enum fixture_row row, enum target_state state)
{
    fixture_reset();
    fixture_set(row, state, OUTCOME_TIMEOUT, "timeout");
    struct snapshot *s = fixture_snapshot(FIXTURE_COUNT);
    struct reading r = read_at(s, 0);
    EXPECT(r.as_published);
    EXPECT_STR(r.own_reason, "");
    snapshot_unref(s);
    return r.verdict;
}

TEST(verdict_is_the_worst_share)
{
    EXPECT_INT(verdict_with(TRIPS, TARGET_UP), VERDICT_PASS);
    EXPECT_INT(verdict_with(TRIPS, TARGET_DEGRADED), VERDICT_WARN);
    EXPECT_INT(verdict_with(TRIPS, TARGET_DOWN), VERDICT_FAIL);
    EXPECT_INT(verdict_with(AIRPORTS, TARGET_UNKNOWN), VERDICT_FAIL);
    EXPECT_INT(verdict_with(BROKER, TARGET_DOWN), VERDICT_WARN);
    EXPECT_INT(verdict_with(DISK, TARGET_DOWN), VERDICT_PASS);
}

TEST(nothing_asked_passes)
{
    struct snapshot *s = fixture_snapshot(0);
    struct reading r = read_at(s, INT64_C(1) << 40);
    EXPECT_INT(r.verdict, VERDICT_PASS);
    EXPECT(r.as_published && r.alive);
    snapshot_unref(s);
}

/* The published verdict must hold exactly as long as no row reads as stale. */
TEST(holds_until_the_first_is_stale)
{
    fixture_reset();
    fixture_views[BROKER].checked_mono_ms -= 5000;
    fixture_views[AIRPORTS].checked_mono_ms -= 3000;
    struct snapshot *s = fixture_snapshot(FIXTURE_COUNT);
    int64_t broker_ms = FIXTURE_MAX_AGE_MS - 6500, airports_ms = FIXTURE_MAX_AGE_MS - 4500;

    struct reading r = read_at(s, broker_ms);
    EXPECT(r.as_published);
    EXPECT_INT(r.verdict, VERDICT_PASS);
    EXPECT_INT(target_state_at(snapshot_row(s, BROKER), FIXTURE_NOW_MONO_MS + broker_ms),
               TARGET_UP);

    r = read_at(s, broker_ms + 1);
    EXPECT(!r.as_published);
    EXPECT_INT(r.verdict, VERDICT_WARN);
    EXPECT_STR(r.own_reason, "");
    EXPECT(r.alive);

    EXPECT_INT(read_at(s, airports_ms).verdict, VERDICT_WARN);
    EXPECT_INT(read_at(s, airports_ms + 1).verdict, VERDICT_FAIL);
    snapshot_unref(s);
}

TEST(unknown_never_goes_stale)
{
    fixture_reset();
    for (int i = 0; i < FIXTURE_COUNT; i++)
        fixture_set_unknown((enum fixture_row)i);
    struct snapshot *s = fixture_snapshot(FIXTURE_COUNT);
    struct reading r = read_at(s, 100 * FIXTURE_MAX_AGE_MS);
    EXPECT(r.as_published);
    EXPECT_INT(r.verdict, VERDICT_FAIL);
    snapshot_unref(s);
}

TEST(pending_does_not_count)
{
    fixture_reset();
    fixture_set_unknown(TRIPS);
    fixture_views[TRIPS].pending = true;
    struct snapshot *s = fixture_snapshot(FIXTURE_COUNT);
    EXPECT_INT(read_at(s, 0).verdict, VERDICT_PASS);
    snapshot_unref(s);
}

TEST(stalled_checker_fails)
{
    fixture_reset();
    struct snapshot *s = fixture_snapshot(FIXTURE_COUNT);
    struct moment m = fixture_moment(0);
    m.beat_mono_ms = m.now_mono_ms - HEARTBEAT_LIMIT_MS;
    struct reading r = snapshot_read(s, &m);
    EXPECT(r.alive && r.as_published);

    m.beat_mono_ms--;
    r = snapshot_read(s, &m);
    EXPECT(!r.alive && !r.as_published);
    EXPECT_INT(r.verdict, VERDICT_FAIL);
    EXPECT_STR(r.own_reason, "stale: no check has completed for 5 s");

    m.beat_mono_ms = m.now_mono_ms - 12345;
    EXPECT_STR(snapshot_read(s, &m).own_reason, "stale: no check has completed for 12 s");
    m.beat_mono_ms = INT64_MIN / 2;
    EXPECT(!snapshot_read(s, &m).alive);
    m.beat_mono_ms = m.now_mono_ms + 3; /* seen just after the reader looked at the clock */
    EXPECT(snapshot_read(s, &m).alive);
    snapshot_unref(s);
}

TEST(shutting_down_fails)
{
    fixture_reset();
    struct snapshot *s = fixture_snapshot(FIXTURE_COUNT);
    struct moment m = fixture_moment(0);
    m.stopping = true;
    struct reading r = snapshot_read(s, &m);
    EXPECT(r.alive && !r.as_published);
    EXPECT_INT(r.verdict, VERDICT_FAIL);
    EXPECT_STR(r.own_reason, "shutting down");

    m.beat_mono_ms = m.now_mono_ms - 60000;
    r = snapshot_read(s, &m);
    EXPECT(!r.alive);
    EXPECT_STR(r.own_reason, "shutting down");
    snapshot_unref(s);
}

#define MANY 10000

TEST(holds_many_rows)
{
    static struct target_conf confs[MANY];
    static struct target_view views[MANY];
    static const struct target_view *list[MANY];
    static char names[MANY][16];
    fixture_reset();
    for (int i = 0; i < MANY; i++) {
        snprintf(names[i], sizeof names[i], "dep-%d", i);
        confs[i] = fixture_confs[TRIPS];
        confs[i].name = names[i];
        views[i] = fixture_views[TRIPS];
        views[i].conf = &confs[i];
        list[i] = &views[i];
    }
    views[MANY - 1].state = TARGET_DOWN;
    views[MANY - 1].reason = "connection refused";
    struct snapshot *s = NULL;
    EXPECT_INT(snapshot_new(&fixture_config, list, MANY, &s), 0);
    EXPECT(snapshot_find(s, "dep-9998", 8) == snapshot_row(s, 9998));

    struct moment m = fixture_moment(0);
    struct reading r = snapshot_read(s, &m);
    EXPECT_INT(r.verdict, VERDICT_FAIL);
    struct strbuf out;
    strbuf_init(&out, 1 << 20);
    render_health(s, &m, &r, RENDER_TEXT, &out);
    EXPECT_INT(strbuf_error(&out), 0);
    EXPECT(strncmp(out.data, "gateway status: Error\nDependencies:\ndep-0 status: OK\n", 53) == 0);
    EXPECT_HAS(out.data, "\ndep-9998 status: OK\ndep-9999 status: Error. connection refused\n");
    strbuf_done(&out);
    snapshot_unref(s);
}

int main(void)
{
    RUN(keeps_texts_and_configuration);
    RUN(keeps_what_plugins_measured);
    RUN(cuts_long_texts);
    RUN(finds_by_whole_name);
    RUN(verdict_is_the_worst_share);
    RUN(nothing_asked_passes);
    RUN(holds_until_the_first_is_stale);
    RUN(unknown_never_goes_stale);
    RUN(pending_does_not_count);
    RUN(stalled_checker_fails);
    RUN(shutting_down_fails);
    RUN(holds_many_rows);
    return testing_end();
}
