/*
 * A reply is held against all that is expected of it, and the first that does not hold is the
 * verdict: the status, the headers, the body, its JSON. What the headers decide is decided before
 * the body comes. `invert` turns this judgement round, but not what goes before: a reply that is
 * none is bad in any case.
 *
 * A reply that says of itself that it is of a health service is understood (health_doc.h): it may
 * warn, and it names who is to blame, also behind a status that is not the expected one. Only then
 * is the body of such a reply waited for, and a body that fails to come changes nothing.
 */
#ifdef HAVE_CONFIG_H
#include <config.h>
#endif

#include "probe/health_doc.h"
#include "probe/http_conf.h"
#include "probe/json.h"

#include <healthsvc/http_reply.h>

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>

#define HEADER_RULES_MAX 32 /* bits of http_seen */
#define SHOWN_BYTES 60
#define STATUS_MIN 200 /* RFC 9110 section 15: what lies outside has no meaning */
#define STATUS_ERROR 400
#define STATUS_MAX 599

struct header_rule {
    const char *name; /* in http_conf.expect_headers */
    size_t name_len;
    bool absent;
    struct expect_pattern *pattern; /* NULL: any value */
};

struct http_rules {
    size_t count;
    struct header_rule headers[HEADER_RULES_MAX];
    struct expect_pattern *body; /* NULL: any */
    struct json_rules *json;     /* NULL: none */
};

/* ---- made once ---- */

/* "Name", "!Name" or "Name: PATTERN". */
static int read_header_rule(struct header_rule *rule, const char *line, size_t len,
                            struct strbuf *why)
{
    static const char token[] = "!#$%&'*+-.^_`|~0123456789"
                                "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ";
    rule->absent = line[0] == '!';
    rule->name = line + rule->absent;
    rule->name_len = strspn(rule->name, token);
    const char *rest = rule->name + rule->name_len, *end = line + len;
    if (rule->name_len == 0 || (rest < end && (*rest != ':' || rule->absent))) {
        strbuf_adds(why, "not \"Name\", \"!Name\" or \"Name: pattern\": ");
        strbuf_add_printable(why, line, len, SHOWN_BYTES);
        return -EINVAL;
    }
    if (rest == end)
        return 0;
    rest++;
    while (rest < end && *rest == ' ')
        rest++;
    char *pattern = strndup(rest, (size_t)(end - rest));
    if (pattern == NULL)
        return -ENOMEM;
    int r = expect_pattern_new(pattern, why, &rule->pattern);
    free(pattern);
    return r;
}

static int read_header_rules(struct http_rules *rules, const char *lines, struct strbuf *why)
{
    while (*lines != '\0') {
        size_t len = strcspn(lines, "\n");
        if (rules->count == HEADER_RULES_MAX) {
            strbuf_addf(why, "more than %d", HEADER_RULES_MAX);
            return -EINVAL;
        }
        int r = read_header_rule(&rules->headers[rules->count++], lines, len, why);
        if (r != 0)
            return r;
        lines += len;
        lines += *lines == '\n';
    }
    return 0;
}

static int read_rules(struct http_rules *rules, const struct http_conf *conf, struct strbuf *why)
{
    int r = 0;
    if (conf->method == HTTP_HEAD && (conf->expect_body != NULL || conf->expect_json != NULL)) {
        strbuf_addf(why, "'%s': the answer to HEAD has no body",
                    conf->expect_body != NULL ? "expect_body" : "expect_json");
        return -EINVAL;
    }
    if (conf->expect_headers != NULL) {
        strbuf_adds(why, "'expect_headers': ");
        r = read_header_rules(rules, conf->expect_headers, why);
    }
    if (r == 0 && conf->expect_body != NULL) {
        strbuf_clear(why);
        strbuf_adds(why, "'expect_body': ");
        r = expect_pattern_new(conf->expect_body, why, &rules->body);
    }
    if (r == 0 && conf->expect_json != NULL) {
        strbuf_clear(why);
        strbuf_adds(why, "'expect_json': ");
        r = json_rules_new(conf->expect_json, why, &rules->json);
    }
    if (r == 0)
        strbuf_clear(why);
    return r;
}

/* Most expect nothing beside the status, and have no rules of their own (a kilobyte each). */
static const struct http_rules *rules_of(const struct http_conf *conf)
{
    static const struct http_rules none;
    return conf->rules != NULL ? conf->rules : &none;
}

int http_rules_new(const struct http_conf *conf, struct strbuf *why, struct http_rules **ret_rules)
{
    if (conf->expect_headers == NULL && conf->expect_body == NULL && conf->expect_json == NULL) {
        *ret_rules = NULL;
        return 0;
    }
    struct http_rules *rules = calloc(1, sizeof *rules);
    if (rules == NULL)
        return -ENOMEM;
    int r = read_rules(rules, conf, why);
    if (r == 0)
        *ret_rules = rules;
    else
        http_rules_free(rules);
    return r;
}

