/*
 * libconfig 1.5 checks none of its allocations: without memory it crashes, or ends the process. So
 * before it is called as much is taken as it may want, and freed for it to find. Another thread may
 * take some of that in the meantime; hence the estimate is a generous one.
 *
 * Taken in pieces that malloc() makes on its heap (larger ones would be mapped, and unmapped at
 * once). The last is kept: the heap does not shrink below it.
 */
#include "config/room.h"

#include <stdlib.h>
#include <string.h>

#define PIECE_BYTES 65536
/* A setting is 64 bytes, and has a name, a value or a list of its own: four blocks, of which glibc
 * makes 32 bytes at least, and a place in its parent's list. */
#define SETTING_BYTES 320
/* The scanner's copy, names and strings; buffers that grow by doubling. */
#define TEXT_FACTOR 4

struct room {
    struct room *before;
};

/* No fewer than there are: each has one of these before it, and so have others. */
static size_t count_settings(const char *text)
{
    size_t count = 1;
    while (*(text += strcspn(text, "=:,{([")) != '\0') {
        count++;
        text++;
    }
    return count;
}

static void free_from(struct room *last)
{
    while (last != NULL) {
        struct room *before = last->before;
        free(last);
        last = before;
    }
}

struct room *room_make(const char *text, size_t len)
{
    size_t bytes = TEXT_FACTOR * len + SETTING_BYTES * count_settings(text) + PIECE_BYTES;
    struct room *last = NULL;
    for (size_t taken = 0; taken < bytes; taken += PIECE_BYTES) {
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
