/*
 * JSON of dependencies, and what is expected of it. An input is the rules of `expect_json`, one a
 * line, a line "---", and a document: both are read, the rules are held against it, and it is read
 * as what another health service says of itself, as JSON and as text.
 */
#include "fuzz.h"

#include "probe/health_doc.h"
#include "probe/json.h"

#include <healthsvc/outcome.h>
#include <healthsvc/strbuf.h>

#include <stdbool.h>

static void check_reason(enum health_status status, const struct strbuf *reason)
{
    HOLDS(strbuf_error(reason) == 0 && reason->len <= HEALTH_REASON_BYTES);
    HOLDS(fuzz_is_plain(reason->data));
    HOLDS(status == HEALTH_WARN || status == HEALTH_FAIL || reason->len == 0);
}

static void check_health(const char *text, size_t len, const struct json_t *root)
{
    struct strbuf reason;
    strbuf_init(&reason, 4 * HEALTH_REASON_BYTES);
    check_reason(health_doc_text(text, len, &reason), &reason);
    strbuf_clear(&reason);
    if (root != NULL)
        check_reason(health_doc_json(root, &reason), &reason);
    strbuf_done(&reason);
}

static void check_rules(const char *lines, struct json_t *root)
{
    struct json_rules *rules = NULL;
    struct strbuf why;
    char text[OUTCOME_TEXT_BYTES], again[OUTCOME_TEXT_BYTES];
    strbuf_init(&why, 1024);
    int r = json_rules_new(lines, &why, &rules);
    HOLDS((r == 0) == (rules != NULL) && (r == 0 || why.len > 0) && strbuf_error(&why) == 0);
    if (r == 0 && root != NULL) {
        memset(text, 0x7f, sizeof text);
        bool hold = json_rules_hold(rules, root, text);
        HOLDS(json_rules_hold(rules, root, again) == hold);
        HOLDS(hold || (text[0] != '\0' && fuzz_is_plain(text) && strcmp(text, again) == 0));
    }
    json_rules_free(rules);
    strbuf_done(&why);
}

void fuzz_json(const struct fuzz_target *target, const uint8_t *data, size_t size)
{
    static const char mark[] = "\n---\n";
    const char *found = memmem(data, size, mark, sizeof mark - 1);
    size_t rules_len = found != NULL ? (size_t)(found - (const char *)data) : 0;
    size_t skip = found != NULL ? rules_len + sizeof mark - 1 : 0;
    char *rules = fuzz_text(data, rules_len), *text = fuzz_copy(data + skip, size - skip);
    struct json_t *root = NULL;
    (void)target;
    if (json_read(text, size - skip, &root) != 0)
        HOLDS(root == NULL);
    check_health(text, size - skip, root);
    free(text); /* nothing may point there */
    check_rules(rules, root);
    json_free(root);
    free(rules);
}
