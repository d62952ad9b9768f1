/*
 * One allocation holds the values and their texts: as many as there are '=', and no more bytes of
 * text than the output has. Plugins are written by many hands, so each word is judged by itself
 * and a bad one costs only itself.
 *
 * KB, MB, ... are steps of 1024: so the plugins that print them mean it, and so others read them.
 */
#include <healthsvc/perfdata.h>

#include <healthsvc/probe.h>
#include <healthsvc/strbuf.h>
#include <healthsvc/units.h>

#include <math.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>

#define KIB 1024.0

/* Numbers are divided where the factor is no exact double: 19 / 1000 is nearer than 19 * 0.001. */
static const struct scale {
    const char *unit, *base;
    double times, by;
} scales[] = {
    {"s", "s", 1, 1},
    {"ms", "s", 1, 1e3},
    {"us", "s", 1, 1e6},
    {"ns", "s", 1, 1e9},
    {"%", "ratio", 1, 100},
    {"B", "B", 1, 1},
    {"KB", "B", KIB, 1},
    {"MB", "B", KIB *KIB, 1},
    {"GB", "B", KIB *KIB *KIB, 1},
    {"TB", "B", KIB *KIB *KIB *KIB, 1},
    {"PB", "B", KIB *KIB *KIB *KIB *KIB, 1},
};

/* A part of the output; reading moves `at`. */
struct part {
    const char *at, *end;
};

struct reader {
    struct perfdata *found;
    size_t room;        /* for so many values */
    char *texts;        /* free memory behind them */
    struct strbuf text; /* of the label or unit just read */
};

static bool is_blank(char c)
{
    return c == ' ' || c == '\t' || c == '\n' || c == '\r';
}

static bool is_digit(char c)
{
    return c >= '0' && c <= '9';
}

static const char *find_char(const struct part *p, char c)
{
    const char *found = p->at < p->end ? memchr(p->at, c, (size_t)(p->end - p->at)) : NULL;
    return found != NULL ? found : p->end;
}

static const char *find_blank(const struct part *p)
{
    const char *at = p->at;
    while (at < p->end && !is_blank(*at))
        at++;
    return at;
}

/* ---- one word: 'label'=value[UOM];[warn];[crit];[min];[max] ---- */

/* The label up to its '=', as plain text in r->text. False: it is none. */
static bool read_label(struct reader *r, struct part *p)
{
    char label[PERFDATA_LABEL_MAX];
    size_t len = 0;
    bool quoted = *p->at == '\'', closed = false;
    const char *at = p->at + quoted;
    for (; at < p->end && !closed; at++) {
        if (quoted ? *at == '\n' : is_blank(*at))
            return false;
        if (*at == '\'' && quoted && at + 1 < p->end && at[1] == '\'')
            at++;
        else if (*at == (quoted ? '\'' : '='))
            closed = true;
        if (!closed && len++ < sizeof label)
            label[len - 1] = *at;
    }
    if (!closed)
        return false;
    p->at = at;
    if (quoted && (at == p->end || *p->at++ != '='))
        return false;
    strbuf_clear(&r->text);
    if (len <= sizeof label)
        strbuf_add_printable(&r->text, label, len, sizeof label);
    return r->text.len > 0;
}

static bool same_label(const char *a, const char *b)
{
    while (*a != '\0' && (*a == *b || (*a == ':' && *b == '_') || (*a == '_' && *b == ':'))) {
        a++;
        b++;
    }
    return *a == *b;
}

static bool is_taken(const struct reader *r)
{
    for (size_t i = 0; i < r->found->count; i++) {
        if (same_label(r->found->values[i].label, r->text.data))
            return true;
    }
    return false;
}

/* Copies r->text to where it can stay; there is room, since it came from the output. */
static const char *keep_text(struct reader *r)
{
    char *kept = r->texts;
    memcpy(kept, r->text.data, r->text.len + 1);
    r->texts += r->text.len + 1;
    return kept;
}

/* The bytes up to the next ';'. */
static struct part next_field(struct part *p)
{
    struct part field = {.at = p->at, .end = find_char(p, ';')};
    p->at = field.end < p->end ? field.end + 1 : p->end;
    return field;
}

/* Where the number at the start of a field ends. */
static const char *number_end(const struct part *field)
{
    const char *at = field->at;
    while (at < field->end && (is_digit(*at) || *at == '-' || *at == '.'))
        at++;
    if (at == field->end || (*at != 'e' && *at != 'E'))
        return at;
    const char *exponent = at + 1;
    exponent += exponent < field->end && (*exponent == '-' || *exponent == '+');
    while (exponent < field->end && is_digit(*exponent))
        at = ++exponent;
    return at;
}

/* NAN where there is no number, and only a number, between. */
static double read_number(const char *at, const char *end, const struct scale *scale)
{
    double value;
    if (units_parse_decimal(at, (size_t)(end - at), &value) != 0)
        return NAN;
    value = value * scale->times / scale->by;
    return isfinite(value) ? value : NAN;
}

