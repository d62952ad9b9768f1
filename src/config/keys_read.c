/*
 * keys_read.c: a wrong value is named, what is wanted is named, and the reading goes on, so that one
 * run shows every fault. What a string setting holds is never shown: it may be a URL with a password.
 */
#include <healthsvc/keys.h>

#include <errno.h>
#include <inttypes.h>
#include <stdlib.h>
#include <string.h>

#include <healthsvc/region.h>
#include <healthsvc/strbuf.h>
#include <healthsvc/units.h>

#include "config/keys_row.h"

#define SENTENCE_MAX_BYTES 2048
#define SHOWN_MAX_BYTES 40 /* of a wrong value */
#define TEXT_LIST_MAX_BYTES 65536

/* One call of keys_read(). */
struct reader {
    const struct key_sink *sink;
    struct region *region;
    struct strbuf sentence; /* of the fault being made */
    bool faulty;
    bool no_memory;
};

/* The text of a string setting, NULL for any other type. */
static const char *string_of(const config_setting_t *setting)
{
    return config_setting_type(setting) == CONFIG_TYPE_STRING ? config_setting_get_string(setting)
                                                              : NULL;
}

static bool is_integer(const config_setting_t *setting)
{
    int type = config_setting_type(setting);
    return type == CONFIG_TYPE_INT || type == CONFIG_TYPE_INT64;
}

/* With its point, so that "is 2.0, must be a whole number" makes sense. */
static void add_float(struct strbuf *b, double value)
{
    size_t start = b->len;

    strbuf_addf(b, "%.12g", value);
    if (strpbrk(b->data + start, ".en") == NULL)
        strbuf_adds(b, ".0");
}

static void add_written(struct strbuf *b, const config_setting_t *setting)
{
    const char *text;

    switch (config_setting_type(setting)) {
    case CONFIG_TYPE_INT:
    case CONFIG_TYPE_INT64:
        strbuf_addf(b, "%lld", config_setting_get_int64(setting));
        break;
    case CONFIG_TYPE_FLOAT:
        add_float(b, config_setting_get_float(setting));
        break;
    case CONFIG_TYPE_BOOL:
        strbuf_adds(b, config_setting_get_bool(setting) ? "true" : "false");
        break;
    case CONFIG_TYPE_STRING:
        text = config_setting_get_string(setting);
        strbuf_addc(b, '"');
        strbuf_add_printable(b, text, strlen(text), SHOWN_MAX_BYTES);
        strbuf_addc(b, '"');
        break;
    case CONFIG_TYPE_GROUP:
        strbuf_adds(b, "a group");
        break;
    default:
        strbuf_adds(b, "a list");
        break;
    }
}

static void begin_fault(struct reader *r, const struct key_row *row)
{
    strbuf_clear(&r->sentence);
    strbuf_addf(&r->sentence, "'%s' ", row->name);
}

static void end_fault(struct reader *r, const config_setting_t *setting)
{
    if (strbuf_error(&r->sentence) == -ENOMEM)
        r->no_memory = true;
    r->faulty = true;
    r->sink->fault(r->sink->arg, setting, r->sentence.data);
}

/* "'period' is true, must be a duration 100ms .. 24h" */
static void fault_type(struct reader *r, const struct key_row *row, const config_setting_t *setting)
{
    begin_fault(r, row);
    strbuf_adds(&r->sentence, "is ");
    add_written(&r->sentence, setting);
    strbuf_adds(&r->sentence, ", must be ");
    keys_add_wanted(&r->sentence, row);
    if (row->type == KEY_DURATION)
        strbuf_adds(&r->sentence, ", written like \"250ms\", \"5s\", \"1m\" or \"2h\"");
    end_fault(r, setting);
}

/* "'period' is 50ms, must be 100ms .. 24h" */
static void fault_range(struct reader *r, const struct key_row *row,
                        const config_setting_t *setting)
{
    const char *text = string_of(setting);

    begin_fault(r, row);
    strbuf_adds(&r->sentence, "is ");
    if (text != NULL) {
        strbuf_add_printable(&r->sentence, text, strlen(text), SHOWN_MAX_BYTES);
    } else {
        add_written(&r->sentence, setting);
        if (row->type == KEY_DURATION)
            strbuf_addc(&r->sentence, 's');
    }
    strbuf_adds(&r->sentence, ", must be ");
    keys_add_range(&r->sentence, row);
    end_fault(r, setting);
}

