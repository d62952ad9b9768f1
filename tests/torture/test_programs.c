/*
 * The program as it is typed, without memory: -t, -1, -q, and the daemon's start and its reload. It
 * says what it says with memory, or that there is none, by exit code and by a line.
 *
 * Each run is a process of its own that calls main(): a fork of this one, warm and quick.
 */
#ifdef HAVE_CONFIG_H
#include <config.h>
#endif

int healthsvc_main(int argc, char **argv);
#define main healthsvc_main
#include "main.c" /* NOLINT(bugprone-suspicious-include): as said above */
#undef main

#include "torture.h"

#include "../asking.h"
#include "../peers.h"
#include "../lessons.h"

#include <fcntl.h>
#include <netinet/in.h>
#include <sys/mman.h>
#include <sys/socket.h>
#include <sys/wait.h>
#include <time.h>

#define OUTPUT_BYTES (1 << 20)
#define LASTING_POINTS 4

static char folder[] = "/tmp/healthsvc-torture-XXXXXX";
static char good_conf[64], faulty_conf[64], output_file[64];

/* What a process has done is seen when it has ended. */
static struct failing *plan;

struct ending {
    int status;
    char output[OUTPUT_BYTES]; /* of both streams */
};

static void read_output(struct ending *e)
{
    int fd = open(output_file, O_RDONLY | O_CLOEXEC);
    ssize_t len = fd >= 0 ? read(fd, e->output, sizeof e->output - 1) : -1;
    if (len < 0)
        abort();
    e->output[len] = '\0';
    close(fd);
}

static pid_t launch(const char *const *argv, enum failing_mode mode, unsigned long n)
{
    int argc = 0;
    while (argv[argc] != NULL)
        argc++;
    fflush(stdout);
    pid_t pid = fork();
    if (pid != 0)
        return pid;
    int fd = open(output_file, O_WRONLY | O_CREAT | O_TRUNC | O_APPEND, 0600);
    (void)dup2(fd, STDOUT_FILENO);
    (void)dup2(fd, STDERR_FILENO);
    (void)signal(SIGSEGV, SIG_DFL);
    (void)signal(SIGABRT, SIG_DFL);
    failing_use(plan);
    failing_begin(mode, n, false);
    int code = healthsvc_main(argc, (char **)(uintptr_t)argv);
    failing_end();
    exit(code);
}

static void run_to_end(const char *const *argv, enum failing_mode mode, unsigned long n,
                       struct ending *ret)
{
    pid_t pid = launch(argv, mode, n);
    EXPECT(pid > 0 && waitpid(pid, &ret->status, 0) == pid);
    read_output(ret);
}

/* ---- commands ---- */

struct command {
    const char *name;
    const char *argv[8];
    int code;         /* with memory */
    const char *says; /* in its output then */
    int failed_code;  /* without */
    int unasked_code; /* a dependency could not be asked */
    bool threads;     /* it begins some */
};

/* It exits with the right code after saying what it says, or with that for what could not be done,
 * after a line that says so; -1 may also say that it could not ask. */
static bool is_honest(const struct command *c, const struct ending *e)
{
    if (!WIFEXITED(e->status))
        return false;
    int code = WEXITSTATUS(e->status);
    if (code == c->code && strstr(e->output, c->says) != NULL)
        return true;
    bool not_asked = strstr(e->output, "not checked yet") != NULL;
    return e->output[0] != '\0' &&
           (code == c->failed_code || (not_asked && code == c->unasked_code));
}

static void try_command(const struct command *c, enum failing_mode mode, unsigned long n)
{
    static struct ending e;
    run_to_end(c->argv, mode, n, &e);
    if (!EXPECT(is_honest(c, &e)))
        printf("# %s, allocation %lu%s: status 0x%x, said: %s\n", c->name, n,
               mode == FAILING_REST ? " and all that follow" : "", (unsigned)e.status, e.output);
}

static const struct command *present;

