/*
 * A read-write lock over one pointer: readers are many, the writer comes a few times a second and
 * must not wait behind them for ever, hence the writer-preferring kind (glibc's default let a
 * writer in once in half a second under six spinning readers).
 *
 * The beat and the stopping flag stand beside it as atomics: they say something about *now*,
 * whatever snapshot is read with them.
 */
#include <healthsvc/board.h>

#include <healthsvc/clock.h>

#include <assert.h>
#include <pthread.h>
#include <stdatomic.h>
#include <stddef.h>

/* POSIX's type carries no capability for clang's analysis, so it is wrapped in one that does. */
struct CAPABILITY("rwlock") board_lock {
    pthread_rwlock_t rwlock;
};

static struct board_lock lock;
static struct snapshot *latest GUARDED_BY(lock);
static atomic_int_fast64_t beat_mono_ms;
static atomic_bool stopping;

static void lock_to_read(void) ACQUIRE_SHARED(lock);
static void lock_to_write(void) ACQUIRE(lock);
static void unlock_read(void) RELEASE_SHARED(lock);
static void unlock_write(void) RELEASE(lock);

/* These fail only if the lock is misused. */
static void lock_to_read(void) NO_THREAD_SAFETY_ANALYSIS
{
    int rc = pthread_rwlock_rdlock(&lock.rwlock);
    assert(rc == 0);
}

static void lock_to_write(void) NO_THREAD_SAFETY_ANALYSIS
{
    int rc = pthread_rwlock_wrlock(&lock.rwlock);
    assert(rc == 0);
}

static void unlock_read(void) NO_THREAD_SAFETY_ANALYSIS
{
    int rc = pthread_rwlock_unlock(&lock.rwlock);
    assert(rc == 0);
}

static void unlock_write(void) NO_THREAD_SAFETY_ANALYSIS
{
    int rc = pthread_rwlock_unlock(&lock.rwlock);
    assert(rc == 0);
}

int board_open(void)
{
    pthread_rwlockattr_t attr;
    int rc = pthread_rwlockattr_init(&attr);
    if (rc != 0)
        return -rc;
    rc = pthread_rwlockattr_setkind_np(&attr, PTHREAD_RWLOCK_PREFER_WRITER_NONRECURSIVE_NP);
    if (rc == 0)
        rc = pthread_rwlock_init(&lock.rwlock, &attr);
    pthread_rwlockattr_destroy(&attr);
    /* A checker that has yet to start is not a stalled one. */
    atomic_store(&beat_mono_ms, clock_mono_ms());
    atomic_store(&stopping, false);
    return -rc;
}

static struct snapshot *exchange(struct snapshot *s)
{
    lock_to_write();
    struct snapshot *before = latest;
    latest = s;
    unlock_write();
    return before;
}

void board_close(void)
{
    snapshot_unref(exchange(NULL));
    pthread_rwlock_destroy(&lock.rwlock);
}

void board_publish(struct snapshot *s)
{
    /* Freeing 10,000 rows is no work to do under a lock. */
    snapshot_unref(exchange(s));
}

struct snapshot *board_acquire(void)
{
    lock_to_read();
    struct snapshot *s = latest != NULL ? snapshot_ref(latest) : NULL;
    unlock_read();
    return s;
}

void board_beat(int64_t now_mono_ms)
{
    atomic_store_explicit(&beat_mono_ms, now_mono_ms, memory_order_relaxed);
}

void board_set_stopping(void)
{
    atomic_store_explicit(&stopping, true, memory_order_relaxed);
}

void board_moment(struct moment *ret_moment)
{
    /* The beat before the clock, so that it is never later than now. */
    int64_t beat = atomic_load_explicit(&beat_mono_ms, memory_order_acquire);
    *ret_moment = (struct moment){
        .beat_mono_ms = beat,
        .now_mono_ms = clock_mono_ms(),
        .now_wall_ms = clock_wall_ms(),
        .stopping = atomic_load_explicit(&stopping, memory_order_relaxed),
    };
}
