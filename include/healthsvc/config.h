/*
 * config.h: one configuration file as one immutable object.
 *
 * Owner: whoever holds a reference; the last config_unref() frees, on any thread.
 * Threads: config_load() on main; afterwards nothing changes, so any thread may read.
 * Errors: every fault of the file is reported, all in one run, as "FILE:LINE: sentence".
 */
#ifndef HEALTHSVC_CONFIG_H
#define HEALTHSVC_CONFIG_H

#include <healthsvc/attr.h>

#include <stdatomic.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <sys/socket.h>
#include <sys/types.h>

struct region;
struct scheme;
struct strbuf;
struct tls_profile;
struct units_network;

enum importance {
    IMPORTANCE_REQUIRED = 0, /* down fails the verdict */
    IMPORTANCE_OPTIONAL,     /* down degrades it */
    IMPORTANCE_INFO,         /* shown only */
};

/* Settings of every dependency whose scheme speaks TLS. Strings are the region's; NULL: not set. */
struct tls_conf {
    char *ca_file;     /* PEM; NULL: the system's store */
    char *cert_file;   /* PEM chain of the client certificate; NULL: none */
    char *key_file;    /* PEM key of it; NULL: in cert_file */
    char *server_name; /* name for SNI and verification instead of the URL's host; NULL: host */
    bool verify;       /* false only when written */
    int64_t cert_warn; /* days: warn when fewer are left; 0: never */
    int64_t cert_fail; /* days: bad when fewer are left; 0: never */
};

/* What to ask, and how to judge the answer. Immutable after config_load(). Lies in the owner's
 * region, with its strings, but for `secret` and what probe_prepare() made. */
struct target_conf {
    struct config *owner; /* borrowed: reference it to keep this alive */
    char *name;
    char *url;  /* as written (never holds credentials: those are refused) */
    char *exec; /* instead of a URL: the words of a command, joined by '\n'; else NULL */
    char *host; /* name or numeric address, without brackets; NULL: the scheme asks no host */
    char
        *unix_path; /* of the socket to connect to; host is then "localhost". NULL: host and port */
    char *path;     /* path and query as sent, "/" at least, for schemes that have one; else NULL */
    const struct scheme *scheme;
    int64_t period_ms, timeout_ms, confirm_ms, max_age_ms;
    int64_t time_warn_ms, time_fail_ms; /* a good check that took longer; 0: never */
    int64_t fall, rise;
    enum importance importance;
    uint16_t port;
    bool reuse;          /* keep the connection for the next check, see probe_start() */
    char *user;          /* NULL: none */
    char *password_file; /* a file name is relative to the configuration file; NULL: none */
    char *password_env;
    char *password_credential; /* one that systemd passes */
    char *secret; /* what they held, without the trailing newline; never shown; NULL: none */
    struct tls_conf tls;
    struct tls_profile *tls_profile; /* by probe_prepare(); NULL: scheme without TLS */
    void *scheme_conf;               /* scheme->conf_size bytes; NULL: none */
    unsigned position;               /* in config.targets */
    int line;                        /* of its group in the file, for messages */
    const char *file;
};

/* What an address answers to: a set of these bits. */
enum serve {
    SERVE_HEALTH = 1, /* /health, /health/NAME */
    SERVE_READY = 2,
    SERVE_LIVE = 4,
    SERVE_METRICS = 8,
    SERVE_ALL = 15,
};

enum listen_kind {
    LISTEN_NETWORK = 0, /* an IPv4 or IPv6 address */
    LISTEN_UNIX,        /* a path */
    LISTEN_PASSED,      /* what systemd passes */
};

struct config_listen {
    char *text; /* as written, "127.0.0.1:8000", "unix:/run/x", "systemd:web" */
    enum listen_kind kind;
    struct sockaddr_storage addr; /* of the first two */
    socklen_t addr_len;
    const char *passed_name; /* in `text`; NULL: all that no other address names */
    unsigned serve;
    int64_t workers;
    mode_t mode; /* of a Unix socket */
    gid_t group; /* of one; (gid_t)-1: as it comes */
};

/* Who is told why a dependency is not well; everybody else learns states and codes alone. */
enum details {
    DETAILS_ALWAYS = 0, /* everybody */
    DETAILS_LOCAL,      /* this machine, the networks named, and who shows the token */
    DETAILS_NEVER,      /* who shows the token */
};

struct config {
    atomic_uint refs;
    struct region *region; /* all that the pointers below lead to, but for the token and targets'
                              secrets, which are wiped */
    char *path;
    char *name;
    struct config_listen *listen;
    size_t listen_count;
    int64_t workers;
    int64_t unhealthy_status;
    int64_t shutdown_delay_ms;
    enum details details;
    struct units_network *details_for; /* `details_for_count` of them */
    size_t details_for_count;
    char *details_token_file;
    char *details_token;          /* what it held; never shown; NULL: none */
    char *nameservers;            /* comma-separated, for engine_new(); NULL: the system's */
    struct target_conf **targets; /* in the order of the file */
    struct target_conf **by_name; /* the same, sorted, for config_find_target() */
    size_t target_count;
    bool lists_dependencies; /* `dependencies` is written, be it with none in it */
};

/* A fault's text, complete: "health.conf:12: unknown setting 'perod', did you mean 'period'?" */
typedef void (*config_fault_fn)(void *arg, const char *text);

/* Reads the file and all it includes. 0 with a new reference in *ret_config; -EINVAL after at
 * least one call of `fault`; -ENOMEM. */
int config_load(const char *path, config_fault_fn fault, void *arg, struct config **ret_config)
    MUST_CHECK;
struct config *config_ref(struct config *config);
/* Accepts NULL, returns NULL. */
struct config *config_unref(struct config *config);

/* The target of that name, or NULL. */
const struct target_conf *config_find_target(const struct config *config, const char *name);

enum config_change {
    CONFIG_CHANGE_NONE = 0,
    CONFIG_CHANGE_JUDGED, /* only how it is judged or timed */
    CONFIG_CHANGE_ASKED,  /* what is asked */
};
/* Compares two definitions of one dependency; adds the names of the settings that differ to
 * *names, separated by ", " (not those that only adapt to another that differs). */
enum config_change config_compare_targets(const struct target_conf *a, const struct target_conf *b,
                                          struct strbuf *names);

/* Writes every setting row (top level, dependency, each scheme) as documentation text: the
 * README's and the manual's tables are tested against it. */
void config_describe(struct strbuf *out);

const char *importance_token(enum importance i); /* "required" "optional" "info" */

#endif
