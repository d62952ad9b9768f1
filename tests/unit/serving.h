/*
 * serving.h: the real server on ports of the kernel's choice with a board that the test feeds, and
 * clients that are small enough to misbehave.
 *
 * Threads: main, but for the clients' functions: any.
 */
#ifndef HEALTHSVC_SERVING_H
#define HEALTHSVC_SERVING_H

#include "../testing.h"
#include "report_fixture.h"

#include <healthsvc/board.h>
#include <healthsvc/clock.h>
#include <healthsvc/server.h>
#include <healthsvc/stats.h>
#include <healthsvc/strbuf.h>
#include <healthsvc/units.h>

#include <dirent.h>
#include <errno.h>
#include <netinet/in.h>
#include <poll.h>
#include <stdatomic.h>
#include <sys/un.h>
#include <time.h>
#include <unistd.h>

#define MAX_LISTENS 4
#define REPLY_BYTES 16384
#define GET_HEALTH "GET /health HTTP/1.1\r\nHost: x\r\n\r\n"

static struct config_listen listens[MAX_LISTENS];
static char addresses[MAX_LISTENS][100];
static struct server *server;
static struct strbuf why;
static char reply[REPLY_BYTES];

static inline int64_t scaled(int64_t ms)
{
    const char *scale = getenv("HEALTHSVC_TEST_SCALE");
    int64_t n = 1;
    if (scale != NULL && units_parse_int(scale, &n) != 0)
        n = 1;
    return ms * n;
}

static inline void sleep_tick(void)
{
    const struct timespec tick = {.tv_nsec = 2000000};
    nanosleep(&tick, NULL);
}

/* An address as a configuration would have it; `text` is borrowed. */
static inline struct config_listen listen_on(char *text, int64_t workers)
{
    struct config_listen listen = {
        .text = text,
        .workers = workers,
        .serve = SERVE_ALL,
        .mode = 0660,
        .group = (gid_t)-1,
    };
    if (strncmp(text, "unix:", 5) == 0) {
        struct sockaddr_un *un = (struct sockaddr_un *)&listen.addr;
        listen.kind = LISTEN_UNIX;
        listen.addr_len = sizeof *un;
        un->sun_family = AF_UNIX;
        memcpy(un->sun_path, text + 5, strnlen(text + 5, sizeof un->sun_path - 1));
    } else if (units_parse_address(text, 0, &listen.addr, &listen.addr_len) != 0) {
        abort();
    }
    return listen;
}

/* Configures the addresses (NULL ends them). */
static inline void configure(int64_t workers, const char *const *texts)
{
    size_t count = 0;
    for (; texts[count] != NULL; count++) {
        snprintf(addresses[count], sizeof addresses[count], "%s", texts[count]);
        listens[count] = listen_on(addresses[count], workers);
    }
    fixture_config.listen = listens;
    fixture_config.listen_count = count;
    fixture_config.workers = workers;
}

static inline void publish(void)
{
    struct snapshot *s = fixture_snapshot(FIXTURE_COUNT);
    if (s == NULL)
        abort();
    board_beat(clock_mono_ms() + 3600000);
    board_publish(s);
}

static inline void start(int64_t workers, const char *address)
{
    const char *const texts[] = {address, NULL};
    configure(workers, texts);
    fixture_config.unhealthy_status = 500;
    fixture_reset();
    for (size_t i = 0; i < FIXTURE_COUNT; i++) {
        fixture_confs[i].max_age_ms = 3600000;
        fixture_views[i].checked_mono_ms = clock_mono_ms();
    }
    strbuf_init(&why, 1024);
    if (board_open() != 0)
        abort();
    if (server_start(&fixture_config, &server, &why) != 0) {
        printf("# %s\n", why.data);
        abort();
    }
}

static inline void stop(void)
{
    server = server_stop(server);
    board_close();
    strbuf_done(&why);
}

