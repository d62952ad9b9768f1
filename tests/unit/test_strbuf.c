/* strbuf: limits, the sticky error, and what foreign bytes become. */
#include "../testing.h"

#include <healthsvc/strbuf.h>

#include <errno.h>

TEST(starts_empty_without_memory)
{
    struct strbuf b;
    strbuf_init(&b, 100);
    EXPECT_STR(b.data, "");
    EXPECT_INT(b.len, 0);
    EXPECT_INT(b.room, 0);
    strbuf_done(&b);
}

TEST(adds_text_bytes_and_formats)
{
    struct strbuf b;
    strbuf_init(&b, 100000);
    strbuf_adds(&b, "one");
    strbuf_addc(&b, ' ');
    strbuf_addf(&b, "%s=%d", "two", 2);
    strbuf_add(&b, " three!", 6);
    EXPECT_STR(b.data, "one two=2 three");
    for (int i = 0; i < 5000; i++)
        strbuf_adds(&b, "0123456789");
    EXPECT_INT(b.len, 15 + 50000);
    EXPECT_INT(b.data[b.len], 0);
    EXPECT_INT(strbuf_error(&b), 0);
    strbuf_done(&b);
}

TEST(limit_is_exact_and_the_error_sticks)
{
    struct strbuf b;
    strbuf_init(&b, 5);
    strbuf_adds(&b, "12345");
    EXPECT_INT(strbuf_error(&b), 0);
    strbuf_addc(&b, '6');
    EXPECT_INT(strbuf_error(&b), -E2BIG);
    EXPECT_STR(b.data, "12345");
    strbuf_truncate(&b, 0);
    strbuf_adds(&b, "x");
    EXPECT_STR(b.data, "");
    strbuf_clear(&b);
    EXPECT_INT(strbuf_error(&b), 0);
    strbuf_adds(&b, "123");
    strbuf_adds(&b, "456"); /* not even in part */
    EXPECT_STR(b.data, "123");
    EXPECT_INT(strbuf_error(&b), -E2BIG);
    strbuf_done(&b);
}

/* It is formatted into what room there is, and again if that was not enough. */
TEST(formats_what_fits_what_does_not_yet_and_what_never_will)
{
    for (size_t before = 0; before < 140; before++) {
        struct strbuf b;
        strbuf_init(&b, 150);
        for (size_t i = 0; i < before; i++)
            strbuf_addc(&b, '.');
        strbuf_addf(&b, "%s=%d", "number", 12);
        EXPECT_INT(strbuf_error(&b), 0);
        EXPECT_INT(b.len, before + 9);
        EXPECT_STR(b.data + before, "number=12");
        strbuf_addf(&b, "%200s", "");
        EXPECT_INT(strbuf_error(&b), -E2BIG);
        EXPECT_STR(b.data + before, "number=12"); /* nothing of it is left behind */
        strbuf_addf(&b, "%d", 3);
        EXPECT_STR(b.data + before, "number=12");
        strbuf_done(&b);
    }
}

TEST(consumes_and_truncates)
{
    struct strbuf b;
    strbuf_init(&b, 100);
    strbuf_adds(&b, "abcdef");
    strbuf_consume(&b, 2);
    EXPECT_STR(b.data, "cdef");
    strbuf_truncate(&b, 3);
    EXPECT_STR(b.data, "cde");
    strbuf_truncate(&b, 10);
    EXPECT_STR(b.data, "cde");
    strbuf_consume(&b, 3);
    EXPECT_STR(b.data, "");
    strbuf_done(&b);
}

TEST(fits_to_what_it_holds_and_grows_again)
{
    struct strbuf b;
    strbuf_init(&b, 1000);
    strbuf_fit(&b);
    EXPECT_INT(b.room, 0);
    strbuf_adds(&b, "0123456789");
    strbuf_fit(&b);
    EXPECT_INT(b.room, 11);
    EXPECT_STR(b.data, "0123456789");
    strbuf_adds(&b, "abc");
    EXPECT_STR(b.data, "0123456789abc");
    strbuf_done(&b);
}

