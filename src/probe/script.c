/*
 * The verdict must not depend on how the reply was cut. So what is expected is a line's beginning,
 * a whole line, or a number of bytes, never "what has come so far", and what the peer said instead
 * is judged when its line is whole.
 * The work of looking for patterns is bounded for the reply as a whole (expect.c).
 */
#include "probe/script.h"

#include "probe/script_steps.h"

#include <healthsvc/config.h>

#include <stdio.h>
#include <string.h>

#define LINE_BYTES 4096
#define LINES_MAX 256
#define REPLY_BYTES 65536
#define SHOWN_BYTES 80 /* of the peer's own words in a text */
#define WANTED_BYTES 40

struct script_state {
    const struct script *script; /* NULL: not opened yet */
    size_t step;                 /* the one under way */
    bool in_line; /* the rest of the line that an expect looked at is to be dropped */
    unsigned lines;
    size_t work;      /* left for patterns */
    struct strbuf in; /* came, and belongs to no step yet */
};

enum progress {
    PROGRESS_WAIT = 0, /* more bytes are needed */
    PROGRESS_NEXT,
    PROGRESS_FAILED,
};

static enum progress fail(struct script_state *s, struct dlg_result *ret, enum outcome outcome,
                          const char *what)
{
    ret->outcome = outcome;
    (void)snprintf(ret->text, sizeof ret->text, "step %zu: %s", s->step + 1, what);
    return PROGRESS_FAILED;
}

/* Fails with what the peer said instead. */
static enum progress fail_line(struct script_state *s, struct dlg_result *ret, size_t len)
{
    const struct step *step = &s->script->steps[s->step];
    struct strbuf text;
    strbuf_init(&text, OUTCOME_TEXT_BYTES);
    strbuf_adds(&text, "expected \"");
    strbuf_add_printable(&text, step->bytes.data, step->bytes.len, WANTED_BYTES);
    strbuf_adds(&text, "\", got \"");
    /* No more of a long line than is waited for. */
    strbuf_add_printable(&text, s->in.data, len <= SHOWN_BYTES ? len : SHOWN_BYTES + 1,
                         SHOWN_BYTES);
    strbuf_addc(&text, '"');
    enum progress p = fail(s, ret, OUTCOME_WRONG_ANSWER, text.data);
    strbuf_done(&text);
    return p;
}

/* True when no rest of a line is left to be dropped. */
static bool drop_line(struct script_state *s)
{
    if (!s->in_line)
        return true;
    const char *end = memchr(s->in.data, '\n', s->in.len);
    strbuf_consume(&s->in, end != NULL ? (size_t)(end + 1 - s->in.data) : s->in.len);
    s->in_line = end == NULL;
    return end != NULL;
}

/* The next line's length without its end, if it is whole. */
static bool whole_line(const struct script_state *s, size_t *ret_len)
{
    const char *end = memchr(s->in.data, '\n', s->in.len);
    if (end == NULL)
        return false;
    size_t len = (size_t)(end - s->in.data);
    *ret_len = len > 0 && s->in.data[len - 1] == '\r' ? len - 1 : len;
    return true;
}

static enum progress count_line(struct script_state *s, struct dlg_result *ret)
{
    if (++s->lines <= LINES_MAX)
        return PROGRESS_NEXT;
    return fail(s, ret, OUTCOME_BAD_REPLY, "more than 256 lines");
}

/* `end`: nothing more will come. */
static enum progress expect_line(struct script_state *s, bool end, struct dlg_result *ret)
{
    const struct strbuf *want = &s->script->steps[s->step].bytes;
    size_t line_len;
    if (!drop_line(s))
        return PROGRESS_WAIT;
    if (s->in.len >= want->len && memcmp(s->in.data, want->data, want->len) == 0) {
        s->in_line = true;
        return count_line(s, ret);
    }
    bool whole = whole_line(s, &line_len);
    if (!whole) /* a CR may be half a line end */
        line_len = s->in.len - (s->in.len > 0 && s->in.data[s->in.len - 1] == '\r');
    size_t common = line_len < want->len ? line_len : want->len;
    bool like = memcmp(s->in.data, want->data, common) == 0;
    if (whole || (!like && line_len > SHOWN_BYTES) || (end && line_len > 0))
        return fail_line(s, ret, line_len);
    return PROGRESS_WAIT;
}

static enum progress expect_match(struct script_state *s, bool end, struct dlg_result *ret)
{
    const struct step *step = &s->script->steps[s->step];
    size_t len;
    if (!drop_line(s))
        return PROGRESS_WAIT;
    while (whole_line(s, &len) || (end && s->in.len > 0 && (len = s->in.len) > 0)) {
        char given_up[OUTCOME_TEXT_BYTES];
        if (len > LINE_BYTES)
            return fail(s, ret, OUTCOME_BAD_REPLY, "line longer than 4 KB");
        enum outcome outcome =
            expect_pattern_match_of(step->pattern, s->in.data, len, &s->work, given_up);
        if (outcome == OUTCOME_OWN_MEMORY || given_up[0] != '\0')
            return fail(s, ret, outcome == OUTCOME_OWN_MEMORY ? outcome : OUTCOME_WRONG_ANSWER,
                        "the pattern backtracks too much, or cannot be used on this line");
        s->in_line = true;
        (void)drop_line(s);
        if (outcome == OUTCOME_OK)
            return count_line(s, ret);
        if (count_line(s, ret) == PROGRESS_FAILED)
            return PROGRESS_FAILED;
    }
    if (s->in.len > LINE_BYTES + 1)
        return fail(s, ret, OUTCOME_BAD_REPLY, "line longer than 4 KB");
    return PROGRESS_WAIT;
}

