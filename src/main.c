/*
 * The order in which things start and stop: configuration, board, checker, server; and back. Signals
 * are taken by sigwait here and nowhere else: nothing runs in a handler.
 */
#ifdef HAVE_CONFIG_H
#include <config.h>
#endif

#include "command/advice.h"
#include "command/ending.h"
#include "command/examine.h"
#include "command/forecast.h"
#include "command/once.h"
#include "command/options.h"
#include "command/query.h"
#include "daemon/limits.h"
#include "daemon/notify.h"
#include "web/passed.h"

#include <healthsvc/board.h>
#include <healthsvc/checker.h>
#include <healthsvc/clock.h>
#include <healthsvc/config.h>
#include <healthsvc/log.h>
#include <healthsvc/pollers.h>
#include <healthsvc/probe.h>
#include <healthsvc/render.h>
#include <healthsvc/server.h>
#include <healthsvc/snapshot.h>
#include <healthsvc/stats.h>
#include <healthsvc/strbuf.h>

#include <errno.h>
#include <pthread.h>
#include <signal.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

#define RECENT_POLLERS_MS (10 * 60 * 1000)
#define PUBLISH_TRIES 10          /* in a row, for the verdict of -1: a second */
#define FIRST_ROUND_LIMIT_MS 1000 /* the shortest timeout that load balancers usually have */

/* ---- what the checker tells (on its thread) ---- */

struct publisher {
    enum verdict verdict;
    bool told;         /* `verdict` has been logged */
    unsigned failures; /* to publish, in a row */
    pthread_mutex_t mutex;
    pthread_cond_t round_done;
    bool round;
    bool gave_up; /* there will be none */
};

static void tell_supervisor(const struct snapshot *s, enum verdict verdict)
{
    size_t up = 0;
    for (size_t i = 0; i < snapshot_count(s); i++) {
        enum target_state state = snapshot_row(s, i)->state;
        up += state == TARGET_UP || state == TARGET_DEGRADED;
    }
    char text[160];
    (void)snprintf(text, sizeof text, "health: %s, %zu of %zu dependencies up",
                   verdict_token(verdict), up, snapshot_count(s));
    notify_status_health(text);
}

static void end_round(struct publisher *p, bool *how)
{
    pthread_mutex_lock(&p->mutex);
    *how = true;
    pthread_cond_signal(&p->round_done);
    pthread_mutex_unlock(&p->mutex);
}

static int on_publish(void *arg, struct config *config, const struct target_view *const *views,
                      size_t count)
{
    struct publisher *p = arg;
    struct snapshot *s = NULL;
    int r = snapshot_new(config, views, count, &s);
    if (r < 0) {
        if (p->failures++ == 0)
            log_error("cannot publish the results: %s; the results before stay until it can be "
                      "done",
                      strerror(-r));
        if (p->failures == PUBLISH_TRIES)
            end_round(p, &p->gave_up);
        return r;
    }
    if (p->failures > 0)
        log_notice("the results are published again");
    p->failures = 0;
    struct moment m;
    board_moment(&m);
    m.beat_mono_ms = m.now_mono_ms; /* this is the loop speaking */
    enum verdict verdict = snapshot_read(s, &m).verdict;
    if (!p->told || verdict != p->verdict) {
        if (p->told)
            log_line(verdict == VERDICT_PASS ? LOG_LEVEL_NOTICE : LOG_LEVEL_WARNING,
                     "the health of %s is %s, was %s verdict=%s", config->name,
                     verdict_token(verdict), verdict_token(p->verdict), verdict_token(verdict));
        p->told = true;
        p->verdict = verdict;
        tell_supervisor(s, verdict);
    }
    board_publish(s);
    return 0;
}

static void on_reloaded(void *arg, const char *summary)
{
    (void)arg;
    log_notice("reloaded: %s", summary);
    stats_add(&stats.reloads_ok, 1);
    atomic_store(&stats.last_reload_wall_ms, clock_wall_ms());
    notify_reload_applied();
}

static void on_beat(void *arg)
{
    (void)arg;
    board_beat(clock_mono_ms());
    notify_watchdog();
}

