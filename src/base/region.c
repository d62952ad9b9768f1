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

#if MAPPED_PIECES
#define PIECE_BYTES 262144 /* what is not touched takes no memory */
#else
#define PIECE_BYTES 0
#endif

struct piece {
    alignas(max_align_t) struct piece *before;
    size_t bytes, used; /* with this */
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

static struct piece *piece_add(struct region *r, size_t bytes)
{
    struct piece *piece = mapped_take(bytes);
    if (piece == NULL)
        return NULL;
    piece->bytes = bytes;
    piece->used = sizeof *piece;
    piece->before = r->last;
    r->last = piece;
    return piece;
}

void *region_alloc(struct region *r, size_t bytes)
{
    struct piece *piece = r->last;
    if (bytes > PTRDIFF_MAX)
        return NULL;
    size_t room = (bytes + sizeof(max_align_t) - 1) / sizeof(max_align_t) * sizeof(max_align_t);
    if (piece == NULL || piece->bytes - piece->used < room) {
        size_t whole = room + sizeof *piece;
        piece = piece_add(r, whole > PIECE_BYTES ? whole : PIECE_BYTES);
    }
    if (piece == NULL)
        return NULL;
    void *memory = (char *)piece + piece->used;
    piece->used += room;
    return memory;
}

char *region_copy(struct region *r, const char *text, size_t len)
{
    char *copy = region_alloc(r, len + 1);
    if (copy != NULL)
        memcpy(copy, text, len);
    return copy;
}

char *region_copy_text(struct region *r, const char *text)
{
    return region_copy(r, text, strlen(text));
}
