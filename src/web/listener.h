/*
 * listener.h: a listening socket of our own in the place of CivetWeb's.
 *
 * CivetWeb (as Debian 12 builds it) knows neither IPv6 nor TCP_DEFER_ACCEPT, cannot be told to
 * stop accepting before it stops, and closes no connection that it still has queued. So it is
 * started on a port of 127.0.0.1 that nobody is told of, the descriptor behind that port is
 * exchanged, and accept(), which its acceptor calls, is ours.
 * A shared socket is one that others hold too: systemd, another listener of ours. It is left as it
 * is in the end, and what waits in it to be accepted is theirs.
 * Order: open, install, prove; hold, retire, hang_up, then mg_stop(); done at any time.
 * Owner: one web_context. Threads: main, but for those that say otherwise.
 * Errors: negative errno.
 */
#ifndef HEALTHSVC_WEB_LISTENER_H
#define HEALTHSVC_WEB_LISTENER_H

#include <healthsvc/attr.h>

#include <pthread.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <sys/socket.h>

#include "web/unix_path.h"

struct config_listen;

struct listener_connection {
    uint64_t cookie; /* the kernel's name for it, never given twice */
    int fd;          /* CivetWeb's, if it is still that connection */
    bool heard;      /* it has asked for something */
    bool unfinished; /* it had not yet when it was accepted, and has not been hung up on for that */
    int64_t since_mono_us;
};

struct CAPABILITY("mutex") listener_lock {
    pthread_mutex_t mutex;
};

struct listener {
    struct sockaddr_storage addr; /* as bound: the port is the real one */
    struct unix_path path;        /* its name, if it is a Unix socket of ours */
    bool shared;
    int sock;   /* what is listened on; -1: not open */
    int wake;   /* an eventfd: the acceptor has to look up */
    int events; /* an epoll of both */
    int place;  /* CivetWeb's duplicate of it, which mg_stop() closes */
    /* All below is guarded by it; clang 14 knows no sibling as a guard in C, so it is the functions
     * that say so (REQUIRES). */
    struct listener_lock lock;
    bool closed;   /* nothing is accepted any more */
    bool refusing; /* a Unix socket: only what waits already is accepted */
    bool drained;  /* then: nothing does any more */
    int handed;    /* a connection for the acceptor, the proof's; -1: none */
    /* Accepted; those closed since are found out when somebody wants to know. */
    struct listener_connection *connections;
    size_t count;
    size_t room;
    size_t open;    /* accepted and not yet closed by CivetWeb */
    size_t workers; /* to serve them: what is open beyond that waits */
};

/* Binds and listens; with `shared` (not -1) listens on a duplicate of that socket. At most `room`
 * connections will be open at a time, `workers` of them served. `l` needs no initialisation and must be
 * given to listener_done() in any case. -ENOTSOCK: the path of a Unix socket is something else. */
int listener_open(struct listener *l, const struct config_listen *listen, int shared, size_t room,
                  size_t workers) MUST_CHECK;
/* Finds CivetWeb's descriptor by the port of 127.0.0.1 that it listens on and puts ours behind it,
 * while CivetWeb's acceptor has yet to look at it. */
int listener_install(struct listener *l, uint16_t port) MUST_CHECK;
/* Asks for `path` (at most 100 bytes): -ETIMEDOUT or -EPROTO if CivetWeb does not answer 200. */
int listener_prove(struct listener *l, const char *path) MUST_CHECK;

/* CivetWeb's acceptor, from its own thread: its accept() is for `l` from now on. */
void listener_serve_thread(struct listener *l);
/* A worker: this connection has asked for something. */
void listener_heard(struct listener *l, int fd);
/* A worker: one connection is closed. */
void listener_closed(struct listener *l);

/* `l`, which shares the socket of `old`, is what `old` was to it; `old` shares it from now on. */
void listener_succeed(struct listener *l, struct listener *old);

/* Lets no new connection begin; those whose handshake is under way may still complete. */
void listener_hold(struct listener *l);
/* True while connections wait that will be accepted. */
bool listener_waiting(struct listener *l);
/* True while a connection that was accepted has not asked for anything yet. */
bool listener_has_unheard(struct listener *l);
/* Accepts no more: clients are refused from now on (of a shared socket: wait), and mg_stop() will not be slept through. */
void listener_retire(struct listener *l);
/* Tells every accepted connection that no more bytes will come: one that waits for a request ends,
 * one that has a request is still answered. Returns how many are still open. After
 * listener_retire(). */
size_t listener_hang_up(struct listener *l);
/* Closes what is ours; after mg_stop(). */
void listener_done(struct listener *l);

#endif
