/*
 * amqp, amqps: AMQP 0-9-1, as RabbitMQ speaks it. Without a user Connection.Start is the verdict;
 * with one the login, the virtual host and a clean close are part of it.
 *
 * Leaving at Connection.Start is a warning in RabbitMQ's log, every time: the protocol has no
 * goodbye there (a Close in that state is logged as an error and answered after 3 s; verified with
 * 3.10.8). With a user the log has three lines of level info. So a user is the quiet choice.
 * Source: AMQP 0-9-1 specification, 2.2.4 (opening, closing), 2.3 (frames); RabbitMQ's
 * "authentication_failure_close", by which it says why instead of only closing.
 */
#include "probe/bytes.h"
#include "probe/engine.h"

#include <healthsvc/config.h>
#include <healthsvc/keys.h>
#include <healthsvc/strbuf.h>

#include <errno.h>
#include <string.h>

#define PREFIX_BYTES 7
#define FRAME_METHOD 1
#define FRAME_END 0xce
#define LOGIN_BYTES 8192
#define HEADER_BYTES 8
#define FRAME_MIN_SIZE 4096

static const uint8_t protocol_header[HEADER_BYTES] = {'A', 'M', 'Q', 'P', 0, 0, 9, 1};

/* Class 10, connection, and its methods. */
enum amqp_method {
    METHOD_START = 10,
    METHOD_START_OK = 11,
    METHOD_TUNE = 30,
    METHOD_TUNE_OK = 31,
    METHOD_OPEN = 40,
    METHOD_OPEN_OK = 41,
    METHOD_CLOSE = 50,
    METHOD_CLOSE_OK = 51,
};
#define CLASS_CONNECTION 10

struct amqp_conf {
    char *vhost;
    struct strbuf start_ok;
};

static const struct key_row amqp_keys[] = {
    {.name = "vhost",
     .type = KEY_STRING,
     .flags = KEY_ASKED | KEY_SENT,
     .offset = offsetof(struct amqp_conf, vhost),
     .min = 1,
     .max = 255,
     .default_text = "/",
     .sentence = "The virtual host to open; looked at only with a user."},
    KEYS_END,
};

/* ---- frames ---- */

/* Begins a frame with a method of the connection; ended by end_frame(). */
static size_t begin_frame(struct strbuf *out, enum amqp_method method)
{
    static const uint8_t prefix[PREFIX_BYTES] = {FRAME_METHOD};
    strbuf_add(out, prefix, sizeof prefix);
    size_t begin = out->len;
    bytes_add_be16(out, CLASS_CONNECTION);
    bytes_add_be16(out, (uint16_t)method);
    return begin;
}

static void end_frame(struct strbuf *out, size_t begin)
{
    bytes_put_be32(out, begin - 4, (uint32_t)(out->len - begin));
    strbuf_addc(out, (char)FRAME_END);
}

static void add_start_ok(struct strbuf *out, const char *user, const char *password)
{
    static const char properties[] = "\x0c"
                                     "capabilities"
                                     "F\0\0\0\x1f\x1c"
                                     "authentication_failure_close"
                                     "t\x01"
                                     "\x07"
                                     "product"
                                     "S\0\0\0\x09"
                                     "healthsvc";
    size_t begin = begin_frame(out, METHOD_START_OK);
    bytes_add_be32(out, sizeof properties - 1);
    strbuf_add(out, properties, sizeof properties - 1);
    strbuf_adds(out, "\x05PLAIN");
    bytes_add_be32(out, (uint32_t)(2 + strlen(user) + strlen(password)));
    strbuf_addc(out, '\0');
    strbuf_adds(out, user);
    strbuf_addc(out, '\0');
    strbuf_adds(out, password);
    strbuf_adds(out, "\x05"
                     "en_US");
    end_frame(out, begin);
}

