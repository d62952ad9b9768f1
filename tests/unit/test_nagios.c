/* The monitoring plugin's line: its word in every state of a service and of one dependency, its
 * perfdata, and its bounds. */
#include "../testing.h"
#include "report_fixture.h"

#include <healthsvc/render.h>
#include <healthsvc/strbuf.h>

#define TIME "=0.001204s;;;0"

static struct strbuf body; /* what was rendered last */

static const char *health(size_t count, const struct moment *m)
{
    struct snapshot *s = fixture_snapshot(count);
    struct reading r = snapshot_read(s, m);
    strbuf_clear(&body);
    render_health(s, m, &r, RENDER_NAGIOS, &body);
    EXPECT_INT(strbuf_error(&body), 0);
    snapshot_unref(s);
    return body.data;
}

static const char *dependency(enum fixture_row row, const struct moment *m)
{
    struct snapshot *s = fixture_snapshot(FIXTURE_COUNT);
    struct reading r = snapshot_read(s, m);
    strbuf_clear(&body);
    render_dependency(s, snapshot_row(s, row), m, &r, RENDER_NAGIOS, &body);
    EXPECT_INT(strbuf_error(&body), 0);
    snapshot_unref(s);
    return body.data;
}

static struct moment stopping_moment(void)
{
    struct moment m = fixture_moment(0);
    m.stopping = true;
    return m;
}

static struct moment stalled_moment(void)
{
    struct moment m = fixture_moment(0);
    m.beat_mono_ms = m.now_mono_ms - 12000;
    return m;
}

TEST(a_healthy_service_is_ok)
{
    struct moment m = fixture_moment(0);
    fixture_reset();
    EXPECT_STR(health(2, &m),
               "HEALTHSVC OK - 2 of 2 dependencies up | 'trips'" TIME " 'airports'" TIME "\n");
    EXPECT_STR(health(1, &m), "HEALTHSVC OK - 1 of 1 dependency up | 'trips'" TIME "\n");
    EXPECT_STR(health(0, &m), "HEALTHSVC OK - up and running\n");
    /* An info one that is down is only counted. */
    fixture_set(DISK, TARGET_DOWN, OUTCOME_TIMEOUT, "timeout after 3s in tls");
    EXPECT_STR(health(FIXTURE_COUNT, &m), "HEALTHSVC OK - 3 of 4 dependencies up | 'trips'" TIME
                                          " 'airports'" TIME " 'broker'" TIME " 'disk'=U\n");
}

TEST(down_is_critical)
{
    struct moment m = fixture_moment(0);
    fixture_trouble();
    EXPECT_STR(health(FIXTURE_COUNT, &m),
               "HEALTHSVC CRITICAL - airports: connection refused | 'trips'" TIME
               " 'airports'=U 'broker'" TIME " 'disk'=U\n");
    /* One that was never asked does not make it less critical. */
    fixture_set_unknown(TRIPS);
    EXPECT_STR(health(2, &m),
               "HEALTHSVC CRITICAL - trips: not checked yet; airports: connection refused | "
               "'trips'=U 'airports'=U\n");
}

TEST(degraded_and_optional_are_warnings)
{
    struct moment m = fixture_moment(0);
    fixture_reset();
    fixture_set(AIRPORTS, TARGET_DEGRADED, OUTCOME_TLS_EXPIRES_SOON,
                "certificate expires in 2 days");
    fixture_set(BROKER, TARGET_DOWN, OUTCOME_CONNECT_REFUSED, "connection refused");
    EXPECT_STR(health(3, &m),
               "HEALTHSVC WARNING - airports: certificate expires in 2 days; broker: connection "
               "refused | 'trips'" TIME " 'airports'" TIME " 'broker'=U\n");
}

