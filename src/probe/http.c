/*
 * http, https: one request, judged by its status and what else is expected.
 *
 * Redirects are not followed: a 3xx is judged by `expect_status` like any other. A status that is
 * not expected is the verdict as soon as the headers are complete (unless the body tells who is to
 * blame); else the body is read too, to its end or 64 KB of it, because a truncated reply is not a
 * healthy one.
 */
#include "probe/dialogue.h"
#include "probe/engine.h"
#include "probe/http_conf.h"

#include <healthsvc/config.h>
#include <healthsvc/http_reply.h>
#include <healthsvc/keys.h>

#include <string.h>

const char *const http_method_words[] = {"GET", "HEAD", "POST", "PUT", "OPTIONS", NULL};

static const struct key_row http_keys[] = {
    {.name = "method",
     .type = KEY_ENUM,
     .flags = KEY_ASKED | KEY_SENT,
     .offset = offsetof(struct http_conf, method),
     .default_text = "GET",
     .words = http_method_words,
     .sentence = "What to ask with."},
    {.name = "host",
     .type = KEY_STRING,
     .flags = KEY_ASKED | KEY_SENT,
     .offset = offsetof(struct http_conf, host),
     .min = 1,
     .max = 255,
     .shown_default = "the URL's host and port",
     .sentence = "The Host header."},
    {.name = "headers",
     .type = KEY_TEXT_LIST,
     .flags = KEY_ASKED | KEY_SENT,
     .offset = offsetof(struct http_conf, headers),
     .min = 2,
     .max = 4096,
     .sentence = "More headers to send, each \"Name: value\"."},
    {.name = "body",
     .type = KEY_STRING,
     .flags = KEY_ASKED,
     .offset = offsetof(struct http_conf, body),
     .min = 1,
     .max = 8192,
     .sentence = "What to send with POST, PUT or OPTIONS; its Content-Type is one of headers."},
    {.name = "expect_status",
     .type = KEY_CUSTOM,
     .flags = KEY_ASKED,
     .offset = offsetof(struct http_conf, expect_status),
     .custom = expect_status_read,
     .custom_bytes = sizeof(struct expect_status),
     .shown_default = "2xx",
     .sentence = "The statuses of a good reply: one, a class, or a list: ( \"2xx\", 301 )."},
    {.name = "expect_headers",
     .type = KEY_TEXT_LIST,
     .flags = KEY_ASKED,
     .offset = offsetof(struct http_conf, expect_headers),
     .min = 1,
     .max = 1024,
     .sentence = "Headers of a good reply, each \"Name\" (is there), \"!Name\" (is not) or "
                 "\"Name: PATTERN\" (PCRE2, found in its value)."},
    {.name = "expect_body",
     .type = KEY_STRING,
     .flags = KEY_ASKED,
     .offset = offsetof(struct http_conf, expect_body),
     .min = 1,
     .max = 1024,
     .sentence = "A PCRE2 pattern to be found in the first 64 KB of the body."},
    {.name = "expect_json",
     .type = KEY_TEXT_LIST,
     .flags = KEY_ASKED,
     .offset = offsetof(struct http_conf, expect_json),
     .min = 1,
     .max = 1024,
     .sentence = "What holds of a JSON body, each \"/pointer\" (is there), \"!/pointer\" (is not) "
                 "or \"/pointer OP value\" with OP one of = != < <= > >=."},
    {.name = "invert",
     .type = KEY_BOOL,
     .flags = KEY_ASKED,
     .offset = offsetof(struct http_conf, invert),
     .default_text = "false",
     .sentence = "A reply is good if what is expected of it does not hold."},
    KEYS_END,
};

static int http_prepare(struct target_conf *conf, struct strbuf *why)
{
    struct http_conf *http = conf->scheme_conf;
    struct strbuf request; /* made to see that it can be */
    strbuf_init(&request, HTTP_REQUEST_BYTES);
    int r = http_rules_new(http, why, &http->rules);
    if (r == 0)
        r = http_request_build(&request, conf, why);
    strbuf_wipe(&request);
    return r;
}