static int amqp_prepare(struct target_conf *conf, struct strbuf *why)
{
    struct amqp_conf *amqp = conf->scheme_conf;
    strbuf_init(&amqp->start_ok, LOGIN_BYTES);
    if ((conf->user == NULL) != (conf->secret == NULL)) {
        strbuf_adds(why,
                    "'user': a login needs 'user' and a password ('password_file' or another)");
        return -EINVAL;
    }
    if (conf->user != NULL)
        add_start_ok(&amqp->start_ok, conf->user, conf->secret);
    return strbuf_error(&amqp->start_ok);
}

static void amqp_release(struct target_conf *conf)
{
    struct amqp_conf *amqp = conf->scheme_conf;
    if (amqp == NULL)
        return;
    strbuf_wipe(&amqp->start_ok);
}

/* ---- the dialogue ---- */

struct amqp_state {
    const struct target_conf *conf;
    enum amqp_method expected;
    struct bytes_held held;
};

static enum dlg_step amqp_open(void *state, const struct target_conf *conf, struct strbuf *out,
                               struct dlg_result *ret)
{
    struct amqp_state *s = state;
    (void)ret;
    s->conf = conf;
    s->expected = METHOD_START;
    strbuf_add(out, protocol_header, sizeof protocol_header);
    return DLG_MORE;
}

static enum dlg_step take_start(struct amqp_state *s, struct bytes args, struct strbuf *out,
                                struct dlg_result *ret)
{
    const struct amqp_conf *amqp = s->conf->scheme_conf;
    uint16_t version = bytes_be16(&args);
    for (int i = 0; i < 3; i++) /* properties, mechanisms, locales */
        (void)bytes_take(&args, bytes_be32(&args));
    if (args.failed || version != 9)
        return bytes_end(ret, OUTCOME_BAD_REPLY, "not a Connection.Start of AMQP 0-9-1");
    if (s->conf->user == NULL) {
        ret->outcome = OUTCOME_OK;
        return DLG_DONE;
    }
    s->expected = METHOD_TUNE;
    strbuf_add(out, amqp->start_ok.data, amqp->start_ok.len);
    return DLG_MORE;
}

/* Tune-Ok and Open may go together (section 2.2.4). */
static void add_open(const struct amqp_state *s, struct strbuf *out)
{
    const struct amqp_conf *amqp = s->conf->scheme_conf;
    size_t begin = begin_frame(out, METHOD_TUNE_OK);
    bytes_add_be16(out, 1); /* channels */
    bytes_add_be32(out, FRAME_MIN_SIZE);
    bytes_add_be16(out, 0); /* no heartbeat */
    end_frame(out, begin);
    begin = begin_frame(out, METHOD_OPEN);
    strbuf_addc(out, (char)strlen(amqp->vhost));
    strbuf_adds(out, amqp->vhost);
    bytes_add_be16(out, 0); /* two reserved arguments */
    end_frame(out, begin);
}

static void add_close(struct strbuf *out)
{
    size_t begin = begin_frame(out, METHOD_CLOSE);
    bytes_add_be16(out, 200);
    strbuf_addc(out, '\0'); /* no words */
    bytes_add_be32(out, 0); /* no method was at fault */
    end_frame(out, begin);
}

static enum outcome outcome_of_close(uint16_t code)
{
    switch (code) {
    case 320: /* connection-forced: an operator or a shutdown */
        return OUTCOME_STOPPING;
    case 403: /* access-refused */
        return OUTCOME_LOGIN_FAILED;
    case 541: /* internal-error: the virtual host is down */
        return OUTCOME_NOT_SERVING;
    default: /* 530, not-allowed: no such virtual host, no access to it, its limit reached */
        return OUTCOME_REFUSED;
    }
}

static enum dlg_step judge_close(struct bytes args, struct strbuf *out, struct dlg_result *ret)
{
    uint16_t code = bytes_be16(&args);
    size_t len = bytes_u8(&args);
    const uint8_t *words = bytes_take(&args, len);
    if (words == NULL)
        return bytes_end(ret, OUTCOME_BAD_REPLY, "not a valid Connection.Close");
    end_frame(out, begin_frame(out, METHOD_CLOSE_OK));
    return bytes_end_said(ret, outcome_of_close(code), "", words, len);
}