TEST(what_could_not_be_seen_is_unknown)
{
    struct moment m = fixture_moment(0), late = fixture_moment(FIXTURE_MAX_AGE_MS);
    fixture_reset();
    fixture_set_unknown(TRIPS);
    EXPECT_STR(health(2, &m),
               "HEALTHSVC UNKNOWN - trips: not checked yet | 'trips'=U 'airports'" TIME "\n");
    fixture_reset();
    EXPECT_STR(health(2, &late),
               "HEALTHSVC UNKNOWN - trips: stale: last checked 34s ago; airports: stale: last "
               "checked 34s ago | 'trips'=U 'airports'=U\n");
    /* Seen down long ago is not seen now. */
    fixture_set(TRIPS, TARGET_DOWN, OUTCOME_CONNECT_REFUSED, "connection refused");
    EXPECT_STR(health(1, &late),
               "HEALTHSVC UNKNOWN - trips: stale: last checked 34s ago | 'trips'=U\n");
    m = stalled_moment();
    fixture_reset();
    EXPECT_STR(health(1, &m), "HEALTHSVC UNKNOWN - stale: no check has completed for 12 s | "
                              "'trips'" TIME "\n");
}

TEST(shutting_down_is_a_warning)
{
    struct moment m = stopping_moment();
    fixture_reset();
    EXPECT_STR(health(1, &m), "HEALTHSVC WARNING - shutting down | 'trips'" TIME "\n");
    EXPECT_STR(health(0, &m), "HEALTHSVC WARNING - shutting down\n");
    m.beat_mono_ms = m.now_mono_ms - 12000; /* the checker ends before */
    EXPECT_STR(health(0, &m), "HEALTHSVC WARNING - shutting down\n");
}

/* New by a reload: it does not count, and has no time yet. */
TEST(pending_does_not_count)
{
    struct moment m = fixture_moment(0);
    fixture_reset();
    fixture_set_unknown(AIRPORTS);
    fixture_views[AIRPORTS].pending = true;
    EXPECT_STR(health(2, &m),
               "HEALTHSVC OK - 1 of 2 dependencies up | 'trips'" TIME " 'airports'=U\n");
}

TEST(one_dependency)
{
    struct moment m = fixture_moment(0), stopping = stopping_moment(), stalled = stalled_moment(),
                  late = fixture_moment(FIXTURE_MAX_AGE_MS);
    fixture_trouble();
    EXPECT_STR(dependency(TRIPS, &m), "HEALTHSVC OK - trips: up | 'trips'" TIME "\n");
    EXPECT_STR(dependency(AIRPORTS, &m),
               "HEALTHSVC CRITICAL - airports: connection refused | 'airports'=U\n");
    EXPECT_STR(dependency(BROKER, &m),
               "HEALTHSVC WARNING - broker: certificate expires in 2 days | 'broker'" TIME "\n");
    EXPECT_STR(dependency(DISK, &m), "HEALTHSVC UNKNOWN - disk: not checked yet | 'disk'=U\n");
    EXPECT_STR(dependency(TRIPS, &late),
               "HEALTHSVC UNKNOWN - trips: stale: last checked 34s ago | 'trips'=U\n");
    EXPECT_STR(dependency(TRIPS, &stalled),
               "HEALTHSVC UNKNOWN - stale: no check has completed for 12 s | 'trips'" TIME "\n");
    EXPECT_STR(dependency(AIRPORTS, &stopping),
               "HEALTHSVC WARNING - shutting down; airports: connection refused | "
               "'airports'=U\n");
}

TEST(limits_are_thresholds)
{
    struct moment m = fixture_moment(0);
    fixture_reset();
    fixture_confs[TRIPS].time_warn_ms = 500;
    fixture_confs[TRIPS].time_fail_ms = 2005;
    fixture_confs[AIRPORTS].time_fail_ms = 60000;
    fixture_views[AIRPORTS].total_us = 61000042;
    EXPECT_STR(health(2, &m), "HEALTHSVC OK - 2 of 2 dependencies up | "
                              "'trips'=0.001204s;0.500;2.005;0 'airports'=61.000042s;;60.000;0\n");
}

/* Up, while a bad result waits to be confirmed: a time to refuse is no response time. */
TEST(a_bad_answer_has_no_time)
{
    struct moment m = fixture_moment(0);
    fixture_reset();
    fixture_set(TRIPS, TARGET_UP, OUTCOME_CONNECT_REFUSED, "");
    EXPECT_STR(health(1, &m), "HEALTHSVC OK - 1 of 1 dependency up | 'trips'=U\n");
    fixture_set(TRIPS, TARGET_DOWN, OUTCOME_OK, "HTTP 503"); /* rising */
    EXPECT_STR(health(1, &m), "HEALTHSVC CRITICAL - trips: HTTP 503 | 'trips'" TIME "\n");
}

