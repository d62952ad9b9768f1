/*
 * Everything is answered in begin_request: a handler registered for a path would cost a stat() and
 * three locks a request, and leaves the rest to CivetWeb's built-in file server.
 *
 * The path is compared as it came. "//health", "/./health" and "/%68ealth" are other paths, 404:
 * nobody who probes a service writes them, and what is not rewritten cannot be taken for something
 * else by a proxy in front. Names of dependencies need no percent-encoding.
 */
#include "web/routes.h"

#include <civetweb.h>
#include <stdbool.h>
#include <stddef.h>
#include <string.h>
#include <strings.h>

#include <healthsvc/board.h>
#include <healthsvc/clock.h>
#include <healthsvc/config.h>
#include <healthsvc/pollers.h>
#include <healthsvc/render.h>
#include <healthsvc/strbuf.h>

#include "web/details.h"
#include "web/negotiate.h"
#include "web/peer.h"
#include "web/peer.h"
#include "web/reply.h"

#define TYPE_TEXT "text/plain; charset=utf-8"

struct request {
    const struct mg_request_info *info;
    const char *path;  /* raw, without the query */
    const char *query; /* "" if there is none */
};

/* The results as they read now. */
struct view {
    const struct snapshot *snapshot;
    struct moment moment;
    struct reading reading;
};

typedef void (*route_fn)(const struct request *req, const struct view *v, struct strbuf *out,
                         struct answer *ret);

static void answer_sentence(struct answer *ret, int status, struct strbuf *out, const char *text)
{
    *ret = (struct answer){.status = status, .type = TYPE_TEXT};
    strbuf_adds(out, text);
    strbuf_addc(out, '\n');
}

static unsigned serving(const struct mg_request_info *info)
{
    struct web_shared *shared = info->user_data;
    return atomic_load_explicit(&shared->serve, memory_order_relaxed);
}

static int unhealthy_status(const struct view *v)
{
    return (int)snapshot_config(v->snapshot)->unhealthy_status;
}

/* The value of a query's parameter, "" if it has none, NULL if it is not there; *ret_len bytes. */
static const char *query_find(const char *query, const char *name, size_t *ret_len)
{
    size_t name_len = strlen(name);
    for (const char *at = query; *at != '\0';) {
        size_t len = strcspn(at, "&");
        if (len >= name_len && memcmp(at, name, name_len) == 0 &&
            (len == name_len || at[name_len] == '=')) {
            size_t skip = len == name_len ? name_len : name_len + 1;
            *ret_len = len - skip;
            return at + skip;
        }
        at += len;
        at += *at == '&';
    }
    return NULL;
}

/* How an answer about the health is written. */
struct form {
    enum render_format format;
    const char *type; /* Content-Type */
};

static struct form form_of_format(enum render_format format)
{
    switch (format) {
    case RENDER_TEXT:
    case RENDER_NAGIOS:
        break;
    case RENDER_JSON:
        return (struct form){format, "application/json"};
    }
    return (struct form){format, TYPE_TEXT};
}

static struct form form_of_media(enum media media)
{
    switch (media) {
    case MEDIA_TEXT:
        break;
    case MEDIA_HEALTH_JSON:
        return (struct form){RENDER_JSON, "application/health+json"};
    case MEDIA_JSON:
        return form_of_format(RENDER_JSON);
    }
    return form_of_format(RENDER_TEXT);
}

/* As the query names it, else as the Accept headers prefer. False: the query names no format. */
static bool wanted_form(const struct request *req, struct form *ret_form)
{
    struct negotiation n = {0};
    size_t len = 0;
    const char *word = query_find(req->query, "format", &len);
    if (word != NULL) {
        enum render_format format;
        bool known = render_format_find(word, len, &format);
        if (known)
            *ret_form = form_of_format(format);
        return known;
    }
    for (int i = 0; i < req->info->num_headers; i++) {
        if (strcasecmp(req->info->http_headers[i].name, "Accept") == 0)
            negotiate_add(&n, req->info->http_headers[i].value);
    }
    *ret_form = form_of_media(negotiate_choose(&n));
    return true;
}

