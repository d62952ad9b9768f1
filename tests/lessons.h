/*
 * lessons.h: how a well-behaved peer of each scheme answers, byte by byte.
 *
 * For tests and benchmarks whose peer need not know the protocol: a check that takes the good way
 * through its dialogue comes to a good end on these bytes.
 */
#ifndef HEALTHSVC_TESTS_LESSONS_H
#define HEALTHSVC_TESTS_LESSONS_H

#include "peers.h"

#include <string.h>

struct lesson {
    const char *scheme;
    struct peer_script script;
};

#define HTTP_SCRIPT                                                                  \
    {                                                                                \
        .reply = "HTTP/1.1 200 OK\r\nServer: peer\r\nContent-Length: 3\r\n\r\nok\n", \
        .endless = "HTTP/1.1 200 OK\r\nX-Endless: ",                                 \
    }

#define REDIS_SCRIPT                             \
    {                                            \
        .reply = "+PONG\r\n", .endless = "+PONG" \
    }
#define SMTP_SCRIPT                                                                              \
    {                                                                                            \
        .greets = true, .reply = "220 peer ESMTP\r\n250-peer\r\n250 SIZE\r\n", .endless = "220-" \
    }
#define IMAP_SCRIPT                                                                   \
    {                                                                                 \
        .greets = true, .reply = "* OK peer\r\n* BYE\r\na OK\r\n", .endless = "* OK " \
    }
#define POP3_SCRIPT                                                           \
    {                                                                         \
        .greets = true, .reply = "+OK peer\r\n+OK bye\r\n", .endless = "+OK " \
    }
/* SETTINGS; HEADERS :status 200; DATA: SERVING; HEADERS with grpc-status 0 and END_STREAM. */
static const char grpc_reply[] = "\0\0\0\4\0\0\0\0\0"
                                 "\0\0\1\1\4\0\0\0\1\x88"
                                 "\0\0\7\0\0\0\0\0\1\0\0\0\0\2\x08\1"
                                 "\0\0\xf\1\5\0\0\0\1\0\xbgrpc-status\1"
                                 "0";
/* SETTINGS, then a frame of an unknown type and 16,383 bytes, to be ignored. */
static const char grpc_endless[] = "\0\0\0\4\0\0\0\0\0"
                                   "\0\x3f\xff\xee\0\0\0\0\0";
#define GRPC_SCRIPT                                                                       \
    {                                                                                     \
        .reply = grpc_reply, .reply_len = sizeof grpc_reply - 1, .endless = grpc_endless, \
        .endless_len = sizeof grpc_endless - 1,                                           \
    }
#define BINARY(right, without_end)                                                  \
    {                                                                               \
        .reply = (right), .reply_len = sizeof(right) - 1, .endless = (without_end), \
        .endless_len = sizeof(without_end) - 1,                                     \
    }
#define POSTGRES_REPLY "R\0\0\0\x0c\0\0\0\x05salt"
#define POSTGRES_ENDLESS "E\0\0\x0f\xa0"
#define LDAP_DONE "\x30\x0c\x02\x01\x01\x65\x07\x0a\x01\0\x04\0\x04\0"
#define AMQP_START                                           \
    "\x01\0\0\0\0\0\x1c\0\x0a\0\x0a\0\x09\0\0\0\0\0\0\0\x05" \
    "PLAIN\0\0\0\x05"                                        \
    "en_US\xce"
#define MONGODB_HELLO                                    \
    "\x2e\0\0\0\0\0\0\0\x01\0\0\0\xdd\x07\0\0\0\0\0\0\0" \
    "\x19\0\0\0\x08secondary\0\x01\x10ok\0\x01\0\0\0\0"
#define MQTT_SCRIPT                                                                   \
    {                                                                                 \
        .reply = "\x20\x02\0\0\xd0\0", .reply_len = 6, .endless = "\x20\x02\0\0\xd0", \
        .endless_len = 5, .short_reply = true,                                        \
    }