TEST(a_text_cannot_become_perfdata)
{
    struct moment m = fixture_moment(0);
    fixture_reset();
    fixture_set(TRIPS, TARGET_DOWN, OUTCOME_CRITICAL, "a|b=1 ||\r\nsecond\tline\x7f 'x'=3;");
    EXPECT_STR(health(1, &m),
               "HEALTHSVC CRITICAL - trips: a/b=1 //  second line  'x'=3; | 'trips'=U\n");
}

/* Thousands of dependencies, all down for long reasons: one line of 4 KB, of whole items. */
TEST(a_line_is_bounded)
{
    static const struct target_view *many[3000];
    char name[65], reason[OUTCOME_TEXT_BYTES];
    struct moment m = fixture_moment(0);
    memset(name, 'n', 64);
    name[64] = '\0';
    memset(reason, '|', sizeof reason - 1);
    reason[sizeof reason - 1] = '\0';
    fixture_reset();
    fixture_confs[TRIPS].name = name;
    fixture_confs[TRIPS].time_warn_ms = 86399999;
    fixture_confs[TRIPS].time_fail_ms = 86399999;
    fixture_views[TRIPS].total_us = INT64_C(86400000000);
    fixture_set(TRIPS, TARGET_DOWN, OUTCOME_OK, reason);
    for (size_t i = 0; i < 3000; i++)
        many[i] = &fixture_views[TRIPS];
    struct snapshot *s = NULL;
    EXPECT_INT(snapshot_new(&fixture_config, many, 3000, &s), 0);
    struct reading r = snapshot_read(s, &m);
    strbuf_clear(&body);
    render_health(s, &m, &r, RENDER_NAGIOS, &body);
    EXPECT(body.len > 3900 && body.len <= 4096);
    EXPECT_HAS(body.data, "; and 2997 more | 'nnn");
    EXPECT_STR(strrchr(body.data, '='), "=86400.000000s;86399.999;86399.999;0\n");
    EXPECT(strchr(body.data, '|') == strrchr(body.data, '|'));
    EXPECT(strchr(body.data, '\n') == body.data + body.len - 1);
    snapshot_unref(s);
}

TEST(a_line_is_read_back)
{
    static const enum nagios_state states[] = {NAGIOS_OK, NAGIOS_WARNING, NAGIOS_CRITICAL,
                                               NAGIOS_UNKNOWN};
    enum nagios_state state;
    for (size_t i = 0; i < sizeof states / sizeof states[0]; i++) {
        strbuf_clear(&body);
        nagios_begin(&body, states[i], "text");
        EXPECT(nagios_read(body.data, body.len, &state));
        EXPECT_INT(state, states[i]);
        EXPECT(!nagios_read(body.data, body.len - 5, &state));
    }
    static const char *const others[] = {"",
                                         "OK",
                                         "HEALTHSVC",
                                         "HEALTHSVC FINE - text",
                                         "HEALTHSVC OK: text",
                                         "gateway status: OK\n"};
    for (size_t i = 0; i < sizeof others / sizeof others[0]; i++)
        EXPECT(!nagios_read(others[i], strlen(others[i]), &state));
}

TEST(formats_by_their_words)
{
    enum render_format format = RENDER_TEXT;
    for (int i = 0; i < RENDER_FORMAT_COUNT; i++) {
        const char *word = render_format_word((enum render_format)i);
        EXPECT(render_format_find(word, strlen(word), &format));
        EXPECT_INT(format, i);
        EXPECT(!render_format_find(word, strlen(word) - 1, &format));
    }
    EXPECT(!render_format_find("", 0, &format));
    EXPECT(!render_format_find("JSON", 4, &format));
}

int main(void)
{
    strbuf_init(&body, (size_t)1 << 20);
    RUN(a_healthy_service_is_ok);
    RUN(down_is_critical);
    RUN(degraded_and_optional_are_warnings);
    RUN(what_could_not_be_seen_is_unknown);
    RUN(shutting_down_is_a_warning);
    RUN(pending_does_not_count);
    RUN(one_dependency);
    RUN(limits_are_thresholds);
    RUN(a_bad_answer_has_no_time);
    RUN(a_text_cannot_become_perfdata);
    RUN(a_line_is_bounded);
    RUN(a_line_is_read_back);
    RUN(formats_by_their_words);
    strbuf_done(&body);
    return testing_end();
}
