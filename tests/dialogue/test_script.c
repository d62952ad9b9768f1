/* The scripts of tcp and tls: what they say, and what servers say to them. */
#include "transcript.h"

#include <healthsvc/probe.h>

extern const struct scheme scheme_tcp, scheme_tls;

#define A10 "aaaaaaaaaa"
#define A80 A10 A10 A10 A10 A10 A10 A10 A10

#define GOOD .outcome = OUTCOME_OK
#define WRONG(says) .outcome = OUTCOME_WRONG_ANSWER, .text = (says)
#define BAD(says) .outcome = OUTCOME_BAD_REPLY, .text = (says)
#define CUT(says) .outcome = OUTCOME_CLOSED, .text = (says)

#define REDIS "script = ( \"send_line PING\", \"expect +PONG\" );"
#define SMTP                                                                     \
    "script = ( \"expect 220\", \"send_line EHLO me\", \"expect_match ^250 \", " \
    "\"send_line QUIT\" );"
#define STARTTLS                                                                        \
    "script = ( \"expect 220\", \"send_line STARTTLS\", \"expect 220\", \"starttls\", " \
    "\"send_line EHLO me\", \"expect_match ^250 \" );"
#define MATCH "script = ( \"expect_match ^b+$\" );"

static const struct transcript texts[] = {
    {.name = "redis answers",
     .settings = REDIS,
     .reply = BYTES("+PONG\r\n"),
     GOOD,
     .sent = "PING\r\n"},
    {.name = "a beginning is enough", .settings = REDIS, .reply = BYTES("+PONG"), GOOD},
    {.name = "redis wants a password",
     .settings = REDIS,
     .reply = BYTES("-NOAUTH Authentication required.\r\n"),
     WRONG("step 2: expected \"+PONG\", got \"-NOAUTH Authentication required.\"")},
    {.name = "a wrong line is waited for to its end",
     .settings = REDIS,
     .reply = BYTES("-NOAUTH"),
     .waits = true},
    {.name = "a wrong line that ends with the connection",
     .settings = REDIS,
     .reply = BYTES("-NOAUTH"),
     .eof = true,
     WRONG("step 2: expected \"+PONG\", got \"-NOAUTH\"")},
    {.name = "a line that is too short",
     .settings = REDIS,
     .reply = BYTES("+PO\r\n"),
     WRONG("step 2: expected \"+PONG\", got \"+PO\"")},
    {.name = "an empty line",
     .settings = REDIS,
     .reply = BYTES("\n"),
     WRONG("step 2: expected \"+PONG\", got \"\"")},
    {.name = "the beginning of the right line",
     .settings = REDIS,
     .reply = BYTES("+PO"),
     .eof = true,
     WRONG("step 2: expected \"+PONG\", got \"+PO\"")},
    {.name = "nothing", .settings = REDIS, .eof = true, CUT("step 2: connection closed")},
    {.name = "a wrong line without end",
     .settings = REDIS,
     .unit = A10,
     .times = 50,
     WRONG("step 2: expected \"+PONG\", got \"" A10 A10 A10 A10 A10 A10 A10 "aaaaaaa...\"")},
    {.name = "a wrong line of 80 bytes is shown whole",
     .settings = REDIS,
     .reply = BYTES(A80 "\r\n"),
     WRONG("step 2: expected \"+PONG\", got \"" A80 "\"")},
    {.name = "garbage is shown printable",
     .settings = REDIS,
     .reply = BYTES("\x1b[2J\0\xff\x80z\n"),
     WRONG("step 2: expected \"+PONG\", got \".[2J.z\"")},
    {.name = "garbage in a long line is shown as far as it is waited for",
     .settings = REDIS,
     .reply = BYTES("-\xff"),
     .unit = "\xff\xff\xff\xff",
     .times = 30,
     .tail = BYTES("z\n"),
     WRONG("step 2: expected \"+PONG\", got \"-.\"")},
    {.name = "smtp, in several lines",
     .settings = SMTP,
     .reply = BYTES("220 mail.example ESMTP\r\n250-mail.example\r\n250-PIPELINING\r\n250 OK\r\n"),
     GOOD,
     .sent = "EHLO me\r\nQUIT\r\n"},
    {.name = "smtp, full",
     .settings = SMTP,
     .reply = BYTES("421 too many connections\r\n"),
     .eof = true,
     WRONG("step 1: expected \"220\", got \"421 too many connections\"")},
    {.name = "smtp, closed in the middle",
     .settings = SMTP,
     .reply = BYTES("220 mail.example ESMTP\r\n250-mail.example\r\n250-PIPE"),
     .eof = true,
     CUT("step 3: connection closed")},
    {.name = "the rest of a line is passed over",
     .settings = "script = ( \"expect a\", \"expect b\", \"expect c\" );",
     .reply = BYTES("a b c\nb\r\nc"),
     GOOD},
    {.name = "escapes",
     .settings =
         "script = ( \"send a\\\\r\\\\n\\\\t\\\\\\\\\\\\x41\\\\x7a\", \"expect \\\\x4fK\" );",
     .reply = BYTES("OK\n"),
     GOOD,
     .sent = "a\r\n\t\\Az"},
    {.name = "only to send", .settings = "script = \"send_line bye\";", GOOD, .sent = "bye\r\n"},
};

