/*
 * The dialogues against any bytes. An input is one byte that chooses scheme and settings, three that
 * give the lengths of pieces, and then what the peer sends before it closes; behind the mark "[TLS]"
 * it comes inside TLS, and behind "[FILL]" stand four bytes that come 1024 times, since limits lie
 * higher than a fuzzer's inputs are long. It is played whole, and cut into pieces: each must come to an end that the
 * engine can publish, in words that print, and both to the same. A connection that can be kept is
 * then asked twice, and the bytes come between and as the second answer.
 *
 * What is not played here: TLS itself, which is OpenSSL's, and how its end is told (tls_outcome.c),
 * which needs a handshake: tests/unit/test_tls and tests/e2e/test_tls.py have each of its ends.
 */
#ifdef HAVE_CONFIG_H
#include <config.h>
#endif

#include "../dialogue/transcript.h"
#include "fuzz.h"

#include <healthsvc/probe.h>

#ifdef HAVE_NGHTTP2
/* SETTINGS, and SERVING on stream 1. */
static const char grpc_serving[] = "\0\0\0\4\0\0\0\0\0"
                                   "\0\0\1\1\4\0\0\0\1\x88"
                                   "\0\0\7\0\0\0\0\0\1\0\0\0\0\2\x08\1"
                                   "\0\0\xf\1\5\0\0\0\1\0\xbgrpc-status\1"
                                   "0";
#endif
static const char http_pass[] = "HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n";

/* What is asked, and how; with `reuse`, `reply` is the answer after which the connection is kept. */
struct subject {
    const char *target;
    const char *scheme;
    struct transcript row;
};
#define SUBJECT(target_name, scheme_name, ...)                                                   \
    {                                                                                            \
        .target = target_name, .scheme = scheme_name, .row = {.name = scheme_name, __VA_ARGS__ } \
    }

/* A corpus names those of its target by number: append only. */
static const struct subject subjects[] = {
    SUBJECT("http", "http"),
    SUBJECT("http", "http", .settings = "method = \"HEAD\"; expect_status = [ \"2xx\", \"3xx\" ];"),
    SUBJECT("http", "http",
            .settings = "expect_body = \"(?s)^(up.*)+$\"; "
                        "expect_status = [ \"2xx\", \"4xx\", \"5xx\" ];"),
    SUBJECT("http", "http", .settings = "expect_headers = [ \"X-A: ^(b+)+$\", \"!X-B\" ];"),
    SUBJECT("http", "http", .reuse = true, .reply = BYTES(http_pass)),
#ifdef HAVE_JANSSON
    SUBJECT("http", "http", .settings = "expect_json = [ \"/a/0 >= 1\", \"!/e\" ];"),
    SUBJECT("http", "http", .settings = "expect_json = \"/a = b\"; invert = true;"),
#endif
    SUBJECT("lines", "redis"),
    SUBJECT("lines", "redis", .settings = "role = \"master\";", .secret = "x"),
    SUBJECT("lines", "redis", .settings = "role = \"replica\";"),
    SUBJECT("lines", "smtp"),
    SUBJECT("lines", "smtp", .settings = "starttls = true;"),
    SUBJECT("lines", "imap"),
    SUBJECT("lines", "imap", .settings = "starttls = true;"),
    SUBJECT("lines", "pop3", .settings = "starttls = true;"),
    SUBJECT("lines", "ftp"),
    SUBJECT("lines", "ftp", .settings = "starttls = true;"),
    SUBJECT("lines", "nats", .user = "u", .secret = "p"),
    SUBJECT("lines", "nats", .settings = "starttls = true;"),
    SUBJECT("lines", "memcached"),
    SUBJECT("lines", "zookeeper"),
    SUBJECT("lines", "ssh"),
    SUBJECT("lines", "pop3"),
    SUBJECT("binary", "amqp"),
    SUBJECT("binary", "amqp", .user = "me", .secret = "pw"),
    SUBJECT("binary", "cassandra"),
    SUBJECT("binary", "fastcgi", .path = "/"),
    SUBJECT("binary", "fastcgi", .path = "/ping", .settings = "expect_status = [ 200, 404 ];"),
    SUBJECT("binary", "kafka"),
    SUBJECT("binary", "ldap"),
    SUBJECT("binary", "ldap", .user = "cn=me", .secret = "pw"),
    SUBJECT("binary", "mongodb"),
    SUBJECT("binary", "mqtt", .user = "me", .secret = "pw"),
    SUBJECT("binary", "mysql", .user = "me", .secret = "pw"),
    SUBJECT("binary", "mysql", .settings = "sslmode = \"prefer\";"),
    SUBJECT("binary", "postgres"),
    SUBJECT("binary", "postgres", .settings = "sslmode = \"prefer\";"),
    SUBJECT("binary", "mqtt"),
    SUBJECT("script", "tcp", .settings = "script = ( \"send_line PING\", \"expect +PONG\" );"),
    SUBJECT("script", "tcp",
            .settings = "script = ( \"expect 220\", \"send_line EHLO\", \"expect_match ^250 \" );"),
    SUBJECT("script", "tcp",
            .settings = "script = ( \"expect_hex 00 01\", \"expect a\", \"expect_match ^b+$\", "
                        "\"expect_hex ff\", \"expect_match x\", \"send end\" );"),
    SUBJECT("script", "tcp",
            .settings = "script = ( \"expect +OK\", \"send_line STLS\", \"expect +OK\", "
                        "\"starttls\", \"send_line QUIT\", \"expect_match ^\\\\+OK\" );"),
    SUBJECT("script", "tcp",
            .settings = "script = ( \"expect a\", \"expect_match (b+)+$\", \"expect c\" );"),
#ifdef HAVE_NGHTTP2
    SUBJECT("grpc", "grpc", .settings = "service = \"trips\";", .reuse = true,
            .reply = BYTES(grpc_serving)),
#endif
    /* Not played here but asked as a whole, by the engine: */
    SUBJECT("probes", "dns"),
    SUBJECT("probes", "ntp"),
    SUBJECT("probes", "icmp"),
    SUBJECT("probes", "exec"),
    SUBJECT("probes", "file"),
};
#define SUBJECTS (sizeof subjects / sizeof subjects[0])

