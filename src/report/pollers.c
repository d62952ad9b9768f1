/*
 * A cell a combination of classes, in a static table: nothing is allocated, locked or searched while
 * a request is answered, and no client can make the table, or /metrics, grow. A header of HAProxy's
 * is rare (one a check) and has names in it, so those few have a lock and a bounded list.
 */
#include <healthsvc/pollers.h>

#include <healthsvc/log.h>
#include <healthsvc/strbuf.h>
#include <healthsvc/units.h>
#include "report/formats.h"

#include <inttypes.h>
#include <pthread.h>
#include <stdatomic.h>
#include <stdbool.h>
#include <stdio.h>
#include <string.h>
#include <strings.h>

#define NAME_BYTES 80
#define STATE_BYTES 24

/* How the User-Agent of a known program begins; the first that fits counts. */
static const struct agent {
    const char *token, *prefix;
} agents[] = {
    {"none", NULL}, /* no User-Agent: HAProxy's checks, unless told otherwise */
    {"other", ""},
    {"blackbox_exporter", "Blackbox Exporter/"},
    {"check_http", "check_http/"},
    {"consul", "Consul Health Check"},
    {"curl", "curl/"},
    {"elb", "ELB-HealthChecker/"},
    {"envoy", "Envoy/HC"},
    {"google", "GoogleHC/"},
    {"haproxy", "HAProxy"},
    {"healthsvc", "healthsvc/"},
    {"kubelet", "kube-probe/"},
    {"monit", "Monit/"},
    {"nginx", "nginx"},
    {"prometheus", "Prometheus/"},
    {"browser", "Mozilla/"},
};
#define AGENT_NONE 0
#define AGENT_OTHER 1
#define AGENT_COUNT (sizeof agents / sizeof agents[0])

struct cell {
    atomic_uint_fast64_t requests;
    atomic_int_fast64_t last_wall_ms;
    atomic_int last_status;
};
static struct cell cells[POLLER_FROM_COUNT][AGENT_COUNT][POLLER_PATH_COUNT];

struct haproxy_server {
    char name[NAME_BYTES]; /* "backend/server"; "": free */
    char node[NAME_BYTES];
    char state[STATE_BYTES]; /* "UP", "DOWN 1/2", "NOLB" */
    int64_t seen_wall_ms;
};

struct CAPABILITY("mutex") haproxy_lock {
    pthread_mutex_t mutex;
};
static struct haproxy_lock lock = {PTHREAD_MUTEX_INITIALIZER};
static struct haproxy_server servers[POLLERS_HAPROXY_MAX] GUARDED_BY(lock);

static void lock_servers(void) ACQUIRE(lock) NO_THREAD_SAFETY_ANALYSIS
{
    pthread_mutex_lock(&lock.mutex);
}

static void unlock_servers(void) RELEASE(lock) NO_THREAD_SAFETY_ANALYSIS
{
    pthread_mutex_unlock(&lock.mutex);
}

static const char *from_token(enum poller_from from)
{
    switch (from) {
    case POLLER_FROM_UNKNOWN:
        break;
    case POLLER_FROM_UNIX:
        return "unix";
    case POLLER_FROM_LOOPBACK:
        return "loopback";
    case POLLER_FROM_PRIVATE:
        return "private";
    case POLLER_FROM_PUBLIC:
        return "public";
    }
    return "unknown";
}

static const char *path_token(enum poller_path path)
{
    switch (path) {
    case POLLER_PATH_OTHER:
        break;
    case POLLER_PATH_HEALTH:
        return "/health";
    case POLLER_PATH_DEPENDENCY:
        return "/health/NAME";
    case POLLER_PATH_LIVEZ:
        return "/livez";
    case POLLER_PATH_READYZ:
        return "/readyz";
    case POLLER_PATH_METRICS:
        return "/metrics";
    }
    return "other";
}

static bool in_any(const struct sockaddr *peer, const struct units_network *networks, size_t count)
{
    for (size_t i = 0; i < count; i++) {
        if (units_network_has(&networks[i], peer))
            return true;
    }
    return false;
}

enum poller_from pollers_from(const struct sockaddr *peer)
{
    static const struct units_network loopback[] = {
        {AF_INET, {127}, 8},
        {AF_INET6, {[15] = 1}, 128},
    };
    static const struct units_network private[] = {
        {AF_INET, {10}, 8},           {AF_INET, {172, 16}, 12},  {AF_INET, {192, 168}, 16},
        {AF_INET, {100, 64}, 10},     {AF_INET, {169, 254}, 16}, {AF_INET6, {0xfc}, 7},
        {AF_INET6, {0xfe, 0x80}, 10},
    };