static const struct transcript matches[] = {
    {.name = "the first line", .settings = MATCH, .reply = BYTES("bbb\r\n"), GOOD},
    {.name = "a later line", .settings = MATCH, .reply = BYTES("a\n\nab\nbb\n"), GOOD},
    {.name = "the last line, without an end",
     .settings = MATCH,
     .reply = BYTES("a\nbb"),
     .eof = true,
     GOOD},
    {.name = "a line is waited for to its end",
     .settings = MATCH,
     .reply = BYTES("a\nbb"),
     .waits = true},
    {.name = "none",
     .settings = MATCH,
     .reply = BYTES("a\nab\nc"),
     .eof = true,
     CUT("step 1: connection closed")},
    {.name = "4,096 bytes a line",
     .settings = MATCH,
     .unit = "bbbbbbbb",
     .times = 512,
     .tail = BYTES("\r\n"),
     GOOD},
    {.name = "4,097 bytes a line",
     .settings = MATCH,
     .unit = "bbbbbbbb",
     .times = 512,
     .tail = BYTES("b\n"),
     BAD("step 1: line longer than 4 KB")},
    {.name = "a line without end",
     .settings = MATCH,
     .unit = A80,
     .times = 200,
     BAD("step 1: line longer than 4 KB")},
    {.name = "256 lines",
     .settings = MATCH,
     .unit = "a\n",
     .times = 255,
     .tail = BYTES("b\n"),
     GOOD},
    {.name = "257 lines",
     .settings = MATCH,
     .unit = "a\n",
     .times = 257,
     BAD("step 1: more than 256 lines")},
    {.name = "a catastrophic pattern, line after line",
     .settings = "script = ( \"expect_match ^(a+)+$\" );",
     .unit = "aaaaaaaaaaaaaaaab\n",
     .times = 250,
     WRONG("step 1: the pattern backtracks too much, or cannot be used on this line")},
    {.name = "a catastrophic pattern",
     .settings = "script = ( \"expect_match ^(a+)+$\" );",
     .reply = BYTES(A80 A80 A80 "b\n"),
     WRONG("step 1: the pattern backtracks too much, or cannot be used on this line")},
};

