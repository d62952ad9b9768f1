/*
 * probe.h: one check of one dependency, and the table of schemes that can be asked.
 *
 * Owner: the engine owns a probe from probe_start() until it has called `done`.
 * Threads: probe_prepare() on the thread that loads a configuration (main); all else on the
 * checker thread.
 * Errors: probe_start() returns 0 or a negative errno; on success `done` is called exactly once,
 * later, never from inside probe_start(). A check's outcome is not an error.
 */
#ifndef HEALTHSVC_PROBE_H
#define HEALTHSVC_PROBE_H

#include <healthsvc/attr.h>
#include <healthsvc/outcome.h>

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

struct config;
struct dialogue;
struct engine;
struct kept;
struct key_row;
struct loop;
struct perfdata;
struct probe;
struct probe_ops;
struct strbuf;
struct target_conf;

enum probe_phase {
    PROBE_PHASE_DNS = 0,
    PROBE_PHASE_CONNECT,
    PROBE_PHASE_TLS,
    PROBE_PHASE_EXCHANGE,
};
#define PROBE_PHASE_COUNT 4

const char *probe_phase_token(enum probe_phase phase); /* "dns" "connect" "tls" "exchange" */

struct probe_result {
    enum outcome outcome;
    enum probe_phase phase;              /* where it ended */
    char text[OUTCOME_TEXT_BYTES];       /* for people; printable ASCII; "" when good */
    int64_t phase_us[PROBE_PHASE_COUNT]; /* time spent in each phase, 0 if never in it */
    int64_t total_us;                    /* from start to verdict */
    int http_status;                     /* 0: none seen */
    int64_t cert_expires_wall_s;         /* earliest notAfter of the chain, unix s; 0: none seen */
    int ip_family;                       /* AF_INET, AF_INET6; 0: not connected */
    bool has_dns_serial;                 /* a SOA record was seen, with this serial */
    uint32_t dns_serial;
    struct perfdata *perfdata; /* what a plugin measured (perfdata.h); NULL: nothing */
};

/* A result's own reference ends with `done`: keep one of your own, on any thread. Both accept
 * NULL; unref returns NULL. */
struct perfdata *perfdata_ref(struct perfdata *p);
struct perfdata *perfdata_unref(struct perfdata *p);

typedef void (*probe_done_fn)(struct probe *p, const struct probe_result *result, void *arg);

/* Facts of a scheme (what config needs to know) beside its behaviour (ops, dialogue). A row with
 * no ops is known but not in this build. */
enum scheme_flag {
    SCHEME_TLS = 1,        /* speaks TLS from the first byte */
    SCHEME_PATH = 2,       /* the URL may have a path and a query */
    SCHEME_SECRET = 4,     /* may log in: `user`, `password_file`, `password_env` have a use */
    SCHEME_STARTTLS = 8,   /* may turn to TLS after a go-ahead: has the TLS settings too */
    SCHEME_REUSE = 16,     /* may keep its connection for the next check: has `reuse` */
    SCHEME_COMMAND = 256,  /* asked by `exec` instead of a URL */
    SCHEME_FILE = 512,     /* the URL names a file of this machine: file:///path */
    SCHEME_NO_PORT = 1024, /* the URL has no port */
};
struct scheme {
    const char *name;
    uint16_t port; /* default, 0: the URL must name one */
    unsigned flags;
    const char *alpn; /* the protocol to ask for in the TLS handshake (RFC 7301); NULL: none */
    size_t conf_size; /* bytes of the private settings, target_conf.scheme_conf; 0: none */
    const struct key_row *keys; /* rows of the private settings, ended by a row without name */
    /* Makes what can be made once (request bytes, compiled patterns) from the settings read;
     * 0, or -EINVAL with a sentence in *why naming the setting as 'key'. NULL: nothing to do. */
    int (*prepare)(struct target_conf *conf, struct strbuf *why);
    /* Frees what prepare() made; accepts a conf whose prepare() failed or never ran. May be NULL. */
    void (*release)(struct target_conf *conf);
    const struct probe_ops *ops;
    /* For stream_ops; such a scheme can also be asked by way of a Unix socket. */
    const struct dialogue *dialogue;
    /* With SCHEME_STARTTLS, asked after prepare(): whether this target turns to TLS at all, and so
     * needs a TLS profile. NULL: it does. */
    bool (*wants_tls)(const struct target_conf *conf);
};

/* Commands (exec) that run at once; those that outlive their check included. */
#define CHILDREN_MAX 32
/* How long one that its deadline has struck may go on: from SIGTERM to SIGKILL. */
#define CHILD_GRACE_MS 500

/* The row of that name, or NULL; known schemes that are not built have `ops` NULL. */
const struct scheme *scheme_find(const char *name);
/* The i-th row of schemes.def, NULL past the end. */
const struct scheme *scheme_at(size_t i);

/* Once, before anything else: how the libraries of the checks get their memory (memory.h). */
void probe_init(void);

/* Readies a freshly read target for being asked: its TLS profile (shared with the targets of
 * `config` that were prepared before and want the same), then scheme->prepare(). 0, or a negative
 * errno with a sentence in *why that names the setting as 'key' (config puts file:line before). */
int probe_prepare(struct config *config, struct target_conf *conf, struct strbuf *why) MUST_CHECK;
/* Gives back what probe_prepare() made; any thread; accepts one never prepared. */
void probe_release(struct target_conf *conf);

/* The engine runs on `loop` (borrowed, outlives it) and resolves by `nameservers` (borrowed for
 * the call; comma-separated "address[:port]", NULL: the system's). */
int engine_new(struct loop *loop, const char *nameservers, struct engine **ret_engine) MUST_CHECK;
/* Other name servers from now on; look-ups under way finish with the old ones. */
int engine_set_nameservers(struct engine *engine, const char *nameservers) MUST_CHECK;
/* At most this many probes at once, kept connections counted as such: more are refused with
 * -EMFILE. A kept connection gives way to a probe, and is never the reason that one is refused. */
void engine_set_limit(struct engine *engine, size_t max_in_flight);
/* A kept connection is asked again only if the check after that comes before it is this old, so
 * that whatever a new one shows (a certificate, an address, a listener that is gone) is seen at
 * least that often. At first: PROBE_KEEP_MS. */
#define PROBE_KEEP_MS 600000
void engine_set_keep(struct engine *engine, int64_t keep_ms);
/* Every probe must have finished or been cancelled, nothing be kept. Accepts NULL, returns NULL. */
struct engine *engine_free(struct engine *engine);

/* Starts one check with one absolute deadline, conf->timeout_ms from now. Keeps a reference on
 * conf's configuration until it has finished.
 * `kept` (NULL: none) is where this dependency's kept connection lies between two checks, *kept
 * NULL at first; it must stay until probe_drop_kept(). With conf->reuse the check takes what lies
 * there and, after a good end that leaves nothing in doubt, leaves it there before `done` is called;
 * it goes away by itself when its peer closes it or says anything. A kept connection that turns out
 * to be closed before a byte of an answer has come is no end: the check begins anew on a new one,
 * within the same deadline. */
int probe_start(struct engine *engine, const struct target_conf *conf, struct kept **kept,
                probe_done_fn done, void *arg, struct probe **ret_probe) MUST_CHECK;
/* Gives the check up: calls `done` with OUTCOME_OWN_CANCELLED before it returns. */
void probe_cancel(struct probe *p);
/* Closes what is kept there, if anything is. */
void probe_drop_kept(struct kept **kept);

#endif
