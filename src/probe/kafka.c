/*
 * kafka: ApiVersions, the one request that a broker answers before any login, in its first version,
 * which every broker knows or refuses by name (35).
 *
 * Source: Apache Kafka protocol guide, "Protocol Primitive Types", "ApiVersions" (key 18).
 */
#include "probe/bytes.h"
#include "probe/engine.h"

#include <healthsvc/config.h>
#include <healthsvc/strbuf.h>

#include <string.h>

#define LENGTH_BYTES 4
#define HEAD_BYTES 10 /* behind the length: correlation id, error, count of the versions */
#define KEY_API_VERSIONS 18
#define UNSUPPORTED_VERSION 35
#define NOT_KAFKA "not an answer of Kafka"

/* Length, key 18, version 0, correlation id "hlth", client id. */
static const char request[] = "\0\0\0\x13\0\x12\0\0hlth\0\x09healthsvc";

struct kafka_state {
    struct bytes_held held;
};

static enum dlg_step kafka_open(void *state, const struct target_conf *conf, struct strbuf *out,
                                struct dlg_result *ret)
{
    (void)state;
    (void)conf;
    (void)ret;
    strbuf_add(out, request, sizeof request - 1);
    return DLG_MORE;
}

/* Whether the list of key, lowest and highest version has the key that was just used. */
static bool lists_itself(struct bytes list, uint32_t count)
{
    bool found = false;
    for (; count > 0 && !list.failed; count--) {
        found = bytes_be16(&list) == KEY_API_VERSIONS || found;
        (void)bytes_be32(&list);
    }
    return found && !list.failed && list.left == 0;
}

static enum dlg_step judge(struct bytes response, struct dlg_result *ret)
{
    const uint8_t *id = bytes_take(&response, 4);
    uint16_t error = bytes_be16(&response);
    uint32_t count = bytes_be32(&response);
    if (id == NULL || memcmp(id, "hlth", 4) != 0)
        return bytes_end(ret, OUTCOME_BAD_REPLY, NOT_KAFKA);
    if (error != 0 && error != UNSUPPORTED_VERSION)
        return bytes_end(ret, OUTCOME_REFUSED, "the broker answers with error %u", error);
    if (error == 0 && !lists_itself(response, count))
        return bytes_end(ret, OUTCOME_BAD_REPLY, NOT_KAFKA);
    ret->outcome = OUTCOME_OK;
    return DLG_DONE;
}

static enum dlg_step kafka_feed(void *state, const uint8_t *in, size_t len, struct strbuf *out,
                                struct dlg_result *ret)
{
    struct kafka_state *s = state;
    (void)out;
    if (!bytes_gather(&s->held, LENGTH_BYTES, &in, &len))
        return DLG_MORE;
    struct bytes length = bytes_of(s->held.at, LENGTH_BYTES);
    size_t response = bytes_be32(&length);
    if (response < HEAD_BYTES || response > BYTES_HELD_MAX - LENGTH_BYTES)
        return bytes_end(ret, OUTCOME_BAD_REPLY, NOT_KAFKA);
    if (!bytes_gather(&s->held, LENGTH_BYTES + response, &in, &len))
        return DLG_MORE;
    return judge(bytes_of(s->held.at + LENGTH_BYTES, response), ret);
}

static const struct dialogue kafka_dialogue = {
    .state_size = sizeof(struct kafka_state),
    .open = kafka_open,
    .feed = kafka_feed,
    .max_reply_bytes = BYTES_HELD_MAX,
    .polite = true,
    .asks_first = true,
};

extern const struct scheme scheme_kafka;

const struct scheme scheme_kafka = {
    .name = "kafka", .port = 9092, .ops = &stream_ops, .dialogue = &kafka_dialogue};