const char *fuzz_target_of_scheme(const char *scheme)
{
    const struct scheme *wanted = scheme_find(scheme);
    for (size_t i = 0; i < SUBJECTS; i++) {
        const struct scheme *s = scheme_find(subjects[i].scheme);
        /* A scheme that is another one inside TLS has its dialogue. */
        if (s == wanted || (s->dialogue != NULL && s->dialogue == wanted->dialogue))
            return subjects[i].target;
    }
    return NULL;
}

/* ---- one subject ---- */

static const struct subject *choose(const char *target, uint8_t choice)
{
    size_t first = 0, count = 0;
    while (strcmp(subjects[first].target, target) != 0)
        first++;
    while (first + count < SUBJECTS && strcmp(subjects[first + count].target, target) == 0)
        count++;
    return &subjects[first + choice % count];
}

/* Made at its first use, for all inputs. */
static const struct target_conf *conf_of(const struct subject *subject)
{
    static struct target_conf confs[SUBJECTS];
    struct target_conf *conf = &confs[subject - subjects];
    if (conf->scheme == NULL) {
        struct strbuf why;
        strbuf_init(&why, 200);
        HOLDS(transcript_prepare(scheme_find(subject->scheme), &subject->row, conf, &why) == 0);
        strbuf_done(&why);
    }
    return conf;
}

/* A verdict that the engine can publish. */
static bool is_sound(const struct dlg_result *r)
{
    return r->outcome > OUTCOME_FIRST_UNUSED && r->outcome < OUTCOME_COUNT && r->http_status >= 0 &&
           r->http_status <= 999 && memchr(r->text, '\0', sizeof r->text) != NULL &&
           fuzz_is_plain(r->text) &&
           (r->outcome != OUTCOME_OK || r->http_status == 0 || r->http_status >= 200);
}

/* The same words after the same bytes sent. Of grpc only that what is good stays good: how bytes are
 * cut may decide which of two faults is met first. */
static bool is_same(const struct target_conf *conf, const struct transcript_end *whole,
                    const struct transcript_end *cut)
{
    if (strcmp(conf->scheme->name, "grpc") == 0)
        return whole->result.outcome != OUTCOME_OK || cut->result.outcome == OUTCOME_OK;
    return whole->result.outcome == cut->result.outcome &&
           whole->result.http_status == cut->result.http_status &&
           strcmp(whole->result.text, cut->result.text) == 0 && whole->sent.len == cut->sent.len &&
           memcmp(whole->sent.data, cut->sent.data, whole->sent.len) == 0;
}

static enum outcome play(const struct target_conf *conf, struct transcript_bytes clear,
                         struct transcript_bytes secured, const size_t *pieces, size_t count)
{
    struct transcript_end whole, cut;
    transcript_feed(conf, clear, secured, TRANSCRIPT_WHOLE, true, &whole);
    transcript_feed(conf, clear, secured, pieces, count, true, &cut);
    HOLDS(whole.step == DLG_DONE && cut.step == DLG_DONE);
    HOLDS(is_sound(&whole.result) && is_sound(&cut.result));
    /* Whether clear text behind the go-ahead came in one piece with it decides who sees it: the
     * dialogue, or TLS. */
    if (whole.clear_behind == 0 && cut.clear_behind == 0)
        HOLDS(is_same(conf, &whole, &cut));
    strbuf_done(&whole.sent);
    strbuf_done(&cut.sent);
    return whole.result.outcome;
}

/* ---- a connection that is kept ---- */

