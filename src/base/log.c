/* One write(2) a line: lines of several threads never mix, and nothing is lost in a buffer when
 * the process is killed. The time is left to the journal where it reads. */
#include <healthsvc/log.h>

#include <errno.h>
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

static bool journal_reads;

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
        strftime(when, sizeof when, "%Y-%m-%dT%H:%M:%S", &utc);
        const char *word = level <= LOG_LEVEL_ERROR     ? "error: "
                           : level <= LOG_LEVEL_WARNING ? "warning: "
                                                        : "";
        len = snprintf(line, LINE_BYTES, "%s.%03ldZ %s", when, now.tv_nsec / 1000000, word);
    }
    return len > 0 ? (size_t)len : 0;
}

void log_line(enum log_level level, const char *fmt, ...)
{
    char line[LINE_BYTES];
    int saved_errno = errno;
    size_t start = put_prefix(line, level);
    va_list args;
    va_start(args, fmt);
    int added = vsnprintf(line + start, sizeof line - start, fmt, args);
    va_end(args);
    size_t len = start + (added > 0 ? (size_t)added : 0);
    if (len > sizeof line - 1)
        len = sizeof line - 1;
    for (size_t i = start; i < len; i++) {
        if ((unsigned char)line[i] < 0x20 || line[i] == 0x7f)
            line[i] = '.';
    }
    line[len++] = '\n';
    /* A full or closed standard error is nobody's reason to fail: the line is lost. */
    ssize_t written = write(STDERR_FILENO, line, len);
    (void)written;
    errno = saved_errno;
}
