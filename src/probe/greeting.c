/*
 * smtp, imap, pop3, ftp and their TLS forms: the server greets, turns to TLS if asked, and is taken
 * leave of. What differs is how a line is read and the words; the way is one:
 *
 *     greeting [-> EHLO] [-> STARTTLS -> TLS [-> EHLO]] -> goodbye
 *
 * SMTP is asked by EHLO, and its goodbye not waited for; the others have no such question, so the
 * answer to the goodbye is what is waited for. With the goodbye a server logs what it logs of any
 * client; without it, some log an error.
 * Sources: RFC 5321 sections 3 and 4.2, RFC 3207, RFC 3501 section 7.1, RFC 1939, RFC 2595,
 * RFC 959 section 4.2, RFC 4217.
 */
#include "probe/engine.h"
#include "probe/lines.h"

#include <healthsvc/config.h>
#include <healthsvc/keys.h>
#include <healthsvc/strbuf.h>

#include <assert.h>
#include <errno.h>
#include <string.h>

enum stage {
    STAGE_GREETING = 0,
    STAGE_HELLO,    /* SMTP: EHLO has been sent */
    STAGE_GO_AHEAD, /* TLS has been asked for */
    STAGE_GOODBYE,  /* not SMTP: its answer is awaited */
};

struct greeting_state;

struct protocol {
    const char *name;
    /* Judges a line. True: with it the answer is complete, and means *ret_outcome (bad_reply: it
     * is none of this protocol). */
    bool (*read)(struct greeting_state *s, enum outcome *ret_outcome);
    const char *starttls, *goodbye;
    bool hello; /* is asked by EHLO */
};

struct smtp_conf {
    struct lines_starttls tls; /* all that the other schemes have */
    char *ehlo;
};
static_assert(offsetof(struct smtp_conf, tls) == 0, "lines_starttls_keys count from there");

struct greeting_state {
    const struct protocol *protocol;
    const struct target_conf *conf;
    struct lines line;
    enum stage stage;
    bool secured;
    char code[4]; /* of an answer that goes on; "": none does */
};

#define EHLO_ROW                                                                            \
    {                                                                                       \
        .name = "ehlo", .type = KEY_STRING, .flags = KEY_ASKED | KEY_SENT,                  \
        .offset = offsetof(struct smtp_conf, ehlo), .min = 1, .max = 255,                   \
        .default_text = "localhost",                                                        \
        .sentence = "The name to give with EHLO, for a server that is particular about it." \
    }

static const struct key_row smtp_keys[] = {EHLO_ROW, LINES_STARTTLS_ROW, KEYS_END};
static const struct key_row smtps_keys[] = {EHLO_ROW, KEYS_END};

static int smtp_prepare(struct target_conf *conf, struct strbuf *why)
{
    const struct smtp_conf *smtp = conf->scheme_conf;
    for (const char *p = smtp->ehlo; *p != '\0'; p++) {
        if (*p <= ' ' || *p > '~') {
            strbuf_adds(why, "'ehlo': must be printable ASCII without blanks");
            return -EINVAL;
        }
    }
    return 0;
}

/* ---- how a line is read ---- */

/* Three digits, then a blank or the end; with a '-' the answer goes on until the same three come
 * without it. What lies between is free in FTP; SMTP repeats the digits. */
static bool read_code(struct greeting_state *s, enum outcome *ret_outcome)
{
    const char *text = s->line.text;
    bool coded = text[0] >= '1' && text[0] <= '5' && strspn(text, "0123456789") == 3 &&
                 (text[3] == ' ' || text[3] == '-' || text[3] == '\0');
    if (s->code[0] != '\0') {
        if (!coded || memcmp(text, s->code, 3) != 0 || text[3] == '-')
            return false;
    } else if (coded && text[3] == '-') {
        memcpy(s->code, text, 3);
        return false;
    }
    s->code[0] = '\0';
    *ret_outcome = OUTCOME_BAD_REPLY;
    if (!coded)
        return true;
    if (text[0] == '2' && (s->stage != STAGE_GREETING || memcmp(text, "220", 3) == 0))
        *ret_outcome = OUTCOME_OK;
    else if (text[0] == '1')
        *ret_outcome = OUTCOME_STARTING; /* FTP: 120, ready in so many minutes */
    else if (text[0] == '4')
        *ret_outcome = OUTCOME_NOT_SERVING; /* 421: too many clients, or on its way down */
    else if (text[0] == '5')
        *ret_outcome = OUTCOME_REFUSED;
    return true;
}

