/* What an MQTT broker says to CONNECT and PINGREQ; recorded from mosquitto 2.0.11. */
#include "transcript.h"

#include <healthsvc/probe.h>

extern const struct scheme scheme_mqtt;

#define CONNECT "\x10\x0c\0\x04MQTT\x04\x02\0\x3c\0\0"
#define CONNACK(code) "\x20\x02\0" code
#define PINGREQ "\xc0\0"
#define PINGRESP "\xd0\0"
#define DISCONNECT "\xe0\0"

#define GOOD(says) .outcome = OUTCOME_OK, .text = (says)
#define END(id, says) .outcome = OUTCOME_##id, .text = (says)
#define BAD(says) .outcome = OUTCOME_BAD_REPLY, .text = (says)
#define NOT_MQTT "not a CONNACK of MQTT 3.1.1"
#define A60 "aaaaaaaaaabbbbbbbbbbccccccccccddddddddddeeeeeeeeeeffffffffff"

static const struct transcript rows[] = {
    {.name = "mosquitto",
     .reply = BYTES(CONNACK("\0") PINGRESP),
     GOOD(NULL),
     SENT(CONNECT PINGREQ DISCONNECT)},
    {.name = "a session that was present", .reply = BYTES("\x20\x02\x01\0" PINGRESP), GOOD(NULL)},
    {.name = "a client id, a user and a password",
     .settings = "client_id = \"one\";",
     .user = "me",
     .secret = "pw",
     .reply = BYTES(CONNACK("\0") PINGRESP),
     GOOD(NULL),
     SENT("\x10\x17\0\x04MQTT\x04\xc2\0\x3c\0\3one\0\2me\0\2pw" PINGREQ DISCONNECT)},
    {.name = "a long request has a length of two bytes",
     .settings = "client_id = \"" A60 A60 "\";",
     .reply = BYTES(CONNACK("\0")),
     .waits = true,
     SENT("\x10\x84\x01\0\x04MQTT\x04\x02\0\x3c\0\x78" A60 A60 PINGREQ)},
    {.name = "authentication wanted: alive",
     .reply = BYTES(CONNACK("\x05")),
     GOOD("alive, authentication required"),
     SENT(CONNECT)},
    {.name = "a login refused",
     .user = "me",
     .reply = BYTES(CONNACK("\x04")),
     END(LOGIN_FAILED, "the broker refuses the login")},
    {.name = "another version",
     .reply = BYTES(CONNACK("\x01")),
     END(REFUSED, "the broker does not speak MQTT 3.1.1")},
    {.name = "the client id refused",
     .reply = BYTES(CONNACK("\x02")),
     END(REFUSED, "the broker refuses the client id")},
    {.name = "unavailable",
     .reply = BYTES(CONNACK("\x03")),
     END(NOT_SERVING, "the broker says it is unavailable")},
    {.name = "an unknown code",
     .reply = BYTES(CONNACK("\x06")),
     BAD("not a known code in CONNACK")},
    {.name = "CONNACK of MQTT 5", .reply = BYTES("\x20\x03\0\x84\0"), BAD(NOT_MQTT)},
    {.name = "an HTTP server", .reply = BYTES("HTTP/1.1 400 Bad Request\r\n"), BAD(NOT_MQTT)},
    {.name = "no PINGRESP", .reply = BYTES(CONNACK("\0") CONNACK("\0")), BAD("not a PINGRESP")},
    {.name = "a PINGRESP with a body",
     .reply = BYTES(CONNACK("\0") "\xd0\x01"),
     BAD("not a PINGRESP")},
    {.name = "connected, then silence",
     .reply = BYTES(CONNACK("\0")),
     .waits = true,
     SENT(CONNECT PINGREQ)},
    {.name = "silence", .waits = true, SENT(CONNECT)},
    {.name = "closed at once", .eof = true, .outcome = OUTCOME_CLOSED},
    {.name = "closed before PINGRESP",
     .reply = BYTES(CONNACK("\0") "\xd0"),
     .eof = true,
     .outcome = OUTCOME_CLOSED},
    {.name = "a password without a user", .secret = "pw", .fault = "'user': a password needs one"},
};

int main(void)
{
    transcripts_run(&scheme_mqtt, rows, sizeof rows / sizeof rows[0]);
    return testing_end();
}
