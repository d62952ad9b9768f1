/* What a directory says to a search for its root, or to a bind; recorded from slapd 2.5.13, and in
 * the long form of lengths that Active Directory uses. */
#include "transcript.h"

#include <healthsvc/probe.h>

extern const struct scheme scheme_ldap;

#define SEARCH                                                                             \
    "\x30\x2a\x02\x01\x01\x63\x25\x04\0\x0a\x01\0\x0a\x01\0\x02\x01\0\x02\x01\0\x01\x01\0" \
    "\x87\x0b"                                                                             \
    "objectClass\x30\x05\x04\x03"                                                          \
    "1.1"
#define UNBIND "\x30\x05\x02\x01\x02\x42\0"
#define ENTRY "\x30\x09\x02\x01\x01\x64\x04\x04\0\x30\0"
#define DONE(code) "\x30\x0c\x02\x01\x01\x65\x07\x0a\x01" code "\x04\0\x04\0"
#define BOUND(code) "\x30\x0c\x02\x01\x01\x61\x07\x0a\x01" code "\x04\0\x04\0"
#define BIND                                                             \
    "\x30\x82\0\x1d\x02\x01\x01\x60\x82\0\x16\x02\x01\x03\x04\x82\0\x05" \
    "cn=me\x80"                                                          \
    "\x82\0\x06"                                                         \
    "secret"

#define GOOD(says) .outcome = OUTCOME_OK, .text = (says)
#define END(id, says) .outcome = OUTCOME_##id, .text = (says)
#define BAD(says) .outcome = OUTCOME_BAD_REPLY, .text = (says)
#define NOT_LDAP "not a message of LDAP"
#define NOT_MESSAGE "not a valid message of LDAP"
#define NOT_RESULT "not a valid result of LDAP"
#define NOT_ASKED "not an answer to what was asked"
#define AS_ME .user = "cn=me", .secret = "secret"

static const struct transcript rows[] = {
    {.name = "slapd", .reply = BYTES(ENTRY DONE("\0")), GOOD(NULL), SENT(SEARCH UNBIND)},
    {.name = "a root that nobody may see", .reply = BYTES(DONE("\0")), GOOD(NULL)},
    {.name = "long lengths",
     .reply = BYTES("\x30\x84\0\0\0\x10\x02\x01\x01\x65\x84\0\0\0\x07\x0a\x01\0\x04\0\x04\0"),
     GOOD(NULL)},
    {.name = "a reference between",
     .reply = BYTES("\x30\x07\x02\x01\x01\x73\x02\x04\0" DONE("\0")),
     GOOD(NULL)},
    {.name = "anonymous refused: alive",
     .reply = BYTES(DONE("\x32")),
     GOOD("alive, anonymous refused, LDAP result 50"),
     SENT(SEARCH UNBIND)},
    {.name = "anonymous refused, with words",
     .reply = BYTES("\x30\x0e\x02\x01\x01\x65\x09\x0a\x01\x35\x04\0\x04\x02no"),
     GOOD("alive, anonymous refused, LDAP result 53: no")},
    {.name = "bind required: alive",
     .reply = BYTES(DONE("\x01")),
     GOOD("alive, anonymous refused, LDAP result 1")},
    {.name = "the same to a bind is not",
     AS_ME,
     .reply = BYTES(BOUND("\x01")),
     END(REFUSED, "server refuses to serve, LDAP result 1")},
    {.name = "busy",
     .reply = BYTES(DONE("\x33")),
     END(OVERLOADED, "server takes no more clients, LDAP result 51")},
    {.name = "unavailable",
     .reply = BYTES(DONE("\x34")),
     END(NOT_SERVING, "service is not serving, LDAP result 52")},
    {.name = "any other result",
     .reply = BYTES(DONE("\x50")),
     END(REFUSED, "server refuses to serve, LDAP result 80")},
    {.name = "told to go away",
     .reply = BYTES("\x30\x10\x02\x01\0\x78\x0b\x0a\x01\x34\x04\0\x04\x04"
                    "bye!"),
     END(STOPPING, "server is shutting down, LDAP result 52: bye!"),
     SENT(SEARCH)},

    {.name = "bound", AS_ME, .reply = BYTES(BOUND("\0")), GOOD(NULL), SENT(BIND UNBIND)},
    {.name = "the wrong password",
     AS_ME,
     .reply = BYTES(BOUND("\x31")),
     END(LOGIN_FAILED, "login refused, LDAP result 49")},
    {.name = "a busy server, bound",
     AS_ME,
     .reply = BYTES(BOUND("\x33")),
     END(OVERLOADED, "server takes no more clients, LDAP result 51")},
    {.name = "a search's answer to a bind", AS_ME, .reply = BYTES(DONE("\0")), BAD(NOT_ASKED)},
    {.name = "a bind's answer to a search", .reply = BYTES(BOUND("\0")), BAD(NOT_ASKED)},
    {.name = "the answer to another message",
     .reply = BYTES("\x30\x0c\x02\x01\x02\x65\x07\x0a\x01\0\x04\0\x04\0"),
     BAD(NOT_ASKED)},

    {.name = "an HTTP server", .reply = BYTES("HTTP/1.1 400 Bad Request\r\n"), BAD(NOT_LDAP)},
    {.name = "an indefinite length", .reply = BYTES("\x30\x80"), BAD(NOT_LDAP)},
    {.name = "a length of five bytes", .reply = BYTES("\x30\x85"), BAD(NOT_LDAP)},
    {.name = "a length of 4 GB",
     .reply = BYTES("\x30\x84\xff\xff\xff\xff"),
     BAD("a message of LDAP that is too long")},
    {.name = "an empty message", .reply = BYTES("\x30\0"), BAD(NOT_MESSAGE)},
    {.name = "an element longer than its message",
     .reply = BYTES("\x30\x05\x02\x01\x01\x65\x07"),
     BAD(NOT_MESSAGE)},
    {.name = "a message id of five bytes",
     .reply = BYTES("\x30\x09\x02\x05\0\0\0\0\x01\x65\0"),
     BAD(NOT_MESSAGE)},
    {.name = "a result without a code",
     .reply = BYTES("\x30\x05\x02\x01\x01\x65\0"),
     BAD(NOT_RESULT)},
    {.name = "a result whose code is none",
     .reply = BYTES("\x30\x0c\x02\x01\x01\x65\x07\x02\x01\0\x04\0\x04\0"),
     BAD(NOT_RESULT)},

    {.name = "an entry, then silence", .reply = BYTES(ENTRY), .waits = true, SENT(SEARCH)},
    {.name = "closed at once", .eof = true, .outcome = OUTCOME_CLOSED},
    {.name = "closed after the entry",
     .reply = BYTES(ENTRY),
     .eof = true,
     .outcome = OUTCOME_CLOSED},
    {.name = "a user without a password",
     .user = "cn=me",
     .fault = "'user': a bind needs a password too ('password_file' or another)"},
    {.name = "a password without a user",
     .secret = "secret",
     .fault = "'user': a password needs one, the name (DN) to bind as"},
};

int main(void)
{
    transcripts_run(&scheme_ldap, rows, sizeof rows / sizeof rows[0]);
    return testing_end();
}
