/*
 * file: a file is there, is young enough, holds what it should: the sign of life of a job that
 * serves nothing.
 *
 * A file may lie on a network's file system that hangs, and nothing can interrupt that; so it is
 * looked at by a thread of its own, which shares nothing with the checker but a struct look. When
 * the check's time is up the look is left behind, and lives until its thread comes back.
 */
#include "probe/engine.h"
#include "probe/expect.h"

#include <healthsvc/config.h>
#include <healthsvc/keys.h>
#include <healthsvc/region.h>
#include <healthsvc/strbuf.h>
#include <healthsvc/units.h>

#include <ctype.h>
#include <errno.h>
#include <fcntl.h>
#include <pthread.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/eventfd.h>
#include <sys/stat.h>
#include <time.h>
#include <unistd.h>

#define DAY INT64_C(86400000)
#define CONTENT_BYTES 65536
#define THREADS_MAX 32 /* those that hang included */
#define STACK_BYTES (256 * 1024)

struct file_conf {
    int64_t max_age_ms; /* 0: any */
    char *match;
    /* made by prepare: */
    char *path;
    struct expect_pattern *pattern; /* NULL: any content */
};

static const struct key_row file_keys[] = {
    {.name = "max_file_age",
     .type = KEY_DURATION,
     .flags = KEY_ASKED,
     .offset = offsetof(struct file_conf, max_age_ms),
     .min = 1000,
     .max = 3650 * DAY,
     .shown_default = "any",
     .sentence =
         "A file last written longer ago is bad; so is one written that far in the future."},
    {.name = "match",
     .type = KEY_STRING,
     .flags = KEY_ASKED,
     .offset = offsetof(struct file_conf, match),
     .min = 1,
     .max = 1024,
     .sentence = "A PCRE2 pattern to be found in the first 64 KB of the file."},
    KEYS_END,
};

/* What the thread and the probe share; freed by the one that lets go last. */
struct look {
    atomic_int refs;
    int done_fd;                    /* an eventfd, readable once `outcome` and `text` are set */
    const struct target_conf *conf; /* kept by a reference on its configuration */
    enum outcome outcome;
    char text[OUTCOME_TEXT_BYTES];
};

struct file_probe {
    struct probe probe; /* first */
    struct loop_watch watch;
    struct look *look;
};

static atomic_int threads;

/* ---- settings ---- */

static int hex_value(char c)
{
    if (c >= '0' && c <= '9')
        return c - '0';
    c = (char)tolower((unsigned char)c);
    return c >= 'a' && c <= 'f' ? c - 'a' + 10 : -1;
}

/* Percent-decoding (RFC 3986 section 2.1) in place; false: not of that form, or a NUL. */
static bool decode(char *path)
{
    char *to = path;
    for (const char *from = path; *from != '\0'; to++) {
        if (*from != '%') {
            *to = *from++;
            continue;
        }
        int high = hex_value(from[1]);
        int low = high >= 0 ? hex_value(from[2]) : -1;
        if (low < 0 || high + low == 0)
            return false;
        *to = (char)(high * 16 + low);
        from += 3;
    }
    *to = '\0';
    return true;
}

static int file_prepare(struct target_conf *conf, struct strbuf *why)
{
    struct file_conf *file = conf->scheme_conf;
    if (strchr(conf->path, '?') != NULL) {
        strbuf_adds(why, "'url': a file has no query: a '?' in its name is written %3F");
        return -EINVAL;
    }
    file->path = region_copy_text(conf->owner->region, conf->path);
    if (file->path == NULL)
        return -ENOMEM;
    if (!decode(file->path)) {
        strbuf_adds(why, "'url': a '%' must be followed by two hexadecimal digits, not 00");
        return -EINVAL;
    }
    if (file->match == NULL)
        return 0;
    strbuf_adds(why, "'match': ");
    return expect_pattern_new(file->match, why, &file->pattern);
}

