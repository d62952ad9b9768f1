/*
 * tcp: a connection is accepted. tls: and its certificate is the right one. Unless a script tells
 * what is to be said then, neither says a word: being connected is the verdict (stream.c).
 */
#include "probe/engine.h"
#include "probe/script.h"

extern const struct scheme scheme_tcp, scheme_tls;

const struct scheme scheme_tcp = {
    .name = "tcp",
    .flags = SCHEME_STARTTLS,
    .conf_size = sizeof(struct script_conf),
    .keys = script_keys,
    .prepare = script_prepare,
    .release = script_release,
    .wants_tls = script_wants_tls,
    .ops = &stream_ops,
    .dialogue = &script_dialogue,
};

const struct scheme scheme_tls = {
    .name = "tls",
    .flags = SCHEME_TLS,
    .conf_size = sizeof(struct script_conf),
    .keys = script_keys,
    .prepare = script_prepare,
    .release = script_release,
    .ops = &stream_ops,
    .dialogue = &script_dialogue,
};
