/* keys: each type read, refused, defaulted, compared and documented. */
#include <healthsvc/keys.h>

#include <errno.h>
#include <stddef.h>

#include <healthsvc/region.h>
#include <healthsvc/strbuf.h>

#include "../testing.h"

static const char *const colours[] = {"red", "green", NULL};

struct pair {
    int a, b;
};

static int read_pair(const config_setting_t *setting, void *dest, struct strbuf *why)
{
    struct pair *pair = dest;
    if (setting == NULL) {
        *pair = (struct pair){1, 2};
        return 0;
    }
    *pair = (struct pair){8, 9}; /* even if what follows is refused */
    if (config_setting_is_array(setting) && config_setting_length(setting) == 2) {
        pair->a = config_setting_get_int_elem(setting, 0);
        pair->b = config_setting_get_int_elem(setting, 1);
        return 0;
    }
    strbuf_adds(why, "must be two numbers");
    return -EINVAL;
}

struct box {
    char *word;
    int64_t wait_ms;
    int64_t count;
    bool on;
    int colour;
    char *lines;
    struct pair pair;
    char *sent;
};

static const struct key_row rows[] = {
    {.name = "word",
     .type = KEY_STRING,
     .offset = offsetof(struct box, word),
     .min = 1,
     .max = 8,
     .default_text = "hello",
     .sentence = "A word."},
    {.name = "wait",
     .type = KEY_DURATION,
     .offset = offsetof(struct box, wait_ms),
     .min = 100,
     .max = 86400000,
     .default_text = "5s",
     .sentence = "A time."},
    {.name = "count",
     .type = KEY_INT,
     .offset = offsetof(struct box, count),
     .min = 1,
     .max = 100,
     .default_text = "3",
     .sentence = "A number."},
    {.name = "on",
     .type = KEY_BOOL,
     .offset = offsetof(struct box, on),
     .default_text = "true",
     .sentence = "A switch."},
    {.name = "colour",
     .type = KEY_ENUM,
     .offset = offsetof(struct box, colour),
     .words = colours,
     .default_text = "green",
     .sentence = "A colour."},
    {.name = "lines",
     .type = KEY_TEXT_LIST,
     .offset = offsetof(struct box, lines),
     .min = 1,
     .max = 10,
     .sentence = "Some lines."},
    {.name = "pair",
     .type = KEY_CUSTOM,
     .offset = offsetof(struct box, pair),
     .custom = read_pair,
     .custom_bytes = sizeof(struct pair),
     .shown_default = "[1, 2]",
     .sentence = "A pair."},
    {.name = "group", .type = KEY_GROUP, .sentence = "A group."},
    KEYS_END,
};

static const struct key_row more_rows[] = {
    {.name = "sent",
     .type = KEY_STRING,
     .flags = KEY_SENT | KEY_REQUIRED,
     .offset = offsetof(struct box, sent),
     .min = 0,
     .max = 20,
     .sentence = "What goes out."},
    KEYS_END,
};

static struct strbuf told;
static struct region *region; /* of all strings */

static void tell(void *arg, const config_setting_t *setting, const char *sentence)
{
    (void)arg;
    strbuf_addf(&told, "%u: %s\n", setting != NULL ? config_setting_source_line(setting) : 0,
                sentence);
}

/* Reads the text into `box` by `rows`; the faults are in `told`. */
static int read_text(const char *text, struct box *box, const struct key_sink *sink)
{
    const struct key_target target = {.rows = rows, .base = box};
    config_t settings;
    strbuf_clear(&told);
    config_init(&settings);
    if (!EXPECT(config_read_string(&settings, text) == CONFIG_TRUE))
        printf("# %d: %s\n", config_error_line(&settings), config_error_text(&settings));
    int err = keys_read(config_root_setting(&settings), &target, 1, region, sink);
    config_destroy(&settings);
    return err;
}

static const struct key_sink sink = {.fault = tell};

static struct box default_box(void)
{
    struct box box = {0};
    const struct key_target target = {.rows = rows, .base = &box};
    EXPECT_INT(keys_set_defaults(&target, region), 0);
    return box;
}

