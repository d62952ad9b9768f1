/*
 * The list of contexts is the server's whole state. A reload marks which of them the new
 * configuration wants and starts what is missing; commit and abort then differ only in which of
 * the two kinds they stop. Addresses are compared as they are written: an address that changed
 * its spelling is a new one (and cannot be bound while the old is served).
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
#include <healthsvc/stats.h>

#include "web/context.h"

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
    bool wanted; /* by the configuration that was prepared last */
    bool fresh;  /* started by that preparation */
};

struct server {
    struct entry *entries;
    int64_t workers; /* for each address; only a restart changes it */
};

static bool is_unwanted(const struct entry *e)
{
    return !e->wanted;
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
        sum += server->workers;
    atomic_store(&stats.workers, sum);
}

/* Marks the entry that serves this address already; an address written twice (port 0) needs two. */
static bool mark_wanted(struct server *server, const char *address)
{
    for (struct entry *e = server->entries; e != NULL; e = e->next) {
        if (!e->wanted && strcmp(web_context_address(e->context), address) == 0) {
            e->wanted = true;
            return true;
        }
    }
    return false;
}

static int add_entry(struct server *server, const struct config_listen *listen, struct strbuf *why)
{
    struct entry *e = calloc(1, sizeof *e);
    if (e == NULL)
        return -ENOMEM;
    int rc = web_context_start(listen, server->workers, &e->context, why);
    if (rc < 0) {
        free(e);
        return rc;
    }
    e->wanted = true;
    e->fresh = true;
    struct entry **end = &server->entries;
    while (*end != NULL)
        end = &(*end)->next;
    *end = e;
    return 0;
}

int server_prepare(struct server *server, const struct config *config, struct strbuf *why)
{
    for (struct entry *e = server->entries; e != NULL; e = e->next) {
        e->wanted = false;
        e->fresh = false;
    }
    for (size_t i = 0; i < config->listen_count; i++) {
        const struct config_listen *listen = &config->listen[i];
        int rc = mark_wanted(server, listen->text) ? 0 : add_entry(server, listen, why);
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
        e->wanted = true;
        e->fresh = false;
    }
    count_workers(server);
}

void server_commit(struct server *server)
{
    stop_entries(take_out(server, is_unwanted));
    forget_preparation(server);
}

void server_abort(struct server *server)
{
    stop_entries(take_out(server, is_fresh));
    forget_preparation(server);
}

int server_start(const struct config *config, struct server **ret_server, struct strbuf *why)
{
    struct server *server = calloc(1, sizeof *server);
    if (server == NULL)
        return -ENOMEM;
    server->workers = config->workers;
    mg_init_library(0); /* returns the features initialised: none */
    int rc = server_prepare(server, config, why);
    if (rc < 0) {
        server_stop(server);
        return rc;
    }
    forget_preparation(server);
    *ret_server = server;
    return 0;
}

size_t server_descriptors(const struct config *config, int64_t workers)
{
    return config->listen_count * web_context_descriptors(workers) + PASSING_DESCRIPTORS;
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
