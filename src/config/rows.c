/*
 * rows.c: the settings as data. A setting's whole definition is its row here: what reads, checks,
 * compares and documents it comes from keys.c. Why four tables: each is of use with other schemes.
 */
#include "config/rows.h"

#include <stddef.h>
#include <string.h>

#include <healthsvc/config.h>
#include <healthsvc/probe.h>
#include <healthsvc/strbuf.h>

#define SECOND INT64_C(1000)
#define HOUR (3600 * SECOND)
#define DAY (24 * HOUR)
#define FILE_NAME_MAX_BYTES 4095

/* In the order of enum importance. */
static const char *const importance_words[] = {"required", "optional", "info", NULL};

/* In the order of enum details. */
static const char *const details_words[] = {"always", "local", "never", NULL};

const struct key_row rows_top[] = {
    {.name = "name",
     .type = KEY_STRING,
     .offset = offsetof(struct config, name),
     .min = 1,
     .max = 128,
     .shown_default = "the host name",
     .sentence = "What /health calls this service; UTF-8 without control characters."},
    {.name = "workers",
     .type = KEY_INT,
     .offset = offsetof(struct config, workers),
     .min = 1,
     .max = 1024,
     .default_text = "32",
     .sentence = "HTTP worker threads of each address; a quarter of them, at least one, is the "
                 "reserve that idle keep-alive connections never get."},
    {.name = "unhealthy_status",
     .type = KEY_INT,
     .offset = offsetof(struct config, unhealthy_status),
     .min = 400,
     .max = 599,
     .default_text = "500",
     .sentence = "The HTTP status of every failing answer."},
    {.name = "shutdown_delay",
     .type = KEY_DURATION,
     .offset = offsetof(struct config, shutdown_delay_ms),
     .min = 0,
     .max = HOUR,
     .default_text = "0",
     .sentence = "How long requests are still answered (\"shutting down\") after SIGTERM."},
    {.name = "details",
     .type = KEY_ENUM,
     .offset = offsetof(struct config, details),
     .words = details_words,
     .default_text = "local",
     .sentence = "Who is told why a dependency is not well; others learn states and codes alone. "
                 "always: everybody; local: this machine and details_for; never: nobody; and who "
                 "shows the token, in any case."},
    {.name = "details_token_file",
     .type = KEY_STRING,
     .offset = offsetof(struct config, details_token_file),
     .min = 1,
     .max = FILE_NAME_MAX_BYTES,
     .sentence = "The file that holds a bearer token (Authorization: Bearer ...) whose bearer is "
                 "told everything; read when the configuration is."},
    {.name = "listen",
     .type = KEY_GROUP,
     .shown_type = "a string, a group, or a list of them",
     .shown_default = "127.0.0.1:8000",
     .sentence = "The addresses to serve: numeric ones with their ports (port 0 picks one), "
                 "\"unix:/path/of/socket\", and sockets that systemd passes: \"systemd:NAME\" by "
                 "their FileDescriptorName=, \"systemd\" all others."},
    {.name = "defaults",
     .type = KEY_GROUP,
     .sentence = "Any setting of a dependency but name, url and exec, for all."},
    {.name = "dependencies",
     .type = KEY_GROUP,
     .shown_default = "()",
     .sentence = "What is asked."},
    KEYS_END,
};