/* The server speaks first. */
#define MYSQL_GREETING                                             \
    "\x47\0\0\0\x0a"                                               \
    "8.0\0\x10\0\0\0"                                              \
    "12345678\0\xfe\xf7\x08\x02\0\xff\x81\x15\0\0\0\0\0\0\0\0\0\0" \
    "abcdefghijkl\0mysql_native_password\0"
#define MYSQL_REPLY MYSQL_GREETING "\x07\0\0\x02\0\0\0\x02\0\0\0"
#define MYSQL_ENDLESS "\xa0\x0f\0\0\x0a"
#define MYSQL_SCRIPT                                                               \
    {                                                                              \
        .reply = MYSQL_REPLY, .reply_len = sizeof MYSQL_REPLY - 1, .greets = true, \
        .endless = MYSQL_ENDLESS, .endless_len = sizeof MYSQL_ENDLESS - 1,         \
    }

/* Without a dialogue nothing that is said matters. */
static const struct lesson lessons[] = {
    {"tcp", HTTP_SCRIPT},
    {"tls", HTTP_SCRIPT},
    {"http", HTTP_SCRIPT},
    {"https", HTTP_SCRIPT},
    {"redis", REDIS_SCRIPT},
    {"rediss", REDIS_SCRIPT},
    {"memcached", {.reply = "VERSION 1.6.18\r\n", .endless = "VERSION "}},
    {"smtp", SMTP_SCRIPT},
    {"smtps", SMTP_SCRIPT},
    {"imap", IMAP_SCRIPT},
    {"imaps", IMAP_SCRIPT},
    {"pop3", POP3_SCRIPT},
    {"pop3s", POP3_SCRIPT},
    {"ftp", {.greets = true, .reply = "220 peer\r\n221 bye\r\n", .endless = "220-"}},
    {"ssh", {.greets = true, .reply = "SSH-2.0-peer\r\n", .endless = "SSH-2.0-"}},
    {"nats", {.greets = true, .reply = "INFO {}\r\nPONG\r\n", .endless = "INFO {"}},
    {"zookeeper",
     {.reply = "Zookeeper version: 3.8.0\nZxid: 0x0\nMode: leader\nNode count: 5\n",
      .endless = "Zookeeper version: "}},
    {"grpc", GRPC_SCRIPT},
    {"grpcs", GRPC_SCRIPT},
    {"postgres", BINARY(POSTGRES_REPLY, POSTGRES_ENDLESS)},
    {"mysql", MYSQL_SCRIPT},
    {"mqtt", MQTT_SCRIPT},
    {"mqtts", MQTT_SCRIPT},
    {"ldap", BINARY(LDAP_DONE, "\x30\x82\x0f\xa0")},
    {"ldaps", BINARY(LDAP_DONE, "\x30\x82\x0f\xa0")},
    {"amqp", BINARY(AMQP_START, "\x01\0\0\0\0\x0f\xa0")},
    {"amqps", BINARY(AMQP_START, "\x01\0\0\0\0\x0f\xa0")},
    {"fastcgi", BINARY("\x01\x06\0\x01\0\x02\0\0\n\n\x01\x03\0\x01\0\x08\0\0\0\0\0\0\0\0\0\0",
                       "\x01\x06\0\x01\xff\xff\0\0")},
    {"mongodb", BINARY(MONGODB_HELLO, "\xa0\x0f\0\0\0\0\0\0\x01\0\0\0\xdd\x07\0\0")},
    {"kafka", BINARY("\0\0\0\x10hlth\0\0\0\0\0\x01\0\x12\0\0\0\x03", "\0\0\x0f\xa0hlth\0\0")},
    {"cassandra", BINARY("\x84\0\0\0\x06\0\0\0\x02\0\0", "\x84\0\0\0\x06\0\0\x0f\xa0")},
};

static inline const struct lesson *lesson_find(const char *scheme)
{
    for (size_t i = 0; i < sizeof lessons / sizeof lessons[0]; i++) {
        if (strcmp(lessons[i].scheme, scheme) == 0)
            return &lessons[i];
    }
    return NULL;
}

#endif
