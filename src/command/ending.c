/* A monitoring system knows nothing of standard error, and takes any exit code for a state: 2, which
 * elsewhere is a wrong option, would page somebody. */
#include "command/ending.h"

#include <healthsvc/strbuf.h>

#include <stdarg.h>
#include <stdio.h>

#define TEXT_BYTES 4096

int ending_tell(enum render_format format, int code, enum nagios_state state, const char *fmt, ...)
{
    struct strbuf text, line;
    strbuf_init(&text, TEXT_BYTES);
    strbuf_init(&line, 2 * TEXT_BYTES);
    va_list args;
    va_start(args, fmt);
    strbuf_vaddf(&text, fmt, args);
    va_end(args);
    bool plugin = format == RENDER_NAGIOS;
    if (plugin)
        nagios_begin(&line, state, text.data);
    else
        strbuf_addf(&line, "healthsvc: %s", text.data);
    fprintf(plugin ? stdout : stderr, "%s\n", line.data);
    strbuf_done(&text);
    strbuf_done(&line);
    return plugin ? (int)state : code;
}
