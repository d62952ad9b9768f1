/*
 * A publication may carry 10,000 rows ten times a second, so it is two allocations: one block with
 * the rows and the few texts that are not empty, and the text body that load balancers poll.
 * Names are borrowed from the configuration it references.
 *
 * Reading is O(1) while nothing is stale: the earliest moment at which a row can become stale is
 * known when the snapshot is made, and until then the verdict made with it holds. Afterwards (a
 * dependency that could not be asked for max_age) each reading walks the rows.
 */
#include <healthsvc/snapshot.h>

#include <healthsvc/config.h>
#include <healthsvc/region.h>
#include <healthsvc/strbuf.h>
#include "report/body.h"
#include "report/formats.h"

#include <errno.h>
#include <inttypes.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

struct snapshot {
    atomic_uint refs;
    struct region *region;       /* this lies in it */
    enum verdict verdict;        /* without regard to staleness */
    int64_t fresh_until_mono_ms; /* the last moment at which no row is stale */
    struct config *config;
    char *text; /* the body of /health by that verdict */
    size_t text_len;
    struct body_slots *slots; /* by pointer: the one thing that a const snapshot lets change */
    struct body_slots slots_memory;
    bool perfdata; /* any row has a reference on some */
    size_t count;
    struct target_view rows[]; /* then the texts they point to */
};

static enum verdict worse(enum verdict a, enum verdict b)
{
    return a > b ? a : b;
}

/* With its NUL; 0 for the empty text, which needs no copy. Longer ones are cut, as everywhere. */
static size_t text_bytes(const char *text)
{
    return text[0] == '\0' ? 0 : strnlen(text, OUTCOME_TEXT_BYTES - 1) + 1;
}

static const char *keep_text(const char *text, char **arena)
{
    size_t bytes = text_bytes(text);
    if (bytes == 0)
        return "";
    char *copy = *arena;
    memcpy(copy, text, bytes - 1);
    copy[bytes - 1] = '\0';
    *arena += bytes;
    return copy;
}

static int render_ahead(struct snapshot *s)
{
    /* Before every check, so that nothing is stale. */
    const struct moment m = {.now_mono_ms = 0};
    const struct reading r = {.verdict = s->verdict, .alive = true, .as_published = true};
    struct strbuf out;
    /* The widest line is two names' and a text's length. */
    strbuf_init(&out, (s->count + 4) * 2 * OUTCOME_TEXT_BYTES);
    render_text(s, &m, &r, &out);
    int rc = strbuf_error(&out);
    s->text_len = out.len;
    strbuf_fit(&out);
    s->text = strbuf_take(&out);
    strbuf_done(&out);
    if (s->text == NULL)
        return rc != 0 ? rc : -ENOMEM;
    return 0;
}

int snapshot_new(struct config *config, const struct target_view *const *views, size_t count,
                 struct snapshot **ret_snapshot)
{
    size_t arena_bytes = 0;
    for (size_t i = 0; i < count; i++)
        arena_bytes += text_bytes(views[i]->reason) + text_bytes(views[i]->own_text);
    /* Large, and gone with the next result: no hole of the heap must grow by it. */
    struct region *region = region_new();
    struct snapshot *s =
        region != NULL ? region_alloc(region, sizeof *s + count * sizeof s->rows[0] + arena_bytes)
                       : NULL;
    if (s == NULL) {
        region_free(region);
        return -ENOMEM;
    }
    *s = (struct snapshot){
        .region = region,
        .verdict = VERDICT_PASS,
        .fresh_until_mono_ms = INT64_MAX,
        .config = config_ref(config),
        .count = count,
    };
    atomic_init(&s->refs, 1);
    s->slots = &s->slots_memory;

