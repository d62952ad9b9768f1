/*
 * What malloc needs to be told, measured with 5,000 dependencies: an arena a worker thread would
 * cost address space and memory for nothing (a worker allocates once a request), and a snapshot of
 * a megabyte that is freed ten times a second must go back to the kernel, not raise the threshold
 * up to which freed memory is kept.
 */
#include "daemon/limits.h"

#include <healthsvc/strbuf.h>

#include <errno.h>
#include <fcntl.h>
#include <malloc.h>
#include <stdint.h>
#include <sys/resource.h>
#include <unistd.h>

#define FOR_LIBRARIES 48 /* libuv, epoll, name servers, logs, files being read, a reload */
#define LEAST_CHECKS 8   /* at once; below that nothing useful can be asked */
#define ARENAS 2         /* the checker's and everybody's */
#define MMAP_FROM_BYTES 131072
#define TRIM_FROM_BYTES 1048576 /* checks come in bursts: an arena must not shrink between them */
#define SOCKETS_PER_CHECK 2     /* addresses overlap at times */

void limits_tame_malloc(void)
{
    (void)mallopt(M_ARENA_MAX, ARENAS);
    (void)mallopt(M_MMAP_THRESHOLD, MMAP_FROM_BYTES);
    (void)mallopt(M_TRIM_THRESHOLD, TRIM_FROM_BYTES);
}

void limits_trim_memory(void)
{
    (void)malloc_trim(0);
}

void limits_fill_standard_descriptors(void)
{
    for (int fd = STDIN_FILENO; fd <= STDERR_FILENO; fd++) {
        if (fcntl(fd, F_GETFD) < 0)
            (void)open("/dev/null", O_RDONLY); /* the lowest that is free: this one */
    }
}

void limits_raise_descriptors(void)
{
    struct rlimit limit;
    if (getrlimit(RLIMIT_NOFILE, &limit) != 0 || limit.rlim_cur == limit.rlim_max)
        return;
    limit.rlim_cur = limit.rlim_max;
    (void)setrlimit(RLIMIT_NOFILE, &limit); /* refused: the soft limit is what there is */
}

/* By RLIMIT_CORE: PR_SET_DUMPABLE would also take /proc/self from a process that is not root. */
void limits_forbid_core_dumps(void)
{
    static const struct rlimit none = {0, 0};
    (void)setrlimit(RLIMIT_CORE, &none);
}

size_t limits_descriptors(void)
{
    struct rlimit limit;
    if (getrlimit(RLIMIT_NOFILE, &limit) != 0)
        return 0;
    return limit.rlim_cur > SIZE_MAX ? SIZE_MAX : (size_t)limit.rlim_cur;
}

size_t limits_descriptors_for(size_t for_clients, size_t checks)
{
    return for_clients + FOR_LIBRARIES + checks * SOCKETS_PER_CHECK;
}

int limits_share_descriptors(size_t for_clients, struct strbuf *why, size_t *ret_for_checks)
{
    size_t have = limits_descriptors();
    size_t need = limits_descriptors_for(for_clients, LEAST_CHECKS);
    if (have < need) {
        strbuf_addf(why,
                    "the limit of open files (RLIMIT_NOFILE) is %zu, but this configuration needs "
                    "at least %zu: %zu for its HTTP clients (fewer workers need fewer)",
                    have, need, for_clients);
        return -EMFILE;
    }
    *ret_for_checks = (have - for_clients - FOR_LIBRARIES) / SOCKETS_PER_CHECK;
    return 0;
}
