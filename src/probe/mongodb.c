/*
 * mongodb: "hello" by OP_MSG, which no server wants a login for: this node is a primary, a
 * secondary, an arbiter or a router, or it is none of them yet.
 *
 * Source: MongoDB manual, "Wire Protocol" (OP_MSG), "hello"; bsonspec.org 1.1.
 */
#include "probe/bytes.h"
#include "probe/engine.h"

#include <healthsvc/config.h>
#include <healthsvc/strbuf.h>

#include <stdio.h>
#include <string.h>

#define HEADER_BYTES 16
#define OP_MSG 2013
#define CHECKSUM_PRESENT 1u
#define REQUEST_ID 1
#define MESSAGE_MIN_BYTES (HEADER_BYTES + 4 + 1 + 5)

/* {hello: 1, $db: "admin"}; length, request, response to, opcode, flags, one section of kind 0. */
static const char hello[] = "\x34\0\0\0"
                            "\x01\0\0\0"
                            "\0\0\0\0"
                            "\xdd\x07\0\0"
                            "\0\0\0\0"
                            "\0"
                            "\x1f\0\0\0"
                            "\x10hello\0\x01\0\0\0"
                            "\x02$db\0\x06\0\0\0admin\0";

struct mongodb_state {
    struct bytes_held held;
};

static enum dlg_step mongodb_open(void *state, const struct target_conf *conf, struct strbuf *out,
                                  struct dlg_result *ret)
{
    (void)state;
    (void)conf;
    (void)ret;
    strbuf_add(out, hello, sizeof hello); /* the literal's own NUL ends the document */
    return DLG_MORE;
}

/* ---- BSON ---- */

struct element {
    uint8_t type;
    const char *name;
    struct bytes value;
};

/* The length of a value of that type; false: not a type that is known. */
static bool value_length(uint8_t type, struct bytes rest, size_t *ret_len)
{
    size_t counted = bytes_le32(&rest);
    switch (type) {
    case 0x01: /* double */
    case 0x09: /* date */
    case 0x11: /* timestamp */
    case 0x12: /* int64 */
        *ret_len = 8;
        return true;
    case 0x02: /* string */
    case 0x0d: /* code */
    case 0x0e: /* symbol */
        *ret_len = 4 + counted;
        return true;
    case 0x03: /* document */
    case 0x04: /* array */
        *ret_len = counted;
        return counted >= 5;
    case 0x05: /* binary */
        *ret_len = 5 + counted;
        return true;
    case 0x07: /* object id */
        *ret_len = 12;
        return true;
    case 0x08: /* boolean */
        *ret_len = 1;
        return true;
    case 0x06: /* undefined */
    case 0x0a: /* null */
    case 0x7f: /* the greatest key */
    case 0xff: /* the least key */
        *ret_len = 0;
        return true;
    case 0x10: /* int32 */
        *ret_len = 4;
        return true;
    case 0x13: /* decimal */
        *ret_len = 16;
        return true;
    default:
        return false;
    }
}

/* False at the end of the document, or when `b` has failed. */
static bool take_element(struct bytes *b, struct element *ret)
{
    size_t len = 0;
    ret->type = bytes_u8(b);
    if (ret->type == 0)
        return false;
    ret->name = bytes_text(b);
    if (!b->failed && !value_length(ret->type, *b, &len))
        b->failed = true;
    const uint8_t *at = bytes_take(b, len);
    ret->value = bytes_of(at, at != NULL ? len : 0);
    return !b->failed;
}

/* Whether a number or boolean is not zero: zero has zero bits only, in each of these types. */
static bool is_true(const struct element *e)
{
    if (e->type != 0x01 && e->type != 0x08 && e->type != 0x10 && e->type != 0x12)
        return false;
    for (size_t i = 0; i < e->value.left; i++) {
        if (e->value.at[i] != 0)
            return true;
    }
    return false;
}

/* A string without its length and NUL; empty if it is none. */
static struct bytes string_of(const struct element *e)
{
    if (e->type != 0x02 || e->value.left < 5)
        return bytes_of("", 0);
    return bytes_of(e->value.at + 4, e->value.left - 5);
}

/* ---- judging ---- */

static enum dlg_step judge_hello(struct bytes document, struct dlg_result *ret)
{
    bool ok = false, serves = false;
    struct bytes message = bytes_of("", 0);
    struct element e;
    (void)bytes_le32(&document); /* its length: that of the message is what counts */
    while (take_element(&document, &e)) {
        struct bytes text = string_of(&e);
        if (strcmp(e.name, "ok") == 0)
            ok = is_true(&e);
        else if (strcmp(e.name, "errmsg") == 0)
            message = text;
        else if (strcmp(e.name, "isWritablePrimary") == 0 || strcmp(e.name, "ismaster") == 0 ||
                 strcmp(e.name, "secondary") == 0 || strcmp(e.name, "arbiterOnly") == 0)
            serves = serves || is_true(&e);
        else if (strcmp(e.name, "msg") == 0) /* mongos, the router of a sharded cluster */
            serves = serves || (text.left == 8 && memcmp(text.at, "isdbgrid", 8) == 0);
    }
    if (document.failed)
        return bytes_end(ret, OUTCOME_BAD_REPLY, "not a valid document of MongoDB");
    if (!ok)
        return bytes_end_said(ret, OUTCOME_REFUSED, "hello refused: ", message.at, message.left);
    if (!serves)
        return bytes_end(ret, OUTCOME_NOT_SERVING,
                         "neither primary nor secondary (starting or recovering)");
    ret->outcome = OUTCOME_OK;
    return DLG_DONE;
}

static enum dlg_step mongodb_feed(void *state, const uint8_t *in, size_t len, struct strbuf *out,
                                  struct dlg_result *ret)
{
    struct mongodb_state *s = state;
    (void)out;
    if (!bytes_gather(&s->held, HEADER_BYTES, &in, &len))
        return DLG_MORE;
    struct bytes message = bytes_of(s->held.at, HEADER_BYTES);
    size_t total = bytes_le32(&message);
    (void)bytes_le32(&message); /* the server's own number */
    if (total < MESSAGE_MIN_BYTES || total > BYTES_HELD_MAX || bytes_le32(&message) != REQUEST_ID ||
        bytes_le32(&message) != OP_MSG)
        return bytes_end(ret, OUTCOME_BAD_REPLY, "not an answer of MongoDB");
    if (!bytes_gather(&s->held, total, &in, &len))
        return DLG_MORE;
    message = bytes_of(s->held.at + HEADER_BYTES, total - HEADER_BYTES);
    uint32_t flags = bytes_le32(&message);
    if ((flags & ~CHECKSUM_PRESENT) != 0 || bytes_u8(&message) != 0)
        return bytes_end(ret, OUTCOME_BAD_REPLY, "not an answer of MongoDB to one question");
    return judge_hello(message, ret);
}

static const struct dialogue mongodb_dialogue = {
    .state_size = sizeof(struct mongodb_state),
    .open = mongodb_open,
    .feed = mongodb_feed,
    .max_reply_bytes = BYTES_HELD_MAX,
    .polite = true,
    .asks_first = true,
};

extern const struct scheme scheme_mongodb;

const struct scheme scheme_mongodb = {
    .name = "mongodb", .port = 27017, .ops = &stream_ops, .dialogue = &mongodb_dialogue};
