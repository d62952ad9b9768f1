/* Bounded however many have failed, for it is shown where a page has no room: in one field of the
 * JSON, in the line that a pager prints. */
#include "report/culprits.h"

#include <healthsvc/config.h>
#include "report/formats.h"

#include <stdio.h>

#define TAIL_BYTES 40 /* for the count of those without room */

void culprits_add(struct culprits *c, const char *name, const char *reason)
{
    size_t room = sizeof c->text - TAIL_BYTES - c->len;
    if (c->unnamed == 0) {
        int len = snprintf(c->text + c->len, room, "%s%s%s%s", c->len > 0 ? "; " : "", name,
                           name[0] != '\0' ? ": " : "", reason);
        if (len > 0 && (size_t)len < room) {
            c->len += (size_t)len;
            return;
        }
    }
    c->unnamed++;
}

void culprits_of_verdict(struct culprits *c, const struct snapshot *s, const struct moment *m,
                         const struct reading *r)
{
    if (r->verdict == VERDICT_PASS)
        return;
    if (r->own_reason[0] != '\0')
        culprits_add(c, "", r->own_reason);
    for (size_t i = 0; i < snapshot_count(s); i++) {
        const struct target_view *v = snapshot_row(s, i);
        enum target_state state = target_state_at(v, m->now_mono_ms);
        if (verdict_of_target(v, state) == r->verdict) {
            char room[RENDER_REASON_BYTES];
            culprits_add(c, v->conf->name, render_reason(v, state, m, room));
        }
    }
}

void culprits_of_dependency(struct culprits *c, const struct target_view *v, const struct moment *m,
                            const struct reading *r)
{
    char room[RENDER_REASON_BYTES];
    const char *reason = render_reason(v, target_state_at(v, m->now_mono_ms), m, room);
    if (r->own_reason[0] != '\0')
        culprits_add(c, "", r->own_reason);
    if (reason[0] != '\0')
        culprits_add(c, v->conf->name, reason);
}

const char *culprits_text(struct culprits *c)
{
    if (c->unnamed > 0)
        (void)snprintf(c->text + c->len, sizeof c->text - c->len, "; and %zu more", c->unnamed);
    else
        c->text[c->len] = '\0';
    return c->text;
}
