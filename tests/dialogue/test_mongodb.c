/* What MongoDB says to hello: documents built to its manual, since Debian has no such server. */
#include "transcript.h"

#include <healthsvc/probe.h>

extern const struct scheme scheme_mongodb;

#define STANDALONE                                                                     \
    "\255\000\000\000\007\000\000\000\001\000\000\000\335\007\000\000\000\000\000\000" \
    "\000\230\000\000\000\010isWritablePrimary\000\001\003topologyVersion\000-\000"    \
    "\000\000\007processId\000123456789012\022counter\000\000\000\000\000\000\000\000" \
    "\000\000\020maxBsonObjectSize\000\000\000\000\001\011localTime\000\001\001\001"   \
    "\001\001\001\001\001\010readOnly\000\000\001ok\000\000\000\000\000\000\000\360"   \
    "\077\000"
#define SECONDARY                                                                      \
    "\257\000\000\000\007\000\000\000\001\000\000\000\335\007\000\000\000\000\000\000" \
    "\000\232\000\000\000\004hosts\000\033\000\000\000\0020\000\004\000\000\000a:1"    \
    "\000\0021\000\004\000\000\000b:1\000\000\002setName\000\004\000\000\000rs0\000"   \
    "\010isWritablePrimary\000\000\010secondary\000\001\003$clusterTime\000(\000\000"  \
    "\000\021clusterTime\000\002\002\002\002\002\002\002\002\005hash\000\003\000\000"  \
    "\000\000abc\000\001ok\000\000\000\000\000\000\000\360\077\000"
#define ARBITER                                                                        \
    "T\000\000\000\007\000\000\000\001\000\000\000\335\007\000\000\000\000\000\000"    \
    "\000\077\000\000\000\010isWritablePrimary\000\000\010secondary\000\000\010arbite" \
    "rOnly\000\001\001ok\000\000\000\000\000\000\000\360\077\000"
#define ROUTER                                                                         \
    "b\000\000\000\007\000\000\000\001\000\000\000\335\007\000\000\000\000\000\000"    \
    "\000M\000\000\000\010isWritablePrimary\000\000\002msg\000\011\000\000\000isdbgri" \
    "d\000\023d\000\000\000\000\000\000\000\000\000\000\000\000\000\000\000\000\000"   \
    "\012n\000\001ok\000\000\000\000\000\000\000\360\077\000"
#define RECOVERING                                                                    \
    "R\000\000\000\007\000\000\000\001\000\000\000\335\007\000\000\000\000\000\000"   \
    "\000=\000\000\000\010isWritablePrimary\000\000\010secondary\000\000\002info\000" \
    "\002\000\000\000x\000\001ok\000\000\000\000\000\000\000\360\077\000"
#define ERROR                                                                       \
    "L\000\000\000\007\000\000\000\001\000\000\000\335\007\000\000\000\000\000\000" \
    "\0007\000\000\000\001ok\000\000\000\000\000\000\000\000\000\002errmsg\000\020" \
    "\000\000\000no such command\000\020code\000;\000\000\000\000"
#define UNKNOWN_TYPE                                                                   \
    "\035\000\000\000\007\000\000\000\001\000\000\000\335\007\000\000\000\000\000\000" \
    "\000\010\000\000\000Ux\000\000"
#define SHORT_DOCUMENT                                                                 \
    "\036\000\000\000\007\000\000\000\001\000\000\000\335\007\000\000\000\000\000\000" \
    "\000d\000\000\000\020ok\000\001"
#define LONG_STRING                                                                 \
    "!\000\000\000\007\000\000\000\001\000\000\000\335\007\000\000\000\000\000\000" \
    "\000\014\000\000\000\002x\000\377\377\377\377\000"
#define COMPRESSED                                                                     \
    "\255\000\000\000\007\000\000\000\001\000\000\000\334\007\000\000\000\000\000\000" \
    "\000\230\000\000\000\010isWritablePrimary\000\001\003topologyVersion\000-\000"    \
    "\000\000\007processId\000123456789012\022counter\000\000\000\000\000\000\000\000" \
    "\000\000\020maxBsonObjectSize\000\000\000\000\001\011localTime\000\001\001\001"   \
    "\001\001\001\001\001\010readOnly\000\000\001ok\000\000\000\000\000\000\000\360"   \
    "\077\000"
#define TO_ANOTHER                                                                     \
    "T\000\000\000\007\000\000\000\002\000\000\000\335\007\000\000\000\000\000\000"    \
    "\000\077\000\000\000\010isWritablePrimary\000\000\010secondary\000\000\010arbite" \
    "rOnly\000\001\001ok\000\000\000\000\000\000\000\360\077\000"
#define MORE_TO_COME                                                                   \
    "T\000\000\000\007\000\000\000\001\000\000\000\335\007\000\000\002\000\000\000"    \
    "\000\077\000\000\000\010isWritablePrimary\000\000\010secondary\000\000\010arbite" \
    "rOnly\000\001\001ok\000\000\000\000\000\000\000\360\077\000"
