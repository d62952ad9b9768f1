/*
 * postgres: the start-up message, up to the request for a password: as far as pg_isready goes, and
 * by its rule (libpq's PQping): a server that asks for a password, or refuses this role, serves.
 *
 * Leaving at that request is silent in the server's log (verified with 15.18); a Terminate there
 * would be logged as a protocol violation. A server that wants no password goes on to
 * ReadyForQuery, and there Terminate is the quiet end. "Too many clients" comes before any password.
 * Source: PostgreSQL 15 manual, chapters 55.2 (flow), 55.7 (formats), 55.8 (error fields), A (codes).
 */
#include "probe/bytes.h"
#include "probe/engine.h"
#include "probe/sslmode.h"

#include <healthsvc/config.h>
#include <healthsvc/keys.h>
#include <healthsvc/strbuf.h>

#include <errno.h>
#include <string.h>

#define PROTOCOL_3_0 196608
#define SSL_REQUEST 80877103
#define HEADER_BYTES 5
#define REQUEST_BYTES 1024

struct postgres_conf {
    char *user, *database;
    int sslmode; /* enum sslmode */
    struct strbuf startup;
};

static const struct key_row postgres_keys[] = {
    {.name = "user",
     .type = KEY_STRING,
     .flags = KEY_ASKED | KEY_SENT,
     .offset = offsetof(struct postgres_conf, user),
     .min = 1,
     .max = 256,
     .default_text = "healthsvc",
     .sentence = "The role of the start-up message; it need not exist where a password is asked."},
    {.name = "database",
     .type = KEY_STRING,
     .flags = KEY_ASKED | KEY_SENT,
     .offset = offsetof(struct postgres_conf, database),
     .min = 1,
     .max = 256,
     .default_text = "postgres",
     .sentence = "The database of the start-up message; pgbouncer routes by it."},
    SSLMODE_ROW(struct postgres_conf),
    KEYS_END,
};

static int postgres_prepare(struct target_conf *conf, struct strbuf *why)
{
    struct postgres_conf *pg = conf->scheme_conf;
    strbuf_init(&pg->startup, REQUEST_BYTES);
    int r = sslmode_settle(conf, pg->sslmode, why);
    if (r != 0)
        return r;
    bytes_add_be32(&pg->startup, 0); /* the length, below */
    bytes_add_be32(&pg->startup, PROTOCOL_3_0);
    const char *const pairs[] = {"user",       pg->user,           "database",
                                 pg->database, "application_name", "healthsvc"};
    for (size_t i = 0; i < sizeof pairs / sizeof pairs[0]; i++)
        strbuf_add(&pg->startup, pairs[i], strlen(pairs[i]) + 1);
    strbuf_addc(&pg->startup, '\0');
    bytes_put_be32(&pg->startup, 0, (uint32_t)pg->startup.len);
    return strbuf_error(&pg->startup);
}

static void postgres_release(struct target_conf *conf)
{
    struct postgres_conf *pg = conf->scheme_conf;
    if (pg != NULL)
        strbuf_done(&pg->startup);
}

static bool postgres_wants_tls(const struct target_conf *conf)
{
    return ((const struct postgres_conf *)conf->scheme_conf)->sslmode != SSLMODE_DISABLE;
}

struct postgres_state {
    const struct postgres_conf *conf;
    bool asked_tls; /* the answer is one byte */
    bool secured;
    bool let_in; /* no password was wanted */
    struct bytes_held held;
};

static enum dlg_step postgres_open(void *state, const struct target_conf *conf, struct strbuf *out,
                                   struct dlg_result *ret)
{
    struct postgres_state *s = state;
    (void)ret;
    s->conf = conf->scheme_conf;
    if (s->conf->sslmode != SSLMODE_DISABLE && !s->secured) {
        s->asked_tls = true;
        bytes_add_be32(out, 8);
        bytes_add_be32(out, SSL_REQUEST);
    } else {
        strbuf_add(out, s->conf->startup.data, s->conf->startup.len);
    }
    return DLG_MORE;
}

/* ---- what comes back ---- */

static enum outcome outcome_of_sqlstate(const char *code, const char *message)
{
    if (strcmp(code, "57P03") == 0)
        return strstr(message, "shutting down") != NULL ? OUTCOME_STOPPING : OUTCOME_STARTING;
    if (strcmp(code, "57P01") == 0 || strcmp(code, "57P02") == 0)
        return OUTCOME_STOPPING;
    if (strncmp(code, "53", 2) == 0)
        return OUTCOME_OVERLOADED;
    /* pgbouncer has one code for all that it says itself. */
    if (strcmp(code, "08P01") == 0 && strstr(message, "no more connections allowed") != NULL)
        return OUTCOME_OVERLOADED;
    if (strncmp(code, "28", 2) == 0 || strcmp(code, "3D000") == 0 || strcmp(code, "42501") == 0)
        return OUTCOME_OK; /* it refuses us, so it works */
    return OUTCOME_REFUSED;
}

