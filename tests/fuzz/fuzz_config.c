/*
 * The configuration loader. An input is the text of main.conf and, each behind a line "---", those
 * of a.conf, b.conf and d/c.conf, which it may include; they lie in a folder of their own. All of
 * it is read, twice, with the same end: faults that each name a line of one of the files, or a
 * configuration that keeps its own rules and that -t can tell about.
 *
 * A text must not reach what is outside the folder (a device, a pipe, a tree that takes minutes to
 * search): there, nothing is found. OpenSSL reads no files here, tests/unit/test_tls has those.
 */
#include "fuzz.h"

#include "command/advice.h"
#include "command/examine.h"
#include "command/forecast.h"
#include "probe/tls.h"

#include <healthsvc/config.h>
#include <healthsvc/probe.h>
#include <healthsvc/strbuf.h>
#include <healthsvc/units.h>

#include <errno.h>
#include <fcntl.h>
#include <glob.h>
#include <limits.h>
#include <stdarg.h>
#include <stdbool.h>
#include <sys/stat.h>
#include <unistd.h>

/* The linker puts these in the place of the functions that the loader calls. */
int __real_open(const char *path, int flags, ...);
int __wrap_open(const char *path, int flags, ...);
int __real_glob(const char *pattern, int flags, int (*on_error)(const char *, int), glob_t *found);
int __wrap_glob(const char *pattern, int flags, int (*on_error)(const char *, int), glob_t *found);
int __real_tls_profile_get(struct config *config, const struct tls_conf *conf, struct strbuf *why,
                           struct tls_profile **ret_profile);
int __wrap_tls_profile_get(struct config *config, const struct tls_conf *conf, struct strbuf *why,
                           struct tls_profile **ret_profile);
struct tls_profile *__real_tls_profile_unref(struct tls_profile *profile);
struct tls_profile *__wrap_tls_profile_unref(struct tls_profile *profile);

/* libconfig 1.5 does not free the string that it was reading when it met a fault of syntax: some
 * bytes for each such file. The sanitizer asks for this by name. */
const char *__lsan_default_suppressions(void);

const char *__lsan_default_suppressions(void)
{
    return "leak:strbuf_append\nleak:libconfig_yylex\n"; /* libconfig's; ours have other names */
}

static const char *const files[] = {"main.conf", "a.conf", "b.conf", "d/c.conf"};
#define FILES (sizeof files / sizeof files[0])

/* In the environment, for password_env. */
#define SECRET "hush-hush"

static char folder[PATH_MAX]; /* "": not made yet */
static bool loading;
static bool secret_written; /* in the input itself: then it may be told */

/* ---- the walls ---- */

static bool is_inside(const char *path)
{
    size_t len = strlen(folder);
    return strncmp(path, folder, len) == 0 && path[len] == '/' && strstr(path, "/..") == NULL;
}

int __wrap_open(const char *path, int flags, ...)
{
    va_list args;
    va_start(args, flags);
    mode_t mode = flags & O_CREAT ? va_arg(args, mode_t) : 0;
    va_end(args);
    if (!loading || is_inside(path))
        return __real_open(path, flags, mode);
    errno = ENOENT;
    return -1;
}

int __wrap_glob(const char *pattern, int flags, int (*on_error)(const char *, int), glob_t *found)
{
    if (!loading || is_inside(pattern))
        return __real_glob(pattern, flags, on_error, found);
    found->gl_pathc = 0;
    found->gl_pathv = NULL;
    return GLOB_NOMATCH;
}

/* Stands for any profile. */
static char profile_mark;

int __wrap_tls_profile_get(struct config *config, const struct tls_conf *conf, struct strbuf *why,
                           struct tls_profile **ret_profile)
{
    if (!loading)
        return __real_tls_profile_get(config, conf, why, ret_profile);
    *ret_profile = (struct tls_profile *)(void *)&profile_mark;
    return 0;
}

struct tls_profile *__wrap_tls_profile_unref(struct tls_profile *profile)
{
    return (void *)profile == &profile_mark ? NULL : __real_tls_profile_unref(profile);
}

/* ---- the files ---- */