/* "10" and ":10" are 0..10, "10:" 10 and more, "~:10" at most 10; '@' before it: alert inside. */
static struct perf_range read_range(struct part field, const struct scale *scale)
{
    struct perf_range range = {.start = 0, .end = INFINITY};
    if (field.at < field.end && *field.at == '@') {
        range.inside = true;
        field.at++;
    }
    const char *colon = find_char(&field, ':');
    if (colon - field.at == 1 && *field.at == '~' && colon < field.end)
        range.start = -INFINITY;
    else if (colon < field.end && colon > field.at)
        range.start = read_number(field.at, colon, scale);
    if (colon == field.end)
        range.end = read_number(field.at, field.end, scale);
    else if (colon + 1 < field.end)
        range.end = read_number(colon + 1, field.end, scale);
    if (!(range.start <= range.end)) /* also where one is no number */
        range.start = range.end = NAN;
    return range;
}

/* Reads a unit of measurement, kept if it is the plugin's own. False: it cannot be one. */
static bool read_unit(struct reader *r, const char *at, const char *end, struct perf_value *v,
                      struct scale *ret_scale)
{
    *ret_scale = (struct scale){.base = "", .times = 1, .by = 1};
    for (const char *c = at; c < end; c++) {
        if (*c == '\0' || strchr("0123456789+-,.'\"=", *c) != NULL)
            return false;
    }
    strbuf_clear(&r->text);
    strbuf_add_printable(&r->text, at, (size_t)(end - at), PERFDATA_UNIT_MAX);
    v->counter = strcmp(r->text.data, "c") == 0; /* "C" is a temperature */
    for (size_t i = 0; i < sizeof scales / sizeof scales[0]; i++) {
        if (strcasecmp(r->text.data, scales[i].unit) == 0)
            *ret_scale = scales[i];
    }
    v->unit = ret_scale->base;
    if (v->unit[0] == '\0' && r->text.len > 0 && !v->counter)
        v->unit = keep_text(r);
    return true;
}

/* What follows the label. False: it is no value. */
static bool read_value(struct reader *r, struct part word, struct perf_value *v)
{
    struct scale scale;
    struct part field = next_field(&word);
    const char *unit = number_end(&field);
    if (!read_unit(r, unit, field.end, v, &scale))
        return false;
    v->value = read_number(field.at, unit, &scale);
    if (isnan(v->value))
        return false;
    v->warn = read_range(next_field(&word), &scale);
    v->crit = read_range(next_field(&word), &scale);
    field = next_field(&word);
    v->min = read_number(field.at, field.end, &scale);
    field = next_field(&word);
    v->max = read_number(field.at, field.end, &scale);
    return true;
}

/* ---- the output ---- */

static void read_word(struct reader *r, struct part *p)
{
    struct perf_value v;
    const char *start = p->at;
    char *texts = r->texts;
    bool good = read_label(r, p);
    if (!good)
        p->at = start;
    struct part word = {.at = p->at, .end = find_blank(p)};
    p->at = word.end;
    if (!good || r->found->count == r->room || is_taken(r))
        return;
    v.label = keep_text(r);
    if (read_value(r, word, &v))
        r->found->values[r->found->count++] = v;
    else
        r->texts = texts;
}

static void read_part(struct reader *r, struct part *p)
{
    for (;;) {
        while (p->at < p->end && is_blank(*p->at))
            p->at++;
        if (p->at == p->end)
            return;
        read_word(r, p);
    }
}

/* Behind the first '|', which must come before the end of the part. */
static struct part behind_bar(struct part p)
{
    p.at = find_char(&p, '|');
    p.at += p.at < p.end;
    return p;
}

struct perfdata *perfdata_parse(const char *output, size_t len, bool cut)
{
    struct part all = {.at = output, .end = output + len};
    while (cut && all.end > all.at && !is_blank(all.end[-1]))
        all.end--;
    /* "TEXT | DATA", lines of text, and behind the next '|' data to the end. */
    struct part first = {.at = all.at, .end = find_char(&all, '\n')};
    struct part rest = {.at = first.end, .end = all.end};
    first = behind_bar(first);
    rest = behind_bar(rest);

    struct reader r = {.room = 0};
    for (const char *c = first.at; c < rest.end && r.room < PERFDATA_MAX; c++)
        r.room += *c == '=';
    if (r.room == 0 || (first.at == first.end && rest.at == rest.end))
        return NULL;
    /* A word's label and unit, with their NULs, are no longer than the word: '=', digit. */
    size_t text_bytes = (size_t)(rest.end - first.at) + 1;
    r.found = malloc(sizeof *r.found + r.room * sizeof r.found->values[0] + text_bytes);
    if (r.found == NULL)
        return NULL;
    atomic_init(&r.found->refs, 1);
    r.found->count = 0;
    r.texts = (char *)&r.found->values[r.room];
    strbuf_init(&r.text, PERFDATA_LABEL_MAX + 1);
    read_part(&r, &first);
    read_part(&r, &rest);
    strbuf_done(&r.text);
    return r.found->count > 0 ? r.found : perfdata_unref(r.found);
}

double perf_range_plain(const struct perf_range *range)
{
    return range->start == 0 && !range->inside && isfinite(range->end) ? range->end : NAN;
}

struct perfdata *perfdata_ref(struct perfdata *p)
{
    if (p != NULL)
        atomic_fetch_add_explicit(&p->refs, 1, memory_order_relaxed);
    return p;
}

struct perfdata *perfdata_unref(struct perfdata *p)
{
    if (p != NULL && atomic_fetch_sub_explicit(&p->refs, 1, memory_order_acq_rel) == 1)
        free(p);
    return NULL;
}
