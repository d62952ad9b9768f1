/*
 * ldap, ldaps: without a user the root entry is searched, which no server needs a bind for; with
 * one a simple bind is the question. Unbind is the goodbye.
 *
 * No attribute is asked for ("1.1"), so that the answer is small whatever the server keeps there.
 * A server that lets nobody anonymous look has answered all the same: alive.
 * Source: RFC 4511 (sections 4.1.1, 4.1.9, 4.2, 4.4.1, 4.5), X.690 (BER).
 */
#include "probe/bytes.h"
#include "probe/engine.h"

#include <healthsvc/config.h>
#include <healthsvc/keys.h>
#include <healthsvc/strbuf.h>

#include <errno.h>
#include <stdio.h>
#include <string.h>

#define REQUEST_BYTES 8192

enum ber_tag {
    BER_INTEGER = 0x02,
    BER_OCTETS = 0x04,
    BER_ENUMERATED = 0x0a,
    BER_SEQUENCE = 0x30,
    LDAP_BIND = 0x60,
    LDAP_BIND_RESPONSE = 0x61,
    LDAP_SEARCH_ENTRY = 0x64,
    LDAP_SEARCH_DONE = 0x65,
    LDAP_SEARCH_REFERENCE = 0x73,
    LDAP_EXTENDED_RESPONSE = 0x78, /* unasked: Notice of Disconnection */
    LDAP_SIMPLE = 0x80,
};

struct ldap_conf {
    struct strbuf request;
};

/* Message 1: base "", scope base, any object, no attributes. */
static const uint8_t root_search[] = {
    0x30, 0x2a, 0x02, 0x01, 0x01, 0x63, 0x25, 0x04, 0x00, 0x0a, 0x01, 0x00, 0x0a, 0x01, 0x00,
    0x02, 0x01, 0x00, 0x02, 0x01, 0x00, 0x01, 0x01, 0x00, 0x87, 0x0b, 'o',  'b',  'j',  'e',
    'c',  't',  'C',  'l',  'a',  's',  's',  0x30, 0x05, 0x04, 0x03, '1',  '.',  '1'};
static const uint8_t unbind[] = {0x30, 0x05, 0x02, 0x01, 0x02, 0x42, 0x00};

/* Tag and length; lengths of at most 65,535 always in three bytes, which BER allows. */
static void add_head(struct strbuf *out, enum ber_tag tag, size_t len)
{
    strbuf_addc(out, (char)tag);
    strbuf_addc(out, (char)0x82);
    bytes_add_be16(out, (uint16_t)len);
}

static void add_bind(struct strbuf *out, const char *name, const char *password)
{
    static const uint8_t message_1[] = {BER_INTEGER, 1, 1}, version_3[] = {BER_INTEGER, 1, 3};
    size_t name_len = strlen(name), password_len = strlen(password);
    size_t bind_len = sizeof version_3 + 4 + name_len + 4 + password_len;
    add_head(out, BER_SEQUENCE, sizeof message_1 + 4 + bind_len);
    strbuf_add(out, message_1, sizeof message_1);
    add_head(out, LDAP_BIND, bind_len);
    strbuf_add(out, version_3, sizeof version_3);
    add_head(out, BER_OCTETS, name_len);
    strbuf_add(out, name, name_len);
    add_head(out, LDAP_SIMPLE, password_len);
    strbuf_add(out, password, password_len);
}

static int ldap_prepare(struct target_conf *conf, struct strbuf *why)
{
    struct ldap_conf *ldap = conf->scheme_conf;
    strbuf_init(&ldap->request, REQUEST_BYTES);
    if ((conf->user == NULL) != (conf->secret == NULL)) {
        /* RFC 4513 section 5.1.2: a name without password counts as anonymous, and succeeds. */
        strbuf_adds(why, conf->user == NULL
                             ? "'user': a password needs one, the name (DN) to bind as"
                             : "'user': a bind needs a password too ('password_file' or another)");
        return -EINVAL;
    }
    if (conf->user != NULL)
        add_bind(&ldap->request, conf->user, conf->secret);
    else
        strbuf_add(&ldap->request, root_search, sizeof root_search);
    return strbuf_error(&ldap->request);
}

static void ldap_release(struct target_conf *conf)
{
    struct ldap_conf *ldap = conf->scheme_conf;
    if (ldap == NULL)
        return;
    strbuf_wipe(&ldap->request);
}

struct ldap_state {
    const struct target_conf *conf;
    struct bytes_held held;
};

static enum dlg_step ldap_open(void *state, const struct target_conf *conf, struct strbuf *out,
                               struct dlg_result *ret)
{
    struct ldap_state *s = state;
    const struct ldap_conf *ldap = conf->scheme_conf;
    (void)ret;
    s->conf = conf;
    strbuf_add(out, ldap->request.data, ldap->request.len);
    return DLG_MORE;
}

/* ---- reading BER ---- */

/* Takes one element; its content is the return value. */
static struct bytes take_element(struct bytes *b, uint8_t *ret_tag)
{
    *ret_tag = bytes_u8(b);
    size_t len = bytes_u8(b);
    if (len > 0x84 || len == 0x80)
        b->failed = true;
    if (len > 0x80) {
        size_t count = len - 0x80;
        for (len = 0; count > 0 && !b->failed; count--)
            len = len << 8 | bytes_u8(b);
    }
    const uint8_t *at = bytes_take(b, len);
    return at != NULL ? bytes_of(at, len) : (struct bytes){.failed = true};
}

