/*
 * As much is taken as the library may want, and freed for it to find. Another thread may take some
 * of that in the meantime, so callers ask for plenty.
 *
 * Taken in pieces that malloc() makes on its heap (larger ones would be mapped, and unmapped at
 * once). The last is kept: the heap does not shrink below it.
 */
#include <healthsvc/room.h>

#include <stdlib.h>

#define PIECE_BYTES 65536

struct room {
    struct room *before;
};

static void free_from(struct room *last)
{
    while (last != NULL) {
        struct room *before = last->before;
        free(last);
        last = before;
    }
}

struct room *room_make(size_t bytes)
{
    struct room *last = NULL;
    for (size_t taken = 0; taken < bytes + PIECE_BYTES; taken += PIECE_BYTES) {
        struct room *piece = malloc(PIECE_BYTES);
        if (piece == NULL) {
            free_from(last);
            return NULL;
        }
        piece->before = last;
        last = piece;
    }
    if (last != NULL) {
        free_from(last->before);
        last->before = NULL;
    }
    return last;
}

void room_done(struct room *room)
{
    free(room);
}