static void on_first_round(void *arg)
{
    limits_trim_memory(); /* what reading, planning and asking all at once took */
    struct publisher *p = arg;
    end_round(p, &p->round);
}

static struct publisher publisher = {
    .mutex = PTHREAD_MUTEX_INITIALIZER,
    .round_done = PTHREAD_COND_INITIALIZER,
};

static const struct checker_hooks hooks = {
    .publish = on_publish,
    .reloaded = on_reloaded,
    .beat = on_beat,
    .first_round = on_first_round,
    .arg = &publisher,
};

/* ---- modes ---- */

#define FAULT_BYTES 256 /* of the first one, for who has room for no more */

/* `first` is of FAULT_BYTES, or NULL. */
static void keep_fault(char *first, const char *text)
{
    if (first != NULL && first[0] == '\0')
        (void)snprintf(first, FAULT_BYTES, "%s", text);
}

static void print_fault(void *arg, const char *text)
{
    (void)fprintf(stderr, "%s\n", text);
    keep_fault(arg, text);
}

static void log_fault(void *arg, const char *text)
{
    log_error("%s", text);
    keep_fault(arg, text);
}

/* config_load() that tells every reason. */
static int load(const char *path, config_fault_fn tell, char *first, struct config **ret_config)
{
    int r = config_load(path, tell, first, ret_config);
    if (r == -ENOMEM) {
        char text[FAULT_BYTES];
        (void)snprintf(text, sizeof text, "no memory left to read %s", path);
        tell(first, text);
    }
    return r;
}

/* What it will do and need goes to standard output, what is wrong or odd to standard error. */
static int examine(const struct config *config)
{
    struct forecast forecast;
    struct strbuf why, table;
    size_t for_clients = server_descriptors(config);
    forecast_make(config, &forecast);
    limits_raise_descriptors(); /* as when it serves */
    struct advice_descriptors descriptors = {
        .have = limits_descriptors(),
        .needed = limits_descriptors_for(for_clients, forecast.at_once),
    };
    strbuf_init(&why, 1024);
    strbuf_init(&table, SIZE_MAX / 2);
    if (limits_share_descriptors(for_clients, &why, &descriptors.checks) < 0)
        descriptors.shortage = why.data;
    int r = examine_table(config, &forecast, &descriptors, &table);
    if (r == 0) {
        printf("%s: ok, %zu %s\n%s", config->path, config->target_count,
               config->target_count == 1 ? "dependency" : "dependencies", table.data);
        r = fflush(stdout) == 0 ? advice_tell(config, &forecast, &descriptors, print_fault, NULL)
                                : -EIO;
    }
    strbuf_done(&why);
    strbuf_done(&table);
    return r;
}

static int test(const char *path)
{
    struct config *config = NULL;
    int r = load(path, print_fault, NULL, &config);
    if (r < 0)
        return r == -ENOMEM ? EXIT_FAULT : EXIT_USAGE;
    r = examine(config);
    if (r < 0)
        (void)fprintf(stderr, "healthsvc: %s\n", strerror(-r));
    config_unref(config);
    return r < 0 ? EXIT_FAULT : EXIT_DONE;
}

/* Takes the reference to `config`. */
static int once(struct config *config, enum render_format format)
{
    struct checker *checker = NULL;
    struct strbuf why;
    size_t for_checks;
    strbuf_init(&why, 1024);
    int code = EXIT_USAGE;
    int r = limits_share_descriptors(0, &why, &for_checks);
    if (r == 0)
        r = checker_start(config, for_checks, &hooks, &checker);
    if (r < 0) {
        code = ending_tell(format, EXIT_USAGE, NAGIOS_UNKNOWN, "cannot ask: %s",
                           why.len > 0 ? why.data : strerror(-r));
    } else {
        pthread_mutex_lock(&publisher.mutex);
        while (!publisher.round && !publisher.gave_up)
            pthread_cond_wait(&publisher.round_done, &publisher.mutex);
        bool round = publisher.round;
        pthread_mutex_unlock(&publisher.mutex);
        code = round ? once_print(format)
                     : ending_tell(format, EXIT_USAGE, NAGIOS_UNKNOWN, "no memory for a verdict");
        checker_stop(checker);
    }
    strbuf_done(&why);
    config_unref(config);
    return code;
}

