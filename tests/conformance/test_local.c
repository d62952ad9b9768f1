/*
 * The schemes that ask this machine itself, a command or a file, with all that can go wrong there:
 * each check ends once and in time, with the right outcome, and leaves neither descriptor nor
 * process. Commands are written for /bin/sh.
 */
#include "../asking.h"
#include "../testing.h"

#include "probe/children.h"

#include <healthsvc/stats.h>
#include <healthsvc/strbuf.h>

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

static char folder[] = "/tmp/healthsvc-local-XXXXXX";
static struct config *config;
static struct asked asked[128];
static size_t count;

/* Loads dependencies: each a row of settings, with the same timeout. */
static bool load(const char *const *rows, size_t rows_count, int64_t timeout_ms)
{
    struct strbuf text;
    strbuf_init(&text, 65536);
    strbuf_adds(&text, "dependencies = (");
    for (size_t i = 0; i < rows_count; i++)
        strbuf_addf(&text, "%s{ name = \"d%zu\"; period = \"1h\"; timeout = \"%lldms\"; %s }",
                    i > 0 ? ",\n" : "\n", i, (long long)timeout_ms * (long long)ask_scale(),
                    rows[i]);
    strbuf_adds(&text, ");\n");
    config = ask_config(text.data);
    strbuf_done(&text);
    memset(asked, 0, sizeof asked);
    if (!EXPECT(config != NULL) || !EXPECT(config->target_count <= sizeof asked / sizeof asked[0]))
        return false;
    count = config->target_count;
    for (size_t i = 0; i < count; i++)
        asked[i].conf = config->targets[i];
    return true;
}

static void unload(void)
{
    config = config_unref(config);
}

/* Every child has been reaped. */
static void expect_no_child(void)
{
    EXPECT_INT(waitpid(-1, NULL, WNOHANG), -1);
    EXPECT_INT(errno, ECHILD);
    EXPECT_INT(atomic_load(&stats.children), 0);
    EXPECT_INT(atomic_load(&stats.children_waiting), 0);
}

static void run(void)
{
    EXPECT_INT(ask(asked, count, NULL), 0);
    expect_no_child();
}

#define SHELL(script) "exec = [ \"/bin/sh\", \"-c\", \"" script "\" ];"

struct row {
    const char *settings;
    enum outcome outcome;
    const char *text;
};

static void check_rows(const struct row *rows, size_t rows_count, int64_t timeout_ms)
{
    const char *settings[32];
    for (size_t i = 0; i < rows_count; i++)
        settings[i] = rows[i].settings;
    if (load(settings, rows_count, timeout_ms)) {
        run();
        for (size_t i = 0; i < rows_count; i++) {
            if (!EXPECT_STR(outcome_token(asked[i].result.outcome),
                            outcome_token(rows[i].outcome)) ||
                !EXPECT_STR(asked[i].result.text, rows[i].text))
                printf("# %s\n", rows[i].settings);
        }
    }
    unload();
}