/* Untagged until the answer with our tag, of which there is one at a time: "a". */
static bool read_imap(struct greeting_state *s, enum outcome *ret_outcome)
{
    const struct lines *line = &s->line;
    bool greeting = s->stage == STAGE_GREETING;
    const char *tag = greeting ? "* " : "a ";
    *ret_outcome = OUTCOME_BAD_REPLY;
    if (lines_begin_any_case(line, "* BYE") && s->stage != STAGE_GOODBYE) {
        *ret_outcome = OUTCOME_REFUSED;
        return true;
    }
    if (!greeting && lines_begin(line, "* "))
        return false;
    if (!lines_begin(line, tag))
        return true;
    const char *word = line->text + strlen(tag);
    if (strncasecmp(word, "OK", 2) == 0 || (greeting && strncasecmp(word, "PREAUTH", 7) == 0))
        *ret_outcome = OUTCOME_OK;
    else if (!greeting && (strncasecmp(word, "NO", 2) == 0 || strncasecmp(word, "BAD", 3) == 0))
        *ret_outcome = OUTCOME_REFUSED;
    return true;
}

static bool read_pop3(struct greeting_state *s, enum outcome *ret_outcome)
{
    *ret_outcome = OUTCOME_BAD_REPLY;
    if (lines_begin_any_case(&s->line, "+OK"))
        *ret_outcome = OUTCOME_OK;
    else if (lines_begin_any_case(&s->line, "-ERR"))
        *ret_outcome = OUTCOME_REFUSED;
    return true;
}

/* ---- the way ---- */

static enum dlg_step ask(struct greeting_state *s, enum stage next, const char *command,
                         struct strbuf *out)
{
    s->stage = next;
    strbuf_adds(out, command);
    return DLG_MORE;
}

static enum dlg_step ask_hello(struct greeting_state *s, struct strbuf *out)
{
    const struct smtp_conf *smtp = s->conf->scheme_conf;
    s->stage = STAGE_HELLO;
    strbuf_addf(out, "EHLO %s\r\n", smtp->ehlo);
    return DLG_MORE;
}

static bool wants_tls(const struct greeting_state *s)
{
    /* A scheme that speaks TLS from the first byte has no such setting (imaps: none at all). */
    const struct lines_starttls *tls = s->conf->scheme_conf;
    return (s->conf->scheme->flags & SCHEME_STARTTLS) && tls->starttls && !s->secured;
}

/* What was asked has been answered well. */
static enum dlg_step go_on(struct greeting_state *s, size_t behind, struct strbuf *out,
                           struct dlg_result *ret)
{
    const struct protocol *p = s->protocol;
    switch (s->stage) {
    case STAGE_GREETING:
        if (p->hello)
            return ask_hello(s, out);
        return wants_tls(s) ? ask(s, STAGE_GO_AHEAD, p->starttls, out)
                            : ask(s, STAGE_GOODBYE, p->goodbye, out);
    case STAGE_HELLO:
        if (wants_tls(s))
            return ask(s, STAGE_GO_AHEAD, p->starttls, out);
        strbuf_adds(out, p->goodbye);
        break;
    case STAGE_GO_AHEAD:
        s->secured = true;
        return lines_starttls(behind, ret);
    case STAGE_GOODBYE:
        break;
    }
    return lines_end(OUTCOME_OK, "", ret);
}

static enum dlg_step greeting_open(void *state, const struct target_conf *conf,
                                   const struct protocol *protocol, struct strbuf *out)
{
    struct greeting_state *s = state;
    s->protocol = protocol;
    s->conf = conf;
    if (!s->secured)
        return DLG_MORE;
    return protocol->hello ? ask_hello(s, out) : ask(s, STAGE_GOODBYE, protocol->goodbye, out);
}

static enum dlg_step take_line(struct greeting_state *s, size_t behind, struct strbuf *out,
                               struct dlg_result *ret)
{
    enum outcome outcome;
    if (!s->protocol->read(s, &outcome))
        return DLG_MORE;
    if (outcome == OUTCOME_OK)
        return go_on(s, behind, out, ret);
    if (outcome == OUTCOME_BAD_REPLY)
        return lines_strange(&s->line, s->protocol->name, ret);
    if (s->stage == STAGE_GO_AHEAD)
        return lines_quote("no STARTTLS: ", &s->line, 0, OUTCOME_TLS_HANDSHAKE, ret);
    return lines_quote("", &s->line, 0, outcome, ret);
}