static void run_command(void)
{
    const struct command *c = present;
    const char *how = getenv("HEALTHSVC_TORTURE");
    static struct ending e;
    run_to_end(c->argv, FAILING_ONE, ULONG_MAX, &e);
    unsigned long count = atomic_load(&plan->seen), runs = 0;
    if (!EXPECT(WIFEXITED(e.status) && WEXITSTATUS(e.status) == c->code) ||
        !EXPECT_HAS(e.output, c->says))
        return;
    unsigned long step = how != NULL && strcmp(how, "all") == 0 ? 1 : 1 + count / TORTURE_POINTS;
    for (unsigned long n = 1; n <= count; n += step) {
        try_command(c, FAILING_ONE, n);
        runs++;
    }
    /* -1 waits a second each time before it gives its verdict up. */
    for (unsigned long n = 1; n <= count; n += 1 + count / LASTING_POINTS) {
        try_command(c, FAILING_REST, n);
        runs++;
    }
    printf("# %s: %lu allocations, %lu runs\n", c->name, count, runs);
}

static char target[64];

static const struct command commands[] = {
    {"-t", {"healthsvc", "-t", "-c", good_conf}, 0, "ok, 2 dependencies", 1, 1, false},
    {"-t of faults",
     {"healthsvc", "-t", "-c", faulty_conf},
     2,
     "unknown setting 'perod'",
     1,
     1,
     false},
    {"-1", {"healthsvc", "-1", "-c", good_conf}, 0, "peer status: OK", 2, 1, true},
    {"-1 for a monitor", {"healthsvc", "-1", "-f", "nagios", "-c", good_conf}, 0, "OK", 3, 2, true},
    {"-q", {"healthsvc", "-q", target}, 0, "ok", 1, 1, true},
    {"-q for a monitor", {"healthsvc", "-q", target, "-f", "nagios"}, 0, "OK", 3, 3, true},
    {"-V", {"healthsvc", "-V"}, 0, "healthsvc " PACKAGE_VERSION, 0, 0, false},
};

/* ---- the daemon ---- */

#define SHORT_MS 3000
#define PER_MILLION 20000 /* of all its allocations */
#define RELOAD_EACH 20    /* requests */

/* How often the text is in what the daemon has said. */
static unsigned count_said(const char *text)
{
    static struct ending e;
    unsigned count = 0;
    read_output(&e);
    for (const char *at = e.output; (at = strstr(at, text)) != NULL; at++)
        count++;
    return count;
}

static bool wait_said(const char *text, unsigned times)
{
    static const struct timespec tick = {.tv_nsec = 5000000};
    for (int64_t left_ms = 20000 * ask_scale(); left_ms > 0; left_ms -= 5) {
        if (count_said(text) >= times)
            return true;
        nanosleep(&tick, NULL);
    }
    return false;
}

static uint16_t port_said(void)
{
    static struct ending e;
    read_output(&e);
    const char *at = strstr(e.output, "listening on 127.0.0.1:");
    return at != NULL ? (uint16_t)strtoul(at + 23, NULL, 10) : 0;
}

/* What comes of a GET /health on a connection of its own; "": nothing. */
static void get_health(uint16_t port, char *to, size_t room)
{
    static const char request[] = "GET /health HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n";
    struct sockaddr_in addr = {
        .sin_family = AF_INET, .sin_port = htons(port), .sin_addr.s_addr = htonl(INADDR_LOOPBACK)};
    struct timeval limit = {.tv_sec = 5 * ask_scale()};
    size_t len = 0;
    ssize_t n = 0;
    int fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
    (void)setsockopt(fd, SOL_SOCKET, SO_RCVTIMEO, &limit, sizeof limit);
    if (connect(fd, (struct sockaddr *)&addr, sizeof addr) == 0 &&
        send(fd, request, sizeof request - 1, MSG_NOSIGNAL) > 0) {
        while ((n = recv(fd, to + len, room - 1 - len, 0)) > 0)
            len += (size_t)n;
    }
    to[len] = '\0';
    close(fd);
}

static bool is_well(const char *answer)
{
    return strncmp(answer, "HTTP/1.1 200 ", 13) == 0 && strstr(answer, "x status: OK\n") != NULL &&
           strstr(answer, "peer status: OK\n") != NULL;
}

/* All dependencies are well the whole time: who says otherwise lies, unless it has not asked. */
static bool is_true(const char *answer)
{
    return answer[0] == '\0' || is_well(answer) ||
           (strncmp(answer, "HTTP/1.1 500 ", 13) == 0 &&
            (strstr(answer, "no memory") != NULL || strstr(answer, "not checked yet") != NULL));
}

