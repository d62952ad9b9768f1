/* DNS messages as servers send them, cut at every byte, and those that no server should send. */
#include "probe/dns_reply.h"

#include <healthsvc/strbuf.h>

#include "../testing.h"

#define QR "\x80"
#define HEAD(flags, rcode, answers) "\0\0" flags rcode "\0\1\0" answers "\0\0\0\0"
#define QUESTION(type) "\1a\4test\0\0" type "\0\1"
#define RR(type, len) "\xc0\x0c\0" type "\0\1\0\0\0\x3c\0" len

struct row {
    const char *name;
    unsigned type;
    const char *bytes;
    size_t len;
    enum dns_seen seen;
    unsigned rcode, records;
    const char *text; /* of all records, each with a ';' behind */
};
#define MESSAGE(literal) .bytes = (literal), .len = sizeof(literal) - 1

static const struct row rows[] = {
    {.name = "two addresses",
     .type = DNS_TYPE_A,
     MESSAGE(HEAD(QR, "\0", "\2") QUESTION("\1")
                 RR("\1", "\4") "\x7f\0\0\1" RR("\1", "\4") "\xc0\0\2\x7"),
     .seen = DNS_SEEN_ANSWER,
     .records = 2,
     .text = "127.0.0.1;192.0.2.7;"},
    {.name = "an alias on the way",
     .type = DNS_TYPE_A,
     MESSAGE(HEAD(QR, "\0", "\2") QUESTION("\1")
                 RR("\5", "\4") "\1b\xc0\x0e" RR("\1", "\4") "\x7f\0\0\1"),
     .seen = DNS_SEEN_ANSWER,
     .records = 1,
     .text = "127.0.0.1;"},
    {.name = "IPv6",
     .type = DNS_TYPE_AAAA,
     MESSAGE(HEAD(QR, "\0", "\1") QUESTION("\x1c")
                 RR("\x1c", "\x10") "\x20\1\x0d\xb8\0\0\0\0\0\0\0\0\0\0\0\7"),
     .seen = DNS_SEEN_ANSWER,
     .records = 1,
     .text = "2001:db8::7;"},
    {.name = "MX",
     .type = DNS_TYPE_MX,
     MESSAGE(HEAD(QR, "\0", "\1") QUESTION("\xf") RR("\xf", "\7") "\0\x0a\2mx\xc0\x0e"),
     .seen = DNS_SEEN_ANSWER,
     .records = 1,
     .text = "10 mx.test.;"},
    {.name = "MX 0 of the root: no mail here",
     .type = DNS_TYPE_MX,
     MESSAGE(HEAD(QR, "\0", "\1") QUESTION("\xf") RR("\xf", "\3") "\0\0\0"),
     .seen = DNS_SEEN_ANSWER,
     .records = 1,
     .text = "0 .;"},
    {.name = "SRV",
     .type = DNS_TYPE_SRV,
     MESSAGE(HEAD(QR, "\0", "\1") QUESTION("\x21") RR("\x21", "\xd") "\0\1\0\2\1\xbb\1b\1c\1d\0"),
     .seen = DNS_SEEN_ANSWER,
     .records = 1,
     .text = "1 2 443 b.c.d.;"},
    {.name = "SOA",
     .type = DNS_TYPE_SOA,
     MESSAGE(HEAD(QR, "\0", "\1") QUESTION("\6") RR(
         "\6", "\x18") "\xc0\x0c\xc0\x0e\x78\xb4\xf3\x65\0\0\0\1\0\0\0\2\0\0\0\3\0\0\0\4"),
     .seen = DNS_SEEN_ANSWER,
     .records = 1,
     .text = "a.test. test. 2025124709 1 2 3 4;"},
    {.name = "SOA with odd names",
     .type = DNS_TYPE_SOA,
     MESSAGE(HEAD(QR, "\0", "\1") QUESTION("\6")
                 RR("\6", "\x25") "\5a 9 9\0\7me.\\\xff\0z\xc0\x0e"
                                  "\0\0\0\7\0\0\0\1\0\0\0\2\0\0\0\3\0\0\0\4"),
     .seen = DNS_SEEN_ANSWER,
     .records = 1,
     .text = "a\\0329\\0329. me\\.\\\\\\255\\000z.test. 7 1 2 3 4;"},
    {.name = "TXT of two strings",
     .type = DNS_TYPE_TXT,
     MESSAGE(HEAD(QR, "\0", "\1") QUESTION("\x10") RR("\x10", "\6") "\2ab\2c;"),
     .seen = DNS_SEEN_ANSWER,
     .records = 1,
     .text = "abc;;"},
    {.name = "no such name",
     .type = DNS_TYPE_A,
     MESSAGE(HEAD(QR, "\3", "\0") QUESTION("\1")),
     .seen = DNS_SEEN_ANSWER,
     .rcode = 3,
     .text = ""},
    {.name = "refused, by the header alone",
     .type = DNS_TYPE_A,
     MESSAGE("\0\0" QR "\5\0\0\0\0\0\0\0\0"),
     .seen = DNS_SEEN_ANSWER,
     .rcode = 5,
     .text = ""},
    {.name = "truncated",
     .type = DNS_TYPE_A,
     MESSAGE(HEAD("\x82", "\0", "\0") QUESTION("\1")),
     .seen = DNS_SEEN_TRUNCATED},
    {.name = "the question in another case",
     .type = DNS_TYPE_A,
     MESSAGE(HEAD(QR, "\0", "\0") "\1A\4TeST\0\0\1\0\1"),
     .seen = DNS_SEEN_ANSWER,
     .text = ""},
    {.name = "another question",
     .type = DNS_TYPE_A,
     MESSAGE(HEAD(QR, "\0", "\0") "\1b\4test\0\0\1\0\1"),
     .seen = DNS_SEEN_OTHER},
    {.name = "another id",
     .type = DNS_TYPE_A,
     MESSAGE("\0\1" QR "\0\0\1\0\0\0\0\0\0" QUESTION("\1")),
     .seen = DNS_SEEN_OTHER},
    {.name = "a question, not an answer",
     .type = DNS_TYPE_A,
     MESSAGE(HEAD("\1", "\0", "\0") QUESTION("\1")),
     .seen = DNS_SEEN_OTHER},
    {.name = "another opcode",
     .type = DNS_TYPE_A,
     MESSAGE(HEAD("\xa0", "\0", "\0") QUESTION("\1")),
     .seen = DNS_SEEN_OTHER},
    {.name = "a name that points to itself",
     .type = DNS_TYPE_A,
     MESSAGE(HEAD(QR, "\0", "\1") QUESTION("\1") "\xc0\x18\0\1\0\1\0\0\0\0\0\4\1\2\3\4"),
     .seen = DNS_SEEN_BROKEN},
    {.name = "a name that points forward",
     .type = DNS_TYPE_A,
     MESSAGE(HEAD(QR, "\0", "\1") QUESTION("\1") "\xc0\x1a\0\1\0\1\0\0\0\0\0\4\1\2\3\4"),
     .seen = DNS_SEEN_BROKEN},
    {.name = "a label of a kind that does not exist",
     .type = DNS_TYPE_A,
     MESSAGE(HEAD(QR, "\0", "\1") QUESTION("\1") "\x40\0\0\1\0\1\0\0\0\0\0\4\1\2\3\4"),
     .seen = DNS_SEEN_BROKEN},
    {.name = "an address of five bytes",
     .type = DNS_TYPE_A,
     MESSAGE(HEAD(QR, "\0", "\1") QUESTION("\1") RR("\1", "\5") "\1\2\3\4\5"),
     .seen = DNS_SEEN_BROKEN},
    {.name = "data beyond the end",
     .type = DNS_TYPE_A,
     MESSAGE(HEAD(QR, "\0", "\1") QUESTION("\1") RR("\1", "\4") "\1\2\3"),
     .seen = DNS_SEEN_BROKEN},
    {.name = "a name beyond its data",
     .type = DNS_TYPE_MX,
     MESSAGE(HEAD(QR, "\0", "\1") QUESTION("\xf") RR("\xf", "\4") "\0\x0a\2mx\0"),
     .seen = DNS_SEEN_BROKEN},
    {.name = "a string beyond its data",
     .type = DNS_TYPE_TXT,
     MESSAGE(HEAD(QR, "\0", "\1") QUESTION("\x10") RR("\x10", "\3") "\3ab"),
     .seen = DNS_SEEN_BROKEN},
    {.name = "more records announced than there are",
     .type = DNS_TYPE_A,
     MESSAGE(HEAD(QR, "\0", "\2") QUESTION("\1") RR("\1", "\4") "\1\2\3\4"),
     .seen = DNS_SEEN_BROKEN},
};

