/* What Kafka says to ApiVersions, as its protocol guide has it. */
#include "transcript.h"

#include <healthsvc/probe.h>

extern const struct scheme scheme_kafka;

#define REQUEST "\0\0\0\x13\0\x12\0\0hlth\0\x09healthsvc"
#define TWO_VERSIONS "\0\0\0\x02\0\0\0\0\0\x09\0\x12\0\0\0\x03"

#define END(id, says) .outcome = OUTCOME_##id, .text = (says)
#define BAD .outcome = OUTCOME_BAD_REPLY, .text = "not an answer of Kafka"

static const struct transcript rows[] = {
    {.name = "a broker",
     .reply = BYTES("\0\0\0\x16hlth\0\0" TWO_VERSIONS),
     .outcome = OUTCOME_OK,
     SENT(REQUEST)},
    {.name = "a list without the request itself",
     .reply = BYTES("\0\0\0\x10hlth\0\0\0\0\0\x01\0\0\0\0\0\x09"),
     BAD},
    {.name = "a list beyond its response",
     .reply = BYTES("\0\0\0\x10hlth\0\0\xff\xff\xff\xff\0\x12\0\0\0\x03"),
     BAD},
    {.name = "more than its list", .reply = BYTES("\0\0\0\x18hlth\0\0" TWO_VERSIONS "\0\0"), BAD},
    {.name = "one that does not know this version: alive",
     .reply = BYTES("\0\0\0\x0ahlth\0\x23\0\0\0\0"),
     .outcome = OUTCOME_OK},
    {.name = "another error",
     .reply = BYTES("\0\0\0\x0ahlth\0\x3a\0\0\0\0"),
     END(REFUSED, "the broker answers with error 58")},
    {.name = "an HTTP server", .reply = BYTES("HTTP/1.1 400 Bad Request\r\n"), BAD},
    {.name = "the answer to somebody else", .reply = BYTES("\0\0\0\x0ahtlh\0\0\0\0\0\0"), BAD},
    {.name = "too short", .reply = BYTES("\0\0\0\x09hlth\0\0"), BAD},
    {.name = "too long", .reply = BYTES("\0\0\x1f\xfdhlth\0\0"), BAD},
    {.name = "only half of the list",
     .reply = BYTES("\0\0\0\x16hlth\0\0\0\0\0\x02"),
     .waits = true},
    {.name = "closed at once", .eof = true, .outcome = OUTCOME_CLOSED},
    {.name = "closed within the list",
     .reply = BYTES("\0\0\0\x16hlth\0\0\0\0\0\x02"),
     .eof = true,
     .outcome = OUTCOME_CLOSED},
};

int main(void)
{
    transcripts_run(&scheme_kafka, rows, sizeof rows / sizeof rows[0]);
    return testing_end();
}
