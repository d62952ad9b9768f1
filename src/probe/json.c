/*
 * jansson parses by recursion, so the depth is bounded before it sees the text; the length is by
 * what the HTTP dialogue keeps of a body. Numbers are compared as doubles, so that 1 is 1.0.
 */
#ifdef HAVE_CONFIG_H
#include <config.h>
#endif

#include "probe/json.h"

#include <healthsvc/memory.h>
#include <healthsvc/strbuf.h>
#include <healthsvc/units.h>

#include <errno.h>

#ifdef HAVE_JANSSON

#include <jansson.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define DEPTH_MAX 64
#define RULES_MAX 32
#define SHOWN_BYTES 60

enum json_op {
    JSON_OP_EXISTS = 0,
    JSON_OP_ABSENT,
    JSON_OP_EQUAL,
    JSON_OP_UNEQUAL,
    JSON_OP_LESS,
    JSON_OP_AT_MOST,
    JSON_OP_MORE,
    JSON_OP_AT_LEAST,
};

static const struct {
    const char *sign;
    enum json_op op;
} signs[] = {
    {" = ", JSON_OP_EQUAL},    {" != ", JSON_OP_UNEQUAL}, {" < ", JSON_OP_LESS},
    {" <= ", JSON_OP_AT_MOST}, {" > ", JSON_OP_MORE},     {" >= ", JSON_OP_AT_LEAST},
};

struct json_rule {
    enum json_op op;
    char *text; /* as written, without the '!' */
    size_t pointer_len;
    json_t *want; /* NULL: none */
};

struct json_rules {
    size_t count;
    struct json_rule rules[RULES_MAX];
};

/* ---- reading ---- */

/* Brackets outside of strings; a text that is no JSON may be counted wrong. */
static bool is_too_deep(const char *text, size_t len)
{
    size_t depth = 0;
    bool in_string = false;
    for (size_t i = 0; i < len; i++) {
        char c = text[i];
        if (in_string) {
            if (c == '\\')
                i++;
            else if (c == '"')
                in_string = false;
        } else if (c == '"') {
            in_string = true;
        } else if (c == '[' || c == '{') {
            if (++depth > DEPTH_MAX)
                return true;
        } else if ((c == ']' || c == '}') && depth > 0) {
            depth--;
        }
    }
    return false;
}

void json_init(void)
{
    json_set_alloc_funcs(memory_malloc, free);
}

int json_read(const char *text, size_t len, struct json_t **ret_root)
{
    uint64_t refusals = memory_refusals();
    if (is_too_deep(text, len))
        return -EINVAL;
    json_t *root = json_loadb(text, len, JSON_DECODE_ANY | JSON_ALLOW_NUL, NULL);
    if (root == NULL) /* what jansson had no memory for is a fault of syntax to it */
        return memory_refusals() != refusals ? -ENOMEM : -EINVAL;
    *ret_root = root;
    return 0;
}

struct json_t *json_free(struct json_t *root)
{
    json_decref(root);
    return NULL;
}

/* ---- rules from text ---- */

/* 0, -ENOMEM, or -EINVAL: not UTF-8. */
static int read_value(const char *text, json_t **ret_value)
{
    uint64_t refusals = memory_refusals();
    *ret_value = json_loads(text, JSON_DECODE_ANY, NULL);
    if (*ret_value == NULL && memory_refusals() == refusals)
        *ret_value = json_string(text);
    if (*ret_value != NULL)
        return 0;
    return memory_refusals() != refusals ? -ENOMEM : -EINVAL;
}

/* Whether every '~' is one of ~0 and ~1 (RFC 6901 section 3). */
static bool is_pointer(const char *text, size_t len)
{
    if (len > 0 && text[0] != '/')
        return false;
    for (size_t i = 0; i < len; i++) {
        if (text[i] == '~' && (i + 1 == len || (text[i + 1] != '0' && text[i + 1] != '1')))
            return false;
    }
    return true;
}