const struct key_row rows_listen[] = {
    {.name = "address",
     .type = KEY_STRING,
     .flags = KEY_REQUIRED,
     .offset = offsetof(struct listen_texts, address),
     .min = 1,
     .max = 300,
     .sentence = "What is listened on, as where listen is a string."},
    {.name = "serve",
     .type = KEY_TEXT_LIST,
     .offset = offsetof(struct listen_texts, serve),
     .min = 1,
     .max = 32,
     .shown_default = "all",
     .sentence = "What is answered there, of \"health\" (/health and /health/NAME), \"ready\", "
                 "\"live\" and \"metrics\"; the rest is 404."},
    {.name = "workers",
     .type = KEY_INT,
     .offset = offsetof(struct listen_texts, workers),
     .min = 1,
     .max = 1024,
     .shown_default = "the top level's",
     .sentence = "HTTP worker threads of its own."},
    {.name = "mode",
     .type = KEY_STRING,
     .offset = offsetof(struct listen_texts, mode),
     .min = 3,
     .max = 4,
     .shown_default = "0660",
     .sentence = "Unix sockets: the permissions, octal; who may write may connect."},
    {.name = "group",
     .type = KEY_STRING,
     .offset = offsetof(struct listen_texts, group),
     .min = 1,
     .max = 64,
     .shown_default = "this process's",
     .sentence = "Unix sockets: the group that the socket belongs to, by name or number."},
    KEYS_END,
};

const struct key_row rows_addresses[] = {
    {.name = "nameservers",
     .type = KEY_TEXT_LIST,
     .offset = offsetof(struct address_texts, nameservers),
     .min = 1,
     .max = 255,
     .shown_default = "the system's",
     .sentence = "DNS servers to ask, numeric addresses; port 53 unless one is given."},
    {.name = "details_for",
     .type = KEY_TEXT_LIST,
     .offset = offsetof(struct address_texts, details_for),
     .min = 1,
     .max = 255,
     .sentence = "Networks that are told as much as this machine, like \"10.0.0.0/8\" or "
                 "\"fd00::/8\"."},
    KEYS_END,
};

const struct key_row rows_identity[] = {
    {.name = "name",
     .type = KEY_STRING,
     .flags = KEY_REQUIRED,
     .offset = offsetof(struct target_conf, name),
     .min = 1,
     .max = 64,
     .sentence = "Its name in every answer: letters, digits, '.', '_', '-'."},
    {.name = "url",
     .type = KEY_STRING,
     .flags = KEY_ASKED | KEY_SENT,
     .offset = offsetof(struct target_conf, url),
     .min = 1,
     .max = 2048,
     .shown_default = "required, or exec",
     .sentence = "What to ask: scheme://host[:port][/path], or by way of a Unix socket "
                 "scheme+unix:///path/of/socket[:/path]; the scheme chooses the probe."},
    {.name = "exec",
     .type = KEY_TEXT_LIST,
     .flags = KEY_ASKED,
     .offset = offsetof(struct target_conf, exec),
     .max = 4096,
     .shown_default = "required, or url",
     .sentence = "A command to run instead, and its arguments; no shell is involved. Its exit code "
                 "is the result: 0 good, 1 warning, 2 bad, else not tried."},
    KEYS_END,
};

