/* One state machine for both: the clear part of STARTTLS only comes first. */
#include "line_scheme.h"

#include "probe/dialogue.h"
#include "probe/engine.h"

#include <healthsvc/strbuf.h>

#include <string.h>

struct line_state {
    bool talks; /* past STARTTLS */
    size_t seen;
};

static enum dlg_step line_open(void *state, const struct target_conf *conf, struct strbuf *out,
                               struct dlg_result *ret)
{
    struct line_state *s = state;
    (void)conf;
    (void)ret;
    s->talks = true;
    s->seen = 0;
    strbuf_adds(out, "HELLO\n");
    return DLG_MORE;
}

static enum dlg_step starttls_open(void *state, const struct target_conf *conf, struct strbuf *out,
                                   struct dlg_result *ret)
{
    const struct line_state *s = state;
    if (s->seen > 0)
        return line_open(state, conf, out, ret);
    strbuf_adds(out, "STARTTLS\n");
    return DLG_MORE;
}

static enum dlg_step bad_reply(struct dlg_result *ret)
{
    ret->outcome = OUTCOME_BAD_REPLY;
    return DLG_DONE;
}

static enum dlg_step feed_go(struct line_state *s, const uint8_t *in, size_t len,
                             struct dlg_result *ret)
{
    static const char want[] = "GO\n";
    if (len > sizeof want - 1 - s->seen || memcmp(in, want + s->seen, len) != 0)
        return bad_reply(ret);
    s->seen += len;
    return s->seen == sizeof want - 1 ? DLG_STARTTLS : DLG_MORE;
}

static enum dlg_step line_feed(void *state, const uint8_t *in, size_t len, struct strbuf *out,
                               struct dlg_result *ret)
{
    struct line_state *s = state;
    if (!s->talks)
        return feed_go(s, in, len, ret);
    if (s->seen == 0 && in[0] != 'B')
        return bad_reply(ret);
    s->seen += len;
    if (in[len - 1] != '\n')
        return DLG_MORE;
    strbuf_adds(out, LINE_GOODBYE);
    ret->outcome = OUTCOME_OK;
    return DLG_DONE;
}

static const struct dialogue line_dialogue = {
    .state_size = sizeof(struct line_state),
    .open = line_open,
    .feed = line_feed,
    .max_reply_bytes = 4096,
    .polite = true,
};

static const struct dialogue starttls_dialogue = {
    .state_size = sizeof(struct line_state),
    .open = starttls_open,
    .feed = line_feed,
    .max_reply_bytes = 4096,
    .polite = true,
};

const struct scheme line_scheme = {
    .name = "line",
    .ops = &stream_ops,
    .dialogue = &line_dialogue,
};

const struct scheme line_starttls_scheme = {
    .name = "line-starttls",
    .ops = &stream_ops,
    .dialogue = &starttls_dialogue,
};
