/* The heap against a plain array that is searched for its minimum: random pushes, removals from
 * the middle and pops, with a fixed seed. */
#include <healthsvc/heap.h>

#include "../testing.h"

#define NODES 500

static uint32_t seed = 1;

static uint32_t dice(uint32_t sides) /* Lehmer, 2^31 - 1 */
{
    seed = (uint32_t)((uint64_t)seed * 48271 % 2147483647);
    return seed % sides;
}

TEST(empty_heap)
{
    struct heap h = {0};
    struct heap_node n = {0};
    heap_remove(&h, &n);
    EXPECT(h.root == NULL);
    EXPECT(!n.queued);
}

TEST(one_node)
{
    struct heap h = {0};
    struct heap_node n = {0};
    heap_push(&h, &n, 7);
    EXPECT(h.root == &n);
    EXPECT(n.queued);
    EXPECT_INT(n.due, 7);
    heap_remove(&h, &n);
    EXPECT(h.root == NULL);
    EXPECT(!n.queued);
    heap_push(&h, &n, -3);
    EXPECT(h.root == &n);
    EXPECT_INT(n.due, -3);
}

TEST(pops_in_order)
{
    struct heap h = {0};
    static struct heap_node nodes[NODES];
    memset(nodes, 0, sizeof nodes);
    for (int i = 0; i < NODES; i++)
        heap_push(&h, &nodes[i], (int64_t)dice(100) - 50); /* many equal, some negative */
    int64_t last = INT64_MIN;
    int popped = 0;
    while (h.root != NULL) {
        struct heap_node *n = h.root;
        EXPECT(n->due >= last);
        last = n->due;
        heap_remove(&h, n);
        popped++;
    }
    EXPECT_INT(popped, NODES);
}

TEST(extreme_due_times)
{
    struct heap h = {0};
    struct heap_node never = {0}, always = {0}, now = {0};
    heap_push(&h, &never, INT64_MAX);
    heap_push(&h, &now, 0);
    heap_push(&h, &always, INT64_MIN);
    EXPECT(h.root == &always);
    heap_remove(&h, &always);
    EXPECT(h.root == &now);
    heap_remove(&h, &now);
    EXPECT(h.root == &never);
}

/* The smallest due of the queued nodes, as the array sees it. */
static bool smallest(const struct heap_node *nodes, int64_t *ret_due)
{
    bool any = false;
    for (int i = 0; i < NODES; i++) {
        if (nodes[i].queued && (!any || nodes[i].due < *ret_due)) {
            *ret_due = nodes[i].due;
            any = true;
        }
    }
    return any;
}

TEST(random_use_matches_array)
{
    struct heap h = {0};
    static struct heap_node nodes[NODES];
    memset(nodes, 0, sizeof nodes);
    for (int step = 0; step < 20000; step++) {
        struct heap_node *n = &nodes[dice(NODES)];
        if (dice(4) == 0 && h.root != NULL)
            n = h.root;
        if (n->queued)
            heap_remove(&h, n);
        else
            heap_push(&h, n, (int64_t)dice(1000));
        int64_t due = 0;
        bool any = smallest(nodes, &due);
        if (!EXPECT(any == (h.root != NULL)) || (any && !EXPECT_INT(h.root->due, due)))
            return;
    }
}

TEST(drains_after_random_use)
{
    struct heap h = {0};
    static struct heap_node nodes[NODES];
    memset(nodes, 0, sizeof nodes);
    for (int i = 0; i < NODES; i++)
        heap_push(&h, &nodes[i], i);
    heap_remove(&h, h.root); /* makes a deep tree of what was a wide one */
    for (int i = NODES - 1; i > 0; i -= 2)
        heap_remove(&h, &nodes[i]);
    for (int i = 2; i < NODES; i += 2) {
        if (!EXPECT(h.root == &nodes[i]))
            return;
        heap_remove(&h, h.root);
    }
    EXPECT(h.root == NULL);
}

int main(void)
{
    RUN(empty_heap);
    RUN(one_node);
    RUN(pops_in_order);
    RUN(extreme_due_times);
    RUN(random_use_matches_array);
    RUN(drains_after_random_use);
    return testing_end();
}