/* A non-negative number of at most four bytes. */
static uint32_t take_number(struct bytes *b, enum ber_tag want)
{
    uint8_t tag;
    uint32_t value = 0;
    struct bytes number = take_element(b, &tag);
    if (tag != want || number.left == 0 || number.left > 4)
        b->failed = true;
    while (number.left > 0)
        value = value << 8 | bytes_u8(&number);
    return value;
}

/* ---- judging ---- */

static enum outcome outcome_of_result(uint32_t code, bool bound)
{
    switch (code) {
    case 0:
        return OUTCOME_OK;
    case 1: /* operations error: to a stranger "bind required" (slapd, Active Directory) */
        return bound ? OUTCOME_REFUSED : OUTCOME_OK;
    case 8:  /* stronger authentication required */
    case 13: /* confidentiality required */
    case 48: /* inappropriate authentication */
    case 49: /* invalid credentials */
    case 50: /* insufficient access rights */
    case 53: /* unwilling to perform */
        return bound ? OUTCOME_LOGIN_FAILED : OUTCOME_OK;
    case 51:
        return OUTCOME_OVERLOADED;
    case 52:
        return OUTCOME_NOT_SERVING;
    default:
        return OUTCOME_REFUSED;
    }
}

/* LDAPResult: a code, a name, words. */
static enum dlg_step judge_result(const struct ldap_state *s, struct bytes op, bool notice,
                                  struct strbuf *out, struct dlg_result *ret)
{
    uint8_t tag, words_tag;
    uint32_t code = take_number(&op, BER_ENUMERATED);
    (void)take_element(&op, &tag);
    struct bytes words = take_element(&op, &words_tag);
    if (op.failed || tag != BER_OCTETS || words_tag != BER_OCTETS)
        return bytes_end(ret, OUTCOME_BAD_REPLY, "not a valid result of LDAP");
    enum outcome outcome = outcome_of_result(code, s->conf->user != NULL);
    if (notice)
        outcome = OUTCOME_STOPPING;
    else
        strbuf_add(out, unbind, sizeof unbind);
    if (code == 0 && !notice) {
        ret->outcome = OUTCOME_OK;
        return DLG_DONE;
    }
    char ours[80];
    (void)snprintf(ours, sizeof ours, "%s, LDAP result %u%s",
                   outcome == OUTCOME_OK ? "alive, anonymous refused" : outcome_sentence(outcome),
                   code, words.left > 0 ? ": " : "");
    return bytes_end_said(ret, outcome, ours, words.at, words.left);
}

static enum dlg_step judge_message(const struct ldap_state *s, struct strbuf *out,
                                   struct dlg_result *ret)
{
    uint8_t tag;
    struct bytes all = bytes_of(s->held.at, s->held.len);
    struct bytes message = take_element(&all, &tag);
    uint32_t id = take_number(&message, BER_INTEGER);
    struct bytes op = take_element(&message, &tag);
    bool bound = s->conf->user != NULL;
    if (message.failed)
        return bytes_end(ret, OUTCOME_BAD_REPLY, "not a valid message of LDAP");
    if (tag == LDAP_EXTENDED_RESPONSE && id == 0)
        return judge_result(s, op, true, out, ret);
    if (id == 1 && tag == (bound ? LDAP_BIND_RESPONSE : LDAP_SEARCH_DONE))
        return judge_result(s, op, false, out, ret);
    if (id == 1 && !bound && (tag == LDAP_SEARCH_ENTRY || tag == LDAP_SEARCH_REFERENCE))
        return DLG_MORE;
    return bytes_end(ret, OUTCOME_BAD_REPLY, "not an answer to what was asked");
}

static enum dlg_step ldap_feed(void *state, const uint8_t *in, size_t len, struct strbuf *out,
                               struct dlg_result *ret)
{
    struct ldap_state *s = state;
    while (bytes_gather(&s->held, 2, &in, &len)) {
        size_t content = s->held.at[1], count = content > 0x80 ? content - 0x80 : 0;
        if (s->held.at[0] != BER_SEQUENCE || content == 0x80 || count > 4)
            return bytes_end(ret, OUTCOME_BAD_REPLY, "not a message of LDAP");
        if (!bytes_gather(&s->held, 2 + count, &in, &len))
            break;
        if (count > 0) {
            content = 0;
            for (size_t i = 0; i < count; i++)
                content = content << 8 | s->held.at[2 + i];
        }
        if (content > BYTES_HELD_MAX - 6)
            return bytes_end(ret, OUTCOME_BAD_REPLY, "a message of LDAP that is too long");
        if (!bytes_gather(&s->held, 2 + count + content, &in, &len))
            break;
        enum dlg_step step = judge_message(s, out, ret);
        if (step != DLG_MORE)
            return step;
        s->held.len = 0;
    }
    return DLG_MORE;
}

static const struct dialogue ldap_dialogue = {
    .state_size = sizeof(struct ldap_state),
    .open = ldap_open,
    .feed = ldap_feed,
    .max_reply_bytes = 65536,
    .polite = true,
    .asks_first = true,
};

SCHEME_PAIR(ldap, 389, ldaps, 636, SCHEME_SECRET, .conf_size = sizeof(struct ldap_conf),
            .prepare = ldap_prepare, .release = ldap_release, .dialogue = &ldap_dialogue);
