/*
 * What a monitoring plugin prints (Nagios, Icinga, Naemon; Monitoring Plugins Development
 * Guidelines, "Plugin Output" and "Performance data"): one line, "HEALTHSVC WORD - TEXT | PERFDATA",
 * whose word is the exit code.
 *
 * The states are finer than the verdict, which knows only that a service is not fit: what was seen
 * to be down is CRITICAL, what could not be seen is UNKNOWN, and a shutdown, which is meant, is a
 * WARNING. A response time is the time of a good answer; a refused connection has none (U).
 */
#include <healthsvc/render.h>

#include <healthsvc/config.h>
#include <healthsvc/strbuf.h>
#include "report/culprits.h"
#include "report/formats.h"

#include <inttypes.h>
#include <stdio.h>
#include <string.h>

/* Nagios reads no more than 4 KB of a plugin; what has no room is left out, item by item. */
#define LINE_BYTES 4096
/* A name of 64 bytes, three numbers of seconds (a day in milliseconds or microseconds). */
#define ITEM_BYTES 160

#define PREFIX "HEALTHSVC "
#define DASH " - "

static const char *state_word(enum nagios_state state)
{
    switch (state) {
    case NAGIOS_OK:
        return "OK";
    case NAGIOS_WARNING:
        return "WARNING";
    case NAGIOS_CRITICAL:
        return "CRITICAL";
    case NAGIOS_UNKNOWN:
        break;
    }
    return "UNKNOWN";
}

void nagios_begin(struct strbuf *out, enum nagios_state state, const char *text)
{
    strbuf_adds(out, PREFIX);
    strbuf_adds(out, state_word(state));
    strbuf_adds(out, DASH);
    for (; *text != '\0'; text++) {
        char c = *text;
        if (c == '|')
            c = '/'; /* what follows one is perfdata */
        else if ((unsigned char)c < ' ' || c == 0x7f)
            c = ' ';
        strbuf_addc(out, c);
    }
}

bool nagios_read(const char *line, size_t len, enum nagios_state *ret_state)
{
    for (int i = NAGIOS_OK; i <= NAGIOS_UNKNOWN; i++) {
        enum nagios_state state = (enum nagios_state)i;
        char head[32];
        int head_len = snprintf(head, sizeof head, PREFIX "%s" DASH, state_word(state));
        if (len >= (size_t)head_len && memcmp(line, head, (size_t)head_len) == 0) {
            *ret_state = state;
            return true;
        }
    }
    return false;
}

static enum nagios_state own_state(const struct moment *m)
{
    return m->stopping ? NAGIOS_WARNING : NAGIOS_UNKNOWN;
}

static enum nagios_state target_word(enum target_state state)
{
    switch (state) {
    case TARGET_UP:
        return NAGIOS_OK;
    case TARGET_DEGRADED:
        return NAGIOS_WARNING;
    case TARGET_DOWN:
        return NAGIOS_CRITICAL;
    case TARGET_UNKNOWN:
    case TARGET_STALE:
        break;
    }
    return NAGIOS_UNKNOWN;
}

/* A verdict of fail: whether anything was seen to be down. */
static enum nagios_state failed_state(const struct snapshot *s, const struct moment *m)
{
    for (size_t i = 0; i < snapshot_count(s); i++) {
        const struct target_view *v = snapshot_row(s, i);
        enum target_state state = target_state_at(v, m->now_mono_ms);
        if (state == TARGET_DOWN && verdict_of_target(v, state) == VERDICT_FAIL)
            return NAGIOS_CRITICAL;
    }
    return NAGIOS_UNKNOWN;
}

static enum nagios_state service_state(const struct snapshot *s, const struct moment *m,
                                       const struct reading *r)
{
    if (r->own_reason[0] != '\0')
        return own_state(m);
    switch (r->verdict) {
    case VERDICT_PASS:
        return NAGIOS_OK;
    case VERDICT_WARN:
        return NAGIOS_WARNING;
    case VERDICT_FAIL:
        break;
    }
    return failed_state(s, m);
}

static void add_limit(int64_t limit_ms, struct strbuf *out)
{
    strbuf_addc(out, ';');
    if (limit_ms > 0)
        strbuf_addf(out, "%" PRId64 ".%03" PRId64, limit_ms / 1000, limit_ms % 1000);
}

/* "'NAME'=SECONDS;WARN;CRIT;MIN", at most ITEM_BYTES with what goes before: names are of
 * [A-Za-z0-9._-], they need no escaping. */
static void add_item(const char *before, const struct target_view *v, const struct moment *m,
                     struct strbuf *out)
{
    enum target_state state = target_state_at(v, m->now_mono_ms);
    enum outcome_class class = outcome_class(v->outcome);
    bool answered = state != TARGET_UNKNOWN && state != TARGET_STALE &&
                    (class == OUTCOME_CLASS_GOOD || class == OUTCOME_CLASS_WARNING);
    strbuf_addf(out, "%s'%s'=", before, v->conf->name);
    if (!answered) {
        strbuf_addc(out, 'U');
        return;
    }
    strbuf_addf(out, "%" PRId64 ".%06" PRId64 "s", v->total_us / 1000000, v->total_us % 1000000);
    add_limit(v->conf->time_warn_ms, out);
    add_limit(v->conf->time_fail_ms, out);
    strbuf_adds(out, ";0");
}

void render_nagios(const struct snapshot *s, const struct moment *m, const struct reading *r,
                   struct strbuf *out)
{
    size_t count = snapshot_count(s), up = 0, start = out->len;
    struct culprits c = {.len = 0};
    char counted[64];
    enum nagios_state word = service_state(s, m, r);

    for (size_t i = 0; i < count; i++) {
        enum target_state state = target_state_at(snapshot_row(s, i), m->now_mono_ms);
        up += state == TARGET_UP || state == TARGET_DEGRADED;
    }
    if (count > 0)
        (void)snprintf(counted, sizeof counted, "%zu of %zu %s up", up, count,
                       count == 1 ? "dependency" : "dependencies");
    else
        (void)snprintf(counted, sizeof counted, "up and running");
    culprits_of_verdict(&c, s, m, r);
    nagios_begin(out, word, word == NAGIOS_OK ? counted : culprits_text(&c));
    for (size_t i = 0; i < count && out->len - start + ITEM_BYTES < LINE_BYTES; i++)
        add_item(i == 0 ? " | " : " ", snapshot_row(s, i), m, out);
    strbuf_addc(out, '\n');
}

void render_nagios_dependency(const struct target_view *v, const struct moment *m,
                              const struct reading *r, struct strbuf *out)
{
    struct culprits c = {.len = 0};
    enum target_state state = target_state_at(v, m->now_mono_ms);
    culprits_of_dependency(&c, v, m, r);
    if (c.len == 0)
        culprits_add(&c, v->conf->name, "up");
    nagios_begin(out, r->own_reason[0] != '\0' ? own_state(m) : target_word(state),
                 culprits_text(&c));
    add_item(" | ", v, m, out);
    strbuf_addc(out, '\n');
}
