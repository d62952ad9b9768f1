/* What Redis and its kin say to PING and INFO, in every state that keeps them from serving. */
#include "transcript.h"

#include <healthsvc/probe.h>

extern const struct scheme scheme_redis, scheme_rediss;

#define PING "*1\r\n$4\r\nPING\r\n"
#define INFO "*2\r\n$4\r\nINFO\r\n$11\r\nreplication\r\n"
#define A30 "aaaaaaaaaaaaaaaaaaaaaaaaaaaaaa"
#define A120 A30 A30 A30 A30
#define ENDS(as, says) .outcome = OUTCOME_##as, .text = (says)

static const struct transcript pings[] = {
    {.name = "pong", .reply = BYTES("+PONG\r\n"), ENDS(OK, NULL), .sent = PING},
    {.name = "pong with a bare LF", .reply = BYTES("+PONG\n"), ENDS(OK, NULL)},
    {.name = "bytes behind it are not looked at", .reply = BYTES("+PONG\r\n\0x"), ENDS(OK, NULL)},
    {.name = "half a pong", .reply = BYTES("+PON"), .waits = true},
    {.name = "a pong without its end", .reply = BYTES("+PONG\r"), .waits = true},
    {.name = "closed in the middle", .reply = BYTES("+PON"), .eof = true, ENDS(CLOSED, NULL)},
    {.name = "closed at once", .eof = true, ENDS(CLOSED, NULL)},
    {.name = "a password is wanted: alive",
     .reply = BYTES("-NOAUTH Authentication required.\r\n"),
     ENDS(OK, "alive, authentication required")},
    {.name = "the default user may not ping: alive",
     .reply = BYTES("-NOPERM this user has no permissions to run the 'ping' command\r\n"),
     ENDS(OK, "alive, this user may not PING")},
    {.name = "loading",
     .reply = BYTES("-LOADING Redis is loading the dataset in memory\r\n"),
     ENDS(STARTING, "LOADING Redis is loading the dataset in memory")},
    {.name = "master down",
     .reply = BYTES("-MASTERDOWN Link with MASTER is down and replica-serve-stale-data is set to "
                    "'no'.\r\n"),
     ENDS(NOT_SERVING, "MASTERDOWN Link with MASTER is down and replica-serve-stale-data is set to "
                       "'no'.")},
    {.name = "busy",
     .reply = BYTES("-BUSY Redis is busy running a script. You can only call SCRIPT KILL or "
                    "SHUTDOWN NOSAVE.\r\n"),
     ENDS(NOT_SERVING, "BUSY Redis is busy running a script. You can only call SCRIPT KILL or "
                       "SHUTDOWN NOSAVE.")},
    {.name = "cannot save: the words are cut",
     .reply = BYTES("-MISCONF Redis is configured to save RDB snapshots, but it's currently unable "
                    "to persist to disk. Commands that may modify the data set are disabled.\r\n"),
     ENDS(NOT_SERVING, "MISCONF Redis is configured to save RDB snapshots, but it's currently "
                       "unable to persist to disk. Commands that may mo...")},
    {.name = "full",
     .reply = BYTES("-ERR max number of clients reached\r\n"),
     .eof = true,
     ENDS(OVERLOADED, "ERR max number of clients reached")},
    {.name = "protected",
     .reply = BYTES("-DENIED Redis is running in protected mode because\r\n"),
     .eof = true,
     ENDS(REFUSED, "DENIED Redis is running in protected mode because")},
    {.name = "an error of its own",
     .reply = BYTES("-ERR unknown command 'PING'\r\n"),
     ENDS(REFUSED, "ERR unknown command 'PING'")},
    {.name = "raw bytes are made printable",
     .reply = BYTES("-LOADING \x1b[31m\xc3\xa9\tnow\r\n"),
     ENDS(STARTING, "LOADING .[31m.now")},
    {.name = "another answer", .reply = BYTES("+OK\r\n"), ENDS(BAD_REPLY, "not Redis: \"+OK\"")},
    {.name = "http",
     .reply = BYTES("HTTP/1.1 400 Bad Request\r\nConnection: close\r\n\r\n"),
     ENDS(BAD_REPLY, "not Redis: \"HTTP/1.1 400 Bad Request\"")},
    {.name = "a binary protocol",
     .reply = BYTES("\x15\x03\x01\x00\x02\x02\x0a"),
     ENDS(BAD_REPLY, "not Redis: binary")},
    {.name = "an empty line", .reply = BYTES("\r\n"), ENDS(BAD_REPLY, "not Redis: \"\"")},
    {.name = "a line that is too long to be kept",
     .reply = BYTES("+" A120),
     .unit = A120,
     .times = 60,
     .tail = BYTES("\r\n"),
     ENDS(BAD_REPLY, "not Redis: \"+" A30 A30 A30 "aaaaaaaaaaaaaaaaaaaaaaaaaa...\"")},
    {.name = "a line without end is waited for", .unit = A120, .times = 60, .waits = true},
};

