/*
 * fuzz_loop.h: the loop of a target that asks by real sockets, each input for as long as it takes.
 * It is never taken down, so that an input costs no more than its own work.
 *
 * Threads: main, which is the loop's thread while loop_run() runs.
 */
#ifndef HEALTHSVC_FUZZ_LOOP_H
#define HEALTHSVC_FUZZ_LOOP_H

#include "fuzz.h"

#include <healthsvc/loop.h>

static inline struct loop *fuzz_loop(void)
{
    static struct loop *loop;
    if (loop == NULL)
        HOLDS(loop_new(&loop) == 0);
    return loop;
}

#endif