static const struct row *row;

static void add_record(void *arg, const struct strbuf *text)
{
    strbuf_add(arg, text->data, text->len);
    strbuf_addc(arg, ';');
}

static enum dns_seen read_copy(size_t len, struct dns_answer *ret_answer, struct strbuf *text)
{
    uint8_t question[DNS_QUESTION_BYTES];
    size_t question_len = dns_question("a.test", row->type, question);
    uint8_t *copy = malloc(len > 0 ? len : 1); /* exactly as long */
    if (copy == NULL)
        abort();
    memcpy(copy, row->bytes, len);
    strbuf_init(text, 65536);
    enum dns_seen seen = dns_read(question, question_len, copy, len, ret_answer, add_record, text);
    free(copy);
    return seen;
}

static void test_row(void)
{
    struct dns_answer answer;
    struct strbuf text;
    if (EXPECT_INT(read_copy(row->len, &answer, &text), row->seen) &&
        row->seen == DNS_SEEN_ANSWER) {
        EXPECT_INT(answer.rcode, row->rcode);
        EXPECT_INT(answer.records, row->records);
        EXPECT_STR(text.data, row->text);
    }
    strbuf_done(&text);
    /* Cut short, it is never a whole answer. */
    for (size_t len = 0; len < row->len; len++) {
        if (!EXPECT(read_copy(len, &answer, &text) != DNS_SEEN_ANSWER ||
                    (len == 12 && row->rcode != 0)))
            printf("# cut at %zu of %zu\n", len, row->len);
        strbuf_done(&text);
    }
}

