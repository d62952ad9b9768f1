/*
 * responder SCHEME [CERT]: on every address of loopback, says what a healthy peer of the scheme says
 * (tests/lessons.h; dns and ntp: here), over TLS if a PEM file with certificate and key is given.
 * It does not read what it is asked, so that it costs as little as can be. Notes when each
 * connection was accepted, so that the lateness of whoever asks on a schedule is seen from outside.
 *
 * Prints its port. A line on standard input is obeyed: "reset" forgets what was noted; "report"
 * prints "CONNECTIONS P50 P99 MAX": how late a connection came against its own address's schedule of
 * one a second, in microseconds (against the earliest of that address; -1: too few were seen);
 * "gaps" prints the same of how much longer than a second ago the one before had come; "mute" says
 * no more, "fail" says 503 to http, "heal" ends both. Each is answered by a line.
 */
#include "../lessons.h"

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

#define DATAGRAM_BYTES 512

struct arrival {
    uint32_t address;
    int64_t at_us;
};

static struct arrival *arrivals;
static size_t arrival_count;
static SSL_CTX *tls;
static SSL *sessions[MAX_FDS];
static enum stage {
    NOTHING_SAID = 0,
    GREETED,
    ALL_SAID
} stages[MAX_FDS];
static struct peer_script script;
static const char failing[] = "HTTP/1.1 503 Service Unavailable\r\nContent-Length: 0\r\n"
                              "Connection: close\r\n\r\n";
static bool is_mute, fails;
static size_t greeting_len; /* of the reply: said before anything is asked */
static int epoll_fd, listener, datagrams = -1;

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
    stages[fd] = NOTHING_SAID;
    close(fd);
}

static bool say(int fd, const char *bytes, size_t len)
{
    if (sessions[fd] != NULL)
        return SSL_write(sessions[fd], bytes, (int)len) > 0;
    return send(fd, bytes, len, MSG_NOSIGNAL) == (ssize_t)len;
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
    if (greeting_len > 0 && !say(fd, script.reply, greeting_len))
        hang_up(fd);
}

static void answer(int fd)
{
    char request[4096];
    bool ended;
    if (sessions[fd] != NULL) {
        int n = SSL_read(sessions[fd], request, sizeof request);
        ended = n <= 0 && SSL_get_error(sessions[fd], n) != SSL_ERROR_WANT_READ;
        if (n <= 0 && !ended)
            return;
    } else {
        ended = recv(fd, request, sizeof request, 0) <= 0;
    }
    if (!ended && !is_mute && stages[fd] != ALL_SAID && script.reply_len > greeting_len) {
        stages[fd] = ALL_SAID;
        ended = fails ? !say(fd, failing, sizeof failing - 1)
                      : !say(fd, script.reply + greeting_len, script.reply_len - greeting_len);
    }
    if (ended)
        hang_up(fd);
}

/* RFC 1035 section 4.1: the question again, and one address for its name. Length of the answer. */
static size_t answer_dns(uint8_t *message, size_t len)
{
    static const uint8_t record[] = {0xc0, 12, 0, 1, 0, 1, 0, 0, 0, 60, 0, 4, 127, 0, 0, 1};
    size_t end = 12;
    while (end < len && message[end] != 0)
        end += 1 + message[end];
    end += 5; /* the root, type, class */
    if (end > len || end + sizeof record > DATAGRAM_BYTES)
        return 0;
    message[2] = 0x81;
    message[3] = 0x80;
    memcpy(message + 4, "\0\1\0\1\0\0\0\0", 8);
    memcpy(message + end, record, sizeof record);
    return end + sizeof record;
}

/* RFC 5905 section 7.3: a server of stratum 1 whose clock is this machine's. */
static size_t answer_ntp(uint8_t *message, size_t len)
{
    struct timespec now;
    if (len < 48)
        return 0;
    clock_gettime(CLOCK_REALTIME, &now);
    uint32_t stamp[2] = {htonl((uint32_t)(now.tv_sec + 2208988800)),
                         htonl((uint32_t)(((uint64_t)now.tv_nsec << 32) / 1000000000))};
    memcpy(message + 24, message + 40, 8); /* originate: what was sent as transmit */
    memcpy(message, "\x24\1\6\xec\0\0\0\0\0\0\0\0GPS", 16);
    memcpy(message + 16, stamp, 8);
    memcpy(message + 32, stamp, 8);
    memcpy(message + 40, stamp, 8);
    return 48;
}

