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
#include "main.c"
#undef main

#include "torture.h"

#include "../asking.h"
#include "../peers.h"
#include "../lessons.h"

#include <fcntl.h>
#include <sys/mman.h>
#include <sys/wait.h>

#define OUTPUT_BYTES 16384
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
    struct ending e;
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
    struct ending e;
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
    {"-t", {"healthsvc", "-t", "-c", good_conf}, 0, "ok, 2 dependencies", 1, 1},
    {"-t of faults", {"healthsvc", "-t", "-c", faulty_conf}, 2, "unknown setting 'perod'", 1, 1},
    {"-1", {"healthsvc", "-1", "-c", good_conf}, 0, "peer status: OK", 2, 1},
    {"-1 for a monitor", {"healthsvc", "-1", "-f", "nagios", "-c", good_conf}, 0, "OK", 3, 2},
    {"-q", {"healthsvc", "-q", target}, 0, "ok", 1, 1},
    {"-q for a monitor", {"healthsvc", "-q", target, "-f", "nagios"}, 0, "OK", 3, 3},
    {"-V", {"healthsvc", "-V"}, 0, "healthsvc " PACKAGE_VERSION, 0, 0},
};

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
                   "dependencies = ( { name = \"peer\"; url = \"http://127.0.0.1:%u/\"; },\n"
                   "  { name = \"command\"; exec = \"/bin/true\"; } );\n",
                   peers.ports[PEER_RIGHT]);
    write_file(good_conf, text);
    write_file(faulty_conf, "perod = 1;\ndependencies = ( { name = \"a\"; } );\n");
    for (size_t i = 0; i < sizeof commands / sizeof commands[0]; i++) {
        present = &commands[i];
        testing_run(present->name, run_command);
    }
    peers_stop(&peers);
    (void)unlink(good_conf);
    (void)unlink(faulty_conf);
    (void)unlink(output_file);
    (void)rmdir(folder);
    return testing_end();
}
