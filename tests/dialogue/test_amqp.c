/* What a broker of AMQP 0-9-1 says, up to Close-Ok; Connection.Start was recorded from RabbitMQ
 * 3.10.8, the rest follows the specification and what that server was seen to answer. */
#include "transcript.h"

#include <healthsvc/probe.h>

extern const struct scheme scheme_amqp;

#define HEADER "AMQP\0\0\x09\x01"
#define RABBITMQ                                                                       \
    "\001\000\000\000\000\001\354\000\012\000\012\000\011\000\000\001\307\014capabili" \
    "tiesF\000\000\000\307\022publisher_confirmst\001\032exchange_exchange_bindingst"  \
    "\001\012basic.nackt\001\026consumer_cancel_notifyt\001\022connection.blockedt"    \
    "\001\023consumer_prioritiest\001\034authentication_failure_closet\001\020per_con" \
    "sumer_qost\001\017direct_reply_tot\001\014cluster_nameS\000\000\000\005hs@mq\011" \
    "copyrightS\000\000\0007Copyright (c) 2007-2022 VMware, Inc. or its affiliates."   \
    "\013informationS\000\000\0009Licensed under the MPL 2.0. Website: https://rabbit" \
    "mq.com\010platformS\000\000\000\021Erlang/OTP 25.2.3\007productS\000\000\000\010" \
    "RabbitMQ\007versionS\000\000\000\0063.10.8\000\000\000\016PLAIN AMQPLAIN\000\000" \
    "\000\005en_US\316"
/* A frame of a method: its length (4 and the arguments'), class 10 and the method's number. */
#define METHOD(length, number, arguments) "\x01\0\0\0\0\0" length "\0\x0a\0" number arguments "\xce"
#define START                         \
    METHOD("\x1c", "\x0a",            \
           "\0\x09\0\0\0\0\0\0\0\x05" \
           "PLAIN\0\0\0\x05"          \
           "en_US")
#define START_OK                                                                       \
    METHOD("\x65", "\x0b",                                                             \
           "\0\0\0\x47\x0c"                                                            \
           "capabilitiesF\0\0\0\x1f\x1c"                                               \
           "authentication_failure_closet\x01\x07productS\0\0\0\x09healthsvc\x05PLAIN" \
           "\0\0\0\x06\0me\0pw\x05"                                                    \
           "en_US")
#define TUNE METHOD("\x0c", "\x1e", "\x07\xff\0\2\0\0\0\x3c")
#define TUNE_OK METHOD("\x0c", "\x1f", "\0\1\0\0\x10\0\0\0")
#define OPEN METHOD("\x08", "\x28", "\x01/\0\0")
#define OPEN_OK METHOD("\x05", "\x29", "\0")
#define CLOSE METHOD("\x0b", "\x32", "\0\xc8\0\0\0\0\0")
#define CLOSE_OK METHOD("\x04", "\x33", "")
#define CLOSED_WITH(code, words) METHOD("\x0f", "\x32", code "\x04" words "\0\0\0\0")

#define END(id, says) .outcome = OUTCOME_##id, .text = (says)
#define BAD(says) .outcome = OUTCOME_BAD_REPLY, .text = (says)
#define NOT_NEXT "not the method that comes next in AMQP 0-9-1"
#define NOT_FRAME "not a frame of AMQP 0-9-1"
#define NOT_START "not a Connection.Start of AMQP 0-9-1"
#define AS_ME .user = "me", .secret = "pw"

