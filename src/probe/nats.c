/*
 * nats: the server greets with INFO; CONNECT and PING are answered by PONG, or by -ERR with the
 * reason before it closes. With TLS the client turns to it right after INFO, without a word.
 *
 * A server that wants a login is alive, but logs every client that has none: a check that is given
 * one leaves nothing in its log.
 */
#include "probe/engine.h"
#include "probe/lines.h"

#include <healthsvc/config.h>
#include <healthsvc/strbuf.h>

#include <assert.h>
#include <errno.h>
#include <string.h>

#define REQUEST_BYTES 32768 /* user and password with every byte escaped */

struct nats_conf {
    struct lines_starttls tls;
    /* made by prepare: */
    struct strbuf request;
};
static_assert(offsetof(struct nats_conf, tls) == 0, "lines_starttls_keys count from there");

struct nats_state {
    const struct target_conf *conf;
    struct lines line;
    bool greeted;
};

static int nats_prepare(struct target_conf *conf, struct strbuf *why)
{
    struct nats_conf *nats = conf->scheme_conf;
    struct strbuf *out = &nats->request;
    strbuf_init(out, REQUEST_BYTES);
    if (conf->user != NULL && conf->secret == NULL) {
        strbuf_adds(why, "'user': has no use here without a password");
        return -EINVAL;
    }
    strbuf_adds(out, "CONNECT {\"verbose\":false,\"pedantic\":false,\"name\":\"healthsvc\"");
    if (conf->user != NULL) {
        strbuf_adds(out, ",\"user\":");
        strbuf_add_json(out, conf->user);
    }
    if (conf->secret != NULL) {
        strbuf_adds(out, conf->user != NULL ? ",\"pass\":" : ",\"auth_token\":");
        strbuf_add_json(out, conf->secret);
    }
    strbuf_adds(out, "}\r\nPING\r\n");
    return strbuf_error(out);
}

static void nats_release(struct target_conf *conf)
{
    struct nats_conf *nats = conf->scheme_conf;
    if (nats == NULL)
        return;
    strbuf_wipe(&nats->request);
}

/* Once connected there is only to wait for INFO; after TLS it has been seen. */
static enum dlg_step nats_open(void *state, const struct target_conf *conf, struct strbuf *out,
                               struct dlg_result *ret)
{
    struct nats_state *s = state;
    const struct nats_conf *nats = conf->scheme_conf;
    (void)ret;
    s->conf = conf;
    if (s->greeted)
        strbuf_add(out, nats->request.data, nats->request.len);
    return DLG_MORE;
}

static enum dlg_step judge_error(const struct nats_state *s, struct dlg_result *ret)
{
    const struct lines *line = &s->line;
    enum outcome outcome = OUTCOME_REFUSED;
    if (lines_begin_any_case(line, "-ERR 'Authorization Violation")) {
        if (s->conf->secret == NULL)
            return lines_end(OUTCOME_OK, "alive, authentication required", ret);
        outcome = OUTCOME_LOGIN_FAILED;
    } else if (lines_begin_any_case(line, "-ERR 'maximum connections exceeded")) {
        outcome = OUTCOME_OVERLOADED;
    } else if (lines_begin_any_case(line, "-ERR 'Server Shutdown")) {
        outcome = OUTCOME_STOPPING;
    }
    return lines_quote("", line, strlen("-ERR "), outcome, ret);
}

static enum dlg_step take_info(struct nats_state *s, size_t behind, struct strbuf *out,
                               struct dlg_result *ret)
{
    const struct nats_conf *nats = s->conf->scheme_conf;
    s->greeted = true;
    if (nats->tls.starttls)
        return lines_starttls(behind, ret);
    return nats_open(s, s->conf, out, ret);
}

static enum dlg_step take_line(struct nats_state *s, size_t behind, struct strbuf *out,
                               struct dlg_result *ret)
{
    if (lines_begin(&s->line, "-ERR "))
        return judge_error(s, ret);
    if (lines_begin(&s->line, "INFO "))
        return s->greeted ? DLG_MORE : take_info(s, behind, out, ret); /* again: the cluster grew */
    if (s->greeted && strcmp(s->line.text, "PONG") == 0)
        return lines_end(OUTCOME_OK, "", ret);
    if (s->greeted && (strcmp(s->line.text, "PING") == 0 || strcmp(s->line.text, "+OK") == 0))
        return DLG_MORE;
    return lines_strange(&s->line, "NATS", ret);
}

static enum dlg_step nats_feed(void *state, const uint8_t *in, size_t len, struct strbuf *out,
                               struct dlg_result *ret)
{
    struct nats_state *s = state;
    while (len > 0) {
        enum lines_step line = lines_next(&s->line, &in, &len);
        enum dlg_step step = DLG_MORE;
        if (line == LINES_BINARY)
            step = lines_strange(&s->line, "NATS", ret);
        else if (line == LINES_LINE)
            step = take_line(s, len, out, ret);
        if (step != DLG_MORE)
            return step;
    }
    return DLG_MORE;
}

static const struct dialogue nats_dialogue = {
    .state_size = sizeof(struct nats_state),
    .open = nats_open,
    .feed = nats_feed,
    .max_reply_bytes = 65536, /* INFO names every server of the cluster */
};

extern const struct scheme scheme_nats;

const struct scheme scheme_nats = {
    .name = "nats",
    .port = 4222,
    .flags = SCHEME_SECRET | SCHEME_STARTTLS,
    .conf_size = sizeof(struct nats_conf),
    .keys = lines_starttls_keys,
    .prepare = nats_prepare,
    .release = nats_release,
    .ops = &stream_ops,
    .dialogue = &nats_dialogue,
};
