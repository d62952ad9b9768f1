/* The table of schemes, made from schemes.def, and what a configuration asks of a row. */
#ifdef HAVE_CONFIG_H
#include <config.h>
#endif

#include "probe/json.h"
#include "probe/tls.h"

#include <healthsvc/config.h>
#include <healthsvc/probe.h>

#include <string.h>

/* NOLINTBEGIN(bugprone-macro-parentheses): a name that is declared, and one in an initialiser. */
#define BUILT(symbol) extern const struct scheme symbol;
#define KNOWN(word)
#include "probe/schemes.def"
#undef BUILT
#undef KNOWN

static const struct scheme *const schemes[] = {
#define BUILT(symbol) &symbol,
#define KNOWN(word) &(const struct scheme){.name = word},
#include "probe/schemes.def"
#undef BUILT
#undef KNOWN
};
/* NOLINTEND(bugprone-macro-parentheses) */

const struct scheme *scheme_at(size_t i)
{
    return i < sizeof schemes / sizeof schemes[0] ? schemes[i] : NULL;
}

const struct scheme *scheme_find(const char *name)
{
    for (size_t i = 0; scheme_at(i) != NULL; i++) {
        if (strcmp(scheme_at(i)->name, name) == 0)
            return scheme_at(i);
    }
    return NULL;
}

const char *probe_phase_token(enum probe_phase phase)
{
    switch (phase) {
    case PROBE_PHASE_DNS:
        return "dns";
    case PROBE_PHASE_CONNECT:
        return "connect";
    case PROBE_PHASE_TLS:
        return "tls";
    case PROBE_PHASE_EXCHANGE:
        return "exchange";
    }
    return "none";
}

void probe_init(void)
{
    tls_init();
    json_init();
}

static bool wants_tls(const struct target_conf *conf)
{
    const struct scheme *scheme = conf->scheme;
    if (scheme->flags & SCHEME_TLS)
        return true;
    return (scheme->flags & SCHEME_STARTTLS) != 0 &&
           (scheme->wants_tls == NULL || scheme->wants_tls(conf));
}

int probe_prepare(struct config *config, struct target_conf *conf, struct strbuf *why)
{
    /* The scheme first: it may decide what its TLS has to be (sslmode, a script). */
    int r = conf->scheme->prepare != NULL ? conf->scheme->prepare(conf, why) : 0;
    if (r == 0 && wants_tls(conf))
        r = tls_profile_get(config, &conf->tls, why, &conf->tls_profile);
    return r;
}

void probe_release(struct target_conf *conf)
{
    if (conf->scheme != NULL && conf->scheme->release != NULL)
        conf->scheme->release(conf);
    conf->tls_profile = tls_profile_unref(conf->tls_profile);
}