static void expect_defaults(const struct box *box)
{
    EXPECT_STR(box->word, "hello");
    EXPECT_INT(box->wait_ms, 5000);
    EXPECT_INT(box->count, 3);
    EXPECT(box->on);
    EXPECT_INT(box->colour, 1);
    EXPECT_STR(box->lines, NULL);
    EXPECT_INT(box->pair.a, 1);
    EXPECT_INT(box->pair.b, 2);
}

TEST(sets_defaults)
{
    struct box box = default_box();
    expect_defaults(&box);
}

TEST(reads_every_type)
{
    struct box box = default_box();
    EXPECT_INT(read_text("word = \"you\"; wait = \"250ms\"; count = 0x10; on = FALSE;\n"
                         "colour = \"red\"; lines = [ \"a\", \"b c\" ]; pair = [ 5, 6 ];\n"
                         "group = { anything = 1; };",
                         &box, &sink),
               0);
    EXPECT_STR(told.data, "");
    EXPECT_STR(box.word, "you");
    EXPECT_INT(box.wait_ms, 250);
    EXPECT_INT(box.count, 16);
    EXPECT(!box.on);
    EXPECT_INT(box.colour, 0);
    EXPECT_STR(box.lines, "a\nb c");
    EXPECT_INT(box.pair.a, 5);
    EXPECT_INT(box.pair.b, 6);
    EXPECT_INT(read_text("wait = 7; lines = \"one\"; count = 100L;", &box, &sink), 0);
    EXPECT_INT(box.wait_ms, 7000);
    EXPECT_STR(box.lines, "one");
    EXPECT_INT(box.count, 100);
    EXPECT_STR(box.word, "you"); /* not written: stays */
    EXPECT_INT(read_text("lines = ( \"x\", \"y\" );", &box, &sink), 0);
    EXPECT_STR(box.lines, "x\ny");
    EXPECT_INT(read_text("lines = [ ];", &box, &sink), 0);
    EXPECT_STR(box.lines, "");
}

struct fault_case {
    const char *text;
    const char *told;
};

#define NO_DURATION \
    "must be a duration 100ms .. 24h, written like \"250ms\", \"5s\", \"1m\" or \"2h\"\n"

