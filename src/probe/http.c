/*
 * http, https: one GET or HEAD on a new connection, judged by its status and, if asked, its body.
 *
 * The request never changes, so its bytes are made once, with the configuration. Redirects are not
 * followed: a 3xx is judged by `expect_status` like any other. A status that is not expected is
 * the verdict as soon as the headers are complete; else the body is read too, to its end or
 * 64 KB of it, because a truncated reply is not a healthy one.
 */
#ifdef HAVE_CONFIG_H
#include <config.h>
#endif

#include "probe/engine.h"
#include "probe/expect.h"
#include "probe/http_reply.h"

#include <healthsvc/config.h>
#include <healthsvc/keys.h>

#include <errno.h>
#include <openssl/evp.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>

#define REQUEST_BYTES 16384
#define CREDENTIALS_BYTES 4096

enum method {
    METHOD_GET = 0,
    METHOD_HEAD,
};
static const char *const method_words[] = {"GET", "HEAD", NULL};

struct http_conf {
    int method; /* enum method */
    char *host;
    char *headers; /* lines joined by '\n' */
    struct expect_status expect_status;
    char *expect_body;
    /* made by prepare: */
    struct expect_pattern *pattern; /* NULL: any body */
    struct strbuf request;
};

static const struct key_row http_keys[] = {
    {.name = "method",
     .type = KEY_ENUM,
     .flags = KEY_ASKED | KEY_SENT,
     .offset = offsetof(struct http_conf, method),
     .default_text = "GET",
     .words = method_words,
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
    {.name = "expect_status",
     .type = KEY_CUSTOM,
     .flags = KEY_ASKED,
     .offset = offsetof(struct http_conf, expect_status),
     .custom = expect_status_read,
     .custom_bytes = sizeof(struct expect_status),
     .shown_default = "2xx",
     .sentence = "The statuses of a good reply: one, a class, or a list: ( \"2xx\", 301 )."},
    {.name = "expect_body",
     .type = KEY_STRING,
     .flags = KEY_ASKED,
     .offset = offsetof(struct http_conf, expect_body),
     .min = 1,
     .max = 1024,
     .sentence = "A PCRE2 pattern to be found in the first 64 KB of the body."},
    KEYS_END,
};

/* ---- the request ---- */

/* Printable ASCII without blanks: what cannot end or split a line's parts. */
static bool is_plain(const char *text)
{
    for (; *text != '\0'; text++) {
        if (*text <= ' ' || *text > '~')
            return false;
    }
    return true;
}

/* The length of a header line's name; 0: it has none, or no colon, or something unprintable that
 * RFC 9110 section 5.5 forbids. */
static size_t header_name_length(const char *line, size_t len)
{
    static const char token[] = "!#$%&'*+-.^_`|~0123456789"
                                "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ";
    size_t name = strspn(line, token);
    if (line[name] != ':')
        return 0;
    for (size_t i = name; i < len; i++) {
        if (((unsigned char)line[i] < ' ' && line[i] != '\t') || line[i] == 0x7f)
            return 0;
    }
    return name;
}

static bool is_name(const char *line, size_t name, const char *known)
{
    return name == strlen(known) && strncasecmp(line, known, name) == 0;
}

/* Whether one of the lines has that name. */
static bool has_header(const char *lines, const char *known)
{
    while (lines != NULL && *lines != '\0') {
        if (is_name(lines, strcspn(lines, ":\n"), known))
            return true;
        lines += strcspn(lines, "\n");
        lines += *lines == '\n';
    }
    return false;
}

/* Adds the lines of `headers`; -EINVAL with the reason. */
static int add_headers(struct strbuf *out, const char *headers, struct strbuf *why)
{
    static const char *const own[] = {"Host", "Connection", "Content-Length", "Transfer-Encoding",
                                      "Accept-Encoding"};
    while (headers != NULL && *headers != '\0') {
        size_t len = strcspn(headers, "\n");
        size_t name = header_name_length(headers, len);
        if (name == 0) {
            strbuf_adds(why, "'headers': not \"Name: value\": ");
            strbuf_add_printable(why, headers, len, 60);
            return -EINVAL;
        }
        for (size_t i = 0; i < sizeof own / sizeof own[0]; i++) {
            if (is_name(headers, name, own[i])) {
                strbuf_addf(why, "'headers': %s is set by the probe itself%s", own[i],
                            i == 0 ? ", from 'host'" : "");
                return -EINVAL;
            }
        }
        strbuf_add(out, headers, len);
        strbuf_adds(out, "\r\n");
        headers += len;
        headers += *headers == '\n';
    }
    return 0;
}

static void add_host(struct strbuf *out, const struct target_conf *conf)
{
    const struct http_conf *http = conf->scheme_conf;
    if (http->host != NULL) {
        strbuf_adds(out, http->host);
        return;
    }
    /* A zone ("fe80::1%eth0") means something on this machine only (RFC 6874 section 4). */
    int len = (int)strcspn(conf->host, "%");
    bool ipv6 = strchr(conf->host, ':') != NULL;
    strbuf_addf(out, "%s%.*s%s", ipv6 ? "[" : "", len, conf->host, ipv6 ? "]" : "");
    if (conf->port != conf->scheme->port)
        strbuf_addf(out, ":%u", conf->port);
}

/* Basic with a user (RFC 7617), a bearer token without (RFC 6750). -EINVAL or -ENOMEM. */
static int add_authorization(struct strbuf *out, const struct target_conf *conf, struct strbuf *why)
{
    const char *secret = conf->secret != NULL ? conf->secret : "";
    if (conf->user == NULL) {
        if (secret[0] == '\0' || !is_plain(secret)) {
            strbuf_adds(why, "'password_file', 'password_env': as a bearer token (without 'user') "
                             "it must be printable ASCII without blanks");
            return -EINVAL;
        }
        strbuf_addf(out, "Authorization: Bearer %s\r\n", secret);
        return 0;
    }
    if (strchr(conf->user, ':') != NULL) {
        strbuf_adds(why, "'user': must not contain a colon (RFC 7617)");
        return -EINVAL;
    }
    struct strbuf plain;
    strbuf_init(&plain, CREDENTIALS_BYTES);
    strbuf_addf(&plain, "%s:%s", conf->user, secret);
    int r = strbuf_error(&plain);
    unsigned char *coded = r == 0 ? malloc((plain.len + 2) / 3 * 4 + 1) : NULL;
    if (coded != NULL) {
        (void)EVP_EncodeBlock(coded, (const unsigned char *)plain.data, (int)plain.len);
        strbuf_addf(out, "Authorization: Basic %s\r\n", (const char *)coded);
    } else if (r == -E2BIG) {
        strbuf_addf(why, "'user' and password are longer than %d bytes", CREDENTIALS_BYTES);
        r = -EINVAL;
    } else {
        r = -ENOMEM;
    }
    free(coded);
    if (plain.room > 0)
        explicit_bzero(plain.data, plain.room);
    strbuf_done(&plain);
    return r;
}

static int build_request(struct strbuf *out, const struct target_conf *conf, struct strbuf *why)
{
    const struct http_conf *http = conf->scheme_conf;
    bool login = conf->user != NULL || conf->secret != NULL;
    if (http->host != NULL && !is_plain(http->host)) {
        strbuf_adds(why, "'host': must be printable ASCII without blanks");
        return -EINVAL;
    }
    if (!is_plain(conf->path)) {
        strbuf_adds(why, "'url': path and query must be printable ASCII without blanks: "
                         "percent-encode the rest");
        return -EINVAL;
    }
    if (login && has_header(http->headers, "Authorization")) {
        strbuf_adds(why, "'headers': Authorization is made from 'user' and the password");
        return -EINVAL;
    }
    strbuf_addf(out, "%s %s HTTP/1.1\r\nHost: ", method_words[http->method], conf->path);
    add_host(out, conf);
    strbuf_adds(out, "\r\n");
    if (!has_header(http->headers, "User-Agent"))
        strbuf_adds(out, "User-Agent: healthsvc/" PACKAGE_VERSION "\r\n");
    if (!has_header(http->headers, "Accept"))
        strbuf_adds(out, "Accept: */*\r\n");
    strbuf_adds(out, "Accept-Encoding: identity\r\nConnection: close\r\n");
    int r = login ? add_authorization(out, conf, why) : 0;
    if (r == 0)
        r = add_headers(out, http->headers, why);
    if (r != 0)
        return r;
    strbuf_adds(out, "\r\n");
    if (strbuf_error(out) == -E2BIG) {
        strbuf_addf(why, "'headers': the request would be longer than %d bytes", REQUEST_BYTES);
        return -EINVAL;
    }
    return strbuf_error(out);
}

static int http_prepare(struct target_conf *conf, struct strbuf *why)
{
    struct http_conf *http = conf->scheme_conf;
    strbuf_init(&http->request, REQUEST_BYTES);
    if (http->expect_body != NULL) {
        if (http->method == METHOD_HEAD) {
            strbuf_adds(why, "'expect_body': the answer to HEAD has no body");
            return -EINVAL;
        }
        strbuf_adds(why, "'expect_body': ");
        int r = expect_pattern_new(http->expect_body, why, &http->pattern);
        if (r < 0)
            return r;
        strbuf_clear(why);
    }
    int r = build_request(&http->request, conf, why);
    strbuf_fit(&http->request);
    return r;
}

static void http_release(struct target_conf *conf)
{
    struct http_conf *http = conf->scheme_conf;
    if (http == NULL)
        return;
    http->pattern = expect_pattern_free(http->pattern);
    if (http->request.room > 0)
        explicit_bzero(http->request.data, http->request.room); /* it may hold the secret */
    strbuf_done(&http->request);
}

/* ---- the dialogue ---- */

struct http_state {
    const struct http_conf *conf;
    struct http_reply reply;
};

static enum dlg_step http_open(void *state, const struct target_conf *conf, struct strbuf *out,
                               struct dlg_result *ret)
{
    struct http_state *s = state;
    (void)ret;
    s->conf = conf->scheme_conf;
    http_reply_init(&s->reply, s->conf->method == METHOD_HEAD, s->conf->pattern != NULL);
    strbuf_add(out, s->conf->request.data, s->conf->request.len);
    return DLG_MORE;
}

/* The verdict on what the parser came to. True: it is in. */
static bool judge(struct http_state *s, enum http_reply_step step, struct dlg_result *ret)
{
    const struct http_conf *conf = s->conf;
    const struct http_reply *r = &s->reply;
    ret->http_status = r->status / 100 == 1 ? 0 : r->status; /* 1xx is no answer yet */
    switch (step) {
    case HTTP_REPLY_MORE:
        return false;
    case HTTP_REPLY_HEAD:
        if (expect_status_has(&conf->expect_status, r->status))
            return false;
        ret->outcome = OUTCOME_HTTP_STATUS;
        (void)snprintf(ret->text, sizeof ret->text, "HTTP %03d", r->status);
        return true;
    case HTTP_REPLY_END:
        ret->outcome = OUTCOME_OK;
        ret->text[0] = '\0';
        if (conf->pattern != NULL)
            ret->outcome =
                expect_pattern_match(conf->pattern, r->body.data, r->body.len, ret->text);
        return true;
    case HTTP_REPLY_FAILED:
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

static const struct dialogue http_dialogue = {
    .state_size = sizeof(struct http_state),
    .open = http_open,
    .feed = http_feed,
    .eof = http_eof,
    .done = http_done,
    /* The parser stops before: two sections, the body, and what one read brings beyond. */
    .max_reply_bytes = 2 * HTTP_REPLY_SECTION_BYTES + 2 * HTTP_REPLY_BODY_BYTES,
};

extern const struct scheme scheme_http, scheme_https;

const struct scheme scheme_http = {
    .name = "http",
    .port = 80,
    .flags = SCHEME_PATH | SCHEME_SECRET,
    .conf_size = sizeof(struct http_conf),
    .keys = http_keys,
    .prepare = http_prepare,
    .release = http_release,
    .ops = &stream_ops,
    .dialogue = &http_dialogue,
};

const struct scheme scheme_https = {
    .name = "https",
    .port = 443,
    .flags = SCHEME_TLS | SCHEME_PATH | SCHEME_SECRET,
    .conf_size = sizeof(struct http_conf),
    .keys = http_keys,
    .prepare = http_prepare,
    .release = http_release,
    .ops = &stream_ops,
    .dialogue = &http_dialogue,
};