TEST(questions)
{
    uint8_t out[DNS_QUESTION_BYTES];
    static const char want[] = "\0\0\1\0\0\1\0\0\0\0\0\0" QUESTION("\1");
    EXPECT_INT(dns_question("a.test", DNS_TYPE_A, out), sizeof want - 1);
    EXPECT(memcmp(out, want, sizeof want - 1) == 0);
    EXPECT_INT(dns_question("a.test.", DNS_TYPE_A, out), sizeof want - 1);
    EXPECT_INT(dns_question(".", DNS_TYPE_NS, out), 17);
    EXPECT_INT(dns_question("a..test", DNS_TYPE_A, out), 0);
    EXPECT_INT(dns_question("..", DNS_TYPE_A, out), 0);
    char name[600];
    memset(name, 'a', sizeof name);
    name[63] = '\0';
    EXPECT_INT(dns_question(name, DNS_TYPE_A, out), 12 + 1 + 63 + 1 + 4);
    name[63] = 'a';
    name[64] = '\0';
    EXPECT_INT(dns_question(name, DNS_TYPE_A, out), 0);
    for (size_t i = 0; i < sizeof name; i++)
        name[i] = i % 2 == 0 ? 'a' : '.';
    name[253] = '\0'; /* 127 labels: the longest name there is */
    EXPECT_INT(dns_question(name, DNS_TYPE_A, out), 12 + 255 + 4);
    name[253] = '.';
    name[255] = '\0';
    EXPECT_INT(dns_question(name, DNS_TYPE_A, out), 0);
}

TEST(names)
{
    EXPECT_INT(dns_type_of("mx", 2), DNS_TYPE_MX);
    EXPECT_INT(dns_type_of("AAAA", 4), DNS_TYPE_AAAA);
    EXPECT_INT(dns_type_of("AAAA", 3), 0);
    EXPECT_INT(dns_type_of("", 0), 0);
    EXPECT_STR(dns_rcode_name(2), "SERVFAIL");
    EXPECT_STR(dns_rcode_name(DNS_RCODES), NULL);
}

int main(void)
{
    RUN(questions);
    RUN(names);
    for (size_t i = 0; i < sizeof rows / sizeof rows[0]; i++) {
        row = &rows[i];
        testing_run(row->name, test_row);
    }
    return testing_end();
}
