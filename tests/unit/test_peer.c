/*
 * Who asks, seen through the real CivetWeb and our accept(): IPv4, IPv6, both on one socket, and
 * nobody where that cannot be known.
 */
#include "web/peer.h"

#include "../testing.h"
#include "serving.h"
#include "web/listener.h"

#include <arpa/inet.h>
#include <civetweb.h>
#include <fcntl.h>
#include <limits.h>
#include <pthread.h>
#include <semaphore.h>
#include <sys/resource.h>

#define ASK "GET / HTTP/1.1\r\nHost: x\r\n\r\n"

/* A CivetWeb whose every answer is the peer: "LOCAL FAMILY ADDRESS". */
static struct {
    struct listener listener;
    struct mg_context *mg;
    sem_t gate;
} web;

static void describe(const struct sockaddr_storage *peer, char *to, size_t room)
{
    char text[INET6_ADDRSTRLEN] = "-";
    const char *family = "unknown";
    if (peer->ss_family == AF_INET) {
        family = "inet";
        inet_ntop(AF_INET, &((const struct sockaddr_in *)peer)->sin_addr, text, sizeof text);
    } else if (peer->ss_family == AF_INET6) {
        family = "inet6";
        inet_ntop(AF_INET6, &((const struct sockaddr_in6 *)peer)->sin6_addr, text, sizeof text);
    } else if (peer->ss_family == AF_UNIX) {
        family = "unix";
    }
    snprintf(to, room, "%s %s %s", peer_is_local(peer) ? "local" : "far", family, text);
}

static int on_begin_request(struct mg_connection *conn)
{
    char text[128];
    describe(peer_find(mg_get_request_info(conn)), text, sizeof text);
    mg_printf(conn, "HTTP/1.1 200 OK\r\nContent-Length: %zu\r\n\r\n%s", strlen(text), text);
    return 200;
}

static int on_init_connection(const struct mg_connection *conn, void **conn_data)
{
    (void)conn;
    (void)conn_data;
    peer_forget();
    return 0;
}

static void *on_init_thread(const struct mg_context *mg, int type)
{
    (void)mg;
    if (type == 0) {
        listener_serve_thread(&web.listener);
        while (sem_wait(&web.gate) != 0)
            continue;
    }
    return NULL;
}

static void web_start(const char *address)
{
    static const char *const options[] = {"listening_ports",   "127.0.0.1:0", "num_threads", "2",
                                          "enable_keep_alive", "yes",         NULL};
    static const struct mg_callbacks callbacks = {.begin_request = on_begin_request,
                                                  .init_connection = on_init_connection,
                                                  .init_thread = on_init_thread};
    struct mg_server_port port;
    char text[128];
    snprintf(text, sizeof text, "%s", address);
    const struct config_listen listen = listen_on(text, 2);
    sem_init(&web.gate, 0, 0);
    if (listener_open(&web.listener, &listen, -1, 64, 64) != 0)
        abort();
    web.mg = mg_start(&callbacks, NULL, (const char **)(uintptr_t)options);
    if (web.mg == NULL || mg_get_server_ports(web.mg, 1, &port) != 1 ||
        listener_install(&web.listener, (uint16_t)port.port) != 0)
        abort();
    sem_post(&web.gate);
    EXPECT_INT(listener_prove(&web.listener, "/"), 0);
}

static void web_stop(void)
{
    listener_retire(&web.listener);
    while (listener_hang_up(&web.listener) > 0)
        sleep_tick();
    mg_stop(web.mg);
    listener_done(&web.listener);
    sem_destroy(&web.gate);
}

static uint16_t web_port(void)
{
    return units_port(&web.listener.addr);
}

/* The body of an answer; asked twice, for what is known of a connection must not change. */
static const char *seen_as(int fd)
{
    for (int i = 0; i < 2; i++) {
        send_text(fd, ASK);
        EXPECT(read_answer(fd, reply, sizeof reply));
    }
    const char *body = strstr(reply, "\r\n\r\n");
    return body != NULL ? body + 4 : reply;
}

static bool has_ipv6(void)
{
    int fd = socket(AF_INET6, SOCK_STREAM | SOCK_CLOEXEC, 0);
    struct sockaddr_in6 addr = {.sin6_family = AF_INET6, .sin6_addr = IN6ADDR_LOOPBACK_INIT};
    bool has = fd >= 0 && bind(fd, (struct sockaddr *)&addr, sizeof addr) == 0;
    if (fd >= 0)
        close(fd);
    if (!has)
        printf("# no IPv6 here\n");
    return has;
}

static int connect_to_ipv6(void)
{
    struct sockaddr_in6 addr = {.sin6_family = AF_INET6,
                                .sin6_port = htons(web_port()),
                                .sin6_addr = IN6ADDR_LOOPBACK_INIT};
    int fd = socket(AF_INET6, SOCK_STREAM | SOCK_CLOEXEC, 0);
    EXPECT_INT(connect(fd, (struct sockaddr *)&addr, sizeof addr), 0);
    return fd;
}

