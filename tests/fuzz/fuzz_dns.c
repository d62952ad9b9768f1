/*
 * What reads a DNS message against any bytes. An input is one byte that chooses the type asked for,
 * and then the message; its id and question are put right, so that the rest is reached.
 */
#include "fuzz.h"

#include "probe/dns_reply.h"

#include <healthsvc/strbuf.h>

#include <stdlib.h>
#include <string.h>

const char *const fuzz_corpus = "dns";

static void on_record(void *arg, const struct strbuf *text)
{
    unsigned *seen = arg;
    (*seen)++;
    if (text->len > DNS_TEXT_BYTES || text->data[text->len] != '\0')
        abort();
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    static const unsigned types[] = {
        DNS_TYPE_A,  DNS_TYPE_NS,  DNS_TYPE_CNAME, DNS_TYPE_SOA, DNS_TYPE_PTR,
        DNS_TYPE_MX, DNS_TYPE_TXT, DNS_TYPE_AAAA,  DNS_TYPE_SRV,
    };
    uint8_t question[DNS_QUESTION_BYTES];
    struct dns_answer answer;
    unsigned seen = 0;
    if (size < 1)
        return 0;
    size_t len =
        dns_question("a.test", types[data[0] % (sizeof types / sizeof types[0])], question);
    uint8_t *message = malloc(size - 1 > 0 ? size - 1 : 1); /* of its own, exactly as long */
    if (len == 0 || message == NULL)
        abort();
    memcpy(message, data + 1, size - 1);
    for (size_t i = 0; i < len && i < size - 1; i++) {
        if (i < 2 || i >= 12)
            message[i] = question[i];
    }
    if (dns_read(question, len, message, size - 1, &answer, on_record, &seen) == DNS_SEEN_ANSWER &&
        (answer.records < seen || answer.rcode > 15))
        abort();
    free(message);
    return 0;
}
