#include "base/mapped.h"

#include <stdlib.h>
#include <sys/mman.h>

#if MAPPED_PIECES

void *mapped_take(size_t bytes)
{
    void *piece = mmap(NULL, bytes, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
    return piece != MAP_FAILED ? piece : NULL;
}

void mapped_give_back(void *piece, size_t bytes)
{
    (void)munmap(piece, bytes);
}

#else

void *mapped_take(size_t bytes)
{
    return calloc(1, bytes);
}

void mapped_give_back(void *piece, size_t bytes)
{
    (void)bytes;
    free(piece);
}

#endif
