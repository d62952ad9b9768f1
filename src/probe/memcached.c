/*
 * memcached: `version`, the one command that every server and proxy of the text protocol answers
 * without touching an item. A server that was started for SASL speaks the binary protocol only and
 * closes: ask that one by tcp.
 */
#include "probe/engine.h"
#include "probe/lines.h"

#include <healthsvc/strbuf.h>

static enum dlg_step memcached_open(void *state, const struct target_conf *conf, struct strbuf *out,
                                    struct dlg_result *ret)
{
    (void)state, (void)conf, (void)ret;
    strbuf_adds(out, "version\r\n");
    return DLG_MORE;
}

static enum dlg_step memcached_feed(void *state, const uint8_t *in, size_t len, struct strbuf *out,
                                    struct dlg_result *ret)
{
    struct lines *line = state;
    (void)out;
    switch (lines_next(line, &in, &len)) {
    case LINES_MORE:
        return DLG_MORE;
    case LINES_BINARY:
        break;
    case LINES_LINE:
        if (lines_begin(line, "VERSION "))
            return lines_end(OUTCOME_OK, "", ret);
        if (lines_begin(line, "CLIENT_ERROR unauthenticated"))
            return lines_end(OUTCOME_OK, "alive, authentication required", ret);
        if (lines_begin(line, "ERROR Too many open connections"))
            return lines_quote("", line, 0, OUTCOME_OVERLOADED, ret);
        if (lines_begin(line, "SERVER_ERROR "))
            return lines_quote("", line, 0, OUTCOME_NOT_SERVING, ret);
        break;
    }
    return lines_strange(line, "memcached", ret);
}

static const struct dialogue memcached_dialogue = {
    .state_size = sizeof(struct lines),
    .open = memcached_open,
    .feed = memcached_feed,
    .max_reply_bytes = 4096,
    .asks_first = true,
};

extern const struct scheme scheme_memcached;

const struct scheme scheme_memcached = {
    .name = "memcached",
    .port = 11211,
    .ops = &stream_ops,
    .dialogue = &memcached_dialogue,
};
