/*
 * passed.h: the sockets that systemd (or another supervisor) has opened for us, sd_listen_fds(3).
 *
 * They are others' as well, before us and after us: they stay open, and are never shut down.
 * Threads: passed_init() on main before others exist; then main.
 * Errors: none here; what was passed and cannot be served is told by whoever wants to serve it.
 */
#ifndef HEALTHSVC_WEB_PASSED_H
#define HEALTHSVC_WEB_PASSED_H

#include <stdbool.h>
#include <stddef.h>

struct passed {
    int fd;
    const char *name; /* its FileDescriptorName= */
    bool fit;         /* a listening stream socket of TCP or Unix */
};

/* Takes them out of the environment (LISTEN_FDS, LISTEN_PID, LISTEN_FDNAMES). */
void passed_init(void);
/* The i-th, or NULL. */
const struct passed *passed_at(size_t i);

#endif
