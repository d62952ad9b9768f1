/*
 * cassandra: OPTIONS of the native protocol, which Cassandra and ScyllaDB answer before any login.
 *
 * Asked in version 4; a server that does not know it says so in a version of its own, and lives.
 * Source: native_protocol_v4.spec, sections 2 (header), 4.1.3 (OPTIONS), 4.2.4, 9 (error codes).
 */
#include "probe/bytes.h"
#include "probe/engine.h"

#include <healthsvc/config.h>
#include <healthsvc/strbuf.h>

#include <string.h>

#define HEADER_BYTES 9
#define VERSION_RESPONSE 0x80
#define OPCODE_ERROR 0x00
#define OPCODE_SUPPORTED 0x06

static const uint8_t options[HEADER_BYTES] = {4, 0, 0, 0, 5};

struct cassandra_state {
    struct bytes_held held;
};

static enum dlg_step cassandra_open(void *state, const struct target_conf *conf, struct strbuf *out,
                                    struct dlg_result *ret)
{
    (void)state;
    (void)conf;
    (void)ret;
    strbuf_add(out, options, sizeof options);
    return DLG_MORE;
}

static enum dlg_step judge_error(struct bytes body, struct dlg_result *ret)
{
    uint32_t code = bytes_be32(&body);
    size_t len = bytes_be16(&body);
    const uint8_t *words = bytes_take(&body, len);
    if (words == NULL)
        return bytes_end(ret, OUTCOME_BAD_REPLY, "not a valid error of Cassandra");
    switch (code) {
    case 0x000a: /* protocol error: not this version */
        return bytes_end_said(ret, OUTCOME_OK, "alive: ", words, len);
    case 0x1001:
        return bytes_end_said(ret, OUTCOME_OVERLOADED, "overloaded: ", words, len);
    case 0x1002:
        return bytes_end_said(ret, OUTCOME_STARTING, "bootstrapping: ", words, len);
    default:
        return bytes_end_said(ret, OUTCOME_REFUSED, "", words, len);
    }
}

/* A map of text to lists of texts. */
static enum dlg_step judge_supported(struct bytes body, struct dlg_result *ret)
{
    uint16_t pairs = bytes_be16(&body);
    for (; pairs > 0 && !body.failed; pairs--) {
        (void)bytes_take(&body, bytes_be16(&body));
        for (uint16_t values = bytes_be16(&body); values > 0 && !body.failed; values--)
            (void)bytes_take(&body, bytes_be16(&body));
    }
    if (body.failed)
        return bytes_end(ret, OUTCOME_BAD_REPLY, "not a valid answer of Cassandra");
    ret->outcome = OUTCOME_OK;
    return DLG_DONE;
}

static enum dlg_step cassandra_feed(void *state, const uint8_t *in, size_t len, struct strbuf *out,
                                    struct dlg_result *ret)
{
    struct cassandra_state *s = state;
    (void)out;
    if (!bytes_gather(&s->held, HEADER_BYTES, &in, &len))
        return DLG_MORE;
    struct bytes header = bytes_of(s->held.at, HEADER_BYTES);
    uint8_t version = bytes_u8(&header);
    uint8_t flags = bytes_u8(&header); /* nothing that would change the body may be on */
    (void)bytes_be16(&header);         /* stream; an error of the protocol may name any */
    uint8_t opcode = bytes_u8(&header);
    size_t body = bytes_be32(&header);
    if (!(version & VERSION_RESPONSE) || flags != 0 ||
        (opcode != OPCODE_ERROR && opcode != OPCODE_SUPPORTED) ||
        body > BYTES_HELD_MAX - HEADER_BYTES)
        return bytes_end(ret, OUTCOME_BAD_REPLY, "not an answer of Cassandra");
    if (!bytes_gather(&s->held, HEADER_BYTES + body, &in, &len))
        return DLG_MORE;
    if (opcode == OPCODE_ERROR)
        return judge_error(bytes_of(s->held.at + HEADER_BYTES, body), ret);
    return judge_supported(bytes_of(s->held.at + HEADER_BYTES, body), ret);
}

static const struct dialogue cassandra_dialogue = {
    .state_size = sizeof(struct cassandra_state),
    .open = cassandra_open,
    .feed = cassandra_feed,
    .max_reply_bytes = BYTES_HELD_MAX,
    .polite = true,
    .asks_first = true,
};

extern const struct scheme scheme_cassandra;

const struct scheme scheme_cassandra = {
    .name = "cassandra", .port = 9042, .ops = &stream_ops, .dialogue = &cassandra_dialogue};