struct http_rules *http_rules_free(struct http_rules *rules)
{
    if (rules == NULL)
        return NULL;
    for (size_t i = 0; i < rules->count; i++)
        expect_pattern_free(rules->headers[i].pattern);
    expect_pattern_free(rules->body);
    json_rules_free(rules->json);
    free(rules);
    return NULL;
}

bool http_understands(const struct http_conf *conf)
{
    return !conf->invert && conf->method != HTTP_HEAD;
}

/* ---- headers ---- */

static bool is_text(const char *at, size_t len, const char *known)
{
    return len == strlen(known) && strncasecmp(at, known, len) == 0;
}

static void note_type(struct http_seen *s, const struct http_field *f)
{
    size_t len = 0;
    while (len < f->value_len && strchr("; \t", f->value[len]) == NULL)
        len++;
    s->doc = HTTP_DOC_NONE;
    if (!http_understands(s->conf))
        return;
    if (is_text(f->value, len, "application/health+json"))
        s->doc = HTTP_DOC_JSON;
    else if (is_text(f->value, len, "text/plain") && s->conf->expect_body == NULL)
        s->doc = HTTP_DOC_TEXT;
}

void http_seen_field(void *seen, const struct http_field *f)
{
    struct http_seen *s = seen;
    const struct http_rules *rules = rules_of(s->conf);
    if (is_text(f->name, f->name_len, "Content-Type"))
        note_type(s, f);
    for (size_t i = 0; i < rules->count; i++) {
        const struct header_rule *rule = &rules->headers[i];
        uint32_t bit = (uint32_t)1 << i;
        char given_up[OUTCOME_TEXT_BYTES] = "";
        if (rule->name_len != f->name_len || strncasecmp(rule->name, f->name, f->name_len) != 0 ||
            ((s->fitting | s->given_up) & bit))
            continue;
        s->present |= bit;
        enum outcome outcome = OUTCOME_OK;
        if (rule->pattern != NULL)
            outcome =
                expect_pattern_match_of(rule->pattern, f->value, f->value_len, &s->work, given_up);
        if (outcome == OUTCOME_OK)
            s->fitting |= bit;
        else if (given_up[0] != '\0')
            s->given_up |= bit;
        s->no_memory = s->no_memory || outcome == OUTCOME_OWN_MEMORY;
    }
}

/* NULL: the rule holds; else how it does not. */
static const char *header_fault(const struct http_seen *s, size_t i)
{
    const struct header_rule *rule = &rules_of(s->conf)->headers[i];
    uint32_t bit = (uint32_t)1 << i;
    if (rule->absent)
        return (s->present & bit) != 0 ? "is there" : NULL;
    if (!(s->present & bit))
        return "is missing";
    return (s->fitting & bit) != 0 ? NULL : "does not match";
}

static bool headers_hold(const struct http_seen *s, struct dlg_result *ret)
{
    const struct http_rules *rules = rules_of(s->conf);
    if (s->no_memory) {
        ret->outcome = OUTCOME_OWN_MEMORY;
        return false;
    }
    for (size_t i = 0; i < rules->count; i++) {
        const char *fault = header_fault(s, i);
        if (fault == NULL)
            continue;
        struct strbuf text;
        strbuf_init(&text, sizeof ret->text - 1);
        strbuf_adds(&text, "header ");
        strbuf_add_printable(&text, rules->headers[i].name, rules->headers[i].name_len,
                             SHOWN_BYTES);
        strbuf_addf(&text, " %s", fault);
        ret->outcome = OUTCOME_WRONG_ANSWER;
        (void)snprintf(ret->text, sizeof ret->text, "%s", text.data);
        strbuf_done(&text);
        return false;
    }
    return true;
}

/* ---- the verdict ---- */

static void invert(const struct http_seen *s, struct dlg_result *ret)
{
    enum outcome o = ret->outcome;
    bool meaning = ret->http_status >= STATUS_MIN && ret->http_status <= STATUS_MAX;
    if (!s->conf->invert || !meaning)
        return;
    if (o == OUTCOME_OK) {
        ret->outcome = OUTCOME_WRONG_ANSWER;
        (void)snprintf(ret->text, sizeof ret->text, "HTTP %03d and all else as it must not be",
                       ret->http_status);
    } else if (o == OUTCOME_HTTP_STATUS || o == OUTCOME_WRONG_ANSWER ||
               (o == OUTCOME_BODY_MISMATCH && ret->text[0] == '\0')) {
        ret->outcome = OUTCOME_OK;
        ret->text[0] = '\0';
    }
}