static const struct transcript bytes[] = {
    {.name = "memcached's binary no-op",
     .settings = "script = ( \"send_hex 80 0a0000 00\", \"expect_hex 81 0a 00 00\" );",
     .reply = BYTES("\x81\x0a\0\0\0\0"),
     GOOD},
    {.name = "another byte",
     .settings = "script = ( \"send_hex 80\", \"expect_hex 81 0a\" );",
     .reply = BYTES("\x81\x0b"),
     WRONG("step 2: byte 2 is 0x0b, expected 0x0a")},
    {.name = "too few",
     .settings = "script = ( \"send_hex 80\", \"expect_hex 81 0A\" );",
     .reply = BYTES("\x81"),
     .eof = true,
     CUT("step 2: connection closed")},
    {.name = "bytes behind bytes",
     .settings = "script = ( \"expect_hex 00\", \"expect_hex 01 02\", \"expect_hex ff\" );",
     .reply = BYTES("\0\x01\x02\xff"),
     GOOD},
    {.name = "bytes behind a line",
     .settings = "script = ( \"expect ok\", \"expect_hex 01\" );",
     .reply = BYTES("ok then\n\x01"),
     GOOD},
};

static const struct transcript starttls[] = {
    {.name = "starttls",
     .settings = STARTTLS,
     .reply = BYTES("220 mail\r\n220 go ahead\r\n"),
     .secured = BYTES("250-mail\r\n250 OK\r\n"),
     GOOD,
     .sent = "STARTTLS\r\n[TLS]EHLO me\r\n"},
    {.name = "starttls refused",
     .settings = STARTTLS,
     .reply = BYTES("220 mail\r\n454 not now\r\n"),
     WRONG("step 3: expected \"220\", got \"454 not now\""),
     .sent = "STARTTLS\r\n"},
    {.name = "the go-ahead is waited for to its end",
     .settings = STARTTLS,
     .reply = BYTES("220 mail\r\n220 go ahead\r"),
     .waits = true},
    {.name = "closed instead of TLS",
     .settings = STARTTLS,
     .reply = BYTES("220 mail\r\n220 go ahead"),
     .eof = true,
     CUT("step 4: connection closed")},
    {.name = "wrong inside TLS",
     .settings = STARTTLS,
     .reply = BYTES("220 mail\r\n220 go ahead\r\n"),
     .secured = BYTES("250-mail\r\n"),
     .eof = true,
     CUT("step 6: connection closed")},
};

#define FAULT(says) .fault = "'script': step " says
#define WORDS " is none of send, send_line, send_hex, expect, expect_match, expect_hex, starttls"

static const struct transcript faults[] = {
    {.name = "an unknown word", .settings = "script = \"say hi\";", FAULT("1: say" WORDS)},
    {.name = "no word", .settings = "script = ( \"send a\", \" b\" );", FAULT("2: " WORDS)},
    {.name = "nothing to send",
     .settings = "script = \"send \";",
     FAULT("1: nothing follows its word")},
    {.name = "nothing to expect",
     .settings = "script = \"expect\";",
     FAULT("1: nothing follows its word")},
    {.name = "an unknown escape",
     .settings = "script = \"send a\\\\q\";",
     FAULT("1: an escape that is none of \\r \\n \\t \\\\ \\xHH")},
    {.name = "half an escape",
     .settings = "script = \"send a\\\\x4\";",
     FAULT("1: an escape that is none of \\r \\n \\t \\\\ \\xHH")},
    {.name = "a backslash at the end",
     .settings = "script = \"send a\\\\\";",
     FAULT("1: an escape that is none of \\r \\n \\t \\\\ \\xHH")},
    {.name = "half a byte",
     .settings = "script = \"send_hex 0a 1\";",
     FAULT("1: bytes are two hexadecimal digits each")},
    {.name = "a line with a line end in it",
     .settings = "script = \"expect a\\\\nb\";",
     FAULT("1: a line cannot hold a line end")},
    {.name = "a bad pattern",
     .settings = "script = \"expect_match a(b\";",
     FAULT("1: missing closing parenthesis, at offset 3")},
    {.name = "starttls twice",
     .settings = "script = ( \"starttls\", \"send_line a\", \"starttls\" );",
     FAULT("3: starttls can come once only")},
    {.name = "starttls with an argument",
     .settings = "script = \"starttls now\";",
     FAULT("1: nothing may follow starttls")},
    {.name = "a line end in a step",
     .settings = "script = \"send a\\r\\n\";",
     .fault = "'script' must not contain CR, LF or NUL"},
};