/* From another address of the loopback interface. */
static int connect_from(const char *own)
{
    struct sockaddr_in addr = {.sin_family = AF_INET};
    int fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
    inet_pton(AF_INET, own, &addr.sin_addr);
    EXPECT_INT(bind(fd, (struct sockaddr *)&addr, sizeof addr), 0);
    addr.sin_port = htons(web_port());
    addr.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
    EXPECT_INT(connect(fd, (struct sockaddr *)&addr, sizeof addr), 0);
    return fd;
}

TEST(of_ipv4)
{
    web_start("127.0.0.1:0");
    int one = connect_from("127.0.0.1"), other = connect_from("127.1.2.3");
    EXPECT_STR(seen_as(one), "local inet 127.0.0.1");
    EXPECT_STR(seen_as(other), "local inet 127.1.2.3");
    EXPECT_STR(seen_as(one), "local inet 127.0.0.1");
    close(one);
    close(other);
    web_stop();
}

TEST(of_ipv6)
{
    if (!has_ipv6())
        return;
    web_start("[::]:0");
    int six = connect_to_ipv6(), four = connect_from("127.1.2.3");
    EXPECT_STR(seen_as(six), "local inet6 ::1");
    EXPECT_STR(seen_as(four), "local inet 127.1.2.3"); /* not ::ffff:127.1.2.3 */
    close(six);
    close(four);
    web_stop();
}

TEST(of_a_unix_socket)
{
    char folder[] = "/tmp/healthsvc-test-XXXXXX", address[64];
    if (!EXPECT(mkdtemp(folder) != NULL))
        return;
    snprintf(address, sizeof address, "unix:%s/s", folder);
    web_start(address);
    int fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0);
    EXPECT_INT(connect(fd, (struct sockaddr *)&web.listener.addr, sizeof(struct sockaddr_un)), 0);
    EXPECT_STR(seen_as(fd), "local unix -");
    close(fd);
    web_stop();
    EXPECT_INT(rmdir(folder), 0);
}

static const struct sockaddr_storage *find(const char *addr, int port)
{
    struct mg_request_info info = {.remote_port = port};
    snprintf(info.remote_addr, sizeof info.remote_addr, "%s", addr);
    peer_forget();
    return peer_find(&info);
}

TEST(unknown_is_not_local)
{
    struct sockaddr_storage none = {0};
    int ends[2];
    EXPECT(!peer_is_local(&none));
    /* What CivetWeb says without our accept(), and what it says of families that it does not know. */
    EXPECT_INT(find("127.0.0.1", 4711)->ss_family, AF_UNSPEC);
    EXPECT_INT(find("", 4711)->ss_family, AF_UNSPEC);
    EXPECT_INT(find("::1", 4711)->ss_family, AF_UNSPEC);
    /* A descriptor that is no connection, and none at all. */
    EXPECT_INT(socketpair(AF_UNIX, SOCK_DGRAM | SOCK_CLOEXEC, 0, ends), 0);
    close(ends[0]);
    EXPECT_INT(find("0.128.0.0", ends[0])->ss_family, AF_UNSPEC);
    EXPECT(!peer_is_local(find("0.128.0.0", STDIN_FILENO)));
    EXPECT(!peer_is_local(find("0.255.255.255", 65535)));
    EXPECT(!peer_is_local(find("0.0.0.0", ends[1])));
    EXPECT_INT(find("0.128.0.0", ends[1])->ss_family, AF_UNIX);
    close(ends[1]);
}

TEST(a_mark_holds_any_descriptor)
{
    static const int fds[] = {0, 3, 1024, 65535, 65536, 1048575, INT_MAX};
    for (size_t i = 0; i < sizeof fds / sizeof fds[0]; i++) {
        struct sockaddr_in mark;
        struct mg_request_info info = {0};
        peer_mark(fds[i], &mark);
        inet_ntop(AF_INET, &mark.sin_addr, info.remote_addr, sizeof info.remote_addr);
        info.remote_port = ntohs(mark.sin_port);
        EXPECT_INT(peer_descriptor(&info), fds[i]);
    }
}

TEST(far_and_near)
{
    static const struct {
        const char *text;
        bool local;
    } cases[] = {
        {"127.0.0.1:1", true},
        {"127.255.255.255:1", true},
        {"126.0.0.1:1", false},
        {"128.0.0.1:1", false},
        {"10.0.0.1:1", false},
        {"0.0.0.0:1", false},
        {"[::1]:1", true},
        {"[::]:1", false},
        {"[::2]:1", false},
        {"[fe80::1]:1", false},
        {"[2001:db8::7f00:1]:1", false},
        {"[::127.0.0.1]:1", false},
    };
    for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++) {
        struct sockaddr_storage addr;
        socklen_t len;
        EXPECT_INT(units_parse_address(cases[i].text, 0, &addr, &len), 0);
        if (!EXPECT_INT(peer_is_local(&addr), cases[i].local))
            printf("# %s\n", cases[i].text);
    }
}