static enum dlg_step judge_method(struct amqp_state *s, struct bytes args, struct strbuf *out,
                                  struct dlg_result *ret)
{
    uint16_t class_id = bytes_be16(&args);
    uint16_t method = bytes_be16(&args);
    if (class_id == CLASS_CONNECTION && method == METHOD_CLOSE && s->expected != METHOD_START)
        return judge_close(args, out, ret);
    if (args.failed || class_id != CLASS_CONNECTION || method != s->expected)
        return bytes_end(ret, OUTCOME_BAD_REPLY, "not the method that comes next in AMQP 0-9-1");
    if (s->expected == METHOD_START)
        return take_start(s, args, out, ret);
    if (s->expected == METHOD_TUNE) {
        s->expected = METHOD_OPEN_OK;
        add_open(s, out);
        return DLG_MORE;
    }
    if (s->expected == METHOD_OPEN_OK) {
        s->expected = METHOD_CLOSE_OK;
        add_close(out);
        return DLG_MORE;
    }
    ret->outcome = OUTCOME_OK;
    return DLG_DONE;
}

/* A server that wants another protocol says which, and closes. */
static enum dlg_step judge_header(struct amqp_state *s, const uint8_t *in, size_t len,
                                  struct dlg_result *ret)
{
    if (!bytes_gather(&s->held, HEADER_BYTES, &in, &len))
        return DLG_MORE;
    if (memcmp(s->held.at, "AMQP", 4) != 0)
        return bytes_end(ret, OUTCOME_BAD_REPLY, "not an answer in AMQP");
    return bytes_end(ret, OUTCOME_BAD_REPLY, "the server speaks AMQP %u-%u-%u, not 0-9-1",
                     s->held.at[5], s->held.at[6], s->held.at[7]);
}

static enum dlg_step amqp_feed(void *state, const uint8_t *in, size_t len, struct strbuf *out,
                               struct dlg_result *ret)
{
    struct amqp_state *s = state;
    while (bytes_gather(&s->held, 1, &in, &len)) {
        if (s->expected == METHOD_START && s->held.at[0] == 'A')
            return judge_header(s, in, len, ret);
        if (!bytes_gather(&s->held, PREFIX_BYTES, &in, &len))
            break;
        struct bytes prefix = bytes_of(s->held.at + 1, PREFIX_BYTES - 1);
        uint16_t channel = bytes_be16(&prefix);
        size_t size = bytes_be32(&prefix);
        if (s->held.at[0] != FRAME_METHOD || channel != 0 ||
            size > BYTES_HELD_MAX - PREFIX_BYTES - 1)
            return bytes_end(ret, OUTCOME_BAD_REPLY, "not a frame of AMQP 0-9-1");
        if (!bytes_gather(&s->held, PREFIX_BYTES + size + 1, &in, &len))
            break;
        if (s->held.at[PREFIX_BYTES + size] != FRAME_END)
            return bytes_end(ret, OUTCOME_BAD_REPLY, "a frame of AMQP without its end");
        enum dlg_step step = judge_method(s, bytes_of(s->held.at + PREFIX_BYTES, size), out, ret);
        if (step != DLG_MORE)
            return step;
        s->held.len = 0;
    }
    return DLG_MORE;
}

/* Closing after Start-Ok is how the specification has a login refused. */
static void amqp_eof(void *state, struct dlg_result *ret)
{
    const struct amqp_state *s = state;
    if (s->expected == METHOD_TUNE && s->held.len == 0)
        ret->outcome = OUTCOME_LOGIN_FAILED;
    else
        ret->outcome = OUTCOME_CLOSED;
}

static const struct dialogue amqp_dialogue = {
    .state_size = sizeof(struct amqp_state),
    .open = amqp_open,
    .feed = amqp_feed,
    .eof = amqp_eof,
    .max_reply_bytes = 65536,
    .polite = true,
    .asks_first = true,
};

SCHEME_PAIR(amqp, 5672, amqps, 5671, SCHEME_SECRET, .conf_size = sizeof(struct amqp_conf),
            .keys = amqp_keys, .prepare = amqp_prepare, .release = amqp_release,
            .dialogue = &amqp_dialogue);