static const struct fault_case fault_cases[] = {
    /* a type for another */
    {"word = 5;", "1: 'word' is 5, must be a string of 1 .. 8 bytes\n"},
    {"word = true;", "1: 'word' is true, must be a string of 1 .. 8 bytes\n"},
    {"word = { };", "1: 'word' is a group, must be a string of 1 .. 8 bytes\n"},
    {"word = [ \"a\" ];", "1: 'word' is a list, must be a string of 1 .. 8 bytes\n"},
    {"wait = true;", "1: 'wait' is true, " NO_DURATION},
    {"wait = 1.5;", "1: 'wait' is 1.5, " NO_DURATION},
    {"wait = \"soon\";", "1: 'wait' is \"soon\", " NO_DURATION},
    {"wait = \"5 s\";", "1: 'wait' is \"5 s\", " NO_DURATION},
    {"wait = \"\";", "1: 'wait' is \"\", " NO_DURATION},
    {"wait = ( 5 );", "1: 'wait' is a list, " NO_DURATION},
    {"count = \"5\";", "1: 'count' is \"5\", must be a whole number 1 .. 100\n"},
    {"count = 5.0;", "1: 'count' is 5.0, must be a whole number 1 .. 100\n"},
    {"count = 2.5;", "1: 'count' is 2.5, must be a whole number 1 .. 100\n"},
    {"count = false;", "1: 'count' is false, must be a whole number 1 .. 100\n"},
    {"on = 1;", "1: 'on' is 1, must be true or false\n"},
    {"on = \"yes\";", "1: 'on' is \"yes\", must be true or false\n"},
    {"colour = 1;", "1: 'colour' is 1, must be one of \"red\", \"green\"\n"},
    {"colour = \"gren\";", "1: 'colour' is \"gren\", must be one of \"red\", \"green\"\n"},
    {"colour = \"Red\";", "1: 'colour' is \"Red\", must be one of \"red\", \"green\"\n"},
    {"lines = 5;", "1: 'lines' is 5, must be a string or a list of strings\n"},
    {"lines = { };", "1: 'lines' is a group, must be a string or a list of strings\n"},
    {"pair = 5;", "1: 'pair' must be two numbers\n"},
    /* ranges */
    {"word = \"\";", "1: 'word' is empty\n"},
    {"word = \"123456789\";", "1: 'word' is 9 bytes long, must be 1 .. 8 bytes\n"},
    {"wait = \"50ms\";", "1: 'wait' is 50ms, must be 100ms .. 24h\n"},
    {"wait = \"25h\";", "1: 'wait' is 25h, must be 100ms .. 24h\n"},
    {"wait = 0;", "1: 'wait' is 0s, must be 100ms .. 24h\n"},
    {"wait = -1;", "1: 'wait' is -1s, must be 100ms .. 24h\n"},
    {"wait = \"99999999999999999999d\";",
     "1: 'wait' is 99999999999999999999d, must be 100ms .. 24h\n"},
    {"wait = 9223372036854775807L;", "1: 'wait' is 9223372036854775807s, must be 100ms .. 24h\n"},
    {"wait = -9223372036854775807L;", "1: 'wait' is -9223372036854775807s, must be 100ms .. 24h\n"},
    {"count = 0;", "1: 'count' is 0, must be 1 .. 100\n"},
    {"count = 101;", "1: 'count' is 101, must be 1 .. 100\n"},
    {"count = -5;", "1: 'count' is -5, must be 1 .. 100\n"},
    {"count = 5000000000L;", "1: 'count' is 5000000000, must be 1 .. 100\n"},
    /* lists: each element, at its own line */
    {"lines = ( \"a\",\n 5,\n \"\",\n \"12345678901\", \"a\\nb\" );",
     "2: 'lines' is 5, must be a string or a list of strings\n"
     "3: 'lines' is empty\n"
     "4: 'lines' is 11 bytes long, must be 1 .. 10 bytes\n"
     "4: 'lines' must not contain CR, LF or NUL\n"},
    /* names */
    {"wiat = 5;", "1: unknown setting 'wiat', did you mean 'wait'?\n"},
    {"database = 5;", "1: unknown setting 'database'\n"},
    /* all in one go, what is right among them is read */
    {"word = 5;\ncount = 7;\nwait = 0;\nnothing = 1;",
     "1: 'word' is 5, must be a string of 1 .. 8 bytes\n"
     "3: 'wait' is 0s, must be 100ms .. 24h\n"
     "4: unknown setting 'nothing'\n"},
    /* a foreign value is shown printable, and short */
    {"wait = \"\\x1b[31m5s\";", "1: 'wait' is \".[31m5s\", " NO_DURATION},
    {"wait = \"123456789012345678901234567890123456789012345\";",
     "1: 'wait' is \"1234567890123456789012345678901234567...\", " NO_DURATION},
};

TEST(tells_every_fault_and_keeps_what_was_there)
{
    for (size_t i = 0; i < sizeof fault_cases / sizeof fault_cases[0]; i++) {
        struct box box = default_box();
        EXPECT_INT(read_text(fault_cases[i].text, &box, &sink), -EINVAL);
        if (!EXPECT_STR(told.data, fault_cases[i].told))
            printf("# for: %s\n", fault_cases[i].text);
        EXPECT_INT(box.count, strstr(fault_cases[i].text, "count = 7") != NULL ? 7 : 3);
        box.count = 3;
        expect_defaults(&box);
    }
}

TEST(bounds_a_list)
{
    struct box box = default_box();
    struct strbuf text;
    strbuf_init(&text, 1 << 20);
    strbuf_adds(&text, "lines = [ \"0123456789\"");
    for (int i = 1; i < 6000; i++)
        strbuf_adds(&text, ", \"0123456789\"");
    strbuf_adds(&text, " ];");
    EXPECT_INT(read_text(text.data, &box, &sink), -EINVAL);
    EXPECT_STR(told.data, "1: 'lines' is longer than 65536 bytes in all\n");
    EXPECT_STR(box.lines, NULL);
    strbuf_done(&text);
}

static bool know_frob(void *arg, const config_setting_t *setting)
{
    (void)arg;
    return strcmp(config_setting_name(setting), "frob") == 0;
}

