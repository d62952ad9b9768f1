/* What PostgreSQL, pgbouncer and others say to the start-up message. The answers of 15.18 were
 * recorded; the rest follows its manual. */
#include "transcript.h"

#include <healthsvc/probe.h>

extern const struct scheme scheme_postgres;

#define STARTUP            \
    "\0\0\0\x45\0\x03\0\0" \
    "user\0healthsvc\0"    \
    "database\0postgres\0" \
    "application_name\0"   \
    "healthsvc\0\0"
#define SSL_REQUEST "\0\0\0\x08\x04\xd2\x16\x2f"
#define SCRAM "R\0\0\0\x17\0\0\0\nSCRAM-SHA-256\0\0"
#define LET_IN "R\0\0\0\x08\0\0\0\0"
#define PARAMETER \
    "S\0\0\0\x19" \
    "client_encoding\0UTF8\0"
#define KEY "K\0\0\0\x0c\0\0\x12\x34\x56\x78\x9a\xbc"
#define READY "Z\0\0\0\x05I"
#define TERMINATE "X\0\0\0\x04"
/* An error: its length (42 and the message's), SQLSTATE and message. */
#define FATAL(length, code, message) \
    "E\0\0\0" length "SFATAL\0VFATAL\0C" code "\0M" message "\0Fpostmaster.c\0\0"

#define GOOD(says) .outcome = OUTCOME_OK, .text = (says)
#define END(id, says) .outcome = OUTCOME_##id, .text = (says)
#define BAD(says) .outcome = OUTCOME_BAD_REPLY, .text = (says)
#define AUTH "alive, authentication required"
#define NOT_PG "not an answer of PostgreSQL"
#define NOT_AUTH "not a valid request for authentication"

