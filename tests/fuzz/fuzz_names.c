/*
 * What is known of host names. An input whose first byte is even is what happens to a cache of four
 * names: four bytes each for what, to which name, how it ended, and how much later; a plain model of
 * the rules (dnscache.h, RFC 2308, RFC 8767) must come to the same. Any other input is what a name
 * server answers, after the id and the question, to the resolver's first question about a name; to
 * all others it says NXDOMAIN, so that every look-up ends.
 */
#include "fuzz.h"
#include "fuzz_loop.h"

#include "probe/dnscache.h"
#include "probe/resolver.h"

#include <healthsvc/outcome.h>

#include <arpa/inet.h>
#include <fcntl.h>
#include <netinet/in.h>
#include <stdbool.h>
#include <sys/socket.h>

/* ---- the cache and its model ---- */

#define NAMES 4

static const enum outcome ends[] = {
    OUTCOME_OK,          OUTCOME_DNS_NXDOMAIN, OUTCOME_DNS_NO_ADDRESS, OUTCOME_DNS_TRY_AGAIN,
    OUTCOME_DNS_TIMEOUT, OUTCOME_OWN_MEMORY,
};
static const int64_t steps_ms[] = {0, 1, 4999, 5000, 30000, 299999, 300000, 3600000, 86400000};

struct known {
    bool there;
    bool has; /* addresses, learned then, of which the first is `mark` */
    int64_t learned_ms;
    uint32_t mark;
    enum outcome outcome; /* of what counts last */
    int64_t fresh_until_ms, used_ms;
};

static bool holds_for_a_day(const struct known *k, int64_t now_ms)
{
    return k->has && now_ms - k->learned_ms < 86400000;
}

static void model_settle(struct known *k, const struct dns_result *r, int64_t now_ms)
{
    bool said = r->outcome == OUTCOME_OK || r->outcome == OUTCOME_DNS_NXDOMAIN ||
                r->outcome == OUTCOME_DNS_NO_ADDRESS;
    if (!said && holds_for_a_day(k, now_ms)) {
        k->fresh_until_ms = now_ms + 5000;
        return;
    }
    int64_t ttl_ms = r->ttl_s > 300 ? 300000 : r->ttl_s < 5 ? 5000 : r->ttl_s * 1000;
    k->has = r->outcome == OUTCOME_OK;
    k->mark = r->addresses[0].in.sin_addr.s_addr;
    k->learned_ms = now_ms;
    k->outcome = r->outcome;
    k->fresh_until_ms = !said ? now_ms : now_ms + (k->has ? ttl_ms : 5000);
}

static void compare(const struct dns_entry *e, const struct known *k, int64_t now_ms)
{
    struct resolver_answer answer;
    char text[OUTCOME_TEXT_BYTES];
    HOLDS(dns_entry_is_fresh(e, now_ms) == (now_ms < k->fresh_until_ms));
    HOLDS(dns_entry_has_addresses(e, now_ms) == holds_for_a_day(k, now_ms));
    dns_entry_answer(e, now_ms, text, sizeof text, &answer);
    HOLDS(answer.outcome == k->outcome && answer.count == k->has);
    HOLDS((answer.text[0] == '\0') == k->has && fuzz_is_plain(answer.text));
    HOLDS(!k->has || answer.addresses[0].in.sin_addr.s_addr == k->mark);
    HOLDS(!answer.stale || holds_for_a_day(k, now_ms));
}

static void forget_unused(struct known *known, int64_t now_ms)
{
    for (size_t i = 0; i < NAMES; i++) {
        if (known[i].used_ms < now_ms - 3600000)
            known[i] = (struct known){.there = false};
    }
}

static void play_cache(const uint8_t *data, size_t size)
{
    static const char *const names[NAMES] = {"trips", "airports", "a.test", "b.test"};
    struct dnscache cache = {.count = 0};
    struct known known[NAMES] = {{.there = false}};
    int64_t now_ms = 1000000000;
    for (; size >= 4; data += 4, size -= 4) {
        struct known *k = &known[data[0] % NAMES];
        struct dns_result r = {.outcome = ends[data[1] % (sizeof ends / sizeof ends[0])],
                               .ttl_s = (int64_t)data[2] * data[2]};
        now_ms += steps_ms[data[3] % (sizeof steps_ms / sizeof steps_ms[0])];
        if ((data[0] & 0x70) == 0x70) {
            dnscache_sweep(&cache, now_ms);
            forget_unused(known, now_ms);
        }
        struct dns_entry *e = dnscache_get(&cache, names[k - known], now_ms);
        HOLDS(e != NULL);
        if (!k->there)
            *k = (struct known){
                .there = true, .outcome = OUTCOME_DNS_TRY_AGAIN, .fresh_until_ms = now_ms};
        k->used_ms = now_ms;
        compare(e, k, now_ms);
        if ((data[0] & 0x80) != 0) {
            if (r.outcome == OUTCOME_OK) {
                r.count = 1;
                r.addresses[0].in.sin_family = AF_INET;
                r.addresses[0].in.sin_addr.s_addr = (uint32_t)size;
            }
            dns_entry_settle(e, &r, now_ms);
            model_settle(k, &r, now_ms);
            compare(e, k, now_ms);
        }
        size_t there = 0;
        for (size_t i = 0; i < NAMES; i++)
            there += known[i].there;
        HOLDS(cache.count == there);
    }
    dnscache_clear(&cache);
    HOLDS(cache.count == 0);
}