static void answer_unknown_format(struct strbuf *out, struct answer *ret)
{
    *ret = (struct answer){.status = 400, .type = TYPE_TEXT};
    strbuf_adds(out, "unknown format: there are");
    for (int i = 0; i < RENDER_FORMAT_COUNT; i++)
        strbuf_addf(out, "%s format=%s", i > 0 ? "," : "",
                    render_format_word((enum render_format)i));
    strbuf_addc(out, '\n');
}

/* /health, or with a dependency's row /health/NAME. */
static void answer_health(const struct request *req, const struct view *v,
                          const struct target_view *row, struct strbuf *out, struct answer *ret)
{
    struct form form;
    if (!wanted_form(req, &form)) {
        answer_unknown_format(out, ret);
        return;
    }
    bool good;
    if (row != NULL) {
        good = render_dependency_ok(row, &v->moment, &v->reading);
        render_dependency(v->snapshot, row, &v->moment, &v->reading, form.format, out);
    } else {
        good = v->reading.verdict != VERDICT_FAIL;
        render_health(v->snapshot, &v->moment, &v->reading, form.format, out);
    }
    *ret = (struct answer){
        .status = good ? 200 : unhealthy_status(v),
        .type = form.type,
    };
}

static void route_health(const struct request *req, const struct view *v, struct strbuf *out,
                         struct answer *ret)
{
    answer_health(req, v, NULL, out, ret);
}

static void route_dependency(const struct request *req, const struct view *v, struct strbuf *out,
                             struct answer *ret)
{
    const char *name = req->path + strlen("/health/");
    const struct target_view *row = snapshot_find(v->snapshot, name, strlen(name));
    if (row == NULL)
        answer_sentence(ret, 404, out, "there is no dependency of this name");
    else
        answer_health(req, v, row, out, ret);
}

static void route_livez(const struct request *req, const struct view *v, struct strbuf *out,
                        struct answer *ret)
{
    (void)req;
    if (v->reading.alive)
        answer_sentence(ret, 200, out, "Up and running");
    else
        answer_sentence(ret, unhealthy_status(v), out, v->reading.own_reason);
}

static void route_readyz(const struct request *req, const struct view *v, struct strbuf *out,
                         struct answer *ret)
{
    size_t len;
    bool verbose = query_find(req->query, "verbose", &len) != NULL;
    bool ready = render_readyz(v->snapshot, &v->moment, &v->reading, verbose, out);
    *ret = (struct answer){.status = ready ? 200 : unhealthy_status(v), .type = TYPE_TEXT};
}

static void route_metrics(const struct request *req, const struct view *v, struct strbuf *out,
                          struct answer *ret)
{
    (void)req;
    render_metrics(v->snapshot, &v->moment, &v->reading, out);
    *ret = (struct answer){.status = 200, .type = "text/plain; version=0.0.4; charset=utf-8"};
}

struct route {
    const char *path;
    route_fn fn;
    enum poller_path noted;
    unsigned serve; /* the bit of enum serve that it belongs to */
};

static const struct route routes[] = {
    {"/health", route_health, POLLER_PATH_HEALTH, SERVE_HEALTH},
    {"/livez", route_livez, POLLER_PATH_LIVEZ, SERVE_LIVE},
    {"/readyz", route_readyz, POLLER_PATH_READYZ, SERVE_READY},
    {"/metrics", route_metrics, POLLER_PATH_METRICS, SERVE_METRICS},
};
#define ROUTES (sizeof routes / sizeof *routes)

/* NULL: no such path at an address that answers to `serve`. */
static const struct route *find_route(const char *path, unsigned serve)
{
    static const struct route dependency = {"/health/", route_dependency, POLLER_PATH_DEPENDENCY,
                                            SERVE_HEALTH};
    const struct route *found = NULL;

    if (strncmp(path, dependency.path, strlen(dependency.path)) == 0)
        found = &dependency;
    for (size_t i = 0; i < ROUTES && found == NULL; i++) {
        if (strcmp(path, routes[i].path) == 0)
            found = &routes[i];
    }
    return found != NULL && found->serve & serve ? found : NULL;
}

