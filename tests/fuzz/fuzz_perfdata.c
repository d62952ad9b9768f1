/*
 * The performance data of any output. An input is one byte, whether the output was cut, and then
 * the output; what is promised of the result is looked at, and all of it is read. Then the output is
 * what a dependency says, and the answers that are made of it must be of their form: a plugin's line
 * from which the same values can be read, JSON, and lines of metrics.
 */
#ifdef HAVE_CONFIG_H
#include <config.h>
#endif

#include "fuzz.h"

#include "../unit/report_fixture.h"

#include <healthsvc/perfdata.h>
#include <healthsvc/probe.h>
#include <healthsvc/render.h>
#include <healthsvc/strbuf.h>

#include <math.h>
#include <stdbool.h>
#ifdef HAVE_JANSSON
#include <jansson.h>
#endif

static void check_text(const char *text, size_t min, size_t max)
{
    size_t len = strlen(text);
    HOLDS(len >= min && len <= max);
    HOLDS(fuzz_is_plain(text));
}

static void check_range(const struct perf_range *range)
{
    double plain = perf_range_plain(range);
    HOLDS(isnan(range->start) == isnan(range->end) && !(range->start > range->end));
    HOLDS(isnan(plain) || (isfinite(plain) && !range->inside));
}

static void check_values(const struct perfdata *p)
{
    HOLDS(p->count > 0 && p->count <= PERFDATA_MAX);
    for (size_t i = 0; i < p->count; i++) {
        const struct perf_value *v = &p->values[i];
        check_text(v->label, 1, PERFDATA_LABEL_MAX);
        check_text(v->unit, 0, PERFDATA_UNIT_MAX);
        HOLDS(isfinite(v->value) && !isinf(v->min) && !isinf(v->max));
        check_range(&v->warn);
        check_range(&v->crit);
        for (size_t k = 0; k < i; k++)
            HOLDS(strcmp(v->label, p->values[k].label) != 0);
    }
}

/* ---- what is made of it ---- */

static void check_nagios(const char *line, size_t len)
{
    enum nagios_state state;
    HOLDS(nagios_read(line, len, &state));
    HOLDS(memchr(line, '\n', len) == line + len - 1);
    struct perfdata *own = perfdata_parse(line, len, false);
    if (own != NULL)
        check_values(own);
    perfdata_unref(own);
}

static void check_json(const char *text, size_t len)
{
#ifdef HAVE_JANSSON
    json_t *root = json_loadb(text, len, JSON_REJECT_DUPLICATES, NULL);
    HOLDS(root != NULL);
    json_decref(root);
#else
    (void)text;
    (void)len;
#endif
}

/* A comment, or "name{label=\"value\",...} number" (text format 0.0.4). */
static void check_metric(const char *line, const char *end)
{
    if (*line == '#')
        return;
    const char *at = line + strspn(line, "abcdefghijklmnopqrstuvwxyz_");
    HOLDS(at > line);
    if (*at == '{') {
        bool quoted = false;
        for (at++; at < end && (quoted || *at != '}'); at++) {
            if (*at == '"')
                quoted = !quoted;
            else if (*at == '\\' && quoted)
                at++;
        }
        HOLDS(at < end);
        at++;
    }
    HOLDS(*at == ' ');
    char *rest = NULL;
    double value = strtod(at + 1, &rest);
    HOLDS(rest == end && !isinf(value));
}

void fuzz_check_metrics(const char *text)
{
    while (*text != '\0') {
        const char *end = strchr(text, '\n');
        HOLDS(end != NULL);
        check_metric(text, end);
        text = end + 1;
    }
}

static void check_answers(struct perfdata *p, const char *reason)
{
    struct moment moment = fixture_moment(0);
    struct strbuf out;
    fixture_reset();
    fixture_set(BROKER, TARGET_DOWN, OUTCOME_CRITICAL, reason);
    fixture_views[DISK].perfdata = p;
    struct snapshot *s = fixture_snapshot(FIXTURE_COUNT);
    HOLDS(s != NULL);
    struct reading reading = snapshot_read(s, &moment);
    strbuf_init(&out, 1 << 20);
    for (int f = 0; f < RENDER_FORMAT_COUNT; f++) {
        strbuf_clear(&out);
        render_health(s, &moment, &reading, (enum render_format)f, &out);
        HOLDS(strbuf_error(&out) == 0 && strlen(out.data) == out.len);
        if (f == RENDER_NAGIOS)
            check_nagios(out.data, out.len);
        else if (f == RENDER_JSON)
            check_json(out.data, out.len);
    }
    strbuf_clear(&out);
    render_dependency(s, snapshot_row(s, BROKER), &moment, &reading, RENDER_NAGIOS, &out);
    check_nagios(out.data, out.len);
    strbuf_clear(&out);
    render_metrics(s, &moment, &reading, &out);
    HOLDS(strbuf_error(&out) == 0);
    fuzz_check_metrics(out.data);
    strbuf_done(&out);
    snapshot_unref(s);
    fixture_views[DISK].perfdata = NULL;
}

void fuzz_perfdata(const struct fuzz_target *target, const uint8_t *data, size_t size)
{
    (void)target;
    if (size < 1)
        return;
    char *output = fuzz_copy(data + 1, size - 1);
    struct strbuf reason;
    struct perfdata *p = perfdata_parse(output, size - 1, data[0] & 1);
    strbuf_init(&reason, 256);
    strbuf_add_printable(&reason, output, size - 1, 120); /* as exec.c does */
    free(output);                                         /* nothing may point there */
    if (p != NULL)
        check_values(p);
    check_answers(p, reason.data);
    strbuf_done(&reason);
    perfdata_unref(p);
}