struct daemon {
    const char *path;
    struct config *config; /* the one in force */
    struct checker *checker;
    struct server *server;
};

/* New addresses are bound before anything changes: if one cannot be, nothing has. */
static int reload_into(struct daemon *d, struct config *config, struct strbuf *why)
{
    size_t for_checks;
    int r = limits_share_descriptors(server_descriptors(config), why, &for_checks);
    if (r < 0)
        return r;
    r = server_prepare(d->server, config, why);
    if (r < 0)
        return r;
    r = checker_reload(d->checker, config, for_checks);
    if (r < 0) {
        server_abort(d->server);
        return r;
    }
    server_commit(d->server);
    config_unref(d->config);
    d->config = config_ref(config);
    return 0;
}

/* A file that is being written, or was cut by a full disk, may be a whole configuration up to there;
 * what it would take away silently is everything that is asked. */
static int check_loss(const struct daemon *d, const struct config *config, struct strbuf *why)
{
    if (config->lists_dependencies || d->config->target_count == 0)
        return 0;
    strbuf_addf(why,
                "there is no 'dependencies' in %s any more, and %zu are asked now; "
                "dependencies = (); would mean none",
                d->path, d->config->target_count);
    return -EINVAL;
}

static void reload(struct daemon *d)
{
    struct config *config = NULL;
    struct strbuf why;
    char first[FAULT_BYTES] = "";
    strbuf_init(&why, 1024);
    notify_reloading();
    int r = load(d->path, log_fault, first, &config);
    if (r == 0)
        r = check_loss(d, config, &why);
    if (r == 0)
        r = reload_into(d, config, &why);
    if (r < 0) {
        if (first[0] == '\0')
            (void)snprintf(first, sizeof first, "%s", why.len > 0 ? why.data : strerror(-r));
        log_error("reload failed: %s; keeping the running configuration", first);
        stats_add(&stats.reloads_failed, 1);
        notify_reload_failed(first);
    }
    strbuf_done(&why);
    config_unref(config);
    limits_trim_memory();
}

/* Answers "shutting down" until the delay is over; a second signal ends it at once. */
static void wait_out_shutdown(const struct config *config, const sigset_t *signals)
{
    int64_t until_ms = clock_mono_ms() + config->shutdown_delay_ms;
    int64_t left_ms;
    while ((left_ms = until_ms - clock_mono_ms()) > 0) {
        struct timespec wait = {.tv_sec = left_ms / 1000, .tv_nsec = left_ms % 1000 * 1000000};
        int sig = sigtimedwait(signals, NULL, &wait);
        if (sig == SIGTERM || sig == SIGINT)
            _exit(EXIT_FAULT);
        if (sig == SIGHUP)
            log_warning("reload refused: shutting down; keeping the running configuration");
    }
}

static void stop(struct daemon *d, const sigset_t *signals)
{
    board_set_stopping();
    notify_stopping();
    log_notice("shutting down");
    wait_out_shutdown(d->config, signals);
    /* From here on a second signal takes its default action: the process ends at once. */
    sigset_t second;
    sigemptyset(&second);
    sigaddset(&second, SIGTERM);
    sigaddset(&second, SIGINT);
    pthread_sigmask(SIG_UNBLOCK, &second, NULL);
    d->server = server_stop(d->server);
    d->checker = checker_stop(d->checker);
}

/* Clients of a socket that was passed have been waiting since before this process, and can wait a
 * little longer for an answer that is more than "not checked yet". */
static void wait_for_first_round(void)
{
    static const struct timespec tick = {.tv_nsec = 1000000};
    int64_t until_ms = clock_mono_ms() + FIRST_ROUND_LIMIT_MS;
    bool round = false;
    while (!round && clock_mono_ms() < until_ms) {
        nanosleep(&tick, NULL);
        pthread_mutex_lock(&publisher.mutex);
        round = publisher.round;
        pthread_mutex_unlock(&publisher.mutex);
    }
}

