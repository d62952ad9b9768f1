/*
 * ending.h: what a command ends with, and how it says that it could not do its work.
 *
 * Threads: main.
 */
#ifndef HEALTHSVC_COMMAND_ENDING_H
#define HEALTHSVC_COMMAND_ENDING_H

#include <healthsvc/attr.h>
#include <healthsvc/render.h>

enum exit_code {
    EXIT_DONE = 0,
    EXIT_FAULT = 1, /* at run time, or not healthy */
    EXIT_USAGE = 2, /* of the command line or the configuration */
};

/* Tells why there is no verdict: on standard error, and returns `code`; to a monitoring system,
 * which reads the other one, as a plugin's line, and returns `state`. */
int ending_tell(enum render_format format, int code, enum nagios_state state, const char *fmt, ...)
    PRINTF_LIKE(4, 5);

#endif