static enum dlg_step greeting_feed(void *state, const uint8_t *in, size_t len, struct strbuf *out,
                                   struct dlg_result *ret)
{
    struct greeting_state *s = state;
    while (len > 0) {
        enum lines_step line = lines_next(&s->line, &in, &len);
        enum dlg_step step = DLG_MORE;
        if (line == LINES_BINARY)
            step = lines_strange(&s->line, s->protocol->name, ret);
        else if (line == LINES_LINE)
            step = take_line(s, len, out, ret);
        if (step != DLG_MORE)
            return step;
    }
    return DLG_MORE;
}

/* ---- the schemes ---- */

#define MAX_REPLY_BYTES 16384

#define PROTOCOL(id, ...)                                                       \
    static const struct protocol protocol_##id = {__VA_ARGS__};                 \
    static enum dlg_step id##_open(void *state, const struct target_conf *conf, \
                                   struct strbuf *out, struct dlg_result *ret)  \
    {                                                                           \
        (void)ret;                                                              \
        return greeting_open(state, conf, &protocol_##id, out);                 \
    }                                                                           \
    static const struct dialogue id##_dialogue = {                              \
        .state_size = sizeof(struct greeting_state),                            \
        .open = id##_open,                                                      \
        .feed = greeting_feed,                                                  \
        .max_reply_bytes = MAX_REPLY_BYTES,                                     \
        .polite = true,                                                         \
    }

PROTOCOL(smtp, .name = "SMTP", .read = read_code, .starttls = "STARTTLS\r\n", .goodbye = "QUIT\r\n",
         .hello = true);
PROTOCOL(imap, .name = "IMAP", .read = read_imap, .starttls = "a STARTTLS\r\n",
         .goodbye = "a LOGOUT\r\n");
PROTOCOL(pop3, .name = "POP3", .read = read_pop3, .starttls = "STLS\r\n", .goodbye = "QUIT\r\n");
PROTOCOL(ftp, .name = "FTP", .read = read_code, .starttls = "AUTH TLS\r\n", .goodbye = "QUIT\r\n");

extern const struct scheme scheme_smtp, scheme_smtps, scheme_imap, scheme_imaps, scheme_pop3,
    scheme_pop3s, scheme_ftp;

const struct scheme scheme_smtp = {
    .name = "smtp",
    .port = 25,
    .flags = SCHEME_STARTTLS,
    .conf_size = sizeof(struct smtp_conf),
    .keys = smtp_keys,
    .prepare = smtp_prepare,
    .ops = &stream_ops,
    .dialogue = &smtp_dialogue,
};

const struct scheme scheme_smtps = {
    .name = "smtps",
    .port = 465,
    .flags = SCHEME_TLS,
    .conf_size = sizeof(struct smtp_conf),
    .keys = smtps_keys,
    .prepare = smtp_prepare,
    .ops = &stream_ops,
    .dialogue = &smtp_dialogue,
};

const struct scheme scheme_imap = {
    .name = "imap",
    .port = 143,
    .flags = SCHEME_STARTTLS,
    .conf_size = sizeof(struct lines_starttls),
    .keys = lines_starttls_keys,
    .ops = &stream_ops,
    .dialogue = &imap_dialogue,
};

const struct scheme scheme_imaps = {
    .name = "imaps",
    .port = 993,
    .flags = SCHEME_TLS,
    .ops = &stream_ops,
    .dialogue = &imap_dialogue,
};

const struct scheme scheme_pop3 = {
    .name = "pop3",
    .port = 110,
    .flags = SCHEME_STARTTLS,
    .conf_size = sizeof(struct lines_starttls),
    .keys = lines_starttls_keys,
    .ops = &stream_ops,
    .dialogue = &pop3_dialogue,
};

const struct scheme scheme_pop3s = {
    .name = "pop3s",
    .port = 995,
    .flags = SCHEME_TLS,
    .ops = &stream_ops,
    .dialogue = &pop3_dialogue,
};

const struct scheme scheme_ftp = {
    .name = "ftp",
    .port = 21,
    .flags = SCHEME_STARTTLS,
    .conf_size = sizeof(struct lines_starttls),
    .keys = lines_starttls_keys,
    .ops = &stream_ops,
    .dialogue = &ftp_dialogue,
};
