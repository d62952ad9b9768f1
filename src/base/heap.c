/* Pairing heap (Fredman, Sedgewick, Sleator, Tarjan 1986). Equal due times keep no order. */
#include <healthsvc/heap.h>

#include <assert.h>
#include <stddef.h>

static struct heap_node *meld(struct heap_node *a, struct heap_node *b)
{
    if (a == NULL)
        return b;
    if (b == NULL)
        return a;
    if (b->due < a->due) {
        struct heap_node *t = a;
        a = b;
        b = t;
    }
    b->next = a->child;
    if (b->next != NULL)
        b->next->prev = b;
    b->prev = a;
    a->child = b;
    return a;
}

/* Melds a list of siblings into one tree: pairs from left to right, then the pairs from right to
 * left. The second pass is what bounds the cost. */
static struct heap_node *meld_siblings(struct heap_node *first)
{
    struct heap_node *pairs = NULL;
    while (first != NULL) {
        struct heap_node *a = first;
        struct heap_node *b = a->next;
        first = b != NULL ? b->next : NULL;
        a->next = a->prev = NULL;
        if (b != NULL)
            b->next = b->prev = NULL;
        a = meld(a, b);
        a->next = pairs;
        pairs = a;
    }
    struct heap_node *root = NULL;
    while (pairs != NULL) {
        struct heap_node *rest = pairs->next;
        pairs->next = NULL;
        root = meld(root, pairs);
        pairs = rest;
    }
    return root;
}

void heap_push(struct heap *h, struct heap_node *node, int64_t due)
{
    assert(!node->queued);
    node->due = due;
    node->child = node->next = node->prev = NULL;
    node->queued = true;
    h->root = meld(h->root, node);
}

void heap_remove(struct heap *h, struct heap_node *node)
{
    if (!node->queued)
        return;
    struct heap_node *orphans = meld_siblings(node->child);
    if (node == h->root) {
        h->root = orphans;
    } else {
        if (node->prev->child == node)
            node->prev->child = node->next;
        else
            node->prev->next = node->next;
        if (node->next != NULL)
            node->next->prev = node->prev;
        h->root = meld(h->root, orphans);
    }
    node->child = node->next = node->prev = NULL;
    node->queued = false;
}
