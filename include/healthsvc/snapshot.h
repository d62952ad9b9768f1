/*
 * snapshot.h: the results at one moment, immutable and shared, and how they read *now*.
 *
 * Owner: whoever holds a reference. The last snapshot_unref() frees, on any thread.
 * Threads: made on the checker thread; read on any.
 * Errors: snapshot_new() -ENOMEM (the caller keeps the one before).
 */
#ifndef HEALTHSVC_SNAPSHOT_H
#define HEALTHSVC_SNAPSHOT_H

#include <healthsvc/attr.h>
#include <healthsvc/results.h>
#include <healthsvc/verdict.h>

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

struct config;
struct snapshot;
struct strbuf;

/* Copies the views (texts included), keeps references on config and on what plugins measured,
 * renders the text body. */
int snapshot_new(struct config *config, const struct target_view *const *views, size_t count,
                 struct snapshot **ret_snapshot) MUST_CHECK;
struct snapshot *snapshot_ref(struct snapshot *s);
struct snapshot *snapshot_unref(struct snapshot *s); /* accepts NULL, returns NULL */

const struct config *snapshot_config(const struct snapshot *s);
size_t snapshot_count(const struct snapshot *s);
const struct target_view *snapshot_row(const struct snapshot *s, size_t i);
/* The row of that dependency (`len` bytes of name), or NULL. */
const struct target_view *snapshot_find(const struct snapshot *s, const char *name, size_t len);

/* What a reader must know besides the snapshot. */
struct moment {
    int64_t now_mono_ms;
    int64_t now_wall_ms;
    int64_t beat_mono_ms; /* the checker loop's last beat */
    bool stopping;        /* shutdown has begun */
    bool withhold;        /* the reader is told states, but not why (`details`) */
};
#define HEARTBEAT_LIMIT_MS 5000

/* The verdict as it is at a moment. */
struct reading {
    enum verdict verdict;
    char own_reason[80]; /* "" unless the reason is the service's own: "shutting down",
                            "stale: no check has completed for 12 s" */
    bool alive;          /* the checker beats (/livez) */
    bool as_published;   /* nothing stale, no own reason: what was rendered ahead is right */
};
struct reading snapshot_read(const struct snapshot *s, const struct moment *m);

#endif
