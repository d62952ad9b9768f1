/*
 * The text format: the original system's words, one line a dependency. Here too is what all
 * formats share, so that none of them can tell another story.
 */
#include <healthsvc/render.h>

#include <healthsvc/config.h>
#include <healthsvc/strbuf.h>
#include "report/body.h"
#include "report/formats.h"

#include <inttypes.h>
#include <stdio.h>
#include <string.h>

const char *render_format_word(enum render_format f)
{
    switch (f) {
    case RENDER_TEXT:
        break;
    case RENDER_JSON:
        return "json";
    case RENDER_NAGIOS:
        return "nagios";
    }
    return "text";
}

bool render_format_find(const char *word, size_t len, enum render_format *ret_format)
{
    for (int i = 0; i < RENDER_FORMAT_COUNT; i++) {
        const char *known = render_format_word((enum render_format)i);
        if (len == strlen(known) && memcmp(word, known, len) == 0) {
            *ret_format = (enum render_format)i;
            return true;
        }
    }
    return false;
}

const char *render_reason(const struct target_view *v, enum target_state state,
                          const struct moment *m, char room[RENDER_REASON_BYTES])
{
    if (m->withhold && state != TARGET_UP)
        return RENDER_WITHHELD;
    switch (state) {
    case TARGET_UP:
        return "";
    case TARGET_UNKNOWN:
        return "not checked yet";
    case TARGET_STALE:
        (void)snprintf(room, RENDER_REASON_BYTES, "stale: last checked %" PRId64 "s ago",
                       (m->now_mono_ms - v->checked_mono_ms) / 1000);
        return room;
    case TARGET_DEGRADED:
    case TARGET_DOWN:
        break;
    }
    return v->reason;
}

const char *render_suffix(const struct target_view *v)
{
    switch (v->conf->importance) {
    case IMPORTANCE_REQUIRED:
        break;
    case IMPORTANCE_OPTIONAL:
        return " (optional)";
    case IMPORTANCE_INFO:
        return " (info)";
    }
    return "";
}

const struct perfdata *render_perfdata(const struct target_view *v, enum target_state state)
{
    return state != TARGET_STALE ? v->perfdata : NULL;
}

/* No printf here: this runs for every dependency at every publication. */
static void add_line(const char *name, const char *status, const char *reason, const char *suffix,
                     struct strbuf *out)
{
    strbuf_adds(out, name);
    strbuf_adds(out, " status: ");
    strbuf_adds(out, status);
    if (reason[0] != '\0') {
        strbuf_adds(out, ". ");
        strbuf_adds(out, reason);
        strbuf_adds(out, suffix);
    }
    strbuf_addc(out, '\n');
}

static void add_row(const struct target_view *v, const struct moment *m, struct strbuf *out)
{
    enum target_state state = target_state_at(v, m->now_mono_ms);
    char room[RENDER_REASON_BYTES];
    const char *status = "Error";
    if (state == TARGET_UP)
        status = "OK";
    else if (state == TARGET_DEGRADED)
        status = "Warning";
    const char *reason = m->withhold ? "" : render_reason(v, state, m, room);
    add_line(v->conf->name, status, reason, render_suffix(v), out);
}

static const char *verdict_word(enum verdict v)
{
    switch (v) {
    case VERDICT_PASS:
        return "OK";
    case VERDICT_WARN:
        return "Warning";
    case VERDICT_FAIL:
        break;
    }
    return "Error";
}

void render_text(const struct snapshot *s, const struct moment *m, const struct reading *r,
                 struct strbuf *out)
{
    size_t count = snapshot_count(s);
    if (count == 0 && r->own_reason[0] == '\0') {
        strbuf_adds(out, "Up and running\n");
        return;
    }
    add_line(snapshot_config(s)->name, verdict_word(r->verdict), r->own_reason, "", out);
    if (count > 0)
        strbuf_adds(out, "Dependencies:\n");
    for (size_t i = 0; i < count; i++)
        add_row(snapshot_row(s, i), m, out);
}

/* What was published is for those who are told everything; the other body is made on demand. */
static void add_withheld(const struct snapshot *s, const struct moment *m, const struct reading *r,
                         body_place *places, struct strbuf *out)
{
    (void)places;
    render_text(s, m, r, out);
}

static void add_text(const struct snapshot *s, const struct moment *m, const struct reading *r,
                     struct strbuf *out)
{
    if (r->as_published && !m->withhold)
        snapshot_add_text(s, out);
    else if (!r->as_published || !body_add(s, BODY_TEXT_WITHHELD, add_withheld, m, r, out))
        render_text(s, m, r, out);
}

void render_health(const struct snapshot *s, const struct moment *m, const struct reading *r,
                   enum render_format format, struct strbuf *out)
{
    switch (format) {
    case RENDER_TEXT:
        add_text(s, m, r, out);
        break;
    case RENDER_JSON:
        render_json(s, m, r, out);
        break;
    case RENDER_NAGIOS:
        render_nagios(s, m, r, out);
        break;
    }
}

bool render_dependency_ok(const struct target_view *v, const struct moment *m,
                          const struct reading *r)
{
    enum target_state state = target_state_at(v, m->now_mono_ms);
    return (state == TARGET_UP || state == TARGET_DEGRADED) && r->alive && !m->stopping;
}

void render_dependency(const struct snapshot *s, const struct target_view *v,
                       const struct moment *m, const struct reading *r, enum render_format format,
                       struct strbuf *out)
{
    enum target_state state = target_state_at(v, m->now_mono_ms);
    bool well = state == TARGET_UP || state == TARGET_DEGRADED;
    switch (format) {
    case RENDER_TEXT:
        /* A failing code over a line that says OK would leave people guessing. */
        if (well && !render_dependency_ok(v, m, r))
            add_line(v->conf->name, "Error", r->own_reason, "", out);
        else
            add_row(v, m, out);
        break;
    case RENDER_JSON:
        render_json_dependency(s, v, m, r, out);
        break;
    case RENDER_NAGIOS:
        render_nagios_dependency(v, m, r, out);
        break;
    }
}