TEST(exit_codes)
{
    static const struct row rows[] = {
        {"exec = \"/bin/true\";", OUTCOME_OK, ""},
        {SHELL("echo 'DISK OK - free 1 MB|/=1MB;2;3;0;4'"), OUTCOME_OK, "DISK OK - free 1 MB"},
        {SHELL("echo 'all | is'; echo more; exit 1"), OUTCOME_WARNING, "all"},
        {SHELL("exit 1"), OUTCOME_WARNING, "the check warns"},
        {SHELL("echo broken >&2; exit 2"), OUTCOME_CRITICAL, "broken"},
        {SHELL("exit 2"), OUTCOME_CRITICAL, "the check is critical"},
        {SHELL("echo UNKNOWN: what; exit 3"), OUTCOME_OWN_ERROR, "UNKNOWN: what"},
        {SHELL("exit 3"), OUTCOME_OWN_ERROR, "the check could not be made"},
        {SHELL("exit 4"), OUTCOME_OWN_ERROR, "command failed: exit code 4"},
        {SHELL("echo no; exit 126"), OUTCOME_OWN_ERROR, "command failed: exit code 126: no"},
        {SHELL("exit 127"), OUTCOME_OWN_ERROR, "command failed: exit code 127"},
        {SHELL("kill -9 $$"), OUTCOME_OWN_ERROR, "command failed: killed by signal 9"},
        {SHELL("kill -15 $$"), OUTCOME_OWN_ERROR, "command failed: killed by signal 15"},
        {SHELL("printf '\\\\033[31mred\\\\007 alert'; exit 2"), OUTCOME_CRITICAL,
         ".[31mred. alert"},
        {"exec = \"/nonexistent/check\";", OUTCOME_OWN_ERROR,
         "cannot run /nonexistent/check: No such file or directory"},
        {"exec = \"/tmp\";", OUTCOME_OWN_FORBIDDEN, "cannot run /tmp: Permission denied"},
    };
    check_rows(rows, sizeof rows / sizeof rows[0], 20000);
}

TEST(what_a_command_gets)
{
    static const struct row rows[] = {
        /* No input, no shell between, arguments as they are, nothing inherited. */
        {"exec = [ \"/bin/sh\", \"-c\", \"echo $0,$1,$2,$#\", \"a b\", \"\", \"$HOME;*\" ];",
         OUTCOME_OK, "a b,,$HOME;*,2"},
        {SHELL("read x || echo no input"), OUTCOME_OK, "no input"},
        {SHELL("env | sort | tr '\\\\n' ' ' | sed s/_=[^[:blank:]]*//"), OUTCOME_OK,
         "HOME=/ LC_ALL=C PATH=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin "
         "PWD=/"},
        {SHELL("echo /proc/self/fd/*"), OUTCOME_OK,
         "/proc/self/fd/0 /proc/self/fd/1 /proc/self/fd/2 /proc/self/fd/3"},
        {SHELL("set -- $(cat /proc/self/stat); [ $5 = $$ ] && echo leads its group"), OUTCOME_OK,
         "leads its group"},
        /* The C library keeps two signals of its own ignored there, 32 and 33. */
        {SHELL("grep -E 'Sig(Blk|Ign)' /proc/self/status | sed s/180000000/000000000/ | tr -s "
               "'\\\\n\\\\t' ' '"),
         OUTCOME_OK, "SigBlk: 0000000000000000 SigIgn: 0000000000000000"},
    };
    check_rows(rows, sizeof rows / sizeof rows[0], 20000);
}

/* Whether a process of this command line is left, as the marker in it tells. */
static bool is_running(const char *marker)
{
    char path[300], line[512];
    bool found = false;
    DIR *dir = opendir("/proc");
    for (struct dirent *entry; dir != NULL && (entry = readdir(dir)) != NULL;) {
        (void)snprintf(path, sizeof path, "/proc/%s/cmdline", entry->d_name);
        int fd = entry->d_name[0] >= '1' && entry->d_name[0] <= '9' ? open(path, O_RDONLY) : -1;
        ssize_t len = fd >= 0 ? read(fd, line, sizeof line - 1) : 0;
        if (fd >= 0)
            close(fd);
        for (ssize_t i = 0; i < len; i++)
            line[i] = line[i] == '\0' ? ' ' : line[i];
        line[len > 0 ? len : 0] = '\0';
        found = found || strstr(line, marker) != NULL;
    }
    if (dir != NULL)
        closedir(dir);
    return found;
}

/* Killed processes need a moment to be gone; an orphan is reaped by init. */
static bool is_gone(const char *marker)
{
    for (int64_t i = 0; i < 100 * ask_scale(); i++) {
        if (!is_running(marker))
            return true;
        nanosleep(&(struct timespec){.tv_nsec = 50000000}, NULL);
    }
    return false;
}

