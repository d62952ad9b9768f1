/*
 * A container's health check, and a monitoring system's plugin.
 *
 * No answer is CRITICAL to a monitoring system: names that cannot be found and timeouts are not
 * failures of the plugin (Monitoring Plugins Development Guidelines, "Plugin Return Codes"). What
 * this machine could not do is UNKNOWN. Docker knows 0 and 1 only, so without that format there is
 * nothing else, but for a wrong command line.
 */
#ifdef HAVE_CONFIG_H
#include <config.h>
#endif

#include "command/query.h"

#include <healthsvc/config.h>
#include <healthsvc/http_reply.h>
#include <healthsvc/outcome.h>
#include <healthsvc/probe.h>
#include <healthsvc/region.h>
#include <healthsvc/strbuf.h>
#include <healthsvc/url.h>
#include "command/ending.h"
#include "command/fetch.h"

#include <errno.h>
#include <stdio.h>
#include <string.h>

#define DEFAULT_PATH "/health"
/* What the server makes at most; more is not an answer to wait for. */
#define BODY_BYTES (64 * 1024 * 1024)
#define TARGET_BYTES 2048 /* as in a configuration */
#define REQUEST_BYTES (2 * TARGET_BYTES)
#define SHOWN_BYTES 200 /* of the server's own words in a text */

struct asking {
    const struct query *query;
    struct region *region;   /* of the strings in it: */
    struct target_conf conf; /* what is asked */
    struct http_reply reply;
    struct dlg_result end; /* why there is no answer */
};

/* ---- what to ask ---- */

static int refuse(struct strbuf *why, const char *sentence)
{
    strbuf_adds(why, sentence);
    return -EINVAL;
}

/* Every form of a target as a URL. */
static char *make_url(struct region *region, const char *target)
{
    struct strbuf url;
    strbuf_init(&url, strlen(target) + 16);
    if (strncmp(target, "unix:", 5) == 0)
        strbuf_addf(&url, "http+unix://%s", target + 5);
    else
        strbuf_addf(&url, "%s%s", strstr(target, "://") == NULL ? "http://" : "", target);
    char *text = strbuf_error(&url) == 0 ? region_copy_text(region, url.data) : NULL;
    strbuf_done(&url);
    return text;
}

static int complete_path(struct asking *a)
{
    struct strbuf path;
    const char *url = a->conf.url;
    bool written = strcmp(a->conf.path, "/") != 0 || url[strlen(url) - 1] == '/';
    strbuf_init(&path, REQUEST_BYTES);
    strbuf_adds(&path, written ? a->conf.path : DEFAULT_PATH);
    if (a->query->format_given)
        strbuf_addf(&path, "%cformat=%s", strchr(path.data, '?') != NULL ? '&' : '?',
                    render_format_word(a->query->format));
    a->conf.path = strbuf_error(&path) == 0 ? region_copy_text(a->region, path.data) : NULL;
    strbuf_done(&path);
    return a->conf.path != NULL ? 0 : -ENOMEM;
}

static int read_target(struct asking *a, struct strbuf *why)
{
    const char *target = a->query->target;
    if (strncmp(target, "unix:", 5) == 0 && target[5] != '/')
        return refuse(why, "unix:PATH wants a path that begins with '/'");
    if (strlen(target) > TARGET_BYTES)
        return refuse(why, "the URL is longer than 2048 bytes");
    a->region = region_new();
    if (a->region == NULL)
        return -ENOMEM;
    a->conf.url = make_url(a->region, target);
    if (a->conf.url == NULL)
        return -ENOMEM;
    int err = url_read(&a->conf, a->region, why);
    if (err == -EINVAL && strchr(target, '@') != NULL) {
        strbuf_clear(why);
        return refuse(why, "a user and a password are not sent");
    }
    if (a->conf.scheme != NULL && strcmp(a->conf.scheme->name, "http") != 0) {
        strbuf_clear(why);
        return refuse(why, strcmp(a->conf.scheme->name, "https") == 0
                               ? "https is not asked: healthsvc serves no TLS itself"
                               : "only http is asked");
    }
    return err != 0 ? err : complete_path(a);
}

