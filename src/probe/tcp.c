/*
 * tcp: a connection is accepted. tls: and its certificate is the right one. Neither says a word, so
 * neither has a dialogue: being connected is the verdict (stream.c).
 */
#include "probe/engine.h"

extern const struct scheme scheme_tcp, scheme_tls;

const struct scheme scheme_tcp = {.name = "tcp", .ops = &stream_ops};

const struct scheme scheme_tls = {.name = "tls", .flags = SCHEME_TLS, .ops = &stream_ops};