TEST(take_hands_over_and_empties)
{
    struct strbuf b;
    strbuf_init(&b, 10);
    char *none = strbuf_take(&b);
    EXPECT_STR(none, "");
    free(none);
    strbuf_adds(&b, "mine");
    char *text = strbuf_take(&b);
    EXPECT_STR(text, "mine");
    free(text);
    EXPECT_STR(b.data, "");
    strbuf_adds(&b, "much too long for it");
    EXPECT(strbuf_take(&b) == NULL);
    EXPECT_INT(strbuf_error(&b), 0);
}

static const char *printable(const void *bytes, size_t len, size_t max)
{
    static struct strbuf b;
    strbuf_done(&b);
    strbuf_init(&b, 1000);
    strbuf_add_printable(&b, bytes, len, max);
    return b.data;
}

TEST(wiped_is_as_begun)
{
    struct strbuf b = {0};
    strbuf_wipe(&b); /* never begun */
    strbuf_init(&b, 20);
    strbuf_adds(&b, "secret");
    strbuf_wipe(&b);
    EXPECT_INT(b.len, 0);
    EXPECT_INT(b.room, 0);
    EXPECT_STR(b.data, "");
    strbuf_adds(&b, "another");
    EXPECT_STR(b.data, "another");
    strbuf_wipe(&b);
}

TEST(foreign_bytes_become_printable)
{
    EXPECT_STR(printable("plain text", 10, 100), "plain text");
    EXPECT_STR(printable("a\r\n\x1b[31mb", 9, 100), "a.[31mb");
    EXPECT_STR(printable("\0\xff\x80", 3, 100), ".");
    EXPECT_STR(printable("caf\xc3\xa9", 5, 100), "caf.");
    EXPECT_STR(printable("0123456789", 10, 10), "0123456789");
    EXPECT_STR(printable("0123456789a", 11, 10), "0123456...");
    EXPECT_STR(printable("abc", 3, 2), "..");
    EXPECT_STR(printable("", 0, 10), "");
    (void)printable("", 0, 0);
}

static const char *json(const char *s)
{
    static struct strbuf b;
    strbuf_done(&b);
    strbuf_init(&b, 1000);
    strbuf_add_json(&b, s);
    return b.data;
}

TEST(json_strings_are_escaped)
{
    EXPECT_STR(json("plain"), "\"plain\"");
    EXPECT_STR(json("a\"b\\c"), "\"a\\\"b\\\\c\"");
    EXPECT_STR(json("\n\x01\x7f"), "\"\\u000a\\u0001\\u007f\"");
    EXPECT_STR(json("caf\xc3\xa9 \xf0\x9f\x9a\x91"), "\"caf\xc3\xa9 \xf0\x9f\x9a\x91\"");
}

TEST(json_refuses_bad_utf8)
{
    EXPECT_STR(json("\xff"), "\"\xef\xbf\xbd\"");
    EXPECT_STR(json("\xc0\xaf"), "\"\xef\xbf\xbd\xef\xbf\xbd\"");                 /* overlong */
    EXPECT_STR(json("\xed\xa0\x80"), "\"\xef\xbf\xbd\xef\xbf\xbd\xef\xbf\xbd\""); /* surrogate */
    EXPECT_STR(json("a\xc3"), "\"a\xef\xbf\xbd\"");                               /* cut */
    EXPECT_STR(json("\xf4\x90\x80\x80"),
               "\"\xef\xbf\xbd\xef\xbf\xbd\xef\xbf\xbd\xef\xbf\xbd\""); /* beyond U+10FFFF */
}

int main(void)
{
    RUN(starts_empty_without_memory);
    RUN(adds_text_bytes_and_formats);
    RUN(limit_is_exact_and_the_error_sticks);
    RUN(formats_what_fits_what_does_not_yet_and_what_never_will);
    RUN(consumes_and_truncates);
    RUN(fits_to_what_it_holds_and_grows_again);
    RUN(take_hands_over_and_empties);
    RUN(wiped_is_as_begun);
    RUN(foreign_bytes_become_printable);
    RUN(json_strings_are_escaped);
    RUN(json_refuses_bad_utf8);
    return testing_end();
}