const struct key_row rows_common[] = {
    {.name = "period",
     .type = KEY_DURATION,
     .flags = KEY_JUDGED,
     .offset = offsetof(struct target_conf, period_ms),
     .min = 100,
     .max = DAY,
     .default_text = "10s",
     .sentence = "Time between checks while nothing changes."},
    {.name = "timeout",
     .type = KEY_DURATION,
     .flags = KEY_JUDGED,
     .offset = offsetof(struct target_conf, timeout_ms),
     .min = 10,
     .max = DAY,
     .shown_default = "3s, or 80 % of a shorter period",
     .sentence = "One deadline for the whole check: name look-up, connect, TLS, exchange; less "
                 "than period."},
    {.name = "fall",
     .type = KEY_INT,
     .flags = KEY_JUDGED,
     .offset = offsetof(struct target_conf, fall),
     .min = 1,
     .max = 100,
     .default_text = "3",
     .sentence = "Bad results in a row that turn up to down."},
    {.name = "rise",
     .type = KEY_INT,
     .flags = KEY_JUDGED,
     .offset = offsetof(struct target_conf, rise),
     .min = 1,
     .max = 100,
     .default_text = "2",
     .sentence = "Good results in a row that turn down to up."},
    {.name = "confirm",
     .type = KEY_DURATION,
     .flags = KEY_JUDGED,
     .offset = offsetof(struct target_conf, confirm_ms),
     .min = 10,
     .max = DAY,
     .shown_default = "1s, or a shorter period",
     .sentence = "Time between checks while a change is being confirmed; at most period."},
    {.name = "importance",
     .type = KEY_ENUM,
     .flags = KEY_JUDGED,
     .offset = offsetof(struct target_conf, importance),
     .words = importance_words,
     .default_text = "required",
     .sentence = "required: down fails the verdict; optional: down degrades it (still 200); info: "
                 "shown only."},
    {.name = "max_age",
     .type = KEY_DURATION,
     .flags = KEY_JUDGED,
     .offset = offsetof(struct target_conf, max_age_ms),
     .min = 100,
     .max = 30 * DAY,
     .shown_default = "3 x period + timeout",
     .sentence = "A result older than this no longer counts: the dependency is stale; at least "
                 "period."},
    {.name = "time_warn",
     .type = KEY_DURATION,
     .flags = KEY_JUDGED,
     .offset = offsetof(struct target_conf, time_warn_ms),
     .min = 0,
     .max = DAY,
     .default_text = "0",
     .sentence = "Warn when a good check took longer; 0 never does; less than timeout."},
    {.name = "time_fail",
     .type = KEY_DURATION,
     .flags = KEY_JUDGED,
     .offset = offsetof(struct target_conf, time_fail_ms),
     .min = 0,
     .max = DAY,
     .default_text = "0",
     .sentence = "A check that took longer is bad, though the answer was good; 0 never is; less "
                 "than timeout."},
    KEYS_END,
};

const struct key_row rows_secret[] = {
    {.name = "user",
     .type = KEY_STRING,
     .flags = KEY_ASKED | KEY_SENT,
     .offset = offsetof(struct target_conf, user),
     .min = 1,
     .max = 256,
     .sentence = "The user to log in as."},
    {.name = "password_file",
     .type = KEY_STRING,
     .flags = KEY_ASKED,
     .offset = offsetof(struct target_conf, password_file),
     .min = 1,
     .max = FILE_NAME_MAX_BYTES,
     .sentence = "The file that holds the password, read when the configuration is."},
    {.name = "password_env",
     .type = KEY_STRING,
     .flags = KEY_ASKED,
     .offset = offsetof(struct target_conf, password_env),
     .min = 1,
     .max = 256,
     .sentence = "The environment variable that holds the password."},
    {.name = "password_credential",
     .type = KEY_STRING,
     .flags = KEY_ASKED,
     .offset = offsetof(struct target_conf, password_credential),
     .min = 1,
     .max = 255,
     .sentence = "The systemd credential that holds the password (LoadCredential= of the unit)."},
    KEYS_END,
};

