/*
 * memory.h: whether a library has gone without memory and not said so.
 *
 * The libraries of a check allocate by these functions (probe_init() and who makes their objects see
 * to it), which count what they cannot give. Some libraries tell of it in words that mean something
 * else: OpenSSL then calls a certificate "too weak", nghttp2 resets the stream. Whoever makes a
 * verdict of what a library says compares the count before and after.
 * Threads: any; each has a count of its own.
 * Errors: as those of the C library.
 */
#ifndef HEALTHSVC_MEMORY_H
#define HEALTHSVC_MEMORY_H

#include <stddef.h>
#include <stdint.h>

void *memory_malloc(size_t bytes);
void *memory_calloc(size_t count, size_t bytes);
void *memory_realloc(void *mem, size_t bytes);

/* How often this thread was refused memory here. */
uint64_t memory_refusals(void);

#endif