    char *arena = (char *)&s->rows[count];
    for (size_t i = 0; i < count; i++) {
        struct target_view *v = &s->rows[i];
        *v = *views[i];
        v->reason = keep_text(v->reason, &arena);
        v->own_text = keep_text(v->own_text, &arena);
        perfdata_ref(v->perfdata);
        s->perfdata = s->perfdata || v->perfdata != NULL;
        s->verdict = worse(s->verdict, verdict_of_target(v, v->state));
        if (v->state != TARGET_UNKNOWN) {
            int64_t until = v->checked_mono_ms + v->conf->max_age_ms;
            if (until < s->fresh_until_mono_ms)
                s->fresh_until_mono_ms = until;
        }
    }

    int rc = render_ahead(s);
    if (rc != 0) {
        snapshot_unref(s);
        return rc;
    }
    *ret_snapshot = s;
    return 0;
}

struct snapshot *snapshot_ref(struct snapshot *s)
{
    atomic_fetch_add_explicit(&s->refs, 1, memory_order_relaxed);
    return s;
}

struct snapshot *snapshot_unref(struct snapshot *s)
{
    if (s == NULL || atomic_fetch_sub_explicit(&s->refs, 1, memory_order_acq_rel) > 1)
        return NULL;
    for (size_t i = 0; i < BODY_KIND_COUNT; i++)
        body_free(atomic_load_explicit(&s->slots->kept[i], memory_order_relaxed));
    for (size_t i = 0; s->perfdata && i < s->count; i++)
        perfdata_unref(s->rows[i].perfdata);
    free(s->text);
    config_unref(s->config);
    region_free(s->region);
    return NULL;
}

const struct config *snapshot_config(const struct snapshot *s)
{
    return s->config;
}

size_t snapshot_count(const struct snapshot *s)
{
    return s->count;
}

const struct target_view *snapshot_row(const struct snapshot *s, size_t i)
{
    return &s->rows[i];
}

/* A plain walk: 0.1 ms for 10,000 rows, on a path that people use; an index would cost memory in
 * every snapshot. */
const struct target_view *snapshot_find(const struct snapshot *s, const char *name, size_t len)
{
    for (size_t i = 0; i < s->count; i++) {
        const char *have = s->rows[i].conf->name;
        if (strlen(have) == len && memcmp(have, name, len) == 0)
            return &s->rows[i];
    }
    return NULL;
}

struct body_slots *snapshot_slots(const struct snapshot *s)
{
    return s->slots;
}

void snapshot_add_text(const struct snapshot *s, struct strbuf *out)
{
    strbuf_add(out, s->text, s->text_len);
}

static enum verdict verdict_at(const struct snapshot *s, int64_t now_mono_ms)
{
    enum verdict worst = VERDICT_PASS;
    for (size_t i = 0; i < s->count && worst != VERDICT_FAIL; i++) {
        const struct target_view *v = &s->rows[i];
        worst = worse(worst, verdict_of_target(v, target_state_at(v, now_mono_ms)));
    }
    return worst;
}

struct reading snapshot_read(const struct snapshot *s, const struct moment *m)
{
    int64_t silent_ms = m->now_mono_ms - m->beat_mono_ms;
    bool fresh = m->now_mono_ms <= s->fresh_until_mono_ms;
    struct reading r = {
        .verdict = fresh ? s->verdict : verdict_at(s, m->now_mono_ms),
        .alive = silent_ms <= HEARTBEAT_LIMIT_MS,
        .as_published = fresh && silent_ms <= HEARTBEAT_LIMIT_MS && !m->stopping,
    };
    /* Shutting down goes first: it is meant, it does not pass, and it explains a checker that has
     * ended already. */
    if (m->stopping)
        (void)snprintf(r.own_reason, sizeof r.own_reason, "shutting down");
    else if (!r.alive)
        (void)snprintf(r.own_reason, sizeof r.own_reason,
                       "stale: no check has completed for %" PRId64 " s", silent_ms / 1000);
    if (r.own_reason[0] != '\0')
        r.verdict = VERDICT_FAIL;
    return r;
}
