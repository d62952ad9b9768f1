/* loop: timers, sockets, letters from other threads, tasks in portions, and being late. */
#include "../testing.h"

#include <healthsvc/clock.h>
#include <healthsvc/loop.h>

#include <errno.h>
#include <pthread.h>
#include <sys/epoll.h>
#include <sys/socket.h>
#include <time.h>
#include <unistd.h>

static struct loop *loop;
static char trace[256];
static size_t trace_len;

static void note(char c)
{
    if (trace_len < sizeof trace - 1)
        trace[trace_len++] = c;
    trace[trace_len] = '\0';
}

static void begin(void)
{
    trace_len = 0;
    trace[0] = '\0';
    EXPECT_INT(loop_new(&loop), 0);
}

static void end(void)
{
    loop = loop_free(loop);
}

/* One letter at a time. */
static void post(void (*fn)(void *arg), void *arg)
{
    static struct loop_letter letter;
    letter = (struct loop_letter){.fn = fn, .arg = arg};
    loop_post(loop, &letter);
}

/* ---- timers ---- */

static struct loop_timer timers[3];

static void fire(struct loop_timer *t)
{
    checker_role_assert();
    EXPECT(clock_mono_ms() >= t->node.due);
    note((char)('0' + (t - timers)));
    if (t == &timers[2])
        loop_stop(loop);
}

static void set_timers(void *arg)
{
    (void)arg;
    checker_role_assert();
    int64_t now = loop_now_ms(loop);
    for (int i = 0; i < 3; i++)
        timers[i] = (struct loop_timer){.fire = fire};
    loop_timer_set(loop, &timers[2], now + 30);
    loop_timer_set(loop, &timers[0], now + 20);
    loop_timer_set(loop, &timers[1], now + 10);
    loop_timer_set(loop, &timers[0], now - 5); /* re-armed: in the past is soon, not now */
    EXPECT_STR(trace, "");
    loop_timer_clear(loop, &timers[1]);
    loop_timer_clear(loop, &timers[1]);
}

TEST(timers_fire_in_order_and_once)
{
    begin();
    post(set_timers, NULL);
    loop_run(loop);
    EXPECT_STR(trace, "02");
    end();
}

/* ---- sockets ---- */

struct pair {
    struct loop_watch a, b;
};

static void on_close_other(struct loop_watch *w, uint32_t events)
{
    checker_role_assert();
    struct pair *p = (struct pair *)w;
    if (!(events & EPOLLIN))
        return;
    note('a');
    loop_watch_close(loop, &p->b); /* its event may lie in the same batch */
    loop_watch_close(loop, &p->a);
    loop_watch_close(loop, &p->a);
    loop_stop(loop);
}

static void on_never(struct loop_watch *w, uint32_t events)
{
    (void)w;
    if (events & EPOLLIN)
        note('b');
}

static void watch_pair(void *arg)
{
    checker_role_assert();
    struct pair *p = arg;
    p->a.ready = on_close_other;
    p->b.ready = on_never;
    int x[2], y[2];
    EXPECT_INT(socketpair(AF_UNIX, SOCK_STREAM | SOCK_NONBLOCK, 0, x), 0);
    EXPECT_INT(socketpair(AF_UNIX, SOCK_STREAM | SOCK_NONBLOCK, 0, y), 0);
    EXPECT_INT(write(x[1], "x", 1), 1);
    EXPECT_INT(write(y[1], "y", 1), 1);
    EXPECT_INT(loop_watch_add(loop, &p->a, x[0]), 0);
    EXPECT_INT(loop_watch_add(loop, &p->b, y[0]), 0);
    close(x[1]);
    close(y[1]);
}

TEST(a_closed_watch_hears_no_event_of_the_same_batch)
{
    struct pair p = {.a = {.fd = -1}, .b = {.fd = -1}};
    begin();
    post(watch_pair, &p);
    loop_run(loop);
    EXPECT_STR(trace, "a");
    EXPECT_INT(p.a.fd, -1);
    EXPECT_INT(p.b.fd, -1);
    end();
}

/* What was ready under the first watch, and had its edge, is news to the second. */
static void on_move(struct loop_watch *w, uint32_t events)
{
    checker_role_assert();
    struct pair *p = (struct pair *)w;
    if (!(events & EPOLLIN))
        return;
    note('a');
    int fd = p->a.fd;
    EXPECT_INT(loop_watch_move(loop, &p->a, &p->b), 0);
    EXPECT_INT(p->a.fd, -1);
    EXPECT_INT(p->b.fd, fd);
}

static void on_moved(struct loop_watch *w, uint32_t events)
{
    checker_role_assert();
    EXPECT(events & EPOLLIN);
    note('b');
    loop_watch_close(loop, w);
    loop_stop(loop);
}

