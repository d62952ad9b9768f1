/* A slab: things are zeroed, aligned, apart from each other; what is put back is given out again. */
#include "../testing.h"

#include <healthsvc/slab.h>

#include <pthread.h>
#include <stdalign.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

struct thing {
    unsigned char bytes[309];
};

static struct slab things = SLAB_OF(struct thing);

static bool is_zeroed(const struct thing *t)
{
    static const struct thing zero;
    return memcmp(t->bytes, zero.bytes, sizeof zero.bytes) == 0;
}

static void fill(struct thing *t, uint64_t owner)
{
    memset(t->bytes, (int)(owner % 255 + 1), sizeof t->bytes);
    memcpy(t->bytes, &owner, sizeof owner);
}

static bool is_intact(const struct thing *t, uint64_t owner)
{
    struct thing same;
    fill(&same, owner);
    return memcmp(t->bytes, same.bytes, sizeof same.bytes) == 0;
}

#define COUNT 2000 /* several pieces of them */

TEST(things_are_apart_whatever_comes_and_goes)
{
    static struct thing *held[COUNT];
    unsigned faults = 0;
    uint32_t random = 1;
    for (unsigned i = 0; i < 100000; i++) {
        random = random * 1664525 + 1013904223;
        size_t at = (random >> 8) % COUNT;
        if (held[at] != NULL) {
            faults += !is_intact(held[at], at);
            slab_put(&things, held[at]);
            held[at] = NULL;
            continue;
        }
        held[at] = slab_get(&things);
        faults += held[at] == NULL || (uintptr_t)held[at] % alignof(max_align_t) != 0 ||
                  !is_zeroed(held[at]);
        if (held[at] != NULL)
            fill(held[at], at);
    }
    EXPECT_INT(faults, 0);
    for (size_t at = 0; at < COUNT; at++)
        slab_put(&things, held[at]);
}

static long resident_kb(void)
{
    char text[100];
    FILE *file = fopen("/proc/self/statm", "r");
    if (file == NULL || fgets(text, sizeof text, file) == NULL)
        abort();
    (void)fclose(file);
    return strtol(text + strcspn(text, " "), NULL, 10) * sysconf(_SC_PAGESIZE) / 1024;
}

TEST(empty_pieces_are_given_back)
{
    enum {
        MANY = 30000
    }; /* 10 MB */
    static struct thing *held[MANY];
    long before_kb = resident_kb();
    for (size_t i = 0; i < MANY; i++)
        held[i] = slab_get(&things);
    EXPECT(resident_kb() - before_kb > 9000);
    for (size_t i = 0; i < MANY; i++)
        slab_put(&things, held[i]);
#if !defined __SANITIZE_ADDRESS__ && !defined __SANITIZE_THREAD__ /* which keep what is freed */
    EXPECT(resident_kb() - before_kb < 1000);
#endif
    EXPECT(things.open == NULL);
}

static void *come_and_go(void *arg)
{
    uint64_t owner = (uintptr_t)arg;
    struct thing *held[50];
    uintptr_t faults = 0;
    for (int round = 0; round < 200; round++) {
        for (size_t i = 0; i < sizeof held / sizeof held[0]; i++) {
            held[i] = slab_get(&things);
            fill(held[i], owner);
        }
        for (size_t i = 0; i < sizeof held / sizeof held[0]; i++) {
            faults += !is_intact(held[i], owner);
            slab_put(&things, held[i]);
        }
    }
    return (void *)faults;
}

TEST(threads_share_it)
{
    pthread_t threads[4];
    for (uintptr_t i = 0; i < 4; i++)
        pthread_create(&threads[i], NULL, come_and_go, (void *)(i + 1));
    for (size_t i = 0; i < 4; i++) {
        void *faults = NULL;
        pthread_join(threads[i], &faults);
        EXPECT((uintptr_t)faults == 0);
    }
    EXPECT(things.open == NULL);
}

int main(void)
{
    slab_put(&things, NULL);
    RUN(things_are_apart_whatever_comes_and_goes);
    RUN(empty_pieces_are_given_back);
    RUN(threads_share_it);
    return testing_end();
}
