#include <healthsvc/memory.h>

#include <stdlib.h>

static _Thread_local uint64_t refusals;

/* Nothing was asked for, nothing is refused. */
static void *note(void *mem, size_t bytes)
{
    refusals += mem == NULL && bytes > 0;
    return mem;
}

void *memory_malloc(size_t bytes)
{
    return note(malloc(bytes), bytes);
}

void *memory_calloc(size_t count, size_t bytes)
{
    return note(calloc(count, bytes), count > 0 ? bytes : 0);
}

void *memory_realloc(void *mem, size_t bytes)
{
    return note(realloc(mem, bytes), bytes);
}

uint64_t memory_refusals(void)
{
    return refusals;
}