static int read_rule(struct json_rule *rule, const char *line, size_t len, struct strbuf *why)
{
    bool absent = len > 0 && line[0] == '!';
    rule->text = strndup(line + absent, len - absent);
    if (rule->text == NULL)
        return -ENOMEM;
    rule->op = absent ? JSON_OP_ABSENT : JSON_OP_EXISTS;
    rule->pointer_len = strlen(rule->text);
    for (size_t i = 0; i < sizeof signs / sizeof signs[0] && !absent; i++) {
        const char *at = strstr(rule->text, signs[i].sign);
        if (at == NULL || (size_t)(at - rule->text) >= rule->pointer_len)
            continue; /* an earlier sign ends the pointer */
        rule->op = signs[i].op;
        rule->pointer_len = (size_t)(at - rule->text);
    }
    if (!is_pointer(rule->text, rule->pointer_len)) {
        strbuf_adds(why, "not \"/pointer\", \"!/pointer\" or \"/pointer OP value\" with OP one of "
                         "= != < <= > >=: ");
        strbuf_add_printable(why, line, len, SHOWN_BYTES);
        return -EINVAL;
    }
    if (rule->op == JSON_OP_EXISTS || rule->op == JSON_OP_ABSENT)
        return 0;
    const char *sign = rule->text + rule->pointer_len + 1;
    int r = read_value(sign + strcspn(sign, " ") + 1, &rule->want);
    if (r < 0) {
        strbuf_adds(why, "the value is not UTF-8");
        return r;
    }
    if (rule->op >= JSON_OP_LESS && !json_is_number(rule->want)) {
        strbuf_adds(why, "only a number can be less or more: ");
        strbuf_add_printable(why, line, len, SHOWN_BYTES);
        return -EINVAL;
    }
    return 0;
}

int json_rules_new(const char *lines, struct strbuf *why, struct json_rules **ret_rules)
{
    int r = 0;
    struct json_rules *rules = calloc(1, sizeof *rules);
    if (rules == NULL)
        return -ENOMEM;
    while (r == 0 && *lines != '\0') {
        size_t len = strcspn(lines, "\n");
        if (rules->count == RULES_MAX) {
            strbuf_addf(why, "more than %d rules", RULES_MAX);
            r = -EINVAL;
            break;
        }
        r = read_rule(&rules->rules[rules->count++], lines, len, why);
        lines += len;
        lines += *lines == '\n';
    }
    if (r != 0) {
        json_rules_free(rules);
        return r;
    }
    *ret_rules = rules;
    return 0;
}

struct json_rules *json_rules_free(struct json_rules *rules)
{
    for (size_t i = 0; rules != NULL && i < rules->count; i++) {
        free(rules->rules[i].text);
        json_decref(rules->rules[i].want);
    }
    free(rules);
    return NULL;
}

/* ---- judging ---- */

/* Whether `key` is the token [at, end) of a pointer (RFC 6901 section 4). */
static bool is_token(const char *key, const char *at, const char *end)
{
    for (; at < end; at++, key++) {
        char c = *at;
        if (c == '~')
            c = *++at == '1' ? '/' : '~';
        if (*key != c)
            return false;
    }
    return *key == '\0';
}

static json_t *find_member(json_t *value, const char *at, const char *end)
{
    size_t len = (size_t)(end - at);
    if (json_is_array(value)) {
        uint64_t index;
        if (len == 0 || (len > 1 && at[0] == '0') || units_parse_digits(at, len, &index) != 0)
            return NULL;
        return json_array_get(value, (size_t)index);
    }
    const char *key;
    json_t *member;
    json_object_foreach(value, key, member)
    {
        if (is_token(key, at, end))
            return member;
    }
    return NULL;
}

static json_t *find(const struct json_rule *rule, json_t *value)
{
    const char *at = rule->text, *end = rule->text + rule->pointer_len;
    while (at < end && value != NULL) {
        at++; /* the '/' */
        const char *next = memchr(at, '/', (size_t)(end - at));
        if (next == NULL)
            next = end;
        value = find_member(value, at, next);
        at = next;
    }
    return value;
}

