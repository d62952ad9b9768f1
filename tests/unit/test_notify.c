/* What a supervisor hears, and what is meant for others. */
#include "daemon/notify.h"

#include "../testing.h"

#include <stddef.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <unistd.h>

#include <healthsvc/stats.h>

/* The supervisor: a socket bound to `name`, whose length counts, as the first byte may be NUL. */
static int listen_at(const char *name, size_t len)
{
    struct sockaddr_un addr = {.sun_family = AF_UNIX};
    int fd = socket(AF_UNIX, SOCK_DGRAM | SOCK_NONBLOCK, 0);
    memcpy(addr.sun_path, name, len);
    EXPECT_INT(bind(fd, (const struct sockaddr *)&addr,
                    (socklen_t)(offsetof(struct sockaddr_un, sun_path) + len)),
               0);
    return fd;
}

/* The next message; "" if there is none: what was sent to a Unix socket is there at once. */
static const char *heard(int fd)
{
    static char message[2048];
    ssize_t len = recv(fd, message, sizeof message - 1, 0);
    message[len > 0 ? len : 0] = '\0';
    return message;
}

static void begin(const char *path, const char *watchdog_us, const char *watchdog_pid)
{
    setenv("NOTIFY_SOCKET", path, 1);
    if (watchdog_us != NULL)
        setenv("WATCHDOG_USEC", watchdog_us, 1);
    if (watchdog_pid != NULL)
        setenv("WATCHDOG_PID", watchdog_pid, 1);
    notify_init();
    /* A command that is run as a check is none of the supervisor's. */
    EXPECT(getenv("NOTIFY_SOCKET") == NULL);
    EXPECT(getenv("WATCHDOG_USEC") == NULL);
    EXPECT(getenv("WATCHDOG_PID") == NULL);
}

/* Runs first: once there is a supervisor it stays. */
TEST(what_is_no_supervisors_socket)
{
    char folder[] = "/tmp/test_notify.XXXXXX";
    char longest[200];
    if (!EXPECT(mkdtemp(folder) != NULL) || !EXPECT_INT(chdir(folder), 0))
        return;
    int fd = listen_at("relative", strlen("relative"));
    begin("relative", "5000000", NULL);
    notify_ready();
    notify_watchdog();
    EXPECT_STR(heard(fd), "");
    close(fd);
    (void)unlink("relative");
    (void)rmdir(folder);

    memset(longest, 'x', sizeof longest - 1);
    longest[0] = '/';
    longest[sizeof longest - 1] = '\0';
    begin(longest, NULL, NULL);
    notify_ready();
    begin("", NULL, NULL);
    notify_ready();
    begin("/nonexistent/socket", NULL, NULL);
    notify_ready();
}

TEST(a_supervisor_with_an_abstract_name)
{
    char name[64], path[64], pid[32];
    int len = snprintf(name, sizeof name, "%chealthsvc test %ld", '\0', (long)getpid());
    (void)snprintf(path, sizeof path, "@%s", name + 1);
    int fd = listen_at(name, (size_t)len);
    begin(path, NULL, NULL);
    notify_ready();
    EXPECT_STR(heard(fd), "READY=1");
    notify_watchdog(); /* none was asked for */
    EXPECT_STR(heard(fd), "");
    notify_reloading();
    EXPECT_HAS(heard(fd), "RELOADING=1\nMONOTONIC_USEC=");
    notify_stopping();
    EXPECT_STR(heard(fd), "STOPPING=1");

    (void)snprintf(pid, sizeof pid, "%ld", (long)getpid());
    begin(path, "5000000", pid);
    notify_watchdog();
    EXPECT_STR(heard(fd), "WATCHDOG=1");
    begin(path, "5000000", NULL);
    notify_watchdog();
    EXPECT_STR(heard(fd), "WATCHDOG=1");
    /* meant for another process, for none, or no number */
    (void)snprintf(pid, sizeof pid, "%ld", (long)getppid());
    begin(path, "5000000", pid);
    notify_watchdog();
    begin(path, "5000000", "me");
    notify_watchdog();
    begin(path, "0", NULL);
    notify_watchdog();
    begin(path, "soon", NULL);
    notify_watchdog();
    EXPECT_STR(heard(fd), "");
    close(fd);
}

TEST(the_status_tells_of_the_reload_that_began_last)
{
    char name[64], path[64];
    int len = snprintf(name, sizeof name, "%chealthsvc status %ld", '\0', (long)getpid());
    (void)snprintf(path, sizeof path, "@%s", name + 1);
    int fd = listen_at(name, (size_t)len);
    begin(path, NULL, NULL);
    notify_status_health("health: pass");
    EXPECT_STR(heard(fd), "STATUS=health: pass");
    notify_reloading();
    EXPECT_HAS(heard(fd), "RELOADING=1\nMONOTONIC_USEC=");
    notify_reload_failed("x");
    EXPECT_STR(heard(fd), "STATUS=health: pass; the last reload failed: x");
    EXPECT_STR(heard(fd), "READY=1");
    EXPECT_INT(stats.last_reload_ok, 0);

    /* The end of one that began before the last is not the last's, and not yet "ready". */
    notify_reloading();
    notify_reloading();
    notify_reload_failed("y");
    (void)heard(fd), (void)heard(fd);
    EXPECT_STR(heard(fd), "STATUS=health: pass; the last reload failed: y");
    notify_reload_applied();
    EXPECT_STR(heard(fd), "READY=1");
    EXPECT_INT(stats.last_reload_ok, 0);

    notify_reloading();
    (void)heard(fd);
    notify_reload_applied();
    EXPECT_STR(heard(fd), "STATUS=health: pass");
    EXPECT_STR(heard(fd), "READY=1");
    EXPECT_INT(stats.last_reload_ok, 1);
    close(fd);
    notify_ready(); /* it has gone: nothing happens */
}

int main(void)
{
    RUN(what_is_no_supervisors_socket);
    RUN(the_status_tells_of_the_reload_that_began_last);
    RUN(a_supervisor_with_an_abstract_name); /* last: it is told of the end */
    return testing_end();
}