TEST(the_daemon_short_of_memory_for_a_while)
{
    static const char *const argv[] = {"healthsvc", "-c", good_conf, NULL};
    char answer[4096];
    unsigned requests = 0, well = 0;
    int status = 0;
    pid_t pid = launch(argv, FAILING_NONE, 0);
    if (!EXPECT(wait_said("serving the health of x", 1)))
        return;
    uint16_t port = port_said();
    int64_t until_ms = clock_mono_ms() + SHORT_MS * ask_scale();
    atomic_store(&plan->n, PER_MILLION);
    atomic_store(&plan->mode, FAILING_RANDOM);
    while (clock_mono_ms() < until_ms) {
        get_health(port, answer, sizeof answer);
        requests++;
        well += is_well(answer);
        if (!EXPECT(is_true(answer)))
            printf("# said: %s\n", answer);
        if (requests % RELOAD_EACH == 0)
            (void)kill(pid, SIGHUP);
    }
    atomic_store(&plan->mode, FAILING_NONE);
    EXPECT(waitpid(pid, &status, WNOHANG) == 0); /* it is there */
    EXPECT(atomic_load(&plan->refused) > 0);
    unsigned reloads = count_said("reloaded: ");
    (void)kill(pid, SIGHUP);
    EXPECT(wait_said("reloaded: ", reloads + 1));
    bool recovered = false;
    for (until_ms = clock_mono_ms() + 20000 * ask_scale();
         !recovered && clock_mono_ms() < until_ms;) {
        get_health(port, answer, sizeof answer);
        recovered = is_well(answer);
    }
    EXPECT(recovered);
    (void)kill(pid, SIGTERM);
    EXPECT(waitpid(pid, &status, 0) == pid);
    EXPECT_INT(status, 0);
    printf("# the daemon: %lu of %lu allocations refused, %u requests, %u answered well, "
           "%u reloads, %u refused\n",
           atomic_load(&plan->refused), atomic_load(&plan->seen), requests, well, reloads,
           count_said("keeping the running configuration"));
}

static void write_file(const char *path, const char *text)
{
    FILE *file = fopen(path, "w");
    if (file == NULL || fputs(text, file) < 0 || fclose(file) != 0)
        abort();
}

int main(void)
{
    struct peers peers;
    char text[512];
    plan = mmap(NULL, sizeof *plan, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0);
    if (plan == MAP_FAILED || mkdtemp(folder) == NULL ||
        peers_start(&peers, &lesson_find("http")->script, PEER_PLAIN, NULL, NULL) != 0 ||
        !failing_spare("libconfig") || !failing_spare("libuv")) /* these end the process */
        return 1;
    (void)snprintf(good_conf, sizeof good_conf, "%s/good.conf", folder);
    (void)snprintf(faulty_conf, sizeof faulty_conf, "%s/faulty.conf", folder);
    (void)snprintf(output_file, sizeof output_file, "%s/output", folder);
    (void)snprintf(target, sizeof target, "http://127.0.0.1:%u/health", peers.ports[PEER_RIGHT]);
    (void)snprintf(text, sizeof text,
                   "name = \"x\"; listen = \"127.0.0.1:0\"; workers = 2;\n"
                   "defaults = { period = \"%llds\"; };\n"
                   "dependencies = ( { name = \"peer\"; url = \"http://127.0.0.1:%u/\"; },\n"
                   "  { name = \"command\"; exec = \"/bin/true\"; } );\n",
                   2 * (long long)ask_scale(), peers.ports[PEER_RIGHT]);
    write_file(good_conf, text);
    write_file(faulty_conf, "perod = 1;\ndependencies = ( { name = \"a\"; } );\n");
    for (size_t i = 0; i < sizeof commands / sizeof commands[0]; i++) {
        present = &commands[i];
        if (FAILING_MAY_BEGIN_THREADS || !present->threads)
            testing_run(present->name, run_command);
    }
    if (FAILING_MAY_BEGIN_THREADS)
        RUN(the_daemon_short_of_memory_for_a_while);
    peers_stop(&peers);
    (void)unlink(good_conf);
    (void)unlink(faulty_conf);
    (void)unlink(output_file);
    (void)rmdir(folder);
    return testing_end();
}
