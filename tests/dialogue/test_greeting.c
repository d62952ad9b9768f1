/* What mail and file servers greet with, the good, the full and the hostile; with and without
 * STARTTLS. */
#include "transcript.h"

#include <healthsvc/probe.h>

extern const struct scheme scheme_smtp, scheme_smtps, scheme_imap, scheme_imaps, scheme_pop3,
    scheme_pop3s, scheme_ftp;

#define ENDS(as, says) .outcome = OUTCOME_##as, .text = (says)
#define TLS .settings = "starttls = true;"
#define EHLO "EHLO localhost\r\n"

static const struct transcript smtp[] = {
    {.name = "exim",
     .reply = BYTES("220 mx ESMTP Exim 4.96 Mon, 23 Nov 2026 00:07:00 +0000\r\n"
                    "250-mx Hello localhost [127.0.0.1]\r\n250-SIZE 52428800\r\n250-8BITMIME\r\n"
                    "250-PIPELINING\r\n250-PIPECONNECT\r\n250-CHUNKING\r\n250-SMTPUTF8\r\n"
                    "250 HELP\r\n"),
     ENDS(OK, NULL),
     .sent = EHLO "QUIT\r\n"},
    {.name = "postscreen's greeting in two parts",
     .reply = BYTES("220-mx.example ESMTP Postfix\r\n220 mx.example ESMTP Postfix\r\n250 mx\r\n"),
     ENDS(OK, NULL),
     .sent = EHLO "QUIT\r\n"},
    {.name = "a code alone", .reply = BYTES("220\n250\n"), ENDS(OK, NULL)},
    {.name = "a name of one's own",
     .settings = "ehlo = \"[10.0.0.1]\";",
     .reply = BYTES("220 mx\r\n250 mx\r\n"),
     ENDS(OK, NULL),
     .sent = "EHLO [10.0.0.1]\r\nQUIT\r\n"},
    {.name = "the greeting alone", .reply = BYTES("220 mx ESMTP\r\n"), .waits = true, .sent = EHLO},
    {.name = "a greeting that goes on", .reply = BYTES("220-mx ESMTP\r\n"), .waits = true},
    {.name = "closed after the greeting",
     .reply = BYTES("220 mx ESMTP\r\n"),
     .eof = true,
     ENDS(CLOSED, NULL)},
    {.name = "full",
     .reply = BYTES("421 Too many concurrent SMTP connections; please try again later.\r\n"),
     .eof = true,
     ENDS(NOT_SERVING, "421 Too many concurrent SMTP connections; please try again later."),
     .sent = ""},
    {.name = "no service, in two lines",
     .reply = BYTES("554-mx ESMTP\r\n554 No SMTP service here\r\n"),
     ENDS(REFUSED, "554 No SMTP service here")},
    {.name = "EHLO is refused",
     .reply = BYTES("220 mx\r\n550 EHLO name not welcome\r\n"),
     ENDS(REFUSED, "550 EHLO name not welcome")},
    {.name = "shutting down between",
     .reply = BYTES("220 mx\r\n421 4.3.2 Service shutting down\r\n"),
     ENDS(NOT_SERVING, "421 4.3.2 Service shutting down")},
    {.name = "news, not mail",
     .reply = BYTES("200 news.example NNRP ready\r\n"),
     ENDS(BAD_REPLY, "not SMTP: \"200 news.example NNRP ready\"")},
    {.name = "an answer that makes no sense",
     .reply = BYTES("220 mx\r\n354 go on\r\n"),
     ENDS(BAD_REPLY, "not SMTP: \"354 go on\"")},
    {.name = "four digits",
     .reply = BYTES("2200 mx\r\n"),
     ENDS(BAD_REPLY, "not SMTP: \"2200 mx\"")},
    {.name = "two digits", .reply = BYTES("22 mx\r\n"), ENDS(BAD_REPLY, "not SMTP: \"22 mx\"")},
    {.name = "ssh",
     .reply = BYTES("SSH-2.0-OpenSSH_9.2p1\r\n"),
     ENDS(BAD_REPLY, "not SMTP: \"SSH-2.0-OpenSSH_9.2p1\"")},
    {.name = "mysql",
     .reply = BYTES("J\0\0\0\n5.5.5-10.11.6-MariaDB"),
     ENDS(BAD_REPLY, "not SMTP: binary")},
    {.name = "a line without end is waited for", .unit = "220 mx", .times = 2000, .waits = true},
    {.name = "a name with a blank",
     .settings = "ehlo = \"a b\";",
     .fault = "'ehlo': must be printable ASCII without blanks"},
};

