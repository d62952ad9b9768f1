/*
 * Every length in a message is the sender's, so one cursor checks them all; a compressed name may
 * only point backwards, which bounds the jumps (RFC 1035 section 4.1.4).
 */
#include "probe/dns_reply.h"

#include <healthsvc/strbuf.h>

#include <arpa/inet.h>
#include <ctype.h>
#include <string.h>
#include <strings.h>

#define HEADER_BYTES 12
#define NAME_BYTES 255
#define LABEL_BYTES 63
#define CLASS_IN 1
#define FLAG_QR 0x80
#define FLAG_OPCODE 0x78
#define FLAG_AA 0x04
#define FLAG_TC 0x02
#define FLAG_RD 0x01
#define RCODE 0x0f

static const struct {
    const char *name;
    enum dns_type type;
} types[] = {
    {"A", DNS_TYPE_A},     {"NS", DNS_TYPE_NS},   {"CNAME", DNS_TYPE_CNAME},
    {"SOA", DNS_TYPE_SOA}, {"PTR", DNS_TYPE_PTR}, {"MX", DNS_TYPE_MX},
    {"TXT", DNS_TYPE_TXT}, {"SRV", DNS_TYPE_SRV}, {"AAAA", DNS_TYPE_AAAA},
};

unsigned dns_type_of(const char *name, size_t len)
{
    for (size_t i = 0; i < sizeof types / sizeof types[0]; i++) {
        if (strlen(types[i].name) == len && strncasecmp(types[i].name, name, len) == 0)
            return types[i].type;
    }
    return 0;
}

const char *dns_rcode_name(unsigned rcode)
{
    static const char *const names[DNS_RCODES] = {
        "NOERROR",  "FORMERR", "SERVFAIL", "NXDOMAIN", "NOTIMP",  "REFUSED",
        "YXDOMAIN", "YXRRSET", "NXRRSET",  "NOTAUTH",  "NOTZONE",
    };
    return rcode < DNS_RCODES ? names[rcode] : NULL;
}

size_t dns_question(const char *name, unsigned type, uint8_t out[DNS_QUESTION_BYTES])
{
    static const uint8_t header[HEADER_BYTES] = {0, 0, FLAG_RD, 0, 0, 1};
    size_t at = HEADER_BYTES;
    memcpy(out, header, sizeof header);
    if (strcmp(name, ".") == 0)
        name++;
    while (*name != '\0') {
        size_t label = strcspn(name, ".");
        if (label == 0 || label > LABEL_BYTES || at + 1 + label + 1 > HEADER_BYTES + NAME_BYTES)
            return 0;
        out[at++] = (uint8_t)label;
        memcpy(out + at, name, label);
        at += label;
        name += label;
        name += *name == '.';
    }
    out[at++] = 0;
    out[at++] = (uint8_t)(type >> 8);
    out[at++] = (uint8_t)type;
    out[at++] = 0;
    out[at++] = CLASS_IN;
    return at;
}

/* ---- reading ---- */

struct cursor {
    const uint8_t *in;
    size_t len, at;
    bool broken; /* something was beyond the end: what was read then is 0 */
};

static unsigned read_8(struct cursor *c)
{
    if (c->at >= c->len) {
        c->broken = true;
        return 0;
    }
    return c->in[c->at++];
}

static unsigned read_16(struct cursor *c)
{
    unsigned high = read_8(c);
    return high << 8 | read_8(c);
}

static uint32_t read_32(struct cursor *c)
{
    uint32_t high = read_16(c);
    return high << 16 | read_16(c);
}

/* As a zone file writes a label (RFC 1035 section 5.1): a dot or a blank in it must not look like
 * one between labels or fields. */
static void add_label(const uint8_t *label, size_t len, struct strbuf *text)
{
    for (size_t i = 0; i < len; i++) {
        if (label[i] == '.' || label[i] == '\\')
            strbuf_addf(text, "\\%c", label[i]);
        else if (label[i] > ' ' && label[i] <= '~')
            strbuf_addc(text, (char)label[i]);
        else
            strbuf_addf(text, "\\%03u", label[i]);
    }
}

/* Adds the name as text, with its end dot; `text` may be NULL. */
static void read_name(struct cursor *c, struct strbuf *text)
{
    struct cursor label = *c;
    size_t bytes = 0, lowest = c->at;
    bool jumped = false;
    for (;;) {
        unsigned len = read_8(&label);
        if (!jumped)
            c->at = label.at;
        if (len >= 0xc0) {
            size_t target = (len & 0x3f) << 8 | read_8(&label);
            if (!jumped)
                c->at = label.at;
            label.broken = label.broken || target >= lowest;
            lowest = label.at = target;
            jumped = true;
        } else if (len > LABEL_BYTES || (bytes += len + 1) > NAME_BYTES ||
                   len > label.len - label.at) {
            label.broken = true;
        } else if (len > 0) {
            if (text != NULL) {
                add_label(label.in + label.at, len, text);
                strbuf_addc(text, '.');
            }
            label.at += len;
            if (!jumped)
                c->at = label.at;
        }
        if (len == 0 || label.broken)
            break;
    }
    if (text != NULL && bytes == 1)
        strbuf_addc(text, '.');
    c->broken = c->broken || label.broken;
}