static bool is_equal(const json_t *a, const json_t *b)
{
    if (json_is_number(a) && json_is_number(b))
        return json_number_value(a) == json_number_value(b);
    return json_equal(a, b) == 1;
}

static bool holds(const struct json_rule *rule, const json_t *value)
{
    double have = json_number_value(value), want = json_number_value(rule->want);
    bool number = json_is_number(value);
    switch (rule->op) {
    case JSON_OP_EXISTS:
        return value != NULL;
    case JSON_OP_ABSENT:
        return value == NULL;
    case JSON_OP_EQUAL:
        return value != NULL && is_equal(value, rule->want);
    case JSON_OP_UNEQUAL:
        return value != NULL && !is_equal(value, rule->want);
    case JSON_OP_LESS:
        return number && have < want;
    case JSON_OP_AT_MOST:
        return number && have <= want;
    case JSON_OP_MORE:
        return number && have > want;
    case JSON_OP_AT_LEAST:
        return number && have >= want;
    }
    return false;
}

static void add_value(struct strbuf *text, const json_t *value)
{
    if (json_is_object(value) || json_is_array(value)) {
        strbuf_adds(text, json_is_object(value) ? "an object" : "an array");
        return;
    }
    char *shown = json_dumps(value, JSON_ENCODE_ANY);
    if (shown != NULL)
        strbuf_add_printable(text, shown, strlen(shown), SHOWN_BYTES);
    free(shown);
}

/* "/status is "DOWN", expected = UP" */
static void tell(const struct json_rule *rule, const json_t *value,
                 char ret_text[OUTCOME_TEXT_BYTES])
{
    struct strbuf text;
    strbuf_init(&text, OUTCOME_TEXT_BYTES - 1);
    strbuf_add_printable(&text, rule->text, rule->pointer_len, SHOWN_BYTES);
    if (value == NULL) {
        strbuf_adds(&text, " is missing");
    } else if (rule->op == JSON_OP_ABSENT) {
        strbuf_adds(&text, " is there");
    } else {
        const char *expected = rule->text + rule->pointer_len + 1;
        strbuf_adds(&text, " is ");
        add_value(&text, value);
        strbuf_adds(&text, ", expected ");
        strbuf_add_printable(&text, expected, strlen(expected), SHOWN_BYTES);
    }
    (void)snprintf(ret_text, OUTCOME_TEXT_BYTES, "%s", text.data);
    strbuf_done(&text);
}

bool json_rules_hold(const struct json_rules *rules, struct json_t *root,
                     char ret_text[OUTCOME_TEXT_BYTES])
{
    for (size_t i = 0; i < rules->count; i++) {
        const json_t *value = find(&rules->rules[i], root);
        if (!holds(&rules->rules[i], value)) {
            tell(&rules->rules[i], value, ret_text);
            return false;
        }
    }
    return true;
}

#else /* without jansson */

void json_init(void)
{
}

int json_rules_new(const char *lines, struct strbuf *why, struct json_rules **ret_rules)
{
    (void)lines;
    (void)ret_rules;
    strbuf_adds(why, "this build reads no JSON (it was configured --without-jansson)");
    return -EINVAL;
}

struct json_rules *json_rules_free(struct json_rules *rules)
{
    (void)rules;
    return NULL;
}

bool json_rules_hold(const struct json_rules *rules, struct json_t *root,
                     char ret_text[OUTCOME_TEXT_BYTES])
{
    (void)rules;
    (void)root;
    ret_text[0] = '\0';
    return false;
}

int json_read(const char *text, size_t len, struct json_t **ret_root)
{
    (void)text;
    (void)len;
    (void)ret_root;
    return -ENOTSUP;
}

struct json_t *json_free(struct json_t *root)
{
    (void)root;
    return NULL;
}

#endif