static const struct transcript smtp_tls[] = {
    {.name = "smtp: tls",
     TLS,
     .reply = BYTES("220 mx\r\n250-mx\r\n250 STARTTLS\r\n220 2.0.0 Ready to start TLS\r\n"),
     .secured = BYTES("250-mx\r\n250 AUTH PLAIN\r\n"),
     ENDS(OK, NULL),
     .sent = EHLO "STARTTLS\r\n[TLS]" EHLO "QUIT\r\n"},
    {.name = "smtp: no tls",
     TLS,
     .reply = BYTES("220 mx\r\n250 mx\r\n503 STARTTLS command used when not advertised\r\n"),
     ENDS(TLS_HANDSHAKE, "no STARTTLS: 503 STARTTLS command used when not advertised")},
    {.name = "smtp: no tls now",
     TLS,
     .reply = BYTES("220 mx\r\n250 mx\r\n454 TLS currently unavailable\r\n"),
     ENDS(TLS_HANDSHAKE, "no STARTTLS: 454 TLS currently unavailable")},
    {.name = "smtp: refused inside",
     TLS,
     .reply = BYTES("220 mx\r\n250 mx\r\n220 go\r\n"),
     .secured = BYTES("550 who are you\r\n"),
     ENDS(REFUSED, "550 who are you")},
    {.name = "smtp: silent inside",
     TLS,
     .reply = BYTES("220 mx\r\n250 mx\r\n220 go\r\n"),
     .waits = true},
};

static const struct transcript imap[] = {
    {.name = "dovecot",
     .reply = BYTES("* OK [CAPABILITY IMAP4rev1 SASL-IR LOGIN-REFERRALS ID ENABLE IDLE LITERAL+ "
                    "STARTTLS AUTH=PLAIN] Dovecot (Debian) ready.\r\n"
                    "* BYE Logging out\r\na OK Logout completed (0.001 + 0.000 secs).\r\n"),
     ENDS(OK, NULL),
     .sent = "a LOGOUT\r\n"},
    {.name = "logged in already",
     .reply = BYTES("* PREAUTH hello\r\n* BYE\r\na ok\r\n"),
     ENDS(OK, NULL)},
    {.name = "the greeting alone", .reply = BYTES("* OK hello\r\n"), .waits = true},
    {.name = "no goodbye, closed",
     .reply = BYTES("* OK hello\r\n* BYE\r\n"),
     .eof = true,
     ENDS(CLOSED, NULL)},
    {.name = "refused",
     .reply = BYTES("* BYE [UNAVAILABLE] Too many connections\r\n"),
     ENDS(REFUSED, "* BYE [UNAVAILABLE] Too many connections"),
     .sent = ""},
    {.name = "LOGOUT is refused",
     .reply = BYTES("* OK hello\r\na BAD what?\r\n"),
     ENDS(REFUSED, "a BAD what?")},
    {.name = "a tag that is not ours",
     .reply = BYTES("* OK hello\r\nb OK\r\n"),
     ENDS(BAD_REPLY, "not IMAP: \"b OK\"")},
    {.name = "another greeting",
     .reply = BYTES("* HELLO\r\n"),
     ENDS(BAD_REPLY, "not IMAP: \"* HELLO\"")},
    {.name = "pop3", .reply = BYTES("+OK ready\r\n"), ENDS(BAD_REPLY, "not IMAP: \"+OK ready\"")},
    {.name = "binary", .reply = BYTES("* OK \0"), ENDS(BAD_REPLY, "not IMAP: binary")},
};

static const struct transcript imap_tls[] = {
    {.name = "imap: tls",
     TLS,
     .reply = BYTES("* OK hello\r\n* CAPABILITY IMAP4rev1\r\na OK Begin TLS negotiation now.\r\n"),
     .secured = BYTES("* BYE Logging out\r\na OK Logout completed.\r\n"),
     ENDS(OK, NULL),
     .sent = "a STARTTLS\r\n[TLS]a LOGOUT\r\n"},
    {.name = "imap: no tls",
     TLS,
     .reply = BYTES("* OK hello\r\na BAD TLS support isn't enabled.\r\n"),
     ENDS(TLS_HANDSHAKE, "no STARTTLS: a BAD TLS support isn't enabled.")},
    {.name = "imap: gone instead of tls",
     TLS,
     .reply = BYTES("* OK hello\r\n* BYE Server shutting down.\r\n"),
     ENDS(TLS_HANDSHAKE, "no STARTTLS: * BYE Server shutting down.")},
};

static const struct transcript pop3[] = {
    {.name = "dovecot",
     .reply = BYTES("+OK Dovecot (Debian) ready.\r\n+OK Logging out\r\n"),
     ENDS(OK, NULL),
     .sent = "QUIT\r\n"},
    {.name = "the greeting alone", .reply = BYTES("+OK ready\r\n"), .waits = true},
    {.name = "refused",
     .reply = BYTES("-ERR [SYS/TEMP] Try again later\r\n"),
     ENDS(REFUSED, "-ERR [SYS/TEMP] Try again later"),
     .sent = ""},
    {.name = "imap", .reply = BYTES("* OK hello\r\n"), ENDS(BAD_REPLY, "not POP3: \"* OK hello\"")},
    {.name = "binary", .reply = BYTES("+\0"), ENDS(BAD_REPLY, "not POP3: binary")},
};