TEST(asks_about_unknown_settings)
{
    const struct key_sink asking = {.fault = tell, .unknown = know_frob};
    struct box box = default_box();
    EXPECT_INT(read_text("frob = 1;\nfrobs = 2;", &box, &asking), -EINVAL);
    EXPECT_STR(told.data, "2: unknown setting 'frobs'\n");
}

TEST(reads_tables_together)
{
    static const struct fault_case cases[] = {
        {"word = \"a\"; sent = \"b\";", ""},
        {"word = \"a\"; sent = \"\";", ""},
        {"word = \"a\";", "0: 'sent' is missing\n"},
        {"snet = \"b\";", "1: unknown setting 'snet', did you mean 'sent'?\n"
                          "0: 'sent' is missing\n"},
        {"sent = \"a\\r\\nb\";", "1: 'sent' must not contain CR, LF or NUL\n"},
        {"sent = \"a\\rb\";", "1: 'sent' must not contain CR, LF or NUL\n"},
        {"sent = 5;", "1: 'sent' is 5, must be a string of 0 .. 20 bytes\n"},
    };
    for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++) {
        struct box box = default_box(), other = {0};
        const struct key_target targets[] = {
            {.rows = rows, .base = &box},
            {.rows = more_rows, .base = &box},
            {.rows = rows, .base = &other}, /* knows the same: reads them too */
        };
        config_t settings;
        strbuf_clear(&told);
        config_init(&settings);
        EXPECT(config_read_string(&settings, cases[i].text) == CONFIG_TRUE);
        int err = keys_read(config_root_setting(&settings), targets, 3, region, &sink);
        config_destroy(&settings);
        EXPECT_INT(err, cases[i].told[0] != '\0' ? -EINVAL : 0);
        EXPECT_STR(told.data, cases[i].told);
        if (err == 0)
            EXPECT_STR(other.word, "a");
    }
}

TEST(compares_every_type)
{
    static const char *const texts[] = {
        "word = \"x\";",     "wait = 9;",          "count = 9;",       "on = false;",
        "colour = \"red\";", "lines = [ \"x\" ];", "pair = [ 9, 9 ];",
    };
    for (size_t i = 0; i < sizeof texts / sizeof texts[0]; i++) {
        struct box a = default_box(), b = default_box();
        for (size_t k = 0; rows[k].name != NULL; k++)
            EXPECT(keys_equal(&rows[k], &a, &b));
        EXPECT_INT(read_text(texts[i], &b, &sink), 0);
        for (size_t k = 0; rows[k].name != NULL; k++) {
            EXPECT((k == i) == !keys_equal(&rows[k], &a, &b));
            EXPECT((k == i) == !keys_equal(&rows[k], &b, &a));
        }
    }
}

TEST(describes_every_row)
{
    struct strbuf out;
    strbuf_init(&out, 4096);
    keys_describe(rows, &out);
    keys_describe(more_rows, &out);
    EXPECT_STR(out.data, "word\ta string of 1 .. 8 bytes\thello\tA word.\n"
                         "wait\ta duration 100ms .. 24h\t5s\tA time.\n"
                         "count\ta whole number 1 .. 100\t3\tA number.\n"
                         "on\ttrue or false\ttrue\tA switch.\n"
                         "colour\tone of \"red\", \"green\"\tgreen\tA colour.\n"
                         "lines\ta string or a list of strings\tnone\tSome lines.\n"
                         "pair\tas described\t[1, 2]\tA pair.\n"
                         "group\ta group or a list\tnone\tA group.\n"
                         "sent\ta string of 0 .. 20 bytes\trequired\tWhat goes out.\n");
    strbuf_done(&out);
}

int main(void)
{
    strbuf_init(&told, 65536);
    region = region_new();
    RUN(sets_defaults);
    RUN(reads_every_type);
    RUN(tells_every_fault_and_keeps_what_was_there);
    RUN(bounds_a_list);
    RUN(asks_about_unknown_settings);
    RUN(reads_tables_together);
    RUN(compares_every_type);
    RUN(describes_every_row);
    region_free(region);
    strbuf_done(&told);
    return testing_end();
}
