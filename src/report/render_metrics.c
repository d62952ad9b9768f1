/*
 * /metrics in the Prometheus text format 0.0.4. What is said of a dependency's last check bears
 * the names of blackbox_exporter, so that its dashboards fit, plus a `dependency` label; the rest
 * is healthsvc_*. The part about the dependencies is kept with the snapshot; the process's own
 * counters are read anew each time.
 *
 * probe_success is what the last check saw, not the state: alerts with their own "for" want the
 * raw signal. A result that is stale, or missing, is no success.
 */
#ifdef HAVE_CONFIG_H
#include <config.h>
#endif
#include <healthsvc/render.h>

#include <healthsvc/config.h>
#include <healthsvc/perfdata.h>
#include <healthsvc/pollers.h>
#include <healthsvc/stats.h>
#include <healthsvc/strbuf.h>
#include <healthsvc/units.h>
#include "report/body.h"
#include "report/formats.h"

#include <inttypes.h>
#include <math.h>
#include <stdatomic.h>
#include <string.h>
#include <sys/socket.h>

void render_family(const char *name, const char *type, const char *help, struct strbuf *out)
{
    strbuf_addf(out, "# HELP %s %s\n# TYPE %s %s\n", name, help, name, type);
}

/* Backslash, quote and newline are what a label value must escape. */
void render_label_value(const char *value, struct strbuf *out)
{
    for (const char *rest = value; *rest != '\0';) {
        size_t plain = strcspn(rest, "\\\"\n");
        strbuf_add(out, rest, plain);
        rest += plain;
        if (*rest != '\0') {
            strbuf_adds(out, *rest == '\n' ? "\\n" : *rest == '"' ? "\\\"" : "\\\\");
            rest++;
        }
    }
}

/* One more label of a sample, behind an open value. */
static void add_label(const char *key, const char *value, struct strbuf *out)
{
    strbuf_adds(out, "\",");
    strbuf_adds(out, key);
    strbuf_adds(out, "=\"");
    render_label_value(value, out);
}

static void open_sample(const char *name, const struct target_view *v, struct strbuf *out)
{
    strbuf_adds(out, name);
    strbuf_adds(out, "{dependency=\"");
    render_label_value(v->conf->name, out);
}

/* A sample of a dependency up to its value; `key` NULL: no second label. */
static void begin_sample(const char *name, const struct target_view *v, const char *key,
                         const char *value, struct strbuf *out)
{
    open_sample(name, v, out);
    if (key != NULL)
        add_label(key, value, out);
    strbuf_adds(out, "\"} ");
}

static void add_int(int64_t value, struct strbuf *out)
{
    strbuf_addf(out, "%" PRId64 "\n", value);
}

static void add_us(int64_t us, struct strbuf *out)
{
    strbuf_addf(out, "%" PRId64 ".%06" PRId64 "\n", us / 1000000, us % 1000000);
}

static void add_ms(int64_t ms, struct strbuf *out)
{
    strbuf_addf(out, "%" PRId64 ".%03" PRId64 "\n", ms / 1000, ms % 1000);
}

static bool was_checked(const struct target_view *v)
{
    return v->checked_mono_ms != 0;
}

static bool speaks_http(const struct target_view *v)
{
    const char *scheme = v->conf->scheme->name;
    return strcmp(scheme, "http") == 0 || strcmp(scheme, "https") == 0;
}

static void add_success(const char *name, const struct target_view *v, enum target_state state,
                        struct strbuf *out)
{
    enum outcome_class class = outcome_class(v->outcome);
    bool good = class == OUTCOME_CLASS_GOOD || class == OUTCOME_CLASS_WARNING;
    bool counts = state != TARGET_UNKNOWN && state != TARGET_STALE;
    begin_sample(name, v, NULL, NULL, out);
    add_int(counts && good, out);
}

static void add_duration(const char *name, const struct target_view *v, enum target_state state,
                         struct strbuf *out)
{
    (void)state;
    if (!was_checked(v))
        return;
    begin_sample(name, v, NULL, NULL, out);
    add_us(v->total_us, out);
}

static void add_dns_time(const char *name, const struct target_view *v, enum target_state state,
                         struct strbuf *out)
{
    (void)state;
    if (!was_checked(v))
        return;
    begin_sample(name, v, NULL, NULL, out);
    add_us(v->phase_us[PROBE_PHASE_DNS], out);
}

static void add_ip_protocol(const char *name, const struct target_view *v, enum target_state state,
                            struct strbuf *out)
{
    (void)state;
    if (v->ip_family == 0)
        return;
    begin_sample(name, v, NULL, NULL, out);
    add_int(v->ip_family == AF_INET6 ? 6 : 4, out);
}