/* The ports that this process listens on, in no order. */
static inline size_t listening_ports(uint16_t *ports, size_t max)
{
    size_t count = 0;
    for (int fd = 0; fd < 1024; fd++) {
        struct sockaddr_storage addr;
        socklen_t len = sizeof addr;
        int listening = 0;
        socklen_t int_len = sizeof listening;
        if (getsockopt(fd, SOL_SOCKET, SO_ACCEPTCONN, &listening, &int_len) != 0 || !listening ||
            getsockname(fd, (struct sockaddr *)&addr, &len) != 0)
            continue;
        uint16_t port = ntohs(addr.ss_family == AF_INET6 ? ((struct sockaddr_in6 *)&addr)->sin6_port
                                                         : ((struct sockaddr_in *)&addr)->sin_port);
        bool known = false;
        for (size_t i = 0; i < count; i++)
            known = known || ports[i] == port;
        if (!known && count < max)
            ports[count++] = port;
    }
    return count;
}

static inline uint16_t only_port(void)
{
    uint16_t ports[MAX_LISTENS] = {0};
    EXPECT_INT(listening_ports(ports, MAX_LISTENS), 1);
    return ports[0];
}

/* Once `busy` connections are left: those closed before have then given their descriptors back. */
static inline int open_descriptors(int64_t busy)
{
    int64_t limit_ms = clock_mono_ms() + scaled(5000);
    while (atomic_load(&stats.workers_busy) > busy && clock_mono_ms() < limit_ms)
        sleep_tick();
    EXPECT_INT(atomic_load(&stats.workers_busy), busy);

    int count = 0;
    DIR *dir = opendir("/proc/self/fd");
    if (dir == NULL)
        abort();
    while (readdir(dir) != NULL)
        count++;
    closedir(dir);
    return count;
}

static inline int try_connect(uint16_t port)
{
    struct sockaddr_in addr = {
        .sin_family = AF_INET,
        .sin_port = htons(port),
        .sin_addr.s_addr = htonl(INADDR_LOOPBACK),
    };
    int fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
    if (fd < 0)
        abort();
    if (connect(fd, (struct sockaddr *)&addr, sizeof addr) == 0)
        return fd;
    int err = errno;
    close(fd);
    return -err;
}

static inline int connect_to(uint16_t port)
{
    int fd = try_connect(port);
    if (fd < 0)
        abort();
    return fd;
}

static inline void send_text(int fd, const char *text)
{
    (void)!send(fd, text, strlen(text), MSG_NOSIGNAL);
}

/* Reads until the peer closes (true) or `limit_ms` have passed without a byte (false). */
static inline bool read_until_closed(int fd, char *to, size_t room, int64_t limit_ms)
{
    size_t len = 0;
    to[0] = '\0';
    for (;;) {
        struct pollfd p = {.fd = fd, .events = POLLIN};
        if (poll(&p, 1, (int)limit_ms) <= 0)
            return false;
        ssize_t n = recv(fd, to + len, room - 1 - len, 0);
        if (n <= 0)
            return true;
        len += (size_t)n;
        to[len] = '\0';
    }
}

/* Reads one complete answer, by its Content-Length. */
static inline bool read_answer(int fd, char *to, size_t room)
{
    size_t len = 0;
    to[0] = '\0';
    for (;;) {
        const char *length = strstr(to, "Content-Length: ");
        const char *body = strstr(to, "\r\n\r\n");
        int64_t want;
        if (body != NULL && length != NULL) {
            char digits[12];
            snprintf(digits, sizeof digits, "%.*s", (int)strspn(length + 16, "0123456789"),
                     length + 16);
            if (units_parse_int(digits, &want) == 0 && strlen(body + 4) >= (size_t)want)
                return true;
        }
        struct pollfd p = {.fd = fd, .events = POLLIN};
        if (poll(&p, 1, (int)scaled(5000)) <= 0)
            return false;
        ssize_t n = recv(fd, to + len, room - 1 - len, 0);
        if (n <= 0)
            return false;
        len += (size_t)n;
        to[len] = '\0';
    }
}

/* One request on a connection of its own, read until the server closes. */
static inline const char *ask(const char *request)
{
    int fd = connect_to(only_port());
    send_text(fd, request);
    /* An idle kept connection is closed after 5 s. */
    EXPECT(read_until_closed(fd, reply, sizeof reply, scaled(9000)));
    close(fd);
    return reply;
}

/* A GET that closes, by its target and perhaps a header line. */
static inline const char *get(const char *target, const char *line)
{
    char request[512];
    snprintf(request, sizeof request, "GET %s HTTP/1.1\r\nHost: x\r\nConnection: close\r\n%s\r\n",
             target, line);
    return ask(request);
}

#endif