/* The head of an answer whose message is that long; its document lies behind. */
#define HEAD(total) total "\0\0\0\7\0\0\0\1\0\0\0\335\7\0\0\0\0\0\0\0"
#define OK_DOUBLE "\1ok\0\0\0\0\0\0\0\360\77"
#define OK_INT32 "\20ok\0\1\0\0\0"
#define OK_INT64 "\22ok\0\1\0\0\0\0\0\0\0"
#define IS_MASTER "\10ismaster\0\1"
#define HELLO                                                                               \
    "\x34\0\0\0\x01\0\0\0\0\0\0\0\xdd\x07\0\0\0\0\0\0\0\x1f\0\0\0\x10hello\0\x01\0\0\0\x02" \
    "$db\0\x06\0\0\0admin\0\0"

#define END(id, says) .outcome = OUTCOME_##id, .text = (says)
#define BAD(says) .outcome = OUTCOME_BAD_REPLY, .text = (says)
#define NOT_MONGODB "not an answer of MongoDB"
#define NOT_DOCUMENT "not a valid document of MongoDB"

static const struct transcript rows[] = {
    {.name = "a server alone", .reply = BYTES(STANDALONE), .outcome = OUTCOME_OK, SENT(HELLO)},
    {.name = "a secondary", .reply = BYTES(SECONDARY), .outcome = OUTCOME_OK},
    {.name = "an arbiter", .reply = BYTES(ARBITER), .outcome = OUTCOME_OK},
    {.name = "a router", .reply = BYTES(ROUTER), .outcome = OUTCOME_OK},
    {.name = "an old primary, with values of every type beside it",
     .reply = BYTES(HEAD("\122") "\75\0\0\0" IS_MASTER "\5b\0\2\0\0\0\0xy\7i\0"
                                 "123456789012"
                                 "\6u\0\15c\0\2\0\0\0x\0" OK_INT32 "\0"),
     .outcome = OUTCOME_OK},
    {.name = "an ok of 64 bits",
     .reply = BYTES(HEAD("\61") "\34\0\0\0" OK_INT64 IS_MASTER "\0"),
     .outcome = OUTCOME_OK},
    {.name = "an ok that is a string",
     .reply = BYTES(HEAD("\44") "\17\0\0\0\2ok\0\2\0\0\0"
                                "1\0"
                                "\0"),
     END(REFUSED, "hello refused: ")},
    {.name = "an error without words",
     .reply = BYTES(HEAD("\47") "\22\0\0\0\2errmsg\0\1\0\0\0\0"
                                "\0"),
     END(REFUSED, "hello refused: ")},
    {.name = "a message of another kind than a router's",
     .reply = BYTES(HEAD("\70") "\43\0\0\0" OK_DOUBLE "\2msg\0\11\0\0\0isdbgrix\0"
                                "\0"),
     END(NOT_SERVING, "neither primary nor secondary (starting or recovering)")},
    {.name = "a binary value beyond the document",
     .reply = BYTES(HEAD("\42") "\15\0\0\0\5b\0\377\0\0\0\0"
                                "\0"),
     BAD("not a valid document of MongoDB")},
    {.name = "a member that recovers",
     .reply = BYTES(RECOVERING),
     END(NOT_SERVING, "neither primary nor secondary (starting or recovering)")},
    {.name = "hello is not known",
     .reply = BYTES(ERROR),
     END(REFUSED, "hello refused: no such command")},

    {.name = "an HTTP server", .reply = BYTES("HTTP/1.1 400 Bad Request\r\n"), BAD(NOT_MONGODB)},
    {.name = "a compressed answer", .reply = BYTES(COMPRESSED), BAD(NOT_MONGODB)},
    {.name = "an answer to another question", .reply = BYTES(TO_ANOTHER), BAD(NOT_MONGODB)},
    {.name = "a length of 4 GB",
     .reply = BYTES("\xff\xff\xff\xff\0\0\0\0\x01\0\0\0\xdd\x07\0\0"),
     BAD(NOT_MONGODB)},
    {.name = "a length below the least",
     .reply = BYTES("\x10\0\0\0\0\0\0\0\x01\0\0\0\xdd\x07\0\0"),
     BAD(NOT_MONGODB)},
    {.name = "an answer with more to come",
     .reply = BYTES(MORE_TO_COME),
     BAD("not an answer of MongoDB to one question")},
    {.name = "a value of an unknown type", .reply = BYTES(UNKNOWN_TYPE), BAD(NOT_DOCUMENT)},
    {.name = "a document beyond its message", .reply = BYTES(SHORT_DOCUMENT), BAD(NOT_DOCUMENT)},
    {.name = "a string of 4 GB", .reply = BYTES(LONG_STRING), BAD(NOT_DOCUMENT)},

    {.name = "silence", .waits = true, SENT(HELLO)},
    {.name = "closed at once", .eof = true, .outcome = OUTCOME_CLOSED},
    {.name = "closed within the head",
     .reply = BYTES("\x34\0\0\0"),
     .eof = true,
     .outcome = OUTCOME_CLOSED},
};

int main(void)
{
    transcripts_run(&scheme_mongodb, rows, sizeof rows / sizeof rows[0]);
    return testing_end();
}