/* True if the text is fit for the row; else a fault at `setting`. */
static bool check_text(struct reader *r, const struct key_row *row, const config_setting_t *setting,
                       const char *text)
{
    size_t len = strlen(text);
    bool fits = (int64_t)len >= row->min && (int64_t)len <= row->max;
    bool one_line = row->flags & KEY_SENT || row->type == KEY_TEXT_LIST;

    if (fits && !(one_line && strpbrk(text, "\r\n") != NULL))
        return true;
    begin_fault(r, row);
    if (fits) {
        strbuf_adds(&r->sentence, "must not contain CR, LF or NUL");
    } else if (len == 0) {
        strbuf_adds(&r->sentence, "is empty");
    } else {
        strbuf_addf(&r->sentence, "is %zu bytes long, must be ", len);
        keys_add_range(&r->sentence, row);
        strbuf_adds(&r->sentence, " bytes");
    }
    end_fault(r, setting);
    return false;
}

static void replace_string(struct reader *r, const struct key_row *row, void *base,
                           const char *text)
{
    char *copy = region_copy_text(r->region, text);

    if (copy == NULL)
        r->no_memory = true;
    else
        *(char **)keys_member(row, base) = copy;
}

static void read_duration(struct reader *r, const struct key_row *row,
                          const config_setting_t *setting, int64_t *ret_ms)
{
    const char *text = string_of(setting);
    int64_t ms = 0;
    int err = 0;

    if (text != NULL) {
        err = units_parse_duration_ms(text, &ms);
    } else if (is_integer(setting)) {
        int64_t seconds = config_setting_get_int64(setting);
        err = seconds > INT64_MAX / 1000 || seconds < INT64_MIN / 1000 ? -ERANGE : 0;
        if (err == 0)
            ms = seconds * 1000;
    } else {
        err = -EINVAL;
    }
    if (err == -EINVAL)
        fault_type(r, row, setting);
    else if (err == -ERANGE || ms < row->min || ms > row->max)
        fault_range(r, row, setting);
    else
        *ret_ms = ms;
}

static void read_int(struct reader *r, const struct key_row *row, const config_setting_t *setting,
                     int64_t *ret_value)
{
    if (!is_integer(setting)) {
        fault_type(r, row, setting);
        return;
    }
    int64_t value = config_setting_get_int64(setting);
    if (value < row->min || value > row->max)
        fault_range(r, row, setting);
    else
        *ret_value = value;
}

static void read_enum(struct reader *r, const struct key_row *row, const config_setting_t *setting,
                      int *ret_value)
{
    const char *word = string_of(setting);
    int index = word != NULL ? keys_word_index(row, word) : -1;

    if (index >= 0)
        *ret_value = index;
    else
        fault_type(r, row, setting);
}

static void read_text_list(struct reader *r, const struct key_row *row,
                           const config_setting_t *setting, void *base)
{
    struct strbuf joined;
    bool whole = true;
    int type = config_setting_type(setting);
    bool single = type == CONFIG_TYPE_STRING;
    int count = single ? 1 : config_setting_length(setting);

    if (!single && type != CONFIG_TYPE_ARRAY && type != CONFIG_TYPE_LIST) {
        fault_type(r, row, setting);
        return;
    }
    strbuf_init(&joined, TEXT_LIST_MAX_BYTES);
    for (int i = 0; i < count; i++) {
        const config_setting_t *element =
            single ? setting : config_setting_get_elem(setting, (unsigned)i);
        const char *text = string_of(element);
        if (text == NULL) {
            fault_type(r, row, element);
            whole = false;
        } else if (!check_text(r, row, element, text)) {
            whole = false;
        } else {
            if (i > 0)
                strbuf_addc(&joined, '\n');
            strbuf_adds(&joined, text);
        }
    }
    if (strbuf_error(&joined) == -ENOMEM) {
        r->no_memory = true;
    } else if (strbuf_error(&joined) == -E2BIG) {
        begin_fault(r, row);
        strbuf_addf(&r->sentence, "is longer than %d bytes in all", TEXT_LIST_MAX_BYTES);
        end_fault(r, setting);
    } else if (whole) {
        replace_string(r, row, base, joined.data);
    }
    strbuf_done(&joined);
}

