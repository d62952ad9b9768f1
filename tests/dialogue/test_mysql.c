/* What MySQL and MariaDB say to a login. The greeting of MariaDB 10.11 was recorded; the rest
 * follows the description of the protocol. */
#include "transcript.h"

#include <healthsvc/probe.h>

extern const struct scheme scheme_mysql;

/* Capabilities with TLS 0xf7fe -> 0xfffe; the salt is "12345678" and "abcdefghijkl". */
#define GREETING_TO(low, plugin_length, plugin)                             \
    plugin_length "\0\0\0\n5.5.5-10.11.19-MariaDB\0\x10\0\0\0"              \
                  "12345678\0"                                              \
                  "\xfe" low "\x08\x02\0\xff\x81\x15\0\0\0\0\0\0\x1d\0\0\0" \
                  "abcdefghijkl\0" plugin "\0"
#define GREETING GREETING_TO("\xf7", "\x5a", "mysql_native_password")
#define GREETING_TLS GREETING_TO("\xff", "\x5a", "mysql_native_password")
#define GREETING_SHA256_TLS GREETING_TO("\xff", "\x5a", "caching_sha2_password")
#define GREETING_SHA256 GREETING_TO("\xf7", "\x5a", "caching_sha2_password")

#define HEAD(length, sequence, flags)                            \
    length "\0\0" sequence "\0" flags "\x08\0\xff\xff\xff\0\x21" \
           "\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0"
#define RESPONSE(sequence, flags) \
    HEAD("\x41", sequence, flags) "healthsvc\0\0mysql_native_password\0"
#define PLAIN_RESPONSE RESPONSE("\x01", "\x82")
#define TLS_REQUEST HEAD("\x20", "\x01", "\x8a")
#define LOGGED_IN(sequence) "\x07\0\0" sequence "\0\0\0\x02\0\0\0"
#define QUIT "\x01\0\0\0\x01"
#define DENIED "\x1b\0\0\x02\xff\x15\x04#28000Access denied here"

/* Of "secret" with that salt, by Python's hashlib. */
#define PROOF_NATIVE                                                   \
    "\117\025\042\326\353\124\163\176\332\101\073\076\041\234\246\312" \
    "\353\343\337\054"
#define PROOF_SHA256                                                   \
    "\177\176\070\170\376\110\216\324\120\201\105\135\015\156\211\342" \
    "\155\116\370\156\366\306\256\355\002\071\173\157\350\255\124\042"

#define GOOD(says) .outcome = OUTCOME_OK, .text = (says)
#define END(id, says) .outcome = OUTCOME_##id, .text = (says)
#define BAD(says) .outcome = OUTCOME_BAD_REPLY, .text = (says)
#define NOT_PACKET "not a packet of MySQL"
#define NO_TLS "the server does not speak TLS"