static void add_http_status(const char *name, const struct target_view *v, enum target_state state,
                            struct strbuf *out)
{
    (void)state;
    if (v->http_status == 0)
        return;
    begin_sample(name, v, NULL, NULL, out);
    add_int(v->http_status, out);
}

static const char *http_phase(enum probe_phase phase)
{
    switch (phase) {
    case PROBE_PHASE_DNS:
        return "resolve";
    case PROBE_PHASE_CONNECT:
        return "connect";
    case PROBE_PHASE_TLS:
        return "tls";
    case PROBE_PHASE_EXCHANGE:
        break;
    }
    return "processing";
}

static void add_http_phases(const char *name, const struct target_view *v, enum target_state state,
                            struct strbuf *out)
{
    (void)state;
    if (!was_checked(v) || !speaks_http(v))
        return;
    for (int i = 0; i < PROBE_PHASE_COUNT; i++) {
        begin_sample(name, v, "phase", http_phase((enum probe_phase)i), out);
        add_us(v->phase_us[i], out);
    }
}

static void add_cert_expiry(const char *name, const struct target_view *v, enum target_state state,
                            struct strbuf *out)
{
    (void)state;
    if (v->cert_expires_wall_s == 0)
        return;
    begin_sample(name, v, NULL, NULL, out);
    add_int(v->cert_expires_wall_s, out);
}

static void add_dns_serial(const char *name, const struct target_view *v, enum target_state state,
                           struct strbuf *out)
{
    (void)state;
    if (!v->has_dns_serial)
        return;
    begin_sample(name, v, NULL, NULL, out);
    add_int(v->dns_serial, out);
}

static void add_states(const char *name, const struct target_view *v, enum target_state state,
                       struct strbuf *out)
{
    for (int i = TARGET_UNKNOWN; i <= TARGET_STALE; i++) {
        begin_sample(name, v, "state", target_state_token((enum target_state)i), out);
        add_int((int)state == i, out);
    }
}

static void add_last_check(const char *name, const struct target_view *v, enum target_state state,
                           struct strbuf *out)
{
    (void)state;
    if (!was_checked(v))
        return;
    begin_sample(name, v, NULL, NULL, out);
    add_ms(v->checked_wall_ms, out);
}

static void add_checks(const char *name, const struct target_view *v, enum target_state state,
                       struct strbuf *out)
{
    (void)state;
    for (int i = 0; i < OUTCOME_CLASS_COUNT; i++) {
        begin_sample(name, v, "class", outcome_class_token((enum outcome_class)i), out);
        add_int((int64_t)v->checks[i], out);
    }
}

static void add_skipped(const char *name, const struct target_view *v, enum target_state state,
                        struct strbuf *out)
{
    (void)state;
    begin_sample(name, v, NULL, NULL, out);
    add_int((int64_t)v->skipped, out);
}

/* What plugins measured. A label's unit is the same in all families, so that a value and its
 * thresholds match. */
static void add_measured(const char *name, const struct target_view *v, enum target_state state,
                         double (*pick)(const struct perf_value *), struct strbuf *out)
{
    const struct perfdata *perfdata = render_perfdata(v, state);
    for (size_t i = 0; perfdata != NULL && i < perfdata->count; i++) {
        const struct perf_value *value = &perfdata->values[i];
        double number = pick(value);
        if (isnan(number))
            continue;
        open_sample(name, v, out);
        add_label("label", value->label, out);
        if (value->unit[0] != '\0')
            add_label("unit", value->unit, out);
        strbuf_adds(out, "\"} ");
        units_format_decimal(out, number);
        strbuf_addc(out, '\n');
    }
}

static double pick_gauge(const struct perf_value *value)
{
    return value->counter ? NAN : value->value;
}

static double pick_counter(const struct perf_value *value)
{
    return value->counter ? value->value : NAN;
}

static double pick_warn(const struct perf_value *value)
{
    return perf_range_plain(&value->warn);
}

static double pick_crit(const struct perf_value *value)
{
    return perf_range_plain(&value->crit);
}

static double pick_min(const struct perf_value *value)
{
    return value->min;
}

static double pick_max(const struct perf_value *value)
{
    return value->max;
}

/* The families about dependencies; one without any sample is left out. Each has an `add`, or a
 * `pick` for what plugins measured. */
