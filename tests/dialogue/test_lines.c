/* The small line protocols: memcached, zookeeper, nats, ssh; as their servers speak, and worse. */
#ifdef HAVE_CONFIG_H
#include <config.h>
#endif

#include "transcript.h"

#include <healthsvc/probe.h>

extern const struct scheme scheme_memcached, scheme_zookeeper, scheme_nats, scheme_ssh;

#define ENDS(as, says) .outcome = OUTCOME_##as, .text = (says)

static const struct transcript memcached[] = {
    {.name = "memcached: a version",
     .reply = BYTES("VERSION 1.6.18\r\n"),
     ENDS(OK, NULL),
     .sent = "version\r\n"},
    {.name = "memcached: a login is wanted",
     .reply = BYTES("CLIENT_ERROR unauthenticated\r\n"),
     ENDS(OK, "alive, authentication required")},
    {.name = "memcached: full",
     .reply = BYTES("ERROR Too many open connections\r\n"),
     .eof = true,
     ENDS(OVERLOADED, "ERROR Too many open connections")},
    {.name = "memcached: a proxy without servers",
     .reply = BYTES("SERVER_ERROR backend failure\r\n"),
     ENDS(NOT_SERVING, "SERVER_ERROR backend failure")},
    {.name = "memcached: an error",
     .reply = BYTES("ERROR\r\n"),
     ENDS(BAD_REPLY, "not memcached: \"ERROR\"")},
    {.name = "memcached: binary only",
     .reply = BYTES("\x81\x0a\x00\x00"),
     ENDS(BAD_REPLY, "not memcached: \".\"")},
    {.name = "memcached: half a version", .reply = BYTES("VERSION 1.6"), .waits = true},
    {.name = "memcached: cut", .reply = BYTES("VERSION 1.6"), .eof = true, ENDS(CLOSED, NULL)},
    {.name = "memcached: no end", .unit = "VERSION 1.6", .times = 1000, .waits = true},
};

#define ZOOKEEPER                                                                          \
    "Zookeeper version: 3.8.0-${mvngit.commit.id}, built on 2023-10-21 14:33 UTC\n"        \
    "Latency min/avg/max: 0/0.0/0\nReceived: 1\nSent: 0\nConnections: 1\nOutstanding: 0\n" \
    "Zxid: 0x0\n"

static const struct transcript zookeeper[] = {
    {.name = "zookeeper: alone",
     .reply = BYTES(ZOOKEEPER "Mode: standalone\nNode count: 5\n"),
     .eof = true,
     ENDS(OK, NULL),
     .sent = "srvr"},
    {.name = "zookeeper: a follower", .reply = BYTES(ZOOKEEPER "Mode: follower\n"), ENDS(OK, NULL)},
    {.name = "zookeeper: a leader", .reply = BYTES(ZOOKEEPER "Mode: leader\n"), ENDS(OK, NULL)},
    {.name = "zookeeper: an observer",
     .reply = BYTES(ZOOKEEPER "Mode: observer\n"),
     ENDS(OK, NULL)},
    {.name = "zookeeper: clickhouse keeper",
     .reply = BYTES("ClickHouse Keeper version: v23.3.1\nLatency min/avg/max: 0/0/0\n"
                    "Mode: leader\nNode count: 4\n"),
     ENDS(OK, NULL)},
    {.name = "zookeeper: read-only",
     .reply = BYTES(ZOOKEEPER "Mode: read-only\n"),
     ENDS(NOT_SERVING, "Mode: read-only")},
    {.name = "zookeeper: no quorum",
     .reply = BYTES("This ZooKeeper instance is not currently serving requests\n"),
     .eof = true,
     ENDS(NOT_SERVING, "This ZooKeeper instance is not currently serving requests")},
    {.name = "zookeeper: not in the whitelist",
     .reply = BYTES("srvr is not executed because it is not in the whitelist.\n"),
     .eof = true,
     ENDS(OK, "alive, srvr is not in the whitelist")},
    {.name = "zookeeper: cut", .reply = BYTES(ZOOKEEPER), .eof = true, ENDS(CLOSED, NULL)},
    {.name = "zookeeper: not yet", .reply = BYTES(ZOOKEEPER "Mode: lead"), .waits = true},
    {.name = "zookeeper: a mode before the name",
     .reply = BYTES("Mode: leader\n"),
     ENDS(BAD_REPLY, "not ZooKeeper: \"Mode: leader\"")},
    {.name = "zookeeper: http",
     .reply = BYTES("HTTP/1.1 400 Bad Request\r\n"),
     ENDS(BAD_REPLY, "not ZooKeeper: \"HTTP/1.1 400 Bad Request\"")},
    {.name = "zookeeper: binary",
     .reply = BYTES(ZOOKEEPER "\0"),
     ENDS(BAD_REPLY, "not ZooKeeper: binary")},
};