static void watch_and_move(void *arg)
{
    checker_role_assert();
    struct pair *p = arg;
    EXPECT_INT(loop_watch_move(loop, &p->a, &p->b), -EBADF);
    EXPECT_INT(p->b.fd, -1);
    p->a.ready = on_move;
    p->b.ready = on_moved;
    int x[2];
    EXPECT_INT(socketpair(AF_UNIX, SOCK_STREAM | SOCK_NONBLOCK, 0, x), 0);
    EXPECT_INT(write(x[1], "x", 1), 1);
    EXPECT_INT(loop_watch_add(loop, &p->a, x[0]), 0);
    close(x[1]);
}

TEST(a_watch_takes_the_place_of_another)
{
    struct pair p = {.a = {.fd = -1}, .b = {.fd = -1}};
    begin();
    post(watch_and_move, &p);
    loop_run(loop);
    EXPECT_STR(trace, "ab");
    end();
}

/* ---- what has come, and what is due ---- */

#define DUE 1000
static struct loop_timer due[DUE];
static struct loop_watch asked;
static int other_end;
static size_t fired, fired_before_answer;

static void on_answer(struct loop_watch *w, uint32_t events)
{
    checker_role_assert();
    if (!(events & EPOLLIN))
        return;
    note('a');
    fired_before_answer = fired;
    loop_watch_close(loop, w);
    close(other_end);
}

static void ask(void)
{
    checker_role_assert();
    int ends[2];
    EXPECT_INT(socketpair(AF_UNIX, SOCK_STREAM | SOCK_NONBLOCK, 0, ends), 0);
    other_end = ends[1];
    asked = (struct loop_watch){.fd = -1, .ready = on_answer};
    EXPECT_INT(loop_watch_add(loop, &asked, ends[0]), 0);
}

static void strike(struct loop_timer *t)
{
    (void)t;
    checker_role_assert();
    note('d');
    loop_stop(loop);
}

static void answer_in_time_and_be_late(void *arg)
{
    (void)arg;
    checker_role_assert();
    ask();
    EXPECT_INT(write(other_end, "x", 1), 1);
    due[0] = (struct loop_timer){.fire = strike};
    loop_timer_set(loop, &due[0], loop_now_ms(loop) + 10);
    struct timespec late = {.tv_nsec = 50000000};
    nanosleep(&late, NULL);
}

TEST(an_answer_goes_before_the_deadline_that_it_kept)
{
    begin();
    post(answer_in_time_and_be_late, NULL);
    loop_run(loop);
    EXPECT_STR(trace, "ad");
    end();
}

static void count_timer(struct loop_timer *t)
{
    (void)t;
    checker_role_assert();
    if (++fired == 1)
        EXPECT_INT(write(other_end, "x", 1), 1);
    if (fired == DUE)
        loop_stop(loop);
}

static void set_many(void *arg)
{
    (void)arg;
    checker_role_assert();
    ask();
    for (int i = 0; i < DUE; i++) {
        due[i] = (struct loop_timer){.fire = count_timer};
        loop_timer_set(loop, &due[i], loop_now_ms(loop) + 1);
    }
}

TEST(many_due_timers_let_sockets_through)
{
    begin();
    fired = 0;
    post(set_many, NULL);
    loop_run(loop);
    EXPECT_STR(trace, "a");
    EXPECT(fired_before_answer > 0 && fired_before_answer < DUE / 2);
    end();
}

/* ---- letters ---- */

#define LETTERS 1000
static int letters_read;

static void read_letter(void *arg)
{
    checker_role_assert();
    int *number = arg;
    EXPECT_INT(*number, letters_read);
    if (++letters_read == LETTERS)
        loop_stop(loop);
}

struct numbered {
    struct loop_letter letter;
    int number;
};

static void *write_letters(void *arg)
{
    struct numbered *letters = arg;
    for (int i = 0; i < LETTERS; i++) {
        letters[i].number = i;
        letters[i].letter = (struct loop_letter){.fn = read_letter, .arg = &letters[i].number};
        loop_post(loop, &letters[i].letter);
    }
    return NULL;
}

TEST(letters_arrive_in_order)
{
    static struct numbered letters[LETTERS];
    pthread_t thread;
    begin();
    letters_read = 0;
    EXPECT_INT(pthread_create(&thread, NULL, write_letters, letters), 0);
    loop_run(loop);
    EXPECT_INT(pthread_join(thread, NULL), 0);
    EXPECT_INT(letters_read, LETTERS);
    end();
}

TEST(a_letter_unread_is_its_senders)
{
    begin();
    post(read_letter, NULL);
    end();
    EXPECT_STR(trace, "");
}

/* ---- tasks ---- */

