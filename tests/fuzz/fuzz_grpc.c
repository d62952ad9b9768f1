/* The gRPC dialogue against any bytes. An input has no byte that chooses. How the bytes are cut may
 * decide which of two faults is met first, so only good ends are compared. */
#include "fuzz_dialogue.h"

const char *const fuzz_corpus = "grpc";

static const struct fuzz_subject subject = {"grpc", {.settings = "service = \"trips\";"}};

static bool same(const struct transcript_end *whole, const struct transcript_end *cut)
{
    return whole->result.outcome != OUTCOME_OK || cut->result.outcome == OUTCOME_OK;
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    const struct transcript_bytes none = {NULL, 0};
    if (size < 1)
        return 0;
    const struct transcript_bytes bytes = {(const char *)data + 1, size - 1};
    fuzz_play(fuzz_conf(&subject, 1, 0), bytes, none, (size_t)data[0] + 1, same);
    return 0;
}
