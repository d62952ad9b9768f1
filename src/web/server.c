/*
 * The list of contexts is the server's whole state. A reload marks which of them the new
 * configuration wants and starts what is missing; commit and abort then differ only in which of
 * the two kinds they stop. Addresses are compared as they are written: an address that changed
 * its spelling is a new one (and cannot be bound while the old is served). One that gets another
 * number of workers is started anew on the same socket, so nobody finds it closed.
 */
#include <healthsvc/server.h>

#include <civetweb.h>
#include <errno.h>
#include <stdbool.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include <healthsvc/clock.h>
#include <healthsvc/config.h>
#include <healthsvc/log.h>
#include <healthsvc/stats.h>
#include <healthsvc/strbuf.h>

#include "web/context.h"
#include "web/passed.h"

/* Before clients are refused, those whose connection has begun get this long to be answered: as
 * long as there is traffic, but idle connections are not waited for longer than SETTLE_IDLE_MS,
 * those that have yet to ask for something not longer than SETTLE_UNHEARD_MS, and a flood not
 * longer than SETTLE_LIMIT_MS. */
#define SETTLE_QUIET_MS 20
#define SETTLE_IDLE_MS 100
#define SETTLE_UNHEARD_MS 1000
#define SETTLE_LIMIT_MS 2000
#define SETTLE_TICK_MS 2

/* A look at our descriptors takes one, the proof of a new listener two. */
#define PASSING_DESCRIPTORS 3

struct entry {
    struct entry *next;
    struct web_context *context;
    int passed;                         /* the socket that systemd passed; -1: one of our own */
    const struct config_listen *wanted; /* by the configuration that is being prepared, or NULL */
    bool replaced;                      /* wanted, but by an entry of its own */
    bool fresh;                         /* started by that preparation */
    struct entry *replaces;             /* then: the one whose socket it was started on, or NULL */
};

struct server {
    struct entry *entries;
};

static bool is_unwanted(const struct entry *e)
{
    return e->wanted == NULL || e->replaced;
}

static bool is_fresh(const struct entry *e)
{
    return e->fresh;
}

static bool is_any(const struct entry *e)
{
    (void)e;
    return true;
}

/* Moves the entries that match out of the server's list. */
static struct entry *take_out(struct server *server, bool (*matches)(const struct entry *))
{
    struct entry *taken = NULL;
    struct entry **at = &server->entries;
    while (*at != NULL) {
        struct entry *e = *at;
        if (matches(e)) {
            *at = e->next;
            e->next = taken;
            taken = e;
        } else {
            at = &e->next;
        }
    }
    return taken;
}

static void settle(const struct entry *entries)
{
    static const struct timespec tick = {.tv_nsec = SETTLE_TICK_MS * 1000000L};
    int64_t begun = clock_mono_ms();
    int64_t quiet_since = begun;
    for (;;) {
        int64_t now = clock_mono_ms();
        int64_t limit_ms = 0; /* of what there is, the longest */
        for (const struct entry *e = entries; e != NULL; e = e->next) {
            if (web_context_has_waiting(e->context))
                limit_ms = SETTLE_LIMIT_MS;
            else if (web_context_has_unheard(e->context) && limit_ms < SETTLE_UNHEARD_MS)
                limit_ms = SETTLE_UNHEARD_MS;
            else if (web_context_has_busy(e->context) && limit_ms < SETTLE_IDLE_MS)
                limit_ms = SETTLE_IDLE_MS;
        }
        if (limit_ms > 0)
            quiet_since = now;
        if (limit_ms > 0 ? now - begun >= limit_ms : now - quiet_since >= SETTLE_QUIET_MS)
            return;
        nanosleep(&tick, NULL);
    }
}

/* All of them together, so that clients are not sent from one closing address to the next. */
static void stop_entries(struct entry *entries)
{
    if (entries == NULL)
        return;
    for (struct entry *e = entries; e != NULL; e = e->next)
        web_context_drain(e->context);
    settle(entries);
    while (entries != NULL) {
        struct entry *e = entries;
        entries = e->next;
        e->context = web_context_stop(e->context);
        free(e);
    }
}

static void count_workers(const struct server *server)
{
    int64_t sum = 0;
    for (const struct entry *e = server->entries; e != NULL; e = e->next)
        sum += web_context_workers(e->context);
    atomic_store(&stats.workers, sum);
}

/* The entry that serves it already; an address written twice (port 0) needs two. */
static struct entry *find_entry(const struct server *server, const struct config_listen *listen,
                                int passed)
{
    for (struct entry *e = server->entries; e != NULL; e = e->next) {
        if (e->wanted == NULL && e->passed == passed &&
            (passed >= 0 || web_context_is_at(e->context, listen)))
            return e;
    }
    return NULL;
}

static int add_entry(struct server *server, const struct config_listen *listen, int passed,
                     struct entry *replaces, struct strbuf *why)
{
    struct entry *e = calloc(1, sizeof *e);
    int shared = replaces != NULL ? web_context_socket(replaces->context) : passed;
    if (e == NULL)
        return -ENOMEM;
    int rc = web_context_start(listen, shared, &e->context, why);
    if (rc < 0) {
        free(e);
        return rc;
    }
    e->passed = passed;
    e->wanted = listen;
    e->fresh = true;
    e->replaces = replaces;
    struct entry **end = &server->entries;
    while (*end != NULL)
        end = &(*end)->next;
    *end = e;
    return 0;
}

