/*
 * /readyz in the manner of the Kubernetes API server, whose verbose lines people can read already.
 *
 * Ready is: no verdict of fail. That a required dependency has not been asked yet, that the
 * checker is stalled and that a shutdown has begun are all such verdicts already, and what a
 * reload has added does not count in either until its first outcome.
 */
#include <healthsvc/render.h>

#include <healthsvc/config.h>
#include <healthsvc/strbuf.h>
#include "report/formats.h"

static void add_failed(const char *name, const char *reason, const char *suffix, struct strbuf *out)
{
    strbuf_adds(out, "[-]");
    strbuf_adds(out, name);
    strbuf_adds(out, " failed: ");
    strbuf_adds(out, reason);
    strbuf_adds(out, suffix);
    strbuf_addc(out, '\n');
}

static void add_row(const struct target_view *v, const struct moment *m, struct strbuf *out)
{
    enum target_state state = target_state_at(v, m->now_mono_ms);
    if (state == TARGET_UP || state == TARGET_DEGRADED) {
        strbuf_adds(out, "[+]");
        strbuf_adds(out, v->conf->name);
        strbuf_adds(out, " ok\n");
    } else {
        char room[RENDER_REASON_BYTES];
        add_failed(v->conf->name, render_reason(v, state, m, room), render_suffix(v), out);
    }
}

bool render_readyz(const struct snapshot *s, const struct moment *m, const struct reading *r,
                   bool verbose, struct strbuf *out)
{
    bool ready = r->verdict != VERDICT_FAIL;
    if (ready && !verbose) {
        strbuf_adds(out, "ok");
        return true;
    }
    if (r->own_reason[0] != '\0')
        add_failed(m->stopping ? "shutdown" : "checker", r->own_reason, "", out);
    for (size_t i = 0; i < snapshot_count(s); i++)
        add_row(snapshot_row(s, i), m, out);
    strbuf_adds(out, ready ? "readyz check passed\n" : "readyz check failed\n");
    return ready;
}