static void file_release(struct target_conf *conf)
{
    struct file_conf *file = conf->scheme_conf;
    if (file == NULL)
        return;
    file->pattern = expect_pattern_free(file->pattern);
}

/* ---- on the thread of a look ---- */

static void set_text(struct look *look, enum outcome outcome, const char *text)
{
    look->outcome = outcome;
    (void)snprintf(look->text, sizeof look->text, "%s", text);
}

static void set_errno(struct look *look, int err)
{
    if (err == ENOENT || err == ENOTDIR) {
        set_text(look, OUTCOME_WRONG_ANSWER, "file does not exist");
        return;
    }
    enum outcome outcome = outcome_of_errno(err);
    if (outcome_class(outcome) != OUTCOME_CLASS_NOT_TRIED)
        outcome = OUTCOME_OWN_ERROR;
    char reason[128];
    look->outcome = outcome;
    (void)snprintf(look->text, sizeof look->text, "cannot look at the file: %s",
                   strerror_r(err, reason, sizeof reason));
}

static bool is_young(struct look *look, const struct stat *st)
{
    const struct file_conf *file = look->conf->scheme_conf;
    struct timespec now;
    (void)clock_gettime(CLOCK_REALTIME, &now);
    int64_t age_ms = (int64_t)(now.tv_sec - st->st_mtim.tv_sec) * 1000 +
                     (now.tv_nsec - st->st_mtim.tv_nsec) / 1000000;
    int64_t off_ms = age_ms < 0 ? -age_ms : age_ms;
    if (file->max_age_ms == 0 || off_ms <= file->max_age_ms)
        return true;
    struct strbuf text;
    strbuf_init(&text, OUTCOME_TEXT_BYTES);
    strbuf_adds(&text, "file was last written ");
    strbuf_adds(&text, age_ms < 0 ? "in the future, by " : "");
    units_format_duration(&text, off_ms / 1000 * 1000);
    strbuf_adds(&text, age_ms < 0 ? "" : " ago");
    strbuf_adds(&text, ", limit ");
    units_format_duration(&text, file->max_age_ms);
    set_text(look, OUTCOME_WRONG_ANSWER, text.data);
    strbuf_done(&text);
    return false;
}

static void match_content(struct look *look, int fd)
{
    const struct file_conf *file = look->conf->scheme_conf;
    size_t len = 0;
    ssize_t r = 0;
    char *content = malloc(CONTENT_BYTES);
    if (content == NULL) {
        set_text(look, OUTCOME_OWN_MEMORY, "");
        return;
    }
    while (len < CONTENT_BYTES && (r = read(fd, content + len, CONTENT_BYTES - len)) > 0)
        len += (size_t)r;
    if (r < 0) {
        set_errno(look, errno);
    } else {
        set_text(look, OUTCOME_OK, "");
        look->outcome = expect_pattern_match(file->pattern, content, len, look->text);
        if (look->outcome == OUTCOME_BODY_MISMATCH && look->text[0] == '\0')
            set_text(look, OUTCOME_BODY_MISMATCH, "content does not match");
    }
    free(content);
}

static void look_inside(struct look *look)
{
    const struct file_conf *file = look->conf->scheme_conf;
    struct stat st;
    /* A pipe or a device must neither block nor notice. */
    int fd = open(file->path, O_RDONLY | O_NONBLOCK | O_NOCTTY | O_CLOEXEC);
    if (fd < 0 || fstat(fd, &st) != 0)
        set_errno(look, errno);
    else if (!S_ISREG(st.st_mode))
        set_text(look, OUTCOME_WRONG_ANSWER, "not a regular file");
    else
        match_content(look, fd);
    if (fd >= 0)
        close(fd);
}

static void look_unref(struct look *look)
{
    if (atomic_fetch_sub_explicit(&look->refs, 1, memory_order_acq_rel) > 1)
        return;
    close(look->done_fd);
    config_unref(look->conf->owner);
    free(look);
}

