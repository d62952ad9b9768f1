/*
 * keys.c: one place knows how a type is set, compared and documented, so that a new setting
 * is a row and nothing else. Reading is keys_read.c.
 */
#include <healthsvc/keys.h>

#include <assert.h>
#include <errno.h>
#include <inttypes.h>
#include <string.h>

#include <healthsvc/region.h>
#include <healthsvc/strbuf.h>
#include <healthsvc/units.h>

#include "config/keys_row.h"

#define WHY_MAX_BYTES 2048

void *keys_member(const struct key_row *row, void *base)
{
    return (char *)base + row->offset;
}

const void *keys_const_member(const struct key_row *row, const void *base)
{
    return (const char *)base + row->offset;
}

void keys_add_range(struct strbuf *b, const struct key_row *row)
{
    if (row->type == KEY_DURATION) {
        units_format_duration(b, row->min);
        strbuf_adds(b, " .. ");
        units_format_duration(b, row->max);
    } else {
        strbuf_addf(b, "%" PRId64 " .. %" PRId64, row->min, row->max);
    }
}

static void add_words(struct strbuf *b, const struct key_row *row)
{
    for (size_t i = 0; row->words[i] != NULL; i++)
        strbuf_addf(b, "%s\"%s\"", i > 0 ? ", " : "", row->words[i]);
}

void keys_add_wanted(struct strbuf *b, const struct key_row *row)
{
    switch (row->type) {
    case KEY_STRING:
        strbuf_adds(b, "a string of ");
        keys_add_range(b, row);
        strbuf_adds(b, " bytes");
        break;
    case KEY_DURATION:
        strbuf_adds(b, "a duration ");
        keys_add_range(b, row);
        break;
    case KEY_INT:
        strbuf_adds(b, "a whole number ");
        keys_add_range(b, row);
        break;
    case KEY_BOOL:
        strbuf_adds(b, "true or false");
        break;
    case KEY_ENUM:
        strbuf_adds(b, "one of ");
        add_words(b, row);
        break;
    case KEY_TEXT_LIST:
        strbuf_adds(b, "a string or a list of strings");
        break;
    case KEY_CUSTOM:
        strbuf_adds(b, "as described");
        break;
    case KEY_GROUP:
        strbuf_adds(b, "a group or a list");
        break;
    }
}

int keys_word_index(const struct key_row *row, const char *word)
{
    for (int i = 0; row->words[i] != NULL; i++) {
        if (strcmp(row->words[i], word) == 0)
            return i;
    }
    return -1;
}

/* Duration rows give their default as a file would: with a unit, or in seconds. */
static int64_t default_duration_ms(const char *text)
{
    int64_t value = 0;
    int err = units_parse_duration_ms(text, &value);

    if (err != 0) {
        err = units_parse_int(text, &value);
        value *= 1000;
    }
    assert(err == 0);
    return value;
}

static int set_default(const struct key_row *row, void *base, struct region *region)
{
    void *member = keys_member(row, base);
    const char *text = row->default_text;

    if (row->type == KEY_CUSTOM) {
        struct strbuf why;
        strbuf_init(&why, WHY_MAX_BYTES);
        int err = row->custom(NULL, member, &why);
        strbuf_done(&why);
        assert(err == 0 || err == -ENOMEM);
        return err;
    }
    if (text == NULL)
        return 0;
    switch (row->type) {
    case KEY_STRING:
    case KEY_TEXT_LIST:
        *(char **)member = region_copy_text(region, text);
        return *(char **)member != NULL ? 0 : -ENOMEM;
    case KEY_DURATION:
        *(int64_t *)member = default_duration_ms(text);
        break;
    case KEY_INT: {
        int err = units_parse_int(text, member);
        assert(err == 0);
        break;
    }
    case KEY_BOOL:
        *(bool *)member = strcmp(text, "true") == 0;
        break;
    case KEY_ENUM:
        *(int *)member = keys_word_index(row, text);
        assert(*(int *)member >= 0);
        break;
    case KEY_CUSTOM:
    case KEY_GROUP:
        break;
    }
    return 0;
}

int keys_set_defaults(const struct key_target *target, struct region *region)
{
    for (const struct key_row *row = target->rows; row->name != NULL; row++) {
        int err = set_default(row, target->base, region);
        if (err != 0)
            return err;
    }
    return 0;
}

bool keys_equal(const struct key_row *row, const void *a, const void *b)
{
    const void *left = keys_const_member(row, a), *right = keys_const_member(row, b);

    switch (row->type) {
    case KEY_STRING:
    case KEY_TEXT_LIST: {
        const char *left_text = *(char *const *)left, *right_text = *(char *const *)right;
        if (left_text == NULL || right_text == NULL)
            return left_text == right_text;
        return strcmp(left_text, right_text) == 0;
    }
    case KEY_DURATION:
    case KEY_INT:
        return *(const int64_t *)left == *(const int64_t *)right;
    case KEY_BOOL:
        return *(const bool *)left == *(const bool *)right;
    case KEY_ENUM:
        return *(const int *)left == *(const int *)right;
    case KEY_CUSTOM:
        return memcmp(left, right, row->custom_bytes) == 0;
    case KEY_GROUP:
        return true;
    }
    return true;
}

void keys_describe(const struct key_row *rows, struct strbuf *out)
{
    for (const struct key_row *row = rows; row->name != NULL; row++) {
        const char *shown = row->shown_default != NULL ? row->shown_default : row->default_text;
        strbuf_addf(out, "%s\t", row->name);
        if (row->shown_type != NULL)
            strbuf_adds(out, row->shown_type);
        else
            keys_add_wanted(out, row);
        if (row->flags & KEY_REQUIRED)
            shown = "required";
        strbuf_addf(out, "\t%s\t%s\n", shown != NULL ? shown : "none", row->sentence);
    }
}