static const struct transcript rows[] = {
    {.name = "a user without a password",
     .reply = BYTES(GREETING LOGGED_IN("\x02")),
     GOOD(NULL),
     SENT(PLAIN_RESPONSE QUIT)},
    {.name = "refused, without a password: alive",
     .reply = BYTES(GREETING DENIED),
     GOOD("alive: Access denied here"),
     SENT(PLAIN_RESPONSE)},
    {.name = "refused, with one",
     .user = "me",
     .secret = "secret",
     .reply = BYTES(GREETING DENIED),
     END(LOGIN_FAILED, "Access denied here")},
    {.name = "native password",
     .user = "me",
     .secret = "secret",
     .reply = BYTES(GREETING LOGGED_IN("\x02")),
     GOOD(NULL),
     SENT(HEAD("\x4e", "\x01", "\x82") "me\0\x14" PROOF_NATIVE "mysql_native_password\0" QUIT)},
    {.name = "caching_sha2_password, known to the server",
     .user = "me",
     .secret = "secret",
     .reply = BYTES(GREETING_SHA256 "\x02\0\0\x02\x01\x03" LOGGED_IN("\x03")),
     GOOD(NULL),
     SENT(HEAD("\x5a", "\x01", "\x82") "me\0\x20" PROOF_SHA256 "caching_sha2_password\0" QUIT)},
    {.name = "caching_sha2_password, wants the password itself in clear: gets none",
     .user = "me",
     .secret = "secret",
     .reply = BYTES(GREETING_SHA256 "\x02\0\0\x02\x01\x04"
                                    "\x06\0\0\x04\xff\x15\x04"
                                    "no!"),
     END(LOGIN_FAILED, "no!"),
     SENT(HEAD("\x5a", "\x01", "\x82") "me\0\x20" PROOF_SHA256 "caching_sha2_password\0"
                                       "\0\0\0\x03")},
    {.name = "the same inside verified TLS: gets it",
     .settings = "sslmode = \"verify-full\";",
     .user = "me",
     .secret = "secret",
     .reply = BYTES(GREETING_SHA256_TLS),
     .secured = BYTES("\x02\0\0\x03\x01\x04" LOGGED_IN("\x05")),
     GOOD(NULL),
     SENT(TLS_REQUEST "[TLS]" HEAD("\x5a", "\x02", "\x8a") "me\0\x20" PROOF_SHA256
                                                           "caching_sha2_password\0"
                                                           "\x07\0\0\x04"
                                                           "secret\0" QUIT)},
    {.name = "the same inside TLS with nobody knows whom: gets none",
     .settings = "sslmode = \"require\";",
     .user = "me",
     .secret = "secret",
     .reply = BYTES(GREETING_SHA256_TLS),
     .secured = BYTES("\x02\0\0\x03\x01\x04"
                      "\x06\0\0\x05\xff\x15\x04"
                      "no!"),
     END(LOGIN_FAILED, "no!"),
     SENT(TLS_REQUEST "[TLS]" HEAD("\x5a", "\x02", "\x8a") "me\0\x20" PROOF_SHA256
                                                           "caching_sha2_password\0"
                                                           "\0\0\0\x04")},
    {.name = "the same without a password here",
     .settings = "sslmode = \"verify-full\";",
     .user = "me",
     .reply = BYTES(GREETING_SHA256_TLS),
     .secured = BYTES("\x02\0\0\x03\x01\x04"
                      "\x06\0\0\x05\xff\x15\x04"
                      "no!"),
     GOOD("alive: no!"),
     SENT(TLS_REQUEST "[TLS]" HEAD("\x3a", "\x02", "\x8a") "me\0\0caching_sha2_password\0"
                                                           "\0\0\0\x04")},
    {.name = "a server that knows no plugins",
     .reply = BYTES("\x44\0\0\0\n5.5.5-10.11.19-MariaDB\0\x10\0\0\0"
                    "12345678\0"
                    "\xfe\xf7\x08\x02\0\xf7\x81\x15\0\0\0\0\0\0\x1d\0\0\0"
                    "abcdefghijkl\0" LOGGED_IN("\x02")),
     GOOD(NULL),
     SENT(PLAIN_RESPONSE QUIT)},
    {.name = "the server turns to caching_sha2_password",
     .user = "me",
     .secret = "secret",
     .reply = BYTES(GREETING "\x2c\0\0\x02\xfe"
                             "caching_sha2_password\0"
                             "12345678abcdefghijkl\0" LOGGED_IN("\x04")),
     GOOD(NULL),
     SENT(HEAD("\x4e", "\x01", "\x82") "me\0\x14" PROOF_NATIVE "mysql_native_password\0"
                                       "\x20\0\0\x03" PROOF_SHA256 QUIT)},
    {.name = "and to one whose salt is missing",
     .user = "me",
     .secret = "secret",
     .reply = BYTES(GREETING "\x17\0\0\x02\xfe"
                             "mysql_native_password\0"
                             "\x06\0\0\x04\xff\x15\x04"
                             "no!"),
     END(LOGIN_FAILED, "no!"),
     SENT(HEAD("\x4e", "\x01", "\x82") "me\0\x14" PROOF_NATIVE "mysql_native_password\0"
                                       "\0\0\0\x03")},
    {.name = "and to one without a whole name",
     .reply = BYTES(GREETING "\x04\0\0\x02\xfe"
                             "abc"
                             "\x06\0\0\x04\xff\x15\x04"
                             "no!"),
     GOOD("alive: no!"),
     SENT(PLAIN_RESPONSE "\0\0\0\x03")},
    {.name = "the server turns to another plugin",
     .user = "me",
     .secret = "secret",
     .reply = BYTES(GREETING_SHA256 "\x2c\0\0\x02\xfe"
                                    "mysql_native_password\0"
                                    "12345678abcdefghijkl\0" LOGGED_IN("\x04")),
     GOOD(NULL),
     SENT(HEAD("\x5a", "\x01", "\x82") "me\0\x20" PROOF_SHA256 "caching_sha2_password\0"
                                       "\x14\0\0\x03" PROOF_NATIVE QUIT)},
    {.name = "and to one that is not known here",
     .reply = BYTES(GREETING "\x10\0\0\x02\xfe"
                             "client_ed25519\0"
                             "\x06\0\0\x04\xff\x15\x04"
                             "no!"),
     GOOD("alive: no!"),
     SENT(PLAIN_RESPONSE "\0\0\0\x03")},

    {.name = "full",
     .reply = BYTES("\x17\0\0\0\xff\x10\x04"
                    "Too many connections"),
     END(OVERLOADED, "Too many connections")},
    {.name = "full, another packet number",
     .reply = BYTES("\x17\0\0\1\xff\x10\x04"
                    "Too many connections"),
     END(OVERLOADED, "Too many connections")},
    {.name = "full for this user",
     .reply = BYTES(GREETING "\x0c\0\0\x02\xff\xb3\x04#42000"
                             "max"),
     END(OVERLOADED, "max")},
    {.name = "shutting down",
     .reply = BYTES("\x0d\0\0\0\xff\x1d\x04#08S01"
                    "down"),
     END(STOPPING, "down")},
    {.name = "offline",
     .reply = BYTES(GREETING "\x0b\0\0\x02\xff\xd8\x0b#HY000"
                             "of"),
     END(NOT_SERVING, "of")},
    {.name = "this address is locked out",
     .reply = BYTES("\x13\0\0\0\xff\x69\x04"
                    "Host is blocked\n"),
     END(REFUSED, "Host is blocked.")},
    {.name = "this address is not allowed: alive",
     .reply = BYTES("\x0e\0\0\0\xff\x6a\x04"
                    "not allowed"),
     GOOD("alive: not allowed")},

    {.name = "TLS, preferred and had",
     .settings = "sslmode = \"prefer\";",
     .reply = BYTES(GREETING_TLS),
     .secured = BYTES(LOGGED_IN("\x03")),
     GOOD(NULL),
     SENT(TLS_REQUEST "[TLS]" RESPONSE("\x02", "\x8a") QUIT)},
    {.name = "TLS, preferred and not had",
     .settings = "sslmode = \"prefer\";",
     .reply = BYTES(GREETING LOGGED_IN("\x02")),
     GOOD(NULL),
     SENT(PLAIN_RESPONSE QUIT)},
    {.name = "TLS, required and not had: the handshake is still ended",
     .settings = "sslmode = \"require\";",
     .user = "healthsvc",
     .secret = "never shown",
     .reply = BYTES(GREETING LOGGED_IN("\x02")),
     END(TLS_HANDSHAKE, NO_TLS),
     SENT(PLAIN_RESPONSE QUIT)},
    {.name = "the same, refused",
     .settings = "sslmode = \"verify-full\";",
     .reply = BYTES(GREETING DENIED),
     END(TLS_HANDSHAKE, NO_TLS)},

    {.name = "an HTTP server", .reply = BYTES("HTTP/1.1 400 Bad Request\r\n"), BAD(NOT_PACKET)},
    {.name = "an SSH server", .reply = BYTES("SSH-2.0-OpenSSH_9.2p1\r\n"), BAD(NOT_PACKET)},
    {.name = "an empty packet", .reply = BYTES("\0\0\0\0"), BAD(NOT_PACKET)},
    {.name = "a packet beyond what is held", .reply = BYTES("\xfd\x1f\0\0"), BAD(NOT_PACKET)},
    {.name = "another protocol", .reply = BYTES("\x01\0\0\0\x09"), BAD("not a greeting of MySQL")},
    {.name = "a greeting out of sequence",
     .reply = BYTES("\x01\0\0\x07\n"),
     BAD("a packet out of sequence")},
    {.name = "a greeting that is cut",
     .reply = BYTES("\x07\0\0\0\n"
                    "5.5.5\0"),
     BAD("not a valid greeting")},
    {.name = "a version without an end",
     .reply = BYTES("\x04\0\0\0\n"
                    "5.5"),
     BAD("not a valid greeting")},
    {.name = "an error without a number",
     .reply = BYTES("\x01\0\0\0\xff"),
     BAD("an error without a number")},
    {.name = "an answer that is none",
     .reply = BYTES(GREETING "\x01\0\0\x02\x63"),
     BAD("not an answer to a login")},
    {.name = "a step that is not known",
     .reply = BYTES(GREETING "\x02\0\0\x02\x01\x09"),
     BAD("not a known step of authentication")},

    {.name = "a step of another plugin",
     .reply = BYTES(GREETING "\x02\0\0\x02\x01\x03"),
     BAD("not a known step of authentication")},
    {.name = "the password wanted by another plugin",
     .reply = BYTES(GREETING "\x02\0\0\x02\x01\x04"),
     BAD("not a known step of authentication")},
    {.name = "a certificate to trust that nothing would look at",
     .settings = "sslmode = \"require\";",
     .ca_file = "/x",
     .fault = "'ca_file': sslmode \"require\" verifies nothing, write \"verify-full\""},
    {.name = "a certificate to trust",
     .settings = "sslmode = \"verify-full\";",
     .ca_file = "/x",
     .waits = true},

    {.name = "silence", .waits = true, .sent = ""},
    {.name = "closed at once", .eof = true, .outcome = OUTCOME_CLOSED},
    {.name = "closed within the greeting",
     .reply = BYTES("\x5a\0\0\0\n"),
     .eof = true,
     .outcome = OUTCOME_CLOSED},
};

TEST(bytes_in_clear_behind_the_turn_to_tls)
{
    static const struct transcript_bytes injected = BYTES(GREETING_TLS LOGGED_IN("\x03"));
    transcript_expect_injection(&scheme_mysql, "sslmode = \"require\";", injected);
}

int main(void)
{
    transcripts_run(&scheme_mysql, rows, sizeof rows / sizeof rows[0]);
    RUN(bytes_in_clear_behind_the_turn_to_tls);
    return testing_end();
}