static const struct row_family {
    const char *name, *type, *help;
    void (*add)(const char *name, const struct target_view *v, enum target_state state,
                struct strbuf *out);
    double (*pick)(const struct perf_value *value);
} row_families[] = {
    {"probe_success", "gauge", "Whether the last check succeeded and still counts.", add_success,
     NULL},
    {"probe_duration_seconds", "gauge", "How long the last check took.", add_duration, NULL},
    {"probe_dns_lookup_time_seconds", "gauge", "Time the last check spent in name look-up.",
     add_dns_time, NULL},
    {"probe_ip_protocol", "gauge", "IP version of the last check, 4 or 6.", add_ip_protocol, NULL},
    {"probe_http_status_code", "gauge", "HTTP status of the last check.", add_http_status, NULL},
    {"probe_http_duration_seconds", "gauge", "Time the last check spent in each phase.",
     add_http_phases, NULL},
    {"probe_ssl_earliest_cert_expiry", "gauge",
     "When the first certificate of the chain expires, in unix seconds.", add_cert_expiry, NULL},
    {"probe_dns_serial", "gauge", "Serial of the zone, by the SOA record of the last check.",
     add_dns_serial, NULL},
    {"healthsvc_dependency_state", "gauge", "1 for the state that the dependency is in.",
     add_states, NULL},
    {"healthsvc_dependency_last_check_timestamp_seconds", "gauge",
     "When the last check that counts ended.", add_last_check, NULL},
    {"healthsvc_dependency_checks_total", "counter",
     "Checks of the dependency by class of outcome.", add_checks, NULL},
    {"healthsvc_dependency_skipped_slots_total", "counter",
     "Slots of the dependency's schedule that were missed.", add_skipped, NULL},
    {"healthsvc_plugin_value", "gauge", "What the plugin measured, in base units.", NULL,
     pick_gauge},
    {"healthsvc_plugin_count_total", "counter", "What the plugin counted.", NULL, pick_counter},
    {"healthsvc_plugin_warn", "gauge", "Where the plugin warns, if that is one upper limit.", NULL,
     pick_warn},
    {"healthsvc_plugin_crit", "gauge", "Where it is critical, if that is one upper limit.", NULL,
     pick_crit},
    {"healthsvc_plugin_min", "gauge", "The least that the plugin can measure.", NULL, pick_min},
    {"healthsvc_plugin_max", "gauge", "The most that the plugin can measure.", NULL, pick_max},
};

static void add_dependencies(const struct snapshot *s, const struct moment *m,
                             const struct reading *r, body_place *places, struct strbuf *out)
{
    (void)r;
    (void)places;
    for (size_t i = 0; i < sizeof row_families / sizeof row_families[0]; i++) {
        const struct row_family *f = &row_families[i];
        size_t before = out->len;
        render_family(f->name, f->type, f->help, out);
        size_t head_end = out->len;
        for (size_t j = 0; j < snapshot_count(s); j++) {
            const struct target_view *v = snapshot_row(s, j);
            enum target_state state = target_state_at(v, m->now_mono_ms);
            if (f->add != NULL)
                f->add(f->name, v, state, out);
            else
                add_measured(f->name, v, state, f->pick, out);
        }
        if (out->len == head_end)
            strbuf_truncate(out, before);
    }
}

static void add_verdict(const struct reading *r, struct strbuf *out)
{
    render_family("healthsvc_verdict", "gauge", "1 for the verdict that /health gives.", out);
    for (int i = VERDICT_PASS; i <= VERDICT_FAIL; i++)
        strbuf_addf(out, "healthsvc_verdict{status=\"%s\"} %d\n", verdict_token((enum verdict)i),
                    (int)r->verdict == i);
}

/* All outcomes, seen or not: a rate needs the zero before the first. */
static void add_outcomes(struct strbuf *out)
{
    render_family("healthsvc_checks_total", "counter", "Checks that have ended, by outcome.", out);
    for (int i = 0; i < OUTCOME_COUNT; i++) {
        enum outcome o = (enum outcome)i;
        strbuf_addf(out, "healthsvc_checks_total{outcome=\"%s\",class=\"%s\"} ", outcome_token(o),
                    outcome_class_token(outcome_class(o)));
        add_int((int64_t)atomic_load_explicit(&stats.checks[i], memory_order_relaxed), out);
    }
}

static void add_requests(struct strbuf *out)
{
    render_family("healthsvc_http_requests_total", "counter", "HTTP answers by status code.", out);
    for (size_t i = 0; i < sizeof stats.requests / sizeof stats.requests[0]; i++) {
        uint64_t n = atomic_load_explicit(&stats.requests[i], memory_order_relaxed);
        if (n > 0)
            strbuf_addf(out, "healthsvc_http_requests_total{code=\"%zu\"} %" PRIu64 "\n", i, n);
    }
}

