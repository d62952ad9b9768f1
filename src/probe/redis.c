/*
 * redis, rediss: PING, after AUTH if there is a password; with `role` the replication too. Valkey
 * and KeyDB speak the same.
 *
 * All that is asked goes out in one write, so that a check is one round trip. The answers come in
 * that order; the first that is not as wanted is the verdict: a server that is full, loading or
 * protected says so in answer to whatever comes first, and may close at once. One that wants a
 * password is alive, unless it was asked for its role, which it then does not tell.
 */
#include "probe/engine.h"
#include "probe/lines.h"

#include <healthsvc/config.h>
#include <healthsvc/keys.h>
#include <healthsvc/strbuf.h>
#include <healthsvc/units.h>

#include <errno.h>
#include <stdio.h>
#include <string.h>

#define REQUEST_BYTES 8192
#define INFO_MAX_BYTES 16384

enum role {
    ROLE_ANY = 0,
    ROLE_MASTER,
    ROLE_REPLICA,
};
static const char *const role_words[] = {"any", "master", "replica", NULL};

struct redis_conf {
    int role; /* enum role */
    /* made by prepare: */
    struct strbuf request;
};

static const struct key_row redis_keys[] = {
    {.name = "role",
     .type = KEY_ENUM,
     .flags = KEY_ASKED,
     .offset = offsetof(struct redis_conf, role),
     .default_text = "any",
     .words = role_words,
     .sentence = "What it must be in its replication; a replica's link to its master must be up."},
    KEYS_END,
};

/* ---- the request ---- */

/* One bulk string of RESP. */
static void add_word(struct strbuf *out, const char *word)
{
    strbuf_addf(out, "$%zu\r\n%s\r\n", strlen(word), word);
}

static int redis_prepare(struct target_conf *conf, struct strbuf *why)
{
    struct redis_conf *redis = conf->scheme_conf;
    struct strbuf *out = &redis->request;
    strbuf_init(out, REQUEST_BYTES);
    if (conf->user != NULL && conf->secret == NULL) {
        strbuf_adds(why, "'user': has no use here without a password");
        return -EINVAL;
    }
    if (conf->secret != NULL) {
        strbuf_adds(out, conf->user != NULL ? "*3\r\n" : "*2\r\n");
        add_word(out, "AUTH");
        if (conf->user != NULL)
            add_word(out, conf->user);
        add_word(out, conf->secret);
    }
    strbuf_adds(out, "*1\r\n");
    add_word(out, "PING");
    if (redis->role != ROLE_ANY) {
        strbuf_adds(out, "*2\r\n");
        add_word(out, "INFO");
        add_word(out, "replication");
    }
    return strbuf_error(out);
}

static void redis_release(struct target_conf *conf)
{
    struct redis_conf *redis = conf->scheme_conf;
    if (redis == NULL)
        return;
    strbuf_wipe(&redis->request);
}

/* ---- the dialogue ---- */

enum want {
    WANT_AUTH = 0, /* +OK */
    WANT_PONG,
    WANT_INFO, /* the bulk string's head, "$123" */
    WANT_FIELDS,
};

struct redis_state {
    const struct redis_conf *conf;
    enum want want;
    struct lines line;
    size_t info_left; /* bytes of INFO still to come */
    enum role role;   /* ROLE_ANY: not told yet */
    bool link_up;
    char down_since[16]; /* seconds, as told */
};

static enum dlg_step redis_open(void *state, const struct target_conf *conf, struct strbuf *out,
                                struct dlg_result *ret)
{
    struct redis_state *s = state;
    (void)ret;
    s->conf = conf->scheme_conf;
    s->want = conf->secret != NULL ? WANT_AUTH : WANT_PONG;
    strbuf_add(out, s->conf->request.data, s->conf->request.len);
    return DLG_MORE;
}

/* The words of Redis 2.8 to 7 (server.c createSharedObjects, networking.c), each with what it means
 * in answer to PING. */
static const struct {
    const char *word;
    enum outcome outcome;
} errors[] = {
    {"-LOADING ", OUTCOME_STARTING},
    {"-MASTERDOWN ", OUTCOME_NOT_SERVING},
    {"-BUSY ", OUTCOME_NOT_SERVING},
    {"-MISCONF ", OUTCOME_NOT_SERVING},
    {"-ERR max number of clients", OUTCOME_OVERLOADED},
    {"-DENIED ", OUTCOME_REFUSED},
    {"-WRONGPASS ", OUTCOME_LOGIN_FAILED},
};

static enum dlg_step judge_error(const struct redis_state *s, struct dlg_result *ret)
{
    for (size_t i = 0; i < sizeof errors / sizeof errors[0]; i++) {
        if (lines_begin(&s->line, errors[i].word))
            return lines_quote("", &s->line, 1, errors[i].outcome, ret);
    }
    bool keeps_out = lines_begin(&s->line, "-NOAUTH ") || lines_begin(&s->line, "-NOPERM ");
    if (keeps_out && s->conf->role == ROLE_ANY)
        return lines_end(OUTCOME_OK,
                         lines_begin(&s->line, "-NOAUTH ") ? "alive, authentication required"
                                                           : "alive, this user may not PING",
                         ret);
    bool login = keeps_out || s->want == WANT_AUTH;
    return lines_quote("", &s->line, 1, login ? OUTCOME_LOGIN_FAILED : OUTCOME_REFUSED, ret);
}

