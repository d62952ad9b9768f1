/*
 * CivetWeb's options are chosen for answers that take microseconds: a short queue (the kernel's
 * backlog is the real one), every timeout short, no file, no decoding of URLs (%00 would cut a
 * path), no check of host names (it closes without an answer).
 *
 * Stopping. mg_stop() drops answers under way, forgets to close what is in its queue, and waits
 * up to 2 s for its acceptor and for workers with an idle connection. So it is called when nothing
 * is left: nothing more is accepted, every connection is told that no more requests will come, and
 * the listener, which knows those in the queue too, is asked until none is open.
 */
#include "web/context.h"

#include <assert.h>
#include <civetweb.h>
#include <errno.h>
#include <inttypes.h>
#include <semaphore.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/random.h>
#include <time.h>

#include <healthsvc/clock.h>
#include <healthsvc/config.h>
#include <healthsvc/log.h>
#include <healthsvc/room.h>
#include <healthsvc/stats.h>
#include <healthsvc/strbuf.h>
#include <healthsvc/units.h>

#include "web/listener.h"
#include "web/peer.h"
#include "web/reply.h"
#include "web/routes.h"

#define TEXT_OF(number) TEXT_OF_(number)
#define TEXT_OF_(number) #number

/* Accepted connections that wait for a worker; their requests are here already. */
#define QUEUE_LENGTH 128
/* The listener's three, and CivetWeb's. */
#define OWN_DESCRIPTORS 4
/* What CivetWeb 1.15 may take to start: it does not check all that it allocates. */
#define START_BYTES 131072
#define START_WORKER_BYTES 32768
#define LIBRARY_LOG_PAUSE_MS 10000
/* Longer than an answer may take: a client that does not read is cut after the request timeout. */
#define STOP_LIMIT_MS 5000
#define STOP_TICK_MS 2
#define ACCEPTOR_THREAD 0 /* thread_type of civetweb.h */

struct web_context {
    struct web_shared shared; /* first: CivetWeb's user data is both */
    struct listener listener;
    struct mg_context *mg; /* NULL: not started */
    sem_t gate;            /* posted once: the acceptor may begin */
    int64_t workers;
    bool tried; /* mode or group are not those in force */
    enum listen_kind kind;
    char *address; /* as the configuration writes it */
};

/* Those that are served, those that wait for it, and the one that waits to be queued. */
static size_t most_connections(int64_t workers)
{
    return (size_t)workers + QUEUE_LENGTH + 1;
}

static _Thread_local bool heard; /* the connection that this worker serves has asked */

/* The acceptor waits here until its socket has been exchanged. */
static void *on_init_thread(const struct mg_context *mg, int thread_type)
{
    struct web_context *c = mg_get_user_data(mg);
    if (thread_type == ACCEPTOR_THREAD) {
        listener_serve_thread(&c->listener);
        while (sem_wait(&c->gate) != 0) {
            /* EINTR */
        }
    } else {
        reply_thread_init();
    }
    return NULL;
}

static void on_exit_thread(const struct mg_context *mg, int thread_type, void *thread_pointer)
{
    (void)mg;
    (void)thread_pointer;
    if (thread_type != ACCEPTOR_THREAD)
        reply_thread_done();
}

static struct web_context *context_of(const struct mg_connection *conn)
{
    return mg_get_user_context_data(conn);
}

static void count_busy(const struct mg_connection *conn, int change)
{
    struct web_shared *shared = &context_of(conn)->shared;
    atomic_fetch_add_explicit(&shared->busy, change, memory_order_relaxed);
    atomic_fetch_add_explicit(&stats.workers_busy, change, memory_order_relaxed);
}

static int on_init_connection(const struct mg_connection *conn, void **conn_data)
{
    (void)conn_data;
    heard = false;
    peer_forget();
    count_busy(conn, 1);
    return 0;
}

static void note_heard(const struct mg_connection *conn)
{
    if (!heard)
        listener_heard(&context_of(conn)->listener, peer_descriptor(mg_get_request_info(conn)));
    heard = true;
}

static int on_begin_request(struct mg_connection *conn)
{
    note_heard(conn);
    return routes_begin_request(conn);
}

static int on_http_error(struct mg_connection *conn, int status, const char *message)
{
    note_heard(conn);
    return routes_http_error(conn, status, message);
}

static void on_connection_closed(const struct mg_connection *conn)
{
    listener_closed(&context_of(conn)->listener);
    count_busy(conn, -1);
}

