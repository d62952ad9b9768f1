/* Gathering, reading and writing binary messages, at and beyond every bound. */
#include "../testing.h"
#include "probe/bytes.h"

#include <healthsvc/strbuf.h>

TEST(a_message_is_gathered_from_pieces)
{
    static struct bytes_held held;
    const uint8_t *in = (const uint8_t *)"abcdef";
    size_t len = 2;
    EXPECT(!bytes_gather(&held, 3, &in, &len));
    EXPECT_INT(len, 0);
    len = 4;
    EXPECT(bytes_gather(&held, 3, &in, &len));
    EXPECT_INT(len, 3); /* what belongs to the next one stays */
    EXPECT_INT(*in, 'd');
    EXPECT_INT(memcmp(held.at, "abc", 3), 0);
    EXPECT(bytes_gather(&held, 2, &in, &len)); /* held already */
    EXPECT_INT(len, 3);
}

TEST(the_longest_message_fits)
{
    static struct bytes_held held;
    static uint8_t many[BYTES_HELD_MAX + 1];
    const uint8_t *in = many;
    size_t len = sizeof many;
    EXPECT(bytes_gather(&held, BYTES_HELD_MAX, &in, &len));
    EXPECT_INT(len, 1);
}

TEST(numbers_are_read_in_both_orders)
{
    static const uint8_t bytes[] = {1, 2, 3, 0xff, 4, 5, 6, 0xfe, 7, 8, 9, 10, 11};
    struct bytes b = bytes_of(bytes, sizeof bytes);
    EXPECT_INT(bytes_be16(&b), 0x0102);
    EXPECT_INT(bytes_le16(&b), 0xff03);
    EXPECT_INT(bytes_be32(&b), 0x040506fe);
    EXPECT_INT(bytes_le32(&b), 0x0a090807);
    EXPECT_INT(bytes_u8(&b), 11);
    EXPECT_INT(b.left, 0);
    EXPECT(!b.failed);
}

TEST(reading_past_the_end_sticks)
{
    static const uint8_t bytes[] = {1, 2, 3};
    struct bytes b = bytes_of(bytes, sizeof bytes);
    EXPECT_INT(bytes_be32(&b), 0);
    EXPECT(b.failed);
    EXPECT_INT(bytes_u8(&b), 0); /* though there are some */
    EXPECT(bytes_take(&b, 0) == NULL);
    EXPECT(bytes_text(&b) == NULL);
}

TEST(a_length_near_the_greatest_does_not_wrap)
{
    struct bytes b = bytes_of("ab", 2);
    EXPECT(bytes_take(&b, SIZE_MAX) == NULL);
    EXPECT(b.failed);
}

TEST(a_text_ends_within_what_is_left)
{
    struct bytes b = bytes_of("one\0two", 7);
    const char *text = bytes_text(&b);
    EXPECT_STR(text, "one");
    EXPECT_INT(b.left, 3);
    EXPECT(bytes_text(&b) == NULL); /* no NUL */
    EXPECT(b.failed);
    b = bytes_of("", 0);
    EXPECT(bytes_text(&b) == NULL);
}

TEST(numbers_are_written)
{
    struct strbuf out;
    strbuf_init(&out, 100);
    bytes_add_be16(&out, 0x0102);
    bytes_add_be32(&out, 0);
    bytes_add_le32(&out, 0x03040506);
    bytes_put_be32(&out, 2, 0xa1b2c3d4);
    EXPECT_INT(out.len, 10);
    EXPECT_INT(memcmp(out.data, "\x01\x02\xa1\xb2\xc3\xd4\x06\x05\x04\x03", 10), 0);
    strbuf_done(&out);
}

TEST(a_buffer_that_failed_is_not_written_to)
{
    struct strbuf out;
    strbuf_init(&out, 3);
    bytes_add_be32(&out, 1);
    bytes_add_be32(&out, 1);
    bytes_put_be32(&out, 0, 7);
    EXPECT(strbuf_error(&out) != 0);
    strbuf_done(&out);
}

TEST(the_peers_words_are_printable_and_short)
{
    struct dlg_result ret = {.outcome = OUTCOME_OK};
    char said[400];
    memset(said, 'x', sizeof said);
    said[0] = '\n';
    EXPECT_INT(bytes_end_said(&ret, OUTCOME_REFUSED, "it says: ", said, sizeof said), DLG_DONE);
    EXPECT_INT(ret.outcome, OUTCOME_REFUSED);
    EXPECT_INT(strlen(ret.text), 9 + 120);
    EXPECT_INT(strncmp(ret.text, "it says: .xxx", 13), 0);
}

int main(void)
{
    RUN(a_message_is_gathered_from_pieces);
    RUN(the_longest_message_fits);
    RUN(numbers_are_read_in_both_orders);
    RUN(reading_past_the_end_sticks);
    RUN(a_length_near_the_greatest_does_not_wrap);
    RUN(a_text_ends_within_what_is_left);
    RUN(numbers_are_written);
    RUN(a_buffer_that_failed_is_not_written_to);
    RUN(the_peers_words_are_printable_and_short);
    return testing_end();
}
