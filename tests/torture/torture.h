/*
 * torture.h: does something again and again, each time with another of its allocations refused.
 *
 * An operation is a function that does its thing once, with torture_begin() before and torture_end()
 * behind, and says by EXPECT() whether what came of it is right. It is run with the first allocation
 * refused, then the second, until none is left to refuse; and once more with the first and all that
 * follow, the second and all that follow, and so on. Blocks that are left each time are a fault, too.
 * Of an operation of more than TORTURE_POINTS allocations so many are refused, evenly spread, and
 * every one with HEALTHSVC_TORTURE=all.
 * A fault is told with its place in the row, so that it can be looked at alone.
 * Threads: main.
 */
#ifndef HEALTHSVC_TESTS_TORTURE_H
#define HEALTHSVC_TESTS_TORTURE_H

#include "../testing.h"
#include "failing.h"

#include <limits.h>
#include <signal.h>
#include <unistd.h>

/* A sanitizer takes ten times as long, and more to tell of a crash. */
#if FAILING_MAY_BEGIN_THREADS
#define TORTURE_POINTS 100
#define TORTURE_STEP 1
#else
#define TORTURE_POINTS 15
#define TORTURE_STEP 29
#endif
#define TORTURE_WARM_UPS 2 /* what libraries keep from their first use on is no leak */
#define TORTURE_LEAKS 3    /* runs in a row that must leave something: others keep it once */

struct torture {
    const char *name;
    void (*once)(const void *arg);
    const void *arg;
    bool everywhere; /* the allocations of all threads, not of main only */
};

static const struct torture *torture_present;
static enum failing_mode torture_mode;
static unsigned long torture_place, torture_refused;

/* The operation's: from here on, up to the other, allocations may be refused. */
static inline void torture_begin(void)
{
    failing_begin(torture_mode, torture_place, !torture_present->everywhere);
}

static inline void torture_end(void)
{
    torture_refused = failing_end();
}

/* Whether one was, when the operation has ended. */
static inline bool torture_struck(void)
{
    return torture_refused > 0;
}

static inline void torture_tell_place(void)
{
    printf("# %s: that was with allocation %lu%s\n", torture_present->name, torture_place,
           torture_mode == FAILING_REST ? " and all that follow" : "");
}

static inline void torture_on_signal(int sig)
{
    char text[200];
    int len = snprintf(text, sizeof text, "# ended by signal %d in %s, allocation %lu%s\n", sig,
                       torture_present->name, torture_place,
                       torture_mode == FAILING_REST ? " and all that follow" : "");
    (void)!write(STDOUT_FILENO, text, (size_t)len);
    (void)signal(sig, SIG_DFL);
    (void)raise(sig);
}

/* Returns how many blocks it has left. */
static inline long torture_once(void)
{
    long before = failing_live();
    int faults = testing_faults;
    torture_refused = 0;
    torture_present->once(torture_present->arg);
    if (testing_faults > faults)
        torture_tell_place();
    return failing_live() - before;
}

static inline void torture_look_for_leak(long left)
{
    for (int i = 0; i < TORTURE_LEAKS && left > 0; i++)
        left = torture_once();
    if (left <= 0)
        return;
    testing_fault(__FILE__, __LINE__, "blocks are left each time");
    torture_tell_place();
}

static inline unsigned long torture_count(void)
{
    torture_mode = FAILING_ONE;
    torture_place = ULONG_MAX;
    for (int i = 0; i < TORTURE_WARM_UPS; i++)
        (void)torture_once();
    return failing_seen();
}

static inline void torture_run(void)
{
    const char *how = getenv("HEALTHSVC_TORTURE");
    unsigned long count = torture_count();
    unsigned long step = 1, runs = 0;
    if (count > TORTURE_POINTS && (how == NULL || strcmp(how, "all") != 0))
        step = count / TORTURE_POINTS;
    for (torture_mode = FAILING_ONE; torture_mode <= FAILING_REST; torture_mode++) {
        /* One that was refused may have led to more of them. */
        /* Each operation from elsewhere on: many have most of their way in common. */
        unsigned long first = 1 + (unsigned long)testing_cases * 7 % step;
        for (torture_place = first;
             torture_place == first || torture_struck() || torture_place <= count;
             torture_place += step) {
            torture_look_for_leak(torture_once());
            runs++;
        }
    }
    printf("# %s: %lu allocations, %lu runs\n", torture_present->name, count, runs);
}

/* Runs it, as a test case of its name. */
static inline void torture(const struct torture *t)
{
    torture_present = t;
#if !defined __SANITIZE_ADDRESS__ && !defined __SANITIZE_THREAD__ /* which tell by themselves */
    (void)signal(SIGSEGV, torture_on_signal);
    (void)signal(SIGABRT, torture_on_signal);
#else
    (void)torture_on_signal;
#endif
    testing_run(t->name, torture_run);
}

#endif