/* Takes the reference to `config`, so that nothing keeps the first one beyond a reload. */
static int serve(const char *path, struct config *config, const sigset_t *signals)
{
    struct daemon d = {.path = path, .config = config};
    struct strbuf why;
    size_t for_checks;
    strbuf_init(&why, 1024);
    int r = limits_share_descriptors(server_descriptors(config), &why, &for_checks);
    if (r == 0)
        r = checker_start(config, for_checks, &hooks, &d.checker);
    if (r == 0 && passed_at(0) != NULL)
        wait_for_first_round();
    if (r == 0)
        r = server_start(config, &d.server, &why);
    if (r < 0) {
        log_error("cannot start: %s", why.len > 0 ? why.data : strerror(-r));
        checker_stop(d.checker);
        strbuf_done(&why);
        config_unref(d.config);
        return EXIT_FAULT;
    }
    strbuf_done(&why);
    atomic_store(&stats.start_wall_ms, clock_wall_ms());
    atomic_store(&stats.last_reload_ok, 1);
    atomic_store(&stats.last_reload_wall_ms, clock_wall_ms());
    notify_ready();
    log_notice("serving the health of %s dependencies=%zu version=%s", config->name,
               config->target_count, PACKAGE_VERSION);
    for (bool going = true; going;) {
        int sig = 0;
        if (sigwait(signals, &sig) != 0)
            continue;
        if (sig == SIGHUP)
            reload(&d);
        else if (sig == SIGUSR1)
            pollers_log(clock_wall_ms(), RECENT_POLLERS_MS);
        else if (sig == SIGTERM || sig == SIGINT)
            going = false;
    }
    stop(&d, signals);
    config_unref(d.config);
    return EXIT_DONE;
}

static int run(const struct options *o)
{
    bool serves = o->mode == MODE_SERVE;
    enum render_format format = o->query.format;
    sigset_t signals;
    char first_fault[FAULT_BYTES] = "";
    struct config *config = NULL;
    if (o->mode == MODE_QUERY)
        return query_run(&o->query);
    probe_init();
    if (o->mode == MODE_TEST)
        return test(o->path);

    /* Before any thread exists, so that every thread inherits it: in CivetWeb 1.15 a signal that
     * is handled on a worker closes its connection. */
    sigemptyset(&signals);
    sigaddset(&signals, SIGHUP);
    sigaddset(&signals, SIGINT);
    sigaddset(&signals, SIGTERM);
    sigaddset(&signals, SIGUSR1);
    sigaddset(&signals, SIGUSR2);
    if (serves)
        pthread_sigmask(SIG_BLOCK, &signals, NULL);
    (void)signal(SIGPIPE, SIG_IGN); /* OpenSSL writes with write(2) */
    (void)signal(SIGXFSZ, SIG_IGN); /* a log as large as RLIMIT_FSIZE allows is full, no more */
    log_init();
    notify_init();
    passed_init();
    limits_tame_malloc();
    limits_raise_descriptors();
    limits_forbid_core_dumps();
    int r = load(o->path, serves ? log_fault : print_fault, first_fault, &config);
    if (r < 0) {
        if (serves)
            log_error("cannot start: %s file=%s",
                      r == -ENOMEM ? strerror(-r) : "the configuration has faults", o->path);
        else if (format == RENDER_NAGIOS)
            return ending_tell(format, EXIT_USAGE, NAGIOS_UNKNOWN, "%s", first_fault);
        return serves && r == -ENOMEM ? EXIT_FAULT : EXIT_USAGE;
    }
    int code;
    r = board_open();
    if (r < 0) {
        code = ending_tell(format, EXIT_FAULT, NAGIOS_UNKNOWN, "cannot start: %s", strerror(-r));
        config_unref(config);
    } else {
        code = serves ? serve(o->path, config, &signals) : once(config, format);
    }
    board_close();
    notify_done();
    return code;
}

int main(int argc, char **argv)
{
    struct options o;
    limits_fill_standard_descriptors();
    if (!options_read(argc, argv, &o))
        return EXIT_DONE;
    return o.fault[0] != '\0' ? options_usage(&o) : run(&o);
}