static int64_t read_count(const atomic_uint_fast64_t *counter)
{
    return (int64_t)atomic_load_explicit(counter, memory_order_relaxed);
}

static int64_t read_level(const atomic_int_fast64_t *level)
{
    return atomic_load_explicit(level, memory_order_relaxed);
}

static void add_one(const char *name, const char *type, const char *help,
                    void (*add)(int64_t value, struct strbuf *out), int64_t value,
                    struct strbuf *out)
{
    render_family(name, type, help, out);
    strbuf_adds(out, name);
    strbuf_addc(out, ' ');
    add(value, out);
}

static void add_checker(const struct moment *m, struct strbuf *out)
{
    int64_t silent_ms = m->now_mono_ms - m->beat_mono_ms;
    add_one("healthsvc_heartbeat_age_seconds", "gauge", "Time since the checker's loop last beat.",
            add_ms, silent_ms > 0 ? silent_ms : 0, out);
    add_one("healthsvc_loop_lag_seconds", "gauge", "How late the checker's loop last was.", add_us,
            read_level(&stats.loop_lag_us), out);
    add_one("healthsvc_loop_lag_max_seconds", "gauge", "How late the checker's loop ever was.",
            add_us, read_level(&stats.loop_lag_max_us), out);
    add_one("healthsvc_loop_stalls_total", "counter", "Stalls of the checker's loop.", add_int,
            read_count(&stats.loop_stalls), out);
    add_one("healthsvc_skipped_slots_total", "counter", "Slots of all schedules that were missed.",
            add_int, read_count(&stats.skipped_slots), out);
    add_one("healthsvc_checks_in_flight", "gauge", "Checks under way.", add_int,
            read_count(&stats.in_flight), out);
    add_one("healthsvc_connections_kept", "gauge", "Connections kept for the next check (reuse).",
            add_int, read_count(&stats.kept), out);
    add_one("healthsvc_commands_running", "gauge", "Commands of exec checks that run.", add_int,
            read_count(&stats.children), out);
    add_one("healthsvc_commands_waiting", "gauge", "Commands that wait for others to end.", add_int,
            read_count(&stats.children_waiting), out);
    add_one("healthsvc_commands_waited_total", "counter", "Commands that had to wait for others.",
            add_int, read_count(&stats.children_waited), out);
    render_family("healthsvc_start_lateness_seconds", "summary",
                  "How late checks started against their schedule.", out);
    strbuf_adds(out, "healthsvc_start_lateness_seconds_sum ");
    add_us(read_count(&stats.late_us), out);
    strbuf_adds(out, "healthsvc_start_lateness_seconds_count ");
    add_int(read_count(&stats.late_starts), out);
}

static void add_process(struct strbuf *out)
{
    render_family("healthsvc_reloads_total", "counter", "Reloads of the configuration.", out);
    strbuf_addf(out, "healthsvc_reloads_total{result=\"ok\"} %" PRId64 "\n",
                read_count(&stats.reloads_ok));
    strbuf_addf(out, "healthsvc_reloads_total{result=\"failed\"} %" PRId64 "\n",
                read_count(&stats.reloads_failed));
    add_one("healthsvc_config_last_reload_successful", "gauge",
            "Whether the configuration was last read without fault.", add_int,
            read_level(&stats.last_reload_ok), out);
    add_one("healthsvc_config_last_reload_success_timestamp_seconds", "gauge",
            "When a configuration was last read without fault.", add_ms,
            read_level(&stats.last_reload_wall_ms), out);
    add_requests(out);
    pollers_add_metrics(out);
    add_one("healthsvc_http_workers_busy", "gauge", "HTTP workers that serve a connection.",
            add_int, read_level(&stats.workers_busy), out);
    add_one("healthsvc_http_workers", "gauge", "HTTP workers.", add_int, read_level(&stats.workers),
            out);
    render_family("healthsvc_build_info", "gauge", "The version that runs.", out);
    strbuf_adds(out, "healthsvc_build_info{version=\"" PACKAGE_VERSION "\"} 1\n");
    add_one("process_start_time_seconds", "gauge", "When the process started.", add_ms,
            read_level(&stats.start_wall_ms), out);
}

void render_metrics(const struct snapshot *s, const struct moment *m, const struct reading *r,
                    struct strbuf *out)
{
    if (!r->as_published || !body_add(s, BODY_METRICS, add_dependencies, m, r, out))
        add_dependencies(s, m, r, NULL, out);
    add_verdict(r, out);
    add_outcomes(out);
    add_checker(m, out);
    add_process(out);
}