static int want(struct server *server, const struct config_listen *listen, int passed,
                struct strbuf *why)
{
    struct entry *e = find_entry(server, listen, passed);
    if (e == NULL)
        return add_entry(server, listen, passed, NULL, why);
    e->wanted = listen;
    int rc = web_context_try(e->context, listen, why);
    if (rc < 0 || web_context_workers(e->context) == listen->workers)
        return rc;
    e->replaced = true;
    return add_entry(server, listen, passed, e, why);
}

static bool is_named(const struct config *config, const struct passed *p)
{
    for (size_t i = 0; i < config->listen_count; i++) {
        const char *name = config->listen[i].passed_name;
        if (name != NULL && strcmp(name, p->name) == 0)
            return true;
    }
    return false;
}

/* True if that socket is one of those that `listen` means. */
static bool means(const struct config *config, const struct config_listen *listen,
                  const struct passed *p)
{
    if (listen->kind != LISTEN_PASSED)
        return false;
    return listen->passed_name != NULL ? strcmp(listen->passed_name, p->name) == 0
                                       : !is_named(config, p);
}

static int want_passed(struct server *server, const struct config *config,
                       const struct config_listen *listen, struct strbuf *why)
{
    const struct passed *p;
    size_t found = 0;
    for (size_t i = 0; (p = passed_at(i)) != NULL; i++) {
        if (!means(config, listen, p))
            continue;
        found++;
        if (!p->fit) {
            strbuf_addf(why,
                        "cannot serve %s: descriptor %d (%s) is not a listening stream socket of "
                        "TCP or Unix",
                        listen->text, p->fd, p->name);
            return -EINVAL;
        }
        int rc = want(server, listen, p->fd, why);
        if (rc < 0)
            return rc;
    }
    if (found > 0)
        return 0;
    strbuf_addf(why, "cannot serve %s: systemd has passed no %s", listen->text,
                passed_at(0) == NULL ? "socket" : "such socket");
    for (size_t i = 0; (p = passed_at(i)) != NULL; i++)
        strbuf_addf(why, "%s%s", i > 0 ? ", " : ", but ", p->name);
    return -ENOENT;
}

int server_prepare(struct server *server, const struct config *config, struct strbuf *why)
{
    for (size_t i = 0; i < config->listen_count; i++) {
        const struct config_listen *listen = &config->listen[i];
        int rc = listen->kind == LISTEN_PASSED ? want_passed(server, config, listen, why)
                                               : want(server, listen, -1, why);
        if (rc < 0) {
            server_abort(server);
            return rc;
        }
    }
    return 0;
}

static void forget_preparation(struct server *server)
{
    for (struct entry *e = server->entries; e != NULL; e = e->next) {
        e->wanted = NULL;
        e->replaced = false;
        e->fresh = false;
        e->replaces = NULL;
    }
    count_workers(server);
}

/* Clients of such a socket would wait for ever. */
static void warn_of_unserved(const struct server *server)
{
    const struct passed *p;
    for (size_t i = 0; (p = passed_at(i)) != NULL; i++) {
        const struct entry *e = server->entries;
        while (e != NULL && e->passed != p->fd)
            e = e->next;
        if (e == NULL)
            log_warning("the socket %s (descriptor %d) that systemd has passed is not served: no "
                        "'listen' names it",
                        p->name, p->fd);
    }
}

void server_commit(struct server *server)
{
    for (struct entry *e = server->entries; e != NULL; e = e->next) {
        if (e->replaces != NULL)
            web_context_succeed(e->context, e->replaces->context);
        if (e->wanted != NULL)
            web_context_keep(e->context, e->wanted);
    }
    stop_entries(take_out(server, is_unwanted));
    forget_preparation(server);
    warn_of_unserved(server);
}

void server_abort(struct server *server)
{
    stop_entries(take_out(server, is_fresh));
    for (struct entry *e = server->entries; e != NULL; e = e->next)
        web_context_undo(e->context);
    forget_preparation(server);
}

int server_start(const struct config *config, struct server **ret_server, struct strbuf *why)
{
    struct server *server = calloc(1, sizeof *server);
    if (server == NULL)
        return -ENOMEM;
    mg_init_library(0); /* returns the features initialised: none */
    int rc = server_prepare(server, config, why);
    if (rc < 0) {
        server_stop(server);
        return rc;
    }
    server_commit(server);
    *ret_server = server;
    return 0;
}

/* How many sockets an address stands for; while none has been passed (-t), one for each. */
static size_t count_sockets(const struct config *config, const struct config_listen *listen)
{
    const struct passed *p;
    size_t count = 0;
    if (listen->kind != LISTEN_PASSED || passed_at(0) == NULL)
        return 1;
    for (size_t i = 0; (p = passed_at(i)) != NULL; i++)
        count += means(config, listen, p);
    return count;
}

size_t server_descriptors(const struct config *config)
{
    size_t sum = PASSING_DESCRIPTORS;
    for (size_t i = 0; passed_at(i) != NULL; i++)
        sum++;
    for (size_t i = 0; i < config->listen_count; i++) {
        const struct config_listen *listen = &config->listen[i];
        sum += count_sockets(config, listen) * web_context_descriptors(listen->workers);
    }
    return sum;
}

struct server *server_stop(struct server *server)
{
    if (server == NULL)
        return NULL;
    stop_entries(take_out(server, is_any));
    count_workers(server);
    mg_exit_library();
    free(server);
    return NULL;
}
