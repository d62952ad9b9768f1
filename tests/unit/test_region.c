/* A region: what is in it is zeroed, aligned, apart from the rest, and stays where it is. */
#include "../testing.h"

#include <healthsvc/region.h>

#include <stdalign.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>

#define LARGEST 700000 /* more than twice a piece */

TEST(blocks_of_every_size_are_apart)
{
    static const size_t sizes[] = {0, 1, 15, 16, 17, 100, 4096, 100000, 262128, 262144, LARGEST, 8};
    enum {
        COUNT = 600
    };
    static unsigned char *blocks[COUNT];
    struct region *r = region_new();
    for (size_t i = 0; i < COUNT; i++) {
        size_t bytes = sizes[i * i % (sizeof sizes / sizeof sizes[0])];
        blocks[i] = region_alloc(r, bytes);
        EXPECT(blocks[i] != NULL);
        EXPECT_INT((uintptr_t)blocks[i] % alignof(max_align_t), 0);
        size_t not_zero = 0;
        for (size_t k = 0; k < bytes; k++)
            not_zero += blocks[i][k] != 0;
        EXPECT_INT(not_zero, 0);
        memset(blocks[i], (int)(i % 255 + 1), bytes);
    }
    for (size_t i = 0; i < COUNT; i++) {
        size_t bytes = sizes[i * i % (sizeof sizes / sizeof sizes[0])], changed = 0;
        for (size_t k = 0; k < bytes; k++)
            changed += blocks[i][k] != i % 255 + 1;
        EXPECT_INT(changed, 0);
    }
    EXPECT(region_free(r) == NULL);
}

TEST(texts_are_copied)
{
    struct region *r = region_new();
    char text[] = "trips";
    char *whole = region_copy_text(r, text);
    char *part = region_copy(r, text, 2);
    char *nothing = region_copy_text(r, "");
    text[0] = 'x';
    EXPECT_STR(whole, "trips");
    EXPECT_STR(part, "tr");
    EXPECT_STR(nothing, "");
    region_free(r);
}

TEST(what_cannot_be_is_refused)
{
    struct region *r = region_new();
    EXPECT(region_alloc(r, SIZE_MAX) == NULL);
    EXPECT(region_alloc(r, SIZE_MAX - 64) == NULL);
    EXPECT(region_alloc(r, 1) != NULL);
    region_free(r);
    EXPECT(region_free(NULL) == NULL);
}

int main(void)
{
    RUN(blocks_of_every_size_are_apart);
    RUN(texts_are_copied);
    RUN(what_cannot_be_is_refused);
    return testing_end();
}
