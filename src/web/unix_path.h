/*
 * unix_path.h: the name that a Unix socket of ours has in the file system.
 *
 * Owner: a listener. Threads: main only. Errors: negative errno.
 */
#ifndef HEALTHSVC_WEB_UNIX_PATH_H
#define HEALTHSVC_WEB_UNIX_PATH_H

#include <healthsvc/attr.h>

#include <stdbool.h>
#include <sys/socket.h>
#include <sys/types.h>

struct config_listen;

struct unix_path {
    dev_t dev; /* of the socket that we made there; both 0: none */
    ino_t ino;
    mode_t mode; /* as the configuration in force wants it */
    gid_t group;
};

/* Binds `fd` to the path of `listen`, with its mode and group, to be listened on after that. What a
 * process that is gone has left there is replaced: -EADDRINUSE if one listens there, -ENOTSOCK if it
 * is no socket. */
int unix_path_bind(struct unix_path *path, int fd, const struct config_listen *listen) MUST_CHECK;
/* True if what is there is the socket that we made. */
bool unix_path_is_ours(const struct unix_path *path, const struct sockaddr_storage *addr);
/* Gives what we made another mode and group; `path` still says the old ones. */
int unix_path_change(const struct unix_path *path, const struct sockaddr_storage *addr, mode_t mode,
                     gid_t group) MUST_CHECK;
/* Removes it, if it is ours. */
void unix_path_remove(struct unix_path *path, const struct sockaddr_storage *addr);

#endif
