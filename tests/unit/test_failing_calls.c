/*
 * Each call of the system, or of a library, that starting and checking make, failing once: the first
 * time it is made, the second, and so on until all have been through. What starts must then say so
 * and leave nothing behind; what checks must end as it does otherwise, or as not tried, for what
 * fails here says nothing of a dependency.
 *
 * The linker puts the functions below in the place of the real ones (ld(1), --wrap), for the objects
 * of ours alone. Memory that cannot be had is not among them.
 */
#include "../asking.h"
#include "../testing.h"

#include <healthsvc/board.h>
#include <healthsvc/checker.h>
#include <healthsvc/loop.h>
#include <healthsvc/server.h>
#include <healthsvc/strbuf.h>

#include <ares.h>
#include <arpa/inet.h>
#include <civetweb.h>
#include <errno.h>
#include <pthread.h>
#include <signal.h>
#include <spawn.h>
#include <stdatomic.h>
#include <sys/epoll.h>
#include <sys/eventfd.h>
#include <sys/random.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <unistd.h>
#include <uv.h>

/* ---- the calls ---- */

static const char *failing; /* its name; NULL: none, they are counted */
static unsigned failing_number;
static atomic_uint failed;

static bool fails(const char *call);

/* TYPE NAME(PARAMETERS) that fails with a value, after errno has been set. */
#define WRAP(type, name, parameters, arguments, error, value) \
    type __real_##name parameters;                            \
    type __wrap_##name parameters;                            \
    type __wrap_##name parameters                             \
    {                                                         \
        if (fails(#name)) {                                   \
            errno = (error);                                  \
            return (value);                                   \
        }                                                     \
        return __real_##name arguments;                       \
    }

WRAP(int, socket, (int domain, int type, int protocol), (domain, type, protocol), ENOBUFS, -1)
WRAP(int, connect, (int fd, const struct sockaddr *addr, socklen_t len), (fd, addr, len), ENOBUFS,
     -1)
WRAP(int, bind, (int fd, const struct sockaddr *addr, socklen_t len), (fd, addr, len), ENOMEM, -1)
WRAP(int, listen, (int fd, int backlog), (fd, backlog), ENOMEM, -1)
WRAP(int, getsockname, (int fd, struct sockaddr *addr, socklen_t *len), (fd, addr, len), ENOBUFS,
     -1)
WRAP(int, setsockopt, (int fd, int level, int name, const void *value, socklen_t len),
     (fd, level, name, value, len), ENOMEM, -1)
WRAP(int, getsockopt, (int fd, int level, int name, void *value, socklen_t *len),
     (fd, level, name, value, len), ENOBUFS, -1)
WRAP(int, socketpair, (int domain, int type, int protocol, int *fds), (domain, type, protocol, fds),
     EMFILE, -1)
WRAP(int, epoll_create1, (int flags), (flags), EMFILE, -1)
WRAP(int, eventfd, (unsigned value, int flags), (value, flags), EMFILE, -1)
WRAP(int, pipe2, (int *ends, int flags), (ends, flags), ENFILE, -1)
WRAP(int, dup3, (int from, int to, int flags), (from, to, flags), EBUSY, -1)
WRAP(int, fstat, (int fd, struct stat *st), (fd, st), ENOMEM, -1)
WRAP(int, fchownat, (int fd, const char *path, uid_t user, gid_t group, int flags),
     (fd, path, user, group, flags), EROFS, -1)
WRAP(ssize_t, getrandom, (void *to, size_t len, unsigned flags), (to, len, flags), EAGAIN, -1)
WRAP(int, posix_spawn,
     (pid_t * pid, const char *path, const posix_spawn_file_actions_t *actions,
      const posix_spawnattr_t *attr, char *const argv[], char *const env[]),
     (pid, path, actions, attr, argv, env), 0, EAGAIN)
WRAP(int, posix_spawn_file_actions_init, (posix_spawn_file_actions_t * actions), (actions), 0,
     ENOMEM)
WRAP(int, posix_spawnattr_init, (posix_spawnattr_t * attr), (attr), 0, ENOMEM)
WRAP(int, posix_spawn_file_actions_addopen,
     (posix_spawn_file_actions_t * actions, int fd, const char *path, int flags, mode_t mode),
     (actions, fd, path, flags, mode), 0, ENOMEM)
WRAP(int, posix_spawn_file_actions_adddup2, (posix_spawn_file_actions_t * actions, int fd, int to),
     (actions, fd, to), 0, ENOMEM)
WRAP(int, posix_spawn_file_actions_addclosefrom_np, (posix_spawn_file_actions_t * actions, int fd),
     (actions, fd), 0, ENOMEM)
WRAP(int, posix_spawn_file_actions_addchdir_np,
     (posix_spawn_file_actions_t * actions, const char *path), (actions, path), 0, ENOMEM)
WRAP(int, pthread_create,
     (pthread_t * thread, const pthread_attr_t *attr, void *(*run)(void *), void *arg),
     (thread, attr, run, arg), 0, EAGAIN)
WRAP(int, pthread_attr_init, (pthread_attr_t * attr), (attr), 0, ENOMEM)
WRAP(int, pthread_attr_setstacksize, (pthread_attr_t * attr, size_t bytes), (attr, bytes), 0,
     EINVAL)
WRAP(int, uv_loop_init, (uv_loop_t * loop), (loop), 0, UV_EMFILE)
WRAP(int, uv_async_init, (uv_loop_t * loop, uv_async_t *async, uv_async_cb cb), (loop, async, cb),
     0, UV_EMFILE)
WRAP(int, uv_poll_init, (uv_loop_t * loop, uv_poll_t *poll, int fd), (loop, poll, fd), 0, UV_ENOMEM)
WRAP(int, ares_library_init, (int flags), (flags), 0, ARES_ENOMEM)
WRAP(int, ares_init_options, (ares_channel * channel, struct ares_options *options, int mask),
     (channel, options, mask), 0, ARES_EFILE)
WRAP(struct mg_context *, mg_start2, (struct mg_init_data * init, struct mg_error_data *error),
     (init, error), 0, NULL)
WRAP(int, mg_get_server_ports,
     (const struct mg_context *context, int size, struct mg_server_port *ports),
     (context, size, ports), 0, -1)

/* Only an addition needs what the kernel may lack. */
int __real_epoll_ctl(int fd, int op, int target, struct epoll_event *event);
int __wrap_epoll_ctl(int fd, int op, int target, struct epoll_event *event);
int __wrap_epoll_ctl(int fd, int op, int target, struct epoll_event *event)
{
    if (op == EPOLL_CTL_ADD && fails("epoll_ctl")) {
        errno = ENOSPC;
        return -1;
    }
    return __real_epoll_ctl(fd, op, target, event);
}

int __real_fcntl(int fd, int command, long argument);
int __wrap_fcntl(int fd, int command, long argument);
int __wrap_fcntl(int fd, int command, long argument)
{
    if (fails("fcntl")) {
        errno = ENOLCK;
        return -1;
    }
    return __real_fcntl(fd, command, argument);
}

/* What is made by syscall() is pidfd_open(). */
long __real_syscall(long number, long first, long second);
long __wrap_syscall(long number, long first, long second);
long __wrap_syscall(long number, long first, long second)
{
    if (fails("syscall")) {
        errno = EMFILE;
        return -1;
    }
    return __real_syscall(number, first, second);
}

static struct {
    const char *name;
    atomic_uint made;
} calls[] = {
    {"socket", 0},
    {"connect", 0},
    {"bind", 0},
    {"listen", 0},
    {"getsockname", 0},
    {"setsockopt", 0},
    {"getsockopt", 0},
    {"socketpair", 0},
    {"epoll_create1", 0},
    {"epoll_ctl", 0},
    {"eventfd", 0},
    {"pipe2", 0},
    {"dup3", 0},
    {"fstat", 0},
    {"fchownat", 0},
    {"getrandom", 0},
    {"posix_spawn", 0},
    {"posix_spawn_file_actions_init", 0},
    {"posix_spawnattr_init", 0},
    {"posix_spawn_file_actions_addopen", 0},
    {"posix_spawn_file_actions_adddup2", 0},
    {"posix_spawn_file_actions_addclosefrom_np", 0},
    {"posix_spawn_file_actions_addchdir_np", 0},
    {"pthread_create", 0},
    {"pthread_attr_init", 0},
    {"pthread_attr_setstacksize", 0},
    {"uv_loop_init", 0},
    {"uv_async_init", 0},
    {"uv_poll_init", 0},
    {"ares_library_init", 0},
    {"ares_init_options", 0},
    {"mg_start2", 0},
    {"mg_get_server_ports", 0},
    {"fcntl", 0},
    {"syscall", 0},
};
#define CALLS (sizeof calls / sizeof calls[0])

static bool fails(const char *call)
{
    size_t i = 0;
    while (strcmp(calls[i].name, call) != 0)
        i++;
    unsigned number = atomic_fetch_add(&calls[i].made, 1) + 1;
    if (failing == NULL || strcmp(failing, call) != 0 || number != failing_number)
        return false;
    atomic_fetch_add(&failed, 1);
    return true;
}

static void fail_call(const char *call, unsigned number)
{
    for (size_t i = 0; i < CALLS; i++)
        atomic_store(&calls[i].made, 0);
    atomic_store(&failed, 0);
    failing_number = number;
    failing = call;
}

/* Lets each call that the scenario makes fail at each of its times; returns how often one did. */
static unsigned fail_each(void (*scenario)(void))
{
    unsigned made[CALLS], all = 0;
    scenario(); /* what libraries keep open from their first use on */
    fail_call(NULL, 0);
    scenario();
    for (size_t i = 0; i < CALLS; i++)
        made[i] = atomic_load(&calls[i].made);
    for (size_t i = 0; i < CALLS; i++) {
        for (unsigned number = 1; number <= made[i]; number++) {
            int before = ask_descriptors(), faults = testing_faults;
            fail_call(calls[i].name, number);
            scenario();
            failing = NULL;
            all += atomic_load(&failed);
            EXPECT_INT(ask_descriptors(), before);
            if (testing_faults > faults)
                printf("# when call %u of %s() failed\n", number, calls[i].name);
        }
    }
    return all;
}

/* ---- what starts ---- */

static void make_loop(void)
{
    struct loop *loop = NULL;
    int r = loop_new(&loop);
    EXPECT((r == 0) == (loop != NULL));
    EXPECT((r < 0) == (atomic_load(&failed) > 0));
    loop_free(loop);
}

TEST(a_loop)
{
    EXPECT(fail_each(make_loop) >= 3);
}

static struct config *config;

static int on_publish(void *arg, struct config *of, const struct target_view *const *views,
                      size_t count)
{
    (void)arg;
    (void)of;
    (void)views;
    (void)count;
    return 0;
}

static void on_beat(void *arg)
{
    (void)arg;
}

static void run_checker(void)
{
    static const struct checker_hooks hooks = {.publish = on_publish, .beat = on_beat};
    struct checker *checker = NULL;
    int r = checker_start(config, 100, &hooks, &checker);
    EXPECT((r == 0) == (checker != NULL));
    checker_stop(checker);
}

TEST(the_checker)
{
    config = ask_config("dependencies = ();");
    if (EXPECT(config != NULL))
        EXPECT(fail_each(run_checker) >= 5);
    config = config_unref(config);
}

static char socket_path[100];

static void run_server(void)
{
    struct server *made = NULL;
    struct strbuf sentence;
    strbuf_init(&sentence, 1024);
    int r = server_start(config, &made, &sentence);
    EXPECT((r == 0) == (made != NULL));
    EXPECT((r == 0) == (sentence.len == 0));
    server_stop(made);
    EXPECT_INT(access(socket_path, F_OK), -1);
    strbuf_done(&sentence);
}

TEST(the_server)
{
    char folder[] = "/tmp/test_failing.XXXXXX", text[300];
    if (!EXPECT(mkdtemp(folder) != NULL))
        return;
    (void)snprintf(socket_path, sizeof socket_path, "%s/s", folder);
    (void)snprintf(text, sizeof text, "workers = 1; listen = [ \"127.0.0.1:0\", \"unix:%s\" ];",
                   socket_path);
    config = ask_config(text);
    EXPECT_INT(board_open(), 0);
    if (EXPECT(config != NULL))
        EXPECT(fail_each(run_server) >= 20);
    board_close();
    config = config_unref(config);
    EXPECT_INT(rmdir(folder), 0);
}

/* ---- what checks ---- */

#define MOST_CHECKED 16

static enum outcome otherwise[MOST_CHECKED];
static struct asked asked[MOST_CHECKED];

static const char *planned;
static unsigned planned_number;

/* From when on the loop and the engine are there. */
static void begin_failing(struct asking *round)
{
    (void)round;
    fail_call(planned, planned_number);
}

static void check_all(void)
{
    const struct ask_options options = {.before = begin_failing};
    planned = failing;
    planned_number = failing_number;
    failing = NULL;
    for (size_t i = 0; i < config->target_count; i++)
        asked[i] = (struct asked){.conf = config->targets[i]};
    EXPECT_INT(ask(asked, config->target_count, &options), 0);
    for (size_t i = 0; i < config->target_count; i++) {
        const struct probe_result *r = &asked[i].result;
        if (planned == NULL)
            otherwise[i] = r->outcome;
        if (asked[i].start_error == 0 && r->outcome != otherwise[i] &&
            !EXPECT_INT(outcome_class(r->outcome), OUTCOME_CLASS_NOT_TRIED))
            printf("# %s: %s %s\n", asked[i].conf->name, outcome_token(r->outcome), r->text);
    }
}

/* A port that nobody listens at: it is bound, so that nobody comes to. */
static int take_port(int type, uint16_t *ret_port)
{
    struct sockaddr_in at = {.sin_family = AF_INET, .sin_addr.s_addr = htonl(INADDR_LOOPBACK)};
    socklen_t len = sizeof at;
    int fd = socket(AF_INET, type, 0);
    EXPECT_INT(bind(fd, (struct sockaddr *)&at, len), 0);
    EXPECT_INT(getsockname(fd, (struct sockaddr *)&at, &len), 0);
    *ret_port = ntohs(at.sin_port);
    return fd;
}

TEST(checks)
{
    uint16_t open_port, closed_port, closed_udp;
    int listening = take_port(SOCK_STREAM, &open_port);
    int taken = take_port(SOCK_STREAM, &closed_port);
    int udp = take_port(SOCK_DGRAM, &closed_udp);
    struct strbuf text;
    EXPECT_INT(listen(listening, 64), 0);
    close(udp);
    strbuf_init(&text, 4096);
    strbuf_addf(&text,
                "defaults = { period = \"1h\"; timeout = \"%llds\"; };\n"
                "dependencies = ( { name = \"open\"; url = \"tcp://127.0.0.1:%u\"; },\n"
                "{ name = \"closed\"; url = \"http://127.0.0.1:%u/\"; },\n"
                "{ name = \"names\"; url = \"dns://127.0.0.1:%u/a.test\"; },\n"
                "{ name = \"time\"; url = \"ntp://127.0.0.1:%u\"; },\n"
                "{ name = \"unix\"; url = \"http+unix:///nonexistent/socket\"; },\n"
                "{ name = \"echo\"; url = \"icmp://127.0.0.1\"; },\n"
                "{ name = \"command\"; exec = [ \"/bin/true\" ]; },\n"
                "{ name = \"file\"; url = \"file:///etc/passwd\"; match = \"root\"; } );",
                20LL * (long long)ask_scale(), open_port, closed_port, closed_udp, closed_udp);
    config = ask_config(text.data);
    strbuf_done(&text);
    if (EXPECT(config != NULL)) {
        EXPECT(fail_each(check_all) >= 20);
        EXPECT_STR(outcome_token(otherwise[0]), "ok");
        EXPECT_STR(outcome_token(otherwise[6]), "ok");
        EXPECT_STR(outcome_token(otherwise[7]), "ok");
    }
    config = config_unref(config);
    close(listening);
    close(taken);
}

int main(void)
{
    signal(SIGPIPE, SIG_IGN); /* as the daemon does */
    alarm((unsigned)(280 * ask_scale()));
    RUN(a_loop);
    RUN(the_checker);
    RUN(the_server);
    RUN(checks);
    return testing_end();
}