static void answer_from_board(const struct request *req, route_fn fn, struct strbuf *out,
                              struct answer *ret)
{
    struct snapshot *snapshot = board_acquire();
    if (snapshot == NULL) {
        answer_sentence(ret, 500, out, "starting");
        return;
    }
    struct view v = {.snapshot = snapshot};
    board_moment(&v.moment);
    v.moment.withhold = !details_shown(snapshot_config(snapshot), req->info);
    v.reading = snapshot_read(snapshot, &v.moment);
    fn(req, &v, out, ret);
    snapshot_unref(snapshot);
}

/* "no such path: there are /health, /livez and /metrics" */
static void answer_no_path(struct answer *ret, struct strbuf *out, unsigned serve)
{
    size_t left = 0;
    for (size_t i = 0; i < ROUTES; i++)
        left += (routes[i].serve & serve) != 0;
    strbuf_adds(out, left == 1 ? "no such path: there is " : "no such path: there are ");
    for (size_t i = 0; i < ROUTES; i++) {
        if (!(routes[i].serve & serve))
            continue;
        left--;
        strbuf_addf(out, "%s%s", routes[i].path, left > 1 ? ", " : left == 1 ? " and " : "");
    }
    answer_sentence(ret, 404, out, "");
}

static void answer_elsewhere(const struct request *req, struct strbuf *out, struct answer *ret)
{
    const struct web_shared *shared = req->info->user_data;
    if (strcmp(req->path, shared->proof_path) == 0) {
        /* It comes by a Unix socket, and that has to be seen here. */
        bool seen = peer_find(req->info)->ss_family == AF_UNIX;
        *ret = (struct answer){.status = seen ? 200 : 500, .type = TYPE_TEXT, .uncounted = true};
        return;
    }
    answer_no_path(ret, out, serving(req->info));
}

static void note_poller(const struct mg_request_info *info, const struct route *route, int status)
{
    const char *user_agent = NULL;
    int64_t now_wall_ms = clock_wall_ms();
    for (int i = 0; i < info->num_headers; i++) {
        const struct mg_header *h = &info->http_headers[i];
        if ((h->name[0] | 0x20) == 'u' && strcasecmp(h->name, "User-Agent") == 0)
            user_agent = h->value;
        else if ((h->name[0] | 0x20) == 'x' && strcasecmp(h->name, "X-Haproxy-Server-State") == 0)
            pollers_note_haproxy(h->value, now_wall_ms);
    }
    pollers_note(pollers_from((const struct sockaddr *)peer_find(info)), user_agent,
                 route != NULL ? route->noted : POLLER_PATH_OTHER, status, now_wall_ms);
}

int routes_begin_request(struct mg_connection *conn)
{
    const struct mg_request_info *info = mg_get_request_info(conn);
    struct request req = {
        .info = info,
        .path = info->local_uri_raw,
        .query = info->query_string != NULL ? info->query_string : "",
    };
    struct answer answer;
    struct strbuf *out = reply_begin();
    bool head = strcmp(info->request_method, "HEAD") == 0;
    bool known = head || strcmp(info->request_method, "GET") == 0;
    bool keep = known && reply_may_keep(info);
    const struct route *route = known ? find_route(req.path, serving(info)) : NULL;

    if (!known)
        answer_sentence(&answer, 405, out, "only GET and HEAD are answered here");
    else if (route != NULL)
        answer_from_board(&req, route->fn, out, &answer);
    else
        answer_elsewhere(&req, out, &answer);
    if (!answer.uncounted)
        note_poller(info, route, answer.status);
    reply_send(conn, &answer, head, keep);
    return answer.status;
}

int routes_http_error(struct mg_connection *conn, int status, const char *message)
{
    const struct mg_request_info *info = mg_get_request_info(conn);
    struct answer answer;
    struct strbuf *out = reply_begin();
    (void)message; /* of the library's making, with the peer's bytes in it */
    /* Half parsed: anything may be missing. */
    bool head = info->request_method != NULL && strcmp(info->request_method, "HEAD") == 0;

    if (status == 505)
        answer_sentence(&answer, 505, out, "only the versions 1.1 and 1.0 of HTTP are spoken here");
    else if (status >= 500 && status < 600)
        answer_sentence(&answer, status, out, "this request failed");
    else
        answer_sentence(&answer, 400, out, "this is not a request that can be understood");
    reply_send(conn, &answer, head, false);
    return 0;
}
