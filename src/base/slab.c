/*
 * Each thing knows its piece. The pieces with room are a list; the one that got room last is
 * first, so that what is freed is taken again while the others empty.
 */
#include <healthsvc/slab.h>

#include "base/mapped.h"

#include <stdalign.h>
#include <stdbool.h>
#include <string.h>

#define PIECE_BYTES (MAPPED_PIECES * 65536)

struct slot {
    alignas(max_align_t) struct slab_piece *piece;
    struct slot *next; /* of those freed */
};

struct slab_piece {
    struct slab_piece *before, *after; /* of those with room */
    struct slot *freed;
    size_t used, fresh, count; /* `fresh`: things that were given out ever */
    alignas(max_align_t) char slots[];
};

static size_t slot_bytes(const struct slab *s)
{
    size_t bytes = sizeof(struct slot) + s->bytes;
    return (bytes + alignof(max_align_t) - 1) / alignof(max_align_t) * alignof(max_align_t);
}

static size_t piece_count(const struct slab *s)
{
    size_t count = PIECE_BYTES / slot_bytes(s);
    return count > 1 ? count - 1 : 1; /* the piece's own words take the place of one */
}

static size_t piece_bytes(const struct slab *s)
{
    return sizeof(struct slab_piece) + piece_count(s) * slot_bytes(s);
}

static void link_piece(struct slab *s, struct slab_piece *piece)
{
    piece->before = NULL;
    piece->after = s->open;
    if (s->open != NULL)
        s->open->before = piece;
    s->open = piece;
}

static void unlink_piece(struct slab *s, struct slab_piece *piece)
{
    if (piece->before != NULL)
        piece->before->after = piece->after;
    else
        s->open = piece->after;
    if (piece->after != NULL)
        piece->after->before = piece->before;
}

static bool has_room(const struct slab_piece *piece)
{
    return piece->used < piece->count;
}

static struct slab_piece *piece_new(struct slab *s)
{
    struct slab_piece *piece = mapped_take(piece_bytes(s));
    if (piece == NULL)
        return NULL;
    piece->count = piece_count(s);
    link_piece(s, piece);
    return piece;
}

static struct slot *take_slot(struct slab *s, struct slab_piece *piece)
{
    struct slot *slot = piece->freed;
    if (slot != NULL)
        piece->freed = slot->next;
    else
        slot = (struct slot *)(void *)(piece->slots + piece->fresh++ * slot_bytes(s));
    slot->piece = piece;
    piece->used++;
    if (!has_room(piece))
        unlink_piece(s, piece);
    return slot;
}

void *slab_get(struct slab *s)
{
    pthread_mutex_lock(&s->mutex);
    struct slab_piece *piece = s->open != NULL ? s->open : piece_new(s);
    struct slot *slot = piece != NULL ? take_slot(s, piece) : NULL;
    pthread_mutex_unlock(&s->mutex);
    return slot != NULL ? memset(slot + 1, 0, s->bytes) : NULL;
}

void slab_put(struct slab *s, void *thing)
{
    if (thing == NULL)
        return;
    struct slot *slot = (struct slot *)thing - 1;
    struct slab_piece *piece = slot->piece;
    pthread_mutex_lock(&s->mutex);
    if (!has_room(piece))
        link_piece(s, piece);
    slot->next = piece->freed;
    piece->freed = slot;
    if (--piece->used == 0) {
        unlink_piece(s, piece);
        mapped_give_back(piece, piece_bytes(s));
    }
    pthread_mutex_unlock(&s->mutex);
}
