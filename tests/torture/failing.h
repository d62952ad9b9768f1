/*
 * failing.h: a malloc for test programs that refuses what the test wants refused.
 *
 * A program linked with failing.c takes every allocation through it, whoever makes it: our code, the
 * C library, the other libraries. Nothing of the product knows of it.
 * Owner: the test. Threads: any; a plan made for one thread leaves the others alone.
 */
#ifndef HEALTHSVC_TESTS_FAILING_H
#define HEALTHSVC_TESTS_FAILING_H

#include <stdatomic.h>
#include <stdbool.h>

/* A sanitizer needs memory of its own to begin a thread, and ends the process without. */
#if defined __SANITIZE_ADDRESS__ || defined __SANITIZE_THREAD__
#define FAILING_MAY_BEGIN_THREADS 0
#else
#define FAILING_MAY_BEGIN_THREADS 1
#endif

enum failing_mode {
    FAILING_NONE = 0,
    FAILING_ONE,    /* the n-th fails */
    FAILING_REST,   /* the n-th and all that follow */
    FAILING_RANDOM, /* each by chance, `n` of a million */
};

/* What is to fail, and what did. May lie in memory that processes share. */
struct failing {
    atomic_int mode;
    atomic_bool one_thread; /* only those of the thread that made the plan */
    atomic_ulong n;
    atomic_ulong seen;    /* allocations since then */
    atomic_ulong refused; /* of those */
};

/* Makes the plan, from now on. */
void failing_begin(enum failing_mode mode, unsigned long n, bool one_thread);
/* Ends it. Returns how many were refused. */
unsigned long failing_end(void);
/* Allocations since the plan was made. */
unsigned long failing_seen(void);
/* Puts the plan elsewhere; NULL: back. */
void failing_use(struct failing *plan);
/* Blocks that are allocated and not freed: what is left when everything has been given back is a
 * leak. */
long failing_live(void);
/* Never refuses what is asked for by code of a library whose file name has this in it; NULL: spares
 * none any more. False: no such library is loaded. */
bool failing_spare(const char *library);

#endif
