/* The line protocols against any bytes. What follows a byte 0xff comes after STARTTLS, inside TLS. */
#include "fuzz_dialogue.h"

const char *const fuzz_corpus = "lines";

static const struct fuzz_subject subjects[] = {
    {"redis", {.settings = NULL}},
    {"redis", {.settings = "role = \"master\";", .secret = "x"}},
    {"redis", {.settings = "role = \"replica\";"}},
    {"smtp", {.settings = NULL}},
    {"smtp", {.settings = "starttls = true;"}},
    {"imap", {.settings = NULL}},
    {"imap", {.settings = "starttls = true;"}},
    {"pop3", {.settings = "starttls = true;"}},
    {"ftp", {.settings = NULL}},
    {"ftp", {.settings = "starttls = true;"}},
    {"nats", {.user = "u", .secret = "p"}},
    {"nats", {.settings = "starttls = true;"}},
    {"memcached", {.settings = NULL}},
    {"zookeeper", {.settings = NULL}},
    {"ssh", {.settings = NULL}},
};

/* Whether clear text behind the go-ahead came in one piece with it decides who sees it: the
 * dialogue, or TLS. */
static bool same(const struct transcript_end *whole, const struct transcript_end *cut)
{
    return whole->result.http_status == 0 &&
           (whole->clear_behind > 0 || cut->clear_behind > 0 || fuzz_same(whole, cut));
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    if (size < 2)
        return 0;
    const char *at = (const char *)data + 2;
    size_t len = size - 2;
    const char *mark = memchr(at, 0xff, len);
    size_t clear_len = mark != NULL ? (size_t)(mark - at) : len;
    size_t skipped = clear_len + (mark != NULL);
    const struct transcript_bytes clear = {at, clear_len};
    const struct transcript_bytes secured = {at + skipped, len - skipped};
    fuzz_play(fuzz_conf(subjects, sizeof subjects / sizeof subjects[0], data[0]), clear, secured,
              (size_t)data[1] + 1, same);
    return 0;
}
