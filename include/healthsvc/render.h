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
    RENDER_NAGIOS, /* a monitoring plugin's line */
};
#define RENDER_FORMAT_COUNT 3
const char *render_format_word(enum render_format f); /* "text" "json" "nagios" */
/* The format of that word (`len` bytes); false: there is none. */
bool render_format_find(const char *word, size_t len, enum render_format *ret_format);

/* The body of /health. */
void render_health(const struct snapshot *s, const struct moment *m, const struct reading *r,
                   enum render_format format, struct strbuf *out);
/* The body of /health/NAME: the same about that dependency alone. */
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

/* A plugin's states are its exit codes. */
enum nagios_state {
    NAGIOS_OK = 0,
    NAGIOS_WARNING = 1,
    NAGIOS_CRITICAL = 2,
    NAGIOS_UNKNOWN = 3,
};
/* Adds "HEALTHSVC WORD - TEXT", the text made fit for it; perfdata and the line's end may follow. */
void nagios_begin(struct strbuf *out, enum nagios_state state, const char *text);
/* The state that such a line begins with; false: it is none. */
bool nagios_read(const char *line, size_t len, enum nagios_state *ret_state);

#endif
