/*
 * expect.h: what a good reply looks like: a set of HTTP statuses, a pattern for the body.
 *
 * Owner: the scheme's private settings. Threads: made on main, read on the checker (immutable).
 * Errors: negative errno with a sentence; whether a body matches is an outcome, not an error.
 */
#ifndef HEALTHSVC_PROBE_EXPECT_H
#define HEALTHSVC_PROBE_EXPECT_H

#include <healthsvc/attr.h>
#include <healthsvc/outcome.h>

#include <libconfig.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

struct strbuf;

/* Any of the final statuses, 200..599 (RFC 9110 section 15); compared by memcmp. */
struct expect_status {
    uint64_t bits[7]; /* bit s - 200 */
};

/* For a KEY_CUSTOM row: a status or a class ("2xx", "301", 301), or a list of them; NULL: 2xx. */
int expect_status_read(const config_setting_t *setting, void *dest, struct strbuf *why);
/* False for every number outside 200..599. */
bool expect_status_has(const struct expect_status *set, unsigned status);

struct expect_pattern;

/* Compiles a PCRE2 pattern (bytes, not characters, unless it says (*UTF)). -EINVAL with PCRE2's
 * own message and offset in *why; -ENOMEM. */
int expect_pattern_new(const char *text, struct strbuf *why, struct expect_pattern **ret_pattern)
    MUST_CHECK;
/* Accepts NULL, returns NULL. */
struct expect_pattern *expect_pattern_free(struct expect_pattern *p);
/* OUTCOME_OK if the pattern is found in the bytes; OUTCOME_BODY_MISMATCH if not, or if looking for
 * it was given up (*ret_text then says so, else it is ""); OUTCOME_OWN_MEMORY. */
enum outcome expect_pattern_match(const struct expect_pattern *p, const void *bytes, size_t len,
                                  char ret_text[OUTCOME_TEXT_BYTES]);

/* All the work that looking for patterns in one reply may cost; some 25 ms. */
#define EXPECT_WORK 2000000
/* The same, but for one of many in a reply: takes its work off *work. */
enum outcome expect_pattern_match_of(const struct expect_pattern *p, const void *bytes, size_t len,
                                     size_t *work, char ret_text[OUTCOME_TEXT_BYTES]);

#endif
