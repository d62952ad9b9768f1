/*
 * dns: one question to one name server, judged by its code and its records; the URL is that of
 * RFC 4501: dns://SERVER/NAME?type=TYPE.
 *
 * By UDP, and by TCP when the answer does not fit. The question is a packet of our own and not the
 * resolver's: this asks that server, now, whatever anybody's cache knows.
 */
#include "probe/datagram.h"
#include "probe/dns_reply.h"

#include <healthsvc/config.h>
#include <healthsvc/keys.h>
#include <healthsvc/region.h>
#include <healthsvc/strbuf.h>
#include <healthsvc/units.h>

#include <arpa/inet.h>
#include <errno.h>
#include <inttypes.h>
#include <string.h>
#include <strings.h>
#include <sys/random.h>

#define RESEND_MS 1000
#define EXPECT_MAX 32 /* bits of `found` */
#define SHOWN_BYTES 60

_Static_assert(DNS_QUESTION_BYTES <= DATAGRAM_QUESTION_BYTES, "a question fits a packet");

struct rcode_set {
    uint32_t bits;
};

struct dns_conf {
    struct rcode_set rcodes;
    char *expect; /* records joined by '\n' */
    int64_t min_records;
    bool authoritative;
    /* made by prepare: */
    unsigned type;
    uint8_t question[DNS_QUESTION_BYTES];
    size_t question_len;
};

struct dns_probe {
    struct datagram datagram; /* first */
    uint32_t found;           /* which of the expected records */
    char first[SHOWN_BYTES];  /* record, printable; "": none */
};

/* ---- settings ---- */

static int read_rcode(const config_setting_t *setting, struct rcode_set *set, struct strbuf *why)
{
    const char *name = config_setting_type(setting) == CONFIG_TYPE_STRING
                           ? config_setting_get_string(setting)
                           : "";
    for (unsigned i = 0; i < DNS_RCODES; i++) {
        if (strcasecmp(name, dns_rcode_name(i)) == 0) {
            set->bits |= UINT32_C(1) << i;
            return 0;
        }
    }
    strbuf_adds(why, "must be a response code or a list of them: \"NOERROR\", \"NXDOMAIN\", "
                     "\"REFUSED\", ...");
    return -EINVAL;
}

static int read_rcodes(const config_setting_t *setting, void *dest, struct strbuf *why)
{
    struct rcode_set *set = dest;
    *set = (struct rcode_set){0};
    if (setting == NULL) {
        set->bits = 1 << DNS_RCODE_NOERROR;
        return 0;
    }
    if (!config_setting_is_aggregate(setting) || config_setting_length(setting) == 0)
        return read_rcode(setting, set, why);
    int r = 0;
    for (int i = 0; i < config_setting_length(setting) && r == 0; i++)
        r = read_rcode(config_setting_get_elem(setting, (unsigned)i), set, why);
    return r;
}

static const struct key_row dns_keys[] = {
    {.name = "expect_rcode",
     .type = KEY_CUSTOM,
     .flags = KEY_ASKED,
     .offset = offsetof(struct dns_conf, rcodes),
     .custom = read_rcodes,
     .custom_bytes = sizeof(struct rcode_set),
     .shown_default = "NOERROR",
     .sentence = "The response code of a good answer, or a list of them."},
    {.name = "expect_records",
     .type = KEY_TEXT_LIST,
     .flags = KEY_ASKED,
     .offset = offsetof(struct dns_conf, expect),
     .min = 1,
     .max = 1024,
     .sentence = "Records that must all be in the answer, as a zone file writes their data."},
    {.name = "min_records",
     .type = KEY_INT,
     .flags = KEY_ASKED,
     .offset = offsetof(struct dns_conf, min_records),
     .min = 0,
     .max = 1000,
     .default_text = "1",
     .sentence = "How many records of the type a NOERROR answer must have at least."},
    {.name = "authoritative",
     .type = KEY_BOOL,
     .flags = KEY_ASKED,
     .offset = offsetof(struct dns_conf, authoritative),
     .default_text = "false",
     .sentence = "Whether the answer must be an authoritative one."},
    KEYS_END,
};