TEST(deadline_ends_the_whole_group)
{
    static const struct row rows[] = {
        {"exec = [ \"/bin/sleep\", \"98765.1\" ];", OUTCOME_TIMEOUT, NULL},
        {SHELL("sleep 98765.2 & sleep 98765.2"), OUTCOME_TIMEOUT, NULL},
        {SHELL("trap '' TERM; sleep 98765.3 & while :; do sleep 98765.3; done"), OUTCOME_TIMEOUT,
         NULL},
        {SHELL("exec >&- 2>&-; exec sleep 98765.4"), OUTCOME_TIMEOUT, NULL},
        {SHELL("yes 98765.5"), OUTCOME_TIMEOUT, NULL},
    };
    const char *settings[sizeof rows / sizeof rows[0]];
    for (size_t i = 0; i < sizeof rows / sizeof rows[0]; i++)
        settings[i] = rows[i].settings;
    if (load(settings, sizeof rows / sizeof rows[0], 500)) {
        run();
        for (size_t i = 0; i < count; i++) {
            EXPECT_STR(outcome_token(asked[i].result.outcome), "timeout");
            EXPECT_HAS(asked[i].result.text, "timeout after ");
        }
        EXPECT(is_gone("98765."));
    }
    unload();
}

/* SIGTERM comes first, to the whole group, and there is time to obey it. */
TEST(deadline_asks_before_it_kills)
{
    char settings[700], path[200];
    (void)snprintf(path, sizeof path, "%s/told", folder);
    (void)snprintf(settings, sizeof settings,
                   SHELL("(trap 'echo child >>%s; exit' TERM; while :; do sleep 0.01; done) & "
                         "trap 'wait; echo parent >>%s; exit' TERM; while :; do sleep 0.01; done"),
                   path, path);
    const char *rows[] = {settings};
    if (load(rows, 1, 1000)) {
        run();
        EXPECT_STR(outcome_token(asked[0].result.outcome), "timeout");
        char text[100] = "";
        FILE *f = fopen(path, "r");
        if (EXPECT(f != NULL)) {
            text[fread(text, 1, sizeof text - 1, f)] = '\0';
            fclose(f);
        }
        EXPECT_HAS(text, "child\n");
        EXPECT_HAS(text, "parent\n");
        EXPECT_INT(unlink(path), 0);
    }
    unload();
}

TEST(what_is_left_behind_is_killed_and_not_awaited)
{
    static const struct row rows[] = {
        {SHELL("sleep 98766.1 & echo done"), OUTCOME_OK, "done"},
        {SHELL("(trap '' TERM HUP; sleep 98766.2) & echo done; exit 2"), OUTCOME_CRITICAL, "done"},
    };
    int64_t before_s = (int64_t)time(NULL);
    check_rows(rows, sizeof rows / sizeof rows[0], 60000);
    EXPECT((int64_t)time(NULL) - before_s < 30);
    EXPECT(is_gone("98766."));
}

TEST(output_is_bounded)
{
    static const struct row rows[] = {
        {SHELL("head -c 10000000 /dev/zero; exit 1"), OUTCOME_WARNING, "."},
        {SHELL("head -c 300000 /dev/zero | tr '\\\\0' a; exit 2"), OUTCOME_CRITICAL,
         "aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa"
         "aaaa"
         "aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa..."},
    };
    check_rows(rows, sizeof rows / sizeof rows[0], 60000);
}

TEST(only_so_many_at_once)
{
    const char *settings[CHILDREN_MAX + 20];
    uint64_t waited = atomic_load(&stats.children_waited);
    for (size_t i = 0; i < CHILDREN_MAX + 20; i++)
        settings[i] = "exec = [ \"/bin/sleep\", \"0.1\" ];";
    if (load(settings, CHILDREN_MAX + 20, 30000)) {
        run();
        for (size_t i = 0; i < count; i++)
            EXPECT_STR(outcome_token(asked[i].result.outcome), "ok");
        EXPECT_INT(atomic_load(&stats.children_waited) - waited, 20);
    }
    unload();
}

