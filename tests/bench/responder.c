/*
 * responder [CERT]: answers every request on every address of loopback with a small 200, over TLS
 * if a PEM file with certificate and key is given. Notes when each connection was accepted, so that
 * the lateness of whoever asks on a schedule is seen from outside.
 *
 * Prints its port. A line "reset" on standard input forgets what was noted; "report" prints
 * "CONNECTIONS P50 P99 MAX": how late a connection came against its own address's schedule of one a
 * second, in microseconds (against the earliest of that address; -1: too few were seen).
 */
#include <arpa/inet.h>
#include <fcntl.h>
#include <netinet/in.h>
#include <openssl/ssl.h>
#include <signal.h>
#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/socket.h>
#include <time.h>
#include <unistd.h>

#define MAX_FDS 65536
#define MAX_ARRIVALS 2000000
#define PERIOD_US 1000000
#define ROUNDS_WANTED 4

static const char reply[] = "HTTP/1.1 200 OK\r\nContent-Type: text/plain\r\nContent-Length: 15\r\n"
                            "Connection: close\r\n\r\nUp and running\n";

struct arrival {
    uint32_t address;
    int64_t at_us;
};

static struct arrival *arrivals;
static size_t arrival_count;
static SSL_CTX *tls;
static SSL *sessions[MAX_FDS];
static bool answered[MAX_FDS];
static int epoll_fd, listener;

static int64_t now_us(void)
{
    struct timespec t;
    clock_gettime(CLOCK_MONOTONIC, &t);
    return (int64_t)t.tv_sec * 1000000 + t.tv_nsec / 1000;
}

static void hang_up(int fd)
{
    SSL_free(sessions[fd]);
    sessions[fd] = NULL;
    answered[fd] = false;
    close(fd);
}

static void take(int fd)
{
    struct sockaddr_in own;
    socklen_t len = sizeof own;
    struct epoll_event event = {.events = EPOLLIN, .data.fd = fd};
    if (fd >= MAX_FDS || getsockname(fd, (struct sockaddr *)&own, &len) != 0 ||
        epoll_ctl(epoll_fd, EPOLL_CTL_ADD, fd, &event) != 0) {
        close(fd);
        return;
    }
    if (tls != NULL) {
        sessions[fd] = SSL_new(tls);
        SSL_set_fd(sessions[fd], fd);
        SSL_set_accept_state(sessions[fd]);
    }
    if (arrival_count < MAX_ARRIVALS)
        arrivals[arrival_count++] = (struct arrival){own.sin_addr.s_addr, now_us()};
}

static void answer(int fd)
{
    char request[4096];
    if (sessions[fd] != NULL) {
        int n = SSL_read(sessions[fd], request, sizeof request);
        if (n > 0 && !answered[fd])
            answered[fd] = SSL_write(sessions[fd], reply, sizeof reply - 1) > 0;
        else if (n <= 0 && SSL_get_error(sessions[fd], n) != SSL_ERROR_WANT_READ)
            hang_up(fd);
        return;
    }
    ssize_t n = recv(fd, request, sizeof request, 0);
    if (n <= 0 || send(fd, reply, sizeof reply - 1, MSG_NOSIGNAL) < 0)
        hang_up(fd);
}

static int by_address_then_time(const void *a, const void *b)
{
    const struct arrival *x = a, *y = b;
    if (x->address != y->address)
        return x->address < y->address ? -1 : 1;
    return x->at_us < y->at_us ? -1 : x->at_us > y->at_us;
}

static int by_value(const void *a, const void *b)
{
    const int64_t *x = a, *y = b;
    return *x < *y ? -1 : *x > *y;
}

/* Lateness of one address's arrivals into late[]; how many were added. */
static size_t judge(const struct arrival *own, size_t count, int64_t *late)
{
    if (count < ROUNDS_WANTED)
        return 0;
    int64_t earliest = INT64_MAX;
    for (size_t i = 0; i < count; i++) {
        int64_t since_us = own[i].at_us - own[0].at_us;
        int64_t rounds = (since_us + PERIOD_US / 2) / PERIOD_US;
        late[i] = since_us - rounds * PERIOD_US;
        if (late[i] < earliest)
            earliest = late[i];
    }
    for (size_t i = 0; i < count; i++)
        late[i] -= earliest;
    return count;
}

static void report(void)
{
    size_t total = 0;
    int64_t *late = calloc(arrival_count + 1, sizeof *late);
    if (late == NULL)
        exit(1);
    qsort(arrivals, arrival_count, sizeof *arrivals, by_address_then_time);
    for (size_t i = 0, end; i < arrival_count; i = end) {
        for (end = i; end < arrival_count && arrivals[end].address == arrivals[i].address; end++)
            ;
        total += judge(&arrivals[i], end - i, late + total);
    }
    qsort(late, total, sizeof *late, by_value);
    if (total > 0)
        printf("%zu %lld %lld %lld\n", arrival_count, (long long)late[total / 2],
               (long long)late[total * 99 / 100], (long long)late[total - 1]);
    else
        printf("%zu -1 -1 -1\n", arrival_count);
    fflush(stdout);
    free(late);
}

static void obey(void)
{
    char line[64];
    ssize_t n = read(STDIN_FILENO, line, sizeof line);
    if (n <= 0)
        exit(0);
    if (line[2] == 's')
        arrival_count = 0;
    else
        report();
}

static void listen_anywhere(void)
{
    struct sockaddr_in sin = {.sin_family = AF_INET};
    socklen_t len = sizeof sin;
    listener = socket(AF_INET, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0);
    if (bind(listener, (struct sockaddr *)&sin, sizeof sin) != 0 || listen(listener, 4096) != 0 ||
        getsockname(listener, (struct sockaddr *)&sin, &len) != 0)
        exit(1);
    printf("%u\n", ntohs(sin.sin_port));
    fflush(stdout);
}

int main(int argc, char **argv)
{
    signal(SIGPIPE, SIG_IGN);
    arrivals = malloc(MAX_ARRIVALS * sizeof *arrivals);
    if (argc > 1) {
        tls = SSL_CTX_new(TLS_server_method());
        if (tls == NULL || SSL_CTX_use_certificate_chain_file(tls, argv[1]) != 1 ||
            SSL_CTX_use_PrivateKey_file(tls, argv[1], SSL_FILETYPE_PEM) != 1)
            return 1;
    }
    epoll_fd = epoll_create1(EPOLL_CLOEXEC);
    if (arrivals == NULL || epoll_fd < 0)
        return 1;
    listen_anywhere();
    struct epoll_event event = {.events = EPOLLIN, .data.fd = listener};
    epoll_ctl(epoll_fd, EPOLL_CTL_ADD, listener, &event);
    event.data.fd = STDIN_FILENO;
    epoll_ctl(epoll_fd, EPOLL_CTL_ADD, STDIN_FILENO, &event);
    for (;;) {
        struct epoll_event events[256];
        int n = epoll_wait(epoll_fd, events, 256, -1);
        for (int i = 0; i < n; i++) {
            int fd = events[i].data.fd;
            int taken;
            if (fd == STDIN_FILENO) {
                obey();
            } else if (fd == listener) {
                while ((taken = accept4(listener, NULL, NULL, SOCK_NONBLOCK | SOCK_CLOEXEC)) >= 0)
                    take(taken);
            } else {
                answer(fd);
            }
        }
    }
}
