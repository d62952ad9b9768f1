/* The set of statuses, its settings, and a pattern's bound on work. */
#include "probe/expect.h"

#include "../testing.h"

#include <healthsvc/strbuf.h>

#include <errno.h>

#define SENTENCE \
    "must be a status (200..599), a class (\"2xx\"), or a list such as ( \"2xx\", 301 )"

/* Reads the setting "x = TEXT;". */
static int read_set(const char *text, struct expect_status *set, struct strbuf *why)
{
    char line[200];
    config_t file;
    config_init(&file);
    (void)snprintf(line, sizeof line, "x = %s;", text);
    strbuf_clear(why);
    EXPECT_INT(config_read_string(&file, line), CONFIG_TRUE);
    int r = expect_status_read(config_lookup(&file, "x"), set, why);
    config_destroy(&file);
    return r;
}

/* How many statuses are in the set, of all numbers that there are. */
static int count(const struct expect_status *set)
{
    int members = 0;
    for (unsigned status = 0; status <= 1100; status++)
        members += expect_status_has(set, status);
    return members;
}

TEST(the_default_is_2xx)
{
    struct expect_status set;
    EXPECT_INT(expect_status_read(NULL, &set, NULL), 0);
    EXPECT_INT(count(&set), 100);
    EXPECT(expect_status_has(&set, 200) && expect_status_has(&set, 299));
    EXPECT(!expect_status_has(&set, 199) && !expect_status_has(&set, 300));
}

TEST(what_may_be_written)
{
    static const struct {
        const char *text;
        int members;
        unsigned in, out;
    } rows[] = {
        {"204", 1, 204, 205},
        {"204L", 1, 204, 203},
        {"\"301\"", 1, 301, 300},
        {"\"5xx\"", 100, 599, 499},
        {"( \"2xx\", 301 )", 101, 301, 302},
        {"( \"2xx\", 200, \"200\" )", 100, 200, 300},
        {"[ 200, 204, 599 ]", 3, 599, 598},
        {"[ \"2xx\", \"3xx\", \"4xx\", \"5xx\" ]", 400, 463, 600},
    };
    struct expect_status set;
    struct strbuf why;
    strbuf_init(&why, 200);
    for (size_t i = 0; i < sizeof rows / sizeof rows[0]; i++) {
        EXPECT_INT(read_set(rows[i].text, &set, &why), 0);
        EXPECT_STR(why.data, "");
        EXPECT_INT(count(&set), rows[i].members);
        EXPECT(expect_status_has(&set, rows[i].in));
        EXPECT(!expect_status_has(&set, rows[i].out));
    }
    strbuf_done(&why);
}

TEST(what_may_not)
{
    static const char *const rows[] = {
        "199",        "600",          "-200",        "0",           "\"1xx\"",  "\"6xx\"",
        "\"2x\"",     "\"2xxx\"",     "\"20x\"",     "\"\"",        "\"0200\"", "\" 200\"",
        "\"+200\"",   "200.0",        "true",        "()",          "[]",       "( 200, ( 301 ) )",
        "( 200, 7 )", "{ a = 200; }", "4294967496L", "\"200,301\"", "\"199\"",  "\"600\"",
    };
    struct expect_status set, before;
    struct strbuf why;
    strbuf_init(&why, 200);
    memset(&before, 0x5a, sizeof before);
    for (size_t i = 0; i < sizeof rows / sizeof rows[0]; i++) {
        set = before;
        if (!EXPECT_INT(read_set(rows[i], &set, &why), -EINVAL))
            printf("# %s\n", rows[i]);
        EXPECT_STR(why.data, SENTENCE);
        EXPECT(memcmp(&set, &before, sizeof set) == 0);
    }
    strbuf_done(&why);
}

/* Matches `bytes`; the text goes to `text`. */
static enum outcome match(const char *pattern, const char *bytes, size_t len, char *text)
{
    struct expect_pattern *p = NULL;
    struct strbuf why;
    strbuf_init(&why, 200);
    enum outcome outcome = OUTCOME_OWN_ERROR;
    if (EXPECT_INT(expect_pattern_new(pattern, &why, &p), 0))
        outcome = expect_pattern_match(p, bytes, len, text);
    expect_pattern_free(p);
    strbuf_done(&why);
    return outcome;
}

TEST(a_pattern_is_found_anywhere)
{
    char text[OUTCOME_TEXT_BYTES];
    EXPECT_INT(match("b+", "abbc", 4, text), OUTCOME_OK);
    EXPECT_INT(match("^b", "abbc", 4, text), OUTCOME_BODY_MISMATCH);
    EXPECT_STR(text, "");
    EXPECT_INT(match("c", "abbc", 3, text), OUTCOME_BODY_MISMATCH);
    EXPECT_INT(match("(?i)up", "UP", 2, text), OUTCOME_OK);
    EXPECT_INT(match("", "", 0, text), OUTCOME_OK);
    EXPECT_INT(match("(a)(b)(b)(c)", "abbc", 4, text), OUTCOME_OK);
}

TEST(an_honest_pattern_has_work_enough_for_64_kb)
{
    static const char *const rows[] = {"(?s)^.*\"status\":\"UP\"", "\"status\":\\s*\"UP\"",
                                       "(?s)^(?:[^U]|U(?!P))*UP\"", "[A-Z]+\"\\}$"};
    static char body[65536];
    char text[OUTCOME_TEXT_BYTES];
    for (size_t i = 0; i < sizeof body; i++)
        body[i] = "{\"name\":\"db\",\"state\":1},\n"[i % 25];
    memcpy(body + sizeof body - 15, "{\"status\":\"UP\"}", 15);
    for (size_t i = 0; i < sizeof rows / sizeof rows[0]; i++) {
        if (!EXPECT_INT(match(rows[i], body, sizeof body, text), OUTCOME_OK))
            printf("# %s: %s\n", rows[i], text);
    }
}

TEST(work_is_bounded)
{
    static const char *const rows[] = {
        "(a+)+[bc]",      "[^b]*[^a]",        "(?:a|aa)*[bc]",
        "(.|\\n)*[xy]",   "(?=(a+))\\1*[xy]", "(*NO_AUTO_POSSESS)a*[bc]",
        "(a?){1000}[bc]", "((a|b)*)*[xy]",    "(?:(?=a)a*)*[bc]"};
    static char body[65536];
    char text[OUTCOME_TEXT_BYTES];
    memset(body, 'a', sizeof body);
    for (size_t i = 0; i < sizeof rows / sizeof rows[0]; i++) {
        EXPECT_INT(match(rows[i], body, sizeof body, text), OUTCOME_BODY_MISMATCH);
        if (!EXPECT_STR(text, "body match given up: the pattern backtracks too much"))
            printf("# %s\n", rows[i]);
    }
}

TEST(a_bad_pattern_is_told)
{
    struct expect_pattern *p = NULL;
    struct strbuf why;
    strbuf_init(&why, 200);
    EXPECT_INT(expect_pattern_new("ab[", &why, &p), -EINVAL);
    EXPECT_STR(why.data, "missing terminating ] for character class, at offset 3");
    EXPECT(p == NULL);
    strbuf_done(&why);
}

int main(void)
{
    RUN(the_default_is_2xx);
    RUN(what_may_be_written);
    RUN(what_may_not);
    RUN(a_pattern_is_found_anywhere);
    RUN(an_honest_pattern_has_work_enough_for_64_kb);
    RUN(work_is_bounded);
    RUN(a_bad_pattern_is_told);
    return testing_end();
}
