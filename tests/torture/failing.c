/*
 * An executable that defines malloc() and its kin replaces those of the C library for the whole
 * process (glibc's manual, "Replacing malloc"). The true ones are reached by the names that glibc,
 * or the sanitizer whose allocator is in its place, has for them besides.
 *
 * strdup() and the like are here because a sanitizer has its own, which do not come by malloc(). What
 * is mapped counts, too, unless there is one: it takes what it needs itself that way.
 */
#include "failing.h"

#include <errno.h>
#include <link.h>
#include <malloc.h>
#include <stdatomic.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/syscall.h>
#include <unistd.h>

#if defined __has_feature
#if __has_feature(address_sanitizer) || __has_feature(thread_sanitizer)
#define SANITIZED 1
#endif
#endif
#if defined __SANITIZE_ADDRESS__ || defined __SANITIZE_THREAD__ || defined SANITIZED
#define TRUE_NAME(name) "__interceptor_" name
#else
#define MAPS_ARE_OURS
#define TRUE_NAME(name) "__libc_" name
#endif

/* They are called before a sanitizer is ready. */
#define PLAIN __attribute__((no_sanitize("address", "undefined", "thread")))

void *true_malloc(size_t bytes) __asm__(TRUE_NAME("malloc"));
void *true_calloc(size_t count, size_t bytes) __asm__(TRUE_NAME("calloc"));
void *true_realloc(void *mem, size_t bytes) __asm__(TRUE_NAME("realloc"));
void *true_memalign(size_t alignment, size_t bytes) __asm__(TRUE_NAME("memalign"));
void true_free(void *mem) __asm__(TRUE_NAME("free"));

static struct failing own_plan;
static struct failing *plan = &own_plan;
static _Thread_local bool is_planner;
static atomic_long live;

#define SPARED_MAX 4
static struct {
    uintptr_t begin, end;
} spared[SPARED_MAX];
static size_t spared_count;

PLAIN static bool is_spared(const void *caller)
{
    for (size_t i = 0; i < spared_count; i++) {
        if ((uintptr_t)caller >= spared[i].begin && (uintptr_t)caller < spared[i].end)
            return true;
    }
    return false;
}

/* xorshift64*, a state a thread: chance needs no lock. */
PLAIN static bool by_chance(unsigned long per_million)
{
    static atomic_ulong seed = 88172645463325252;
    static _Thread_local uint64_t state;
    if (state == 0)
        state = atomic_fetch_add(&seed, 0x9e3779b97f4a7c15) | 1;
    state ^= state >> 12;
    state ^= state << 25;
    state ^= state >> 27;
    return (state * 0x2545f4914f6cdd1d >> 32) % 1000000 < per_million;
}

PLAIN static bool refuses(const void *caller)
{
    struct failing *p = plan;
    int mode = atomic_load_explicit(&p->mode, memory_order_relaxed);
    bool refused = false;
    if (mode == FAILING_NONE || (atomic_load(&p->one_thread) && !is_planner) || is_spared(caller))
        return false;
    unsigned long n = atomic_load(&p->n), i = atomic_fetch_add(&p->seen, 1) + 1;
    switch ((enum failing_mode)mode) {
    case FAILING_NONE:
        break;
    case FAILING_ONE:
        refused = i == n;
        break;
    case FAILING_REST:
        refused = i >= n;
        break;
    case FAILING_RANDOM:
        refused = by_chance(n);
        break;
    }
    if (refused) {
        atomic_fetch_add(&p->refused, 1);
        errno = ENOMEM;
    }
    return refused;
}

PLAIN static void *count(void *mem)
{
    if (mem != NULL)
        atomic_fetch_add_explicit(&live, 1, memory_order_relaxed);
    return mem;
}

#define CALLER __builtin_return_address(0)

PLAIN void *malloc(size_t bytes)
{
    return refuses(CALLER) ? NULL : count(true_malloc(bytes));
}

PLAIN void *calloc(size_t how_many, size_t bytes)
{
    return refuses(CALLER) ? NULL : count(true_calloc(how_many, bytes));
}

PLAIN static void *resize(void *mem, size_t bytes)
{
    void *moved = true_realloc(mem, bytes);
    if (mem == NULL)
        return count(moved);
    if (moved == NULL && bytes == 0) /* freed */
        atomic_fetch_sub_explicit(&live, 1, memory_order_relaxed);
    return moved;
}