static unsigned line_counts[FILES];

static void clean_up(void)
{
    char path[PATH_MAX + 16];
    for (size_t i = 0; i < FILES; i++) {
        (void)snprintf(path, sizeof path, "%s/%s", folder, files[i]);
        (void)unlink(path);
    }
    (void)snprintf(path, sizeof path, "%s/d", folder);
    (void)rmdir(path);
    (void)rmdir(folder);
}

static void make_folder(void)
{
    const char *temporary = getenv("TMPDIR");
    char path[PATH_MAX + 16];
    (void)snprintf(folder, sizeof folder, "%s/healthsvc-fuzz-XXXXXX",
                   temporary != NULL ? temporary : "/tmp");
    HOLDS(mkdtemp(folder) != NULL);
    (void)snprintf(path, sizeof path, "%s/d", folder);
    HOLDS(mkdir(path, 0700) == 0);
    HOLDS(setenv("FUZZ_SECRET", SECRET, 1) == 0 && setenv("CREDENTIALS_DIRECTORY", folder, 1) == 0);
    atexit(clean_up);
}

/* NULL: there is no such file. */
static void write_file(size_t i, const uint8_t *text, size_t len)
{
    char path[PATH_MAX + 16];
    (void)snprintf(path, sizeof path, "%s/%s", folder, files[i]);
    line_counts[i] = 0;
    if (text == NULL) {
        (void)unlink(path);
        return;
    }
    int fd = open(path, O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC, 0644);
    HOLDS(fd >= 0 && write(fd, text, len) == (ssize_t)len);
    close(fd);
    line_counts[i] = 1;
    for (size_t k = 0; k < len; k++)
        line_counts[i] += text[k] == '\n';
}

static void write_files(const uint8_t *data, size_t size)
{
    static const char mark[] = "\n---\n";
    for (size_t i = 0; i < FILES; i++) {
        const uint8_t *found = data != NULL ? memmem(data, size, mark, sizeof mark - 1) : NULL;
        size_t len = found != NULL ? (size_t)(found - data) + 1 : size; /* with its newline */
        write_file(i, data, len);
        data = found != NULL ? found + sizeof mark - 1 : NULL;
        size = found != NULL ? size - len - (sizeof mark - 2) : 0;
    }
}

/* ---- what must hold ---- */

static void check_words(const char *text)
{
    HOLDS(strchr(text, '\n') == NULL && (secret_written || strstr(text, SECRET) == NULL));
}

/* "FOLDER/FILE:LINE: sentence", in one line. */
static void check_place(const char *text)
{
    size_t len = strlen(folder), i = 0;
    char *end = NULL;
    HOLDS(strncmp(text, folder, len) == 0 && text[len] == '/');
    text += len + 1;
    while (i < FILES &&
           (strncmp(text, files[i], strlen(files[i])) != 0 || text[strlen(files[i])] != ':'))
        i++;
    HOLDS(i < FILES);
    text += strlen(files[i]) + 1;
    unsigned long line = strtoul(text, &end, 10);
    /* libconfig finds that something is missing behind the last line. */
    HOLDS(end > text && line >= 1 && line <= line_counts[i] + 1);
    HOLDS(end[0] == ':' && end[1] == ' ' && end[2] != '\0');
    check_words(end);
}

static void on_fault(void *arg, const char *text)
{
    struct strbuf *faults = arg;
    check_place(text);
    strbuf_adds(faults, text);
    strbuf_addc(faults, '\n');
}

static void on_advice(void *arg, const char *text)
{
    size_t *count = arg;
    HOLDS(strncmp(text, folder, strlen(folder)) == 0 && strstr(text, ": warning: ") != NULL);
    check_words(text);
    (*count)++;
}

