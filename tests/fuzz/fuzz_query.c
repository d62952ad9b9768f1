/*
 * -q: the address asked, and any answer, or none. An input is one byte that chooses the format and
 * what the kernel says that goes wrong, two that give the lengths in which the answer comes, the target up to a newline, and the answer. It is
 * asked twice, the answer whole and in pieces, with the same end; what is printed in a plugin's
 * format begins with the state that the exit code says.
 */
#include "fuzz.h"

#include "command/ending.h"
#include "command/query.h"

#include <healthsvc/render.h>

#include <errno.h>
#include <netdb.h>
#include <stdbool.h>
#include <sys/socket.h>

/* The linker puts these in the place of the functions that fetch.c calls. */
int __real_connect(int fd, const struct sockaddr *to, socklen_t len);
int __wrap_connect(int fd, const struct sockaddr *to, socklen_t len);
ssize_t __real_send(int fd, const void *bytes, size_t len, int flags);
ssize_t __wrap_send(int fd, const void *bytes, size_t len, int flags);
ssize_t __real_recv(int fd, void *bytes, size_t len, int flags);
ssize_t __wrap_recv(int fd, void *bytes, size_t len, int flags);
int __real_getaddrinfo(const char *host, const char *port, const struct addrinfo *hints,
                       struct addrinfo **ret);
int __wrap_getaddrinfo(const char *host, const char *port, const struct addrinfo *hints,
                       struct addrinfo **ret);

/* What goes wrong. */
static const struct {
    int connect, send, recv, lookup;
} troubles[] = {
    {0, 0, 0, 0},      {ECONNREFUSED, 0, 0, 0}, {EINPROGRESS, 0, 0, 0}, {ENOENT, 0, 0, 0},
    {EACCES, 0, 0, 0}, {0, EPIPE, 0, 0},        {0, EAGAIN, 0, 0},      {0, 0, ECONNRESET, 0},
    {0, 0, EAGAIN, 0}, {0, 0, 0, EAI_NONAME},   {0, 0, 0, EAI_SYSTEM},
};
#define TROUBLES (sizeof troubles / sizeof troubles[0])
static size_t trouble;

static bool interrupted;
static bool asking; /* so that the functions above are ours */
static const uint8_t *answer;
static size_t answer_len, piece, next_piece; /* 0: whole */

int __wrap_connect(int fd, const struct sockaddr *to, socklen_t len)
{
    if (!asking)
        return __real_connect(fd, to, len);
    errno = troubles[trouble].connect;
    return errno == 0 ? 0 : -1;
}

/* Half of it at a time, and every other call is interrupted. */
ssize_t __wrap_send(int fd, const void *bytes, size_t len, int flags)
{
    if (!asking)
        return __real_send(fd, bytes, len, flags);
    interrupted = !interrupted;
    if (interrupted) {
        errno = EINTR;
        return -1;
    }
    errno = troubles[trouble].send;
    return errno == 0 ? (ssize_t)(len / 2 + 1) : -1;
}

ssize_t __wrap_recv(int fd, void *bytes, size_t len, int flags)
{
    if (!asking)
        return __real_recv(fd, bytes, len, flags);
    errno = troubles[trouble].recv;
    if (errno != 0 && answer_len == 0)
        return -1; /* in the place of the end */
    if (piece > 0) {
        len = piece < len ? piece : len;
        piece = next_piece;
    }
    len = len < answer_len ? len : answer_len;
    memcpy(bytes, answer, len);
    answer += len;
    answer_len -= len;
    return (ssize_t)len;
}

/* Every name is this machine's: no name server is asked. */
int __wrap_getaddrinfo(const char *host, const char *port, const struct addrinfo *hints,
                       struct addrinfo **ret)
{
    if (asking && troubles[trouble].lookup != 0)
        return troubles[trouble].lookup;
    return __real_getaddrinfo(asking ? "127.0.0.1" : host, port, hints, ret);
}

struct told {
    int code;
    char *out, *err;
    size_t out_len, err_len;
};

static void ask(const struct query *query, const uint8_t *bytes, size_t len, size_t first,
                size_t rest, struct told *ret)
{
    FILE *real_out = stdout, *real_err = stderr;
    FILE *out = open_memstream(&ret->out, &ret->out_len);
    FILE *err = open_memstream(&ret->err, &ret->err_len);
    HOLDS(out != NULL && err != NULL);
    answer = bytes;
    answer_len = len;
    piece = first;
    next_piece = rest;
    stdout = out;
    stderr = err;
    asking = true;
    ret->code = query_run(query);
    asking = false;
    stdout = real_out;
    stderr = real_err;
    HOLDS(fclose(out) == 0 && fclose(err) == 0);
}

static void check(const struct query *query, const struct told *t)
{
    enum nagios_state state;
    if (query->format == RENDER_NAGIOS) {
        HOLDS(t->err_len == 0 && nagios_read(t->out, t->out_len, &state) && (int)state == t->code);
    } else {
        HOLDS(t->code >= 0 && t->code <= EXIT_USAGE);
        /* Something is said, once: the answer's body, or why there is none. */
        HOLDS(t->code == EXIT_DONE || (t->out_len > 0) != (t->err_len > 0));
        HOLDS(t->code != EXIT_DONE || t->err_len == 0);
    }
}

void fuzz_query(const struct fuzz_target *target, const uint8_t *data, size_t size)
{
    (void)target;
    if (size < 3)
        return;
    const uint8_t *line = data + 3, *end = memchr(line, '\n', size - 3);
    size_t line_len = end != NULL ? (size_t)(end - line) : size - 3;
    const uint8_t *bytes = end != NULL ? end + 1 : data + size;
    size_t len = (size_t)(data + size - bytes);
    char *text = fuzz_text(line, line_len);
    struct query query = {
        .target = text,
        .format = (enum render_format)((data[0] & 0xf) % RENDER_FORMAT_COUNT),
        .format_given = (data[0] & 0xf) % (RENDER_FORMAT_COUNT + 1) != RENDER_FORMAT_COUNT,
        .timeout_ms = 3600000,
    };
    struct told whole, cut;
    trouble = (data[0] >> 4) % TROUBLES;
    if (!query.format_given)
        query.format = RENDER_TEXT;
    ask(&query, bytes, len, 0, 0, &whole);
    ask(&query, bytes, len, (size_t)data[1] + 1, (size_t)data[2] + 1, &cut);
    check(&query, &whole);
    HOLDS(whole.code == cut.code && whole.out_len == cut.out_len &&
          memcmp(whole.out, cut.out, whole.out_len) == 0 && strcmp(whole.err, cut.err) == 0);
    free(whole.out);
    free(whole.err);
    free(cut.out);
    free(cut.err);
    free(text);
}