#define NATS_INFO                                                                             \
    "INFO {\"server_id\":\"NB7PUI5WCTJYBRDKO6XG7A3XMQTFHFGCDCUF7PP7GZFVE4GSDQGORCCL\","       \
    "\"version\":\"2.9.10\",\"proto\":1,\"go\":\"go1.19.8\",\"host\":\"127.0.0.1\",\"port\":" \
    "4222,\"headers\":true,\"max_payload\":1048576,\"client_id\":4} \r\n"
#define CONNECT(more) \
    "CONNECT {\"verbose\":false,\"pedantic\":false,\"name\":\"healthsvc\"" more "}\r\nPING\r\n"

static const struct transcript nats[] = {
    {.name = "nats: pong",
     .reply = BYTES(NATS_INFO "PONG\r\n"),
     ENDS(OK, NULL),
     .sent = CONNECT("")},
    {.name = "nats: with other words between",
     .reply = BYTES(NATS_INFO "+OK\r\nPING\r\n" NATS_INFO "PONG\r\n"),
     ENDS(OK, NULL),
     .sent = CONNECT("")},
    {.name = "nats: a token",
     .secret = "s\"ecret",
     .reply = BYTES(NATS_INFO "PONG\r\n"),
     ENDS(OK, NULL),
     .sent = CONNECT(",\"auth_token\":\"s\\\"ecret\"")},
    {.name = "nats: a user",
     .user = "u",
     .secret = "p",
     .reply = BYTES(NATS_INFO "PONG\r\n"),
     ENDS(OK, NULL),
     .sent = CONNECT(",\"user\":\"u\",\"pass\":\"p\"")},
    {.name = "nats: a login is wanted",
     .reply = BYTES(NATS_INFO "-ERR 'Authorization Violation'\r\n"),
     .eof = true,
     ENDS(OK, "alive, authentication required")},
    {.name = "nats: a wrong login",
     .user = "u",
     .secret = "p",
     .reply = BYTES(NATS_INFO "-ERR 'Authorization Violation'\r\n"),
     ENDS(LOGIN_FAILED, "'Authorization Violation'")},
    {.name = "nats: full",
     .reply = BYTES(NATS_INFO "-ERR 'maximum connections exceeded'\r\n"),
     ENDS(OVERLOADED, "'maximum connections exceeded'")},
    {.name = "nats: full, at once",
     .reply = BYTES("-ERR 'Maximum Connections Exceeded'\r\n"),
     ENDS(OVERLOADED, "'Maximum Connections Exceeded'"),
     .sent = ""},
    {.name = "nats: on its way down",
     .reply = BYTES(NATS_INFO "-ERR 'Server Shutdown'\r\n"),
     ENDS(STOPPING, "'Server Shutdown'")},
    {.name = "nats: TLS is wanted",
     .reply = BYTES(NATS_INFO "-ERR 'Secure Connection - TLS Required'\r\n"),
     ENDS(REFUSED, "'Secure Connection - TLS Required'")},
    {.name = "nats: tls",
     .settings = "starttls = true;",
     .reply = BYTES(NATS_INFO),
     .secured = BYTES("PONG\r\n"),
     ENDS(OK, NULL),
     .sent = "[TLS]" CONNECT("")},
    {.name = "nats: INFO alone", .reply = BYTES(NATS_INFO), .waits = true},
    {.name = "nats: a pong before INFO",
     .reply = BYTES("PONG\r\n"),
     ENDS(BAD_REPLY, "not NATS: \"PONG\"")},
    {.name = "nats: another protocol",
     .reply = BYTES("220 mx ESMTP\r\n"),
     ENDS(BAD_REPLY, "not NATS: \"220 mx ESMTP\"")},
    {.name = "nats: binary", .reply = BYTES("INFO \0"), ENDS(BAD_REPLY, "not NATS: binary")},
    {.name = "nats: cut", .reply = BYTES(NATS_INFO "PON"), .eof = true, ENDS(CLOSED, NULL)},
    {.name = "nats: INFO of a large cluster",
     .reply = BYTES("INFO {\"connect_urls\":["),
     .unit = "\"10.0.0.1:4222\",",
     .times = 2000,
     .tail = BYTES("\"\"]} \r\nPONG\r\n"),
     ENDS(OK, NULL)},
    {.name = "nats: a user without a password",
     .user = "u",
     .fault = "'user': has no use here without a password"},
};

