/*
 * posix_spawn() instead of fork(): the child shares this process's memory until it runs its own, so
 * a start costs the same however large this process is (and uv_spawn() forks). The end is seen by a
 * pidfd on the loop, so there is no handler of SIGCHLD and no search through all children.
 *
 * The end of the process is the end of the check, not the end of its output: a grandchild that
 * keeps the pipe open would hold the check up for ever.
 */
#include "probe/children.h"

#include <healthsvc/clock.h>
#include <healthsvc/stats.h>

#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <signal.h>
#include <spawn.h>
#include <stdlib.h>
#include <string.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <unistd.h>

/* A command that babbles is read at this pace, so that it can neither fill the loop's time nor
 * block on a full pipe: 6 MB/s. */
#define READ_BYTES 65536
#define READ_AGAIN_MS 10
#define LAST_MS 200 /* for a killed process to be gone, at the very end */

struct child {
    struct loop_watch process, pipe; /* process first: on_process() */
    struct children *children;
    struct child *prev, *next;
    struct loop_timer kill, read_again;
    struct loop_garbage garbage;
    pid_t pid;            /* of the group too */
    child_ended_fn ended; /* NULL: abandoned */
    void *arg;
    size_t len;
    char output[CHILD_OUTPUT_BYTES];
};

struct children {
    struct loop *loop;
    size_t running;
    struct child *first;
    struct child_wait waiting; /* head of a ring */
};

static char read_buffer[READ_BYTES];

static char *const clean_environment[] = {
    (char[]){"PATH=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin"},
    (char[]){"HOME=/"},
    (char[]){"LC_ALL=C"},
    NULL,
};

int children_new(struct loop *loop, struct children **ret_children)
{
    struct children *c = calloc(1, sizeof *c);
    if (c == NULL)
        return -ENOMEM;
    c->loop = loop;
    c->waiting.prev = c->waiting.next = &c->waiting;
    /* Inherited as ignored, it would let the kernel reap children before waitpid() sees them. */
    (void)signal(SIGCHLD, SIG_DFL);
    *ret_children = c;
    return 0;
}

bool children_may_start(struct children *c, struct child_wait *w)
{
    if (c->running < CHILDREN_MAX)
        return true;
    w->prev = c->waiting.prev;
    w->next = &c->waiting;
    w->prev->next = w;
    w->next->prev = w;
    stats_add(&stats.children_waited, 1);
    stats_add(&stats.children_waiting, 1);
    return false;
}

void children_cancel(struct children *c, struct child_wait *w)
{
    (void)c;
    if (w->next == NULL)
        return;
    w->prev->next = w->next;
    w->next->prev = w->prev;
    w->prev = w->next = NULL;
    atomic_fetch_sub_explicit(&stats.children_waiting, 1, memory_order_relaxed);
}

/* ---- a child's life ---- */

/* Reads what is there. True: there may be more. */
static bool read_output(struct child *child) REQUIRES(checker_role)
{
    ssize_t r = read(child->pipe.fd, read_buffer, sizeof read_buffer);
    if (r < 0 && (errno == EAGAIN || errno == EINTR))
        return errno == EINTR;
    if (r <= 0) {
        loop_watch_close(child->children->loop, &child->pipe);
        return false;
    }
    size_t keep = sizeof child->output - child->len;
    if (keep > (size_t)r)
        keep = (size_t)r;
    memcpy(child->output + child->len, read_buffer, keep);
    child->len += keep;
    return true;
}

/* At most one buffer a time, however much a command writes. */
static void read_some(struct child *child) REQUIRES(checker_role)
{
    struct loop *loop = child->children->loop;
    if (child->pipe.fd >= 0 && read_output(child))
        loop_timer_set(loop, &child->read_again, loop_now_ms(loop) + READ_AGAIN_MS);
}

static void on_pipe(struct loop_watch *w, uint32_t events)
{
    checker_role_assert();
    (void)events;
    struct child *child = (struct child *)((char *)w - offsetof(struct child, pipe));
    if (!child->read_again.node.queued)
        read_some(child);
}

static void on_read_again(struct loop_timer *t)
{
    checker_role_assert();
    read_some((struct child *)((char *)t - offsetof(struct child, read_again)));
}

/* The process has ended: reaps it and lets go of all but the memory. */
static int reap(struct child *child) REQUIRES(checker_role)
{
    struct children *c = child->children;
    int status = 0;
    while (child->pipe.fd >= 0 && child->len < sizeof child->output && read_output(child)) {
    }
    /* Before it is reaped, so that its number is surely still that of its group. */
    (void)kill(-child->pid, SIGKILL);
    (void)waitpid(child->pid, &status, WNOHANG);
    loop_timer_clear(c->loop, &child->kill);
    loop_timer_clear(c->loop, &child->read_again);
    loop_watch_close(c->loop, &child->process);
    loop_watch_close(c->loop, &child->pipe);
    if (child->prev != NULL)
        child->prev->next = child->next;
    else
        c->first = child->next;
    if (child->next != NULL)
        child->next->prev = child->prev;
    c->running--;
    atomic_fetch_sub_explicit(&stats.children, 1, memory_order_relaxed);
    return status;
}

static void on_process(struct loop_watch *w, uint32_t events)
{
    checker_role_assert();
    (void)events;
    struct child *child = (struct child *)w; /* first member */
    struct children *c = child->children;
    int status = reap(child);
    if (child->ended != NULL)
        child->ended(child->arg, status, child->output, child->len);
    loop_free_later(c->loop, &child->garbage, child);
    while (c->waiting.next != &c->waiting && c->running < CHILDREN_MAX) {
        struct child_wait *next = c->waiting.next;
        children_cancel(c, next);
        next->ready(next);
    }
}

