/*
 * limits.h: how many descriptors this process may have, what that is enough for, and how it keeps
 * its memory small.
 *
 * Threads: main. Errors: -EMFILE with a sentence in *why.
 */
#ifndef HEALTHSVC_DAEMON_LIMITS_H
#define HEALTHSVC_DAEMON_LIMITS_H

#include <healthsvc/attr.h>

#include <stddef.h>

struct strbuf;

/* Keeps glibc's malloc from holding on to memory: call it before any thread exists. */
void limits_tame_malloc(void);
/* Gives freed memory back to the kernel, after something large is gone (a parsed file). */
void limits_trim_memory(void);
/* Whoever closed standard input, output or error gets no socket in its place, for a log line to end up
 * in: call it before anything is opened. Writing there still fails. */
void limits_fill_standard_descriptors(void);
/* Raises RLIMIT_NOFILE's soft limit to the hard one. */
void limits_raise_descriptors(void);
/* No core dump, which would hold every secret of the configuration; children inherit it. */
void limits_forbid_core_dumps(void);
/* RLIMIT_NOFILE as it stands; 0: it cannot be told. */
size_t limits_descriptors(void);
/* What so many checks at once need, and all else beside them; `for_clients` is for the HTTP side. */
size_t limits_descriptors_for(size_t for_clients, size_t checks);
/* Shares the limit out: `for_clients` are kept for the HTTP side, since an acceptor without
 * descriptors spins; some for libraries; the rest bounds the checks under way at once. */
int limits_share_descriptors(size_t for_clients, struct strbuf *why, size_t *ret_for_checks)
    MUST_CHECK;

#endif
