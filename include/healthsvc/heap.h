/*
 * heap.h: a priority queue of due times whose nodes lie in their owners, so that arming a timer
 * never allocates and never fails (a pairing heap: push O(1), pop and remove O(log n) amortised).
 *
 * Owner: each node belongs to the object it lies in and must be removed before that is freed.
 * Threads: one at a time. Errors: none.
 */
#ifndef HEALTHSVC_HEAP_H
#define HEALTHSVC_HEAP_H

#include <stdbool.h>
#include <stdint.h>

struct heap_node {
    int64_t due;
    struct heap_node *child; /* first child */
    struct heap_node *next;  /* next sibling */
    struct heap_node *prev;  /* previous sibling, or the parent of a first child */
    bool queued;
};

struct heap {
    struct heap_node *root; /* the smallest due, or NULL */
};

void heap_push(struct heap *h, struct heap_node *node, int64_t due); /* node must not be queued */
void heap_remove(struct heap *h, struct heap_node *node);            /* nothing if not queued */

#endif
