/*
 * mqtt, mqtts: MQTT 3.1.1: CONNECT, PINGREQ, DISCONNECT; nothing is subscribed or published.
 *
 * The client id is empty unless told: the broker then makes one up. A fixed id would push another
 * session of the same id out, so it is only for brokers that refuse the empty one.
 * Source: OASIS MQTT 3.1.1, sections 3.1 (CONNECT), 3.2 (CONNACK), 3.12 to 3.14.
 */
#include "probe/bytes.h"
#include "probe/engine.h"

#include <healthsvc/config.h>
#include <healthsvc/keys.h>
#include <healthsvc/strbuf.h>

#include <errno.h>
#include <string.h>

#define REQUEST_BYTES 8192
#define KEEP_ALIVE_S 60
#define LEVEL_3_1_1 4
#define CONNACK_BYTES 4
#define PINGRESP_BYTES 2

enum connect_flag {
    CONNECT_CLEAN = 0x02,
    CONNECT_PASSWORD = 0x40,
    CONNECT_USER = 0x80,
};

struct mqtt_conf {
    char *client_id;
    struct strbuf request;
};

static const struct key_row mqtt_keys[] = {
    {.name = "client_id",
     .type = KEY_STRING,
     .flags = KEY_ASKED | KEY_SENT,
     .offset = offsetof(struct mqtt_conf, client_id),
     .min = 1,
     .max = 128,
     .shown_default = "empty: the broker makes one up",
     .sentence = "The client id; a broker ends any other session that has the same."},
    KEYS_END,
};

static void add_text(struct strbuf *out, const char *text)
{
    bytes_add_be16(out, (uint16_t)strlen(text));
    strbuf_adds(out, text);
}

/* A packet's length: seven bits a byte, the lowest first (section 2.2.3). */
static void add_length(struct strbuf *out, size_t len)
{
    do {
        strbuf_addc(out, (char)((len & 0x7f) | (len > 0x7f ? 0x80 : 0)));
        len >>= 7;
    } while (len > 0);
}

static int mqtt_prepare(struct target_conf *conf, struct strbuf *why)
{
    struct mqtt_conf *mqtt = conf->scheme_conf;
    struct strbuf body;
    strbuf_init(&mqtt->request, REQUEST_BYTES);
    if (conf->secret != NULL && conf->user == NULL) {
        strbuf_adds(why, "'user': a password needs one");
        return -EINVAL;
    }
    strbuf_init(&body, REQUEST_BYTES);
    add_text(&body, "MQTT");
    strbuf_addc(&body, LEVEL_3_1_1);
    strbuf_addc(&body, (char)(CONNECT_CLEAN | (conf->user != NULL ? CONNECT_USER : 0) |
                              (conf->secret != NULL ? CONNECT_PASSWORD : 0)));
    bytes_add_be16(&body, KEEP_ALIVE_S);
    add_text(&body, mqtt->client_id != NULL ? mqtt->client_id : "");
    if (conf->user != NULL)
        add_text(&body, conf->user);
    if (conf->secret != NULL)
        add_text(&body, conf->secret);
    strbuf_addc(&mqtt->request, 0x10);
    add_length(&mqtt->request, body.len);
    strbuf_add(&mqtt->request, body.data, body.len);
    int r = strbuf_error(&body) != 0 ? strbuf_error(&body) : strbuf_error(&mqtt->request);
    strbuf_wipe(&body);
    return r;
}

static void mqtt_release(struct target_conf *conf)
{
    struct mqtt_conf *mqtt = conf->scheme_conf;
    if (mqtt == NULL)
        return;
    strbuf_wipe(&mqtt->request);
}

struct mqtt_state {
    const struct target_conf *conf;
    bool accepted;
    struct bytes_held held;
};

static enum dlg_step mqtt_open(void *state, const struct target_conf *conf, struct strbuf *out,
                               struct dlg_result *ret)
{
    struct mqtt_state *s = state;
    const struct mqtt_conf *mqtt = conf->scheme_conf;
    (void)ret;
    s->conf = conf;
    strbuf_add(out, mqtt->request.data, mqtt->request.len);
    return DLG_MORE;
}

static enum dlg_step judge_connack(struct mqtt_state *s, uint8_t code, struct strbuf *out,
                                   struct dlg_result *ret)
{
    static const uint8_t pingreq[] = {0xc0, 0};
    switch (code) {
    case 0:
        s->accepted = true;
        strbuf_add(out, pingreq, sizeof pingreq);
        return DLG_MORE;
    case 1:
        return bytes_end(ret, OUTCOME_REFUSED, "the broker does not speak MQTT 3.1.1");
    case 2:
        return bytes_end(ret, OUTCOME_REFUSED, "the broker refuses the client id");
    case 3:
        return bytes_end(ret, OUTCOME_NOT_SERVING, "the broker says it is unavailable");
    case 4:
    case 5:
        if (s->conf->user != NULL)
            return bytes_end(ret, OUTCOME_LOGIN_FAILED, "the broker refuses the login");
        return bytes_end(ret, OUTCOME_OK, "alive, authentication required");
    default:
        return bytes_end(ret, OUTCOME_BAD_REPLY, "not a known code in CONNACK");
    }
}

static enum dlg_step mqtt_feed(void *state, const uint8_t *in, size_t len, struct strbuf *out,
                               struct dlg_result *ret)
{
    static const uint8_t connack[] = {0x20, CONNACK_BYTES - 2}, pingresp[] = {0xd0, 0};
    static const uint8_t disconnect[] = {0xe0, 0};
    struct mqtt_state *s = state;
    if (!s->accepted) {
        if (bytes_gather(&s->held, 2, &in, &len) && memcmp(s->held.at, connack, 2) != 0)
            return bytes_end(ret, OUTCOME_BAD_REPLY, "not a CONNACK of MQTT 3.1.1");
        if (!bytes_gather(&s->held, CONNACK_BYTES, &in, &len))
            return DLG_MORE;
        enum dlg_step step = judge_connack(s, s->held.at[3], out, ret);
        if (step != DLG_MORE)
            return step;
        s->held.len = 0;
    }
    if (!bytes_gather(&s->held, PINGRESP_BYTES, &in, &len))
        return DLG_MORE;
    if (memcmp(s->held.at, pingresp, PINGRESP_BYTES) != 0)
        return bytes_end(ret, OUTCOME_BAD_REPLY, "not a PINGRESP");
    strbuf_add(out, disconnect, sizeof disconnect);
    ret->outcome = OUTCOME_OK;
    return DLG_DONE;
}

static const struct dialogue mqtt_dialogue = {
    .state_size = sizeof(struct mqtt_state),
    .open = mqtt_open,
    .feed = mqtt_feed,
    .max_reply_bytes = 1024,
    .polite = true,
    .asks_first = true,
};

SCHEME_PAIR(mqtt, 1883, mqtts, 8883, SCHEME_SECRET, .conf_size = sizeof(struct mqtt_conf),
            .keys = mqtt_keys, .prepare = mqtt_prepare, .release = mqtt_release,
            .dialogue = &mqtt_dialogue);