TEST(no_turn_is_not_tried)
{
    const char *settings[CHILDREN_MAX + 1];
    for (size_t i = 0; i < CHILDREN_MAX + 1; i++)
        settings[i] = "exec = [ \"/bin/sleep\", \"98767\" ];";
    if (load(settings, CHILDREN_MAX + 1, 300)) {
        run();
        EXPECT_STR(outcome_token(asked[CHILDREN_MAX].result.outcome), "own_error");
        EXPECT_STR(asked[CHILDREN_MAX].result.text, "no time left: 32 other commands were running");
        EXPECT_STR(outcome_token(asked[0].result.outcome), "timeout");
    }
    unload();
}

/* Half of its time was spent waiting: the turn, when it comes, is for another. */
TEST(a_turn_too_late_is_not_taken)
{
    const char *settings[CHILDREN_MAX + 1];
    char sleeps[100], touch[200], path[100];
    (void)snprintf(path, sizeof path, "%s/touched", folder);
    (void)snprintf(sleeps, sizeof sleeps, "exec = [ \"/bin/sleep\", \"%.1f\" ];",
                   1.2 * (double)ask_scale());
    (void)snprintf(touch, sizeof touch, "exec = [ \"/bin/touch\", \"%s\" ];", path);
    for (size_t i = 0; i < CHILDREN_MAX; i++)
        settings[i] = sleeps;
    settings[CHILDREN_MAX] = touch;
    if (load(settings, CHILDREN_MAX + 1, 2000)) {
        run();
        EXPECT_STR(outcome_token(asked[0].result.outcome), "ok");
        EXPECT_STR(outcome_token(asked[CHILDREN_MAX].result.outcome), "own_error");
        EXPECT_STR(asked[CHILDREN_MAX].result.text, "no time left: 32 other commands were running");
        EXPECT(access(path, F_OK) != 0);
    }
    unload();
}

TEST(cancelled_at_any_turn)
{
    static const char *const kinds[] = {
        "exec = \"/bin/true\";",       "exec = [ \"/bin/sleep\", \"98768\" ];",
        "exec = \"/nonexistent\";",    "url = \"file:///etc/passwd\"; match = \"^root\";",
        "url = \"icmp://127.0.0.1\";",
    };
    const char *settings[60];
    for (size_t i = 0; i < 60; i++)
        settings[i] = kinds[i % 5];
    if (!load(settings, 60, 20000))
        return;
    EXPECT_INT(ask_cancelling(asked, count, 100), 0);
    expect_no_child();
    EXPECT(is_gone("98768"));
    unload();
}

/* ---- files ---- */

static char settings_text[16][300];
static size_t settings_count;

static const char *file(const char *name, const char *more)
{
    char *text = settings_text[settings_count++ % 16];
    (void)snprintf(text, 300, "url = \"file://%s/%s\"; %s", folder, name, more);
    return text;
}

static void make_file(const char *name, const char *content, int64_t age_s)
{
    char path[200];
    (void)snprintf(path, sizeof path, "%s/%s", folder, name);
    FILE *f = fopen(path, "w");
    if (!EXPECT(f != NULL))
        return;
    fputs(content, f);
    fclose(f);
    struct timespec times[2];
    clock_gettime(CLOCK_REALTIME, &times[0]);
    times[0].tv_sec -= (time_t)age_s;
    times[1] = times[0];
    EXPECT_INT(utimensat(AT_FDCWD, path, times, 0), 0);
}

static void remove_file(const char *name)
{
    char path[200];
    (void)snprintf(path, sizeof path, "%s/%s", folder, name);
    EXPECT_INT(unlink(path), 0);
}

