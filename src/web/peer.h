/*
 * peer.h: who is on the other side of a request.
 *
 * An address is AF_INET (an IPv4-mapped IPv6 one too), AF_INET6, AF_UNIX (a process of this
 * machine), or AF_UNSPEC: not known, and then never taken for local.
 * Threads: peer_find() on the worker that serves the request; the rest any.
 * Errors: none; what cannot be found out is AF_UNSPEC.
 */
#ifndef HEALTHSVC_WEB_PEER_H
#define HEALTHSVC_WEB_PEER_H

#include <healthsvc/attr.h>

#include <stdbool.h>
#include <sys/socket.h>

struct mg_request_info;
struct sockaddr_in;

/* Writes what accept() tells CivetWeb instead of the peer's address. */
void peer_mark(int fd, struct sockaddr_in *ret_mark);

/* The descriptor that the mark names; -1: there is no mark. */
int peer_descriptor(const struct mg_request_info *info) MUST_CHECK;

/* A worker has begun with a connection: what it knew of the one before is forgotten. */
void peer_forget(void);
/* Who asks; valid until the next peer_forget() of this thread. The kernel is asked once a
 * connection, and only if somebody wants to know. */
const struct sockaddr_storage *peer_find(const struct mg_request_info *info);

/* True if it is certain that it asks from this machine: a Unix socket, 127.0.0.0/8, ::1. */
bool peer_is_local(const struct sockaddr_storage *peer);

#endif