static enum progress expect_bytes(struct script_state *s, struct dlg_result *ret)
{
    const struct strbuf *want = &s->script->steps[s->step].bytes;
    char what[80];
    if (!drop_line(s))
        return PROGRESS_WAIT;
    for (size_t i = 0; i < want->len && i < s->in.len; i++) {
        uint8_t got = (uint8_t)s->in.data[i], wanted = (uint8_t)want->data[i];
        if (got == wanted)
            continue;
        (void)snprintf(what, sizeof what, "byte %zu is 0x%02x, expected 0x%02x", i + 1, got,
                       wanted);
        return fail(s, ret, OUTCOME_WRONG_ANSWER, what);
    }
    if (s->in.len < want->len)
        return PROGRESS_WAIT;
    strbuf_consume(&s->in, want->len);
    return PROGRESS_NEXT;
}

/* What was said in clear must be used up: the go-ahead's line is, to its end. */
static enum progress before_tls(struct script_state *s, struct dlg_result *ret)
{
    if (!drop_line(s))
        return PROGRESS_WAIT;
    if (s->in.len > 0)
        return fail(s, ret, OUTCOME_BAD_REPLY, "bytes in clear behind the go-ahead for TLS");
    return PROGRESS_NEXT;
}

static enum progress take_step(struct script_state *s, bool end, struct strbuf *out,
                               struct dlg_result *ret)
{
    const struct step *step = &s->script->steps[s->step];
    switch (step->kind) {
    case STEP_SEND:
    case STEP_SEND_LINE:
    case STEP_SEND_HEX:
        strbuf_add(out, step->bytes.data, step->bytes.len);
        return PROGRESS_NEXT;
    case STEP_EXPECT:
        return expect_line(s, end, ret);
    case STEP_EXPECT_MATCH:
        return expect_match(s, end, ret);
    case STEP_EXPECT_HEX:
        return expect_bytes(s, ret);
    case STEP_STARTTLS:
        return before_tls(s, ret);
    }
    return PROGRESS_FAILED;
}

/* Goes on until more bytes are needed, TLS is, or the verdict is in. */
static enum dlg_step run(struct script_state *s, bool end, struct strbuf *out,
                         struct dlg_result *ret)
{
    while (s->step < s->script->count) {
        enum step_kind kind = s->script->steps[s->step].kind;
        switch (take_step(s, end, out, ret)) {
        case PROGRESS_WAIT:
            return DLG_MORE;
        case PROGRESS_FAILED:
            return DLG_DONE;
        case PROGRESS_NEXT:
            break;
        }
        s->step++;
        if (kind == STEP_STARTTLS)
            return DLG_STARTTLS;
    }
    ret->outcome = OUTCOME_OK;
    return DLG_DONE;
}

static bool script_speaks(const struct target_conf *conf)
{
    return ((const struct script_conf *)conf->scheme_conf)->script != NULL;
}

static enum dlg_step script_open(void *state, const struct target_conf *conf, struct strbuf *out,
                                 struct dlg_result *ret)
{
    struct script_state *s = state;
    if (s->script == NULL) { /* else this is the part inside TLS */
        s->script = ((const struct script_conf *)conf->scheme_conf)->script;
        strbuf_init(&s->in, 2 * REPLY_BYTES);
        s->work = EXPECT_WORK;
    }
    return run(s, false, out, ret);
}

static enum dlg_step script_feed(void *state, const uint8_t *in, size_t len, struct strbuf *out,
                                 struct dlg_result *ret)
{
    struct script_state *s = state;
    strbuf_add(&s->in, in, len);
    if (strbuf_error(&s->in) != 0) {
        ret->outcome = OUTCOME_OWN_MEMORY;
        return DLG_DONE;
    }
    return run(s, false, out, ret);
}

static void script_eof(void *state, struct dlg_result *ret)
{
    struct script_state *s = state;
    struct strbuf unsent; /* nobody is left to hear it */
    strbuf_init(&unsent, REPLY_BYTES);
    if (run(s, true, &unsent, ret) != DLG_DONE)
        (void)fail(s, ret, OUTCOME_CLOSED, "connection closed");
    strbuf_done(&unsent);
}

static void script_done(void *state)
{
    struct script_state *s = state;
    if (s->script != NULL)
        strbuf_done(&s->in);
}

const struct dialogue script_dialogue = {
    .state_size = sizeof(struct script_state),
    .speaks = script_speaks,
    .open = script_open,
    .feed = script_feed,
    .eof = script_eof,
    .done = script_done,
    .max_reply_bytes = REPLY_BYTES,
    .polite = true,
};
