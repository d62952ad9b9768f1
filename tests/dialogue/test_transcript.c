/* The harness itself: it must see a dialogue that depends on the cut, and play STARTTLS. */
#include "transcript.h"

#include <healthsvc/probe.h>

struct toy_state {
    int opened;
};

static enum dlg_step toy_open(void *state, const struct target_conf *conf, struct strbuf *out,
                              struct dlg_result *ret)
{
    struct toy_state *s = state;
    (void)conf, (void)ret;
    strbuf_adds(out, s->opened++ == 0 ? "TLS?" : "PING");
    return DLG_MORE;
}

/* Wants one byte '+' to begin TLS, and then one to be well. */
static enum dlg_step toy_feed(void *state, const uint8_t *in, size_t len, struct strbuf *out,
                              struct dlg_result *ret)
{
    struct toy_state *s = state;
    (void)out;
    if (len != 1 || in[0] != '+')
        return DLG_DONE;
    ret->outcome = OUTCOME_OK;
    return s->opened == 1 ? DLG_STARTTLS : DLG_DONE;
}

/* Wrong on purpose: takes a piece for the whole. */
static enum dlg_step hasty_feed(void *state, const uint8_t *in, size_t len, struct strbuf *out,
                                struct dlg_result *ret)
{
    (void)state, (void)out;
    ret->outcome = len == 4 && memcmp(in, "PONG", 4) == 0 ? OUTCOME_OK : OUTCOME_BAD_REPLY;
    return DLG_DONE;
}

static const struct dialogue toy_dialogue = {
    .state_size = sizeof(struct toy_state), .open = toy_open, .feed = toy_feed};
static const struct dialogue hasty_dialogue = {
    .state_size = sizeof(struct toy_state), .open = toy_open, .feed = hasty_feed};
static const struct scheme toy = {.name = "toy", .dialogue = &toy_dialogue};
static const struct scheme hasty = {.name = "hasty", .dialogue = &hasty_dialogue};

TEST(starttls_opens_again)
{
    const struct transcript t = {
        .reply = BYTES("+"), .secured = BYTES("+"), .outcome = OUTCOME_OK, .sent = "TLS?[TLS]PING"};
    EXPECT_STR(transcript_play(&toy, &t), NULL);
}

TEST(a_peer_that_closes_is_told_to_no_one)
{
    const struct transcript t = {.reply = BYTES("+"), .eof = true, .outcome = OUTCOME_CLOSED};
    EXPECT_STR(transcript_play(&toy, &t), NULL);
}

TEST(a_dialogue_that_waits_is_seen)
{
    const struct transcript t = {.reply = BYTES("+"), .waits = true};
    EXPECT_STR(transcript_play(&toy, &t), NULL);
}

TEST(clear_bytes_behind_starttls_are_seen)
{
    const struct transcript t = {
        .reply = BYTES("++"), .secured = BYTES("+"), .outcome = OUTCOME_OK};
    EXPECT_STR(transcript_play(&toy, &t),
               "3 bytes cut at 1 and after each: 1 bytes in clear behind STARTTLS");
}

TEST(a_dialogue_that_depends_on_the_cut_is_seen)
{
    const struct transcript t = {.reply = BYTES("PONG"), .outcome = OUTCOME_OK};
    EXPECT_STR(transcript_play(&hasty, &t), "4 bytes cut at 1 and after each: "
                                            "bad_reply \"\" 0, expected ok \"\" 0");
}

TEST(what_was_sent_is_compared)
{
    const struct transcript t = {.reply = BYTES("+"), .waits = true, .sent = "TLS?[TLS]pING"};
    EXPECT_HAS(transcript_play(&toy, &t), "expected \"TLS?[TLS]pING\"");
}

int main(void)
{
    RUN(starttls_opens_again);
    RUN(a_peer_that_closes_is_told_to_no_one);
    RUN(a_dialogue_that_waits_is_seen);
    RUN(clear_bytes_behind_starttls_are_seen);
    RUN(a_dialogue_that_depends_on_the_cut_is_seen);
    RUN(what_was_sent_is_compared);
    return testing_end();
}
