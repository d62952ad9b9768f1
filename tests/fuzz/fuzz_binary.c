/*
 * Every binary dialogue against any bytes: it must not crash, and must give an end that is one, with
 * the same words and after the same bytes sent, however what came was cut.
 * An input is one byte that chooses scheme and settings, one that gives the length of the pieces,
 * and then what the peer sends before it closes.
 */
#include "fuzz.h"

#include "../dialogue/transcript.h"

#include <healthsvc/probe.h>

extern const struct scheme scheme_amqp, scheme_cassandra, scheme_fastcgi, scheme_kafka, scheme_ldap,
    scheme_mongodb, scheme_mqtt, scheme_mysql, scheme_postgres;

const char *const fuzz_corpus = "binary";

/* The corpus names them by number: append only. */
static const struct {
    const struct scheme *scheme;
    struct transcript row;
} subjects[] = {
    {&scheme_amqp, {.user = NULL}},
    {&scheme_amqp, {.user = "me", .secret = "pw"}},
    {&scheme_cassandra, {.user = NULL}},
    {&scheme_fastcgi, {.path = "/"}},
    {&scheme_fastcgi, {.path = "/ping", .settings = "expect_status = [ 200, 404 ];"}},
    {&scheme_kafka, {.user = NULL}},
    {&scheme_ldap, {.user = NULL}},
    {&scheme_ldap, {.user = "cn=me", .secret = "pw"}},
    {&scheme_mongodb, {.user = NULL}},
    {&scheme_mqtt, {.user = "me", .secret = "pw"}},
    {&scheme_mysql, {.user = "me", .secret = "pw"}},
    {&scheme_mysql, {.settings = "sslmode = \"prefer\";"}},
    {&scheme_postgres, {.user = NULL}},
    {&scheme_postgres, {.settings = "sslmode = \"prefer\";"}},
};
#define SUBJECT_COUNT (sizeof subjects / sizeof subjects[0])

static const struct target_conf *conf_of(uint8_t choice)
{
    static struct target_conf confs[SUBJECT_COUNT];
    static bool made;
    for (size_t i = 0; i < SUBJECT_COUNT && !made; i++) {
        struct strbuf why;
        strbuf_init(&why, 200);
        if (transcript_prepare(subjects[i].scheme, &subjects[i].row, &confs[i], &why) != 0)
            abort();
        strbuf_done(&why);
    }
    made = true;
    return &confs[choice % SUBJECT_COUNT];
}

/* A verdict that the engine can publish. */
static bool is_sound(const struct transcript_end *end)
{
    const struct dlg_result *r = &end->result;
    if (end->step != DLG_DONE || r->outcome <= OUTCOME_FIRST_UNUSED ||
        r->outcome >= OUTCOME_COUNT || r->http_status < 0 || r->http_status > 999)
        return false;
    for (size_t i = 0; i < sizeof r->text && r->text[i] != '\0'; i++) {
        if (r->text[i] < ' ' || r->text[i] > '~')
            return false;
    }
    return memchr(r->text, '\0', sizeof r->text) != NULL;
}

static bool is_same(const struct transcript_end *a, const struct transcript_end *b)
{
    return a->result.outcome == b->result.outcome &&
           a->result.http_status == b->result.http_status &&
           strcmp(a->result.text, b->result.text) == 0 && a->sent.len == b->sent.len &&
           memcmp(a->sent.data, b->sent.data, a->sent.len) == 0;
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    if (size < 2)
        return 0;
    const struct target_conf *conf = conf_of(data[0]);
    const struct transcript_bytes bytes = {(const char *)data + 2, size - 2};
    const struct transcript_bytes none = {NULL, 0};
    size_t piece = (size_t)data[1] + 1;
    struct transcript_end whole, cut;
    transcript_feed(conf, bytes, none, SIZE_MAX, SIZE_MAX, true, &whole);
    transcript_feed(conf, bytes, none, piece, piece, true, &cut);
    /* What comes in clear behind the turn to TLS is an attack in one piece, and TLS's in two. */
    if (!is_sound(&whole) || !is_sound(&cut) || (cut.clear_behind == 0 && !is_same(&whole, &cut)))
        abort();
    strbuf_done(&whole.sent);
    strbuf_done(&cut.sent);
    return 0;
}
