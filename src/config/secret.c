/*
 * secret.c: a secret is read once, when the configuration is, so that a check never opens a file;
 * it is in no message, and wiped when it is freed.
 */
#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include <healthsvc/config.h>
#include <healthsvc/strbuf.h>

#include "config/loader.h"

#define SECRET_MAX_BYTES 4096
#define PATH_SHOWN_BYTES 1024

/* Copies `len` bytes, without one newline at their end; `why` ends with where they are from. */
static int keep(const char *bytes, size_t len, struct strbuf *why, char **ret_secret)
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
        *ret_secret = strndup(bytes, len);
        return *ret_secret != NULL ? 0 : -ENOMEM;
    }
    return -EINVAL;
}

int secret_read_file(const char *setting, const char *path, struct strbuf *why, char **ret_secret)
{
    char
        bytes[SECRET_MAX_BYTES + 2]; /* with the newline, and one more to see that it is too long */
    size_t len = 0;
    ssize_t got = -1;
    /* O_NONBLOCK: a pipe without a writer must not hold up a reload. */
    int fd = open(path, O_RDONLY | O_CLOEXEC | O_NOCTTY | O_NONBLOCK);

    while (fd >= 0 && len < sizeof bytes) {
        got = read(fd, bytes + len, sizeof bytes - len);
        if (got < 0 && errno == EINTR)
            continue;
        if (got <= 0)
            break;
        len += (size_t)got;
    }
    int err = got < 0 ? -errno : 0;
    strbuf_addf(why, "'%s': ", setting);
    strbuf_add_printable(why, path, strlen(path), PATH_SHOWN_BYTES);
    if (err == 0) {
        err = keep(bytes, len, why, ret_secret);
    } else {
        strbuf_addf(why, " cannot be read: %s", strerror(-err));
        err = -EINVAL;
    }
    if (fd >= 0)
        close(fd);
    explicit_bzero(bytes, sizeof bytes);
    return err;
}

char *secret_free(char *secret)
{
    if (secret != NULL)
        explicit_bzero(secret, strlen(secret));
    free(secret);
    return NULL;
}

static int read_env(const char *name, struct strbuf *why, char **ret_secret)
{
    /* Its name is not shown: somebody may have taken it for the place of the password itself. */
    const char *value = getenv(name);

    strbuf_adds(why, "'password_env': the environment variable");
    if (value != NULL)
        return keep(value, strlen(value), why, ret_secret);
    strbuf_adds(why, " is not set");
    return -EINVAL;
}

/* What systemd passes by LoadCredential= and its kin is a file of the name that the unit gives it
 * (systemd.exec(5), CREDENTIALS). */
static int read_credential(const char *name, struct strbuf *why, char **ret_secret)
{
    const char *folder = getenv("CREDENTIALS_DIRECTORY");
    struct strbuf path;

    if (strchr(name, '/') != NULL || strcmp(name, ".") == 0 || strcmp(name, "..") == 0) {
        strbuf_adds(why, "'password_credential' must be the name of a credential, not a path");
        return -EINVAL;
    }
    if (folder == NULL || folder[0] == '\0') {
        strbuf_adds(why, "'password_credential': no credentials were passed (LoadCredential= in "
                         "the unit); by hand, set CREDENTIALS_DIRECTORY to the folder of them");
        return -EINVAL;
    }
    strbuf_init(&path, 2 * PATH_MAX);
    strbuf_addf(&path, "%s/%s", folder, name);
    int err = strbuf_error(&path);
    if (err == 0)
        err = secret_read_file("password_credential", path.data, why, ret_secret);
    strbuf_done(&path);
    return err;
}

int secret_read(struct target_conf *conf, struct strbuf *why)
{
    if (conf->password_file != NULL)
        return secret_read_file("password_file", conf->password_file, why, &conf->secret);
    if (conf->password_env != NULL)
        return read_env(conf->password_env, why, &conf->secret);
    if (conf->password_credential != NULL)
        return read_credential(conf->password_credential, why, &conf->secret);
    return 0;
}
