/*
 * A configuration without memory: it is loaded, or there is no memory for it. No fault is told that
 * is none, and there is never a half of one.
 *
 * libconfig's own allocations are spared but in cases of their own: it does not check them.
 */
#ifdef HAVE_CONFIG_H
#include <config.h>
#endif

#include "torture.h"

#include "../certs.h"

#include <healthsvc/config.h>
#include <healthsvc/probe.h>
#include <healthsvc/strbuf.h>

#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/resource.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

static char folder[] = "/tmp/healthsvc-torture-XXXXXX";

static const char *in_folder(const char *name)
{
    static char path[128];
    (void)snprintf(path, sizeof path, "%s/%s", folder, name);
    return path;
}

static void write_file(const char *name, const char *text)
{
    FILE *file = fopen(in_folder(name), "w");
    if (file == NULL || fputs(text, file) < 0 || fclose(file) != 0)
        abort();
}

/* ---- what is loaded ---- */

#define TARGETS 6
static const char wide_text[] =
    "listen = ( \"127.0.0.1:0\", { address = \"unix:/tmp/s\"; group = \"root\"; mode = \"0600\";\n"
    "  serve = [ \"health\", \"live\" ]; workers = 4; } );\n"
    "workers = 8; shutdown_delay = \"2s\";\n"
    "nameservers = [ \"127.0.0.1:5353\", \"10.0.0.2\" ];\n"
    "details_for = [ \"10.0.0.0/8\", \"::1\" ]; details_token_file = \"secret\";\n"
    "defaults = { period = \"30s\"; timeout = \"2s\"; headers = \"X-Default: 1\";\n"
    "  password_file = \"secret\"; };\n"
    "dependencies = (\n"
    "  @include \"more.d/*.conf\"\n"
    "  { name = \"api\"; url = \"http://api.test:8080/health?a=b\"; user = \"joe\";\n"
    "    expect_status = ( \"2xx\", 301 ); expect_body = \"up|ok\"; headers = [ \"X-A: 1\" ];\n"
    "    expect_headers = [ \"X-Up: ^1\", \"!X-Down\" ]; }\n"
    ");\n";
static const char more_text[] =
    "  { name = \"disk\"; exec = [ \"/bin/true\", \"-w\", \"10\" ]; }\n"
    "  { name = \"file\"; url = \"file:///tmp/x\"; match = \"a.c\"; }\n"
    "  { name = \"script\"; url = \"tcp://[::1]:25\"; script = ( \"expect 220\",\n"
    "      \"send_line EHLO x\", \"expect_match ^250 \" ); }\n"
    "  { name = \"unix\"; url = \"http+unix:///run/a.sock:/x\"; password_env = \"HS_SECRET\"; }\n"
    "  { name = \"dns\"; url = \"dns://127.0.0.1/a.test\"; }\n";

/* Faults of every room: the text, the top level, the defaults, a URL, a pattern, a file. */
static const char faulty_text[] =
    "name = \"\"; perod = 3; listen = \"nowhere\"; nameservers = \"x\"; details_for = \"y\";\n"
    "details_token_file = \"missing\";\n"
    "defaults = { fall = 0; nme = 1; };\n"
    "dependencies = (\n"
    "  { name = \"a\"; url = \"http://a b/\"; },\n"
    "  { name = \"a\"; url = \"http://x/\"; expect_body = \"(\"; },\n"
    "  { name = \"b\"; url = \"http://x/\"; period = \"1s\"; timeout = \"2s\"; },\n"
    "  { name = \"c\"; exec = \"relative\"; },\n"
    "  { url = \"gopher://x/\"; },\n"
    "  { name = \"d\"; url = \"redis://h\"; password_file = \"missing\"; },\n"
    "@include \"gone\"\n"
    "  { name = \"e\"; url = \"tcp://h:1\"; script = ( \"say x\" ); }\n"
    ");\n";

#ifdef HAVE_JANSSON
#define JSON_RULES "expect_json = [ \"/a = 3\", \"/b != word\", \"!/c\" ];"
#else
#define JSON_RULES ""
#endif
static const char tls_text[] =
    "dependencies = (\n"
    "  { name = \"a\"; url = \"https://127.0.0.1:1/\"; ca_file = \"ca.pem\"; " JSON_RULES " },\n"
    "  { name = \"b\"; url = \"tls://127.0.0.1:1\"; ca_file = \"ca.pem\"; cert_file = \"ca.pem\";\n"
    "    key_file = \"ca.key\"; } );\n";

#define MANY 300

/* OpenSSL's one-time work is to be left to the loads, so certificates are made in another process. */
static bool make_certificate(void)
{
    pid_t pid = fork();
    int status;
    if (pid == 0) {
        const struct cert_spec spec = {.name = "ca", .san = "IP:127.0.0.1", .ca = true};
        struct cert cert = cert_make(&spec);
        cert_write(in_folder("ca.pem"), &cert);
        cert_write_key(in_folder("ca.key"), &cert, NULL);
        cert_free(&cert);
        exit(0);
    }
    return waitpid(pid, &status, 0) == pid && status == 0;
}

