/*
 * render.h: what is said about a snapshot, in each format. Pure: snapshot and moment in, bytes out.
 *
 * Threads: any. Errors: sticky in the strbuf. Nothing is allocated beyond the strbuf's growth,
 * except, once a snapshot, what it keeps rendered ahead.
 */
#ifndef HEALTHSVC_RENDER_H
#define HEALTHSVC_RENDER_H

#include <healthsvc/snapshot.h>

enum render_format {
    RENDER_TEXT = 0,
    RENDER_JSON,
};

/* The body of /health. */
void render_health(const struct snapshot *s, const struct moment *m, const struct reading *r,
                   enum render_format format, struct strbuf *out);
/* The body of /health/NAME: the one line, or the JSON of that dependency alone. */
void render_dependency(const struct snapshot *s, const struct target_view *v,
                       const struct moment *m, const struct reading *r, enum render_format format,
                       struct strbuf *out);
/* True if one dependency answers 200: up or degraded now, checker alive, not stopping. */
bool render_dependency_ok(const struct target_view *v, const struct moment *m,
                          const struct reading *r);
/* The body of /readyz; returns whether ready. `verbose` lists lines also when ready. */
bool render_readyz(const struct snapshot *s, const struct moment *m, const struct reading *r,
                   bool verbose, struct strbuf *out);
/* The body of /metrics, text format 0.0.4. */
void render_metrics(const struct snapshot *s, const struct moment *m, const struct reading *r,
                    struct strbuf *out);

#endif
