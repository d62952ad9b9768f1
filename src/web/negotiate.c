/*
 * Each format keeps the quality of the most specific range that names it, so the order of a list
 * does not matter and a list split over several headers needs no joining. Parameters other than
 * the weight are skipped, not compared: "application/json;charset=utf-8" means our JSON.
 */
#include "web/negotiate.h"

#include <stdbool.h>
#include <stddef.h>
#include <string.h>
#include <strings.h>

#define QUALITY_ONE 1000

enum specificity {
    SPECIFICITY_ANY = 1, /* a range of all types */
    SPECIFICITY_TYPE,    /* all subtypes of one type */
    SPECIFICITY_EXACT,
};

struct word {
    const char *at;
    size_t len;
};

static const struct {
    const char *type, *subtype;
} formats[MEDIA_COUNT] = {
    {"text", "plain"},              /* MEDIA_TEXT */
    {"application", "health+json"}, /* MEDIA_HEALTH_JSON */
    {"application", "json"},        /* MEDIA_JSON */
};

static bool is_digit(char c)
{
    return c >= '0' && c <= '9';
}

/* tchar, RFC 9110 section 5.6.2 */
static bool is_token_char(char c)
{
    return is_digit(c) || (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') ||
           (c != '\0' && strchr("!#$%&'*+-.^_`|~", c) != NULL);
}

static struct word take_token(const char **at)
{
    struct word w = {.at = *at};
    while (is_token_char(w.at[w.len]))
        w.len++;
    *at += w.len;
    return w;
}

static void skip_space(const char **at)
{
    *at += strspn(*at, " \t");
}

static bool take(const char **at, char c)
{
    if (**at != c)
        return false;
    (*at)++;
    return true;
}

static bool word_is(struct word w, const char *s)
{
    return w.len == strlen(s) && strncasecmp(w.at, s, w.len) == 0;
}

/* qvalue, RFC 9110 section 12.4.2: "0" or "1" with at most three decimals; -1 if it is none. */
static int quality_of(struct word w)
{
    if (w.len == 0 || w.len > 5 || (w.at[0] != '0' && w.at[0] != '1'))
        return -1;
    if (w.len > 1 && w.at[1] != '.')
        return -1;
    int quality = (w.at[0] - '0') * QUALITY_ONE;
    int place = QUALITY_ONE / 10;
    for (size_t i = 2; i < w.len; i++, place /= 10) {
        if (!is_digit(w.at[i]))
            return -1;
        quality += (w.at[i] - '0') * place;
    }
    return quality <= QUALITY_ONE ? quality : -1;
}

/* Moves past a quoted string, or to the end of the text if it is not closed. */
static void skip_quoted(const char **at)
{
    (*at)++;
    while (**at != '\0' && **at != '"') {
        if (**at == '\\' && (*at)[1] != '\0')
            (*at)++;
        (*at)++;
    }
    take(at, '"');
}

/* Parameters up to the end of the element; the weight's into *ret_quality. */
static bool take_parameters(const char **at, int *ret_quality)
{
    *ret_quality = QUALITY_ONE;
    for (;;) {
        skip_space(at);
        if (!take(at, ';'))
            return **at == ',' || **at == '\0';
        skip_space(at);
        struct word name = take_token(at);
        if (name.len == 0)
            continue; /* empty parameters are allowed, section 5.6.6 */
        if (!take(at, '='))
            return false;
        if (**at == '"') {
            skip_quoted(at);
            continue;
        }
        struct word value = take_token(at);
        if (!word_is(name, "q"))
            continue;
        *ret_quality = quality_of(value);
        if (*ret_quality < 0)
            return false;
    }
}

static bool take_range(const char **at, struct word *type, struct word *subtype, int *ret_quality)
{
    *type = take_token(at);
    if (type->len == 0 || !take(at, '/'))
        return false;
    *subtype = take_token(at);
    return subtype->len > 0 && take_parameters(at, ret_quality);
}

static void skip_element(const char **at)
{
    while (**at != '\0' && **at != ',') {
        if (**at == '"')
            skip_quoted(at);
        else
            (*at)++;
    }
}

static int specificity_of(size_t format, struct word type, struct word subtype)
{
    if (word_is(type, "*"))
        return word_is(subtype, "*") ? SPECIFICITY_ANY : 0;
    if (!word_is(type, formats[format].type))
        return 0;
    if (word_is(subtype, "*"))
        return SPECIFICITY_TYPE;
    return word_is(subtype, formats[format].subtype) ? SPECIFICITY_EXACT : 0;
}

static void count_range(struct negotiation *n, struct word type, struct word subtype, int quality)
{
    for (size_t i = 0; i < MEDIA_COUNT; i++) {
        int specificity = specificity_of(i, type, subtype);
        if (specificity == 0 || specificity < n->of[i].specificity)
            continue;
        if (specificity > n->of[i].specificity || quality > n->of[i].quality)
            n->of[i].quality = quality;
        n->of[i].specificity = specificity;
    }
}

void negotiate_add(struct negotiation *n, const char *accept)
{
    const char *at = accept;
    do {
        struct word type, subtype;
        int quality;
        skip_space(&at);
        if (take_range(&at, &type, &subtype, &quality))
            count_range(n, type, subtype, quality);
        else
            skip_element(&at);
    } while (take(&at, ','));
}

enum media negotiate_choose(const struct negotiation *n)
{
    enum media best = MEDIA_TEXT;
    if (n->of[MEDIA_HEALTH_JSON].quality > n->of[best].quality)
        best = MEDIA_HEALTH_JSON;
    if (n->of[MEDIA_JSON].quality > n->of[best].quality)
        best = MEDIA_JSON;
    return best;
}
