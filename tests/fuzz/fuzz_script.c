/* The script dialogue against any bytes. A script that turns to TLS is left out: whether bytes in
 * clear come with the go-ahead or behind it is a matter of cuts. */
#include "fuzz_dialogue.h"

const char *const fuzz_corpus = "script";

#define MAX_BYTES 60000 /* with more the engine's byte limit comes before */

static const struct fuzz_subject subjects[] = {
    {"tcp", {.settings = "script = ( \"send_line PING\", \"expect +PONG\" );"}},
    {"tcp",
     {.settings = "script = ( \"expect 220\", \"send_line EHLO\", \"expect_match ^250 \" );"}},
    {"tcp",
     {.settings = "script = ( \"expect_hex 00 01\", \"expect a\", \"expect_match (b+)+$\", "
                  "\"expect_hex ff\", \"expect_match x\", \"send end\" );"}},
};

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    if (size > MAX_BYTES)
        return 0;
    return fuzz_input(subjects, sizeof subjects / sizeof subjects[0], data, size, fuzz_same);
}
