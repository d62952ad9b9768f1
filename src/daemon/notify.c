/*
 * A datagram a message: small enough to write, and one library less to link.
 *
 * Reloads overlap: one that fails ends at once, on main, while those before it may still be on their
 * way to the checker, which applies them in their order. So the end that comes last need not be
 * that of the last one, and "ready" would be wrong while another is under way.
 */
#include "daemon/notify.h"

#include <healthsvc/attr.h>
#include <healthsvc/log.h>
#include <healthsvc/stats.h>
#include <healthsvc/units.h>

#include <inttypes.h>
#include <pthread.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <time.h>
#include <unistd.h>

#define STATUS_BYTES 512

struct CAPABILITY("mutex") status_lock {
    pthread_mutex_t mutex;
};

static int notify_fd = -1;
static bool watchdog;
static struct status_lock lock = {PTHREAD_MUTEX_INITIALIZER};
static char health[STATUS_BYTES] GUARDED_BY(lock);
static char reload[STATUS_BYTES] GUARDED_BY(lock);
static bool stopping GUARDED_BY(lock);
static unsigned under_way GUARDED_BY(lock); /* reloads */
static unsigned older GUARDED_BY(lock);     /* of those: began before one that has failed since */

static void status_lock(void) ACQUIRE(lock) NO_THREAD_SAFETY_ANALYSIS
{
    pthread_mutex_lock(&lock.mutex);
}

static void status_unlock(void) RELEASE(lock) NO_THREAD_SAFETY_ANALYSIS
{
    pthread_mutex_unlock(&lock.mutex);
}

static void say(const char *text)
{
    if (notify_fd >= 0)
        (void)send(notify_fd, text, strlen(text), MSG_NOSIGNAL | MSG_DONTWAIT);
}

/* The supervisor's socket: a path, or an abstract name written with '@'. */
static void connect_to(const char *path)
{
    struct sockaddr_un addr = {.sun_family = AF_UNIX};
    size_t len = strlen(path);
    if ((path[0] != '/' && path[0] != '@') || len >= sizeof addr.sun_path)
        return;
    memcpy(addr.sun_path, path, len);
    if (path[0] == '@')
        addr.sun_path[0] = '\0';
    int fd = socket(AF_UNIX, SOCK_DGRAM | SOCK_CLOEXEC, 0);
    if (fd < 0)
        return;
    if (connect(fd, (const struct sockaddr *)&addr,
                (socklen_t)(offsetof(struct sockaddr_un, sun_path) + len)) == 0)
        notify_fd = fd;
    else
        close(fd);
}

void notify_init(void)
{
    const char *path = getenv("NOTIFY_SOCKET");
    const char *usec = getenv("WATCHDOG_USEC");
    const char *pid = getenv("WATCHDOG_PID");
    int64_t value;
    if (path != NULL)
        connect_to(path);
    watchdog = usec != NULL && units_parse_int(usec, &value) == 0 && value > 0;
    if (watchdog && value < 3000000)
        log_warning("the supervisor's watchdog is shorter than 3s; the loop beats once a second "
                    "watchdog_us=%" PRId64,
                    value);
    if (pid != NULL && (units_parse_int(pid, &value) != 0 || value != getpid()))
        watchdog = false;
    /* Meant for this process alone. */
    (void)unsetenv("NOTIFY_SOCKET");
    (void)unsetenv("WATCHDOG_USEC");
    (void)unsetenv("WATCHDOG_PID");
}

void notify_done(void)
{
    if (notify_fd >= 0)
        close(notify_fd);
    notify_fd = -1;
}

void notify_ready(void)
{
    say("READY=1");
}

void notify_reloading(void)
{
    char text[80];
    struct timespec now;
    status_lock();
    under_way++;
    clock_gettime(CLOCK_MONOTONIC, &now); /* the one that sd_notify(3) wants */
    (void)snprintf(text, sizeof text, "RELOADING=1\nMONOTONIC_USEC=%" PRId64,
                   (int64_t)now.tv_sec * 1000000 + now.tv_nsec / 1000);
    say(text);
    status_unlock();
}

void notify_stopping(void)
{
    status_lock();
    stopping = true;
    say("STOPPING=1");
    status_unlock();
}

void notify_watchdog(void)
{
    if (watchdog)
        say("WATCHDOG=1");
}

static void set_status(char *half, const char *text) REQUIRES(lock)
{
    char both[2 * STATUS_BYTES + 16];
    (void)snprintf(half, STATUS_BYTES, "%s", text != NULL ? text : "");
    (void)snprintf(both, sizeof both, "STATUS=%s%s%s", health,
                   health[0] != '\0' && reload[0] != '\0' ? "; " : "", reload);
    say(both);
}

void notify_status_health(const char *text)
{
    status_lock();
    set_status(health, text);
    status_unlock();
}

static void reload_ended(void) REQUIRES(lock)
{
    under_way--;
    if (under_way == 0 && !stopping)
        say("READY=1");
}

void notify_reload_failed(const char *why)
{
    char text[STATUS_BYTES];
    (void)snprintf(text, sizeof text, "the last reload failed: %s", why);
    status_lock();
    older = under_way - 1;
    atomic_store(&stats.last_reload_ok, 0);
    set_status(reload, text);
    reload_ended();
    status_unlock();
}

void notify_reload_applied(void)
{
    status_lock();
    if (older > 0) {
        older--;
    } else {
        atomic_store(&stats.last_reload_ok, 1);
        set_status(reload, NULL);
    }
    reload_ended();
    status_unlock();
}
