/*
 * script_steps.h: a script as steps, between the file that reads it and the one that plays it.
 *
 * Owner: script_conf. Threads: made on main, read on the checker (immutable).
 */
#ifndef HEALTHSVC_PROBE_SCRIPT_STEPS_H
#define HEALTHSVC_PROBE_SCRIPT_STEPS_H

#include "probe/expect.h"

#include <healthsvc/strbuf.h>

#include <stddef.h>

enum step_kind {
    STEP_SEND = 0,
    STEP_SEND_LINE,
    STEP_SEND_HEX,
    STEP_EXPECT,
    STEP_EXPECT_MATCH,
    STEP_EXPECT_HEX,
    STEP_STARTTLS,
};

struct step {
    enum step_kind kind;
    struct strbuf bytes; /* to be sent, or wanted; of a pattern its text, to be shown */
    struct expect_pattern *pattern;
};

struct script {
    size_t count;
    struct step steps[];
};

#endif
