/*
 * PCRE2's own limits do not bound the time of a match: its match limit starts anew at every
 * position of the subject and does not count what a single repeat runs over, so that [^b]*[^a]
 * against 60 KB of a's takes 14 s within any limit. So every pattern is compiled with automatic
 * callouts, one before each of its items, and the callouts count the work: one for each, and the
 * bytes that were passed since the last, at 10..15 ns each. That is a bound which does not depend on
 * the clock.
 *
 * No JIT: a usual body takes a microsecond without it, and it would bring a stack limit of its own
 * and a need for writable executable memory, which a hardened unit forbids.
 */
#include "probe/expect.h"

#include <healthsvc/strbuf.h>
#include <healthsvc/units.h>

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define PCRE2_CODE_UNIT_WIDTH 8
#include <pcre2.h>

#define STATUS_MIN 200
#define STATUS_MAX 599
#define WORD_BITS 64

#define MATCH_HEAP_KIB 16384

struct expect_pattern {
    pcre2_code *code;
};

/* ---- statuses ---- */

static void add_statuses(struct expect_status *set, unsigned first, unsigned last)
{
    for (unsigned bit = first - STATUS_MIN; bit <= last - STATUS_MIN; bit++)
        set->bits[bit / WORD_BITS] |= UINT64_C(1) << (bit % WORD_BITS);
}

static bool add_text(struct expect_status *set, const char *text)
{
    uint64_t status;
    size_t len = strlen(text);
    if (len == 3 && text[0] >= '2' && text[0] <= '5' && strcmp(text + 1, "xx") == 0) {
        unsigned first = (unsigned)(text[0] - '0') * 100;
        add_statuses(set, first, first + 99);
        return true;
    }
    if (len != 3 || units_parse_digits(text, len, &status) != 0 || status < STATUS_MIN ||
        status > STATUS_MAX)
        return false;
    add_statuses(set, (unsigned)status, (unsigned)status);
    return true;
}

static bool add_setting(struct expect_status *set, const config_setting_t *setting)
{
    int type = config_setting_type(setting);
    if (type == CONFIG_TYPE_STRING)
        return add_text(set, config_setting_get_string(setting));
    if (type != CONFIG_TYPE_INT && type != CONFIG_TYPE_INT64)
        return false;
    long long status = config_setting_get_int64(setting);
    if (status < STATUS_MIN || status > STATUS_MAX)
        return false;
    add_statuses(set, (unsigned)status, (unsigned)status);
    return true;
}

int expect_status_read(const config_setting_t *setting, void *dest, struct strbuf *why)
{
    struct expect_status set = {{0}};
    bool good = true;
    if (setting == NULL) {
        add_statuses(&set, 200, 299);
    } else if (config_setting_is_array(setting) || config_setting_is_list(setting)) {
        int count = config_setting_length(setting);
        good = count > 0;
        for (int i = 0; i < count && good; i++)
            good = add_setting(&set, config_setting_get_elem(setting, (unsigned)i));
    } else {
        good = add_setting(&set, setting);
    }
    if (!good) {
        strbuf_addf(why,
                    "must be a status (%d..%d), a class (\"2xx\"), or a list such as "
                    "( \"2xx\", 301 )",
                    STATUS_MIN, STATUS_MAX);
        return -EINVAL;
    }
    memcpy(dest, &set, sizeof set);
    return 0;
}

bool expect_status_has(const struct expect_status *set, unsigned status)
{
    if (status < STATUS_MIN || status > STATUS_MAX)
        return false;
    unsigned bit = status - STATUS_MIN;
    return (set->bits[bit / WORD_BITS] >> (bit % WORD_BITS)) & 1;
}

/* ---- patterns ---- */

int expect_pattern_new(const char *text, struct strbuf *why, struct expect_pattern **ret_pattern)
{
    struct expect_pattern *p = malloc(sizeof *p);
    if (p == NULL)
        return -ENOMEM;
    int error;
    PCRE2_SIZE offset;
    p->code = pcre2_compile((PCRE2_SPTR)text, PCRE2_ZERO_TERMINATED, PCRE2_AUTO_CALLOUT, &error,
                            &offset, NULL);
    if (p->code == NULL) {
        PCRE2_UCHAR message[128];
        expect_pattern_free(p);
        if (error == PCRE2_ERROR_HEAP_FAILED)
            return -ENOMEM;
        (void)pcre2_get_error_message(error, message, sizeof message);
        strbuf_addf(why, "%s, at offset %zu", (const char *)message, (size_t)offset);
        return -EINVAL;
    }
    *ret_pattern = p;
    return 0;
}

struct expect_pattern *expect_pattern_free(struct expect_pattern *p)
{
    if (p != NULL)
        pcre2_code_free(p->code);
    free(p);
    return NULL;
}

struct work {
    size_t position; /* at the last callout */
    size_t left;
};

static int count_work(pcre2_callout_block *block, void *data)
{
    struct work *w = data;
    size_t here = block->current_position;
    size_t cost = 1 + (here > w->position ? here - w->position : w->position - here);
    w->position = here;
    if (cost > w->left)
        return PCRE2_ERROR_CALLOUT;
    w->left -= cost;
    return 0;
}

enum outcome expect_pattern_match(const struct expect_pattern *p, const void *bytes, size_t len,
                                  char ret_text[OUTCOME_TEXT_BYTES])
{
    size_t work = EXPECT_WORK;
    return expect_pattern_match_of(p, bytes, len, &work, ret_text);
}

enum outcome expect_pattern_match_of(const struct expect_pattern *p, const void *bytes, size_t len,
                                     size_t *all_work, char ret_text[OUTCOME_TEXT_BYTES])
{
    struct work work = {.left = *all_work};
    int r = PCRE2_ERROR_NOMEMORY;
    ret_text[0] = '\0';
    pcre2_match_data *data = pcre2_match_data_create(1, NULL);
    pcre2_match_context *context = pcre2_match_context_create(NULL);
    if (data != NULL && context != NULL) {
        (void)pcre2_set_match_limit(context, EXPECT_WORK);
        (void)pcre2_set_depth_limit(context, EXPECT_WORK);
        (void)pcre2_set_heap_limit(context, MATCH_HEAP_KIB);
        (void)pcre2_set_callout(context, count_work, &work);
        r = pcre2_match(p->code, bytes, len, 0, 0, data, context);
    }
    *all_work = work.left;
    pcre2_match_context_free(context);
    pcre2_match_data_free(data);
    if (r >= 0)
        return OUTCOME_OK;
    if (r == PCRE2_ERROR_NOMEMORY)
        return OUTCOME_OWN_MEMORY;
    if (r == PCRE2_ERROR_CALLOUT || r == PCRE2_ERROR_MATCHLIMIT || r == PCRE2_ERROR_DEPTHLIMIT ||
        r == PCRE2_ERROR_HEAPLIMIT) {
        (void)snprintf(ret_text, OUTCOME_TEXT_BYTES,
                       "body match given up: the pattern backtracks too much");
    } else if (r != PCRE2_ERROR_NOMATCH) {
        PCRE2_UCHAR message[OUTCOME_TEXT_BYTES - 32];
        (void)pcre2_get_error_message(r, message, sizeof message);
        (void)snprintf(ret_text, OUTCOME_TEXT_BYTES, "body match failed: %s",
                       (const char *)message);
    }
    return OUTCOME_BODY_MISMATCH;
}
