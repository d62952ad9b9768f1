/*
 * application/health+json (draft-inadarei-api-health-check-06), with keys of our own beside it:
 * the draft allows them. One dependency a line, so that people can read it too.
 *
 * What is said of a check is said as of that check (certificateDaysLeft counts from it); only
 * checkedAgoMs is about now, so that the body can be kept. A row can only be stale in a reading
 * that is not as published, which is never kept.
 */
#include <healthsvc/render.h>

#include <healthsvc/config.h>
#include <healthsvc/perfdata.h>
#include <healthsvc/strbuf.h>
#include <healthsvc/units.h>
#include "report/body.h"
#include "report/culprits.h"
#include "report/formats.h"

#include <inttypes.h>
#include <math.h>
#include <stdio.h>
#include <string.h>
#include <time.h>

#define DAY_S 86400

static void add_token(const char *key, const char *token, struct strbuf *out)
{
    strbuf_addf(out, ",\"%s\":\"%s\"", key, token);
}

static void add_ms(const char *key, int64_t us, struct strbuf *out)
{
    strbuf_addf(out, "\"%s\":%" PRId64 ".%03" PRId64, key, us / 1000, us % 1000);
}

static void add_time(const char *key, int64_t wall_ms, struct strbuf *out)
{
    time_t seconds = (time_t)(wall_ms / 1000);
    struct tm utc;
    char text[40];
    if (gmtime_r(&seconds, &utc) == NULL ||
        strftime(text, sizeof text, "%Y-%m-%dT%H:%M:%S", &utc) == 0)
        return;
    strbuf_addf(out, ",\"%s\":\"%s.%03dZ\"", key, text, (int)(wall_ms % 1000));
}

static int64_t days_left(const struct target_view *v)
{
    int64_t seconds = v->cert_expires_wall_s - v->checked_wall_ms / 1000;
    int64_t days = seconds / DAY_S;
    return seconds % DAY_S < 0 ? days - 1 : days;
}

/* The draft's word for one dependency, by its own state. */
static enum verdict state_status(enum target_state state)
{
    switch (state) {
    case TARGET_UP:
        return VERDICT_PASS;
    case TARGET_DEGRADED:
        return VERDICT_WARN;
    case TARGET_UNKNOWN:
    case TARGET_DOWN:
    case TARGET_STALE:
        break;
    }
    return VERDICT_FAIL;
}

static void add_last_check(const struct target_view *v, const struct moment *m, body_place *place,
                           struct strbuf *out)
{
    if (!m->withhold)
        add_token("outcome", outcome_token(v->outcome), out);
    strbuf_addc(out, ',');
    add_ms("observedValue", v->total_us, out);
    add_token("observedUnit", "ms", out);
    add_time("time", v->checked_wall_ms, out);
    strbuf_adds(out, ",\"checkedAgoMs\":");
    body_add_age(v, m, place, out);
    if (m->withhold)
        return;
    strbuf_adds(out, ",\"phases\":{");
    for (int i = 0; i < PROBE_PHASE_COUNT; i++) {
        if (i > 0)
            strbuf_addc(out, ',');
        add_ms(probe_phase_token((enum probe_phase)i), v->phase_us[i], out);
    }
    strbuf_addc(out, '}');
    if (v->cert_expires_wall_s != 0)
        strbuf_addf(out, ",\"certificateDaysLeft\":%" PRId64, days_left(v));
}

static void add_number(const char *key, double value, struct strbuf *out)
{
    if (isnan(value))
        return;
    strbuf_addf(out, ",\"%s\":", key);
    units_format_decimal(out, value);
}

/* As plugins write it: "10", "10:", "~:10", "@10:20". */
static void add_range(const char *key, const struct perf_range *range, struct strbuf *out)
{
    if (isnan(range->start))
        return;
    strbuf_addf(out, ",\"%s\":\"%s", key, range->inside ? "@" : "");
    if (isinf(range->start)) {
        strbuf_adds(out, "~:");
    } else if (range->start != 0 || isinf(range->end)) {
        units_format_decimal(out, range->start);
        strbuf_addc(out, ':');
    }
    if (!isinf(range->end))
        units_format_decimal(out, range->end);
    strbuf_addc(out, '"');
}

/* Entries beside that of the check, without a status: what the values mean for the dependency is
 * the plugin's word, which is in its exit code. A key has one colon (section 4 of the draft). */