static void *run_look(void *arg)
{
    struct look *look = arg;
    const struct file_conf *file = look->conf->scheme_conf;
    struct stat st;
    if (stat(file->path, &st) != 0)
        set_errno(look, errno);
    else if (!is_young(look, &st))
        ; /* said so */
    else if (file->pattern != NULL)
        look_inside(look);
    else
        set_text(look, OUTCOME_OK, "");
    atomic_fetch_sub(&threads, 1);
    (void)eventfd_write(look->done_fd, 1);
    look_unref(look);
    return NULL;
}

/* ---- on the checker ---- */

static void on_done(struct loop_watch *w, uint32_t events)
{
    checker_role_assert();
    struct file_probe *f = (struct file_probe *)((char *)w - offsetof(struct file_probe, watch));
    eventfd_t ignored;
    (void)events; /* the first is "writable" */
    if (eventfd_read(f->look->done_fd, &ignored) == 0)
        probe_finish(&f->probe, f->look->outcome, f->look->text);
}

/* 0 or errno. */
static int start_thread(struct look *look)
{
    pthread_attr_t attr;
    pthread_t thread;
    int err = pthread_attr_init(&attr);
    if (err != 0)
        return err;
    err = pthread_attr_setdetachstate(&attr, PTHREAD_CREATE_DETACHED);
    if (err == 0)
        err = pthread_attr_setstacksize(&attr, STACK_BYTES);
    atomic_fetch_add(&look->refs, 1);
    atomic_fetch_add(&threads, 1);
    if (err == 0)
        err = pthread_create(&thread, &attr, run_look, look);
    if (err != 0) {
        atomic_fetch_sub(&threads, 1);
        atomic_fetch_sub(&look->refs, 1);
    }
    (void)pthread_attr_destroy(&attr);
    return err;
}

static int file_start(struct probe *p)
{
    checker_role_assert();
    struct file_probe *f = (struct file_probe *)p;
    f->watch = (struct loop_watch){.fd = -1, .ready = on_done};
    if (atomic_load(&threads) >= THREADS_MAX) {
        probe_finishf(p, OUTCOME_OWN_ERROR, "%d looks at files hang already", THREADS_MAX);
        return 0;
    }
    struct look *look = calloc(1, sizeof *look);
    if (look == NULL)
        return -ENOMEM;
    look->done_fd = eventfd(0, EFD_NONBLOCK | EFD_CLOEXEC);
    if (look->done_fd < 0) {
        free(look);
        return -errno;
    }
    atomic_init(&look->refs, 1);
    look->conf = p->conf;
    config_ref(p->conf->owner);
    f->look = look;
    probe_enter(p, PROBE_PHASE_EXCHANGE);
    int err = -loop_watch_add(engine_loop(p->engine), &f->watch, look->done_fd);
    if (err == 0)
        err = start_thread(look);
    if (err != 0) {
        loop_watch_remove(engine_loop(p->engine), &f->watch);
        look_unref(look);
    }
    return err == EAGAIN ? -ENOMEM : -err; /* EAGAIN: no more threads */
}

static void file_stop(struct probe *p)
{
    checker_role_assert();
    struct file_probe *f = (struct file_probe *)p;
    if (f->look == NULL)
        return;
    loop_watch_remove(engine_loop(p->engine), &f->watch);
    look_unref(f->look);
}

static const struct probe_ops file_ops = {
    .probe_size = sizeof(struct file_probe),
    .start = file_start,
    .stop = file_stop,
};

extern const struct scheme scheme_file;

const struct scheme scheme_file = {
    .name = "file",
    .flags = SCHEME_FILE | SCHEME_PATH,
    .conf_size = sizeof(struct file_conf),
    .keys = file_keys,
    .prepare = file_prepare,
    .release = file_release,
    .ops = &file_ops,
};
