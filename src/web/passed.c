/* The protocol is three variables and descriptors from 3 on: small enough to need no libsystemd. */
#include "web/passed.h"

#include <errno.h>
#include <fcntl.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#include <healthsvc/log.h>
#include <healthsvc/units.h>

#define FIRST_FD 3 /* SD_LISTEN_FDS_START */
#define MOST_PASSED 1024

static struct passed *list;
static size_t count;

static int option_of(int fd, int option)
{
    int value = -1;
    socklen_t len = sizeof value;
    return getsockopt(fd, SOL_SOCKET, option, &value, &len) == 0 ? value : -1;
}

static bool is_fit(int fd)
{
    int family = option_of(fd, SO_DOMAIN);
    return option_of(fd, SO_TYPE) == SOCK_STREAM && option_of(fd, SO_ACCEPTCONN) == 1 &&
           (family == AF_INET || family == AF_INET6 || family == AF_UNIX);
}

/* How many there are, if they are meant for this process. */
static size_t count_passed(void)
{
    const char *pid = getenv("LISTEN_PID");
    const char *fds = getenv("LISTEN_FDS");
    int64_t value;
    if (pid == NULL || fds == NULL || units_parse_int(pid, &value) != 0 || value != getpid())
        return 0;
    if (units_parse_int(fds, &value) == 0 && value >= 0 && value <= MOST_PASSED)
        return (size_t)value;
    log_warning("LISTEN_FDS is no number of sockets; none is taken");
    return 0;
}

/* A copy of the name that *rest begins with, "unknown" if it is empty; NULL without memory. */
static char *take_name(const char **rest)
{
    size_t len = strcspn(*rest, ":");
    char *name = len > 0 ? strndup(*rest, len) : strdup("unknown");
    *rest += len + ((*rest)[len] == ':');
    return name;
}

static void take(void)
{
    const char *names = getenv("LISTEN_FDNAMES");
    size_t many = count_passed();
    if (names == NULL)
        names = "";
    list = many > 0 ? calloc(many, sizeof *list) : NULL;
    for (size_t i = 0; list != NULL && i < many; i++) {
        int fd = FIRST_FD + (int)i;
        char *name = take_name(&names);
        if (name == NULL)
            break;
        (void)fcntl(fd, F_SETFD, FD_CLOEXEC);
        list[i] = (struct passed){.fd = fd, .name = name, .fit = is_fit(fd)};
        count = i + 1;
    }
    if (count < many) {
        log_error("there is no memory for the sockets that were passed; none is taken");
        count = 0;
    }
}

void passed_init(void)
{
    take();
    /* Meant for this process alone. */
    (void)unsetenv("LISTEN_PID");
    (void)unsetenv("LISTEN_PIDFDID");
    (void)unsetenv("LISTEN_FDS");
    (void)unsetenv("LISTEN_FDNAMES");
}

const struct passed *passed_at(size_t i)
{
    return i < count ? &list[i] : NULL;
}
