/* What php-fpm and other FastCGI servers answer; recorded from php-fpm 8.2. */
#include "transcript.h"

#include <healthsvc/probe.h>

extern const struct scheme scheme_fastcgi;

#define ASK "\x01\x09\0\0\0\x11\0\0\x0f\0FCGI_MPXS_CONNS"
#define VALUES                         \
    "\x01\x0a\0\0\0\x12\x06\0\x0f\x01" \
    "FCGI_MPXS_CONNS0\0\0\0\0\0\0"
#define STDOUT(length, text) "\x01\x06\0\x01\0" length "\0\0" text
#define STDERR(length, text) "\x01\x07\0\x01\0" length "\0\0" text
#define NO_MORE_OUTPUT STDOUT("\0", "")
#define FINISHED(how) "\x01\x03\0\x01\0\x08\0\0\0\0\0\0" how "\0\0\0"
#define PONG STDOUT("\x14", "X-A: b\r\nC: d\r\n\r\npong") NO_MORE_OUTPUT FINISHED("\0")
#define PARAM(name_length, value_length, pair) name_length "\x80\0\0" value_length pair
#define RUN_PING                                                                                \
    "\x01\x01\0\x01\0\x08\0\0\0\x01\0\0\0\0\0\0"                                                \
    "\x01\x04\0\x01\0\xc7\0\0" PARAM("\x0f", "\x05", "SCRIPT_FILENAME/ping") PARAM(             \
        "\x0b", "\x05", "SCRIPT_NAME/ping") PARAM("\x11", "\x07", "GATEWAY_INTERFACECGI/1.1")   \
        PARAM("\x0f", "\x08", "SERVER_PROTOCOLHTTP/1.1") PARAM("\x0f", "\x09",                  \
                                                               "SERVER_SOFTWAREhealthsvc")      \
            PARAM("\x0e", "\x03", "REQUEST_METHODGET") PARAM("\x0c", "\x03", "QUERY_STRINGa=b") \
                PARAM("\x0b", "\x09",                                                           \
                      "REQUEST_URI/ping?a=b") "\x01\x04\0\x01\0\0\0\0\x01\x05\0\x01\0\0\0\0"

#define GOOD(status) .outcome = OUTCOME_OK, .http_status = (status)
#define STATUS(status, says) .outcome = OUTCOME_HTTP_STATUS, .http_status = (status), .text = (says)
#define END(id, says) .outcome = OUTCOME_##id, .text = (says)
#define BAD(says) .outcome = OUTCOME_BAD_REPLY, .text = (says)
#define NOT_RECORD "not a record of FastCGI"
#define LIBRARY .path = "/"
#define PING .path = "/ping"

static const struct transcript rows[] = {
    {.name = "the library answers",
     LIBRARY,
     .reply = BYTES(VALUES),
     .outcome = OUTCOME_OK,
     SENT(ASK)},
    {.name = "php-fpm's ping",
     .path = "/ping?a=b",
     .reply = BYTES(PONG),
     GOOD(200),
     SENT(RUN_PING)},
    {.name = "a status of its own",
     PING,
     .reply = BYTES(STDOUT("\x19", "Status: 204 No Content\r\n\n") FINISHED("\0")),
     GOOD(204)},
    {.name = "a status that is not good",
     PING,
     .reply = BYTES(STDOUT("\x17", "A: b\nstatus:503 No\n\nabc") NO_MORE_OUTPUT FINISHED("\0")),
     STATUS(503, "HTTP 503")},
    {.name = "one that is expected",
     PING,
     .settings = "expect_status = 503;",
     .reply = BYTES(STDOUT("\x0d", "Status: 503\n\n") FINISHED("\0")),
     GOOD(503)},
    {.name = "headers in two records, complaints between, padding",
     PING,
     .reply = BYTES(STDOUT("\x08", "Status: ") STDERR("\x03", "oh!") "\x01\x06\0\x01\0\x05\x03\0"
                                                                     "404\n\nabc" FINISHED("\0")),
     STATUS(404, "HTTP 404")},
    {.name = "a long page",
     PING,
     .reply = BYTES("\x01\x06\0\x01\xff\xff\x01\0\n"),
     .unit = "aaaaaaaaaaaaaaaa",
     .times = 4095,
     .tail = BYTES("bbbbbbbbbbbbbbb" FINISHED("\0")),
     GOOD(200)},
    {.name = "headers that never end",
     PING,
     .reply = BYTES("\x01\x06\0\x01\x20\0\0\0"),
     .unit = "aaaaaaaaaaaaaaaa",
     .times = 512,
     .tail = BYTES(FINISHED("\0")),
     BAD("the script's headers have no end")},
    {.name = "overloaded",
     PING,
     .reply = BYTES(FINISHED("\x02")),
     END(OVERLOADED, "the application takes no more requests")},
    {.name = "one request at a time",
     PING,
     .reply = BYTES(FINISHED("\x01")),
     END(OVERLOADED, "the application takes no more requests")},
    {.name = "an authorizer",
     PING,
     .reply = BYTES(FINISHED("\x03")),
     END(UNIMPLEMENTED, "the application is no responder")},

    {.name = "an HTTP server",
     PING,
     .reply = BYTES("HTTP/1.1 400 Bad Request\r\n"),
     BAD(NOT_RECORD)},
    {.name = "another version", LIBRARY, .reply = BYTES("\x02\x0a\0\0\0\0\0\0"), BAD(NOT_RECORD)},
    {.name = "values that were not asked for", PING, .reply = BYTES(VALUES), BAD(NOT_RECORD)},
    {.name = "output that was not asked for", LIBRARY, .reply = BYTES(PONG), BAD(NOT_RECORD)},
    {.name = "another request's", PING, .reply = BYTES("\x01\x06\0\x02\0\0\0\0"), BAD(NOT_RECORD)},
    {.name = "an end of 64 KB",
     PING,
     .reply = BYTES("\x01\x03\0\x01\xff\xff\0\0"),
     BAD(NOT_RECORD)},
    {.name = "an empty end",
     PING,
     .reply = BYTES("\x01\x03\0\x01\0\0\0\0"),
     BAD("not a valid end of a FastCGI request")},
    {.name = "an unknown end",
     PING,
     .reply = BYTES(FINISHED("\x04")),
     BAD("not a valid end of a FastCGI request")},
    {.name = "no output at all",
     PING,
     .reply = BYTES(NO_MORE_OUTPUT FINISHED("\0")),
     BAD("the script's headers have no end")},
    {.name = "a status that is none",
     PING,
     .reply = BYTES(STDOUT("\x0c", "Status: ok\n\n") FINISHED("\0")),
     BAD("the script's status is none")},

    {.name = "silence", LIBRARY, .waits = true, SENT(ASK)},
    {.name = "output without an end", PING, .reply = BYTES(STDOUT("\x02", "\n\n")), .waits = true},
    {.name = "closed at once", PING, .eof = true, .outcome = OUTCOME_CLOSED},
    {.name = "closed within",
     PING,
     .reply = BYTES(STDOUT("\x02", "\n\n") "\x01\x03"),
     .eof = true,
     .outcome = OUTCOME_CLOSED},
};

int main(void)
{
    transcripts_run(&scheme_fastcgi, rows, sizeof rows / sizeof rows[0]);
    return testing_end();
}
