/*
 * A reload keeps two configurations for a moment, and longer while checks of the old one go on. On the
 * heap, each generation filled the holes that the one before it had left between the blocks of others;
 * ever fewer pages became free, and 2 MB more were resident after a quarter of an hour of a reload a
 * second, with 5,000 dependencies.
 */
#include <healthsvc/region.h>

#include "base/mapped.h"

#include <stdalign.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#define PIECE_BYTES (MAPPED_PIECES * 262144) /* what is not touched takes no memory */

struct piece {
    alignas(max_align_t) struct piece *before;
    size_t bytes, low, high; /* what lies between is free: texts, of any length, come from above */
};

struct region {
    struct piece *last;
};

struct region *region_new(void)
{
    return calloc(1, sizeof(struct region));
}

struct region *region_free(struct region *r)
{
    if (r == NULL)
        return NULL;
    while (r->last != NULL) {
        struct piece *before = r->last->before;
        mapped_give_back(r->last, r->last->bytes);
        r->last = before;
    }
    free(r);
    return NULL;
}

/* One with so much free, or NULL. */
static struct piece *piece_with(struct region *r, size_t bytes)
{
    struct piece *piece = r->last;
    if (piece != NULL && piece->high - piece->low >= bytes)
        return piece;
    size_t whole = sizeof *piece + bytes > PIECE_BYTES ? sizeof *piece + bytes : PIECE_BYTES;
    piece = mapped_take(whole);
    if (piece == NULL)
        return NULL;
    *piece = (struct piece){.before = r->last, .bytes = whole, .low = sizeof *piece, .high = whole};
    r->last = piece;
    return piece;
}

void *region_alloc(struct region *r, size_t bytes)
{
    enum {
        ALIGN = alignof(max_align_t)
    };
    if (bytes > PTRDIFF_MAX)
        return NULL;
    size_t room = (bytes + ALIGN - 1) / ALIGN * ALIGN;
    struct piece *piece = piece_with(r, room);
    if (piece == NULL)
        return NULL;
    piece->low += room;
    return (char *)piece + piece->low - room;
}

char *region_copy(struct region *r, const char *text, size_t len)
{
    struct piece *piece = piece_with(r, len + 1);
    if (piece == NULL)
        return NULL;
    piece->high -= len + 1;
    return memcpy((char *)piece + piece->high, text, len);
}

char *region_copy_text(struct region *r, const char *text)
{
    return region_copy(r, text, strlen(text));
}
