/*
 * zookeeper: `srvr`, the only four-letter word that is enabled by default since 3.5.3. One line of
 * the answer tells the part that the server has in its ensemble; one that has none (no quorum)
 * says so instead. ClickHouse Keeper speaks the same.
 */
#include "probe/engine.h"
#include "probe/lines.h"

#include <healthsvc/strbuf.h>

#include <string.h>

struct zookeeper_state {
    struct lines line;
    bool named; /* its first line has been seen */
};

static enum dlg_step zookeeper_open(void *state, const struct target_conf *conf, struct strbuf *out,
                                    struct dlg_result *ret)
{
    (void)state, (void)conf, (void)ret;
    strbuf_adds(out, "srvr");
    return DLG_MORE;
}

static enum dlg_step judge_first(struct zookeeper_state *s, struct dlg_result *ret)
{
    const struct lines *line = &s->line;
    s->named = true;
    if (lines_begin(line, "Zookeeper version: ") ||
        lines_begin(line, "ClickHouse Keeper version: "))
        return DLG_MORE;
    if (strstr(line->text, "is not currently serving requests") != NULL)
        return lines_quote("", line, 0, OUTCOME_NOT_SERVING, ret);
    if (strstr(line->text, "is not in the whitelist") != NULL)
        return lines_end(OUTCOME_OK, "alive, srvr is not in the whitelist", ret);
    return lines_strange(line, "ZooKeeper", ret);
}

static enum dlg_step judge_mode(const struct zookeeper_state *s, struct dlg_result *ret)
{
    static const char *const good[] = {"Mode: leader", "Mode: follower", "Mode: observer",
                                       "Mode: standalone"};
    for (size_t i = 0; i < sizeof good / sizeof good[0]; i++) {
        if (strcmp(s->line.text, good[i]) == 0)
            return lines_end(OUTCOME_OK, "", ret);
    }
    return lines_quote("", &s->line, 0, OUTCOME_NOT_SERVING, ret); /* read-only: no quorum */
}

static enum dlg_step zookeeper_feed(void *state, const uint8_t *in, size_t len, struct strbuf *out,
                                    struct dlg_result *ret)
{
    struct zookeeper_state *s = state;
    (void)out;
    while (len > 0) {
        enum lines_step line = lines_next(&s->line, &in, &len);
        enum dlg_step step = DLG_MORE;
        if (line == LINES_BINARY)
            step = lines_strange(&s->line, "ZooKeeper", ret);
        else if (line == LINES_LINE && !s->named)
            step = judge_first(s, ret);
        else if (line == LINES_LINE && lines_begin(&s->line, "Mode: "))
            step = judge_mode(s, ret);
        if (step != DLG_MORE)
            return step;
    }
    return DLG_MORE;
}

static const struct dialogue zookeeper_dialogue = {
    .state_size = sizeof(struct zookeeper_state),
    .open = zookeeper_open,
    .feed = zookeeper_feed,
    .max_reply_bytes = 8192,
    .asks_first = true,
};

extern const struct scheme scheme_zookeeper;

const struct scheme scheme_zookeeper = {
    .name = "zookeeper",
    .port = 2181,
    .ops = &stream_ops,
    .dialogue = &zookeeper_dialogue,
};
