/*
 * loop.h: the checker thread's event loop: timers, sockets, messages from other threads, and the
 * knowledge of when the loop itself was late.
 *
 * libuv carries it; sockets hang on an epoll set of our own below it (one system call a socket,
 * against three with uv_poll), timers on a heap of our own under one uv_timer.
 * Owner: the checker. Timers and watches lie in their owners.
 * Threads: the thread of loop_run(), but for loop_post(): any.
 * Errors: negative errno.
 */
#ifndef HEALTHSVC_LOOP_H
#define HEALTHSVC_LOOP_H

#include <healthsvc/attr.h>
#include <healthsvc/heap.h>

#include <stddef.h>
#include <stdint.h>

struct loop;

/* The role "this code runs on the loop's thread". */
struct CAPABILITY("role") loop_role {
    int unused;
};
extern struct loop_role checker_role;
/* Tells the analysis that a callback called by the loop has the role. */
void checker_role_assert(void) ASSERT_CAPABILITY(checker_role);

struct loop_timer {
    struct heap_node node; /* due, clock_mono_ms() */
    void (*fire)(struct loop_timer *t);
};

struct loop_watch {
    int fd; /* -1: closed */
    /* Edge-triggered: EPOLLIN | EPOLLOUT | EPOLLRDHUP | EPOLLERR | EPOLLHUP as seen. */
    void (*ready)(struct loop_watch *w, uint32_t events);
    uint64_t batch; /* the loop's: in which batch of events it was added */
};

struct loop_task { /* something to do soon, see loop_soon() */
    struct loop_task *prev, *next;
    void (*run)(struct loop_task *t);
};

int loop_new(struct loop **ret_loop) MUST_CHECK;
/* After loop_run() has returned. Accepts NULL, returns NULL. */
struct loop *loop_free(struct loop *loop);
/* Runs until loop_stop(). */
void loop_run(struct loop *loop) EXCLUDES(checker_role);
void loop_stop(struct loop *loop) REQUIRES(checker_role);

/* A message to the loop's thread. It lies in its sender's memory, so that posting cannot fail, and
 * belongs to fn once that is called. */
struct loop_letter {
    void (*fn)(void *arg);
    void *arg;
    struct loop_letter *next; /* the loop's */
};
/* Runs letter->fn(letter->arg) on the loop's thread, in the order of posting. Any thread. */
void loop_post(struct loop *loop, struct loop_letter *letter);

/* Monotonic time of this turn of the loop, milliseconds. */
int64_t loop_now_ms(const struct loop *loop) REQUIRES(checker_role);

/* Arms or re-arms. A due time in the past fires on the next turn, never from inside. */
void loop_timer_set(struct loop *loop, struct loop_timer *t, int64_t due_mono_ms)
    REQUIRES(checker_role);
void loop_timer_clear(struct loop *loop, struct loop_timer *t) REQUIRES(checker_role);

/* Watches a non-blocking descriptor, edge-triggered, both directions. */
int loop_watch_add(struct loop *loop, struct loop_watch *w, int fd)
    MUST_CHECK REQUIRES(checker_role);
/* Stops watching and closes the descriptor; nothing if already closed (fd -1). */
void loop_watch_close(struct loop *loop, struct loop_watch *w) REQUIRES(checker_role);
/* Goes on watching with `to` in place of `from`, which is then closed (fd -1); what the descriptor is
 * ready for now counts as news. On failure nothing has changed. */
int loop_watch_move(struct loop *loop, struct loop_watch *from, struct loop_watch *to)
    MUST_CHECK REQUIRES(checker_role);
/* Stops watching and leaves the descriptor open, for one that a library owns. */
void loop_watch_remove(struct loop *loop, struct loop_watch *w) REQUIRES(checker_role);
/* free(mem) once no event of the present batch can refer to it. `later` lies inside mem. */
struct loop_garbage {
    struct loop_garbage *next;
    void *mem;
};
void loop_free_later(struct loop *loop, struct loop_garbage *later, void *mem)
    REQUIRES(checker_role);

/* Queues the task; at most LOOP_TASKS_PER_TURN of them run each turn, in order, so that work
 * which costs much CPU (TLS handshakes) cannot hold up timers. Nothing if already queued. */
#define LOOP_TASKS_PER_TURN 8
void loop_soon(struct loop *loop, struct loop_task *t) REQUIRES(checker_role);
void loop_soon_cancel(struct loop *loop, struct loop_task *t) REQUIRES(checker_role);

/* When the loop was last found to have been late by more than LOOP_STALL_MS (a callback that took
 * long, a suspended machine), monotonic ms; INT64_MIN if never. Looks anew at each call, so that a
 * callback which is the first after a stall sees it. */
#define LOOP_STALL_MS 500
int64_t loop_stalled_mono_ms(struct loop *loop) REQUIRES(checker_role);

/* Calls fn(arg) at least every LOOP_BEAT_MS while the loop turns: its sign of life. */
#define LOOP_BEAT_MS 1000
void loop_on_beat(struct loop *loop, void (*fn)(void *arg), void *arg);

#endif