static void write_many(void)
{
    struct strbuf text;
    strbuf_init(&text, 1 << 20);
    strbuf_adds(&text, "dependencies = (\n");
    for (int i = 0; i < MANY; i++)
        strbuf_addf(&text, "{ name = \"d%d\"; url = \"http://10.0.0.1/%d\"; period = \"9s\"; }\n",
                    i, i);
    strbuf_adds(&text, ");\n");
    write_file("many.conf", text.data);
    strbuf_done(&text);
}

/* ---- one load ---- */

struct told {
    unsigned count;
    char text[4096];
};

static void on_fault(void *arg, const char *text)
{
    struct told *told = arg;
    size_t len = strlen(told->text);
    told->count++;
    (void)snprintf(told->text + len, sizeof told->text - len, "%s\n", text);
}

struct load {
    const char *file;
    size_t targets; /* 0: it is faulty */
};

static struct told faults_with_memory;

static void load_once(const void *arg)
{
    const struct load *load = arg;
    struct config *config = NULL;
    struct told told = {0};
    torture_begin();
    int r = config_load(in_folder(load->file), on_fault, &told, &config);
    torture_end();
    if (r == 0) {
        EXPECT_INT(config->target_count, load->targets);
        config_unref(config);
        return;
    }
    EXPECT(config == NULL);
    if (load->targets > 0) {
        EXPECT(torture_struck());
        EXPECT_INT(r, -ENOMEM);
    } else if (r != -ENOMEM) {
        EXPECT_INT(r, -EINVAL);
        EXPECT_STR(told.text, faults_with_memory.text);
    }
    /* What was told before there was no memory left is true. */
    if (!EXPECT(strncmp(told.text, faults_with_memory.text, strlen(told.text)) == 0))
        printf("# told: %s", told.text);
    if (!torture_struck() && load->targets == 0)
        EXPECT_INT(r, -EINVAL);
}

static void torture_load(const char *name, const char *file, size_t targets)
{
    const struct load load = {.file = file, .targets = targets};
    struct config *config = NULL;
    memset(&faults_with_memory, 0, sizeof faults_with_memory);
    int r = config_load(in_folder(file), on_fault, &faults_with_memory, &config);
    EXPECT_INT(r, targets > 0 ? 0 : -EINVAL);
    config_unref(config);
    torture(&(struct torture){.name = name, .once = load_once, .arg = &load});
}

/* ---- in a process of its own ---- */

/* Runs fn(n) there, in silence. Returns the status of its end. */
static int apart(int (*fn)(unsigned long n), unsigned long n)
{
    int status = -1;
    fflush(stdout);
    pid_t pid = fork();
    if (pid == 0) {
        int null = open("/dev/null", O_WRONLY);
        (void)signal(SIGSEGV, SIG_DFL);
        (void)dup2(null, STDOUT_FILENO);
        (void)dup2(null, STDERR_FILENO);
        _exit(fn(n));
    }
    EXPECT(waitpid(pid, &status, 0) == pid);
    return status;
}

static struct failing *shared_plan; /* what a process has done is seen when it has ended */

static bool exited_with(int status, int code)
{
    return WIFEXITED(status) && WEXITSTATUS(status) == code;
}

static int load_quietly(const char *file, size_t targets)
{
    struct told told = {0};
    struct config *config = NULL;
    int r = config_load(in_folder(file), on_fault, &told, &config);
    if (r == 0 && config->target_count != targets)
        return -EPROTO;
    config_unref(config);
    return r;
}

/* OpenSSL does much once in a process, and what fails it does not always try again. Then a
 * configuration with TLS is refused from then on, and no check lies. */
static int load_cold(unsigned long n)
{
    failing_use(shared_plan);
    failing_begin(FAILING_ONE, n, true);
    int first = load_quietly("tls.conf", 2);
    failing_end();
    if (first != 0 && first != -ENOMEM)
        return 10;
    int second = load_quietly("tls.conf", 2);
    return second == 0 ? 0 : second == -EINVAL ? 1 : 11;
}

TEST(tls_is_loaded_or_refused_after_a_first_try_without_memory)
{
    const char *how = getenv("HEALTHSVC_TORTURE");
    EXPECT_INT(apart(load_cold, ULONG_MAX), 0);
    unsigned long count = atomic_load(&shared_plan->seen), runs = 0, refused = 0;
    unsigned long step = how != NULL && strcmp(how, "all") == 0 ? 1 : 1 + count / TORTURE_POINTS;
    for (unsigned long n = 1; n <= count; n += step, runs++) {
        int status = apart(load_cold, n);
        refused += exited_with(status, 1);
        if (!EXPECT(exited_with(status, 0) || exited_with(status, 1)))
            printf("# that was with allocation %lu: status 0x%x\n", n, (unsigned)status);
    }
    EXPECT(refused < 2 + runs / 10);
    printf("# tls for the first time: %lu allocations, %lu runs, %lu need a new start\n", count,
           runs, refused);
}