static int feed_starttls(const char *clear, struct transcript_end *ret_end)
{
    const struct transcript t = {.settings = STARTTLS};
    const struct transcript_bytes none = {NULL, 0}, said = {clear, strlen(clear)};
    struct target_conf conf;
    struct strbuf why;
    strbuf_init(&why, 200);
    int r = transcript_prepare(&scheme_tcp, &t, &conf, &why);
    if (r == 0)
        transcript_feed(&conf, said, none, TRANSCRIPT_WHOLE, false, ret_end);
    transcript_release(&conf);
    strbuf_done(&why);
    return r;
}

TEST(bytes_in_clear_behind_the_go_ahead_are_an_attack)
{
    struct transcript_end end;
    if (!EXPECT_INT(feed_starttls("220 mail\r\n220 go ahead\r\n250 OK\r\n", &end), 0))
        return;
    EXPECT_INT(end.step, DLG_DONE);
    EXPECT_INT(end.result.outcome, OUTCOME_BAD_REPLY);
    EXPECT_STR(end.result.text, "step 4: bytes in clear behind the go-ahead for TLS");
    strbuf_done(&end.sent);
}

TEST(a_scheme_of_tls_does_not_turn_to_it)
{
    const struct transcript t = {
        .settings = "script = \"starttls\";",
        .fault = "'script': step 1: this scheme speaks TLS from the first byte"};
    EXPECT_STR(transcript_play(&scheme_tls, &t), NULL);
}

TEST(too_many_steps_are_refused)
{
    struct strbuf text;
    strbuf_init(&text, 4096);
    strbuf_adds(&text, "script = ( \"send a\"");
    for (int i = 0; i < 64; i++)
        strbuf_adds(&text, ", \"send a\"");
    strbuf_adds(&text, " );");
    const struct transcript t = {.settings = text.data,
                                 .fault = "'script': has more than 64 steps"};
    EXPECT_STR(transcript_play(&scheme_tcp, &t), NULL);
    strbuf_done(&text);
}

TEST(tls_is_wanted_only_by_a_script_that_turns_to_it)
{
    static const struct {
        const char *settings;
        bool speaks, wants_tls;
    } cases[] = {{NULL, false, false}, {REDIS, true, false}, {STARTTLS, true, true}};
    for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++) {
        const struct transcript t = {.settings = cases[i].settings};
        struct target_conf conf;
        struct strbuf why;
        strbuf_init(&why, 200);
        EXPECT_INT(transcript_prepare(&scheme_tcp, &t, &conf, &why), 0);
        EXPECT_INT(scheme_tcp.dialogue->speaks(&conf), cases[i].speaks);
        EXPECT_INT(scheme_tcp.wants_tls(&conf), cases[i].wants_tls);
        transcript_release(&conf);
        strbuf_done(&why);
    }
}

#define RUN_ROWS(rows) transcripts_run(&scheme_tcp, rows, sizeof(rows) / sizeof(rows)[0])

int main(void)
{
    RUN_ROWS(texts);
    RUN_ROWS(matches);
    RUN_ROWS(bytes);
    RUN_ROWS(starttls);
    RUN_ROWS(faults);
    RUN(bytes_in_clear_behind_the_go_ahead_are_an_attack);
    RUN(a_scheme_of_tls_does_not_turn_to_it);
    RUN(too_many_steps_are_refused);
    RUN(tls_is_wanted_only_by_a_script_that_turns_to_it);
    return testing_end();
}
