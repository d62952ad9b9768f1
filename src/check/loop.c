/*
 * libuv gives the turn of the loop, its one timer and the wake-up from other threads. Sockets are
 * in an epoll set of our own, whose descriptor libuv polls: uv_poll costs each short-lived socket
 * three more system calls (it tests every descriptor by adding and deleting it), which at 10,000
 * checks a second is more than everything else this program does in user space.
 *
 * An event fetched from the kernel may be about a watch that was closed since, by an earlier event
 * of the same batch. So a closed watch has fd -1, one added again has a newer batch number, and
 * memory that holds a watch is freed only when the batch is over (loop_free_later).
 *
 * What has come goes before what is due: a deadline strikes only when all that had come by then has
 * been looked at, and no more checks are started at once than can be followed up. So a loop that has
 * more to do than it can starts checks late, but does not call those that it has started bad.
 *
 * Being late is found out by marks: at each mark the time since the one before must not exceed what
 * the loop was allowed to sleep by more than LOOP_STALL_MS. The next timer bounds that sleep (the
 * beat at the latest), so a deadline that fires late is always seen as a stall first.
 */
#include <healthsvc/clock.h>
#include <healthsvc/loop.h>
#include <healthsvc/room.h>
#include <healthsvc/stats.h>

#include <assert.h>
#include <errno.h>
#include <pthread.h>
#include <stdlib.h>
#include <sys/epoll.h>
#include <unistd.h>
#include <uv.h>

#define EVENTS_PER_BATCH 256
#define ROOM_BYTES 65536    /* libuv aborts when it cannot make its list of descriptors longer */
#define BATCHES_PER_TURN 64 /* then timers get their turn; the set stays readable */
#define TIMERS_PER_TURN 128 /* then sockets get theirs */

struct CAPABILITY("mutex") loop_lock {
    pthread_mutex_t mutex;
};

/* One for all loops (a process has one): clang 14's analysis follows no lock inside a C struct. */
static struct loop_lock inbox_lock = {PTHREAD_MUTEX_INITIALIZER};

struct loop {
    uv_loop_t uv;
    uv_timer_t timer;
    uv_async_t wake;
    uv_poll_t sockets;
    uv_prepare_t before_sleep;
    uv_check_t after_sleep;
    uv_idle_t no_sleep; /* active while tasks wait */
    size_t handles;     /* how many of the above libuv knows */

    int epoll_fd;
    uint64_t batch;
    struct heap timers;
    int64_t now_ms;
    struct loop_task tasks; /* ring */
    struct loop_garbage *garbage;

    int64_t mark_ms, may_sleep_ms, stalled_ms;
    struct loop_timer beat;
    void (*beat_fn)(void *arg);
    void *beat_arg;

    struct loop_letter *inbox GUARDED_BY(inbox_lock);
    struct loop_letter **inbox_end GUARDED_BY(inbox_lock);
};

struct loop_role checker_role;

void checker_role_assert(void)
{
}

static void lock_inbox(void) ACQUIRE(inbox_lock) NO_THREAD_SAFETY_ANALYSIS
{
    pthread_mutex_lock(&inbox_lock.mutex);
}

static void unlock_inbox(void) RELEASE(inbox_lock) NO_THREAD_SAFETY_ANALYSIS
{
    pthread_mutex_unlock(&inbox_lock.mutex);
}

/* Reads the clock; notices if more time went by than was planned. */
static void mark(struct loop *loop)
{
    int64_t now_ms = clock_mono_ms();
    if (loop->mark_ms != 0 && now_ms - loop->mark_ms > loop->may_sleep_ms + LOOP_STALL_MS) {
        loop->stalled_ms = now_ms;
        stats_add(&stats.loop_stalls, 1);
    }
    loop->mark_ms = loop->now_ms = now_ms;
    loop->may_sleep_ms = 0;
}

static void serve_sockets(struct loop *loop) REQUIRES(checker_role)
{
    struct epoll_event events[EVENTS_PER_BATCH];
    for (int i = 0; i < BATCHES_PER_TURN; i++) {
        int count = epoll_wait(loop->epoll_fd, events, EVENTS_PER_BATCH, 0);
        loop->batch++;
        for (int k = 0; k < count; k++) {
            struct loop_watch *w = events[k].data.ptr;
            if (w->fd >= 0 && w->batch < loop->batch)
                w->ready(w, events[k].events);
        }
        if (count < EVENTS_PER_BATCH)
            break;
    }
}

static void on_sockets(uv_poll_t *handle, int status, int uv_events)
{
    (void)status;
    (void)uv_events;
    checker_role_assert();
    struct loop *loop = handle->data;
    mark(loop);
    serve_sockets(loop);
}

