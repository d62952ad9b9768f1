/*
 * log.h: one line a message, to standard error.
 *
 * Each line opens with "<N>" (syslog priority, sd-daemon(3)) when the journal reads standard
 * error, and with a UTC time otherwise. Control characters in a message become '.'. Lines over
 * 2,048 bytes are cut. A message is a sentence, then a key=value tail; no secrets.
 * Threads: any; a line is written whole by one write(2).
 * Errors: none reported: a log that cannot be written, or that would have to be waited for, must not
 * stop a health service. Lines are lost then, and how many is told once they can be written again.
 */
#ifndef HEALTHSVC_LOG_H
#define HEALTHSVC_LOG_H

#include <healthsvc/attr.h>

enum log_level { /* syslog priorities, RFC 5424 section 6.2.1 */
    LOG_LEVEL_ERROR = 3,
    LOG_LEVEL_WARNING = 4,
    LOG_LEVEL_NOTICE = 5,
    LOG_LEVEL_INFO = 6,
};

/* Looks once whether the journal reads standard error (JOURNAL_STREAM, systemd.exec(5)). */
void log_init(void);
void log_line(enum log_level level, const char *fmt, ...) PRINTF_LIKE(2, 3);

#define log_error(...) log_line(LOG_LEVEL_ERROR, __VA_ARGS__)
#define log_warning(...) log_line(LOG_LEVEL_WARNING, __VA_ARGS__)
#define log_notice(...) log_line(LOG_LEVEL_NOTICE, __VA_ARGS__)
#define log_info(...) log_line(LOG_LEVEL_INFO, __VA_ARGS__)

#endif
