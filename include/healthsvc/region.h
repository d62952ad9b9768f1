/*
 * region.h: memory for many things that live and die together.
 *
 * What is allocated stays until all of it is freed at once. It lies in mapped pieces, apart from the
 * heap: things of another life between them would keep either's pages.
 * Owner: whoever called region_new(). Threads: one at a time.
 */
#ifndef HEALTHSVC_REGION_H
#define HEALTHSVC_REGION_H

#include <stddef.h>

struct region;

struct region *region_new(void); /* NULL: no memory */
/* Frees everything in it; accepts NULL, returns NULL. */
struct region *region_free(struct region *r);

/* Zeroed, aligned for any type. NULL: no memory. */
void *region_alloc(struct region *r, size_t bytes);
/* Copies, with a NUL behind. NULL: no memory. */
char *region_copy(struct region *r, const char *text, size_t len);
char *region_copy_text(struct region *r, const char *text);

#endif
