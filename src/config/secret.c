/*
 * secret.c: a secret is read once, when the configuration is, so that a check never opens a file;
 * it is in no message, and wiped when it is freed (dependency.c).
 */
#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include <healthsvc/config.h>
#include <healthsvc/strbuf.h>

#include "config/loader.h"

#define SECRET_MAX_BYTES 4096
#define PATH_SHOWN_BYTES 1024

/* Copies `len` bytes, without one newline at their end; `why` ends with where they are from. */
static int keep(struct target_conf *conf, const char *bytes, size_t len, struct strbuf *why)
{
    if (len > 0 && bytes[len - 1] == '\n')
        len--;
    if (len > SECRET_MAX_BYTES) {
        strbuf_addf(why, " holds more than %d bytes", SECRET_MAX_BYTES);
    } else if (len == 0) {
        strbuf_adds(why, " is empty");
    } else if (memchr(bytes, '\r', len) != NULL || memchr(bytes, '\n', len) != NULL ||
               memchr(bytes, '\0', len) != NULL) {
        strbuf_adds(why, " must hold one line without CR or NUL");
    } else {
        conf->secret = strndup(bytes, len);
        return conf->secret != NULL ? 0 : -ENOMEM;
    }
    return -EINVAL;
}

static int read_file(struct target_conf *conf, struct strbuf *why)
{
    char
        bytes[SECRET_MAX_BYTES + 2]; /* with the newline, and one more to see that it is too long */
    size_t len = 0;
    ssize_t got = -1;
    /* O_NONBLOCK: a pipe without a writer must not hold up a reload. */
    int fd = open(conf->password_file, O_RDONLY | O_CLOEXEC | O_NOCTTY | O_NONBLOCK);

    while (fd >= 0 && len < sizeof bytes) {
        got = read(fd, bytes + len, sizeof bytes - len);
        if (got < 0 && errno == EINTR)
            continue;
        if (got <= 0)
            break;
        len += (size_t)got;
    }
    int err = got < 0 ? -errno : 0;
    strbuf_adds(why, "'password_file': ");
    strbuf_add_printable(why, conf->password_file, strlen(conf->password_file), PATH_SHOWN_BYTES);
    if (err == 0) {
        err = keep(conf, bytes, len, why);
    } else {
        strbuf_addf(why, " cannot be read: %s", strerror(-err));
        err = -EINVAL;
    }
    if (fd >= 0)
        close(fd);
    explicit_bzero(bytes, sizeof bytes);
    return err;
}

int secret_read(struct target_conf *conf, struct strbuf *why)
{
    if (conf->password_file != NULL)
        return read_file(conf, why);
    if (conf->password_env == NULL)
        return 0;
    /* Its name is not shown: somebody may have taken it for the place of the password itself. */
    const char *value = getenv(conf->password_env);
    strbuf_adds(why, "'password_env': the environment variable");
    if (value != NULL)
        return keep(conf, value, strlen(value), why);
    strbuf_adds(why, " is not set");
    return -EINVAL;
}