#define TASKS (3 * LOOP_TASKS_PER_TURN)
static struct loop_task tasks[TASKS];
static struct loop_timer between;
static int tasks_run;

static void run_task(struct loop_task *t)
{
    checker_role_assert();
    EXPECT_INT(t - tasks, tasks_run + (tasks_run >= 5)); /* in order; number 5 was cancelled */
    tasks_run++;
    struct timespec ms = {.tv_nsec = 1000000};
    nanosleep(&ms, NULL);
    if (tasks_run == TASKS - 1)
        loop_stop(loop);
}

static void fire_between(struct loop_timer *t)
{
    (void)t;
    EXPECT(tasks_run <= 2 * LOOP_TASKS_PER_TURN); /* the timer did not wait for all of them */
    note('t');
}

static void queue_tasks(void *arg)
{
    (void)arg;
    checker_role_assert();
    for (int i = 0; i < TASKS; i++) {
        tasks[i] = (struct loop_task){.run = run_task};
        loop_soon(loop, &tasks[i]);
        loop_soon(loop, &tasks[i]);
    }
    loop_soon_cancel(loop, &tasks[5]);
    loop_soon_cancel(loop, &tasks[5]);
    between.fire = fire_between;
    loop_timer_set(loop, &between, loop_now_ms(loop) + 1);
}

TEST(tasks_run_in_portions_between_timers)
{
    begin();
    tasks_run = 0;
    post(queue_tasks, NULL);
    loop_run(loop);
    EXPECT_INT(tasks_run, TASKS - 1);
    EXPECT_STR(trace, "t");
    end();
}

/* ---- being late ---- */

static struct loop_timer after_stall;
static int64_t stall_began_ms;

static void look_at_stall(struct loop_timer *t)
{
    (void)t;
    checker_role_assert();
    EXPECT(loop_stalled_mono_ms(loop) >= stall_began_ms + LOOP_STALL_MS);
    loop_stop(loop);
}

static void block(void *arg)
{
    (void)arg;
    checker_role_assert();
    EXPECT_INT(loop_stalled_mono_ms(loop), INT64_MIN);
    stall_began_ms = clock_mono_ms();
    struct timespec pause = {.tv_nsec = (LOOP_STALL_MS + 100) * 1000000L};
    nanosleep(&pause, NULL);
    EXPECT(loop_stalled_mono_ms(loop) >= stall_began_ms + LOOP_STALL_MS); /* seen at once */
    after_stall.fire = look_at_stall;
    loop_timer_set(loop, &after_stall, loop_now_ms(loop));
}

TEST(a_callback_that_takes_long_is_a_stall)
{
    begin();
    post(block, NULL);
    loop_run(loop);
    end();
}

static int beats;

static void beat(void *arg)
{
    checker_role_assert();
    if (++beats == 2) {
        EXPECT_INT(loop_stalled_mono_ms(loop), INT64_MIN); /* sleeping is no stall */
        loop_stop(arg);
    }
}

TEST(beats_every_second)
{
    begin();
    beats = 0;
    loop_on_beat(loop, beat, loop);
    int64_t began_ms = clock_mono_ms();
    loop_run(loop);
    EXPECT_INT(beats, 2);
    EXPECT(clock_mono_ms() - began_ms >= LOOP_BEAT_MS);
    end();
}

static void free_self(struct loop_task *t)
{
    checker_role_assert();
    struct {
        struct loop_task task;
        struct loop_garbage garbage;
    } *mem = (void *)t;
    loop_free_later(loop, &mem->garbage, mem); /* LeakSanitizer tells if nobody does */
    note('f');
    loop_stop(loop);
}

static void queue_free(void *arg)
{
    (void)arg;
    checker_role_assert();
    struct loop_task *t = calloc(1, sizeof(struct loop_task) + sizeof(struct loop_garbage));
    if (!EXPECT(t != NULL))
        return;
    t->run = free_self;
    loop_soon(loop, t);
}

TEST(garbage_is_freed)
{
    begin();
    post(queue_free, NULL);
    loop_run(loop);
    EXPECT_STR(trace, "f");
    end();
}

int main(void)
{
    RUN(timers_fire_in_order_and_once);
    RUN(a_closed_watch_hears_no_event_of_the_same_batch);
    RUN(a_watch_takes_the_place_of_another);
    RUN(an_answer_goes_before_the_deadline_that_it_kept);
    RUN(many_due_timers_let_sockets_through);
    RUN(letters_arrive_in_order);
    RUN(a_letter_unread_is_its_senders);
    RUN(tasks_run_in_portions_between_timers);
    RUN(a_callback_that_takes_long_is_a_stall);
    RUN(beats_every_second);
    RUN(garbage_is_freed);
    return testing_end();
}