static void read_address(struct cursor *c, int family, size_t bytes, struct strbuf *text)
{
    char address[INET6_ADDRSTRLEN];
    if (c->len - c->at != bytes ||
        inet_ntop(family, c->in + c->at, address, sizeof address) == NULL)
        c->broken = true;
    else
        strbuf_adds(text, address);
}

static void read_strings(struct cursor *c, struct strbuf *text)
{
    while (c->at < c->len && !c->broken) {
        size_t len = read_8(c);
        if (len > c->len - c->at) {
            c->broken = true;
            return;
        }
        strbuf_add(text, c->in + c->at, len);
        c->at += len;
    }
}

/* `c` ends where the data ends; names may still point before. */
static void read_data(struct cursor *c, unsigned type, struct strbuf *text)
{
    switch ((enum dns_type)type) {
    case DNS_TYPE_A:
        read_address(c, AF_INET, 4, text);
        break;
    case DNS_TYPE_AAAA:
        read_address(c, AF_INET6, 16, text);
        break;
    case DNS_TYPE_NS:
    case DNS_TYPE_CNAME:
    case DNS_TYPE_PTR:
        read_name(c, text);
        break;
    case DNS_TYPE_MX:
        strbuf_addf(text, "%u ", read_16(c));
        read_name(c, text);
        break;
    case DNS_TYPE_SRV: {
        unsigned priority = read_16(c), weight = read_16(c), port = read_16(c);
        strbuf_addf(text, "%u %u %u ", priority, weight, port);
        read_name(c, text);
        break;
    }
    case DNS_TYPE_SOA:
        read_name(c, text);
        strbuf_addc(text, ' ');
        read_name(c, text);
        for (int i = 0; i < 5; i++) /* serial, refresh, retry, expire, minimum */
            strbuf_addf(text, " %u", read_32(c));
        break;
    case DNS_TYPE_TXT:
        read_strings(c, text);
        break;
    }
}

/* The question comes back as it was, but perhaps in another case; a refusal may leave it out. */
static bool same_question(const uint8_t *question, size_t question_len, const uint8_t *in,
                          size_t len)
{
    if (len < HEADER_BYTES || in[0] != question[0] || in[1] != question[1] ||
        (in[2] & (FLAG_QR | FLAG_OPCODE)) != FLAG_QR)
        return false;
    if (len == HEADER_BYTES && in[5] == 0 && (in[3] & RCODE) != DNS_RCODE_NOERROR)
        return true;
    if (len < question_len || in[4] != 0 || in[5] != 1)
        return false;
    for (size_t i = HEADER_BYTES; i < question_len; i++) {
        if (tolower(in[i]) != tolower(question[i]))
            return false;
    }
    return true;
}

enum dns_seen dns_read(const uint8_t *question, size_t question_len, const uint8_t *in, size_t len,
                       struct dns_answer *ret_answer,
                       void (*record)(void *arg, const struct strbuf *text), void *arg)
{
    if (!same_question(question, question_len, in, len))
        return DNS_SEEN_OTHER;
    struct dns_answer answer = {.rcode = in[3] & RCODE, .authoritative = in[2] & FLAG_AA};
    unsigned type = (unsigned)question[question_len - 4] << 8 | question[question_len - 3];
    unsigned count = (unsigned)in[6] << 8 | in[7];
    struct cursor c = {.in = in, .len = len, .at = len < question_len ? len : question_len};
    struct strbuf text;
    if (in[2] & FLAG_TC)
        return DNS_SEEN_TRUNCATED;
    strbuf_init(&text, DNS_TEXT_BYTES);
    for (unsigned i = 0; i < count && !c.broken; i++) {
        read_name(&c, NULL);
        unsigned this_type = read_16(&c), class = read_16(&c);
        (void)read_32(&c); /* TTL */
        size_t bytes = read_16(&c);
        if (c.broken || bytes > len - c.at) {
            c.broken = true;
            break;
        }
        struct cursor data = {.in = in, .len = c.at + bytes, .at = c.at};
        c.at += bytes;
        if (this_type != type || class != CLASS_IN)
            continue;
        strbuf_clear(&text);
        read_data(&data, type, &text);
        c.broken = data.broken || data.at > data.len;
        answer.records++;
        if (!c.broken && strbuf_error(&text) == 0)
            record(arg, &text);
    }
    strbuf_done(&text);
    if (c.broken)
        return DNS_SEEN_BROKEN;
    *ret_answer = answer;
    return DNS_SEEN_ANSWER;
}