static const struct transcript logins[] = {
    {.name = "a password",
     .secret = "s e\"c",
     .reply = BYTES("+OK\r\n+PONG\r\n"),
     ENDS(OK, NULL),
     .sent = "*2\r\n$4\r\nAUTH\r\n$5\r\ns e\"c\r\n" PING},
    {.name = "a user and a password",
     .user = "health",
     .secret = "secret",
     .reply = BYTES("+OK\r\n+PONG\r\n"),
     ENDS(OK, NULL),
     .sent = "*3\r\n$4\r\nAUTH\r\n$6\r\nhealth\r\n$6\r\nsecret\r\n" PING},
    {.name = "a wrong password",
     .secret = "x",
     .reply = BYTES("-WRONGPASS invalid username-password pair or user is disabled.\r\n"),
     ENDS(LOGIN_FAILED, "WRONGPASS invalid username-password pair or user is disabled.")},
    {.name = "a password that no one asked for",
     .secret = "x",
     .reply = BYTES("-ERR AUTH <password> called without any password configured for the default "
                    "user. Are you sure your configuration is correct?\r\n"),
     ENDS(LOGIN_FAILED, "ERR AUTH <password> called without any password configured for the "
                        "default user. Are you sure your configuration is c...")},
    {.name = "full before the password",
     .secret = "x",
     .reply = BYTES("-ERR max number of clients reached\r\n"),
     ENDS(OVERLOADED, "ERR max number of clients reached")},
    {.name = "logged in while it loads",
     .secret = "x",
     .reply = BYTES("+OK\r\n-LOADING Redis is loading the dataset in memory\r\n"),
     ENDS(STARTING, "LOADING Redis is loading the dataset in memory")},
    {.name = "AUTH answered as PING",
     .secret = "x",
     .reply = BYTES("+PONG\r\n"),
     ENDS(BAD_REPLY, "not Redis: \"+PONG\"")},
    {.name = "a user without a password",
     .user = "health",
     .fault = "'user': has no use here without a password"},
};

/* The length of INFO is of the bytes between "$" line and the last CR LF. */
#define MASTER                                                                                     \
    "+PONG\r\n$68\r\n# Replication\r\nrole:master\r\nconnected_slaves:0\r\nmaster_failover_s:\r\n" \
    "\r\n"
#define UP "# Replication\r\nrole:slave\r\nmaster_link_status:up\r\n"

