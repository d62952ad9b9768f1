/*
 * Which connections stay, who has to wait, and what starting, reloading and stopping the real server
 * leave behind.
 */
#include "serving.h"

#include <pthread.h>

TEST(idle_clients_leave_a_reserve)
{
    enum {
        CLIENTS = 30
    };
    int fds[CLIENTS];
    int kept = 0;
    int64_t longest_ms = 0;
    start(4, "127.0.0.1:0");
    publish();
    uint16_t port = only_port();
    for (int i = 0; i < CLIENTS; i++) {
        int64_t begun_ms = clock_mono_ms();
        fds[i] = connect_to(port);
        send_text(fds[i], GET_HEALTH);
        EXPECT(read_answer(fds[i], reply, sizeof reply));
        kept += strstr(reply, "Connection: keep-alive") != NULL;
        if (clock_mono_ms() - begun_ms > longest_ms)
            longest_ms = clock_mono_ms() - begun_ms;
    }
    EXPECT_INT(kept, 3);
    EXPECT_INT(atomic_load(&stats.workers), 4);
    EXPECT(longest_ms < scaled(1000)); /* the next timeout of the library is 2 s */
    for (int i = 0; i < CLIENTS; i++)
        close(fds[i]);
    (void)open_descriptors(0); /* none is busy for ever */
    stop();
}

TEST(silent_clients_cost_nothing)
{
    enum {
        CLIENTS = 30
    };
    int fds[CLIENTS];
    start(2, "127.0.0.1:0");
    publish();
    uint16_t port = only_port();
    for (int i = 0; i < CLIENTS; i++)
        fds[i] = connect_to(port);
    int64_t begun_ms = clock_mono_ms();
    EXPECT_HAS(get("/health", ""), "HTTP/1.1 200 OK");
    EXPECT(clock_mono_ms() - begun_ms < scaled(1000));
    /* One that speaks after all is answered. */
    send_text(fds[0], GET_HEALTH);
    EXPECT(read_answer(fds[0], reply, sizeof reply));
    for (int i = 0; i < CLIENTS; i++)
        close(fds[i]);
    stop();
}

TEST(ipv6_and_both)
{
    int fd = socket(AF_INET6, SOCK_STREAM | SOCK_CLOEXEC, 0);
    struct sockaddr_in6 addr = {.sin6_family = AF_INET6, .sin6_addr = IN6ADDR_LOOPBACK_INIT};
    if (fd < 0 || bind(fd, (struct sockaddr *)&addr, sizeof addr) != 0) {
        printf("# no IPv6 here\n");
        if (fd >= 0)
            close(fd);
        return;
    }
    close(fd);
    start(2, "[::]:0");
    publish();
    EXPECT_HAS(get("/health", ""), "HTTP/1.1 200 OK"); /* by 127.0.0.1 */
    addr.sin6_port = htons(only_port());
    fd = socket(AF_INET6, SOCK_STREAM | SOCK_CLOEXEC, 0);
    EXPECT_INT(connect(fd, (struct sockaddr *)&addr, sizeof addr), 0);
    send_text(fd, GET_HEALTH);
    EXPECT(read_answer(fd, reply, sizeof reply));
    EXPECT_HAS(reply, "HTTP/1.1 200 OK");
    stop(); /* with the kept connection */
    EXPECT(read_until_closed(fd, reply, sizeof reply, scaled(5000)));
    close(fd);
}

TEST(an_address_in_use_is_named)
{
    char address[32];
    start(2, "127.0.0.1:0");
    snprintf(address, sizeof address, "127.0.0.1:%u", only_port());
    const char *const texts[] = {address, NULL};
    struct server *second = NULL;
    struct strbuf reason;
    strbuf_init(&reason, 256);
    configure(2, texts);
    int before = open_descriptors(0);
    EXPECT_INT(server_start(&fixture_config, &second, &reason), -EADDRINUSE);
    char expected[128];
    snprintf(expected, sizeof expected, "cannot listen on %s: Address already in use", address);
    EXPECT_STR(reason.data, expected);
    EXPECT_INT(open_descriptors(0), before);
    strbuf_done(&reason);
    stop();
}

