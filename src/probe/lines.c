/*
 * What the line protocols share. A dialogue must give the same verdict however a reply is cut, so a
 * line is judged when its LF has come and not before; only a NUL, which no line protocol sends, is
 * answered at once: it tells a binary protocol that waits for its client.
 */
#include "probe/lines.h"

#include <healthsvc/strbuf.h>

#include <string.h>
#include <strings.h>

#define SHOWN_BYTES 120

const struct key_row lines_starttls_keys[] = {LINES_STARTTLS_ROW, KEYS_END};

enum lines_step lines_next(struct lines *l, const uint8_t **in, size_t *len)
{
    if (l->ended)
        *l = (struct lines){0};
    while (*len > 0) {
        char c = (char)**in;
        (*in)++;
        (*len)--;
        if (c == '\0')
            return LINES_BINARY;
        if (c == '\n') {
            if (l->len > 0 && l->text[l->len - 1] == '\r')
                l->len--;
            l->text[l->len] = '\0';
            l->ended = true;
            return LINES_LINE;
        }
        if (l->len < LINES_KEPT_BYTES)
            l->text[l->len++] = c;
    }
    return LINES_MORE;
}

bool lines_begin(const struct lines *l, const char *word)
{
    return strncmp(l->text, word, strlen(word)) == 0;
}

bool lines_begin_any_case(const struct lines *l, const char *word)
{
    return strncasecmp(l->text, word, strlen(word)) == 0;
}

enum dlg_step lines_end(enum outcome outcome, const char *text, struct dlg_result *ret)
{
    size_t len = strnlen(text, sizeof ret->text - 1);
    ret->outcome = outcome;
    memcpy(ret->text, text, len);
    ret->text[len] = '\0';
    return DLG_DONE;
}

enum dlg_step lines_quote(const char *before, const struct lines *l, size_t from,
                          enum outcome outcome, struct dlg_result *ret)
{
    struct strbuf text;
    strbuf_init(&text, sizeof ret->text - 1);
    strbuf_adds(&text, before);
    strbuf_add_printable(&text, l->text + from, l->len - from, SHOWN_BYTES);
    (void)lines_end(outcome, text.data, ret);
    strbuf_done(&text);
    return DLG_DONE;
}

enum dlg_step lines_strange(const struct lines *l, const char *protocol, struct dlg_result *ret)
{
    struct strbuf text;
    strbuf_init(&text, sizeof ret->text - 1);
    strbuf_addf(&text, "not %s: ", protocol);
    if (l->ended) {
        strbuf_addc(&text, '"');
        strbuf_add_printable(&text, l->text, l->len, SHOWN_BYTES);
        strbuf_addc(&text, '"');
    } else {
        strbuf_adds(&text, "binary");
    }
    (void)lines_end(OUTCOME_BAD_REPLY, text.data, ret);
    strbuf_done(&text);
    return DLG_DONE;
}

enum dlg_step lines_starttls(size_t behind, struct dlg_result *ret)
{
    if (behind > 0)
        return lines_end(OUTCOME_BAD_REPLY, "clear text behind the go-ahead for TLS", ret);
    return DLG_STARTTLS;
}
