/* Who owns the name of a Unix socket: what is replaced, what is refused, what is left alone. */
#include "web/unix_path.h"

#include "../testing.h"

#include <healthsvc/config.h>

#include <errno.h>
#include <fcntl.h>
#include <sys/stat.h>
#include <sys/un.h>
#include <unistd.h>

static char folder[] = "/tmp/test_unix_path.XXXXXX";

/* An address below the folder. */
static struct config_listen at(const char *name)
{
    struct config_listen listen = {.kind = LISTEN_UNIX, .mode = 0640, .group = (gid_t)-1};
    struct sockaddr_un *un = (struct sockaddr_un *)&listen.addr;
    un->sun_family = AF_UNIX;
    (void)snprintf(un->sun_path, sizeof un->sun_path, "%s/%s", folder, name);
    listen.addr_len = sizeof *un;
    return listen;
}

static const char *path_of(const struct config_listen *listen)
{
    return ((const struct sockaddr_un *)&listen->addr)->sun_path;
}

/* A socket of that type at the address, made by somebody else. */
static int make_other(const struct config_listen *listen, int type)
{
    int fd = socket(AF_UNIX, type, 0);
    EXPECT_INT(bind(fd, (const struct sockaddr *)&listen->addr, listen->addr_len), 0);
    return fd;
}

/* Binds a socket of our own; it is closed again, for the name is what counts. */
static int bind_ours(struct unix_path *path, const struct config_listen *listen)
{
    int fd = socket(AF_UNIX, SOCK_STREAM, 0);
    int r = unix_path_bind(path, fd, listen);
    close(fd);
    return r;
}

static mode_t mode_of(const struct config_listen *listen)
{
    struct stat st = {0};
    EXPECT_INT(lstat(path_of(listen), &st), 0);
    return st.st_mode & 07777;
}

TEST(a_new_name)
{
    struct config_listen listen = at("new");
    struct unix_path path = {0};
    EXPECT(!unix_path_is_ours(&path, &listen.addr));
    EXPECT_INT(bind_ours(&path, &listen), 0);
    EXPECT(unix_path_is_ours(&path, &listen.addr));
    EXPECT_INT(mode_of(&listen), 0640);
    EXPECT_INT(unix_path_change(&path, &listen.addr, 0600, getegid()), 0);
    EXPECT_INT(mode_of(&listen), 0600);
    EXPECT_INT(unix_path_change(&path, &listen.addr, 0606, (gid_t)-1), 0);
    EXPECT_INT(mode_of(&listen), 0606);
    unix_path_remove(&path, &listen.addr);
    EXPECT_INT(access(path_of(&listen), F_OK), -1);
    unix_path_remove(&path, &listen.addr); /* nothing is ours now */
}

TEST(what_is_left_is_replaced_and_what_lives_is_not)
{
    struct config_listen here = at("other");
    struct unix_path path = {0};
    close(make_other(&here, SOCK_STREAM)); /* nobody will ever listen there */
    EXPECT_INT(bind_ours(&path, &here), 0);
    EXPECT(unix_path_is_ours(&path, &here.addr));
    unix_path_remove(&path, &here.addr);

    int other = make_other(&here, SOCK_STREAM);
    EXPECT_INT(listen(other, 1), 0);
    EXPECT_INT(bind_ours(&path, &here), -EADDRINUSE);
    EXPECT(!unix_path_is_ours(&path, &here.addr));
    unix_path_remove(&path, &here.addr);
    EXPECT_INT(access(path_of(&here), F_OK), 0);
    close(other);
    EXPECT_INT(unlink(path_of(&here)), 0);

    other = make_other(&here, SOCK_DGRAM); /* not a stream's, and somebody reads it */
    EXPECT_INT(bind_ours(&path, &here), -EADDRINUSE);
    close(other);
    EXPECT_INT(unlink(path_of(&here)), 0);
}

TEST(what_is_no_socket_stays)
{
    struct config_listen listen = at("file"), below = at("file/below"), nowhere = at("none/x");
    struct unix_path path = {0};
    int file = open(path_of(&listen), O_CREAT | O_WRONLY | O_EXCL, 0600);
    EXPECT_INT(write(file, "x", 1), 1);
    close(file);
    EXPECT_INT(bind_ours(&path, &listen), -ENOTSOCK);
    EXPECT_INT(bind_ours(&path, &below), -ENOTDIR);
    EXPECT_INT(bind_ours(&path, &nowhere), -ENOENT);
    EXPECT_INT(access(path_of(&listen), F_OK), 0);
    EXPECT_INT(unlink(path_of(&listen)), 0);
    /* A link is no socket either, wherever it leads. */
    struct config_listen target = at("target");
    int other = make_other(&target, SOCK_STREAM);
    close(other);
    EXPECT_INT(symlink(path_of(&target), path_of(&listen)), 0);
    EXPECT_INT(bind_ours(&path, &listen), -ENOTSOCK);
    EXPECT_INT(unlink(path_of(&listen)), 0);
    EXPECT_INT(unlink(path_of(&target)), 0);
}

TEST(what_has_been_exchanged_is_not_touched)
{
    struct config_listen listen = at("exchanged");
    struct unix_path path = {0};
    EXPECT_INT(unix_path_change(&path, &listen.addr, 0600, (gid_t)-1), 0); /* nothing is ours */
    EXPECT_INT(bind_ours(&path, &listen), 0);
    EXPECT_INT(unlink(path_of(&listen)), 0);
    EXPECT_INT(unix_path_change(&path, &listen.addr, 0600, (gid_t)-1), -ENOENT);
    EXPECT(!unix_path_is_ours(&path, &listen.addr));

    struct config_listen other = at("other");
    EXPECT_INT(bind_ours(&path, &listen), 0);
    int file = open(path_of(&other), O_CREAT | O_WRONLY | O_EXCL, 0644);
    close(file);
    EXPECT_INT(rename(path_of(&other), path_of(&listen)), 0);
    EXPECT(!unix_path_is_ours(&path, &listen.addr));
    EXPECT_INT(unix_path_change(&path, &listen.addr, 0600, (gid_t)-1), -ENOENT);
    EXPECT_INT(mode_of(&listen), 0644);
    unix_path_remove(&path, &listen.addr);
    EXPECT_INT(unlink(path_of(&listen)), 0);
}

int main(void)
{
    if (mkdtemp(folder) == NULL)
        return 1;
    RUN(a_new_name);
    RUN(what_is_left_is_replaced_and_what_lives_is_not);
    RUN(what_is_no_socket_stays);
    RUN(what_has_been_exchanged_is_not_touched);
    EXPECT_INT(rmdir(folder), 0);
    return testing_end();
}
