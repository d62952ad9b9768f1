/*
 * script.h: a conversation told in the configuration, for protocols that have no scheme of their
 * own: what to send, what to expect, when to turn to TLS.
 *
 * Owner: the scheme's private settings. Threads: made on main, read on the checker (immutable).
 * Errors: negative errno with a sentence; what the peer says is an outcome, not an error.
 */
#ifndef HEALTHSVC_PROBE_SCRIPT_H
#define HEALTHSVC_PROBE_SCRIPT_H

#include "probe/dialogue.h"

#include <healthsvc/attr.h>
#include <healthsvc/keys.h>

struct script;

/* The private settings of tcp and tls. */
struct script_conf {
    char *steps; /* lines joined by '\n'; NULL: nothing to say */
    /* made by script_prepare(): */
    struct script *script;
};

/* script_read.c: */
extern const struct key_row script_keys[];
/* For a scheme whose scheme_conf is a struct script_conf; see struct scheme. */
int script_prepare(struct target_conf *conf, struct strbuf *why) MUST_CHECK;
void script_release(struct target_conf *conf);
bool script_wants_tls(const struct target_conf *conf);

/* script.c: */
extern const struct dialogue script_dialogue;

#endif
