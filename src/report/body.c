/*
 * Bodies are kept because a snapshot may be read thousands of times before the next one, and
 * rendered only on demand because most are never asked for in that format. The reader's moment
 * is not part of them: see the age fields.
 */
#include "report/body.h"

#include <healthsvc/strbuf.h>

#include <stdlib.h>

/* A limit against our own bugs: 10,000 dependencies need 20 MB in the widest format, and a place
 * must fit a body_place. */
#define BODY_LIMIT_BYTES ((size_t)1 << 30)
/* Digits of an age field: 300 years in milliseconds. */
#define AGE_WIDTH 13
#define AGE_MAX_MS INT64_C(9999999999999)

struct body {
    char *bytes;
    size_t len;
    body_place places[]; /* one a row */
};

struct body *body_free(struct body *b)
{
    if (b != NULL)
        free(b->bytes);
    free(b);
    return NULL;
}

static void write_age(const struct target_view *v, const struct moment *m, char *field)
{
    int64_t age_ms = m->now_mono_ms - v->checked_mono_ms;
    /* A reader may have looked at the clock just before the check ended. */
    if (age_ms < 0)
        age_ms = 0;
    if (age_ms > AGE_MAX_MS)
        age_ms = AGE_MAX_MS;
    size_t i = AGE_WIDTH;
    do {
        field[--i] = (char)('0' + age_ms % 10);
        age_ms /= 10;
    } while (age_ms > 0);
    while (i > 0)
        field[--i] = ' ';
}

void body_add_age(const struct target_view *v, const struct moment *m, body_place *place,
                  struct strbuf *out)
{
    char field[AGE_WIDTH];
    write_age(v, m, field);
    if (place != NULL)
        *place = (body_place)out->len;
    strbuf_add(out, field, sizeof field);
}

static struct body *body_new(const struct snapshot *s, body_render_fn render,
                             const struct moment *m, const struct reading *r)
{
    struct body *b = calloc(1, sizeof *b + snapshot_count(s) * sizeof b->places[0]);
    if (b == NULL)
        return NULL;
    struct strbuf out;
    strbuf_init(&out, BODY_LIMIT_BYTES);
    render(s, m, r, b->places, &out);
    b->len = out.len;
    b->bytes = strbuf_take(&out);
    strbuf_done(&out);
    if (b->bytes == NULL)
        return body_free(b);
    return b;
}

bool body_add(const struct snapshot *s, enum body_kind kind, body_render_fn render,
              const struct moment *m, const struct reading *r, struct strbuf *out)
{
    _Atomic(struct body *) *slot = &snapshot_slots(s)->kept[kind];
    struct body *b = atomic_load_explicit(slot, memory_order_acquire);
    if (b == NULL) {
        struct body *mine = body_new(s, render, m, r);
        if (mine == NULL)
            return false;
        if (atomic_compare_exchange_strong_explicit(slot, &b, mine, memory_order_acq_rel,
                                                    memory_order_acquire))
            b = mine;
        else
            body_free(mine);
    }

    size_t start = out->len;
    strbuf_add(out, b->bytes, b->len);
    if (strbuf_error(out) != 0)
        return true; /* the caller sees the error; there is no copy to patch */
    for (size_t i = 0; i < snapshot_count(s); i++) {
        if (b->places[i] != 0)
            write_age(snapshot_row(s, i), m, out->data + start + b->places[i]);
    }
    return true;
}
