/*
 * ssh: the server's identification line (RFC 4253 section 4.2). Ours goes out before the close, by
 * which OpenSSH logs one line at level INFO ("Connection closed by ... [preauth]") instead of an
 * error besides. A server that is full says so in place of its identification.
 */
#ifdef HAVE_CONFIG_H
#include <config.h>
#endif

#include "probe/engine.h"
#include "probe/lines.h"

#include <healthsvc/strbuf.h>

static enum dlg_step ssh_open(void *state, const struct target_conf *conf, struct strbuf *out,
                              struct dlg_result *ret)
{
    (void)state, (void)conf, (void)out, (void)ret;
    return DLG_MORE;
}

static enum dlg_step take_line(const struct lines *line, struct strbuf *out, struct dlg_result *ret)
{
    /* 1.99: a server of the second version that knows the first too (section 5.1). */
    if (lines_begin(line, "SSH-2.0-") || lines_begin(line, "SSH-1.99-")) {
        strbuf_adds(out, "SSH-2.0-healthsvc_" PACKAGE_VERSION "\r\n");
        return lines_end(OUTCOME_OK, "", ret);
    }
    if (lines_begin(line, "SSH-"))
        return lines_quote("", line, 0, OUTCOME_REFUSED, ret);
    if (lines_begin(line, "Exceeded MaxStartups"))
        return lines_quote("", line, 0, OUTCOME_OVERLOADED, ret);
    if (lines_begin(line, "Not allowed at this time"))
        return lines_quote("", line, 0, OUTCOME_REFUSED, ret);
    return DLG_MORE; /* a server may send other lines before */
}

static enum dlg_step ssh_feed(void *state, const uint8_t *in, size_t len, struct strbuf *out,
                              struct dlg_result *ret)
{
    struct lines *line = state;
    while (len > 0) {
        enum lines_step seen = lines_next(line, &in, &len);
        enum dlg_step step = DLG_MORE;
        if (seen == LINES_BINARY)
            step = lines_strange(line, "SSH", ret);
        else if (seen == LINES_LINE)
            step = take_line(line, out, ret);
        if (step != DLG_MORE)
            return step;
    }
    return DLG_MORE;
}

static const struct dialogue ssh_dialogue = {
    .state_size = sizeof(struct lines),
    .open = ssh_open,
    .feed = ssh_feed,
    .max_reply_bytes = 16384,
    .polite = true,
};

extern const struct scheme scheme_ssh;

const struct scheme scheme_ssh = {
    .name = "ssh",
    .port = 22,
    .ops = &stream_ops,
    .dialogue = &ssh_dialogue,
};