static void on_timer(uv_timer_t *handle)
{
    checker_role_assert();
    struct loop *loop = handle->data;
    mark(loop);
    int64_t due_ms = loop->now_ms;
    serve_sockets(loop);
    mark(loop);
    for (int i = 0; i < TIMERS_PER_TURN; i++) {
        struct heap_node *node = loop->timers.root;
        if (node == NULL || node->due > due_ms)
            break;
        heap_remove(&loop->timers, node);
        struct loop_timer *t = (struct loop_timer *)node; /* first member */
        t->fire(t);
    }
}

static void on_wake(uv_async_t *handle)
{
    checker_role_assert();
    struct loop *loop = handle->data;
    mark(loop);
    lock_inbox();
    struct loop_letter *first = loop->inbox;
    loop->inbox = NULL;
    loop->inbox_end = &loop->inbox;
    unlock_inbox();
    while (first != NULL) {
        struct loop_letter *next = first->next;
        first->fn(first->arg);
        first = next;
    }
}

static void free_garbage(struct loop *loop)
{
    while (loop->garbage != NULL) {
        void *mem = loop->garbage->mem;
        loop->garbage = loop->garbage->next;
        free(mem);
    }
}

static void on_before_sleep(uv_prepare_t *handle)
{
    struct loop *loop = handle->data;
    free_garbage(loop);
    mark(loop);
    if (loop->timers.root != NULL) {
        int64_t wait_ms = loop->timers.root->due - loop->now_ms;
        uv_update_time(&loop->uv);
        uv_timer_start(&loop->timer, on_timer, wait_ms > 0 ? (uint64_t)wait_ms : 0, 0);
    }
    if (loop->tasks.next != &loop->tasks)
        loop->may_sleep_ms = 0;
    else
        loop->may_sleep_ms = uv_backend_timeout(&loop->uv);
}

static void on_no_sleep(uv_idle_t *handle)
{
    (void)handle;
}

static void on_after_sleep(uv_check_t *handle)
{
    checker_role_assert();
    struct loop *loop = handle->data;
    for (int i = 0; i < LOOP_TASKS_PER_TURN && loop->tasks.next != &loop->tasks; i++) {
        mark(loop);
        struct loop_task *t = loop->tasks.next;
        loop_soon_cancel(loop, t);
        t->run(t);
    }
    if (loop->tasks.next == &loop->tasks)
        uv_idle_stop(&loop->no_sleep);
}

static void on_beat(struct loop_timer *t)
{
    checker_role_assert();
    struct loop *loop = (struct loop *)((char *)t - offsetof(struct loop, beat));
    int64_t lag_us = clock_mono_us() - t->node.due * 1000;
    atomic_store_explicit(&stats.loop_lag_us, lag_us, memory_order_relaxed);
    if (lag_us > atomic_load_explicit(&stats.loop_lag_max_us, memory_order_relaxed))
        atomic_store_explicit(&stats.loop_lag_max_us, lag_us, memory_order_relaxed);
    if (loop->beat_fn != NULL)
        loop->beat_fn(loop->beat_arg);
    loop_timer_set(loop, t, loop->now_ms + LOOP_BEAT_MS);
}

int loop_new(struct loop **ret_loop)
{
    struct room *room = room_make(ROOM_BYTES);
    struct loop *loop = room != NULL ? calloc(1, sizeof *loop) : NULL;
    if (loop == NULL) {
        room_done(room);
        return -ENOMEM;
    }
    loop->stalled_ms = INT64_MIN;
    loop->tasks.prev = loop->tasks.next = &loop->tasks;
    loop->beat.fire = on_beat;
    loop->epoll_fd = -1;
    loop->now_ms = clock_mono_ms();
    lock_inbox();
    loop->inbox_end = &loop->inbox;
    unlock_inbox();

    int r = uv_loop_init(&loop->uv);
    if (r < 0) {
        room_done(room);
        free(loop);
        return r;
    }
    /* Each of these is counted when libuv knows it, so that loop_free() closes just those. */
    uv_timer_init(&loop->uv, &loop->timer);
    uv_prepare_init(&loop->uv, &loop->before_sleep);
    uv_check_init(&loop->uv, &loop->after_sleep);
    uv_idle_init(&loop->uv, &loop->no_sleep);
    loop->timer.data = loop->before_sleep.data = loop->after_sleep.data = loop;
    loop->handles = 4;
    r = uv_async_init(&loop->uv, &loop->wake, on_wake);
    if (r < 0)
        goto fail;
    loop->wake.data = loop;
    loop->handles = 5;
    loop->epoll_fd = epoll_create1(EPOLL_CLOEXEC);
    if (loop->epoll_fd < 0) {
        r = -errno;
        goto fail;
    }
    r = uv_poll_init(&loop->uv, &loop->sockets, loop->epoll_fd);
    if (r < 0)
        goto fail;
    loop->sockets.data = loop;
    loop->handles = 6;
    /* So that its list of descriptors is long enough from now on. */
    uv_poll_start(&loop->sockets, UV_READABLE, on_sockets);
    uv_poll_stop(&loop->sockets);
    room_done(room);
    *ret_loop = loop;
    return 0;

fail:
    room_done(room);
    loop_free(loop);
    return r;
}

