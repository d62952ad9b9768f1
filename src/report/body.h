/*
 * body.h: what a snapshot keeps rendered after the first demand, and how it is made to tell the
 * age of things *now*.
 *
 * A body depends on the moment only in its age fields: fixed width, padded with spaces, at
 * remembered places, written anew in the reader's copy.
 * Owner: the snapshot; body_free() by its last unref.
 * Threads: any; whoever comes first renders, without a lock; of two at once one is thrown away.
 * Errors: no memory: body_add() says false, and the caller renders straight into its buffer.
 */
#ifndef HEALTHSVC_REPORT_BODY_H
#define HEALTHSVC_REPORT_BODY_H

#include <healthsvc/attr.h>
#include <healthsvc/snapshot.h>

#include <stdatomic.h>
#include <stdbool.h>
#include <stdint.h>

struct body;

enum body_kind {
    BODY_JSON = 0,
    BODY_JSON_WITHHELD, /* without reasons, as BODY_TEXT_WITHHELD */
    BODY_TEXT_WITHHELD,
    BODY_METRICS, /* the part about the dependencies */
};
#define BODY_KIND_COUNT 4

/* The places in a snapshot where its bodies are kept, BODY_KIND_COUNT of them. */
struct body_slots {
    _Atomic(struct body *) kept[BODY_KIND_COUNT];
};
struct body_slots *snapshot_slots(const struct snapshot *s);

/* Where the age fields of the rows are; 0: none (no body begins with one). */
typedef uint32_t body_place;

/* Renders the whole body; notes in places[row], unless `places` is NULL, each age field. */
typedef void (*body_render_fn)(const struct snapshot *s, const struct moment *m,
                               const struct reading *r, body_place *places, struct strbuf *out);

/* Adds the kept body to *out, rendering it if nobody has. Only for readings `as_published`. */
bool body_add(const struct snapshot *s, enum body_kind kind, body_render_fn render,
              const struct moment *m, const struct reading *r, struct strbuf *out) MUST_CHECK;
/* Accepts NULL, returns NULL. */
struct body *body_free(struct body *b);

/* Adds the age of a row's last check in milliseconds as an age field, noting its place. */
void body_add_age(const struct target_view *v, const struct moment *m, body_place *place,
                  struct strbuf *out);

#endif