#define OWN_BANNER "SSH-2.0-healthsvc_" PACKAGE_VERSION "\r\n"

static const struct transcript ssh[] = {
    {.name = "ssh: openssh, and what it sends next",
     .reply = BYTES("SSH-2.0-OpenSSH_9.2p1 Debian-2+deb12u7\r\n\0\0\x04\x34"),
     ENDS(OK, NULL),
     .sent = OWN_BANNER},
    {.name = "ssh: dropbear", .reply = BYTES("SSH-2.0-dropbear_2022.83\r\n"), ENDS(OK, NULL)},
    {.name = "ssh: both versions", .reply = BYTES("SSH-1.99-Cisco-1.25\n"), ENDS(OK, NULL)},
    {.name = "ssh: lines before",
     .reply = BYTES("Authorized use only.\r\n\r\nSSH-2.0-x\r\n"),
     ENDS(OK, NULL)},
    {.name = "ssh: the first version only",
     .reply = BYTES("SSH-1.5-1.2.27\r\n"),
     ENDS(REFUSED, "SSH-1.5-1.2.27")},
    {.name = "ssh: full",
     .reply = BYTES("Exceeded MaxStartups\r\n"),
     .eof = true,
     ENDS(OVERLOADED, "Exceeded MaxStartups"),
     .sent = ""},
    {.name = "ssh: a penalty",
     .reply = BYTES("Not allowed at this time\r\n"),
     .eof = true,
     ENDS(REFUSED, "Not allowed at this time")},
    {.name = "ssh: another protocol waits for its client",
     .reply = BYTES("220 mx ESMTP\r\n"),
     .waits = true},
    {.name = "ssh: cut", .reply = BYTES("SSH-2.0-Open"), .eof = true, ENDS(CLOSED, NULL)},
    {.name = "ssh: binary", .reply = BYTES("SSH-2.0-\0"), ENDS(BAD_REPLY, "not SSH: binary")},
    {.name = "ssh: no end", .unit = "SSH-2.0-", .times = 2000, .waits = true},
};

#define RUN_ALL(scheme, rows) transcripts_run(&(scheme), rows, sizeof(rows) / sizeof(rows)[0])

int main(void)
{
    RUN_ALL(scheme_memcached, memcached);
    RUN_ALL(scheme_zookeeper, zookeeper);
    RUN_ALL(scheme_nats, nats);
    RUN_ALL(scheme_ssh, ssh);
    return testing_end();
}
