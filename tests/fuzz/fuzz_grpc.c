/*
 * The gRPC dialogue against any bytes. An input has no byte that chooses. How the bytes are cut may
 * decide which of two faults is met first, so only good ends are compared. The same bytes then come
 * on a kept connection: between two questions, and as the second answer.
 */
#include "fuzz_dialogue.h"

#include <healthsvc/config.h>
#include <healthsvc/probe.h>
#include <healthsvc/strbuf.h>

#include <stdlib.h>

const char *const fuzz_corpus = "grpc";

static const struct fuzz_subject subject = {"grpc", {.settings = "service = \"trips\";"}};

static bool same(const struct transcript_end *whole, const struct transcript_end *cut)
{
    return whole->result.outcome != OUTCOME_OK || cut->result.outcome == OUTCOME_OK;
}

/* SETTINGS, and SERVING on stream 1. */
static const char serving[] = "\0\0\0\4\0\0\0\0\0"
                              "\0\0\1\1\4\0\0\0\1\x88"
                              "\0\0\7\0\0\0\0\0\1\0\0\0\0\2\x08\1"
                              "\0\0\xf\1\5\0\0\0\1\0\xbgrpc-status\1"
                              "0";

/* One question on a state of its own; what the connection is left with, or NULL. */
static void *ask(const struct target_conf *conf, void *session, const char *reply, size_t len,
                 struct strbuf *out)
{
    const struct dialogue *d = conf->scheme->dialogue;
    struct dlg_result ret = {.outcome = OUTCOME_BAD_REPLY};
    void *state = calloc(1, d->state_size), *left = NULL;
    if (state == NULL)
        abort();
    if (session != NULL)
        d->reuse->resume(state, session);
    enum dlg_step step = d->open(state, conf, out, &ret);
    if (step == DLG_MORE)
        step = d->feed(state, (const uint8_t *)reply, len, out, &ret);
    (void)d->reuse->answered(state);
    if (step == DLG_DONE && ret.outcome == OUTCOME_OK && !d->reuse->rest(state, out, &left))
        left = NULL;
    d->done(state);
    free(state);
    return left;
}

static void keep_and_ask(const struct target_conf *conf, struct transcript_bytes bytes, bool idle)
{
    const struct dialogue *d = conf->scheme->dialogue;
    struct strbuf out;
    strbuf_init(&out, 1 << 20);
    void *session = ask(conf, NULL, serving, sizeof serving - 1, &out);
    if (session == NULL)
        abort();
    if (!idle || d->reuse->idle(session, (const uint8_t *)bytes.at, bytes.len, &out))
        session = ask(conf, session, bytes.at, bytes.len, &out);
    if (session != NULL)
        d->reuse->forget(session);
    strbuf_done(&out);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    const struct transcript_bytes none = {NULL, 0};
    const struct target_conf *conf = fuzz_conf(&subject, 1, 0);
    if (size < 1)
        return 0;
    const struct transcript_bytes bytes = {(const char *)data + 1, size - 1};
    fuzz_play(conf, bytes, none, (size_t)data[0] + 1, same);
    keep_and_ask(conf, bytes, true);
    keep_and_ask(conf, bytes, false);
    return 0;
}
