/*
 * http_conf.h: the settings of http and https, what is made of them once, and their parts.
 *
 * Owner: target_conf.scheme_conf. Threads: made on main, read on the checker (immutable).
 * Errors: negative errno, -EINVAL with a sentence that names the setting as 'key'.
 */
#ifndef HEALTHSVC_PROBE_HTTP_CONF_H
#define HEALTHSVC_PROBE_HTTP_CONF_H

#include "probe/expect.h"

#include <healthsvc/attr.h>
#include <healthsvc/strbuf.h>

struct dlg_result;
struct http_field;
struct http_reply;
struct http_rules;
struct target_conf;

#define HTTP_REQUEST_BYTES 16384

enum http_method {
    HTTP_GET = 0,
    HTTP_HEAD,
    HTTP_POST,
    HTTP_PUT,
    HTTP_OPTIONS,
};
extern const char *const http_method_words[];

struct http_conf {
    int method; /* enum http_method */
    bool invert;
    char *host;
    char *headers; /* lines joined by '\n' */
    char *body;
    struct expect_status expect_status;
    char *expect_headers; /* lines joined by '\n' */
    char *expect_body;
    char *expect_json;        /* lines joined by '\n' */
    struct http_rules *rules; /* by prepare; NULL: nothing is expected beside the status */
};

/* http_request.c: adds the bytes to be sent. */
int http_request_build(struct strbuf *out, const struct target_conf *conf, struct strbuf *why)
    MUST_CHECK;

/* http_expect.c: all that is expected beside the status. */
int http_rules_new(const struct http_conf *conf, struct strbuf *why, struct http_rules **ret_rules)
    MUST_CHECK;
/* Accepts NULL, returns NULL. */
struct http_rules *http_rules_free(struct http_rules *rules);

/* Whether the words of a health service are understood, and so asked for. */
bool http_understands(const struct http_conf *conf);

/* What has been seen of one reply. */
struct http_seen {
    const struct http_conf *conf;
    uint32_t present; /* headers, by rule */
    uint32_t fitting; /* those whose value fits */
    uint32_t given_up;
    bool no_memory; /* for a pattern */
    size_t work;    /* left for patterns of headers */
    enum {
        HTTP_DOC_NONE = 0,
        HTTP_DOC_JSON,
        HTTP_DOC_TEXT
    } doc; /* by the Content-Type */
};

void http_seen_field(void *seen, const struct http_field *field);
/* The headers are complete: whether the verdict is in, else whether the body is wanted. */
bool http_judge_head(struct http_seen *seen, struct http_reply *reply, struct dlg_result *ret);
/* The reply has ended as `ret` says (OUTCOME_OK: it is whole): the verdict. */
void http_judge_end(const struct http_seen *seen, const struct http_reply *reply,
                    struct dlg_result *ret);

#endif