    if (peer->sa_family == AF_UNIX)
        return POLLER_FROM_UNIX;
    if (peer->sa_family != AF_INET && peer->sa_family != AF_INET6)
        return POLLER_FROM_UNKNOWN;
    if (in_any(peer, loopback, sizeof loopback / sizeof loopback[0]))
        return POLLER_FROM_LOOPBACK;
    if (in_any(peer, private, sizeof private / sizeof private[0]))
        return POLLER_FROM_PRIVATE;
    return POLLER_FROM_PUBLIC;
}

static size_t agent_of(const char *user_agent)
{
    if (user_agent == NULL)
        return AGENT_NONE;
    for (size_t i = AGENT_OTHER + 1; i < AGENT_COUNT; i++) {
        if (strncasecmp(user_agent, agents[i].prefix, strlen(agents[i].prefix)) == 0)
            return i;
    }
    return AGENT_OTHER;
}

void pollers_note(enum poller_from from, const char *user_agent, enum poller_path path, int status,
                  int64_t now_wall_ms)
{
    struct cell *c = &cells[from][agent_of(user_agent)][path];
    atomic_fetch_add_explicit(&c->requests, 1, memory_order_relaxed);
    atomic_store_explicit(&c->last_wall_ms, now_wall_ms, memory_order_relaxed);
    atomic_store_explicit(&c->last_status, status, memory_order_relaxed);
}

/* Copies `len` bytes, those that are not printable as dots; cut where there is no room. */
static void copy_word(char *to, size_t room, const char *from, size_t len)
{
    if (len > room - 1)
        len = room - 1;
    for (size_t i = 0; i < len; i++)
        to[i] = from[i] >= ' ' && from[i] <= '~' ? from[i] : '.';
    to[len] = '\0';
}

/* The one of that name and node, else a free one, else the one seen longest ago. */
static struct haproxy_server *place_of(const struct haproxy_server *s) REQUIRES(lock)
{
    struct haproxy_server *oldest = &servers[0];
    for (size_t i = 0; i < POLLERS_HAPROXY_MAX; i++) {
        if (strcmp(servers[i].name, s->name) == 0 && strcmp(servers[i].node, s->node) == 0)
            return &servers[i];
        if (servers[i].seen_wall_ms < oldest->seen_wall_ms)
            oldest = &servers[i];
    }
    return oldest;
}

/* "UP 2/3; name=bck/srv2; node=lb1; weight=1/2; scur=13/22; qcur=0" (HAProxy's configuration
 * manual, http-check send-state). */
void pollers_note_haproxy(const char *header, int64_t now_wall_ms)
{
    struct haproxy_server s = {.seen_wall_ms = now_wall_ms};
    bool first = true;

    for (const char *rest = header; *rest != '\0'; first = false) {
        rest += strspn(rest, " \t");
        size_t len = strcspn(rest, ";");
        if (first)
            copy_word(s.state, sizeof s.state, rest, len);
        else if (strncmp(rest, "name=", 5) == 0)
            copy_word(s.name, sizeof s.name, rest + 5, len - 5);
        else if (strncmp(rest, "node=", 5) == 0)
            copy_word(s.node, sizeof s.node, rest + 5, len - 5);
        rest += len;
        rest += *rest == ';';
    }
    if (s.name[0] == '\0' || s.state[0] == '\0')
        return;
    lock_servers();
    *place_of(&s) = s;
    unlock_servers();
}

/* ---- told ---- */

typedef void (*cell_fn)(enum poller_from from, size_t agent, enum poller_path path,
                        const struct cell *c, void *arg);

static void each_cell(cell_fn fn, void *arg)
{
    for (int from = 0; from < POLLER_FROM_COUNT; from++) {
        for (size_t agent = 0; agent < AGENT_COUNT; agent++) {
            for (int path = 0; path < POLLER_PATH_COUNT; path++) {
                const struct cell *c = &cells[from][agent][path];
                if (atomic_load_explicit(&c->requests, memory_order_relaxed) > 0)
                    fn((enum poller_from)from, agent, (enum poller_path)path, c, arg);
            }
        }
    }
}

struct family {
    const char *name;
    struct strbuf *out;
    void (*add_value)(const struct cell *c, struct strbuf *out);
};

static void add_sample(enum poller_from from, size_t agent, enum poller_path path,
                       const struct cell *c, void *arg)
{
    const struct family *f = arg;
    strbuf_addf(f->out, "%s{from=\"%s\",agent=\"%s\",path=\"%s\"} ", f->name, from_token(from),
                agents[agent].token, path_token(path));
    f->add_value(c, f->out);
    strbuf_addc(f->out, '\n');
}