static const struct transcript roles[] = {
    {.name = "a master",
     .settings = "role = \"master\";",
     .reply = BYTES(MASTER),
     ENDS(OK, NULL),
     .sent = PING INFO},
    {.name = "a master where a replica is wanted",
     .settings = "role = \"replica\";",
     .reply = BYTES(MASTER),
     ENDS(WRONG_ROLE, "role is master, not replica")},
    {.name = "a replica that is linked",
     .settings = "role = \"replica\";",
     .reply = BYTES("+PONG\r\n$50\r\n" UP "\r\n"),
     ENDS(OK, NULL)},
    {.name = "a replica where a master is wanted",
     .settings = "role = \"master\";",
     .reply = BYTES("+PONG\r\n$50\r\n" UP "\r\n"),
     ENDS(WRONG_ROLE, "role is replica, not master")},
    {.name = "a replica that has lost its master",
     .settings = "role = \"replica\";",
     .reply = BYTES("+PONG\r\n$73\r\nrole:slave\r\nmaster_link_status:down\r\n"
                    "master_link_down_since_seconds:312\r\n\r\n"),
     ENDS(NOT_SERVING, "link to the master is down for 312s")},
    {.name = "a replica that never had one",
     .settings = "role = \"replica\";",
     .reply = BYTES("+PONG\r\n$72\r\nrole:slave\r\nmaster_link_status:down\r\n"
                    "master_link_down_since_seconds:-1\r\n\r\n"),
     ENDS(NOT_SERVING, "link to the master is down")},
    {.name = "the last field without an end of its own",
     .settings = "role = \"master\";",
     .reply = BYTES("+PONG\r\n$11\r\nrole:master\r\n"),
     ENDS(OK, NULL)},
    {.name = "INFO without a role",
     .settings = "role = \"master\";",
     .reply = BYTES("+PONG\r\n$4\r\na:b\n\r\n"),
     ENDS(BAD_REPLY, "INFO replication names no role")},
    {.name = "INFO that is cut",
     .settings = "role = \"master\";",
     .reply = BYTES("+PONG\r\n$68\r\n# Replication\r\nrole:master\r\n"),
     .waits = true},
    {.name = "INFO that is cut by the close",
     .settings = "role = \"master\";",
     .reply = BYTES("+PONG\r\n$68\r\n# Replication\r\nrole:master\r\n"),
     .eof = true,
     ENDS(CLOSED, NULL)},
    {.name = "no INFO",
     .settings = "role = \"master\";",
     .reply = BYTES("+PONG\r\n$-1\r\n"),
     ENDS(BAD_REPLY, "not Redis: \"$-1\"")},
    {.name = "an empty INFO",
     .settings = "role = \"master\";",
     .reply = BYTES("+PONG\r\n$0\r\n\r\n"),
     ENDS(BAD_REPLY, "not Redis: \"$0\"")},
    {.name = "an absurd INFO",
     .settings = "role = \"master\";",
     .reply = BYTES("+PONG\r\n$18446744073709551616\r\n"),
     ENDS(BAD_REPLY, "not Redis: \"$18446744073709551616\"")},
    {.name = "a NUL in INFO",
     .settings = "role = \"master\";",
     .reply = BYTES("+PONG\r\n$68\r\nrole:\0master\r\n"),
     ENDS(BAD_REPLY, "not Redis: binary")},
    {.name = "the role is not told without a password",
     .settings = "role = \"master\";",
     .reply = BYTES("-NOAUTH Authentication required.\r\n"),
     ENDS(LOGIN_FAILED, "NOAUTH Authentication required.")},
    {.name = "the role is not told to this user",
     .settings = "role = \"master\";",
     .user = "health",
     .secret = "x",
     .reply = BYTES("+OK\r\n+PONG\r\n-NOPERM this user has no permissions to run the 'info' "
                    "command\r\n"),
     ENDS(LOGIN_FAILED, "NOPERM this user has no permissions to run the 'info' command")},
    {.name = "another role",
     .settings = "role = \"slave\";",
     .fault = "'role' is \"slave\", must be one of \"any\", \"master\", \"replica\""},
};

#define RUN_ALL(scheme, rows) transcripts_run(&(scheme), rows, sizeof(rows) / sizeof(rows)[0])

int main(void)
{
    RUN_ALL(scheme_redis, pings);
    RUN_ALL(scheme_rediss, pings);
    RUN_ALL(scheme_redis, logins);
    RUN_ALL(scheme_redis, roles);
    return testing_end();
}