static enum dlg_step judge_role(const struct redis_state *s, struct dlg_result *ret)
{
    if (s->role == ROLE_ANY)
        return lines_end(OUTCOME_BAD_REPLY, "INFO replication names no role", ret);
    if ((int)s->role != s->conf->role) {
        ret->outcome = OUTCOME_WRONG_ROLE;
        (void)snprintf(ret->text, sizeof ret->text, "role is %s, not %s", role_words[s->role],
                       role_words[s->conf->role]);
        return DLG_DONE;
    }
    if (s->role == ROLE_REPLICA && !s->link_up) {
        ret->outcome = OUTCOME_NOT_SERVING;
        (void)snprintf(ret->text, sizeof ret->text, "link to the master is down%s%s%s",
                       s->down_since[0] != '\0' ? " for " : "", s->down_since,
                       s->down_since[0] != '\0' ? "s" : "");
        return DLG_DONE;
    }
    return lines_end(OUTCOME_OK, "", ret);
}

/* "$123": how long INFO is. */
static bool read_info_length(struct redis_state *s)
{
    uint64_t len = 0;
    if (s->line.text[0] != '$' ||
        units_parse_digits(s->line.text + 1, s->line.len - 1, &len) != 0 || len == 0 ||
        len > INFO_MAX_BYTES)
        return false;
    s->info_left = (size_t)len;
    return true;
}

static void read_field(struct redis_state *s)
{
    static const char since[] = "master_link_down_since_seconds:";
    const char *value = s->line.text + sizeof since - 1;
    size_t len = s->line.len - (sizeof since - 1);
    uint64_t seconds;
    if (strcmp(s->line.text, "role:master") == 0)
        s->role = ROLE_MASTER;
    else if (strcmp(s->line.text, "role:slave") == 0 || strcmp(s->line.text, "role:replica") == 0)
        s->role = ROLE_REPLICA;
    else if (strcmp(s->line.text, "master_link_status:up") == 0)
        s->link_up = true;
    else if (lines_begin(&s->line, since) && units_parse_digits(value, len, &seconds) == 0 &&
             len < sizeof s->down_since) /* -1: it was never up */
        memcpy(s->down_since, value, len + 1);
}

static enum dlg_step take_line(struct redis_state *s, struct dlg_result *ret)
{
    if (s->want != WANT_FIELDS && s->line.text[0] == '-')
        return judge_error(s, ret);
    switch (s->want) {
    case WANT_AUTH:
        s->want = WANT_PONG;
        return strcmp(s->line.text, "+OK") == 0 ? DLG_MORE : lines_strange(&s->line, "Redis", ret);
    case WANT_PONG:
        if (strcmp(s->line.text, "+PONG") != 0)
            return lines_strange(&s->line, "Redis", ret);
        s->want = WANT_INFO;
        return s->conf->role == ROLE_ANY ? lines_end(OUTCOME_OK, "", ret) : DLG_MORE;
    case WANT_INFO:
        s->want = WANT_FIELDS;
        return read_info_length(s) ? DLG_MORE : lines_strange(&s->line, "Redis", ret);
    case WANT_FIELDS:
        read_field(s);
        return s->info_left > 0 ? DLG_MORE : judge_role(s, ret);
    }
    return DLG_DONE;
}

static enum dlg_step redis_feed(void *state, const uint8_t *in, size_t len, struct strbuf *out,
                                struct dlg_result *ret)
{
    struct redis_state *s = state;
    (void)out;
    while (len > 0) {
        size_t before = len;
        enum lines_step line = lines_next(&s->line, &in, &len);
        size_t taken = before - len;
        if (s->want == WANT_FIELDS)
            s->info_left -= taken < s->info_left ? taken : s->info_left;
        if (line == LINES_BINARY)
            return lines_strange(&s->line, "Redis", ret);
        enum dlg_step step = line == LINES_LINE ? take_line(s, ret) : DLG_MORE;
        if (step != DLG_MORE)
            return step;
    }
    return DLG_MORE;
}

static const struct dialogue redis_dialogue = {
    .state_size = sizeof(struct redis_state),
    .open = redis_open,
    .feed = redis_feed,
    .max_reply_bytes = 2 * INFO_MAX_BYTES,
    .asks_first = true,
};

SCHEME_PAIR(redis, 6379, rediss, 6379, SCHEME_SECRET, .conf_size = sizeof(struct redis_conf),
            .keys = redis_keys, .prepare = redis_prepare, .release = redis_release,
            .dialogue = &redis_dialogue);
