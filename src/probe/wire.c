/*
 * Many servers end a reply without close_notify: that is an end like another here, because a reply
 * that announced its length is still known to be whole or not (SSL_OP_IGNORE_UNEXPECTED_EOF, tls.c).
 */
#include "probe/wire.h"

#include <errno.h>
#include <openssl/err.h>
#include <sys/socket.h>

static ssize_t failed(int error, int *ret_error)
{
    *ret_error = error;
    return WIRE_FAILED;
}

ssize_t wire_read(int fd, SSL *ssl, void *buf, size_t room, int *ret_error)
{
    if (ssl == NULL) {
        ssize_t r = recv(fd, buf, room, 0);
        if (r > 0)
            return r;
        if (r == 0)
            return WIRE_END;
        return errno == EAGAIN || errno == EINTR ? WIRE_AGAIN : failed(errno, ret_error);
    }
    size_t len = 0;
    ERR_clear_error();
    int r = SSL_read_ex(ssl, buf, room, &len);
    if (r > 0)
        return (ssize_t)len;
    int ssl_error = SSL_get_error(ssl, r);
    if (ssl_error == SSL_ERROR_WANT_READ || ssl_error == SSL_ERROR_WANT_WRITE)
        return WIRE_AGAIN;
    return ssl_error == SSL_ERROR_ZERO_RETURN ? WIRE_END : failed(ssl_error, ret_error);
}

ssize_t wire_write(int fd, SSL *ssl, const void *bytes, size_t len, int *ret_error)
{
    if (ssl == NULL) {
        ssize_t r = send(fd, bytes, len, MSG_NOSIGNAL);
        if (r >= 0)
            return r;
        return errno == EAGAIN || errno == EINTR ? WIRE_AGAIN : failed(errno, ret_error);
    }
    size_t sent = 0;
    ERR_clear_error();
    int r = SSL_write_ex(ssl, bytes, len, &sent);
    if (r > 0)
        return (ssize_t)sent;
    int ssl_error = SSL_get_error(ssl, r);
    if (ssl_error == SSL_ERROR_WANT_READ || ssl_error == SSL_ERROR_WANT_WRITE)
        return WIRE_AGAIN;
    return failed(ssl_error, ret_error);
}