static void say_status(struct dlg_result *ret, const char *reason)
{
    ret->outcome = OUTCOME_HTTP_STATUS;
    (void)snprintf(ret->text, sizeof ret->text, "HTTP %03d%s%s", ret->http_status,
                   reason[0] != '\0' ? ": " : "", reason);
}

bool http_judge_head(struct http_seen *s, struct http_reply *reply, struct dlg_result *ret)
{
    const struct http_rules *rules = rules_of(s->conf);
    bool expected = expect_status_has(&s->conf->expect_status, reply->status);
    reply->keep_body =
        s->doc != HTTP_DOC_NONE || (expected && (rules->body != NULL || rules->json != NULL));
    if (expected && headers_hold(s, ret))
        return false;
    if (!expected) {
        if (s->doc != HTTP_DOC_NONE)
            return false;
        say_status(ret, "");
    }
    invert(s, ret);
    return true;
}

static void judge_doc(enum health_status status, const char *reason, struct dlg_result *ret)
{
    const char *text = reason;
    switch (status) {
    case HEALTH_UNKNOWN:
    case HEALTH_PASS:
        return;
    case HEALTH_WARN:
        ret->outcome = OUTCOME_WARNING;
        if (reason[0] == '\0')
            text = "it says of itself: warn";
        break;
    case HEALTH_FAIL:
        /* With a status of an error that is expected, so is what goes with it. */
        if (ret->http_status >= STATUS_ERROR)
            return;
        ret->outcome = OUTCOME_NOT_SERVING;
        if (reason[0] == '\0')
            text = "it says of itself: fail";
        break;
    }
    (void)snprintf(ret->text, sizeof ret->text, "%s", text);
}

/* 0, or -EINVAL: not JSON, or cut at 64 KB; -ENOMEM; -ENOTSUP. */
static int read_json(const struct http_reply *reply, struct json_t **ret_root)
{
    if (reply->body.len >= HTTP_REPLY_BODY_BYTES)
        return -EINVAL;
    return json_read(reply->body.data, reply->body.len, ret_root);
}

static void judge_body(const struct http_seen *s, const struct http_reply *reply,
                       struct dlg_result *ret)
{
    const struct http_rules *rules = rules_of(s->conf);
    const struct strbuf *body = &reply->body;
    bool cut = body->len >= HTTP_REPLY_BODY_BYTES;
    bool expected = expect_status_has(&s->conf->expect_status, reply->status);
    enum health_status status = HEALTH_UNKNOWN;
    struct json_t *root = NULL;
    struct strbuf reason;
    strbuf_init(&reason, 4 * HEALTH_REASON_BYTES);
    int r = -EINVAL;
    if (rules->json != NULL || s->doc == HTTP_DOC_JSON)
        r = read_json(reply, &root);
    if (r == 0 && s->doc == HTTP_DOC_JSON)
        status = health_doc_json(root, &reason);
    else if (s->doc == HTTP_DOC_TEXT && !cut)
        status = health_doc_text(body->data, body->len, &reason);

    if (r == -ENOMEM || strbuf_error(&reason) == -ENOMEM) {
        ret->outcome = OUTCOME_OWN_MEMORY;
    } else if (!expected) {
        say_status(ret, reason.data);
    } else {
        if (rules->body != NULL)
            ret->outcome = expect_pattern_match(rules->body, body->data, body->len, ret->text);
        if (ret->outcome == OUTCOME_OK && rules->json != NULL && r != 0) {
            ret->outcome = OUTCOME_WRONG_ANSWER;
            (void)snprintf(ret->text, sizeof ret->text, "body is %s",
                           cut ? "longer than 64 KB" : "not JSON");
        } else if (ret->outcome == OUTCOME_OK && rules->json != NULL &&
                   !json_rules_hold(rules->json, root, ret->text)) {
            ret->outcome = OUTCOME_WRONG_ANSWER;
        }
        if (ret->outcome == OUTCOME_OK)
            judge_doc(status, reason.data, ret);
    }
    json_free(root);
    strbuf_done(&reason);
}

void http_judge_end(const struct http_seen *s, const struct http_reply *reply,
                    struct dlg_result *ret)
{
    bool whole = ret->outcome == OUTCOME_OK;
    bool known = reply->part > HTTP_PART_HEADERS;
    if (whole)
        judge_body(s, reply, ret);
    else if (known && ret->outcome != OUTCOME_OWN_MEMORY &&
             !expect_status_has(&s->conf->expect_status, reply->status))
        say_status(ret, ""); /* its body was only waited for to be told more */
    if (whole)
        invert(s, ret);
}
