/*
 * One write(2) a line: lines of several threads never mix, and nothing is lost in a buffer when
 * the process is killed. The time is left to the journal where it reads.
 *
 * A pipe or a terminal that nobody reads would hold the writer up: the checker, or a worker. So a line
 * is written only where there is room for it (a pipe that is ready takes PIPE_BUF bytes without
 * waiting), by one thread at a time, and else lost. O_NONBLOCK is not ours to set: whoever started
 * this process writes there, too.
 */
#include <healthsvc/log.h>

#include <errno.h>
#include <inttypes.h>
#include <limits.h>
#include <poll.h>
#include <pthread.h>
#include <stdarg.h>
#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <time.h>
#include <unistd.h>

#define LINE_BYTES 2048

_Static_assert(LINE_BYTES <= PIPE_BUF, "one line fits where there is room at all");

struct CAPABILITY("mutex") log_lock {
    pthread_mutex_t mutex;
};

static bool journal_reads;
static struct log_lock lock = {PTHREAD_MUTEX_INITIALIZER};
static uint64_t lost GUARDED_BY(lock); /* lines since the last that was written */

void log_init(void)
{
    const char *stream = getenv("JOURNAL_STREAM"); /* "DEVICE:INODE" of the socket */
    struct stat st;
    char ours[64];
    if (stream == NULL || fstat(STDERR_FILENO, &st) != 0)
        return;
    (void)snprintf(ours, sizeof ours, "%ju:%ju", (uintmax_t)st.st_dev, (uintmax_t)st.st_ino);
    journal_reads = strcmp(stream, ours) == 0;
}

static size_t put_prefix(char *line, enum log_level level)
{
    int len;
    if (journal_reads) {
        len = snprintf(line, LINE_BYTES, "<%d>", (int)level);
    } else {
        struct timespec now;
        struct tm utc;
        clock_gettime(CLOCK_REALTIME, &now);
        gmtime_r(&now.tv_sec, &utc);
        char when[32];
        (void)strftime(when, sizeof when, "%Y-%m-%dT%H:%M:%S", &utc);
        const char *word = level <= LOG_LEVEL_ERROR     ? "error: "
                           : level <= LOG_LEVEL_WARNING ? "warning: "
                                                        : "";
        len = snprintf(line, LINE_BYTES, "%s.%03ldZ %s", when, now.tv_nsec / 1000000, word);
    }
    return len > 0 ? (size_t)len : 0;
}

/* The length of the line made. */
static size_t put_line(char *line, enum log_level level, const char *fmt, va_list args)
    PRINTF_LIKE(3, 0);
static size_t put_line(char *line, enum log_level level, const char *fmt, va_list args)
{
    size_t start = put_prefix(line, level);
    int added = vsnprintf(line + start, LINE_BYTES - start, fmt, args);
    size_t len = start + (added > 0 ? (size_t)added : 0);
    if (len > LINE_BYTES - 1)
        len = LINE_BYTES - 1;
    for (size_t i = start; i < len; i++) {
        if ((unsigned char)line[i] < 0x20 || line[i] == 0x7f)
            line[i] = '.';
    }
    line[len++] = '\n';
    return len;
}

static bool write_line(const char *line, size_t len)
{
    struct pollfd err = {.fd = STDERR_FILENO, .events = POLLOUT};
    return poll(&err, 1, 0) > 0 && write(STDERR_FILENO, line, len) == (ssize_t)len;
}

static size_t put_loss(char *line, const char *fmt, ...) PRINTF_LIKE(2, 3);
static size_t put_loss(char *line, const char *fmt, ...)
{
    va_list args;
    va_start(args, fmt);
    size_t len = put_line(line, LOG_LEVEL_WARNING, fmt, args);
    va_end(args);
    return len;
}

/* A standard error that is full, closed or not read is nobody's reason to fail or to wait. */
static void write_or_lose(const char *line, size_t len) REQUIRES(lock)
{
    char loss[LINE_BYTES];
    if (lost > 0 &&
        write_line(loss, put_loss(loss, "the log took no more: lost lines=%" PRIu64, lost)))
        lost = 0;
    if (lost > 0 || !write_line(line, len))
        lost++;
}

static void take_lock(void) ACQUIRE(lock) NO_THREAD_SAFETY_ANALYSIS
{
    pthread_mutex_lock(&lock.mutex);
}

static void release_lock(void) RELEASE(lock) NO_THREAD_SAFETY_ANALYSIS
{
    pthread_mutex_unlock(&lock.mutex);
}

void log_line(enum log_level level, const char *fmt, ...)
{
    char line[LINE_BYTES];
    int saved_errno = errno;
    va_list args;
    va_start(args, fmt);
    size_t len = put_line(line, level, fmt, args);
    va_end(args);
    take_lock();
    write_or_lose(line, len);
    release_lock();
    errno = saved_errno;
}
