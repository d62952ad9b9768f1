/*
 * wire.h: bytes in and out of a connected socket, in clear or by TLS, never waiting.
 *
 * Owner: the caller owns socket and SSL. Threads: checker only.
 * Errors: WIRE_FAILED with its number; after TLS errno and OpenSSL's error queue are as it left them,
 * for tls_outcome(), or ERR_clear_error() by who does not ask.
 */
#ifndef HEALTHSVC_PROBE_WIRE_H
#define HEALTHSVC_PROBE_WIRE_H

#include <openssl/ssl.h>
#include <stddef.h>
#include <stdint.h>
#include <sys/types.h>

enum wire {
    WIRE_AGAIN = 0, /* nothing now: there will be an event */
    WIRE_END = -1,  /* reading: the peer has closed */
    WIRE_FAILED =
        -2, /* *ret_error: by TLS (`ssl` not NULL) what SSL_get_error() said, else errno */
};

/* How many bytes were read or written (> 0), or an enum wire. */
ssize_t wire_read(int fd, SSL *ssl, void *buf, size_t room, int *ret_error);
ssize_t wire_write(int fd, SSL *ssl, const void *bytes, size_t len, int *ret_error);

#endif
