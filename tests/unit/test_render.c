/*
 * Every format of one and the same service. Whole bodies are compared with the files in golden/
 * (HEALTHSVC_GOLDEN_WRITE=1 writes them anew, for a look at the difference); JSON and metrics are
 * read by the tools that others will read them with.
 */
#ifdef HAVE_CONFIG_H
#include <config.h>
#endif
#include "../testing.h"
#include "report_fixture.h"

#include <healthsvc/perfdata.h>
#include <healthsvc/render.h>
#include <healthsvc/stats.h>
#include <healthsvc/strbuf.h>

#include <errno.h>
#include <pthread.h>
#include <signal.h>
#include <stdatomic.h>

#define LIMIT_BYTES ((size_t)4 << 20)

static struct strbuf body; /* what was rendered last */

static const char *health(const struct snapshot *s, const struct moment *m,
                          enum render_format format)
{
    struct reading r = snapshot_read(s, m);
    strbuf_clear(&body);
    render_health(s, m, &r, format, &body);
    EXPECT_INT(strbuf_error(&body), 0);
    return body.data;
}

static const char *dependency(const struct snapshot *s, const struct moment *m,
                              enum fixture_row row, enum render_format format)
{
    struct reading r = snapshot_read(s, m);
    strbuf_clear(&body);
    render_dependency(s, snapshot_row(s, row), m, &r, format, &body);
    EXPECT_INT(strbuf_error(&body), 0);
    return body.data;
}

static const char *readyz(const struct snapshot *s, const struct moment *m, bool verbose,
                          bool want_ready)
{
    struct reading r = snapshot_read(s, m);
    strbuf_clear(&body);
    EXPECT_INT(render_readyz(s, m, &r, verbose, &body), want_ready);
    EXPECT_INT(strbuf_error(&body), 0);
    return body.data;
}

static const char *metrics(const struct snapshot *s, const struct moment *m)
{
    struct reading r = snapshot_read(s, m);
    strbuf_clear(&body);
    render_metrics(s, m, &r, &body);
    EXPECT_INT(strbuf_error(&body), 0);
    return body.data;
}

/* The plugin behind `row` has printed that. */
static void measure(enum fixture_row row, const char *output)
{
    fixture_views[row].perfdata = perfdata_parse(output, strlen(output), false);
    EXPECT(fixture_views[row].perfdata != NULL);
}

static void forget_measured(enum fixture_row row)
{
    fixture_views[row].perfdata = perfdata_unref(fixture_views[row].perfdata);
}

static const char odd_labels[] =
    "TEXT | 'a \"b\" \\ c'=1s C:\\=2;3;4 responseTime=5ms 'a,b=c}'=6 n=7c;8 C_\\=9 e=1e300";

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

/* golden/ lies beside this source; TOP_SRCDIR is set when make runs the tests. */
static FILE *open_golden(const char *name, const char *mode)
{
    char path[4096];
    const char *top = getenv("TOP_SRCDIR");
    if (top != NULL)
        snprintf(path, sizeof path, "%s/tests/unit/golden/%s", top, name);
    else
        snprintf(path, sizeof path, "%.*s/golden/%s", (int)(strrchr(__FILE__, '/') - &__FILE__[0]),
                 __FILE__, name);
    FILE *f = fopen(path, mode);
    if (f == NULL)
        printf("# %s: %s\n", path, strerror(errno));
    return f;
}

static void expect_golden(const char *got, const char *name)
{
    static char want[1 << 16];
    bool write = getenv("HEALTHSVC_GOLDEN_WRITE") != NULL;
    FILE *f = open_golden(name, write ? "w" : "r");
    if (!EXPECT(f != NULL))
        return;
    if (write) {
        EXPECT(fputs(got, f) >= 0);
    } else {
        size_t len = fread(want, 1, sizeof want - 1, f);
        want[len] = '\0';
        testing_str(__FILE__, __LINE__, name, got, want);
    }
    EXPECT_INT(fclose(f), 0);
}

/* The exit status of a shell command that is fed `text`. */
static int feed(const char *command, const char *text)
{
    fflush(stdout);
    FILE *f = popen(command, "w");
    if (f == NULL)
        return -1;
    fputs(text, f);
    return pclose(f);
}

static bool have(const char *tool)
{
    char command[64];
    snprintf(command, sizeof command, "command -v %s >/dev/null 2>&1", tool);
    return system(command) == 0;
}