const struct key_row rows_tls[] = {
    {.name = "ca_file",
     .type = KEY_STRING,
     .flags = KEY_ASKED,
     .offset = offsetof(struct target_conf, tls.ca_file),
     .min = 1,
     .max = FILE_NAME_MAX_BYTES,
     .shown_default = "the system's store",
     .sentence = "The certificates to trust, PEM."},
    {.name = "cert_file",
     .type = KEY_STRING,
     .flags = KEY_ASKED,
     .offset = offsetof(struct target_conf, tls.cert_file),
     .min = 1,
     .max = FILE_NAME_MAX_BYTES,
     .sentence = "The client certificate to show, with its chain, PEM."},
    {.name = "key_file",
     .type = KEY_STRING,
     .flags = KEY_ASKED,
     .offset = offsetof(struct target_conf, tls.key_file),
     .min = 1,
     .max = FILE_NAME_MAX_BYTES,
     .shown_default = "in cert_file",
     .sentence = "The key of the client certificate, PEM."},
    {.name = "server_name",
     .type = KEY_STRING,
     .flags = KEY_ASKED | KEY_SENT,
     .offset = offsetof(struct target_conf, tls.server_name),
     .min = 1,
     .max = 253,
     .shown_default = "the URL's host",
     .sentence = "The name to ask for (SNI) and to find in the certificate."},
    {.name = "verify",
     .type = KEY_BOOL,
     .flags = KEY_ASKED,
     .offset = offsetof(struct target_conf, tls.verify),
     .default_text = "true",
     .sentence = "Whether the certificate is verified; false accepts any."},
    {.name = "cert_warn",
     .type = KEY_INT,
     .flags = KEY_ASKED,
     .offset = offsetof(struct target_conf, tls.cert_warn),
     .min = 0,
     .max = 3650,
     .default_text = "0",
     .sentence = "Days: warn when the certificate has fewer left; 0 never does."},
    {.name = "cert_fail",
     .type = KEY_INT,
     .flags = KEY_ASKED,
     .offset = offsetof(struct target_conf, tls.cert_fail),
     .min = 0,
     .max = 3650,
     .default_text = "0",
     .sentence = "Days: bad when the certificate has fewer left; 0 waits until it has expired."},
    KEYS_END,
};

const struct key_row rows_reuse[] = {
    {.name = "reuse",
     .type = KEY_BOOL,
     .flags = KEY_ASKED,
     .offset = offsetof(struct target_conf, reuse),
     .default_text = "false",
     .sentence = "Whether the connection of a good check is kept for the next one, for 10 minutes "
                 "at most; has no use with a period of more than 5."},
    KEYS_END,
};

const struct key_row *rows_find(const struct key_row *rows, const char *name)
{
    for (; rows->name != NULL; rows++) {
        if (strcmp(rows->name, name) == 0)
            return rows;
    }
    return NULL;
}

const char *importance_token(enum importance i)
{
    return importance_words[i];
}

/* The schemes that share these settings, named in one heading at the first of them. */
static void describe_scheme(size_t index, struct strbuf *out)
{
    const struct key_row *keys = scheme_at(index)->keys;

    if (keys == NULL)
        return;
    for (size_t i = 0; i < index; i++) {
        if (scheme_at(i)->keys == keys)
            return;
    }
    strbuf_adds(out, "\n[");
    for (size_t i = index; scheme_at(i) != NULL; i++) {
        if (scheme_at(i)->keys == keys)
            strbuf_addf(out, "%s%s", i > index ? ", " : "", scheme_at(i)->name);
    }
    strbuf_adds(out, "]\n");
    keys_describe(keys, out);
}

static void describe_reusing(struct strbuf *out)
{
    const char *comma = "";

    for (size_t i = 0; scheme_at(i) != NULL; i++) {
        if (scheme_at(i)->flags & SCHEME_REUSE) {
            strbuf_addf(out, "%s%s", comma, scheme_at(i)->name);
            comma = ", ";
        }
    }
}

void config_describe(struct strbuf *out)
{
    strbuf_adds(out, "[top level]\n");
    keys_describe(rows_top, out);
    keys_describe(rows_addresses, out);
    strbuf_adds(out, "\n[listen, as a group]\n");
    keys_describe(rows_listen, out);
    strbuf_adds(out, "\n[dependency]\n");
    keys_describe(rows_identity, out);
    keys_describe(rows_common, out);
    strbuf_adds(out, "\n[dependency, with a scheme that logs in]\n");
    keys_describe(rows_secret, out);
    strbuf_adds(out, "\n[dependency, with a scheme that speaks TLS]\n");
    keys_describe(rows_tls, out);
    strbuf_adds(out, "\n[dependency, with ");
    describe_reusing(out);
    strbuf_adds(out, "]\n");
    keys_describe(rows_reuse, out);
    for (size_t i = 0; scheme_at(i) != NULL; i++)
        describe_scheme(i, out);
}