static void check_target(const struct config *config, size_t i)
{
    const struct target_conf *t = config->targets[i];
    struct forecast_times times = forecast_times(t);
    HOLDS(t->owner == config && t->position == i && t->scheme != NULL && t->scheme->ops != NULL);
    HOLDS(config_find_target(config, t->name) == t);
    HOLDS(strspn(t->name, "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789._-") ==
              strlen(t->name) &&
          t->name[0] != '\0' && strlen(t->name) <= 64);
    HOLDS(t->period_ms >= 100 && t->period_ms <= 86400000 && t->timeout_ms > 0);
    HOLDS(t->timeout_ms < t->period_ms && t->confirm_ms > 0 && t->confirm_ms <= t->period_ms);
    HOLDS(t->max_age_ms >= t->period_ms && t->time_warn_ms >= 0 && t->time_fail_ms >= 0);
    HOLDS(t->fall >= 1 && t->fall <= 100 && t->rise >= 1 && t->rise <= 100);
    HOLDS((t->url != NULL) != (t->exec != NULL));
    HOLDS(times.down_prompt_ms > 0 && times.down_ms >= times.down_prompt_ms);
    HOLDS(times.up_prompt_ms > 0 && times.up_ms >= times.up_prompt_ms && times.stale_ms > 0);
    HOLDS(i == 0 || strcmp(config->by_name[i - 1]->name, config->by_name[i]->name) < 0);
}

/* As -t does. */
static void check_told(const struct config *config)
{
    struct advice_descriptors descriptors = {
        .have = 100,
        .needed = 200,
        .checks = 4,
        .shortage = config->target_count % 2 == 1 ? "there are too few" : NULL,
    };
    struct forecast forecast;
    struct strbuf table;
    size_t advice = 0;
    forecast_make(config, &forecast);
    HOLDS(forecast.steady_per_s >= 0 && forecast.doubt_per_s >= forecast.steady_per_s);
    HOLDS(forecast.rest_bytes > 0 && forecast.worst_bytes >= forecast.rest_bytes);
    strbuf_init(&table, SIZE_MAX / 2);
    HOLDS(examine_table(config, &forecast, &descriptors, &table) == 0);
    HOLDS(strlen(table.data) == table.len);
    HOLDS(advice_tell(config, &forecast, &descriptors, on_advice, &advice) == 0);
    strbuf_done(&table);
}

static void check_config(const struct config *config)
{
    HOLDS(config->name != NULL && config->unhealthy_status >= 400 &&
          config->unhealthy_status <= 599 && config->workers > 0);
    for (size_t i = 0; i < config->listen_count; i++)
        HOLDS(config->listen[i].workers > 0 && config->listen[i].serve != 0);
    for (size_t i = 0; i < config->target_count; i++)
        check_target(config, i);
    check_told(config);
}

static void check_same(const struct config *a, const struct config *b)
{
    struct strbuf names;
    strbuf_init(&names, 4096);
    HOLDS(a->target_count == b->target_count && a->listen_count == b->listen_count);
    HOLDS(strcmp(a->name, b->name) == 0 && a->workers == b->workers);
    for (size_t i = 0; i < a->target_count; i++)
        HOLDS(config_compare_targets(a->targets[i], b->targets[i], &names) == CONFIG_CHANGE_NONE);
    HOLDS(names.len == 0);
    strbuf_done(&names);
}

static struct config *load(struct strbuf *faults)
{
    char path[PATH_MAX + 16];
    struct config *config = NULL;
    (void)snprintf(path, sizeof path, "%s/%s", folder, files[0]);
    strbuf_init(faults, SIZE_MAX / 2);
    loading = true;
    int r = config_load(path, on_fault, faults, &config);
    loading = false;
    HOLDS(r == 0 ? config != NULL && faults->len == 0
                 : r == -EINVAL && config == NULL && faults->len > 0);
    return config;
}

void fuzz_config(const struct fuzz_target *target, const uint8_t *data, size_t size)
{
    struct strbuf faults, again;
    (void)target;
    if (folder[0] == '\0')
        make_folder();
    write_files(data, size);
    secret_written = memmem(data, size, SECRET, sizeof SECRET - 1) != NULL;
    struct config *first = load(&faults), *second = load(&again);
    HOLDS(strcmp(faults.data, again.data) == 0);
    if (first != NULL) {
        check_config(first);
        check_same(first, second);
    }
    config_unref(first);
    config_unref(second);
    strbuf_done(&faults);
    strbuf_done(&again);
}