static void add_requests(const struct cell *c, struct strbuf *out)
{
    strbuf_addf(out, "%" PRIuFAST64, atomic_load_explicit(&c->requests, memory_order_relaxed));
}

static void add_last_status(const struct cell *c, struct strbuf *out)
{
    strbuf_addf(out, "%d", atomic_load_explicit(&c->last_status, memory_order_relaxed));
}

static void add_last_seen(const struct cell *c, struct strbuf *out)
{
    int_fast64_t ms = atomic_load_explicit(&c->last_wall_ms, memory_order_relaxed);
    strbuf_addf(out, "%" PRIdFAST64 ".%03d", ms / 1000, (int)(ms % 1000));
}

static void add_server(const struct haproxy_server *s, struct strbuf *out)
{
    strbuf_adds(out, "healthsvc_haproxy_server_up{server=\"");
    render_label_value(s->name, out);
    strbuf_adds(out, "\",node=\"");
    render_label_value(s->node, out);
    strbuf_addf(out, "\"} %d\n", strncmp(s->state, "UP", 2) == 0);
}

static void add_servers(struct strbuf *out)
{
    bool any = false;
    lock_servers();
    for (size_t i = 0; i < POLLERS_HAPROXY_MAX; i++) {
        if (servers[i].name[0] == '\0')
            continue;
        if (!any)
            render_family("healthsvc_haproxy_server_up", "gauge",
                          "Whether HAProxy said, with its last check, that it has this server up.",
                          out);
        any = true;
        add_server(&servers[i], out);
    }
    unlock_servers();
}

void pollers_add_metrics(struct strbuf *out)
{
    static const struct {
        const char *name, *type, *help;
        void (*add_value)(const struct cell *c, struct strbuf *out);
    } families[] = {
        {"healthsvc_poller_requests_total", "counter", "Requests by who asked for what.",
         add_requests},
        {"healthsvc_poller_last_status", "gauge", "The HTTP status that was last answered.",
         add_last_status},
        {"healthsvc_poller_last_seen_timestamp_seconds", "gauge", "When that was.", add_last_seen},
    };
    for (size_t i = 0; i < sizeof families / sizeof families[0]; i++) {
        struct family f = {families[i].name, out, families[i].add_value};
        size_t before = out->len;
        render_family(f.name, families[i].type, families[i].help, out);
        size_t head_end = out->len;
        each_cell(add_sample, &f);
        // cppcheck-suppress knownConditionTrueFalse; each_cell() adds to it, by way of f
        if (out->len == head_end)
            strbuf_truncate(out, before);
    }
    add_servers(out);
}

struct listing {
    int64_t now_wall_ms, recent_ms;
    size_t count;
};

static void log_cell(enum poller_from from, size_t agent, enum poller_path path,
                     const struct cell *c, void *arg)
{
    struct listing *l = arg;
    int64_t ago_ms = l->now_wall_ms - atomic_load_explicit(&c->last_wall_ms, memory_order_relaxed);
    if (ago_ms > l->recent_ms)
        return;
    l->count++;
    log_notice("asked %" PRId64 "s ago for %s, answered %d from=%s agent=%s requests=%" PRIuFAST64,
               ago_ms > 0 ? ago_ms / 1000 : 0, path_token(path),
               atomic_load_explicit(&c->last_status, memory_order_relaxed), from_token(from),
               agents[agent].token, atomic_load_explicit(&c->requests, memory_order_relaxed));
}

void pollers_log(int64_t now_wall_ms, int64_t recent_ms)
{
    struct listing l = {.now_wall_ms = now_wall_ms, .recent_ms = recent_ms};
    each_cell(log_cell, &l);
    if (l.count == 0)
        log_notice("nobody has asked for %" PRId64 "s", recent_ms / 1000);
    lock_servers();
    for (size_t i = 0; i < POLLERS_HAPROXY_MAX; i++) {
        const struct haproxy_server *s = &servers[i];
        if (s->name[0] != '\0' && now_wall_ms - s->seen_wall_ms <= recent_ms)
            log_notice("HAProxy has %s as \"%s\" node=%s", s->name, s->state, s->node);
    }
    unlock_servers();
}

void pollers_clear(void)
{
    for (int from = 0; from < POLLER_FROM_COUNT; from++) {
        for (size_t agent = 0; agent < AGENT_COUNT; agent++) {
            for (int path = 0; path < POLLER_PATH_COUNT; path++)
                atomic_store(&cells[from][agent][path].requests, 0);
        }
    }
    lock_servers();
    memset(servers, 0, sizeof servers);
    unlock_servers();
}
