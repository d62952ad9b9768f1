/*
 * json.h: a JSON document of a peer, within bounds, and what is expected of it.
 *
 * A rule is "POINTER", "!POINTER" (absent) or "POINTER OP VALUE" with OP one of = != < <= > >=;
 * the pointer is RFC 6901's, VALUE is JSON, or else a string as it stands.
 * Owner: rules belong to a scheme's private settings. Threads: made on main, read on the checker.
 * Errors: negative errno with a sentence; -ENOTSUP from a build without jansson.
 */
#ifndef HEALTHSVC_PROBE_JSON_H
#define HEALTHSVC_PROBE_JSON_H

#include <healthsvc/attr.h>
#include <healthsvc/outcome.h>

#include <stdbool.h>
#include <stddef.h>

struct json_rules;
struct json_t; /* jansson's */
struct strbuf;

/* The JSON library's memory from now on; once, before anything else here. */
void json_init(void);

/* Rules from lines joined by '\n'. */
int json_rules_new(const char *lines, struct strbuf *why, struct json_rules **ret_rules) MUST_CHECK;
/* Accepts NULL, returns NULL. */
struct json_rules *json_rules_free(struct json_rules *rules);
/* Whether all hold; else what does not in ret_text. */
bool json_rules_hold(const struct json_rules *rules, struct json_t *root,
                     char ret_text[OUTCOME_TEXT_BYTES]);

/* -EINVAL: not JSON, or nested too deep. */
int json_read(const char *text, size_t len, struct json_t **ret_root) MUST_CHECK;
/* Accepts NULL, returns NULL. */
struct json_t *json_free(struct json_t *root);

#endif