#define RUN_WITH(tool, name)                                                                 \
    do {                                                                                     \
        if (have(tool))                                                                      \
            RUN(name);                                                                       \
        else                                                                                 \
            printf("ok %d - %s # SKIP %s is not installed\n", ++testing_cases, #name, tool); \
    } while (0)

TEST(text_of_a_healthy_service)
{
    fixture_reset();
    struct snapshot *s = fixture_snapshot(2);
    struct moment m = fixture_moment(0);
    EXPECT_STR(health(s, &m, RENDER_TEXT), "gateway status: OK\nDependencies:\n"
                                           "trips status: OK\nairports status: OK\n");
    snapshot_unref(s);
}

TEST(text_names_the_culprits)
{
    fixture_trouble();
    struct snapshot *s = fixture_snapshot(FIXTURE_COUNT);
    struct moment m = fixture_moment(0);
    EXPECT_STR(health(s, &m, RENDER_TEXT),
               "gateway status: Error\nDependencies:\ntrips status: OK\n"
               "airports status: Error. connection refused\n"
               "broker status: Warning. certificate expires in 2 days (optional)\n"
               "disk status: Error. not checked yet (info)\n");
    snapshot_unref(s);

    fixture_reset();
    fixture_set(BROKER, TARGET_DOWN, OUTCOME_TIMEOUT, "timeout after 3s in tls");
    s = fixture_snapshot(3);
    EXPECT_STR(health(s, &m, RENDER_TEXT),
               "gateway status: Warning\nDependencies:\ntrips status: OK\nairports status: OK\n"
               "broker status: Error. timeout after 3s in tls (optional)\n");
    snapshot_unref(s);
}

TEST(text_tells_what_is_stale)
{
    fixture_trouble();
    fixture_views[TRIPS].checked_mono_ms = FIXTURE_NOW_MONO_MS;
    struct snapshot *s = fixture_snapshot(2);
    struct moment m = fixture_moment(95999);
    EXPECT_STR(health(s, &m, RENDER_TEXT), "gateway status: Error\nDependencies:\n"
                                           "trips status: Error. stale: last checked 95s ago\n"
                                           "airports status: Error. stale: last checked 97s ago\n");
    snapshot_unref(s);
}

TEST(text_tells_the_services_own_reason)
{
    fixture_reset();
    struct snapshot *s = fixture_snapshot(2);
    struct moment m = stopping_moment();
    EXPECT_STR(health(s, &m, RENDER_TEXT), "gateway status: Error. shutting down\nDependencies:\n"
                                           "trips status: OK\nairports status: OK\n");
    m = stalled_moment();
    EXPECT_STR(health(s, &m, RENDER_TEXT),
               "gateway status: Error. stale: no check has completed for 12 s\nDependencies:\n"
               "trips status: OK\nairports status: OK\n");
    snapshot_unref(s);
}

TEST(text_without_dependencies)
{
    struct snapshot *s = fixture_snapshot(0);
    struct moment m = fixture_moment(0);
    EXPECT_STR(health(s, &m, RENDER_TEXT), "Up and running\n");
    m = stopping_moment();
    EXPECT_STR(health(s, &m, RENDER_TEXT), "gateway status: Error. shutting down\n");
    m = stalled_moment();
    EXPECT_STR(health(s, &m, RENDER_TEXT),
               "gateway status: Error. stale: no check has completed for 12 s\n");
    snapshot_unref(s);
}

static bool dependency_ok(const struct snapshot *s, const struct moment *m, enum fixture_row row)
{
    struct reading r = snapshot_read(s, m);
    return render_dependency_ok(snapshot_row(s, row), m, &r);
}

TEST(one_dependency_is_one_line)
{
    fixture_trouble();
    struct snapshot *s = fixture_snapshot(FIXTURE_COUNT);
    struct moment m = fixture_moment(0), stalled = stalled_moment(), stopping = stopping_moment(),
                  late = fixture_moment(FIXTURE_MAX_AGE_MS);
    EXPECT_STR(dependency(s, &m, TRIPS, RENDER_TEXT), "trips status: OK\n");
    EXPECT_STR(dependency(s, &m, AIRPORTS, RENDER_TEXT),
               "airports status: Error. connection refused\n");
    EXPECT_STR(dependency(s, &m, BROKER, RENDER_TEXT),
               "broker status: Warning. certificate expires in 2 days (optional)\n");
    EXPECT(dependency_ok(s, &m, TRIPS) && dependency_ok(s, &m, BROKER));
    EXPECT(!dependency_ok(s, &m, AIRPORTS) && !dependency_ok(s, &m, DISK));

    EXPECT(!dependency_ok(s, &late, TRIPS));
    EXPECT_STR(dependency(s, &late, TRIPS, RENDER_TEXT),
               "trips status: Error. stale: last checked 34s ago\n");
    EXPECT(!dependency_ok(s, &stalled, TRIPS));
    EXPECT_STR(dependency(s, &stalled, TRIPS, RENDER_TEXT),
               "trips status: Error. stale: no check has completed for 12 s\n");
    EXPECT(!dependency_ok(s, &stopping, BROKER));
    EXPECT_STR(dependency(s, &stopping, BROKER, RENDER_TEXT),
               "broker status: Error. shutting down\n");
    EXPECT_STR(dependency(s, &stopping, AIRPORTS, RENDER_TEXT),
               "airports status: Error. connection refused\n");
    snapshot_unref(s);
}

TEST(json_as_golden)
{
    fixture_trouble();
    struct snapshot *s = fixture_snapshot(FIXTURE_COUNT);
    struct moment m = fixture_moment(0);
    expect_golden(health(s, &m, RENDER_JSON), "health.json");
    expect_golden(dependency(s, &m, AIRPORTS, RENDER_JSON), "dependency.json");
    m = stopping_moment();
    expect_golden(health(s, &m, RENDER_JSON), "health_stopping.json");
    m = fixture_moment(FIXTURE_MAX_AGE_MS);
    expect_golden(health(s, &m, RENDER_JSON), "health_stale.json");
    snapshot_unref(s);

    fixture_reset();
    s = fixture_snapshot(1);
    m = fixture_moment(0);
    expect_golden(health(s, &m, RENDER_JSON), "health_pass.json");
    m = stalled_moment();
    expect_golden(dependency(s, &m, TRIPS, RENDER_JSON), "dependency_stalled.json");
    snapshot_unref(s);
    s = fixture_snapshot(0);
    m = fixture_moment(0);
    EXPECT_STR(health(s, &m, RENDER_JSON),
               "{\"status\":\"pass\",\"serviceId\":\"gateway\","
               "\"description\":\"health of gateway\",\"checks\":{}}\n");
    snapshot_unref(s);
}

/* What is kept, then copied and patched, must be what would be rendered at that moment. */
TEST(kept_bodies_equal_fresh_ones)
{
    fixture_trouble();
    measure(TRIPS, "|a=1;2;3");
    measure(AIRPORTS, odd_labels);
    struct snapshot *s = fixture_snapshot(FIXTURE_COUNT);
    forget_measured(TRIPS);
    forget_measured(AIRPORTS);
    struct strbuf fresh;
    strbuf_init(&fresh, LIMIT_BYTES);
    static const int64_t later[] = {0, 1, 8499, 8500, FIXTURE_MAX_AGE_MS - 1500, -5000};
    for (size_t i = 0; i < sizeof later / sizeof later[0]; i++) {
        struct moment m = fixture_moment(later[i]);
        struct reading r = snapshot_read(s, &m);
        EXPECT(r.as_published);
        /* Behind what is in the buffer already: a reply's head, say. */
        strbuf_clear(&body);
        strbuf_adds(&body, "head ");
        render_health(s, &m, &r, RENDER_JSON, &body);
        render_metrics(s, &m, &r, &body);
        r.as_published = false;
        strbuf_clear(&fresh);
        strbuf_adds(&fresh, "head ");
        render_health(s, &m, &r, RENDER_JSON, &fresh);
        render_metrics(s, &m, &r, &fresh);
        EXPECT_STR(body.data, fresh.data);
        strbuf_clear(&fresh);
        render_health(s, &m, &r, RENDER_TEXT, &fresh);
        EXPECT_STR(health(s, &m, RENDER_TEXT), fresh.data);
    }
    strbuf_done(&fresh);
    struct moment m = fixture_moment(8500);
    EXPECT_HAS(health(s, &m, RENDER_JSON), "\"checkedAgoMs\":        10000,");
    m = fixture_moment(-5000); /* a reader with an older clock */
    EXPECT_HAS(health(s, &m, RENDER_JSON), "\"checkedAgoMs\":            0,");
    snapshot_unref(s);
}

TEST(a_full_buffer_says_so)
{
    fixture_trouble();
    struct snapshot *s = fixture_snapshot(FIXTURE_COUNT);
    struct moment m = fixture_moment(0);
    struct reading r = snapshot_read(s, &m);
    struct strbuf small;
    strbuf_init(&small, 300);
    strbuf_adds(&small, "head");
    render_health(s, &m, &r, RENDER_JSON, &small);
    EXPECT_INT(strbuf_error(&small), -E2BIG);
    EXPECT_STR(small.data, "head");
    strbuf_done(&small);
    snapshot_unref(s);
}

TEST(what_a_good_check_adds_is_a_note)
{
    fixture_reset();
    fixture_set(TRIPS, TARGET_UP, OUTCOME_OK, "alive, authentication required");
    struct snapshot *s = fixture_snapshot(FIXTURE_COUNT);
    struct moment m = fixture_moment(0);
    const char *json = health(s, &m, RENDER_JSON);
    EXPECT_HAS(json, ",\"note\":\"alive, authentication required\"");
    EXPECT(strstr(json, "\"output\"") == NULL);
    EXPECT_HAS(health(s, &m, RENDER_TEXT), "trips status: OK\n");
    snapshot_unref(s);
}

TEST(json_bounds_the_culprits)
{
    static const struct target_view *many[200];
    fixture_reset();
    fixture_set(TRIPS, TARGET_DOWN, OUTCOME_CONNECT_REFUSED, "connection refused");
    for (size_t i = 0; i < 200; i++)
        many[i] = &fixture_views[TRIPS];
    struct snapshot *s = NULL;
    EXPECT_INT(snapshot_new(&fixture_config, many, 200, &s), 0);
    struct moment m = fixture_moment(0);
    const char *output = strstr(health(s, &m, RENDER_JSON), ",\"output\":\"");
    if (EXPECT(output != NULL)) {
        const char *end = strstr(output, " more\",\"checks\"");
        EXPECT(end != NULL && end - output < 1040);
        EXPECT(strncmp(output + 11, "trips: connection refused; trips: connection", 44) == 0);
        /* 26 bytes and "; " each: 35 named in 984 bytes. */
        EXPECT_HAS(output, "refused; and 164 more\"");
    }
    snapshot_unref(s);
}

static const char read_json[] =
    "python3 -c '\n"
    "import json, sys\n"
    "d = json.loads(sys.stdin.buffer.read().decode(\"utf-8\"))\n"
    "c = d[\"checks\"][\"airports:responseTime\"][0]\n"
    "assert c[\"status\"] == \"fail\" and c[\"output\"], c\n"
    "assert c[\"observedValue\"] == 1.204 and c[\"checkedAgoMs\"] == 1500, c\n"
    "assert d[\"status\"] == \"fail\" and c[\"output\"] in d[\"output\"], d\n"
    "' 1>&2";

TEST(json_is_valid_for_any_text)
{
    static const char *const texts[] = {
        "quote \" backslash \\ slash / </script>",
        "line\nfeed\ttab\r\b\f\x01\x1f\x7f",
        "latin-1 \xe9, cut \xe2\x82, surrogate \xed\xa0\x80, overlong \xc0\xaf, \xff\xfe",
        "utf-8 \xc3\xa9 \xe2\x82\xac \xf0\x9f\x98\x80",
        "%s%n{}[]",
    };
    struct moment m = fixture_moment(0);
    for (size_t i = 0; i < sizeof texts / sizeof texts[0]; i++) {
        fixture_reset();
        fixture_set(AIRPORTS, TARGET_DOWN, OUTCOME_BAD_REPLY, texts[i]);
        fixture_views[TRIPS].own = OUTCOME_OWN_ERROR;
        fixture_views[TRIPS].own_text = texts[i];
        struct snapshot *s = fixture_snapshot(FIXTURE_COUNT);
        EXPECT_INT(feed(read_json, health(s, &m, RENDER_JSON)), 0);
        EXPECT_INT(feed(read_json, dependency(s, &m, AIRPORTS, RENDER_JSON)), 0);
        snapshot_unref(s);
    }
}

static const char disk_output[] =
    "DISK OK|/=13523484672B;267847005634;270552530944;0;270552530944 'C:\\ %'=80%;~:90;@10:20 "
    "rta=0.019ms;100:;5:200 seen=12c n=-3";

TEST(json_of_what_plugins_measured)
{
    fixture_reset();
    measure(TRIPS, disk_output);
    struct snapshot *s = fixture_snapshot(1);
    forget_measured(TRIPS);
    struct moment m = fixture_moment(0);
#define ENTRY(label) \
    "\n\"trips:" label "\":[{\"componentId\":\"trips\",\"componentType\":\"component\","
#define TIME ",\"time\":\"2026-08-30T10:00:03.500Z\"}]"
    static const char entries[] = "\"exchange\":1.074}}]," ENTRY(
        "/") "\"observedValue\":13523484672,\"observedUnit\":\"B\","
             "\"warn\":\"267847005634\",\"critical\":\"270552530944\","
             "\"min\":0,\"max\":270552530944" TIME "," ENTRY(
                 "C_\\\\ %") "\"observedValue\":0.8,\"observedUnit\":\"ratio\","
                             "\"warn\":\"~:0.9\",\"critical\":\"@0.1:0.2\"" TIME "," ENTRY(
                                 "rta") "\"observedValue\":1.9e-05,\"observedUnit\":\"s\","
                                        "\"warn\":\"0.1:\",\"critical\":\"0.005:0.2\"" TIME
                                        "," ENTRY("seen") "\"observedValue\":12" TIME
                                                          "," ENTRY("n") "\"observedValue\":-3" TIME
                                                                         "}}\n";
    EXPECT_HAS(health(s, &m, RENDER_JSON), entries);
    EXPECT_HAS(dependency(s, &m, TRIPS, RENDER_JSON), entries);
    m.withhold = true;
    EXPECT(strstr(health(s, &m, RENDER_JSON), "trips:rta") == NULL);
    m = fixture_moment(FIXTURE_MAX_AGE_MS);
    EXPECT_HAS(health(s, &m, RENDER_JSON), "\"state\":\"stale\"");
    EXPECT(strstr(body.data, "trips:rta") == NULL);
    EXPECT(strstr(dependency(s, &m, TRIPS, RENDER_JSON), "trips:rta") == NULL);
    snapshot_unref(s);
}

static const char read_measured[] =
    "python3 -c '\n"
    "import json, sys\n"
    "def unique(pairs):\n"
    "    assert len(dict(pairs)) == len(pairs), pairs\n"
    "    return dict(pairs)\n"
    "c = json.load(sys.stdin, object_pairs_hook=unique)[\"checks\"]\n"
    "assert all(key.count(\":\") == 1 for key in c), c\n"
    "seen = {key: value[0][\"observedValue\"] for key, value in c.items()}\n"
    "assert seen.pop(\"trips:responseTime\") == 1.204, seen\n"
    "assert seen == {\"trips:a \\\"b\\\" \\\\ c\": 1, \"trips:C_\\\\\": 2, \"trips:a,b=c}\": 6,\n"
    "                \"trips:n\": 7, \"trips:e\": 1e300}, seen\n"
    "' 1>&2";

TEST(json_of_any_label_is_valid)
{
    fixture_reset();
    measure(TRIPS, odd_labels);
    struct snapshot *s = fixture_snapshot(1);
    forget_measured(TRIPS);
    struct moment m = fixture_moment(0);
    EXPECT_INT(feed(read_measured, health(s, &m, RENDER_JSON)), 0);
    snapshot_unref(s);
}

static void set_stats(void)
{
    atomic_store(&stats.checks[OUTCOME_OK], 1080);
    atomic_store(&stats.checks[OUTCOME_CONNECT_REFUSED], 3);
    atomic_store(&stats.skipped_slots, 2);
    atomic_store(&stats.late_starts, 1083);
    atomic_store(&stats.late_us, 2500123);
    atomic_store(&stats.loop_lag_us, 150);
    atomic_store(&stats.loop_lag_max_us, 1000001);
    atomic_store(&stats.loop_stalls, 1);
    atomic_store(&stats.in_flight, 4);
    atomic_store(&stats.reloads_ok, 5);
    atomic_store(&stats.reloads_failed, 1);
    atomic_store(&stats.last_reload_ok, 1);
    atomic_store(&stats.last_reload_wall_ms, FIXTURE_NOW_WALL_MS - 60000);
    atomic_store(&stats.start_wall_ms, FIXTURE_NOW_WALL_MS - 3600123);
    atomic_store(&stats.requests[200], 4000);
    atomic_store(&stats.requests[503], 17);
    atomic_store(&stats.workers_busy, 2);
    atomic_store(&stats.workers, 32);
}

TEST(metrics_as_golden)
{
    fixture_trouble();
    set_stats();
    struct snapshot *s = fixture_snapshot(FIXTURE_COUNT);
    struct moment m = fixture_moment(0);
    metrics(s, &m);
    /* The version is the only word that each release changes. */
    static const char build[] = "healthsvc_build_info{version=\"" PACKAGE_VERSION "\"} 1\n";
    char *line = strstr(body.data, build);
    if (EXPECT(line != NULL)) {
        size_t at = (size_t)(line - body.data), len = sizeof build - 1;
        memmove(line, line + len, body.len - at - len + 1);
        expect_golden(body.data, "metrics.txt");
    }
    snapshot_unref(s);
}

/* The name of the family of a sample line; a summary's samples have two names. */
static size_t family_length(const char *line)
{
    size_t len = strcspn(line, "{ ");
    if (len > 4 && strncmp(line + len - 4, "_sum", 4) == 0)
        return len - 4;
    if (len > 6 && strncmp(line + len - 6, "_count", 6) == 0)
        return len - 6;
    return len;
}

TEST(metrics_families_are_whole)
{
    fixture_trouble();
    struct snapshot *s = fixture_snapshot(FIXTURE_COUNT);
    struct moment m = fixture_moment(0);
    metrics(s, &m);
    const char *family = "";
    size_t family_len = 0;
    for (const char *line = body.data; *line != '\0'; line = strchr(line, '\n') + 1) {
        if (strncmp(line, "# HELP ", 7) == 0)
            continue;
        if (strncmp(line, "# TYPE ", 7) == 0) {
            family = line + 7;
            family_len = strcspn(family, " ");
            char head[128];
            snprintf(head, sizeof head, "# TYPE %.*s ", (int)family_len, family);
            EXPECT(strstr(body.data, head) == line && strstr(line + 1, head) == NULL);
            continue;
        }
        if (!EXPECT(family_length(line) == family_len && strncmp(line, family, family_len) == 0))
            printf("# %.*s\n", (int)strcspn(line, "\n"), line);
    }
    snapshot_unref(s);
}

TEST(metrics_of_stale_and_never_checked)
{
    fixture_reset();
    fixture_set_unknown(AIRPORTS);
    struct snapshot *s = fixture_snapshot(2);
    struct moment m = fixture_moment(0);
    EXPECT_HAS(metrics(s, &m), "probe_success{dependency=\"trips\"} 1\n"
                               "probe_success{dependency=\"airports\"} 0\n");
    EXPECT(strstr(body.data, "probe_duration_seconds{dependency=\"airports\"}") == NULL);
    EXPECT(strstr(body.data, "probe_ssl_earliest_cert_expiry") == NULL);
    EXPECT_HAS(body.data, "healthsvc_verdict{status=\"fail\"} 1\n");
    m = fixture_moment(FIXTURE_MAX_AGE_MS);
    EXPECT_HAS(metrics(s, &m), "probe_success{dependency=\"trips\"} 0\n");
    EXPECT_HAS(body.data, "healthsvc_dependency_state{dependency=\"trips\",state=\"up\"} 0\n");
    EXPECT_HAS(body.data, "healthsvc_dependency_state{dependency=\"trips\",state=\"stale\"} 1\n");
    EXPECT_HAS(body.data,
               "healthsvc_dependency_state{dependency=\"airports\",state=\"unknown\"} 1\n");
    snapshot_unref(s);
}

TEST(metrics_escape_labels)
{
    fixture_reset();
    char odd[] = "a\"b\\c\nd";
    fixture_confs[TRIPS].name = odd;
    struct snapshot *s = fixture_snapshot(1);
    struct moment m = fixture_moment(0);
    EXPECT_HAS(metrics(s, &m), "probe_success{dependency=\"a\\\"b\\\\c\\nd\"} 1\n");
    snapshot_unref(s);
}

TEST(metrics_of_a_zone)
{
    fixture_reset();
    fixture_views[TRIPS].has_dns_serial = true;
    fixture_views[TRIPS].dns_serial = UINT32_MAX;
    fixture_views[BROKER].has_dns_serial = true; /* 0 is one too */
    struct snapshot *s = fixture_snapshot(FIXTURE_COUNT);
    struct moment m = fixture_moment(0);
    EXPECT_HAS(metrics(s, &m), "# TYPE probe_dns_serial gauge\n"
                               "probe_dns_serial{dependency=\"trips\"} 4294967295\n"
                               "probe_dns_serial{dependency=\"broker\"} 0\n#");
    snapshot_unref(s);
}

TEST(metrics_of_what_plugins_measured)
{
    fixture_reset();
    measure(TRIPS, disk_output);
    measure(AIRPORTS, "|rta=2s;3;4;;9 seen=1c;5");
    struct snapshot *s = fixture_snapshot(2);
    forget_measured(TRIPS);
    forget_measured(AIRPORTS);
    struct moment m = fixture_moment(0);
    metrics(s, &m);
#define ROOT "{dependency=\"trips\",label=\"/\",unit=\"B\"} "
#define RTA(name) "{dependency=\"" name "\",label=\"rta\",unit=\"s\"} "
    EXPECT_HAS(
        body.data,
        "# TYPE healthsvc_plugin_value gauge\n"
        "healthsvc_plugin_value" ROOT "13523484672\n"
        "healthsvc_plugin_value{dependency=\"trips\",label=\"C:\\\\ %\",unit=\"ratio\"} 0.8\n"
        "healthsvc_plugin_value" RTA(
            "trips") "1.9e-05\n"
                     "healthsvc_plugin_value{dependency=\"trips\",label=\"n\"} -3\n"
                     "healthsvc_plugin_value" RTA(
                         "airports") "2\n"
                                     "# HELP healthsvc_plugin_count_total ");
    EXPECT_HAS(body.data,
               "# TYPE healthsvc_plugin_count_total counter\n"
               "healthsvc_plugin_count_total{dependency=\"trips\",label=\"seen\"} 12\n"
               "healthsvc_plugin_count_total{dependency=\"airports\",label=\"seen\"} 1\n#");
    /* Only where it is one upper limit: the others are no number to compare with. */
    EXPECT_HAS(
        body.data,
        "# TYPE healthsvc_plugin_warn gauge\n"
        "healthsvc_plugin_warn" ROOT "267847005634\n"
        "healthsvc_plugin_warn" RTA(
            "airports") "3\n"
                        "healthsvc_plugin_warn{dependency=\"airports\",label=\"seen\"} 5\n#");
    EXPECT_HAS(body.data, "# TYPE healthsvc_plugin_crit gauge\n"
                          "healthsvc_plugin_crit" ROOT "270552530944\n"
                          "healthsvc_plugin_crit" RTA("airports") "4\n#");
    EXPECT_HAS(body.data, "# TYPE healthsvc_plugin_min gauge\nhealthsvc_plugin_min" ROOT "0\n#");
    EXPECT_HAS(body.data, "# TYPE healthsvc_plugin_max gauge\n"
                          "healthsvc_plugin_max" ROOT "270552530944\n"
                          "healthsvc_plugin_max" RTA("airports") "9\n#");
    m = fixture_moment(FIXTURE_MAX_AGE_MS);
    EXPECT(strstr(metrics(s, &m), "healthsvc_plugin_") == NULL);
    snapshot_unref(s);
}

TEST(metrics_pass_promtool)
{
    static const char promtool[] = "promtool check metrics 1>&2";
    struct moment m = fixture_moment(0);
    fixture_trouble();
    measure(TRIPS, disk_output);
    measure(AIRPORTS, odd_labels);
    struct snapshot *s = fixture_snapshot(FIXTURE_COUNT);
    forget_measured(TRIPS);
    forget_measured(AIRPORTS);
    EXPECT_INT(feed(promtool, metrics(s, &m)), 0);
    snapshot_unref(s);
    s = fixture_snapshot(0);
    EXPECT_INT(feed(promtool, metrics(s, &m)), 0);
    snapshot_unref(s);
}

TEST(readyz_when_ready)
{
    fixture_reset();
    fixture_set(BROKER, TARGET_DOWN, OUTCOME_TIMEOUT, "timeout");
    fixture_set(AIRPORTS, TARGET_DEGRADED, OUTCOME_TLS_EXPIRES_SOON, "certificate expires soon");
    fixture_set_unknown(DISK);
    struct snapshot *s = fixture_snapshot(FIXTURE_COUNT);
    struct moment m = fixture_moment(0);
    EXPECT_STR(readyz(s, &m, false, true), "ok");
    EXPECT_STR(readyz(s, &m, true, true), "[+]trips ok\n[+]airports ok\n"
                                          "[-]broker failed: timeout (optional)\n"
                                          "[-]disk failed: not checked yet (info)\n"
                                          "readyz check passed\n");
    snapshot_unref(s);
    s = fixture_snapshot(0);
    EXPECT_STR(readyz(s, &m, false, true), "ok");
    EXPECT_STR(readyz(s, &m, true, true), "readyz check passed\n");
    snapshot_unref(s);
}

TEST(readyz_when_not_ready)
{
    fixture_reset();
    fixture_set(AIRPORTS, TARGET_DOWN, OUTCOME_CONNECT_REFUSED, "connection refused");
    struct snapshot *s = fixture_snapshot(2);
    struct moment m = fixture_moment(0), stopping = stopping_moment(), stalled = stalled_moment();
    EXPECT_STR(readyz(s, &m, false, false),
               "[+]trips ok\n[-]airports failed: connection refused\nreadyz check failed\n");
    EXPECT_STR(readyz(s, &stopping, false, false),
               "[-]shutdown failed: shutting down\n[+]trips ok\n"
               "[-]airports failed: connection refused\nreadyz check failed\n");
    snapshot_unref(s);
    s = fixture_snapshot(0);
    EXPECT_STR(readyz(s, &stalled, false, false),
               "[-]checker failed: stale: no check has completed for 12 s\nreadyz check failed\n");
    snapshot_unref(s);
}

TEST(readyz_before_and_after_the_first_outcome)
{
    fixture_reset();
    fixture_set_unknown(AIRPORTS);
    struct snapshot *s = fixture_snapshot(2);
    struct moment m = fixture_moment(0);
    EXPECT_STR(readyz(s, &m, false, false),
               "[+]trips ok\n[-]airports failed: not checked yet\nreadyz check failed\n");
    snapshot_unref(s);
    /* Added by a reload, it takes nothing back from a service that was ready. */
    fixture_views[AIRPORTS].pending = true;
    s = fixture_snapshot(2);
    EXPECT_STR(readyz(s, &m, true, true),
               "[+]trips ok\n[-]airports failed: not checked yet\nreadyz check passed\n");
    EXPECT_STR(health(s, &m, RENDER_TEXT), "gateway status: OK\nDependencies:\ntrips status: OK\n"
                                           "airports status: Error. not checked yet\n");
    snapshot_unref(s);
}

static pthread_barrier_t together;

struct reader {
    pthread_t thread;
    const struct snapshot *snapshot;
    struct strbuf seen;
};

static void *render_all(void *arg)
{
    struct reader *me = arg;
    struct moment m = fixture_moment(0);
    struct reading r = snapshot_read(me->snapshot, &m);
    pthread_barrier_wait(&together);
    render_health(me->snapshot, &m, &r, RENDER_JSON, &me->seen);
    render_metrics(me->snapshot, &m, &r, &me->seen);
    return NULL;
}

/* All ask first: one body is kept, the others are thrown away, and everyone reads the same. */
/* No word of why, in any format, whatever is wrong; states and names stay. */
TEST(reasons_are_withheld)
{
    static const char *const secrets[] = {"refused",     "certificate", "name servers", "dns",
                                          "not checked", "stale:",      "phases",       "note"};
    fixture_trouble();
    fixture_set(TRIPS, TARGET_UP, OUTCOME_OK, "alive, authentication required");
    struct snapshot *s = fixture_snapshot(FIXTURE_COUNT);
    struct moment m = fixture_moment(0), told = fixture_moment(0), later = fixture_moment(60000);
    m.withhold = later.withhold = true;
    struct strbuf all;
    strbuf_init(&all, LIMIT_BYTES);
    for (int round = 0; round < 2; round++) { /* the second from what is kept */
        EXPECT_STR(health(s, &m, RENDER_TEXT),
                   "gateway status: Error\nDependencies:\ntrips status: OK\n"
                   "airports status: Error\nbroker status: Warning\ndisk status: Error\n");
        strbuf_adds(&all, body.data);
        EXPECT_HAS(health(s, &m, RENDER_JSON), "\"output\":\"airports: reason withheld\"");
        EXPECT_HAS(body.data, "\"status\":\"fail\",\"state\":\"down\"");
        strbuf_adds(&all, body.data);
        EXPECT_HAS(health(s, &m, RENDER_NAGIOS), "CRITICAL - airports: reason withheld | ");
        strbuf_adds(&all, body.data);
        /* Those who are told everything get what is kept for them. */
        EXPECT_HAS(health(s, &told, RENDER_JSON), "connection refused");
        EXPECT_HAS(health(s, &told, RENDER_TEXT), "connection refused");
    }
    strbuf_adds(&all, health(s, &later, RENDER_TEXT));
    strbuf_adds(&all, health(s, &later, RENDER_JSON));
    strbuf_adds(&all, health(s, &later, RENDER_NAGIOS));
    for (int row = 0; row < FIXTURE_COUNT; row++) {
        strbuf_adds(&all, dependency(s, &m, (enum fixture_row)row, RENDER_TEXT));
        strbuf_adds(&all, dependency(s, &m, (enum fixture_row)row, RENDER_JSON));
        strbuf_adds(&all, dependency(s, &m, (enum fixture_row)row, RENDER_NAGIOS));
    }
    EXPECT_STR(readyz(s, &m, false, false),
               "[+]trips ok\n[-]airports failed: reason withheld\n[+]broker ok\n"
               "[-]disk failed: reason withheld (info)\nreadyz check failed\n");
    EXPECT_INT(strbuf_error(&all), 0);
    for (size_t i = 0; i < sizeof secrets / sizeof *secrets; i++) {
        if (!EXPECT(strstr(all.data, secrets[i]) == NULL))
            printf("# '%s' is in %s\n", secrets[i], all.data);
    }
    /* What is the service's own to say is no secret. */
    m.stopping = true;
    EXPECT_HAS(health(s, &m, RENDER_TEXT), "gateway status: Error. shutting down\n");
    strbuf_done(&all);
    snapshot_unref(s);
}

TEST(first_demand_by_many_at_once)
{
    enum {
        READERS = 4,
        ROUNDS = 50
    };
    fixture_trouble();
    EXPECT_INT(pthread_barrier_init(&together, NULL, READERS), 0);
    for (int round = 0; round < ROUNDS; round++) {
        struct snapshot *s = fixture_snapshot(FIXTURE_COUNT);
        struct reader readers[READERS];
        for (size_t i = 0; i < READERS; i++) {
            readers[i].snapshot = s;
            strbuf_init(&readers[i].seen, LIMIT_BYTES);
            if (pthread_create(&readers[i].thread, NULL, render_all, &readers[i]) != 0)
                abort();
        }
        for (size_t i = 0; i < READERS; i++) {
            pthread_join(readers[i].thread, NULL);
            EXPECT_INT(strbuf_error(&readers[i].seen), 0);
            EXPECT_STR(readers[i].seen.data, readers[0].seen.data);
        }
        for (size_t i = 0; i < READERS; i++)
            strbuf_done(&readers[i].seen);
        snapshot_unref(s);
    }
    pthread_barrier_destroy(&together);
}

int main(void)
{
    signal(SIGPIPE, SIG_IGN);
    strbuf_init(&body, LIMIT_BYTES);
    RUN(text_of_a_healthy_service);
    RUN(text_names_the_culprits);
    RUN(text_tells_what_is_stale);
    RUN(text_tells_the_services_own_reason);
    RUN(text_without_dependencies);
    RUN(one_dependency_is_one_line);
    RUN(json_as_golden);
    RUN(kept_bodies_equal_fresh_ones);
    RUN(a_full_buffer_says_so);
    RUN(what_a_good_check_adds_is_a_note);
    RUN(json_bounds_the_culprits);
    RUN_WITH("python3", json_is_valid_for_any_text);
    RUN(json_of_what_plugins_measured);
    RUN_WITH("python3", json_of_any_label_is_valid);
    RUN(metrics_as_golden);
    RUN(metrics_families_are_whole);
    RUN(metrics_of_stale_and_never_checked);
    RUN(metrics_escape_labels);
    RUN(metrics_of_a_zone);
    RUN(metrics_of_what_plugins_measured);
    RUN_WITH("promtool", metrics_pass_promtool);
    RUN(readyz_when_ready);
    RUN(readyz_when_not_ready);
    RUN(readyz_before_and_after_the_first_outcome);
    RUN(reasons_are_withheld);
    RUN(first_demand_by_many_at_once);
    strbuf_done(&body);
    return testing_end();
}