static int load_with_libconfig(unsigned long n)
{
    failing_use(shared_plan);
    failing_begin(FAILING_ONE, n, true);
    int r = load_quietly("wide.conf", TARGETS);
    failing_end();
    return r == 0 ? 0 : r == -ENOMEM ? 10 : 11;
}

/* The library ends the process, in words of its own or without. What it must not do is return with
 * something else than was written. */
TEST(libconfig_without_memory_loads_nothing_else)
{
    unsigned long refused = 0, loaded = 0, ended = 0;
    failing_spare(NULL);
    for (unsigned long n = 1;; n += TORTURE_STEP) {
        int status = apart(load_with_libconfig, n);
        if (atomic_load(&shared_plan->refused) == 0)
            break;
        refused += exited_with(status, 10);
        loaded += exited_with(status, 0);
        ended += !exited_with(status, 10) && !exited_with(status, 0);
        if (!EXPECT(!exited_with(status, 11)))
            printf("# that was with allocation %lu\n", n);
    }
    EXPECT(failing_spare("libconfig"));
    printf("# libconfig: %lu without memory, %lu loaded all the same, %lu ended the process\n",
           refused, loaded, ended);
}

#if !defined __SANITIZE_ADDRESS__ && !defined __SANITIZE_THREAD__ /* their memory has no limit */

#define LIMIT_STEP_BYTES 16384

static int load_within(unsigned long more_bytes)
{
    struct rlimit limit;
    unsigned long pages = 0;
    FILE *file = fopen("/proc/self/statm", "r");
    /* NOLINTNEXTLINE(cert-err34-c): the kernel's own number, which fits */
    if (file == NULL || fscanf(file, "%lu", &pages) != 1)
        return 2;
    fclose(file);
    limit.rlim_cur = limit.rlim_max = pages * (unsigned long)getpagesize() + more_bytes;
    if (setrlimit(RLIMIT_AS, &limit) != 0)
        return 3;
    int r = load_quietly("many.conf", MANY);
    return r == 0 ? 0 : r == -ENOMEM ? 1 : 4;
}

/* The way memory does run short: from some moment on the kernel gives no more. */
TEST(a_limit_of_memory_ends_no_process)
{
    unsigned long bytes = 0, short_of = 0;
    int status;
    do {
        status = apart(load_within, bytes);
        if (!EXPECT(exited_with(status, 0) || exited_with(status, 1)))
            printf("# that was with %lu bytes more: status 0x%x\n", bytes, (unsigned)status);
        short_of += exited_with(status, 1);
        bytes += LIMIT_STEP_BYTES;
    } while (!exited_with(status, 0) && bytes < 64UL << 20);
    EXPECT(short_of > 10);
    printf("# a limit: %lu too low, the first that will do is %lu bytes more\n", short_of,
           bytes - LIMIT_STEP_BYTES);
}

#endif

static void clear_up(void)
{
    static const char *const names[] = {"more.d/1.conf", "more.d",      "ca.pem",
                                        "ca.key",        "secret",      "wide.conf",
                                        "tls.conf",      "faulty.conf", "many.conf"};
    for (size_t i = 0; i < sizeof names / sizeof names[0]; i++)
        (void)remove(in_folder(names[i]));
    (void)rmdir(folder);
}

int main(void)
{
    shared_plan =
        mmap(NULL, sizeof *shared_plan, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0);
    if (shared_plan == MAP_FAILED || mkdtemp(folder) == NULL || !make_certificate() ||
        mkdir(in_folder("more.d"), 0700) != 0 || !failing_spare("libconfig"))
        return 1;
    (void)setenv("HS_SECRET", "hidden", 1);
    write_file("secret", "hidden\n");
    write_file("wide.conf", wide_text);
    write_file("more.d/1.conf", more_text);
    write_file("faulty.conf", faulty_text);
    write_file("tls.conf", tls_text);
    write_many();
    probe_init();
    RUN(tls_is_loaded_or_refused_after_a_first_try_without_memory);
    RUN(libconfig_without_memory_loads_nothing_else);
#if !defined __SANITIZE_ADDRESS__ && !defined __SANITIZE_THREAD__
    RUN(a_limit_of_memory_ends_no_process);
#endif
    torture_load("load", "wide.conf", TARGETS);
    torture_load("load of faults", "faulty.conf", 0);
    torture_load("load with tls", "tls.conf", 2);
    clear_up();
    return testing_end();
}