/* ---- the resolver and its server ---- */

#define HEADER_BYTES 12
#define LOOKUPS_A_CACHE 200 /* then it is cleared: each look-up is of a new name */

static struct loop_watch server = {.fd = -1};
static struct resolver *resolver;
static char server_address[32];
static const uint8_t *answer_bytes;
static size_t answer_len, asked;
static bool ended;

/* The id and the question of the packet stay as they are; what comes behind is `bytes`. */
static void answer_query(const uint8_t *packet, size_t len, const struct sockaddr_in *to)
{
    uint8_t reply[2048] = {0};
    size_t at = HEADER_BYTES, room = sizeof reply - 600;
    while (at < len && packet[at] != 0)
        at += (size_t)packet[at] + 1;
    at += 5; /* the end of the name, type, class */
    if (at > len)
        return;
    memcpy(reply, packet, at);
    memset(reply + 6, 0, HEADER_BYTES - 6);
    reply[2] = 0x81;
    reply[3] = 0x83;                    /* NXDOMAIN */
    if (asked < 2 && answer_len >= 8) { /* flags and counts, then the records */
        size_t records = answer_len - 8 < room ? answer_len - 8 : room;
        reply[2] = answer_bytes[0] | 0x80;
        reply[3] = answer_bytes[1];
        memcpy(reply + 6, answer_bytes + 2, 6);
        memcpy(reply + at, answer_bytes + 8, records);
        at += records;
    }
    asked++;
    (void)sendto(server.fd, reply, at, 0, (const struct sockaddr *)to, sizeof *to);
}

static void on_query(struct loop_watch *w, uint32_t events)
{
    uint8_t packet[512];
    struct sockaddr_in from;
    socklen_t from_len = sizeof from;
    ssize_t len;
    (void)events;
    while ((len = recvfrom(w->fd, packet, sizeof packet, 0, (struct sockaddr *)&from, &from_len)) >=
           HEADER_BYTES)
        answer_query(packet, (size_t)len, &from);
}

static void open_server(void)
{
    checker_role_assert();
    struct sockaddr_in at = {.sin_family = AF_INET, .sin_addr.s_addr = htonl(INADDR_LOOPBACK)};
    socklen_t len = sizeof at;
    int fd = socket(AF_INET, SOCK_DGRAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0);
    HOLDS(fd >= 0 && bind(fd, (struct sockaddr *)&at, len) == 0 &&
          getsockname(fd, (struct sockaddr *)&at, &len) == 0);
    server.ready = on_query;
    HOLDS(loop_watch_add(fuzz_loop(), &server, fd) == 0);
    snprintf(server_address, sizeof server_address, "127.0.0.1:%u", ntohs(at.sin_port));
    HOLDS(resolver_new(fuzz_loop(), server_address, &resolver) == 0);
}

static void check_answer(const struct resolver_answer *answer)
{
    HOLDS(answer->count <= RESOLVER_MAX_ADDRESSES && !answer->stale);
    HOLDS((answer->outcome == OUTCOME_OK) == (answer->count > 0));
    HOLDS((answer->text[0] == '\0') == (answer->count > 0) && fuzz_is_plain(answer->text));
    for (size_t i = 0; i < answer->count; i++) {
        sa_family_t family = answer->addresses[i].sa.sa_family;
        HOLDS(family == AF_INET || family == AF_INET6);
    }
}

static void on_answer(struct resolver_wait *w, const struct resolver_answer *answer)
{
    checker_role_assert();
    (void)w;
    check_answer(answer);
    ended = true;
    loop_stop(fuzz_loop());
}

static void give_up(struct resolver_wait *wait)
{
    checker_role_assert();
    resolver_cancel(resolver, wait);
}

/* 1: the answer is at hand, and right; 0: it will come. */
static int look_up(const char *name, struct resolver_wait *wait)
{
    checker_role_assert();
    struct resolver_answer answer;
    int r = resolver_lookup(resolver, name, wait, &answer);
    HOLDS(r >= 0);
    if (r > 0)
        check_answer(&answer);
    return r;
}

static void play_server(const uint8_t *data, size_t size)
{
    static unsigned serial;
    struct resolver_wait wait = {.done = on_answer};
    char name[32];
    if (resolver == NULL)
        open_server();
    if (++serial % LOOKUPS_A_CACHE == 0)
        HOLDS(resolver_set_nameservers(resolver, server_address) == 0);
    snprintf(name, sizeof name, "n%u.fuzz.test", serial);
    answer_bytes = data;
    answer_len = size;
    asked = 0;
    ended = false;
    if (look_up(name, &wait) == 0) {
        loop_run(fuzz_loop());
        HOLDS(ended);
    }
    /* What was learned is at hand now; of a failure nothing was, and it is asked again. */
    if (look_up(name, &wait) == 0)
        give_up(&wait);
}

void fuzz_names(const struct fuzz_target *target, const uint8_t *data, size_t size)
{
    (void)target;
    if (size < 1)
        return;
    if (data[0] % 2 == 0)
        play_cache(data + 1, size - 1);
    else
        play_server(data + 1, size - 1);
}