static void add_perfdata(const struct target_view *v, enum target_state state, struct strbuf *out)
{
    const struct perfdata *perfdata = render_perfdata(v, state);
    for (size_t i = 0; perfdata != NULL && i < perfdata->count; i++) {
        const struct perf_value *value = &perfdata->values[i];
        char key[128 + PERFDATA_LABEL_MAX];
        size_t name = (size_t)snprintf(key, sizeof key, "%s:", v->conf->name);
        (void)snprintf(key + name, sizeof key - name, "%s", value->label);
        for (char *colon = key + name; (colon = strchr(colon, ':')) != NULL;)
            *colon = '_';
        if (strcmp(key + name, "responseTime") == 0)
            continue; /* the check's own */
        strbuf_adds(out, ",\n");
        strbuf_add_json(out, key);
        strbuf_addf(out, ":[{\"componentId\":\"%s\"", v->conf->name);
        add_token("componentType", "component", out);
        add_number("observedValue", value->value, out);
        if (value->unit[0] != '\0') {
            strbuf_adds(out, ",\"observedUnit\":");
            strbuf_add_json(out, value->unit);
        }
        add_range("warn", &value->warn, out);
        add_range("critical", &value->crit, out);
        add_number("min", value->min, out);
        add_number("max", value->max, out);
        add_time("time", v->checked_wall_ms, out);
        strbuf_adds(out, "}]");
    }
}

/* Names are of [A-Za-z0-9._-] only: they need no escaping and cannot spoil the key. */
static void add_row(const struct target_view *v, const struct moment *m, body_place *place,
                    struct strbuf *out)
{
    enum target_state state = target_state_at(v, m->now_mono_ms);
    char room[RENDER_REASON_BYTES];
    const char *reason = render_reason(v, state, m, room);
    strbuf_addf(out, "\"%s:responseTime\":[{\"componentId\":\"%s\"", v->conf->name, v->conf->name);
    add_token("componentType", "component", out);
    add_token("status", verdict_token(state_status(state)), out);
    add_token("state", target_state_token(state), out);
    add_token("importance", importance_token(v->conf->importance), out);
    if (v->since_wall_ms != 0)
        add_time("since", v->since_wall_ms, out);
    if (v->checked_mono_ms != 0)
        add_last_check(v, m, place, out);
    if (reason[0] != '\0') {
        strbuf_adds(out, ",\"output\":");
        strbuf_add_json(out, reason);
    }
    if (m->withhold) {
        strbuf_adds(out, "}]");
        return;
    }
    if (state == TARGET_UP && v->reason[0] != '\0') {
        strbuf_adds(out, ",\"note\":");
        strbuf_add_json(out, v->reason);
    }
    if (v->own != OUTCOME_OK) {
        strbuf_adds(out, ",\"own\":");
        strbuf_add_json(out, v->own_text[0] != '\0' ? v->own_text : outcome_sentence(v->own));
    }
    strbuf_adds(out, "}]");
    add_perfdata(v, state, out);
}

static void add_head(const struct snapshot *s, enum verdict status, const char *description,
                     struct strbuf *out)
{
    strbuf_addf(out, "{\"status\":\"%s\",\"serviceId\":", verdict_token(status));
    strbuf_add_json(out, snapshot_config(s)->name);
    strbuf_adds(out, ",\"description\":");
    strbuf_add_json(out, description);
}

static void add_own(const struct reading *r, struct strbuf *out)
{
    if (r->own_reason[0] == '\0')
        return;
    strbuf_adds(out, ",\"own\":");
    strbuf_add_json(out, r->own_reason);
}

static void add_output(struct culprits *c, struct strbuf *out)
{
    const char *text = culprits_text(c);
    if (text[0] == '\0')
        return;
    strbuf_adds(out, ",\"output\":");
    strbuf_add_json(out, text);
}

static void add_health(const struct snapshot *s, const struct moment *m, const struct reading *r,
                       body_place *places, struct strbuf *out)
{
    struct culprits c = {.len = 0};
    char description[256];
    (void)snprintf(description, sizeof description, "health of %s", snapshot_config(s)->name);
    add_head(s, r->verdict, description, out);
    culprits_of_verdict(&c, s, m, r);
    add_output(&c, out);
    add_own(r, out);
    strbuf_adds(out, ",\"checks\":{");
    for (size_t i = 0; i < snapshot_count(s); i++) {
        strbuf_adds(out, i > 0 ? ",\n" : "\n");
        add_row(snapshot_row(s, i), m, places != NULL ? &places[i] : NULL, out);
    }
    strbuf_adds(out, "}}\n");
}

void render_json(const struct snapshot *s, const struct moment *m, const struct reading *r,
                 struct strbuf *out)
{
    enum body_kind kind = m->withhold ? BODY_JSON_WITHHELD : BODY_JSON;
    if (!r->as_published || !body_add(s, kind, add_health, m, r, out))
        add_health(s, m, r, NULL, out);
}

void render_json_dependency(const struct snapshot *s, const struct target_view *v,
                            const struct moment *m, const struct reading *r, struct strbuf *out)
{
    enum target_state state = target_state_at(v, m->now_mono_ms);
    struct culprits c = {.len = 0};
    char description[256];
    (void)snprintf(description, sizeof description, "health of %s as %s sees it", v->conf->name,
                   snapshot_config(s)->name);
    add_head(s, r->own_reason[0] != '\0' ? VERDICT_FAIL : state_status(state), description, out);
    culprits_of_dependency(&c, v, m, r);
    add_output(&c, out);
    add_own(r, out);
    strbuf_adds(out, ",\"checks\":{\n");
    add_row(v, m, NULL, out);
    strbuf_adds(out, "}}\n");
}