struct loop *loop_free(struct loop *loop)
{
    if (loop == NULL)
        return NULL;
    uv_handle_t *handles[] = {
        (uv_handle_t *)&loop->timer,       (uv_handle_t *)&loop->before_sleep,
        (uv_handle_t *)&loop->after_sleep, (uv_handle_t *)&loop->no_sleep,
        (uv_handle_t *)&loop->wake,        (uv_handle_t *)&loop->sockets,
    };
    for (size_t i = 0; i < loop->handles; i++)
        uv_close(handles[i], NULL);
    uv_run(&loop->uv, UV_RUN_DEFAULT); /* lets the closes end; nothing else is alive */
    int r = uv_loop_close(&loop->uv);
    assert(r == 0);
    (void)r;
    if (loop->epoll_fd >= 0)
        close(loop->epoll_fd);
    free_garbage(loop);
    free(loop);
    return NULL;
}

void loop_run(struct loop *loop)
{
    checker_role_assert();
    uv_prepare_start(&loop->before_sleep, on_before_sleep);
    uv_check_start(&loop->after_sleep, on_after_sleep);
    uv_poll_start(&loop->sockets, UV_READABLE, on_sockets);
    loop->mark_ms = 0; /* what went by before the loop ran is no stall */
    mark(loop);
    loop_timer_set(loop, &loop->beat, loop->now_ms);
    uv_run(&loop->uv, UV_RUN_DEFAULT);
    loop_timer_clear(loop, &loop->beat);
    uv_prepare_stop(&loop->before_sleep);
    uv_check_stop(&loop->after_sleep);
    uv_poll_stop(&loop->sockets);
    free_garbage(loop);
}

void loop_stop(struct loop *loop)
{
    uv_stop(&loop->uv);
}

void loop_post(struct loop *loop, struct loop_letter *letter)
{
    letter->next = NULL;
    lock_inbox();
    *loop->inbox_end = letter;
    loop->inbox_end = &letter->next;
    unlock_inbox();
    uv_async_send(&loop->wake);
}

int64_t loop_now_ms(const struct loop *loop)
{
    return loop->now_ms;
}

void loop_timer_set(struct loop *loop, struct loop_timer *t, int64_t due_mono_ms)
{
    heap_remove(&loop->timers, &t->node);
    heap_push(&loop->timers, &t->node, due_mono_ms > loop->now_ms ? due_mono_ms : loop->now_ms + 1);
}

void loop_timer_clear(struct loop *loop, struct loop_timer *t)
{
    heap_remove(&loop->timers, &t->node);
}

static int watch_set(struct loop *loop, int op, struct loop_watch *w, int fd)
{
    struct epoll_event event = {
        .events = EPOLLIN | EPOLLOUT | EPOLLRDHUP | EPOLLET,
        .data.ptr = w,
    };
    if (epoll_ctl(loop->epoll_fd, op, fd, &event) != 0)
        return -errno;
    w->fd = fd;
    w->batch = loop->batch;
    return 0;
}

int loop_watch_add(struct loop *loop, struct loop_watch *w, int fd)
{
    return watch_set(loop, EPOLL_CTL_ADD, w, fd);
}

int loop_watch_move(struct loop *loop, struct loop_watch *from, struct loop_watch *to)
{
    int r = watch_set(loop, EPOLL_CTL_MOD, to, from->fd);
    if (r == 0)
        from->fd = -1;
    return r;
}

void loop_watch_close(struct loop *loop, struct loop_watch *w)
{
    (void)loop;
    if (w->fd < 0)
        return;
    close(w->fd); /* the last descriptor of its socket: epoll forgets it by itself */
    w->fd = -1;
}

void loop_watch_remove(struct loop *loop, struct loop_watch *w)
{
    if (w->fd < 0)
        return;
    (void)epoll_ctl(loop->epoll_fd, EPOLL_CTL_DEL, w->fd, NULL);
    w->fd = -1;
}

void loop_free_later(struct loop *loop, struct loop_garbage *later, void *mem)
{
    later->mem = mem;
    later->next = loop->garbage;
    loop->garbage = later;
}

void loop_soon(struct loop *loop, struct loop_task *t)
{
    if (t->next != NULL)
        return;
    t->prev = loop->tasks.prev;
    t->next = &loop->tasks;
    t->prev->next = t;
    loop->tasks.prev = t;
    uv_idle_start(&loop->no_sleep, on_no_sleep);
}

void loop_soon_cancel(struct loop *loop, struct loop_task *t)
{
    (void)loop;
    if (t->next == NULL)
        return;
    t->prev->next = t->next;
    t->next->prev = t->prev;
    t->prev = t->next = NULL;
}

int64_t loop_stalled_mono_ms(struct loop *loop)
{
    mark(loop);
    return loop->stalled_ms;
}

void loop_on_beat(struct loop *loop, void (*fn)(void *arg), void *arg)
{
    loop->beat_fn = fn;
    loop->beat_arg = arg;
}