TEST(a_reload_touches_only_what_changed)
{
    uint16_t ports[MAX_LISTENS];
    const char *const two[] = {"127.0.0.1:0", "127.0.0.1:0", NULL};
    const char *const three[] = {"127.0.0.1:0", "127.0.0.1:0", "127.0.0.1:0", NULL};
    const char *const one[] = {"127.0.0.1:0", NULL};
    start(4, "127.0.0.1:0");
    publish();
    uint16_t first = only_port();
    int kept = connect_to(first);
    send_text(kept, GET_HEALTH);
    EXPECT(read_answer(kept, reply, sizeof reply));

    configure(4, three);
    EXPECT_INT(server_prepare(server, &fixture_config, &why), 0);
    EXPECT_INT(listening_ports(ports, MAX_LISTENS), 3);
    server_abort(server);
    EXPECT_INT(listening_ports(ports, MAX_LISTENS), 1);
    EXPECT_INT(ports[0], first);

    int before = open_descriptors(1);
    configure(4, two);
    EXPECT_INT(server_prepare(server, &fixture_config, &why), 0);
    server_commit(server);
    EXPECT_INT(listening_ports(ports, MAX_LISTENS), 2);
    EXPECT_INT(atomic_load(&stats.workers), 8);

    configure(4, one);
    EXPECT_INT(server_prepare(server, &fixture_config, &why), 0);
    server_commit(server);
    EXPECT_INT(listening_ports(ports, MAX_LISTENS), 1);
    EXPECT_INT(ports[0], first);
    EXPECT_INT(atomic_load(&stats.workers), 4);
    EXPECT_INT(open_descriptors(1), before);

    /* The connection that was kept has lived through it all. */
    send_text(kept, GET_HEALTH);
    EXPECT(read_answer(kept, reply, sizeof reply));
    EXPECT_HAS(reply, "HTTP/1.1 200 OK");
    close(kept);
    stop();
}

TEST(a_failing_reload_changes_nothing)
{
    char taken[32];
    uint16_t ports[MAX_LISTENS];
    struct sockaddr_in addr = {.sin_family = AF_INET, .sin_addr.s_addr = htonl(INADDR_LOOPBACK)};
    socklen_t len = sizeof addr;
    start(2, "127.0.0.1:0");
    publish();
    uint16_t first = only_port();
    int occupant = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
    EXPECT_INT(bind(occupant, (struct sockaddr *)&addr, sizeof addr), 0);
    EXPECT_INT(getsockname(occupant, (struct sockaddr *)&addr, &len), 0);
    snprintf(taken, sizeof taken, "127.0.0.1:%u", ntohs(addr.sin_port));
    const char *const texts[] = {"127.0.0.1:0", "127.0.0.2:0", taken, NULL};
    configure(2, texts);
    int before = open_descriptors(0);
    EXPECT_INT(server_prepare(server, &fixture_config, &why), -EADDRINUSE);
    EXPECT_HAS(why.data, taken);
    EXPECT_INT(open_descriptors(0), before);
    EXPECT_INT(listening_ports(ports, MAX_LISTENS), 1);
    EXPECT_INT(ports[0], first);
    server_abort(server); /* harmless */
    EXPECT_HAS(get("/health", ""), "HTTP/1.1 200 OK");
    close(occupant);
    stop();
}

TEST(stopping_leaves_nothing)
{
    enum {
        ROUNDS = 20,
        SILENT = 6,
        IDLE = 6
    };
    int before = open_descriptors(0);
    int64_t longest_ms = 0;
    for (int round = 0; round < ROUNDS; round++) {
        int fds[SILENT + IDLE];
        start(12, "127.0.0.1:0");
        publish();
        uint16_t port = only_port();
        for (int i = 0; i < SILENT + IDLE; i++) {
            fds[i] = connect_to(port);
            if (i < SILENT)
                continue;
            send_text(fds[i], GET_HEALTH);
            EXPECT(read_answer(fds[i], reply, sizeof reply));
        }
        int64_t begun_ms = clock_mono_ms();
        stop();
        if (clock_mono_ms() - begun_ms > longest_ms)
            longest_ms = clock_mono_ms() - begun_ms;
        EXPECT_INT(try_connect(port), -ECONNREFUSED);
        for (int i = 0; i < SILENT + IDLE; i++) {
            /* Silent ones were never handed out, and are reset when they speak. */
            send_text(fds[i], GET_HEALTH);
            EXPECT(read_until_closed(fds[i], reply, sizeof reply, scaled(5000)));
            close(fds[i]);
        }
    }
    EXPECT_INT(open_descriptors(0), before);
    EXPECT(longest_ms < scaled(1500)); /* the library alone takes 2 s, its idle timeout is 5 s */
    printf("# the longest stop took %" PRId64 " ms\n", longest_ms);
}

struct load {
    pthread_t thread;
    uint16_t port;
    bool keep;
    int complete, refused, broken;
};

/* Asks without pause until it is refused. */
static void *load_run(void *arg)
{
    struct load *load = arg;
    char buffer[4096];
    int fd = -1;
    bool used = false; /* the connection has had an answer before */
    int64_t begun_mono_ms = 0;
    for (;;) {
        if (fd < 0) {
            begun_mono_ms = clock_mono_ms();
            fd = try_connect(load->port);
            used = false;
            if (fd < 0) {
                load->refused += fd == -ECONNREFUSED;
                load->broken += fd != -ECONNREFUSED;
                return NULL;
            }
        }
        send_text(fd,
                  load->keep ? GET_HEALTH : "GET /health HTTP/1.1\r\nConnection: close\r\n\r\n");
        /* The server waits 20 ms for a request on a connection that has begun; a client that a busy
         * machine held up for longer may find it closed. */
        bool prompt = clock_mono_ms() - begun_mono_ms < 15;
        bool whole = read_answer(fd, buffer, sizeof buffer);
        load->complete += whole;
        /* A kept connection may be closed as the next request sets out (RFC 9112 section 9.3.1). */
        load->broken += !whole && ((!used && prompt) || buffer[0] != '\0');
        used = true;
        if (!whole || strstr(buffer, "Connection: close") != NULL) {
            close(fd);
            fd = -1;
        }
    }
}

