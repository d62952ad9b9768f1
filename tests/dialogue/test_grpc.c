/* What servers say to the gRPC health probe: the frames as bytes, HPACK without Huffman coding. */
#ifdef HAVE_CONFIG_H
#include <config.h>
#endif

#include "transcript.h"

#include <healthsvc/probe.h>

extern const struct scheme scheme_grpc;

#define SETTINGS "\0\0\0\4\0\0\0\0\0"
#define SETTINGS_ACK "\0\0\0\4\1\0\0\0\0"
/* HEADERS of stream 1, END_HEADERS: one octet of length is enough for all of these. */
#define HEADERS(len, flags, block) "\0\0" len "\1" flags "\0\0\0\1" block
#define STATUS_200 "\x88"
#define DATA(len, flags, bytes) "\0\0" len "\0" flags "\0\0\0\1" bytes
#define GRPC_STATUS "\0\xbgrpc-status"
#define BEGIN SETTINGS SETTINGS_ACK HEADERS("\1", "\4", STATUS_200)
#define TRAILERS(code) HEADERS("\xf", "\5", GRPC_STATUS "\1" code)
#define MESSAGE(status) DATA("\7", "\0", "\0\0\0\0\2\x08" status)
/* Trailers-only: status and grpc-status in one block, with the end of the stream. */
#define REFUSAL(code) SETTINGS HEADERS("\x10", "\5", STATUS_200 GRPC_STATUS "\1" code)
#define REFUSAL_2(code) SETTINGS HEADERS("\x11", "\5", STATUS_200 GRPC_STATUS "\2" code)

#define A50 "aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa"
#define A250 A50 A50 A50 A50 A50

#define HTTP_200 .http_status = 200
#define BAD(says) .outcome = OUTCOME_BAD_REPLY, .text = (says)