PLAIN void *realloc(void *mem, size_t bytes)
{
    return bytes > 0 && refuses(CALLER) ? NULL : resize(mem, bytes);
}

PLAIN void *reallocarray(void *mem, size_t how_many, size_t each)
{
    size_t bytes;
    if (__builtin_mul_overflow(how_many, each, &bytes)) {
        errno = ENOMEM;
        return NULL;
    }
    return bytes > 0 && refuses(CALLER) ? NULL : resize(mem, bytes);
}

PLAIN void *memalign(size_t alignment, size_t bytes)
{
    return refuses(CALLER) ? NULL : count(true_memalign(alignment, bytes));
}

PLAIN void *aligned_alloc(size_t alignment, size_t bytes)
{
    return refuses(CALLER) ? NULL : count(true_memalign(alignment, bytes));
}

PLAIN int posix_memalign(void **ret_mem, size_t alignment, size_t bytes)
{
    void *mem = refuses(CALLER) ? NULL : count(true_memalign(alignment, bytes));
    if (mem == NULL)
        return ENOMEM;
    *ret_mem = mem;
    return 0;
}

PLAIN void free(void *mem)
{
    int err = errno;
    if (mem == NULL)
        return;
    atomic_fetch_sub_explicit(&live, 1, memory_order_relaxed);
    true_free(mem);
    errno = err;
}

#ifdef MAPS_ARE_OURS

PLAIN void *mmap(void *at, size_t bytes, int access, int flags, int fd, off_t offset)
{
    if (refuses(CALLER))
        return MAP_FAILED;
    void *mem = mmap64(at, bytes, access, flags, fd, offset);
    if (mem != MAP_FAILED)
        (void)count(mem);
    return mem;
}

PLAIN int munmap(void *mem, size_t bytes)
{
    int r = (int)syscall(SYS_munmap, mem, bytes);
    if (r == 0)
        atomic_fetch_sub_explicit(&live, 1, memory_order_relaxed);
    return r;
}

#endif

PLAIN static char *copy(const void *caller, const char *text, size_t len)
{
    char *mem = refuses(caller) ? NULL : count(true_malloc(len + 1));
    if (mem != NULL) {
        memcpy(mem, text, len);
        mem[len] = '\0';
    }
    return mem;
}

#undef strdup
#undef strndup

PLAIN char *strdup(const char *text)
{
    return copy(CALLER, text, strlen(text));
}

PLAIN char *strndup(const char *text, size_t max)
{
    return copy(CALLER, text, strnlen(text, max));
}

/* What libraries built with an older string.h call. */
char *old_strdup(const char *text) __asm__("__strdup");

PLAIN char *old_strdup(const char *text)
{
    return copy(CALLER, text, strlen(text));
}

/* ---- the test's side ---- */

void failing_begin(enum failing_mode mode, unsigned long n, bool one_thread)
{
    is_planner = true;
    atomic_store(&plan->n, n);
    atomic_store(&plan->seen, 0);
    atomic_store(&plan->refused, 0);
    atomic_store(&plan->one_thread, one_thread);
    atomic_store(&plan->mode, mode);
}

unsigned long failing_end(void)
{
    atomic_store(&plan->mode, FAILING_NONE);
    is_planner = false;
    return atomic_load(&plan->refused);
}

unsigned long failing_seen(void)
{
    return atomic_load(&plan->seen);
}

void failing_use(struct failing *other)
{
    plan = other != NULL ? other : &own_plan;
}

long failing_live(void)
{
    return atomic_load(&live);
}

static int spare_one(struct dl_phdr_info *info, size_t size, void *name)
{
    (void)size;
    if (strstr(info->dlpi_name, name) == NULL || spared_count == SPARED_MAX)
        return 0;
    for (int i = 0; i < info->dlpi_phnum; i++) {
        if (info->dlpi_phdr[i].p_type != PT_LOAD || !(info->dlpi_phdr[i].p_flags & PF_X))
            continue;
        spared[spared_count].begin = info->dlpi_addr + info->dlpi_phdr[i].p_vaddr;
        spared[spared_count].end = spared[spared_count].begin + info->dlpi_phdr[i].p_memsz;
        spared_count++;
        return 1;
    }
    return 0;
}

bool failing_spare(const char *library)
{
    char name[64] = "";
    if (library == NULL) {
        spared_count = 0;
        return true;
    }
    memcpy(name, library, strnlen(library, sizeof name - 1));
    return dl_iterate_phdr(spare_one, name) == 1;
}