TEST(files)
{
    char pipe_path[200];
    (void)snprintf(pipe_path, sizeof pipe_path, "%s/pipe", folder);
    make_file("now", "state: fine\n", 0);
    make_file("old file", "x", 7200);
    make_file("ahead", "x", -7200);
    EXPECT_INT(mkfifo(pipe_path, 0600), 0);
    const struct row rows[] = {
        {file("now", ""), OUTCOME_OK, ""},
        {file("now", "max_file_age = \"1h\"; match = \"(?m)^state: fine$\";"), OUTCOME_OK, ""},
        {file("now", "match = \"broken\";"), OUTCOME_BODY_MISMATCH, "content does not match"},
        {file("old%20file", ""), OUTCOME_OK, ""},
        {file("old%20file", "max_file_age = \"3h\";"), OUTCOME_OK, ""},
        {file("old%20file", "max_file_age = \"1m\";"), OUTCOME_WRONG_ANSWER, NULL},
        {file("ahead", "max_file_age = \"1m\";"), OUTCOME_WRONG_ANSWER, NULL},
        {file("none", ""), OUTCOME_WRONG_ANSWER, "file does not exist"},
        {file("now/below", ""), OUTCOME_WRONG_ANSWER, "file does not exist"},
        {file("pipe", "match = \"x\";"), OUTCOME_WRONG_ANSWER, "not a regular file"},
        {file("pipe", ""), OUTCOME_OK, ""},
        {"url = \"file:///\"; match = \"x\";", OUTCOME_WRONG_ANSWER, "not a regular file"},
        {"url = \"file:///dev/zero\"; match = \"x\";", OUTCOME_WRONG_ANSWER, "not a regular file"},
    };
    const char *settings[16];
    size_t rows_count = sizeof rows / sizeof rows[0];
    for (size_t i = 0; i < rows_count; i++)
        settings[i] = rows[i].settings;
    if (load(settings, rows_count, 20000)) {
        run();
        for (size_t i = 0; i < rows_count; i++) {
            if (!EXPECT_STR(outcome_token(asked[i].result.outcome), outcome_token(rows[i].outcome)))
                printf("# %s: %s\n", rows[i].settings, asked[i].result.text);
            if (rows[i].text != NULL)
                EXPECT_STR(asked[i].result.text, rows[i].text);
        }
        EXPECT_HAS(asked[5].result.text, "file was last written ");
        EXPECT_HAS(asked[5].result.text, " ago, limit 1m");
        EXPECT_HAS(asked[6].result.text, "in the future, by ");
    }
    unload();
    remove_file("now");
    remove_file("old file");
    remove_file("ahead");
    remove_file("pipe");
}

/* Without the kernel's leave it is not tried, with it this machine answers itself. */
TEST(echo)
{
    const char *settings[] = {"url = \"icmp://127.0.0.1\";", "url = \"icmp://127.0.0.2\";"};
    if (load(settings, 2, 20000)) {
        run();
        for (size_t i = 0; i < 2; i++) {
            if (asked[i].result.outcome == OUTCOME_OWN_FORBIDDEN)
                EXPECT_HAS(asked[i].result.text, "sysctl -w net.ipv4.ping_group_range=");
            else
                EXPECT_STR(outcome_token(asked[i].result.outcome), "ok");
        }
    }
    unload();
}

int main(void)
{
    signal(SIGPIPE, SIG_IGN); /* as the daemon does */
    alarm((unsigned)(280 * ask_scale()));
    if (mkdtemp(folder) == NULL)
        return 1;
    struct asked nothing = {0};
    if (ask(&nothing, 1, NULL) != 0)
        printf("# (what libraries keep open from their first use on)\n");
    RUN(exit_codes);
    RUN(what_a_command_gets);
    RUN(deadline_ends_the_whole_group);
    RUN(deadline_asks_before_it_kills);
    RUN(what_is_left_behind_is_killed_and_not_awaited);
    RUN(output_is_bounded);
    RUN(only_so_many_at_once);
    RUN(no_turn_is_not_tried);
    RUN(a_turn_too_late_is_not_taken);
    RUN(cancelled_at_any_turn);
    RUN(files);
    RUN(echo);
    rmdir(folder);
    return testing_end();
}