/* Into a copy, so that a wrong value leaves what was there whatever `custom` does. */
static void read_custom(struct reader *r, const struct key_row *row,
                        const config_setting_t *setting, void *member)
{
    struct strbuf why;
    void *copy = malloc(row->custom_bytes);

    if (copy == NULL) {
        r->no_memory = true;
        return;
    }
    strbuf_init(&why, SENTENCE_MAX_BYTES);
    memcpy(copy, member, row->custom_bytes);
    int err = row->custom(setting, copy, &why);
    if (err == 0) {
        memcpy(member, copy, row->custom_bytes);
    } else if (err == -ENOMEM) {
        r->no_memory = true;
    } else {
        begin_fault(r, row);
        strbuf_adds(&r->sentence, why.data);
        end_fault(r, setting);
    }
    strbuf_done(&why);
    free(copy);
}

static void read_value(struct reader *r, const struct key_row *row, const config_setting_t *setting,
                       void *base)
{
    void *member = keys_member(row, base);
    const char *text = string_of(setting);

    switch (row->type) {
    case KEY_STRING:
        if (text == NULL)
            fault_type(r, row, setting);
        else if (check_text(r, row, setting, text))
            replace_string(r, row, base, text);
        break;
    case KEY_DURATION:
        read_duration(r, row, setting, member);
        break;
    case KEY_INT:
        read_int(r, row, setting, member);
        break;
    case KEY_BOOL:
        if (config_setting_type(setting) == CONFIG_TYPE_BOOL)
            *(bool *)member = config_setting_get_bool(setting) == CONFIG_TRUE;
        else
            fault_type(r, row, setting);
        break;
    case KEY_ENUM:
        read_enum(r, row, setting, member);
        break;
    case KEY_TEXT_LIST:
        read_text_list(r, row, setting, base);
        break;
    case KEY_CUSTOM:
        read_custom(r, row, setting, member);
        break;
    case KEY_GROUP:
        break;
    }
}

static void fault_unknown(struct reader *r, const config_setting_t *setting,
                          const struct key_target *targets, size_t count)
{
    const char *word = config_setting_name(setting);
    const char *names[256];
    size_t names_count = 0;

    if (r->sink->unknown != NULL && r->sink->unknown(r->sink->arg, setting)) {
        r->faulty = true;
        return;
    }
    for (size_t i = 0; i < count; i++) {
        for (const struct key_row *row = targets[i].rows; row->name != NULL; row++) {
            if (names_count < sizeof names / sizeof names[0] - 1)
                names[names_count++] = row->name;
        }
    }
    names[names_count] = NULL;
    const char *nearest = units_nearest_word(word, names);
    strbuf_clear(&r->sentence);
    strbuf_addf(&r->sentence, "unknown setting '%s'", word);
    if (nearest != NULL)
        strbuf_addf(&r->sentence, ", did you mean '%s'?", nearest);
    end_fault(r, setting);
}

static void read_member(struct reader *r, const config_setting_t *setting,
                        const struct key_target *targets, size_t count)
{
    bool known = false;

    for (size_t i = 0; i < count; i++) {
        for (const struct key_row *row = targets[i].rows; row->name != NULL; row++) {
            if (strcmp(row->name, config_setting_name(setting)) == 0) {
                known = true;
                read_value(r, row, setting, targets[i].base);
            }
        }
    }
    if (!known)
        fault_unknown(r, setting, targets, count);
}

int keys_read(const config_setting_t *group, const struct key_target *targets, size_t count,
              struct region *region, const struct key_sink *sink)
{
    struct reader r = {.sink = sink, .region = region};
    int members = config_setting_length(group);

    strbuf_init(&r.sentence, SENTENCE_MAX_BYTES);
    for (int i = 0; i < members; i++)
        read_member(&r, config_setting_get_elem(group, (unsigned)i), targets, count);
    for (size_t i = 0; i < count; i++) {
        for (const struct key_row *row = targets[i].rows; row->name != NULL; row++) {
            if (row->flags & KEY_REQUIRED && config_setting_get_member(group, row->name) == NULL) {
                begin_fault(&r, row);
                strbuf_adds(&r.sentence, "is missing");
                end_fault(&r, NULL);
            }
        }
    }
    strbuf_done(&r.sentence);
    if (r.no_memory)
        return -ENOMEM;
    return r.faulty ? -EINVAL : 0;
}