static void on_kill(struct loop_timer *t)
{
    checker_role_assert();
    struct child *child = (struct child *)((char *)t - offsetof(struct child, kill));
    (void)kill(-child->pid, SIGKILL);
}

void child_abandon(struct child *child)
{
    struct loop *loop = child->children->loop;
    child->ended = NULL;
    (void)kill(-child->pid, SIGTERM);
    loop_timer_set(loop, &child->kill, loop_now_ms(loop) + CHILD_GRACE_MS);
}

/* ---- starting ---- */

/* 0 or errno. */
static int spawn(char *const argv[], int output, pid_t *ret_pid)
{
    posix_spawn_file_actions_t actions;
    posix_spawnattr_t attr;
    sigset_t none, all;
    (void)sigemptyset(&none);
    (void)sigfillset(&all);
    int err = posix_spawn_file_actions_init(&actions);
    if (err != 0)
        return err;
    err = posix_spawnattr_init(&attr);
    if (err != 0) {
        (void)posix_spawn_file_actions_destroy(&actions);
        return err;
    }
    err = posix_spawnattr_setflags(&attr, POSIX_SPAWN_SETPGROUP | POSIX_SPAWN_SETSIGMASK |
                                              POSIX_SPAWN_SETSIGDEF);
    if (err == 0)
        err = posix_spawnattr_setpgroup(&attr, 0);
    if (err == 0)
        err = posix_spawnattr_setsigmask(&attr, &none);
    if (err == 0)
        err = posix_spawnattr_setsigdefault(&attr, &all);
    if (err == 0)
        err = posix_spawn_file_actions_addopen(&actions, STDIN_FILENO, "/dev/null", O_RDONLY, 0);
    if (err == 0)
        err = posix_spawn_file_actions_adddup2(&actions, output, STDOUT_FILENO);
    if (err == 0)
        err = posix_spawn_file_actions_adddup2(&actions, output, STDERR_FILENO);
    if (err == 0)
        err = posix_spawn_file_actions_addclosefrom_np(&actions, STDERR_FILENO + 1);
    if (err == 0)
        err = posix_spawn_file_actions_addchdir_np(&actions, "/");
    if (err == 0)
        err = posix_spawn(ret_pid, argv[0], &actions, &attr, argv, clean_environment);
    (void)posix_spawnattr_destroy(&attr);
    (void)posix_spawn_file_actions_destroy(&actions);
    return err;
}

static int watch_pipe(struct child *child, int ends[2]) REQUIRES(checker_role)
{
    if (pipe2(ends, O_CLOEXEC) != 0)
        return errno;
    int err = fcntl(ends[0], F_SETFL, O_NONBLOCK) != 0 ? errno : 0; /* the command's end blocks */
    if (err == 0)
        err = -loop_watch_add(child->children->loop, &child->pipe, ends[0]);
    if (err != 0) {
        close(ends[0]);
        close(ends[1]);
    }
    return err;
}

static int watch_process(struct child *child) REQUIRES(checker_role)
{
    int fd = (int)syscall(SYS_pidfd_open, child->pid, 0);
    if (fd < 0)
        return errno;
    int err = -loop_watch_add(child->children->loop, &child->process, fd);
    if (err != 0)
        close(fd);
    return err;
}

int child_start(struct children *c, char *const argv[], child_ended_fn ended, void *arg,
                struct child **ret_child)
{
    int ends[2];
    struct child *child = calloc(1, sizeof *child);
    if (child == NULL)
        return ENOMEM;
    child->children = c;
    child->process = (struct loop_watch){.fd = -1, .ready = on_process};
    child->pipe = (struct loop_watch){.fd = -1, .ready = on_pipe};
    child->kill.fire = on_kill;
    child->read_again.fire = on_read_again;
    child->ended = ended;
    child->arg = arg;
    int err = watch_pipe(child, ends);
    if (err != 0) {
        free(child);
        return err;
    }
    err = spawn(argv, ends[1], &child->pid);
    close(ends[1]);
    if (err == 0) {
        err = watch_process(child);
        if (err != 0) { /* nobody would see its end */
            (void)kill(-child->pid, SIGKILL);
            (void)waitpid(child->pid, NULL, 0);
        }
    }
    if (err != 0) {
        loop_watch_close(c->loop, &child->pipe);
        loop_free_later(c->loop, &child->garbage, child);
        return err;
    }
    child->next = c->first;
    if (c->first != NULL)
        c->first->prev = child;
    c->first = child;
    c->running++;
    stats_add(&stats.children, 1);
    *ret_child = child;
    return 0;
}

/* ---- the very end ---- */

static void await(const struct children *c, int64_t until_mono_ms) REQUIRES(checker_role)
{
    for (const struct child *child = c->first; child != NULL; child = child->next) {
        struct pollfd ended = {.fd = child->process.fd, .events = POLLIN};
        int64_t left_ms = until_mono_ms - clock_mono_ms();
        (void)poll(&ended, 1, left_ms > 0 ? (int)left_ms : 0);
    }
}

struct children *children_free(struct children *c)
{
    if (c == NULL)
        return NULL;
    checker_role_assert();
    /* All were abandoned, so they have been told. */
    await(c, clock_mono_ms() + CHILD_GRACE_MS);
    for (const struct child *child = c->first; child != NULL; child = child->next)
        (void)kill(-child->pid, SIGKILL);
    await(c, clock_mono_ms() + LAST_MS);
    for (struct child *child = c->first, *next; child != NULL; child = next) {
        next = child->next;
        (void)reap(child);
        free(child);
    }
    free(c);
    return NULL;
}
