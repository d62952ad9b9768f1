/*
 * A path may be replaced by somebody else at any time, by us with a mistake of ours or by an attacker
 * with a symbolic link. So what we made is known by its device and inode, and is changed by way of a
 * descriptor of it.
 *
 * Between bind() and listen() nobody can connect, whatever the mode: so there is no moment at which
 * the socket is open to more than the configuration says, and the process's umask, which belongs to
 * every thread, need not be touched.
 */
#include "web/unix_path.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <sys/stat.h>
#include <sys/un.h>
#include <unistd.h>

#include <healthsvc/config.h>

static const char *path_of(const struct sockaddr_storage *addr)
{
    return ((const struct sockaddr_un *)addr)->sun_path;
}

/* -EADDRINUSE if somebody listens there, 0 if nobody does. */
static int ask_whether_free(const struct config_listen *listen)
{
    int fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
    if (fd < 0)
        return -errno;
    int rc = connect(fd, (const struct sockaddr *)&listen->addr, listen->addr_len) == 0 ? 0 : errno;
    close(fd);
    switch (rc) {
    case ECONNREFUSED:
    case ENOENT:
        return 0;
    case EACCES:
    case EPERM:
        return -rc;
    default: /* connected, or its backlog is full (EAGAIN), or it is of another type (EPROTOTYPE) */
        return -EADDRINUSE;
    }
}

static int clear_the_way(const struct config_listen *listen)
{
    const char *path = path_of(&listen->addr);
    struct stat st;
    if (lstat(path, &st) != 0)
        return errno == ENOENT ? 0 : -errno;
    if (!S_ISSOCK(st.st_mode))
        return -ENOTSOCK;
    int rc = ask_whether_free(listen);
    if (rc == 0 && unlink(path) != 0 && errno != ENOENT)
        rc = -errno;
    return rc;
}

/* A descriptor of what is at the path, itself; -1 with errno. */
static int open_it(const struct sockaddr_storage *addr, struct stat *ret_st)
{
    int fd = open(path_of(addr), O_PATH | O_NOFOLLOW | O_CLOEXEC);
    if (fd >= 0 && fstat(fd, ret_st) != 0) {
        close(fd);
        return -1;
    }
    return fd;
}

static int set_access(int fd, mode_t mode, gid_t group)
{
    char self[40]; /* fchmod() takes no descriptor of this kind */
    (void)snprintf(self, sizeof self, "/proc/self/fd/%d", fd);
    if (fchownat(fd, "", (uid_t)-1, group, AT_EMPTY_PATH) != 0 || chmod(self, mode) != 0)
        return -errno;
    return 0;
}

int unix_path_bind(struct unix_path *path, int fd, const struct config_listen *listen)
{
    struct stat st;
    int rc = clear_the_way(listen);
    if (rc < 0)
        return rc;
    if (bind(fd, (const struct sockaddr *)&listen->addr, listen->addr_len) != 0)
        return -errno;
    int it = open_it(&listen->addr, &st);
    if (it < 0) {
        rc = -errno;
        (void)unlink(path_of(&listen->addr));
        return rc;
    }
    *path = (struct unix_path){
        .dev = st.st_dev, .ino = st.st_ino, .mode = listen->mode, .group = listen->group};
    rc = S_ISSOCK(st.st_mode) ? set_access(it, listen->mode, listen->group) : -EADDRINUSE;
    close(it);
    return rc;
}

static bool is_ours(const struct unix_path *path, const struct stat *st)
{
    return path->ino != 0 && st->st_dev == path->dev && st->st_ino == path->ino;
}

bool unix_path_is_ours(const struct unix_path *path, const struct sockaddr_storage *addr)
{
    struct stat st;
    return path->ino != 0 && lstat(path_of(addr), &st) == 0 && is_ours(path, &st);
}

int unix_path_change(const struct unix_path *path, const struct sockaddr_storage *addr, mode_t mode,
                     gid_t group)
{
    struct stat st;
    if (path->ino == 0)
        return 0;
    int it = open_it(addr, &st);
    if (it < 0)
        return -errno;
    /* No group named: that of a socket made now. */
    int rc =
        is_ours(path, &st) ? set_access(it, mode, group != (gid_t)-1 ? group : getegid()) : -ENOENT;
    close(it);
    return rc;
}

void unix_path_remove(struct unix_path *path, const struct sockaddr_storage *addr)
{
    if (unix_path_is_ours(path, addr))
        (void)unlink(path_of(addr));
    *path = (struct unix_path){0};
}