static void answer_datagrams(bool dns)
{
    uint8_t message[DATAGRAM_BYTES];
    struct sockaddr_in from;
    socklen_t from_len = sizeof from;
    ssize_t n;
    while ((n = recvfrom(datagrams, message, sizeof message, 0, (struct sockaddr *)&from,
                         &from_len)) > 0) {
        size_t len = dns ? answer_dns(message, (size_t)n) : answer_ntp(message, (size_t)n);
        sendto(datagrams, message, len, 0, (struct sockaddr *)&from, from_len);
    }
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

/* How much longer than a second each arrival was behind the one before. */
static size_t judge_gaps(const struct arrival *own, size_t count, int64_t *late)
{
    for (size_t i = 1; i < count; i++)
        late[i - 1] = own[i].at_us - own[i - 1].at_us - PERIOD_US;
    return count - 1;
}

static void report(size_t (*judge_one)(const struct arrival *own, size_t count, int64_t *late))
{
    size_t total = 0;
    int64_t *late = calloc(arrival_count + 1, sizeof *late);
    if (late == NULL)
        exit(1);
    qsort(arrivals, arrival_count, sizeof *arrivals, by_address_then_time);
    for (size_t i = 0, end; i < arrival_count; i = end) {
        for (end = i; end < arrival_count && arrivals[end].address == arrivals[i].address; end++)
            ;
        total += judge_one(&arrivals[i], end - i, late + total);
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
    char line[64] = "";
    if (read(STDIN_FILENO, line, sizeof line - 1) <= 0)
        exit(0);
    line[strcspn(line, "\n")] = '\0';
    if (strcmp(line, "report") == 0) {
        report(judge);
        return;
    }
    if (strcmp(line, "gaps") == 0) {
        report(judge_gaps);
        return;
    }
    if (strcmp(line, "reset") == 0)
        arrival_count = 0;
    else if (strcmp(line, "mute") == 0)
        is_mute = true;
    else if (strcmp(line, "fail") == 0)
        fails = true;
    else if (strcmp(line, "heal") == 0)
        is_mute = fails = false;
    printf("done\n");
    fflush(stdout);
}

static void bind_datagrams(struct sockaddr_in sin)
{
    struct epoll_event event = {.events = EPOLLIN};
    sin.sin_addr.s_addr = htonl(INADDR_LOOPBACK); /* from where the answers are to come */
    event.data.fd = datagrams = socket(AF_INET, SOCK_DGRAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0);
    if (bind(datagrams, (struct sockaddr *)&sin, sizeof sin) != 0 ||
        epoll_ctl(epoll_fd, EPOLL_CTL_ADD, datagrams, &event) != 0)
        exit(1);
}

static void listen_anywhere(bool udp)
{
    struct sockaddr_in sin = {.sin_family = AF_INET};
    socklen_t len = sizeof sin;
    listener = socket(AF_INET, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0);
    if (bind(listener, (struct sockaddr *)&sin, sizeof sin) != 0 || listen(listener, 4096) != 0 ||
        getsockname(listener, (struct sockaddr *)&sin, &len) != 0)
        exit(1);
    if (udp)
        bind_datagrams(sin);
    printf("%u\n", ntohs(sin.sin_port));
    fflush(stdout);
}

/* How much a server says of its own accord: a line, or MySQL's first packet. */
static size_t length_of_greeting(void)
{
    const uint8_t *at = (const uint8_t *)script.reply;
    if (!script.greets)
        return 0;
    return at[0] < ' ' || at[3] == 0 ? 4 + at[0] : strcspn(script.reply, "\n") + 1;
}

int main(int argc, char **argv)
{
    const char *scheme = argc > 1 ? argv[1] : "http";
    bool dns = strcmp(scheme, "dns") == 0, ntp = strcmp(scheme, "ntp") == 0;
    const struct lesson *lesson = lesson_find(scheme);
    if (lesson == NULL && !dns && !ntp)
        return 2;
    if (lesson != NULL) {
        script = lesson->script;
        if (script.reply_len == 0)
            script.reply_len = strlen(script.reply);
        greeting_len = length_of_greeting();
    }
    signal(SIGPIPE, SIG_IGN);
    arrivals = malloc(MAX_ARRIVALS * sizeof *arrivals);
    if (argc > 2) {
        tls = SSL_CTX_new(TLS_server_method());
        if (tls == NULL || SSL_CTX_use_certificate_chain_file(tls, argv[2]) != 1 ||
            SSL_CTX_use_PrivateKey_file(tls, argv[2], SSL_FILETYPE_PEM) != 1)
            return 1;
    }
    epoll_fd = epoll_create1(EPOLL_CLOEXEC);
    if (arrivals == NULL || epoll_fd < 0)
        return 1;
    listen_anywhere(dns || ntp);
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
            } else if (fd == datagrams) {
                answer_datagrams(dns);
            } else if (fd == listener) {
                while ((taken = accept4(listener, NULL, NULL, SOCK_NONBLOCK | SOCK_CLOEXEC)) >= 0)
                    take(taken);
            } else {
                answer(fd);
            }
        }
    }
}