/* Addresses are compared as text, so they are brought into one form. */
static int check_expected(const struct dns_conf *dns, struct strbuf *out, struct strbuf *why)
{
    int count = 0;
    for (const char *p = dns->expect; p != NULL && *p != '\0';) {
        size_t len = strcspn(p, "\n");
        strbuf_adds(out, count++ > 0 ? "\n" : "");
        if (dns->type != DNS_TYPE_A && dns->type != DNS_TYPE_AAAA) {
            strbuf_add(out, p, len);
        } else {
            char text[INET6_ADDRSTRLEN] = "";
            uint8_t address[sizeof(struct in6_addr)];
            int family = dns->type == DNS_TYPE_A ? AF_INET : AF_INET6;
            if (len < sizeof text)
                memcpy(text, p, len);
            if (inet_pton(family, text, address) != 1) {
                strbuf_addf(why, "'expect_records': records of type %s are addresses",
                            family == AF_INET ? "A" : "AAAA");
                return -EINVAL;
            }
            strbuf_adds(out, inet_ntop(family, address, text, sizeof text));
        }
        p += len;
        p += *p == '\n';
    }
    if (count <= EXPECT_MAX)
        return 0;
    strbuf_addf(why, "'expect_records': more than %d", EXPECT_MAX);
    return -EINVAL;
}

static int set_expected(struct dns_conf *dns, struct region *region, struct strbuf *why)
{
    struct strbuf text;
    if (dns->expect == NULL)
        return 0;
    strbuf_init(&text, 2 * strlen(dns->expect) + 1);
    int r = check_expected(dns, &text, why);
    if (r == 0)
        r = strbuf_error(&text);
    if (r == 0) {
        dns->expect = region_copy_text(region, text.data);
        r = dns->expect != NULL ? 0 : -ENOMEM;
    }
    strbuf_done(&text);
    return r;
}

static int dns_prepare(struct target_conf *conf, struct strbuf *why)
{
    static const char type_key[] = "?type=";
    struct dns_conf *dns = conf->scheme_conf;
    char name[DNS_QUESTION_BYTES] = "";
    size_t len = strcspn(conf->path + 1, "?");
    const char *query = conf->path + 1 + len;
    dns->type = DNS_TYPE_A;
    if (strncmp(query, type_key, sizeof type_key - 1) == 0) {
        query += sizeof type_key - 1;
        dns->type = dns_type_of(query, strlen(query));
    } else if (*query != '\0') {
        dns->type = 0;
    }
    if (dns->type == 0) {
        strbuf_adds(why, "'url': after the name comes nothing, or ?type= and one of A, AAAA, "
                         "CNAME, MX, NS, PTR, SOA, SRV, TXT");
        return -EINVAL;
    }
    if (len < sizeof name)
        memcpy(name, conf->path + 1, len);
    dns->question_len = name[0] != '\0' && strpbrk(name, "/%\\") == NULL
                            ? dns_question(name, dns->type, dns->question)
                            : 0;
    if (dns->question_len == 0) {
        strbuf_adds(why, "'url' must name what to ask for: dns://SERVER/NAME?type=TYPE");
        return -EINVAL;
    }
    return set_expected(dns, conf->owner->region, why);
}

/* ---- judging ---- */

static bool same_record(const char *wanted, size_t len, const struct strbuf *record, unsigned type)
{
    if (type == DNS_TYPE_TXT)
        return record->len == len && memcmp(record->data, wanted, len) == 0;
    size_t record_len = record->len;
    if (len > 1 && wanted[len - 1] == '.')
        len--;
    if (record_len > 1 && record->data[record_len - 1] == '.')
        record_len--;
    return record_len == len && strncasecmp(record->data, wanted, len) == 0;
}

static void on_record(void *arg, const struct strbuf *record)
{
    struct dns_probe *q = arg;
    const struct dns_conf *dns = q->datagram.probe.conf->scheme_conf;
    struct strbuf shown;
    unsigned bit = 0;
    for (const char *p = dns->expect; p != NULL && *p != '\0'; bit++) {
        size_t len = strcspn(p, "\n");
        if (same_record(p, len, record, dns->type))
            q->found |= UINT32_C(1) << bit;
        p += len;
        p += *p == '\n';
    }
    if (q->first[0] != '\0')
        return;
    strbuf_init(&shown, 2 * SHOWN_BYTES);
    strbuf_add_printable(&shown, record->data, record->len, SHOWN_BYTES - 1);
    memcpy(q->first, shown.data, shown.len + 1);
    strbuf_done(&shown);
    if (dns->type == DNS_TYPE_SOA) { /* two names, then the serial */
        struct probe_result *result = &q->datagram.probe.result;
        uint64_t serial;
        const char *p = strchr(record->data, ' ');
        p = p != NULL ? strchr(p + 1, ' ') : NULL;
        if (p != NULL && units_parse_digits(p + 1, strcspn(p + 1, " "), &serial) == 0 &&
            serial <= UINT32_MAX) {
            result->has_dns_serial = true;
            result->dns_serial = (uint32_t)serial;
        }
    }
}