static void http_release(struct target_conf *conf)
{
    struct http_conf *http = conf->scheme_conf;
    if (http == NULL)
        return;
    http->rules = http_rules_free(http->rules);
}

/* ---- the dialogue ---- */

struct http_state {
    struct http_reply reply;
    struct http_seen seen;
    bool clean; /* the reply is over, nothing lies behind it, and another may follow */
};

static enum dlg_step http_open(void *state, const struct target_conf *conf, struct strbuf *out,
                               struct dlg_result *ret)
{
    struct http_state *s = state;
    struct strbuf why;
    s->seen.conf = conf->scheme_conf;
    s->seen.work = EXPECT_WORK;
    http_reply_init(&s->reply, s->seen.conf->method == HTTP_HEAD);
    s->reply.on_field = http_seen_field;
    s->reply.arg = &s->seen;
    strbuf_init(&why, 0); /* it was made before: there is nothing to say against it */
    if (http_request_build(out, conf, &why) == 0)
        return DLG_MORE;
    ret->outcome = OUTCOME_OWN_MEMORY;
    return DLG_DONE;
}

/* The verdict on what the parser came to. True: it is in. */
static bool judge(struct http_state *s, enum http_reply_step step, struct dlg_result *ret)
{
    struct http_reply *r = &s->reply;
    ret->http_status = r->status / 100 == 1 ? 0 : r->status; /* 1xx is no answer yet */
    switch (step) {
    case HTTP_REPLY_MORE:
        return false;
    case HTTP_REPLY_HEAD:
        return http_judge_head(&s->seen, r, ret);
    case HTTP_REPLY_END:
        ret->outcome = OUTCOME_OK;
        ret->text[0] = '\0';
        http_judge_end(&s->seen, r, ret);
        return true;
    case HTTP_REPLY_FAILED:
        http_judge_end(&s->seen, r, ret);
        return true;
    }
    return false;
}

static enum dlg_step http_feed(void *state, const uint8_t *in, size_t len, struct strbuf *out,
                               struct dlg_result *ret)
{
    struct http_state *s = state;
    (void)out;
    for (;;) {
        enum http_reply_step step = http_reply_feed(&s->reply, &in, &len, ret);
        s->clean = step == HTTP_REPLY_END && len == 0 && http_reply_persists(&s->reply);
        if (judge(s, step, ret))
            return DLG_DONE;
        if (step == HTTP_REPLY_MORE)
            return DLG_MORE;
    }
}

static void http_eof(void *state, struct dlg_result *ret)
{
    struct http_state *s = state;
    (void)judge(s, http_reply_eof(&s->reply, ret), ret);
}

static void http_done(void *state)
{
    struct http_state *s = state;
    http_reply_done(&s->reply);
}

static bool http_rest(void *state, struct strbuf *out, void **ret_session)
{
    const struct http_state *s = state;
    (void)out;
    (void)ret_session;
    return s->clean;
}

/* A 408 speaks of the connection that was idle, not of the request (RFC 9110 section 15.5.9). */
static bool http_answered(const void *state)
{
    const struct http_state *s = state;
    return s->reply.status != 408 && (s->reply.status != 0 || s->reply.section_bytes > 0);
}

static const struct dlg_reuse http_reuse = {
    .rest = http_rest,
    .answered = http_answered,
};

static const struct dialogue http_dialogue = {
    .state_size = sizeof(struct http_state),
    .open = http_open,
    .feed = http_feed,
    .eof = http_eof,
    .done = http_done,
    /* The parser stops before: two sections, the body, and what one read brings beyond. */
    .max_reply_bytes = 2 * HTTP_REPLY_SECTION_BYTES + 2 * HTTP_REPLY_BODY_BYTES,
    .reuse = &http_reuse,
    .asks_first = true,
};

SCHEME_PAIR(http, 80, https, 443, SCHEME_PATH | SCHEME_SECRET | SCHEME_REUSE,
            .conf_size = sizeof(struct http_conf), .keys = http_keys, .prepare = http_prepare,
            .release = http_release, .dialogue = &http_dialogue);