static enum dlg_step judge_error(struct bytes body, struct dlg_result *ret)
{
    const char *code = NULL, *message = NULL;
    uint8_t field;
    while ((field = bytes_u8(&body)) != 0) {
        const char *value = bytes_text(&body);
        if (field == 'C')
            code = value;
        else if (field == 'M')
            message = value;
    }
    if (body.failed || code == NULL || message == NULL)
        return bytes_end(ret, OUTCOME_BAD_REPLY, "an error without SQLSTATE or message");
    enum outcome outcome = outcome_of_sqlstate(code, message);
    return bytes_end_said(ret, outcome, outcome == OUTCOME_OK ? "alive: " : "", message,
                          strlen(message));
}

static enum dlg_step judge_authentication(struct postgres_state *s, struct bytes body,
                                          struct dlg_result *ret)
{
    uint32_t method = bytes_be32(&body);
    if (body.failed || s->let_in || method > 12)
        return bytes_end(ret, OUTCOME_BAD_REPLY, "not a valid request for authentication");
    s->let_in = method == 0;
    if (s->let_in)
        return DLG_MORE;
    return bytes_end(ret, OUTCOME_OK, "alive, authentication required");
}

static enum dlg_step judge_message(struct postgres_state *s, struct bytes body, struct strbuf *out,
                                   struct dlg_result *ret)
{
    uint8_t type = s->held.at[0];
    if (type == 'R')
        return judge_authentication(s, body, ret);
    if (type == 'E')
        return judge_error(body, ret);
    if (type == 'Z' && s->let_in) {
        strbuf_addc(out, 'X');
        bytes_add_be32(out, 4);
        ret->outcome = OUTCOME_OK;
        return DLG_DONE;
    }
    return DLG_MORE;
}

/* Parameters, notices, the cancellation key, a lower protocol: nothing to judge. */
static bool is_message(const struct postgres_state *s, uint8_t type)
{
    return strchr(s->let_in ? "RESKNZ" : "RENv", type) != NULL && type != '\0';
}

static enum dlg_step feed_tls_answer(struct postgres_state *s, const uint8_t **in, size_t *len,
                                     struct strbuf *out, struct dlg_result *ret)
{
    uint8_t answer = **in;
    (*in)++;
    (*len)--;
    s->asked_tls = false;
    if (answer == 'S') {
        if (*len > 0)
            return bytes_end(ret, OUTCOME_BAD_REPLY, "bytes in clear after the turn to TLS");
        s->secured = true;
        return DLG_STARTTLS;
    }
    if (answer != 'N')
        return bytes_end(ret, OUTCOME_BAD_REPLY, "neither yes nor no to TLS");
    if (s->conf->sslmode != SSLMODE_PREFER)
        return bytes_end(ret, OUTCOME_TLS_HANDSHAKE, "the server does not speak TLS");
    strbuf_add(out, s->conf->startup.data, s->conf->startup.len);
    return DLG_MORE;
}

static enum dlg_step postgres_feed(void *state, const uint8_t *in, size_t len, struct strbuf *out,
                                   struct dlg_result *ret)
{
    struct postgres_state *s = state;
    if (s->asked_tls) {
        enum dlg_step step = feed_tls_answer(s, &in, &len, out, ret);
        if (step != DLG_MORE)
            return step;
    }
    while (bytes_gather(&s->held, HEADER_BYTES, &in, &len)) {
        struct bytes header = bytes_of(s->held.at + 1, HEADER_BYTES - 1);
        size_t body_bytes = (size_t)bytes_be32(&header) - 4;
        if (!is_message(s, s->held.at[0]) || body_bytes > BYTES_HELD_MAX - HEADER_BYTES)
            return bytes_end(ret, OUTCOME_BAD_REPLY, "not an answer of PostgreSQL");
        if (!bytes_gather(&s->held, HEADER_BYTES + body_bytes, &in, &len))
            break;
        struct bytes body = bytes_of(s->held.at + HEADER_BYTES, body_bytes);
        enum dlg_step step = judge_message(s, body, out, ret);
        if (step != DLG_MORE)
            return step;
        s->held.len = 0;
    }
    return DLG_MORE;
}

static const struct dialogue postgres_dialogue = {
    .state_size = sizeof(struct postgres_state),
    .open = postgres_open,
    .feed = postgres_feed,
    .max_reply_bytes = 65536,
    .polite = true,
    .asks_first = true,
};

extern const struct scheme scheme_postgres;

const struct scheme scheme_postgres = {
    .name = "postgres",
    .port = 5432,
    .flags = SCHEME_STARTTLS,
    .conf_size = sizeof(struct postgres_conf),
    .keys = postgres_keys,
    .prepare = postgres_prepare,
    .wants_tls = postgres_wants_tls,
    .release = postgres_release,
    .ops = &stream_ops,
    .dialogue = &postgres_dialogue,
};