static const struct transcript rows[] = {
    {.name = "scram", .reply = BYTES(SCRAM), GOOD(AUTH), SENT(STARTUP)},
    {.name = "md5", .reply = BYTES("R\0\0\0\x0c\0\0\0\x05salt"), GOOD(AUTH)},
    {.name = "password", .reply = BYTES("R\0\0\0\x08\0\0\0\x03"), GOOD(AUTH)},
    {.name = "trust, up to ready",
     .reply = BYTES(LET_IN PARAMETER KEY READY),
     GOOD(NULL),
     SENT(STARTUP TERMINATE)},
    {.name = "trust, but no such database",
     .reply = BYTES(LET_IN FATAL("\x45", "3D000", "database \"x\" does not exist")),
     GOOD("alive: database \"x\" does not exist")},
    {.name = "other settings",
     .settings = "user = \"me\"; database = \"it\";",
     .reply = BYTES(SCRAM),
     GOOD(AUTH),
     SENT("\0\0\0\x38\0\x03\0\0user\0me\0database\0it\0application_name\0healthsvc\0\0")},
    {.name = "a lower minor version is offered first",
     .reply = BYTES("v\0\0\0\x0c\0\0\0\0\0\0\0\0" SCRAM),
     GOOD(AUTH)},
    {.name = "no entry in pg_hba.conf",
     .reply = BYTES(FATAL("\x3e", "28000", "no pg_hba.conf entry")),
     GOOD("alive: no pg_hba.conf entry")},

    {.name = "starting",
     .reply = BYTES(FATAL("\x4c", "57P03", "the database system is starting up")),
     END(STARTING, "the database system is starting up")},
    {.name = "shutting down",
     .reply = BYTES(FATAL("\x4e", "57P03", "the database system is shutting down")),
     END(STOPPING, "the database system is shutting down")},
    {.name = "ended by the administrator",
     .reply = BYTES(FATAL("\x35", "57P01", "terminating")),
     END(STOPPING, "terminating")},
    {.name = "full",
     .reply = BYTES(FATAL("\x49", "53300", "sorry, too many clients already")),
     END(OVERLOADED, "sorry, too many clients already")},
    {.name = "pgbouncer is full",
     .reply = BYTES(FATAL("\x4e", "08P01", "no more connections allowed (max_cl)")),
     END(OVERLOADED, "no more connections allowed (max_cl)")},
    {.name = "pgbouncer without such a database",
     .reply = BYTES(FATAL("\x3d", "08P01", "no such database: x")),
     END(REFUSED, "no such database: x")},
    {.name = "any other error", .reply = BYTES(FATAL("\x2c", "XX000", "oh")), END(REFUSED, "oh")},
    {.name = "control characters in the words",
     .reply = BYTES(FATAL("\x31", "XX000", "a\nb\033[1m")),
     END(REFUSED, "a.b.[1m")},

    {.name = "TLS, preferred and had",
     .settings = "sslmode = \"prefer\";",
     .reply = BYTES("S"),
     .secured = BYTES(SCRAM),
     GOOD(AUTH),
     SENT(SSL_REQUEST "[TLS]" STARTUP)},
    {.name = "TLS, preferred and not had",
     .settings = "sslmode = \"prefer\";",
     .reply = BYTES("N" SCRAM),
     GOOD(AUTH),
     SENT(SSL_REQUEST STARTUP)},
    {.name = "TLS, required and not had",
     .settings = "sslmode = \"require\";",
     .reply = BYTES("N"),
     END(TLS_HANDSHAKE, "the server does not speak TLS"),
     SENT(SSL_REQUEST)},
    {.name = "TLS, verified, full inside",
     .settings = "sslmode = \"verify-full\";",
     .reply = BYTES("S"),
     .secured = BYTES(FATAL("\x2c", "53300", "no")),
     END(OVERLOADED, "no")},
    {.name = "neither S nor N",
     .settings = "sslmode = \"prefer\";",
     .reply = BYTES("H"),
     BAD("neither yes nor no to TLS")},

    {.name = "an HTTP server", .reply = BYTES("HTTP/1.1 400 Bad Request\r\n"), BAD(NOT_PG)},
    {.name = "an SSH server", .reply = BYTES("SSH-2.0-OpenSSH_9.2p1\r\n"), BAD(NOT_PG)},
    {.name = "a message without a type", .reply = BYTES("\0\0\0\0\x08"), BAD(NOT_PG)},
    {.name = "a length below its own size", .reply = BYTES("R\0\0\0\x03"), BAD(NOT_PG)},
    {.name = "a length of 4 GB", .reply = BYTES("R\xff\xff\xff\xff"), BAD(NOT_PG)},
    {.name = "a length beyond what is held", .reply = BYTES("R\0\0\x20\0"), BAD(NOT_PG)},
    {.name = "the longest message that is held waits",
     .reply = BYTES("E\0\0\x1f\xff"),
     .waits = true},
    {.name = "ready before let in", .reply = BYTES(READY), BAD(NOT_PG)},
    {.name = "let in twice", .reply = BYTES(LET_IN LET_IN), BAD(NOT_AUTH)},
    {.name = "an unknown authentication", .reply = BYTES("R\0\0\0\x08\0\0\0\x63"), BAD(NOT_AUTH)},
    {.name = "an empty authentication", .reply = BYTES("R\0\0\0\x04"), BAD(NOT_AUTH)},
    {.name = "an error without SQLSTATE",
     .reply = BYTES("E\0\0\0\x0bMoops\0\0"),
     BAD("an error without SQLSTATE or message")},
    {.name = "an error without an end",
     .reply = BYTES("E\0\0\0\x12"
                    "CXX000\0Mno end"),
     BAD("an error without SQLSTATE or message")},

    {.name = "silence", .reply = BYTES("R"), .waits = true},
    {.name = "closed at once", .eof = true, .outcome = OUTCOME_CLOSED},
    {.name = "closed within", .reply = BYTES("R\0\0\0"), .eof = true, .outcome = OUTCOME_CLOSED},
    {.name = "closed after being let in",
     .reply = BYTES(LET_IN PARAMETER),
     .eof = true,
     .outcome = OUTCOME_CLOSED},
};

TEST(bytes_in_clear_behind_the_turn_to_tls)
{
    static const struct transcript_bytes injected = BYTES("S" LET_IN READY);
    transcript_expect_injection(&scheme_postgres, "sslmode = \"require\";", injected);
}

TEST(sslmode_decides_about_verification)
{
    static const struct {
        const char *settings;
        bool verify;
    } modes[] = {{NULL, false},
                 {"sslmode = \"prefer\";", false},
                 {"sslmode = \"require\";", false},
                 {"sslmode = \"verify-full\";", true}};
    for (size_t i = 0; i < sizeof modes / sizeof modes[0]; i++) {
        const struct transcript row = {.settings = modes[i].settings};
        struct target_conf conf;
        struct strbuf why;
        strbuf_init(&why, 200);
        if (EXPECT_INT(transcript_prepare(&scheme_postgres, &row, &conf, &why), 0))
            EXPECT_INT(conf.tls.verify, modes[i].verify);
        transcript_release(&conf);
        strbuf_done(&why);
    }
}

int main(void)
{
    transcripts_run(&scheme_postgres, rows, sizeof rows / sizeof rows[0]);
    RUN(bytes_in_clear_behind_the_turn_to_tls);
    RUN(sslmode_decides_about_verification);
    return testing_end();
}