/* One question, on a session or a new connection; what the connection is left with. *ret_kept:
 * whether another question may follow. */
static void *ask(const struct target_conf *conf, void *session, struct transcript_bytes answer,
                 struct strbuf *out, bool *ret_kept, struct dlg_result *ret)
{
    const struct dialogue *d = conf->scheme->dialogue;
    void *state = calloc(1, d->state_size), *left = NULL;
    uint8_t *bytes = fuzz_copy(answer.at, answer.len);
    HOLDS(state != NULL);
    *ret = (struct dlg_result){.outcome = OUTCOME_BAD_REPLY};
    if (session != NULL)
        d->reuse->resume(state, session);
    strbuf_clear(out);
    enum dlg_step step = d->open(state, conf, out, ret);
    if (step == DLG_MORE && answer.len > 0)
        step = d->feed(state, bytes, answer.len, out, ret);
    (void)d->reuse->answered(state);
    *ret_kept = step == DLG_DONE && ret->outcome == OUTCOME_OK && d->reuse->rest(state, out, &left);
    if (step != DLG_DONE) {
        ret->outcome = OUTCOME_CLOSED;
        if (d->eof != NULL)
            d->eof(state, ret);
    }
    if (d->done != NULL)
        d->done(state);
    free(state);
    free(bytes);
    HOLDS(is_sound(ret));
    HOLDS(*ret_kept || left == NULL);
    return left;
}

static void keep_and_ask(const struct subject *subject, struct transcript_bytes bytes, bool between,
                         enum outcome alone)
{
    const struct target_conf *conf = conf_of(subject);
    const struct dlg_reuse *reuse = conf->scheme->dialogue->reuse;
    struct dlg_result ret;
    struct strbuf out;
    bool kept;
    strbuf_init(&out, 1 << 20);
    void *session = ask(conf, NULL, subject->row.reply, &out, &kept, &ret);
    HOLDS(kept);
    if (between && bytes.len > 0)
        kept =
            reuse->idle != NULL && reuse->idle(session, (const uint8_t *)bytes.at, bytes.len, &out);
    if (kept) {
        session = ask(conf, session, bytes, &out, &kept, &ret);
        /* Without a session the connection knows nothing, so an answer means what it did alone. */
        if (!between && reuse->resume == NULL)
            HOLDS(ret.outcome == alone);
    }
    if (session != NULL)
        reuse->forget(session);
    strbuf_done(&out);
}

#define FILL "[FILL]"
#define FILL_BYTES 4
#define FILL_TIMES 1024

/* The bytes, with what the marks stand for. */
static void expand(const char *at, size_t len, struct strbuf *out)
{
    const char *end = at + len, *mark;
    while ((mark = memmem(at, (size_t)(end - at), FILL, sizeof FILL - 1)) != NULL &&
           (size_t)(end - mark) >= sizeof FILL - 1 + FILL_BYTES) {
        strbuf_add(out, at, (size_t)(mark - at));
        at = mark + sizeof FILL - 1;
        for (int i = 0; i < FILL_TIMES; i++)
            strbuf_add(out, at, FILL_BYTES);
        at += FILL_BYTES;
    }
    strbuf_add(out, at, (size_t)(end - at));
}

static void play_all(const struct subject *subject, struct transcript_bytes clear,
                     const uint8_t *lengths)
{
    static const char mark[] = "[TLS]";
    const struct target_conf *conf = conf_of(subject);
    const char *tls = memmem(clear.at, clear.len, mark, sizeof mark - 1);
    struct transcript_bytes secured = {NULL, 0};
    size_t pieces[3], scale = 1 + clear.len / FILL_TIMES / 8; /* not too many */
    for (size_t i = 0; i < 3; i++)
        pieces[i] = (lengths[i] + (size_t)1) * scale;
    if (tls != NULL) {
        size_t before = (size_t)(tls - clear.at);
        secured.at = tls + sizeof mark - 1;
        secured.len = clear.len - before - (sizeof mark - 1);
        clear.len = before;
    }
    enum outcome alone = play(conf, clear, secured, pieces, 3);
    if (subject->row.reply.len > 0) {
        keep_and_ask(subject, clear, true, alone);
        keep_and_ask(subject, clear, false, alone);
    }
}

void fuzz_dialogue(const struct fuzz_target *target, const uint8_t *data, size_t size)
{
    if (size < 4)
        return;
    const struct subject *subject = choose(target->name, data[0]);
    struct strbuf bytes;
    /* With more the engine's limit comes before. */
    strbuf_init(&bytes, scheme_find(subject->scheme)->dialogue->max_reply_bytes);
    expand((const char *)data + 4, size - 4, &bytes);
    if (strbuf_error(&bytes) == 0)
        play_all(subject, (struct transcript_bytes){bytes.data, bytes.len}, data + 1);
    strbuf_done(&bytes);
}
