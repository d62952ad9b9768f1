/*
 * A step is one word and its argument in a text, because a list of texts is the one list that every
 * part of the configuration knows already. libconfig has eaten one layer of escapes by then; so
 * that they are hardly ever needed, send_line brings its own CR LF.
 */
#include "probe/script.h"

#include "probe/script_steps.h"

#include <healthsvc/config.h>
#include <healthsvc/probe.h>

#include <errno.h>
#include <stdlib.h>
#include <string.h>

#define STEPS_MAX 64
#define STEP_BYTES 1024
#define WORD_SHOWN_BYTES 40

const struct key_row script_keys[] = {
    {.name = "script",
     .type = KEY_TEXT_LIST,
     .flags = KEY_ASKED,
     .offset = offsetof(struct script_conf, steps),
     .min = 1,
     .max = STEP_BYTES,
     .sentence = "A conversation, one step a string: send TEXT, send_line TEXT, send_hex BYTES, "
                 "expect TEXT (the next line begins so), expect_match PATTERN (the next line, or a "
                 "later one, has it), expect_hex BYTES (they come next), starttls; TEXT may hold "
                 "\\r \\n \\t \\\\ \\xHH, and libconfig wants each \\ doubled."},
    KEYS_END,
};

static const char *const step_words[] = {
    "send", "send_line", "send_hex", "expect", "expect_match", "expect_hex", "starttls",
};

static int hex_value(char c)
{
    const char *digits = "0123456789abcdef";
    const char *at = c != '\0' ? strchr(digits, c >= 'A' && c <= 'F' ? c + 32 : c) : NULL;
    return at != NULL ? (int)(at - digits) : -1;
}

/* The byte that two digits stand for, or -1. */
static int hex_byte(const char *text, size_t len)
{
    if (len < 2 || hex_value(text[0]) < 0 || hex_value(text[1]) < 0)
        return -1;
    return hex_value(text[0]) * 16 + hex_value(text[1]);
}

static bool read_text(struct strbuf *out, const char *text, size_t len)
{
    static const char escapes[] = "r\rn\nt\t\\\\";
    for (size_t i = 0; i < len; i++) {
        if (text[i] != '\\') {
            strbuf_addc(out, text[i]);
            continue;
        }
        char c = ++i < len ? text[i] : '\0';
        const char *known = c != '\0' ? strchr(escapes, c) : NULL;
        if (c == 'x') {
            int byte = hex_byte(text + i + 1, len - i - 1);
            if (byte < 0)
                return false;
            strbuf_addc(out, (char)byte);
            i += 2;
        } else if (known != NULL && (known - escapes) % 2 == 0) {
            strbuf_addc(out, known[1]);
        } else {
            return false;
        }
    }
    return true;
}

static bool read_hex(struct strbuf *out, const char *text, size_t len)
{
    for (size_t i = 0; i < len;) {
        int byte = hex_byte(text + i, len - i);
        if (text[i] == ' ') {
            i++;
        } else if (byte < 0) {
            return false;
        } else {
            strbuf_addc(out, (char)byte);
            i += 2;
        }
    }
    return true;
}

static bool find_kind(const char *word, size_t len, enum step_kind *ret_kind)
{
    for (size_t i = 0; i < sizeof step_words / sizeof step_words[0]; i++) {
        if (strlen(step_words[i]) == len && memcmp(step_words[i], word, len) == 0) {
            *ret_kind = (enum step_kind)i;
            return true;
        }
    }
    return false;
}

/* -EINVAL with the rest of a sentence. */
static int refuse(struct strbuf *why, const char *sentence)
{
    strbuf_adds(why, sentence);
    return -EINVAL;
}

