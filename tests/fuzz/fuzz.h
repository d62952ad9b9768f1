/*
 * fuzz.h: what a fuzz target offers, to libFuzzer and to the plain main that replays its corpus.
 *
 * Threads: main only.
 */
#ifndef HEALTHSVC_FUZZ_H
#define HEALTHSVC_FUZZ_H

#include <stddef.h>
#include <stdint.h>

/* One input; aborts on a finding. */
int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

extern const char *const fuzz_corpus; /* its folder below tests/fuzz/corpus */

#endif
