/*
 * mapped.h: pieces of memory apart from the heap, zeroed, for what keeps things of its own in them.
 *
 * malloc() would take a piece from a hole of the heap, however large it is. A sanitizer sees the end
 * of each thing only if that has a piece of its own, which the sanitizer has made: see MAPPED_PIECES.
 * Threads: any.
 */
#ifndef HEALTHSVC_BASE_MAPPED_H
#define HEALTHSVC_BASE_MAPPED_H

#include <stddef.h>

#if defined __has_feature
#if __has_feature(address_sanitizer)
#define MAPPED_PIECES 0
#endif
#elif defined __SANITIZE_ADDRESS__
#define MAPPED_PIECES 0
#endif
#ifndef MAPPED_PIECES
#define MAPPED_PIECES 1 /* things share pieces */
#endif

/* NULL: no memory. */
void *mapped_take(size_t bytes);
/* `bytes` as taken. */
void mapped_give_back(void *piece, size_t bytes);

#endif