static void make_request(const struct asking *a, struct strbuf *out)
{
    strbuf_addf(out, "GET %s HTTP/1.1\r\nHost: ", a->conf.path);
    url_add_host(out, &a->conf);
    strbuf_adds(out, "\r\nUser-Agent: healthsvc/" PACKAGE_VERSION "\r\nAccept: ");
    strbuf_adds(out, a->query->format == RENDER_JSON
                         ? "application/health+json, application/json;q=0.9, */*;q=0.1"
                         : "text/plain, */*;q=0.5");
    strbuf_adds(out, "\r\nAccept-Encoding: identity\r\nConnection: close\r\n\r\n");
}

/* ---- what is made of it ---- */

static int tell_no_answer(const struct asking *a)
{
    bool own = outcome_class(a->end.outcome) == OUTCOME_CLASS_NOT_TRIED;
    const char *text = a->end.text[0] != '\0' ? a->end.text : outcome_sentence(a->end.outcome);
    return ending_tell(a->query->format, EXIT_FAULT, own ? NAGIOS_UNKNOWN : NAGIOS_CRITICAL,
                       "%s: %s", a->query->target, text);
}

static bool begins_with(const struct strbuf *b, const char *text)
{
    return strncmp(b->data, text, strlen(text)) == 0;
}

static int print_body(const struct asking *a, int code)
{
    const struct strbuf *body = &a->reply.body;
    if (fwrite(body->data, 1, body->len, stdout) == body->len && fflush(stdout) == 0)
        return code;
    return ending_tell(RENDER_TEXT, EXIT_FAULT, NAGIOS_UNKNOWN, "cannot print the answer: %s",
                       strerror(errno));
}

/* For a server that does not speak a plugin's language: its status, and what it says if it is not
 * well. */
static int tell_status(const struct asking *a, bool good)
{
    const struct strbuf *body = &a->reply.body;
    size_t len = good || begins_with(body, "<") ? 0 : strcspn(body->data, "\r\n");
    struct strbuf said;
    strbuf_init(&said, SHOWN_BYTES);
    strbuf_add_printable(&said, body->data, len, SHOWN_BYTES);
    int code = ending_tell(a->query->format, EXIT_FAULT, good ? NAGIOS_OK : NAGIOS_CRITICAL,
                           "%s: HTTP %d%s%s", a->query->target, a->reply.status,
                           len > 0 ? ": " : "", said.data);
    strbuf_done(&said);
    return code;
}

static int tell_answer(const struct asking *a)
{
    const struct strbuf *body = &a->reply.body;
    enum render_format format = a->query->format;
    bool good = a->reply.status / 100 == 2;
    enum nagios_state state;
    if (a->query->format_given && a->reply.status == 400 && begins_with(body, "unknown format"))
        return ending_tell(format, EXIT_FAULT, NAGIOS_UNKNOWN,
                           "%s: this healthsvc is too old to know format=%s", a->query->target,
                           render_format_word(format));
    if (format == RENDER_NAGIOS && nagios_read(body->data, body->len, &state))
        return print_body(a, (int)state);
    if (format == RENDER_NAGIOS || (!good && body->len == 0))
        return tell_status(a, good);
    return print_body(a, good ? EXIT_DONE : EXIT_FAULT);
}

static int ask(struct asking *a)
{
    struct strbuf request;
    strbuf_init(&request, REQUEST_BYTES);
    make_request(a, &request);
    bool whole = strbuf_error(&request) == 0;
    bool answered = whole && fetch(&a->conf, &request, &a->reply, &a->end);
    if (!whole)
        a->end.outcome = OUTCOME_OWN_MEMORY;
    strbuf_done(&request);
    return answered ? tell_answer(a) : tell_no_answer(a);
}

int query_run(const struct query *query)
{
    struct asking a = {.query = query, .conf.timeout_ms = query->timeout_ms};
    struct strbuf why;
    strbuf_init(&why, 1024);
    http_reply_init(&a.reply, false);
    http_reply_limit_body(&a.reply, BODY_BYTES);
    a.reply.keep_body = true;
    int err = read_target(&a, &why);
    int code = err == 0 ? ask(&a)
                        : ending_tell(query->format, err == -ENOMEM ? EXIT_FAULT : EXIT_USAGE,
                                      NAGIOS_UNKNOWN, "-q: %s",
                                      err == -EINVAL ? why.data : strerror(-err));
    http_reply_done(&a.reply);
    strbuf_done(&why);
    region_free(a.region);
    return code;
}
