/*
 * asker PORT COUNT: the least that an HTTP check can cost: each of COUNT responders on 127.x.y.z is
 * asked once a second, evenly spread, by socket, connect, epoll, send, recv and a reset, the last
 * packet of the handshake held back for the question to carry it. No look-up, deadline, verdict or
 * result; ends when killed.
 */
#include <arpa/inet.h>
#include <errno.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/socket.h>
#include <time.h>
#include <unistd.h>

#define FIRST_ADDRESS 0x7f010001u /* 127.1.0.1 */

static const char request[] = "GET /health HTTP/1.1\r\nHost: 127.0.0.1\r\nUser-Agent: asker\r\n"
                              "Connection: close\r\n\r\n";
static int epoll_fd;

static int64_t now_us(void)
{
    struct timespec t;
    clock_gettime(CLOCK_MONOTONIC, &t);
    return (int64_t)t.tv_sec * 1000000 + t.tv_nsec / 1000;
}

static void start(uint32_t i, uint16_t port)
{
    struct sockaddr_in to = {.sin_family = AF_INET,
                             .sin_port = htons(port),
                             .sin_addr.s_addr = htonl(FIRST_ADDRESS + i)};
    int fd = socket(AF_INET, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0);
    if (fd < 0)
        return;
    struct epoll_event event = {.events = EPOLLIN | EPOLLOUT | EPOLLET, .data.fd = fd};
    int off = 0;
    setsockopt(fd, IPPROTO_TCP, TCP_QUICKACK, &off, sizeof off);
    if ((connect(fd, (struct sockaddr *)&to, sizeof to) != 0 && errno != EINPROGRESS) ||
        epoll_ctl(epoll_fd, EPOLL_CTL_ADD, fd, &event) != 0)
        close(fd);
}

static void reset(int fd)
{
    struct linger at_once = {.l_onoff = 1};
    setsockopt(fd, SOL_SOCKET, SO_LINGER, &at_once, sizeof at_once);
    close(fd);
}

static void on_event(int fd, uint32_t events)
{
    char reply[4096];
    if (events & (EPOLLERR | EPOLLHUP | EPOLLIN)) {
        ssize_t n = recv(fd, reply, sizeof reply, 0);
        if (n < 12 || memcmp(reply + 9, "200", 3) != 0)
            fprintf(stderr, "asker: not a 200\n");
        reset(fd);
    } else if (events & EPOLLOUT) {
        if (send(fd, request, sizeof request - 1, MSG_NOSIGNAL) < 0)
            reset(fd);
    }
}

int main(int argc, char **argv)
{
    if (argc != 3)
        return 2;
    uint16_t port = (uint16_t)strtoul(argv[1], NULL, 10);
    int64_t count = strtol(argv[2], NULL, 10);
    epoll_fd = epoll_create1(EPOLL_CLOEXEC);
    int64_t begin_us = now_us();
    for (int64_t started = 0;;) {
        int64_t elapsed_us = now_us() - begin_us;
        for (; started * 1000000 / count <= elapsed_us; started++)
            start((uint32_t)(started % count), port);
        int64_t wait_us = started * 1000000 / count - elapsed_us;
        struct epoll_event events[256];
        int n = epoll_wait(epoll_fd, events, 256, (int)((wait_us + 999) / 1000));
        for (int i = 0; i < n; i++)
            on_event(events[i].data.fd, events[i].events);
    }
}
