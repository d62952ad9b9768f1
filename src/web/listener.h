/*
 * listener.h: a listening socket of our own in the place of CivetWeb's.
 *
 * CivetWeb (as Debian 12 builds it) knows neither IPv6 nor TCP_DEFER_ACCEPT, cannot be told to
 * stop accepting before it stops, and closes no connection that it still has queued. So it is
 * started on a port of 127.0.0.1 that nobody is told of, and the socket behind that descriptor is
 * exchanged.
 * Order: open, install, prove; hold, retire, hang_up, then mg_stop(); done at any time.
 * Owner: one web_context. Threads: main only.
 * Errors: negative errno.
 */
#ifndef HEALTHSVC_WEB_LISTENER_H
#define HEALTHSVC_WEB_LISTENER_H

#include <healthsvc/attr.h>

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <sys/socket.h>

struct listener {
    struct sockaddr_storage addr; /* as bound: the port is the real one */
    int sock;                     /* ours; -1: closed */
    int place;                    /* CivetWeb's descriptor, which mg_stop() closes; -1: unknown */
};

/* Binds and listens. `l` needs no initialisation and must be given to listener_done() in any
 * case. */
int listener_open(struct listener *l, const struct sockaddr *addr, socklen_t addr_len) MUST_CHECK;
/* Finds CivetWeb's descriptor by the port of 127.0.0.1 that it listens on and puts our socket
 * behind it, while CivetWeb's acceptor has yet to look at it. */
int listener_install(struct listener *l, uint16_t port) MUST_CHECK;
/* Asks for `path` (at most 100 bytes) through it: -ETIMEDOUT or -EPROTO if CivetWeb does not answer
 * 200. *ret_reached is false if the address cannot be reached from this machine, so that nothing
 * could be asked. */
int listener_prove(const struct listener *l, const char *path, bool *ret_reached) MUST_CHECK;

/* Lets no new connection begin; those whose handshake is under way may still complete. */
void listener_hold(const struct listener *l);
/* True while connections wait to be accepted. */
bool listener_waiting(const struct listener *l);
/* Closes the socket: clients are refused from now on, and mg_stop() will not be slept through. */
void listener_retire(struct listener *l);
/* Tells every accepted connection that no more bytes will come: one that waits for a request ends,
 * one that has a request is still answered. Returns how many are still open. After
 * listener_retire(). */
size_t listener_hang_up(const struct listener *l);
/* Closes what is ours. */
void listener_done(struct listener *l);

#endif
