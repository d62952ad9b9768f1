/* A monitoring system knows nothing of standard error, and takes any exit code for a state: 2, which
 * elsewhere is a wrong option, would page somebody. */
#include "command/ending.h"

#include <healthsvc/strbuf.h>

#include <errno.h>
#include <stdarg.h>
#include <stdio.h>

#define TEXT_BYTES 4096

int ending_tell(enum render_format format, int code, enum nagios_state state, const char *fmt, ...)
{
    char text[TEXT_BYTES]; /* there may be no memory for any other */
    va_list args;
    va_start(args, fmt);
    (void)vsnprintf(text, sizeof text, fmt, args);
    va_end(args);
    if (format != RENDER_NAGIOS) {
        (void)fprintf(stderr, "healthsvc: %s\n", text);
        return code;
    }
    struct strbuf line;
    strbuf_init(&line, 2 * TEXT_BYTES);
    nagios_begin(&line, state, text);
    if (strbuf_error(&line) == -ENOMEM) {
        (void)puts("HEALTHSVC UNKNOWN - no memory left");
        state = NAGIOS_UNKNOWN;
    } else {
        (void)puts(line.data);
    }
    strbuf_done(&line);
    return (int)state;
}