/* Other threads' accept() is the system's. */
TEST(accept_elsewhere_is_untouched)
{
    struct sockaddr_in addr = {.sin_family = AF_INET, .sin_addr.s_addr = htonl(INADDR_LOOPBACK)};
    socklen_t len = sizeof addr;
    int listening = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
    EXPECT_INT(bind(listening, (struct sockaddr *)&addr, sizeof addr), 0);
    EXPECT_INT(listen(listening, 1), 0);
    EXPECT_INT(getsockname(listening, (struct sockaddr *)&addr, &len), 0);
    int client = connect_to(ntohs(addr.sin_port));
    struct sockaddr_in peer, own;
    len = sizeof peer;
    int conn = accept(listening, (struct sockaddr *)&peer, &len);
    EXPECT(conn >= 0);
    len = sizeof own;
    EXPECT_INT(getsockname(client, (struct sockaddr *)&own, &len), 0);
    EXPECT_INT(peer.sin_port, own.sin_port);
    EXPECT_INT(peer.sin_addr.s_addr, htonl(INADDR_LOOPBACK));
    EXPECT_INT(fcntl(conn, F_GETFD), 0); /* accept() does not set it */
    close(conn);
    close(client);
    close(listening);
}

static int64_t cpu_ms(void)
{
    struct rusage usage;
    getrusage(RUSAGE_SELF, &usage);
    return (usage.ru_utime.tv_sec + usage.ru_stime.tv_sec) * INT64_C(1000) +
           (usage.ru_utime.tv_usec + usage.ru_stime.tv_usec) / 1000;
}

/* The library alone would turn without a pause (its issue 962). */
TEST(without_descriptors_the_acceptor_rests)
{
    struct rlimit limit, tight;
    web_start("127.0.0.1:0");
    int first = connect_from("127.0.0.1");
    int second = connect_from("127.0.0.1");
    EXPECT_STR(seen_as(first), "local inet 127.0.0.1");
    getrlimit(RLIMIT_NOFILE, &limit);
    tight = limit;
    tight.rlim_cur = 3; /* every number below is taken */
    EXPECT_INT(setrlimit(RLIMIT_NOFILE, &tight), 0);
    send_text(second, ASK); /* accepted now, if it could be */
    int64_t begun_ms = clock_mono_ms(), cpu_begun_ms = cpu_ms();
    while (clock_mono_ms() - begun_ms < scaled(500))
        sleep_tick();
    int64_t took_ms = clock_mono_ms() - begun_ms, cpu_took_ms = cpu_ms() - cpu_begun_ms;
    EXPECT(cpu_took_ms < took_ms / 3);
    EXPECT_INT(setrlimit(RLIMIT_NOFILE, &limit), 0);
    EXPECT(read_answer(second, reply, sizeof reply)); /* it has not been lost */
    close(first);
    close(second);
    web_stop();
    printf("# %" PRId64 " ms of CPU in %" PRId64 " ms\n", cpu_took_ms, took_ms);
}

/* What it costs, for the record: printed, not judged. */
TEST(cost)
{
    enum {
        ROUNDS = 100000
    };
    int ends[2];
    struct sockaddr_in mark;
    struct mg_request_info info = {0};
    EXPECT_INT(socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, ends), 0);
    peer_mark(ends[0], &mark);
    inet_ntop(AF_INET, &mark.sin_addr, info.remote_addr, sizeof info.remote_addr);
    info.remote_port = ntohs(mark.sin_port);
    int64_t begun_us = clock_mono_us();
    for (int i = 0; i < ROUNDS; i++) {
        peer_forget();
        EXPECT_INT(peer_find(&info)->ss_family, AF_UNIX);
    }
    int64_t first_us = clock_mono_us() - begun_us;
    begun_us = clock_mono_us();
    for (int i = 0; i < ROUNDS; i++)
        EXPECT_INT(peer_find(&info)->ss_family, AF_UNIX);
    int64_t later_us = clock_mono_us() - begun_us;
    printf("# first of a connection %" PRId64 " ns, later %" PRId64 " ns\n",
           first_us * 1000 / ROUNDS, later_us * 1000 / ROUNDS);
    close(ends[0]);
    close(ends[1]);
}

int main(void)
{
    mg_init_library(0);
    RUN(of_ipv4);
    RUN(of_ipv6);
    RUN(of_a_unix_socket);
    RUN(unknown_is_not_local);
    RUN(a_mark_holds_any_descriptor);
    RUN(far_and_near);
    RUN(accept_elsewhere_is_untouched);
    RUN(without_descriptors_the_acceptor_rests);
    RUN(cost);
    mg_exit_library();
    return testing_end();
}
