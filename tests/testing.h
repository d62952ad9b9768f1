/*
 * testing.h: what a C test needs: named cases, expectations that tell what was seen, TAP output.
 *
 *     TEST(adds_up) { EXPECT_INT(1 + 1, 2); }
 *     int main(void) { RUN(adds_up); return testing_end(); }
 *
 * A failed expectation is printed with file, line and both values; the case goes on, and fails.
 * Threads: main only.
 */
#ifndef HEALTHSVC_TESTING_H
#define HEALTHSVC_TESTING_H

#include <inttypes.h>
#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

static int testing_cases, testing_failed_cases, testing_faults;

#define TEST(name) static void test_##name(void)
#define RUN(name) testing_run(#name, test_##name)

static inline void testing_run(const char *name, void (*fn)(void))
{
    testing_faults = 0;
    fn();
    testing_cases++;
    if (testing_faults > 0)
        testing_failed_cases++;
    printf("%s %d - %s\n", testing_faults > 0 ? "not ok" : "ok", testing_cases, name);
    fflush(stdout);
}

static inline int testing_end(void)
{
    printf("1..%d\n", testing_cases);
    return testing_failed_cases > 0 || testing_cases == 0;
}

static inline bool testing_fault(const char *file, int line, const char *what)
{
    printf("# %s:%d: %s\n", file, line, what);
    testing_faults++;
    return false;
}

static inline bool testing_int(const char *file, int line, const char *expr, int64_t got,
                               int64_t want)
{
    if (got == want)
        return true;
    printf("# %s:%d: %s is %" PRId64 ", expected %" PRId64 "\n", file, line, expr, got, want);
    testing_faults++;
    return false;
}

static inline bool testing_str(const char *file, int line, const char *expr, const char *got,
                               const char *want)
{
    if (got == want || (got != NULL && want != NULL && strcmp(got, want) == 0))
        return true;
    printf("# %s:%d: %s is\n#   \"%s\"\n# expected\n#   \"%s\"\n", file, line, expr,
           got != NULL ? got : "(null)", want != NULL ? want : "(null)");
    testing_faults++;
    return false;
}

/* Each is true if the expectation held, so that a test can stop where the rest makes no sense. */
#define EXPECT(cond) ((cond) ? true : testing_fault(__FILE__, __LINE__, "expected: " #cond))
#define EXPECT_INT(got, want) testing_int(__FILE__, __LINE__, #got, (int64_t)(got), (int64_t)(want))
#define EXPECT_STR(got, want) testing_str(__FILE__, __LINE__, #got, (got), (want))
#define EXPECT_HAS(text, part)               \
    (strstr((text), (part)) != NULL          \
         ? true                              \
         : (printf("# in \"%s\"\n", (text)), \
            testing_fault(__FILE__, __LINE__, "expected to contain " #part)))

#endif
