/*
 * formats.h: what the formats share, so that all of them say the same of one dependency.
 *
 * Threads: any (pure). Errors: sticky in the strbuf.
 */
#ifndef HEALTHSVC_REPORT_FORMATS_H
#define HEALTHSVC_REPORT_FORMATS_H

#include <healthsvc/snapshot.h>

struct strbuf;

/* Room for a reason that depends on the moment. */
#define RENDER_REASON_BYTES 64

/* Why a dependency in that state is not well, for people; "" when it is up; RENDER_WITHHELD to who
 * is not told. Lies in the row or in `room`. */
#define RENDER_WITHHELD "reason withheld"
const char *render_reason(const struct target_view *v, enum target_state state,
                          const struct moment *m, char room[RENDER_REASON_BYTES]);
/* What follows a reason in the texts: "", " (optional)" or " (info)". */
const char *render_suffix(const struct target_view *v);

/* What a plugin measured, as long as that counts: a stale value must not pass for the present one.
 * NULL: nothing. */
const struct perfdata *render_perfdata(const struct target_view *v, enum target_state state);

/* The bodies of /health, rendered from the rows. */
void render_text(const struct snapshot *s, const struct moment *m, const struct reading *r,
                 struct strbuf *out);
void render_json(const struct snapshot *s, const struct moment *m, const struct reading *r,
                 struct strbuf *out);
void render_json_dependency(const struct snapshot *s, const struct target_view *v,
                            const struct moment *m, const struct reading *r, struct strbuf *out);
void render_nagios(const struct snapshot *s, const struct moment *m, const struct reading *r,
                   struct strbuf *out);
void render_nagios_dependency(const struct target_view *v, const struct moment *m,
                              const struct reading *r, struct strbuf *out);

/* The head of a family of metrics, and the value of a label with its escapes. */
void render_family(const char *name, const char *type, const char *help, struct strbuf *out);
void render_label_value(const char *value, struct strbuf *out);

/* The text body as rendered at publication. */
void snapshot_add_text(const struct snapshot *s, struct strbuf *out);

#endif
