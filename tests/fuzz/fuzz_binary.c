/* Every binary dialogue against any bytes. */
#include "fuzz_dialogue.h"

const char *const fuzz_corpus = "binary";

static const struct fuzz_subject subjects[] = {
    {"amqp", {.user = NULL}},
    {"amqp", {.user = "me", .secret = "pw"}},
    {"cassandra", {.user = NULL}},
    {"fastcgi", {.path = "/"}},
    {"fastcgi", {.path = "/ping", .settings = "expect_status = [ 200, 404 ];"}},
    {"kafka", {.user = NULL}},
    {"ldap", {.user = NULL}},
    {"ldap", {.user = "cn=me", .secret = "pw"}},
    {"mongodb", {.user = NULL}},
    {"mqtt", {.user = "me", .secret = "pw"}},
    {"mysql", {.user = "me", .secret = "pw"}},
    {"mysql", {.settings = "sslmode = \"prefer\";"}},
    {"postgres", {.user = NULL}},
    {"postgres", {.settings = "sslmode = \"prefer\";"}},
};

/* What comes in clear behind the turn to TLS is an attack in one piece, and TLS's in two. */
static bool same(const struct transcript_end *whole, const struct transcript_end *cut)
{
    return cut->clear_behind > 0 || fuzz_same(whole, cut);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    return fuzz_input(subjects, sizeof subjects / sizeof subjects[0], data, size, same);
}
