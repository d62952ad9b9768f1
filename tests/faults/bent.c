/*
 * Preloaded into the daemon (LD_PRELOAD): what a machine does to a process and a test cannot do to its
 * machine. The file that BENT names is mapped; the test writes there, and what it writes holds from
 * the next call on. Only calls of the program and of its libraries come here, not the C library's own.
 */
#include <dlfcn.h>
#include <errno.h>
#include <fcntl.h>
#include <pthread.h>
#include <spawn.h>
#include <stdarg.h>
#include <stdatomic.h>
#include <stdint.h>
#include <stdlib.h>
#include <sys/epoll.h>
#include <sys/eventfd.h>
#include <sys/mman.h>
#include <sys/socket.h>
#include <sys/syscall.h>
#include <sys/time.h>
#include <time.h>
#include <unistd.h>

/* bent.py writes it. */
struct bent {
    _Atomic int64_t wall_s;        /* added to CLOCK_REALTIME */
    _Atomic int64_t suspended_s;   /* added to CLOCK_BOOTTIME */
    _Atomic int64_t no_descriptor; /* errno of whatever would open one; 0: none */
    _Atomic int64_t no_port;       /* of connect(): EADDRNOTAVAIL, or 0 */
    _Atomic int64_t threads_left;  /* how many may still be started; negative: any number */
    _Atomic int64_t no_process;    /* of posix_spawn() */
};

static struct bent straight = {.threads_left = -1};
static struct bent *bent = &straight;

__attribute__((constructor)) static void begin(void)
{
    const char *path = getenv("BENT");
    int fd = path != NULL ? (int)syscall(SYS_openat, AT_FDCWD, path, O_RDWR | O_CLOEXEC) : -1;
    void *page =
        fd >= 0 ? mmap(NULL, sizeof *bent, PROT_READ | PROT_WRITE, MAP_SHARED, fd, 0) : MAP_FAILED;
    if (page == MAP_FAILED)
        abort();
    close(fd);
    bent = page;
}

/* ---- clocks ---- */

int clock_gettime(clockid_t id, struct timespec *now)
{
    int r = (int)syscall(SYS_clock_gettime, id, now);
    if (r == 0 && (id == CLOCK_REALTIME || id == CLOCK_REALTIME_COARSE))
        now->tv_sec += bent->wall_s;
    if (r == 0 && id == CLOCK_BOOTTIME)
        now->tv_sec += bent->suspended_s;
    return r;
}

time_t time(time_t *ret_now)
{
    struct timespec now;
    clock_gettime(CLOCK_REALTIME, &now);
    if (ret_now != NULL)
        *ret_now = now.tv_sec;
    return now.tv_sec;
}

int gettimeofday(struct timeval *restrict now, void *restrict zone)
{
    struct timespec precise;
    (void)zone;
    clock_gettime(CLOCK_REALTIME, &precise);
    now->tv_sec = precise.tv_sec;
    now->tv_usec = precise.tv_nsec / 1000;
    return 0;
}

/* ---- what is refused ---- */

/* The function that would have been called: a sanitizer's, or the C library's. */
#define NEXT(name) ((__typeof__(&(name)))next(#name))

static void *next(const char *name)
{
    void *found = dlsym(RTLD_NEXT, name);
    if (found == NULL)
        abort();
    return found;
}

static int refused(const _Atomic int64_t *why)
{
    errno = (int)*why;
    return -1;
}

int socket(int family, int type, int protocol)
{
    return bent->no_descriptor ? refused(&bent->no_descriptor)
                               : NEXT(socket)(family, type, protocol);
}

int accept4(int fd, struct sockaddr *restrict addr, socklen_t *restrict len, int flags)
{
    return bent->no_descriptor ? refused(&bent->no_descriptor)
                               : NEXT(accept4)(fd, addr, len, flags);
}

int pipe2(int ends[2], int flags)
{
    return bent->no_descriptor ? refused(&bent->no_descriptor) : NEXT(pipe2)(ends, flags);
}

int eventfd(unsigned int count, int flags)
{
    return bent->no_descriptor ? refused(&bent->no_descriptor) : NEXT(eventfd)(count, flags);
}

int epoll_create1(int flags)
{
    return bent->no_descriptor ? refused(&bent->no_descriptor) : NEXT(epoll_create1)(flags);
}

int open(const char *path, int flags, ...)
{
    va_list args;
    va_start(args, flags);
    mode_t mode = flags & O_CREAT ? va_arg(args, mode_t) : 0;
    va_end(args);
    return bent->no_descriptor ? refused(&bent->no_descriptor) : NEXT(open)(path, flags, mode);
}

int connect(int fd, const struct sockaddr *addr, socklen_t len)
{
    return bent->no_port ? refused(&bent->no_port) : NEXT(connect)(fd, addr, len);
}

int pthread_create(pthread_t *restrict thread, const pthread_attr_t *restrict attr,
                   void *(*run)(void *), void *restrict arg)
{
    if (bent->threads_left == 0)
        return EAGAIN;
    if (bent->threads_left > 0)
        bent->threads_left--;
    return NEXT(pthread_create)(thread, attr, run, arg);
}

int posix_spawn(pid_t *restrict pid, const char *restrict path,
                const posix_spawn_file_actions_t *actions, const posix_spawnattr_t *restrict attr,
                char *const argv[restrict], char *const env[restrict])
{
    if (bent->no_process)
        return (int)bent->no_process;
    return NEXT(posix_spawn)(pid, path, actions, attr, argv, env);
}
