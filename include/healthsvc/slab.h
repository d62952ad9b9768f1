/*
 * slab.h: memory for many things of one size that come and go one by one.
 *
 * They lie side by side in pieces of their own, so that each does not keep a page of the heap, where
 * others come and go by the thousand; a piece that holds none is given back.
 * Owner: of a thing, who got it; a slab is static. Threads: any.
 */
#ifndef HEALTHSVC_SLAB_H
#define HEALTHSVC_SLAB_H

#include <pthread.h>
#include <stddef.h>

struct slab_piece;

struct slab {
    size_t bytes; /* of a thing */
    pthread_mutex_t mutex;
    struct slab_piece *open; /* the pieces with room */
};

#define SLAB_OF(type)                                             \
    {                                                             \
        .bytes = sizeof(type), .mutex = PTHREAD_MUTEX_INITIALIZER \
    }

/* Zeroed, aligned for any type. NULL: no memory. */
void *slab_get(struct slab *s);
/* Accepts NULL. */
void slab_put(struct slab *s, void *thing);

#endif
