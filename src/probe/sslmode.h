/*
 * sslmode.h: how a database's clients say whether they want TLS, in libpq's words.
 *
 * Owner: the scheme's private settings hold the mode. Threads: main while a configuration loads;
 * the mode itself any. Errors: -EINVAL with a sentence.
 */
#ifndef HEALTHSVC_PROBE_SSLMODE_H
#define HEALTHSVC_PROBE_SSLMODE_H

#include <healthsvc/attr.h>

struct strbuf;
struct target_conf;

enum sslmode {
    SSLMODE_DISABLE = 0, /* in clear */
    SSLMODE_PREFER,      /* TLS if the server has it; nothing is verified */
    SSLMODE_REQUIRE,     /* TLS; nothing is verified */
    SSLMODE_VERIFY_FULL, /* TLS, with a certificate that is valid for the host */
};
extern const char *const sslmode_words[];

/* The row of a scheme whose private settings are a `conf_type` with an `int sslmode`. */
#define SSLMODE_ROW(conf_type)                                                                     \
    {                                                                                              \
        .name = "sslmode", .type = KEY_ENUM, .flags = KEY_ASKED,                                   \
        .offset = offsetof(conf_type, sslmode), .default_text = "disable", .words = sslmode_words, \
        .sentence = "prefer: TLS if the server has it; require: TLS, any certificate; "            \
                    "verify-full: TLS, a certificate that is trusted and for the host; it "        \
                    "decides instead of verify.",                                                  \
    }

/* Sets conf->tls.verify as the mode wants it; refuses what would then not be looked at. */
int sslmode_settle(struct target_conf *conf, int mode, struct strbuf *why) MUST_CHECK;

#endif