/* The library's own words, of which some repeat for every connection. */
static int on_log_message(const struct mg_connection *conn, const char *message)
{
    static atomic_int_fast64_t next_mono_ms;
    int64_t now = clock_mono_ms();
    int_fast64_t next = atomic_load(&next_mono_ms);
    (void)conn;
    if (now >= next &&
        atomic_compare_exchange_strong(&next_mono_ms, &next, now + LIBRARY_LOG_PAUSE_MS)) {
        struct strbuf text;
        strbuf_init(&text, 256);
        strbuf_add_printable(&text, message, strlen(message), 200);
        log_warning("web server: %s", text.data);
        strbuf_done(&text);
    }
    return 1;
}

static const struct mg_callbacks callbacks = {
    .begin_request = on_begin_request,
    .http_error = on_http_error,
    .log_message = on_log_message,
    .init_thread = on_init_thread,
    .exit_thread = on_exit_thread,
    .init_connection = on_init_connection,
    .connection_closed = on_connection_closed,
};

static int start_library(struct web_context *c, struct strbuf *why)
{
    char threads[24], text[200] = "";
    (void)snprintf(threads, sizeof threads, "%" PRId64, c->workers);
    const char *options[] = {
        "listening_ports",
        "127.0.0.1:0", /* never told to anybody */
        "num_threads",
        threads,
        "connection_queue",
        TEXT_OF(QUEUE_LENGTH),
        "listen_backlog",
        "1",
        "max_request_size",
        TEXT_OF(REQUEST_HEAD_BYTES),
        "enable_keep_alive",
        "yes",
        "keep_alive_timeout_ms",
        "5000",
        "request_timeout_ms",
        "2000",
        "decode_url",
        "no",
        "enable_auth_domain_check",
        "no",
        NULL,
    };
    struct mg_init_data init = {
        .callbacks = &callbacks,
        .user_data = c,
        .configuration_options = options,
    };
    struct mg_error_data error = {.text = text, .text_buffer_size = sizeof text};
    struct room *room = room_make(START_BYTES + START_WORKER_BYTES * (size_t)c->workers);
    if (room == NULL)
        return -ENOMEM;
    c->mg = mg_start2(&init, &error);
    room_done(room);
    if (c->mg != NULL)
        return 0;
    strbuf_addf(why, "cannot start %" PRId64 " workers: %s", c->workers, text);
    return -EAGAIN;
}

/* CivetWeb 1.15 does not see that it has no memory for its copy of an option, and crashes with the
 * first request that needs it. */
static bool has_options(const struct mg_context *mg)
{
    for (const struct mg_option *o = mg_get_valid_options(); o->name != NULL; o++) {
        const char *value = mg_get_option(mg, o->name);
        if (o->default_value != NULL && o->default_value[0] != '\0' &&
            (value == NULL || value[0] == '\0'))
            return false;
    }
    return true;
}

/* The acceptor waits until this is done, so there is no request before. */
static int take_over(struct web_context *c, struct strbuf *why)
{
    struct mg_server_port port;
    int rc = mg_get_server_ports(c->mg, 1, &port) == 1 ? 0 : -EPROTO;
    if (rc == 0 && !has_options(c->mg))
        rc = -ENOMEM;
    if (rc == 0)
        rc = listener_install(&c->listener, (uint16_t)port.port);
    sem_post(&c->gate);
    if (rc == 0)
        rc = listener_prove(&c->listener, c->shared.proof_path);
    if (rc < 0)
        strbuf_addf(why, "cannot serve %s: the web server does not answer: %s", c->address,
                    strerror(-rc));
    return rc;
}

static int make_proof_path(struct web_shared *shared, const char *address, struct strbuf *why)
{
    unsigned char bytes[16];
    if (getrandom(bytes, sizeof bytes, 0) != (ssize_t)sizeof bytes) {
        strbuf_addf(why, "cannot serve %s: the kernel gives no random numbers: %s", address,
                    strerror(errno));
        return -EIO;
    }
    shared->proof_path[0] = '/';
    for (size_t i = 0; i < sizeof bytes; i++)
        (void)snprintf(shared->proof_path + 1 + 2 * i, 3, "%02x", bytes[i]);
    return 0;
}

static void log_listening(const struct web_context *c)
{
    struct strbuf text;
    strbuf_init(&text, 512);
    units_format_address(&text, (const struct sockaddr *)&c->listener.addr);
    if (c->kind == LISTEN_PASSED)
        strbuf_addf(&text, " (%s)", c->address);
    log_info("listening on %s", text.data);
    strbuf_done(&text);
}

