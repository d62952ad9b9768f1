/*
 * libFuzzer's side: "tests/fuzz/run" says how it is started. The target is named by FUZZ_TARGET,
 * not by an argument, because libFuzzer starts itself again with its own arguments (-merge, -jobs).
 */
#include "fuzz.h"

int LLVMFuzzerInitialize(int *argc, char ***argv);
int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static const struct fuzz_target *target;

int LLVMFuzzerInitialize(int *argc, char ***argv)
{
    const char *name = getenv("FUZZ_TARGET");
    (void)argc;
    (void)argv;
    target = name != NULL ? fuzz_target_find(name) : NULL;
    if (target != NULL)
        return 0;
    fprintf(stderr, "FUZZ_TARGET must be one of:");
    for (size_t i = 0; fuzz_target_at(i) != NULL; i++)
        fprintf(stderr, " %s", fuzz_target_at(i)->name);
    fprintf(stderr, "\n");
    exit(2);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    target->run(target, data, size);
    return 0;
}