/* The first expected record that is not there; NULL: all are. */
static const char *missing_record(const struct dns_probe *q, const struct dns_conf *dns)
{
    unsigned bit = 0;
    for (const char *p = dns->expect; p != NULL && *p != '\0'; bit++) {
        if ((q->found >> bit & 1) == 0)
            return p;
        p += strcspn(p, "\n");
        p += *p == '\n';
    }
    return NULL;
}

static void finish_rcode(struct probe *p, unsigned rcode) REQUIRES(checker_role)
{
    enum outcome outcome = OUTCOME_WRONG_ANSWER;
    const char *name = dns_rcode_name(rcode);
    if (rcode == DNS_RCODE_SERVFAIL)
        outcome = OUTCOME_NOT_SERVING;
    else if (rcode == DNS_RCODE_REFUSED)
        outcome = OUTCOME_REFUSED;
    if (name != NULL)
        probe_finishf(p, outcome, "name server answers %s", name);
    else
        probe_finishf(p, outcome, "name server answers code %u", rcode);
}

static void judge(struct dns_probe *q, const struct dns_answer *answer) REQUIRES(checker_role)
{
    struct probe *p = &q->datagram.probe;
    const struct dns_conf *dns = p->conf->scheme_conf;
    const char *missing = missing_record(q, dns);
    if ((dns->rcodes.bits >> answer->rcode & 1) == 0) {
        finish_rcode(p, answer->rcode);
    } else if (dns->authoritative && !answer->authoritative) {
        probe_finish(p, OUTCOME_WRONG_ANSWER, "answer is not authoritative");
    } else if (answer->rcode == DNS_RCODE_NOERROR && answer->records < dns->min_records) {
        probe_finishf(p, OUTCOME_WRONG_ANSWER, "%u records, at least %d expected", answer->records,
                      (int)dns->min_records);
    } else if (missing != NULL) {
        struct strbuf text;
        strbuf_init(&text, OUTCOME_TEXT_BYTES);
        strbuf_adds(&text, "no record ");
        strbuf_add_printable(&text, missing, strcspn(missing, "\n"), SHOWN_BYTES);
        if (q->first[0] != '\0')
            strbuf_addf(&text, ", but %s%s", q->first, answer->records > 1 ? " and others" : "");
        probe_finish(p, OUTCOME_WRONG_ANSWER, text.data);
        strbuf_done(&text);
    } else if (p->result.has_dns_serial) {
        probe_finishf(p, OUTCOME_OK, "serial %" PRIu32, p->result.dns_serial);
    } else {
        probe_finish(p, OUTCOME_OK, NULL);
    }
}

static bool dns_take(struct datagram *d, const uint8_t *in, size_t len)
{
    checker_role_assert();
    struct dns_probe *q = (struct dns_probe *)d;
    struct dns_answer answer;
    q->found = 0;
    q->first[0] = '\0';
    d->probe.result.has_dns_serial = false;
    switch (dns_read(d->question, d->question_len, in, len, &answer, on_record, q)) {
    case DNS_SEEN_OTHER:
        return true;
    case DNS_SEEN_BROKEN:
        probe_finish(&d->probe, OUTCOME_BAD_REPLY, NULL);
        return false;
    case DNS_SEEN_TRUNCATED:
        if (d->message == NULL)
            datagram_by_tcp(d);
        else
            probe_finish(&d->probe, OUTCOME_BAD_REPLY, "answer by TCP is truncated");
        return false;
    case DNS_SEEN_ANSWER:
        judge(q, &answer);
        return false;
    }
    return true;
}

static int dns_start(struct probe *p)
{
    checker_role_assert();
    struct dns_probe *q = (struct dns_probe *)p;
    const struct dns_conf *dns = p->conf->scheme_conf;
    struct datagram *d = &q->datagram;
    memcpy(d->question, dns->question, dns->question_len);
    d->question_len = dns->question_len;
    if (getrandom(d->question, 2, GRND_NONBLOCK) != 2) /* the id */
        return -EAGAIN;
    d->resend_ms = RESEND_MS;
    d->take = dns_take;
    return datagram_start(d);
}

static void dns_stop(struct probe *p)
{
    checker_role_assert();
    datagram_stop((struct datagram *)p);
}

static const struct probe_ops dns_ops = {
    .probe_size = sizeof(struct dns_probe),
    .start = dns_start,
    .stop = dns_stop,
};

extern const struct scheme scheme_dns;

const struct scheme scheme_dns = {
    .name = "dns",
    .port = 53,
    .flags = SCHEME_PATH,
    .conf_size = sizeof(struct dns_conf),
    .keys = dns_keys,
    .prepare = dns_prepare,
    .ops = &dns_ops,
};