static const struct transcript rows[] = {
    {.name = "serving",
     .reply = BYTES(BEGIN MESSAGE("\1") TRAILERS("0")),
     HTTP_200,
     .outcome = OUTCOME_OK},
    {.name = "serving, of a named service",
     .settings = "service = \"trips.Trips\"; authority = \"trips\";",
     .reply = BYTES(BEGIN MESSAGE("\1") TRAILERS("0")),
     HTTP_200,
     .outcome = OUTCOME_OK},
    {.name = "serving, in two DATA frames",
     .reply = BYTES(BEGIN DATA("\3", "\0", "\0\0\0") DATA("\4", "\0", "\0\2\x08\1") TRAILERS("0")),
     HTTP_200,
     .outcome = OUTCOME_OK},
    {.name = "serving, with fields of a later version",
     .reply = BYTES(BEGIN DATA("\x15", "\0",
                               "\0\0\0\0\x10\x12\2ab\x25"
                               "1234\x1a\1c\x08\1\x20\5") TRAILERS("0")),
     HTTP_200,
     .outcome = OUTCOME_OK},
    {.name = "serving, with a number of 64 bits beside it",
     .reply = BYTES(BEGIN DATA("\x10", "\0",
                               "\0\0\0\0\x0b\x19"
                               "12345678"
                               "\x08\1") TRAILERS("0")),
     HTTP_200,
     .outcome = OUTCOME_OK},
    {.name = "the last of several statuses counts",
     .reply = BYTES(BEGIN DATA("\x9", "\0", "\0\0\0\0\4\x08\1\x08\2") TRAILERS("0")),
     HTTP_200,
     .outcome = OUTCOME_NOT_SERVING},
    {.name = "not serving",
     .reply = BYTES(BEGIN MESSAGE("\2") TRAILERS("0")),
     HTTP_200,
     .outcome = OUTCOME_NOT_SERVING},
    {.name = "does not know",
     .reply = BYTES(BEGIN DATA("\5", "\0", "\0\0\0\0\0") TRAILERS("0")),
     HTTP_200,
     .outcome = OUTCOME_NOT_SERVING,
     .text = "service does not know its state"},
    {.name = "service unknown, as a watcher is told",
     .reply = BYTES(BEGIN MESSAGE("\3") TRAILERS("0")),
     HTTP_200,
     .outcome = OUTCOME_UNKNOWN_SERVICE},
    {.name = "a status that does not exist",
     .reply = BYTES(BEGIN MESSAGE("\7") TRAILERS("0")),
     HTTP_200,
     BAD("no known serving status")},
    {.name = "unknown service, trailers only",
     .reply = BYTES(REFUSAL("5")),
     HTTP_200,
     .outcome = OUTCOME_UNKNOWN_SERVICE},
    {.name = "no health service, trailers only",
     .reply = BYTES(REFUSAL_2("12")),
     HTTP_200,
     .outcome = OUTCOME_UNIMPLEMENTED},
    {.name = "unavailable, with a message",
     .reply = BYTES(SETTINGS HEADERS("\x24", "\5",
                                     STATUS_200 GRPC_STATUS "\2"
                                                            "14"
                                                            "\0\xcgrpc-message\4"
                                                            "no\xe9!")),
     HTTP_200,
     .outcome = OUTCOME_NOT_SERVING,
     .text = "grpc-status 14: no.!"},
    {.name = "not authenticated",
     .reply = BYTES(REFUSAL_2("16")),
     HTTP_200,
     .outcome = OUTCOME_REFUSED,
     .text = "grpc-status 16"},
    {.name = "exhausted",
     .reply = BYTES(REFUSAL("8")),
     HTTP_200,
     .outcome = OUTCOME_OVERLOADED,
     .text = "grpc-status 8"},
    {.name = "its own deadline",
     .reply = BYTES(REFUSAL("4")),
     HTTP_200,
     .outcome = OUTCOME_TIMEOUT,
     .text = "grpc-status 4"},
    {.name = "good trailers, no message",
     .reply = BYTES(BEGIN TRAILERS("0")),
     HTTP_200,
     BAD("not a health check response")},
    {.name = "compressed message",
     .reply = BYTES(BEGIN DATA("\7", "\0", "\1\0\0\0\2\x08\1") TRAILERS("0")),
     HTTP_200,
     BAD("not a health check response")},
    {.name = "message longer than it says",
     .reply = BYTES(BEGIN DATA("\x8", "\0", "\0\0\0\0\2\x08\1\1") TRAILERS("0")),
     HTTP_200,
     BAD("not a health check response")},
    {.name = "message that says it is huge",
     .reply = BYTES(BEGIN DATA("\7", "\0", "\0\xff\xff\xff\xff\x08\1") TRAILERS("0")),
     HTTP_200,
     BAD("not a health check response")},
    {.name = "a field of a kind that does not exist",
     .reply = BYTES(BEGIN DATA("\6", "\0", "\0\0\0\0\1\x0b") TRAILERS("0")),
     HTTP_200,
     BAD("not a health check response")},
    {.name = "a field's number that is cut",
     .reply = BYTES(BEGIN DATA("\6", "\0", "\0\0\0\0\1\x80") TRAILERS("0")),
     HTTP_200,
     BAD("not a health check response")},
    {.name = "a status that is cut",
     .reply = BYTES(BEGIN DATA("\7", "\0", "\0\0\0\0\2\x08\x81") TRAILERS("0")),
     HTTP_200,
     BAD("not a health check response")},
    {.name = "a status of more than 64 bits",
     .reply = BYTES(BEGIN DATA("\x11", "\0",
                               "\0\0\0\0\x0c\x08"
                               "\x81\x80\x80\x80\x80\x80\x80\x80\x80\x80\x01") TRAILERS("0")),
     HTTP_200,
     BAD("not a health check response")},
    {.name = "a length that is cut",
     .reply = BYTES(BEGIN DATA("\7", "\0", "\0\0\0\0\2\x12\x80") TRAILERS("0")),
     HTTP_200,
     BAD("not a health check response")},
    {.name = "a text beyond the end",
     .reply = BYTES(BEGIN DATA("\x8", "\0", "\0\0\0\0\3\x12\2a") TRAILERS("0")),
     HTTP_200,
     BAD("not a health check response")},
    {.name = "a message of 64 KB",
     .reply = BYTES(BEGIN DATA("\5", "\0", "\0\0\1\0\0")),
     .unit = DATA("\xfa", "\0", A250),
     .times = 200,
     .tail = BYTES(TRAILERS("0")),
     HTTP_200,
     BAD("not a health check response")},
    {.name = "no number as grpc-status",
     .reply = BYTES(BEGIN TRAILERS("x")),
     HTTP_200,
     BAD("stream ended without a grpc-status (NO_ERROR)")},
    {.name = "no permission",
     .reply = BYTES(REFUSAL("7")),
     HTTP_200,
     .outcome = OUTCOME_REFUSED,
     .text = "grpc-status 7"},
    {.name = "end without trailers",
     .reply = BYTES(BEGIN DATA("\7", "\1", "\0\0\0\0\2\x08\1")),
     HTTP_200,
     BAD("stream ended without a grpc-status (NO_ERROR)")},
    {.name = "a proxy's 503",
     .reply = BYTES(SETTINGS HEADERS("\5", "\5",
                                     "\x48\3"
                                     "503")),
     .http_status = 503,
     .outcome = OUTCOME_HTTP_STATUS,
     .text = "HTTP 503"},
    {.name = "stream refused",
     .reply = BYTES(SETTINGS "\0\0\4\3\0\0\0\0\1\0\0\0\7"),
     .outcome = OUTCOME_OVERLOADED},
    {.name = "stream reset",
     .reply = BYTES(BEGIN "\0\0\4\3\0\0\0\0\1\0\0\0\2"),
     HTTP_200,
     BAD("stream ended without a grpc-status (INTERNAL_ERROR)")},
    {.name = "goodbye before the call",
     .reply = BYTES(SETTINGS "\0\0\x8\7\0\0\0\0\0\0\0\0\0\0\0\0\0"),
     .outcome = OUTCOME_OVERLOADED},
    {.name = "an HTTP/1.1 server",
     .reply = BYTES("HTTP/1.1 400 Bad Request\r\nConnection: close\r\n\r\n"),
     BAD("not HTTP/2")},
    {.name = "no SETTINGS first",
     .reply = BYTES("\0\0\x8\6\0\0\0\0\0"
                    "12345678"),
     BAD("not HTTP/2")},
    {.name = "a frame larger than allowed",
     .reply = BYTES(SETTINGS "\1\0\0\0\0\0\0\0\1"),
     BAD("not HTTP/2")},
    {.name = "a broken header block",
     .reply = BYTES(SETTINGS HEADERS("\1", "\5", "\xff")),
     BAD("not HTTP/2")},
    {.name = "closed at once", .eof = true, .outcome = OUTCOME_CLOSED},
    {.name = "closed after the message",
     .reply = BYTES(BEGIN MESSAGE("\1")),
     .eof = true,
     .outcome = OUTCOME_CLOSED},
    {.name = "waits for the trailers", .reply = BYTES(BEGIN MESSAGE("\1")), .waits = true},
    {.name = "answers a ping meanwhile",
     .reply =
         BYTES(SETTINGS "\0\0\x8\6\0\0\0\0\0"
                        "12345678" HEADERS("\1", "\4", STATUS_200) MESSAGE("\1") TRAILERS("0")),
     HTTP_200,
     .outcome = OUTCOME_OK},
    {.name = "authority with a letter beyond ASCII",
     .settings = "authority = \"tr\\xc3\\xbcps\";",
     .fault = "'authority': must be printable ASCII without blanks"},
    {.name = "authority with a blank",
     .settings = "authority = \"a b\";",
     .fault = "'authority': must be printable ASCII without blanks"},
};

int main(void)
{
    transcripts_run(&scheme_grpc, rows, sizeof rows / sizeof rows[0]);
    return testing_end();
}
