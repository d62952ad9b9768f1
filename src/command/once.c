/* The bodies are those of /health. */
#include "command/once.h"

#include <healthsvc/board.h>
#include <healthsvc/strbuf.h>
#include "command/ending.h"

#include <stdio.h>

int once_print(enum render_format format)
{
    struct moment m;
    struct strbuf body;
    struct snapshot *s = board_acquire();
    if (s == NULL)
        return ending_tell(format, EXIT_USAGE, NAGIOS_UNKNOWN, "no results");
    board_moment(&m);
    struct reading r = snapshot_read(s, &m);
    strbuf_init(&body, SIZE_MAX / 2);
    render_health(s, &m, &r, format, &body);
    enum nagios_state state = NAGIOS_UNKNOWN;
    int code = r.verdict == VERDICT_FAIL ? EXIT_FAULT : EXIT_DONE;
    if (format == RENDER_NAGIOS && nagios_read(body.data, body.len, &state))
        code = (int)state;
    bool printed = strbuf_error(&body) == 0 && fputs(body.data, stdout) >= 0 && fflush(stdout) == 0;
    strbuf_done(&body);
    snapshot_unref(s);
    if (!printed)
        return ending_tell(format, EXIT_USAGE, NAGIOS_UNKNOWN, "cannot print the verdict");
    return code;
}