TEST(stopping_under_load_breaks_no_answer)
{
    enum {
        ROUNDS = 4,
        CLIENTS = 6
    }; /* each takes the second of a dropped SYN */
    for (int round = 0; round < ROUNDS; round++) {
        struct load loads[CLIENTS];
        int broken = 0, refused = 0;
        start(8, "127.0.0.1:0");
        publish();
        uint64_t before = atomic_load(&stats.requests[200]);
        for (int i = 0; i < CLIENTS; i++) {
            loads[i] = (struct load){.port = only_port(), .keep = i % 2 == 0};
            if (pthread_create(&loads[i].thread, NULL, load_run, &loads[i]) != 0)
                abort();
        }
        while (atomic_load(&stats.requests[200]) - before < 200)
            sleep_tick();
        stop();
        for (int i = 0; i < CLIENTS; i++) {
            pthread_join(loads[i].thread, NULL);
            broken += loads[i].broken;
            refused += loads[i].refused;
        }
        EXPECT_INT(broken, 0);
        EXPECT_INT(refused, CLIENTS);
    }
}

static int connect_to_path(const char *path)
{
    struct sockaddr_un un = {.sun_family = AF_UNIX};
    int fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0);
    memcpy(un.sun_path, path, strlen(path) + 1);
    if (fd < 0 || connect(fd, (struct sockaddr *)&un, sizeof un) != 0)
        abort();
    return fd;
}

/* A client that takes its time between connecting and asking. */
struct hesitant {
    pthread_t thread;
    int fd;
    bool prompt; /* it came to ask before anybody had a right to give it up */
    bool whole;
};

static void *hesitate(void *arg)
{
    struct hesitant *h = arg;
    char buffer[4096];
    int64_t begun_mono_ms = clock_mono_ms();
    while (clock_mono_ms() - begun_mono_ms < 300)
        sleep_tick();
    send_text(h->fd, GET_HEALTH);
    h->prompt = clock_mono_ms() - begun_mono_ms < 800; /* the server waits for 1 s */
    h->whole = read_answer(h->fd, buffer, sizeof buffer);
    return NULL;
}

/* With TCP the kernel keeps it, of a Unix socket it has been accepted already. */
TEST(stopping_waits_for_those_who_have_yet_to_ask)
{
    char folder[] = "/tmp/healthsvc-test-XXXXXX", address[64];
    struct hesitant h = {.fd = -1};
    if (!EXPECT(mkdtemp(folder) != NULL))
        return;
    snprintf(address, sizeof address, "unix:%s/s", folder);
    start(2, address);
    publish();
    h.fd = connect_to_path(address + 5);
    if (pthread_create(&h.thread, NULL, hesitate, &h) != 0)
        abort();
    stop();
    pthread_join(h.thread, NULL);
    EXPECT(h.whole || !h.prompt);
    close(h.fd);
    EXPECT_INT(rmdir(folder), 0); /* the socket is gone */
}

TEST(other_workers_take_over_the_socket)
{
    uint16_t ports[MAX_LISTENS];
    const char *const one[] = {"127.0.0.1:0", NULL};
    start(2, "127.0.0.1:0");
    publish();
    uint16_t first = only_port();
    int before = open_descriptors(0);
    for (int64_t workers = 3; workers <= 6; workers++) {
        configure(workers, one);
        EXPECT_INT(server_prepare(server, &fixture_config, &why), 0);
        EXPECT_HAS(get("/health", ""), "HTTP/1.1 200 OK"); /* by whichever */
        if (workers % 2 == 0)
            server_abort(server);
        else
            server_commit(server);
        EXPECT_INT(listening_ports(ports, MAX_LISTENS), 1);
        EXPECT_INT(ports[0], first);
        EXPECT_INT(atomic_load(&stats.workers), workers % 2 == 0 ? workers - 1 : workers);
        EXPECT_HAS(get("/health", ""), "HTTP/1.1 200 OK");
    }
    EXPECT_INT(open_descriptors(0), before);
    stop();
    EXPECT_INT(try_connect(first), -ECONNREFUSED);
}

int main(void)
{
    RUN(idle_clients_leave_a_reserve);
    RUN(silent_clients_cost_nothing);
    RUN(ipv6_and_both);
    RUN(an_address_in_use_is_named);
    RUN(a_reload_touches_only_what_changed);
    RUN(a_failing_reload_changes_nothing);
    RUN(stopping_leaves_nothing);
    RUN(stopping_under_load_breaks_no_answer);
    RUN(stopping_waits_for_those_who_have_yet_to_ask);
    RUN(other_workers_take_over_the_socket);
    return testing_end();
}