static int read_argument(struct step *step, const char *text, size_t len, struct strbuf *why)
{
    bool good = true;
    strbuf_init(&step->bytes, STEP_BYTES + 2);
    switch (step->kind) {
    case STEP_SEND:
    case STEP_SEND_LINE:
    case STEP_EXPECT:
        good = read_text(&step->bytes, text, len);
        if (!good)
            return refuse(why, "an escape that is none of \\r \\n \\t \\\\ \\xHH");
        if (step->kind == STEP_SEND_LINE)
            strbuf_adds(&step->bytes, "\r\n");
        if (step->kind == STEP_EXPECT && memchr(step->bytes.data, '\n', step->bytes.len) != NULL)
            return refuse(why, "a line cannot hold a line end");
        break;
    case STEP_SEND_HEX:
    case STEP_EXPECT_HEX:
        good = read_hex(&step->bytes, text, len);
        if (!good)
            return refuse(why, "bytes are two hexadecimal digits each");
        break;
    case STEP_EXPECT_MATCH: {
        strbuf_add(&step->bytes, text, len);
        int r = strbuf_error(&step->bytes);
        return r == 0 ? expect_pattern_new(step->bytes.data, why, &step->pattern) : r;
    }
    case STEP_STARTTLS:
        return len == 0 ? 0 : refuse(why, "nothing may follow starttls");
    }
    if (strbuf_error(&step->bytes) != 0)
        return strbuf_error(&step->bytes);
    return step->bytes.len > 0 ? 0 : refuse(why, "nothing follows its word");
}

static int read_step(struct script *script, const char *line, size_t len, unsigned flags,
                     struct strbuf *why)
{
    struct step *step = &script->steps[script->count];
    size_t word = strcspn(line, " \n");
    strbuf_addf(why, "'script': step %zu: ", script->count + 1);
    if (word > len)
        word = len;
    if (!find_kind(line, word, &step->kind)) {
        strbuf_add_printable(why, line, word, WORD_SHOWN_BYTES);
        return refuse(why, " is none of send, send_line, send_hex, expect, expect_match, "
                           "expect_hex, starttls");
    }
    script->count++;
    size_t from = word < len ? word + 1 : len;
    int r = read_argument(step, line + from, len - from, why);
    if (r != 0)
        return r;
    for (size_t i = 0; step->kind == STEP_STARTTLS && i + 1 < script->count; i++) {
        if (script->steps[i].kind == STEP_STARTTLS)
            return refuse(why, "starttls can come once only");
    }
    if (step->kind == STEP_STARTTLS && (flags & SCHEME_TLS))
        return refuse(why, "this scheme speaks TLS from the first byte");
    strbuf_clear(why);
    return 0;
}

int script_prepare(struct target_conf *conf, struct strbuf *why)
{
    struct script_conf *own = conf->scheme_conf;
    const char *line = own->steps;
    size_t lines = 1;
    if (line == NULL)
        return 0;
    for (const char *p = line; *p != '\0'; p++)
        lines += *p == '\n';
    if (lines > STEPS_MAX) {
        strbuf_addf(why, "'script': has more than %d steps", STEPS_MAX);
        return -EINVAL;
    }
    own->script = calloc(1, sizeof *own->script + lines * sizeof own->script->steps[0]);
    if (own->script == NULL)
        return -ENOMEM;
    for (size_t i = 0; i < lines; i++) {
        size_t len = strcspn(line, "\n");
        int r = read_step(own->script, line, len, conf->scheme->flags, why);
        if (r != 0)
            return r;
        line += len + 1;
    }
    return 0;
}

void script_release(struct target_conf *conf)
{
    struct script_conf *own = conf->scheme_conf;
    if (own == NULL || own->script == NULL)
        return;
    for (size_t i = 0; i < own->script->count; i++) {
        strbuf_done(&own->script->steps[i].bytes);
        own->script->steps[i].pattern = expect_pattern_free(own->script->steps[i].pattern);
    }
    free(own->script);
    own->script = NULL;
}

bool script_wants_tls(const struct target_conf *conf)
{
    const struct script *script = ((const struct script_conf *)conf->scheme_conf)->script;
    for (size_t i = 0; script != NULL && i < script->count; i++) {
        if (script->steps[i].kind == STEP_STARTTLS)
            return true;
    }
    return false;
}