static void explain_failure(const struct config_listen *listen, int rc, struct strbuf *why)
{
    strbuf_addf(why, "cannot listen on %s: %s", listen->text,
                rc == -ENOTSOCK ? "what is there is not a socket" : strerror(-rc));
}

int web_context_start(const struct config_listen *listen, int shared,
                      struct web_context **ret_context, struct strbuf *why)
{
    struct web_context *c = calloc(1, sizeof *c);
    if (c == NULL)
        return -ENOMEM;
    sem_init(&c->gate, 0, 0); /* fails for a value too large only */
    int reserve = listen->workers >= 8 ? (int)(listen->workers / 4) : 1;
    c->shared.keep_limit = (int)listen->workers - reserve;
    atomic_init(&c->shared.serve, listen->serve);
    c->workers = listen->workers;
    c->kind = listen->kind;
    int rc = listener_open(&c->listener, listen, shared, most_connections(listen->workers),
                           (size_t)listen->workers);
    if (rc < 0) {
        explain_failure(listen, rc, why);
        goto fail;
    }
    c->address = strdup(listen->text);
    rc = c->address != NULL ? make_proof_path(&c->shared, c->address, why) : -ENOMEM;
    if (rc == 0)
        rc = start_library(c, why);
    if (rc == 0)
        rc = take_over(c, why);
    if (rc < 0)
        goto fail;
    log_listening(c);
    *ret_context = c;
    return 0;
fail:
    web_context_stop(c);
    return rc;
}

bool web_context_is_at(const struct web_context *c, const struct config_listen *listen)
{
    if (strcmp(c->address, listen->text) != 0)
        return false;
    return c->kind != LISTEN_UNIX || unix_path_is_ours(&c->listener.path, &c->listener.addr);
}

int64_t web_context_workers(const struct web_context *c)
{
    return c->workers;
}

int web_context_socket(const struct web_context *c)
{
    return c->listener.sock;
}

int web_context_try(struct web_context *c, const struct config_listen *listen, struct strbuf *why)
{
    const struct unix_path *path = &c->listener.path;
    if (path->mode == listen->mode && path->group == listen->group)
        return 0;
    c->tried = true;
    int rc = unix_path_change(path, &c->listener.addr, listen->mode, listen->group);
    if (rc < 0)
        strbuf_addf(why, "cannot change mode and group of %s: %s", listen->text, strerror(-rc));
    return rc;
}

void web_context_keep(struct web_context *c, const struct config_listen *listen)
{
    atomic_store_explicit(&c->shared.serve, listen->serve, memory_order_relaxed);
    c->tried = false;
    c->listener.path.mode = listen->mode;
    c->listener.path.group = listen->group;
}

void web_context_undo(struct web_context *c)
{
    const struct unix_path *path = &c->listener.path;
    if (!c->tried)
        return;
    c->tried = false;
    int rc = unix_path_change(path, &c->listener.addr, path->mode, path->group);
    if (rc < 0)
        log_warning("cannot give %s its mode and group back: %s", c->address, strerror(-rc));
}

void web_context_succeed(struct web_context *c, struct web_context *old)
{
    listener_succeed(&c->listener, &old->listener);
}

void web_context_drain(struct web_context *c)
{
    atomic_store_explicit(&c->shared.draining, true, memory_order_relaxed);
    listener_hold(&c->listener);
}

bool web_context_has_waiting(struct web_context *c)
{
    return listener_waiting(&c->listener);
}

bool web_context_has_unheard(struct web_context *c)
{
    return listener_has_unheard(&c->listener);
}

bool web_context_has_busy(const struct web_context *c)
{
    return atomic_load_explicit(&c->shared.busy, memory_order_relaxed) > 0;
}

static void wait_until_empty(struct web_context *c)
{
    static const struct timespec tick = {.tv_nsec = STOP_TICK_MS * 1000000L};
    int64_t limit_mono_ms = clock_mono_ms() + STOP_LIMIT_MS;
    while (listener_hang_up(&c->listener) > 0) {
        if (clock_mono_ms() >= limit_mono_ms) {
            log_warning("connections of %s did not end, cutting them", c->address);
            return;
        }
        nanosleep(&tick, NULL);
    }
}

struct web_context *web_context_stop(struct web_context *c)
{
    if (c == NULL)
        return NULL;
    listener_retire(&c->listener);
    if (c->mg != NULL) {
        wait_until_empty(c);
        mg_stop(c->mg);
    }
    listener_done(&c->listener);
    sem_destroy(&c->gate);
    free(c->address);
    free(c);
    return NULL;
}

size_t web_context_descriptors(int64_t workers)
{
    return most_connections(workers) + OWN_DESCRIPTORS;
}
