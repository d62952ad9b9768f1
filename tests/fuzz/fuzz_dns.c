/*
 * What reads a DNS message against any bytes. An input is one byte that chooses the type asked for,
 * and then the message; its id and question are put right, so that the rest is reached.
 */
#include "fuzz.h"

#include "probe/dns_reply.h"

#include <healthsvc/strbuf.h>

static void on_record(void *arg, const struct strbuf *text)
{
    unsigned *seen = arg;
    (*seen)++;
    HOLDS(text->len <= DNS_TEXT_BYTES && text->data[text->len] == '\0');
}

void fuzz_dns(const struct fuzz_target *target, const uint8_t *data, size_t size)
{
    static const unsigned types[] = {
        DNS_TYPE_A,  DNS_TYPE_NS,  DNS_TYPE_CNAME, DNS_TYPE_SOA, DNS_TYPE_PTR,
        DNS_TYPE_MX, DNS_TYPE_TXT, DNS_TYPE_AAAA,  DNS_TYPE_SRV,
    };
    uint8_t question[DNS_QUESTION_BYTES];
    struct dns_answer answer = {0};
    unsigned seen = 0;
    (void)target;
    if (size < 1)
        return;
    size_t len =
        dns_question("a.test", types[data[0] % (sizeof types / sizeof types[0])], question);
    HOLDS(len > 0);
    size--;
    uint8_t *message = fuzz_copy(data + 1, size);
    for (size_t i = 0; i < len && i < size; i++) {
        if (i < 2 || i >= 12)
            message[i] = question[i];
    }
    enum dns_seen end = dns_read(question, len, message, size, &answer, on_record, &seen);
    HOLDS(end != DNS_SEEN_ANSWER || (answer.records >= seen && answer.rcode <= 15));
    free(message);
}
