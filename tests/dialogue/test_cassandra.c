/* What Cassandra says to OPTIONS, as native_protocol_v4.spec has it. */
#include "transcript.h"

#include <healthsvc/probe.h>

extern const struct scheme scheme_cassandra;

#define OPTIONS "\x04\0\0\0\x05\0\0\0\0"
#define SUPPORTED(length) "\x84\0\0\0\x06\0\0\0" length
#define ERROR(version, length, code) version "\0\0\0\0\0\0\0" length "\0\0" code
#define COMPRESSION \
    "\0\x0b"        \
    "COMPRESSION\0\x02\0\x06snappy\0\x03lz4"
#define CQL_VERSION           \
    "\0\x0b"                  \
    "CQL_VERSION\0\x01\0\x05" \
    "3.4.6"

#define GOOD(says) .outcome = OUTCOME_OK, .text = (says)
#define END(id, says) .outcome = OUTCOME_##id, .text = (says)
#define BAD(says) .outcome = OUTCOME_BAD_REPLY, .text = (says)
#define NOT_CASSANDRA "not an answer of Cassandra"
#define NOT_VALID "not a valid answer of Cassandra"

static const struct transcript rows[] = {
    {.name = "a node",
     .reply = BYTES(SUPPORTED("\x34") "\0\x02" COMPRESSION CQL_VERSION),
     GOOD(NULL),
     SENT(OPTIONS)},
    {.name = "another version of the protocol: alive",
     .reply = BYTES(ERROR("\x83", "\x0c", "\0\x0a") "\0\x06"
                                                    "not v4"),
     GOOD("alive: not v4")},
    {.name = "overloaded",
     .reply = BYTES(ERROR("\x84", "\x0a", "\x10\x01") "\0\x04"
                                                      "busy"),
     END(OVERLOADED, "overloaded: busy")},
    {.name = "bootstrapping",
     .reply = BYTES(ERROR("\x84", "\x0a", "\x10\x02") "\0\x04"
                                                      "wait"),
     END(STARTING, "bootstrapping: wait")},
    {.name = "any other error",
     .reply = BYTES(ERROR("\x84", "\x0a", "\0\0") "\0\x04"
                                                  "oops"),
     END(REFUSED, "oops")},
    {.name = "an HTTP server", .reply = BYTES("HTTP/1.1 400 Bad Request\r\n"), BAD(NOT_CASSANDRA)},
    {.name = "its own question", .reply = BYTES(OPTIONS), BAD(NOT_CASSANDRA)},
    {.name = "another opcode", .reply = BYTES("\x84\0\0\0\x02\0\0\0\0"), BAD(NOT_CASSANDRA)},
    {.name = "a compressed body", .reply = BYTES("\x84\x01\0\0\x06\0\0\0\x02"), BAD(NOT_CASSANDRA)},
    {.name = "a body of 4 GB",
     .reply = BYTES("\x84\0\0\0\x06\xff\xff\xff\xff"),
     BAD(NOT_CASSANDRA)},
    {.name = "fewer pairs than told", .reply = BYTES(SUPPORTED("\x02") "\0\x01"), BAD(NOT_VALID)},
    {.name = "fewer values than told",
     .reply = BYTES(SUPPORTED("\x07") "\0\x01\0\x01"
                                      "a\xff\xff"),
     BAD(NOT_VALID)},
    {.name = "an error without words",
     .reply = BYTES(ERROR("\x84", "\x06", "\0\0") "\0\x04"),
     BAD("not a valid error of Cassandra")},
    {.name = "half a body", .reply = BYTES(SUPPORTED("\x34") "\0\x02"), .waits = true},
    {.name = "closed at once", .eof = true, .outcome = OUTCOME_CLOSED},
    {.name = "closed within the body",
     .reply = BYTES(SUPPORTED("\x34") "\0\x02"),
     .eof = true,
     .outcome = OUTCOME_CLOSED},
};

int main(void)
{
    transcripts_run(&scheme_cassandra, rows, sizeof rows / sizeof rows[0]);
    return testing_end();
}
