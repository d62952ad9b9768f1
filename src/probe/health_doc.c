/*
 * The draft has a word for all (`output`) and one for each part (`checks`). If the first is there
 * it is taken: who wrote it knows which parts counted. Parts are named by their key, without the
 * measurement behind the colon.
 * Words of the status are the draft's, with the aliases that it allows (section 3.1).
 */
#ifdef HAVE_CONFIG_H
#include <config.h>
#endif

#include "probe/health_doc.h"

#include <stdbool.h>
#include <string.h>
#include <strings.h>

#ifdef HAVE_JANSSON
#include <jansson.h>
#endif

#define NAME_BYTES 40
#define OUTPUT_BYTES 110
#define TAIL_BYTES 20 /* for "; and 65536 more" */

/* ---- the parts to blame, as one bounded line ---- */

struct blame {
    struct strbuf *out;
    size_t start, unnamed;
};

static void blame_begin(struct blame *b, struct strbuf *out)
{
    *b = (struct blame){.out = out, .start = out->len};
}

static void blame_add(struct blame *b, const char *name, size_t name_len, const char *output,
                      size_t output_len)
{
    size_t before = b->out->len;
    if (b->unnamed == 0) {
        if (before > b->start)
            strbuf_adds(b->out, "; ");
        strbuf_add_printable(b->out, name, name_len, NAME_BYTES);
        if (output_len > 0) {
            strbuf_adds(b->out, ": ");
            strbuf_add_printable(b->out, output, output_len, OUTPUT_BYTES);
        }
        if (b->out->len - b->start <= HEALTH_REASON_BYTES - TAIL_BYTES)
            return;
        strbuf_truncate(b->out, before);
    }
    b->unnamed++;
}

static void blame_end(struct blame *b)
{
    if (b->unnamed > 0)
        strbuf_addf(b->out, "; and %zu more", b->unnamed);
}

/* ---- JSON ---- */

#ifdef HAVE_JANSSON

static enum health_status status_of(const json_t *object)
{
    static const struct {
        const char *word;
        enum health_status status;
    } words[] = {{"pass", HEALTH_PASS}, {"ok", HEALTH_PASS},   {"up", HEALTH_PASS},
                 {"warn", HEALTH_WARN}, {"fail", HEALTH_FAIL}, {"error", HEALTH_FAIL},
                 {"down", HEALTH_FAIL}};
    const char *said = json_string_value(json_object_get(object, "status"));
    for (size_t i = 0; said != NULL && i < sizeof words / sizeof words[0]; i++) {
        if (strcasecmp(said, words[i].word) == 0)
            return words[i].status;
    }
    return HEALTH_UNKNOWN;
}

static void blame_check(struct blame *b, const char *key, const json_t *check,
                        enum health_status status)
{
    if (status_of(check) != status)
        return;
    size_t name = strcspn(key, ":");
    const json_t *output = json_object_get(check, "output");
    blame_add(b, key, name > 0 ? name : strlen(key), json_string_value(output),
              json_string_length(output));
}

static void blame_checks(struct blame *b, json_t *checks, enum health_status status)
{
    const char *key;
    json_t *value;
    json_object_foreach(checks, key, value)
    {
        size_t i;
        json_t *element;
        if (json_is_object(value)) /* the draft wants an array; some leave it out */
            blame_check(b, key, value, status);
        json_array_foreach(value, i, element) blame_check(b, key, element, status);
    }
}

enum health_status health_doc_json(const struct json_t *root, struct strbuf *reason)
{
    enum health_status status = status_of(root);
    if (status != HEALTH_WARN && status != HEALTH_FAIL)
        return status;
    const json_t *output = json_object_get(root, "output");
    if (json_string_length(output) > 0) {
        strbuf_add_printable(reason, json_string_value(output), json_string_length(output),
                             HEALTH_REASON_BYTES);
        return status;
    }
    struct blame b;
    json_t *checks = json_object_get(root, "checks");
    blame_begin(&b, reason);
    blame_checks(&b, checks, HEALTH_FAIL);
    if (status == HEALTH_WARN)
        blame_checks(&b, checks, HEALTH_WARN);
    blame_end(&b);
    return status;
}

#else

enum health_status health_doc_json(const struct json_t *root, struct strbuf *reason)
{
    (void)root;
    (void)reason;
    return HEALTH_UNKNOWN;
}

#endif

/* ---- text ---- */

struct line {
    const char *at, *end;
    const char *name_end;
    enum health_status status;
    const char *reason; /* to `end` */
};

static bool begins(const char *at, const char *end, const char *with)
{
    size_t len = strlen(with);
    return (size_t)(end - at) >= len && memcmp(at, with, len) == 0;
}

static bool ends(const struct line *line, const char *with)
{
    size_t len = strlen(with);
    return (size_t)(line->end - line->reason) >= len && memcmp(line->end - len, with, len) == 0;
}

/* "NAME status: OK", "NAME status: Warning. REASON", "NAME status: Error. REASON"; the reason may
 * be missing. */
static bool read_line(const char *at, const char *end, struct line *ret_line)
{
    static const struct {
        const char *text;
        enum health_status status;
    } words[] = {{" status: OK", HEALTH_PASS},
                 {" status: Warning", HEALTH_WARN},
                 {" status: Error", HEALTH_FAIL}};
    const char *name_end = at;
    while (name_end < end && !begins(name_end, end, " status: "))
        name_end++;
    for (size_t i = 0; i < sizeof words / sizeof words[0]; i++) {
        if (!begins(name_end, end, words[i].text))
            continue;
        const char *rest = name_end + strlen(words[i].text);
        if (rest != end && !begins(rest, end, ". "))
            return false;
        *ret_line = (struct line){.at = at,
                                  .end = end,
                                  .name_end = name_end,
                                  .status = words[i].status,
                                  .reason = rest != end ? rest + 2 : end};
        return name_end > at;
    }
    return false;
}

static const char *line_end(const char *at, const char *end)
{
    const char *found = memchr(at, '\n', (size_t)(end - at));
    return found != NULL ? found : end;
}

static void blame_lines(struct blame *b, const char *at, const char *end,
                        enum health_status verdict, enum health_status status)
{
    for (; at < end; at = line_end(at, end) + 1) {
        struct line line;
        if (!read_line(at, line_end(at, end), &line) || line.status != status)
            continue;
        if (verdict == HEALTH_FAIL && (ends(&line, " (optional)") || ends(&line, " (info)")))
            continue;
        blame_add(b, line.at, (size_t)(line.name_end - line.at), line.reason,
                  (size_t)(line.end - line.reason));
    }
}

enum health_status health_doc_text(const char *text, size_t len, struct strbuf *reason)
{
    static const char heading[] = "Dependencies:\n";
    const char *end = text + len;
    struct line first;
    if (len == 0 || !read_line(text, line_end(text, end), &first))
        return HEALTH_UNKNOWN;
    if (first.status == HEALTH_PASS)
        return HEALTH_PASS;
    if (first.reason < first.end) {
        strbuf_add_printable(reason, first.reason, (size_t)(first.end - first.reason),
                             HEALTH_REASON_BYTES);
        return first.status;
    }
    const char *second = first.end < end ? first.end + 1 : end;
    if (!begins(second, end, heading))
        return first.status;
    struct blame b;
    blame_begin(&b, reason);
    second += sizeof heading - 1;
    blame_lines(&b, second, end, first.status, HEALTH_FAIL);
    if (first.status == HEALTH_WARN)
        blame_lines(&b, second, end, first.status, HEALTH_WARN);
    blame_end(&b);
    return first.status;
}