static const struct transcript rows[] = {
    {.name = "without a user", .reply = BYTES(RABBITMQ), .outcome = OUTCOME_OK, SENT(HEADER)},
    {.name = "with one",
     AS_ME,
     .reply = BYTES(RABBITMQ TUNE OPEN_OK CLOSE_OK),
     .outcome = OUTCOME_OK,
     SENT(HEADER START_OK TUNE_OK OPEN CLOSE)},
    {.name = "another virtual host",
     AS_ME,
     .settings = "vhost = \"trips\";",
     .reply = BYTES(START TUNE),
     .waits = true,
     SENT(HEADER START_OK TUNE_OK METHOD("\x0c", "\x28", "\x05trips\0\0"))},
    {.name = "the login refused",
     AS_ME,
     .reply = BYTES(START CLOSED_WITH("\x01\x93", "none")),
     END(LOGIN_FAILED, "none"),
     SENT(HEADER START_OK CLOSE_OK)},
    {.name = "the login refused by closing",
     AS_ME,
     .reply = BYTES(START),
     .eof = true,
     .outcome = OUTCOME_LOGIN_FAILED},
    {.name = "no such virtual host",
     AS_ME,
     .reply = BYTES(START TUNE CLOSED_WITH("\x02\x12", "none")),
     END(REFUSED, "none"),
     SENT(HEADER START_OK TUNE_OK OPEN CLOSE_OK)},
    {.name = "the virtual host is down",
     AS_ME,
     .reply = BYTES(START TUNE CLOSED_WITH("\x02\x1d", "down")),
     END(NOT_SERVING, "down")},
    {.name = "closed by an operator",
     AS_ME,
     .reply = BYTES(START TUNE CLOSED_WITH("\x01\x40", "bye!")),
     END(STOPPING, "bye!")},

    {.name = "another protocol",
     .reply = BYTES("AMQP\0\x01\0\0"),
     BAD("the server speaks AMQP 1-0-0, not 0-9-1")},
    {.name = "almost a header", .reply = BYTES("ACKNOWLE"), BAD("not an answer in AMQP")},
    {.name = "an HTTP server", .reply = BYTES("HTTP/1.1 400 Bad Request\r\n"), BAD(NOT_FRAME)},
    {.name = "a heartbeat first", .reply = BYTES("\x08\0\0\0\0\0\0\xce"), BAD(NOT_FRAME)},
    {.name = "a channel", .reply = BYTES("\x01\0\x01\0\0\0\x04"), BAD(NOT_FRAME)},
    {.name = "a frame of 4 GB", .reply = BYTES("\x01\0\0\xff\xff\xff\xff"), BAD(NOT_FRAME)},
    {.name = "a frame without its end",
     .reply = BYTES("\x01\0\0\0\0\0\x04\0\x0a\0\x0a\0"),
     BAD("a frame of AMQP without its end")},
    {.name = "a frame without a method", .reply = BYTES("\x01\0\0\0\0\0\0\xce"), BAD(NOT_NEXT)},
    {.name = "another class", .reply = BYTES("\x01\0\0\0\0\0\x04\0\x14\0\x0a\xce"), BAD(NOT_NEXT)},
    {.name = "Tune before Start", .reply = BYTES(TUNE), BAD(NOT_NEXT)},
    {.name = "Close before Start", .reply = BYTES(CLOSED_WITH("\0\xc8", "what")), BAD(NOT_NEXT)},
    {.name = "Start twice", AS_ME, .reply = BYTES(START START), BAD(NOT_NEXT)},
    {.name = "Start of 0-8", .reply = BYTES(METHOD("\x06", "\x0a", "\0\x08")), BAD(NOT_START)},
    {.name = "Start with a table beyond its frame",
     .reply = BYTES(METHOD("\x0a", "\x0a", "\0\x09\xff\xff\xff\xff")),
     BAD(NOT_START)},
    {.name = "Close with words beyond its frame",
     AS_ME,
     .reply = BYTES(START METHOD("\x07", "\x32", "\x01\x40\x09")),
     BAD("not a valid Connection.Close")},

    {.name = "silence", .waits = true, SENT(HEADER)},
    {.name = "closed at once", .eof = true, .outcome = OUTCOME_CLOSED},
    {.name = "closed within Tune",
     AS_ME,
     .reply = BYTES(START "\x01\0"),
     .eof = true,
     .outcome = OUTCOME_CLOSED},
    {.name = "a user without a password",
     .user = "me",
     .fault = "'user': a login needs 'user' and a password ('password_file' or another)"},
};

int main(void)
{
    transcripts_run(&scheme_amqp, rows, sizeof rows / sizeof rows[0]);
    return testing_end();
}