static const struct transcript pop3_tls[] = {
    {.name = "pop3: tls",
     TLS,
     .reply = BYTES("+OK ready\r\n+OK Begin TLS negotiation now.\r\n"),
     .secured = BYTES("+OK Logging out\r\n"),
     ENDS(OK, NULL),
     .sent = "STLS\r\n[TLS]QUIT\r\n"},
    {.name = "pop3: no tls",
     TLS,
     .reply = BYTES("+OK ready\r\n-ERR TLS support isn't enabled.\r\n"),
     ENDS(TLS_HANDSHAKE, "no STARTTLS: -ERR TLS support isn't enabled.")},
};

static const struct transcript ftp[] = {
    {.name = "vsftpd",
     .reply = BYTES("220 (vsFTPd 3.0.3)\r\n221 Goodbye.\r\n"),
     ENDS(OK, NULL),
     .sent = "QUIT\r\n"},
    {.name = "a long greeting with free text",
     .reply = BYTES("220-Welcome\r\n  to\r\n\r\n331 files\r\n220-and\r\n220 more\r\n221\r\n"),
     ENDS(OK, NULL)},
    {.name = "not yet",
     .reply = BYTES("120 Service ready in 5 minutes\r\n"),
     ENDS(STARTING, "120 Service ready in 5 minutes")},
    {.name = "full",
     .reply = BYTES("421 There are too many connected users, please try later.\r\n"),
     .eof = true,
     ENDS(NOT_SERVING, "421 There are too many connected users, please try later."),
     .sent = ""},
    {.name = "oops",
     .reply = BYTES("500 OOPS: vsftpd: refusing to run with writable root inside chroot()\r\n"),
     ENDS(REFUSED, "500 OOPS: vsftpd: refusing to run with writable root inside chroot()")},
    {.name = "garbage", .reply = BYTES("\xff\xfe\n"), ENDS(BAD_REPLY, "not FTP: \".\"")},
    {.name = "ftp: tls",
     TLS,
     .reply = BYTES("220 (vsFTPd 3.0.3)\r\n234 Proceed with negotiation.\r\n"),
     .secured = BYTES("221 Goodbye.\r\n"),
     ENDS(OK, NULL),
     .sent = "AUTH TLS\r\n[TLS]QUIT\r\n"},
    {.name = "ftp: no tls",
     TLS,
     .reply = BYTES("220 (vsFTPd 3.0.3)\r\n530 Please login with USER and PASS.\r\n"),
     ENDS(TLS_HANDSHAKE, "no STARTTLS: 530 Please login with USER and PASS.")},
};

/* What an attacker puts behind the go-ahead would be taken for what came inside TLS. */
static void expect_clear_refused(const struct scheme *scheme, const char *reply)
{
    const struct transcript t = {.settings = "starttls = true;"};
    const struct transcript_bytes bytes = {reply, strlen(reply)}, none = {NULL, 0};
    struct target_conf conf;
    struct transcript_end end;
    struct strbuf why;
    strbuf_init(&why, 1000);
    if (EXPECT_INT(transcript_prepare(scheme, &t, &conf, &why), 0)) {
        transcript_feed(&conf, bytes, none, TRANSCRIPT_WHOLE, false, &end);
        EXPECT_INT(end.step, DLG_DONE);
        EXPECT_STR(outcome_token(end.result.outcome), "bad_reply");
        EXPECT_STR(end.result.text, "clear text behind the go-ahead for TLS");
        strbuf_done(&end.sent);
    }
    transcript_release(&conf);
    strbuf_done(&why);
}

TEST(clear_text_behind_the_go_ahead_is_refused)
{
    expect_clear_refused(&scheme_smtp, "220 mx\r\n250 mx\r\n220 go\r\n250 injected\r\n");
    expect_clear_refused(&scheme_imap, "* OK hello\r\na OK go\r\na OK injected\r\n");
    expect_clear_refused(&scheme_pop3, "+OK ready\r\n+OK go\r\n+");
    expect_clear_refused(&scheme_ftp, "220 hello\r\n234 go\r\n221 injected\r\n");
}

#define RUN_ALL(scheme, rows) transcripts_run(&(scheme), rows, sizeof(rows) / sizeof(rows)[0])

int main(void)
{
    RUN_ALL(scheme_smtp, smtp);
    RUN_ALL(scheme_smtps, smtp);
    RUN_ALL(scheme_smtp, smtp_tls);
    RUN_ALL(scheme_imap, imap);
    RUN_ALL(scheme_imaps, imap);
    RUN_ALL(scheme_imap, imap_tls);
    RUN_ALL(scheme_pop3, pop3);
    RUN_ALL(scheme_pop3s, pop3);
    RUN_ALL(scheme_pop3, pop3_tls);
    RUN_ALL(scheme_ftp, ftp);
    RUN(clear_text_behind_the_go_ahead_is_refused);
    return testing_end();
}
