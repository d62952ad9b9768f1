/*
 * The request is made anew for each check, which takes 0.4 us; kept, its 200 bytes were a seventh of
 * what a dependency takes in memory. It is made once with the configuration too, and whatever could
 * end a line too early or be read in two ways is refused there.
 */
#ifdef HAVE_CONFIG_H
#include <config.h>
#endif

#include "probe/http_conf.h"

#include <healthsvc/config.h>
#include <healthsvc/probe.h>
#include <healthsvc/url.h>

#include <errno.h>
#include <openssl/evp.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>

#define CREDENTIALS_BYTES 4096

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

/* Basic with a user (RFC 7617), a bearer token without (RFC 6750). -EINVAL or -ENOMEM. */
static int add_authorization(struct strbuf *out, const struct target_conf *conf, struct strbuf *why)
{
    const char *secret = conf->secret != NULL ? conf->secret : "";
    if (conf->user == NULL) {
        if (secret[0] == '\0' || !is_plain(secret)) {
            strbuf_adds(why, "the password, without 'user' a bearer token, must be printable ASCII "
                             "without blanks");
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
    strbuf_wipe(&plain);
    return r;
}

int http_request_build(struct strbuf *out, const struct target_conf *conf, struct strbuf *why)
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
    if (http->body != NULL && (http->method == HTTP_GET || http->method == HTTP_HEAD)) {
        strbuf_adds(why, "'body' has no use with GET and HEAD: set 'method'");
        return -EINVAL;
    }
    if (login && has_header(http->headers, "Authorization")) {
        strbuf_adds(why, "'headers': Authorization is made from 'user' and the password");
        return -EINVAL;
    }
    strbuf_addf(out, "%s %s HTTP/1.1\r\nHost: ", http_method_words[http->method], conf->path);
    if (http->host != NULL)
        strbuf_adds(out, http->host);
    else
        url_add_host(out, conf);
    strbuf_adds(out, "\r\n");
    if (!has_header(http->headers, "User-Agent"))
        strbuf_adds(out, "User-Agent: healthsvc/" PACKAGE_VERSION "\r\n");
    if (!has_header(http->headers, "Accept")) {
        /* A pattern for the body was written for what the service says to anybody. */
        bool asks_health = http_understands(http) && http->expect_body == NULL;
        strbuf_adds(out, asks_health ? "Accept: application/health+json, "
                                       "application/json;q=0.9, */*;q=0.5\r\n"
                                     : "Accept: */*\r\n");
    }
    strbuf_addf(out, "Accept-Encoding: identity\r\nConnection: %s\r\n",
                conf->reuse ? "keep-alive" : "close");
    int r = login ? add_authorization(out, conf, why) : 0;
    if (r == 0)
        r = add_headers(out, http->headers, why);
    if (r != 0)
        return r;
    if (http->method == HTTP_POST || http->method == HTTP_PUT || http->body != NULL)
        strbuf_addf(out, "Content-Length: %zu\r\n", http->body != NULL ? strlen(http->body) : 0);
    strbuf_adds(out, "\r\n");
    if (http->body != NULL)
        strbuf_adds(out, http->body);
    if (strbuf_error(out) == -E2BIG) {
        strbuf_addf(why, "'headers': the request would be longer than %d bytes",
                    HTTP_REQUEST_BYTES);
        return -EINVAL;
    }
    return strbuf_error(out);
}
