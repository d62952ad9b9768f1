/* The resolver on a real loop, against a name server of the test's own. */
#include "probe/resolver.h"

#include <healthsvc/clock.h>

#include "../dns_server.h"
#include "../testing.h"

#include <arpa/inet.h>
#include <dirent.h>
#include <unistd.h>

#define BOUND_MS 20000
#define MANY 100

struct look {
    struct resolver_wait wait; /* first member */
    bool at_once, done;
    int64_t took_ms;
    int64_t start_ms;
    struct resolver_answer answer;
    char text[OUTCOME_TEXT_BYTES];
};

static struct loop *loop;
static struct dns_server *server;
static struct resolver *resolver;
static struct loop_timer timer;
static int waiting, descriptors_before;

static void stop_loop(struct loop_timer *t)
{
    (void)t;
    checker_role_assert();
    loop_stop(loop);
}

static void take(struct look *l, const struct resolver_answer *answer)
{
    l->done = true;
    l->took_ms = clock_mono_ms() - l->start_ms;
    snprintf(l->text, sizeof l->text, "%s", answer->text);
    l->answer = *answer;
    l->answer.text = l->text;
}

static void on_done(struct resolver_wait *w, const struct resolver_answer *answer)
{
    checker_role_assert();
    take((struct look *)w, answer);
    if (--waiting == 0)
        loop_stop(loop);
}

static void look_up(struct look *l, const char *host)
{
    checker_role_assert();
    struct resolver_answer answer;
    memset(l, 0, sizeof *l);
    l->wait.done = on_done;
    l->start_ms = clock_mono_ms();
    int r = resolver_lookup(resolver, host, &l->wait, &answer);
    EXPECT(r == 0 || r == 1);
    EXPECT(!l->done); /* never from inside */
    if (r == 1) {
        l->at_once = true;
        take(l, &answer);
    } else {
        waiting++;
    }
}

static int64_t scaled(int64_t ms)
{
    const char *scale = getenv("HEALTHSVC_TEST_SCALE");
    return scale != NULL ? ms * strtol(scale, NULL, 10) : ms;
}

static void stop_after(int64_t ms)
{
    checker_role_assert();
    loop_timer_set(loop, &timer, clock_mono_ms() + ms);
}

static void run_for(int64_t ms)
{
    stop_after(ms);
    loop_run(loop);
}

/* Until every look-up that waits has its answer. */
static void run_until_answered(void)
{
    if (waiting > 0)
        run_for(scaled(BOUND_MS));
    EXPECT_INT(waiting, 0);
}

static void look_up_and_wait(struct look *l, const char *host)
{
    look_up(l, host);
    run_until_answered();
}

static const char *address(const struct look *l, size_t i)
{
    static char text[INET6_ADDRSTRLEN];
    const union resolver_address *a = &l->answer.addresses[i];
    if (i >= l->answer.count)
        return "none";
    return inet_ntop(a->sa.sa_family,
                     a->sa.sa_family == AF_INET ? (const void *)&a->in.sin_addr
                                                : (const void *)&a->in6.sin6_addr,
                     text, sizeof text);
}

static int open_descriptors(void)
{
    int count = 0;
    DIR *dir = opendir("/proc/self/fd");
    if (!EXPECT(dir != NULL))
        return -1;
    while (readdir(dir) != NULL)
        count++;
    closedir(dir);
    return count;
}

static void set_up(void)
{
    waiting = 0;
    timer = (struct loop_timer){.fire = stop_loop};
    server = dns_server_start();
    if (server == NULL || loop_new(&loop) < 0 ||
        resolver_new(loop, dns_server_address(server), &resolver) < 0) {
        printf("Bail out! no sockets\n");
        exit(1);
    }
}

static void tear_down(void)
{
    resolver = resolver_free(resolver);
    loop = loop_free(loop);
    dns_server_stop(server);
}

TEST(numeric_needs_no_server)
{
    set_up();
    struct look l;
    look_up(&l, "192.0.2.7");
    EXPECT(l.at_once);
    EXPECT_INT(l.answer.outcome, OUTCOME_OK);
    EXPECT_INT(l.answer.count, 1);
    EXPECT_STR(address(&l, 0), "192.0.2.7");
    EXPECT_INT(l.answer.addresses[0].in.sin_port, 0);
    look_up(&l, "2001:db8::7");
    EXPECT(l.at_once);
    EXPECT_STR(address(&l, 0), "2001:db8::7");
    EXPECT_STR(l.text, "");
    tear_down();
}

TEST(hosts_file_comes_first)
{
    set_up();
    dns_server_set(server, "localhost", DNS_REPLY_ADDRESSES, "192.0.2.1", 60);
    struct look l;
    look_up(&l, "localhost");
    EXPECT(l.at_once);
    EXPECT_INT(l.answer.outcome, OUTCOME_OK);
    EXPECT(strcmp(address(&l, 0), "127.0.0.1") == 0 || strcmp(address(&l, 0), "::1") == 0);
    EXPECT_INT(dns_server_count(server, "localhost"), 0);
    tear_down();
}

TEST(answer_is_kept)
{
    set_up();
    dns_server_set(server, "trips.test", DNS_REPLY_ADDRESSES, "127.0.0.8", 60);
    struct look l;
    look_up_and_wait(&l, "trips.test");
    EXPECT(!l.at_once);
    EXPECT_INT(l.answer.outcome, OUTCOME_OK);
    EXPECT_STR(address(&l, 0), "127.0.0.8");
    look_up(&l, "TRIPS.Test");
    EXPECT(l.at_once);
    EXPECT(!l.answer.stale);
    EXPECT_STR(address(&l, 0), "127.0.0.8");
    EXPECT_INT(dns_server_count(server, "trips.test"), 1);
    tear_down();
}

TEST(no_such_name)
{
    set_up();
    dns_server_set(server, "gone.test", DNS_REPLY_NXDOMAIN, "", 0);
    struct look l;
    look_up_and_wait(&l, "gone.test");
    EXPECT_INT(l.answer.outcome, OUTCOME_DNS_NXDOMAIN);
    EXPECT_STR(l.text, "host name 'gone.test' does not exist");
    look_up(&l, "gone.test");
    EXPECT(l.at_once);
    EXPECT_INT(l.answer.outcome, OUTCOME_DNS_NXDOMAIN);
    EXPECT_INT(dns_server_count(server, "gone.test"), 1);

    dns_server_set(server, "empty.test", DNS_REPLY_ADDRESSES, "", 60);
    look_up_and_wait(&l, "empty.test");
    EXPECT_INT(l.answer.outcome, OUTCOME_DNS_NO_ADDRESS);
    EXPECT_STR(l.text, "host name 'empty.test' has no address");

    look_up(&l, "a..b");
    EXPECT_INT(l.answer.outcome, OUTCOME_DNS_NXDOMAIN);
    char long_name[400];
    memset(long_name, 'a', sizeof long_name);
    long_name[sizeof long_name - 1] = '\0';
    look_up(&l, long_name);
    EXPECT_INT(l.answer.outcome, OUTCOME_DNS_NXDOMAIN);
    tear_down();
}

TEST(failing_server_is_not_the_names_fault)
{
    set_up();
    dns_server_set(server, "trips.test", DNS_REPLY_SERVFAIL, "", 0);
    struct look l;
    look_up_and_wait(&l, "trips.test");
    EXPECT_INT(l.answer.outcome, OUTCOME_DNS_TRY_AGAIN);
    EXPECT_STR(l.text, "name servers failed to answer for 'trips.test'");

    dns_server_set(server, "trips.test", DNS_REPLY_ADDRESSES, "127.0.0.8", 60);
    look_up_and_wait(&l, "trips.test"); /* the failure was not kept */
    EXPECT_INT(l.answer.outcome, OUTCOME_OK);
    tear_down();
}

/* That there is no IPv6 address, said last, must not hide that nobody could tell about IPv4. */
TEST(half_an_answer_is_not_the_names_fault)
{
    set_up();
    dns_server_set(server, "trips.test", DNS_REPLY_HALF, "", 60);
    struct look l;
    look_up_and_wait(&l, "trips.test");
    EXPECT_INT(l.answer.outcome, OUTCOME_DNS_TRY_AGAIN);

    dns_server_set(server, "trips.test", DNS_REPLY_ADDRESSES, "127.0.0.8", 60);
    look_up_and_wait(&l, "trips.test");
    EXPECT_INT(l.answer.outcome, OUTCOME_OK);
    EXPECT_STR(address(&l, 0), "127.0.0.8");
    tear_down();
}

TEST(silent_server_times_out)
{
    set_up();
    dns_server_set(server, "trips.test", DNS_REPLY_SILENCE, "", 0);
    struct look l;
    look_up_and_wait(&l, "trips.test");
    EXPECT_INT(l.answer.outcome, OUTCOME_DNS_TIMEOUT);
    EXPECT_STR(l.text, "name servers did not answer in time for 'trips.test'");
    EXPECT(l.took_ms >= 2300);
    EXPECT_INT(dns_server_count(server, "trips.test"), 2); /* two tries */
    tear_down();
}

TEST(closed_port_of_server)
{
    set_up();
    struct dns_server *other = dns_server_start();
    char closed[64];
    snprintf(closed, sizeof closed, "%s", dns_server_address(other));
    dns_server_stop(other);
    EXPECT_INT(resolver_set_nameservers(resolver, closed), 0);
    struct look l;
    look_up_and_wait(&l, "trips.test");
    EXPECT_INT(l.answer.outcome, OUTCOME_DNS_TRY_AGAIN);

    /* The next one in the list is asked. */
    char both[128];
    snprintf(both, sizeof both, "%s,%s", closed, dns_server_address(server));
    EXPECT_INT(resolver_set_nameservers(resolver, both), 0);
    dns_server_set(server, "trips.test", DNS_REPLY_ADDRESSES, "127.0.0.8", 60);
    look_up_and_wait(&l, "trips.test");
    EXPECT_INT(l.answer.outcome, OUTCOME_OK);
    tear_down();
}

TEST(many_wait_for_one_query)
{
    set_up();
    dns_server_set(server, "trips.test", DNS_REPLY_ADDRESSES, "127.0.0.8", 60);
    static struct look looks[MANY];
    for (int i = 0; i < MANY; i++)
        look_up(&looks[i], "trips.test");
    EXPECT_INT(waiting, MANY);
    run_until_answered();
    for (int i = 0; i < MANY; i++)
        EXPECT_INT(looks[i].answer.outcome, OUTCOME_OK);
    EXPECT_INT(dns_server_count(server, "trips.test"), 1);
    tear_down();
}

TEST(cancelled_waiter_is_not_called)
{
    checker_role_assert();
    set_up();
    dns_server_set(server, "trips.test", DNS_REPLY_ADDRESSES, "127.0.0.8", 60);
    struct look first, second, third;
    look_up(&first, "trips.test");
    look_up(&second, "trips.test");
    look_up(&third, "trips.test");
    resolver_cancel(resolver, &second.wait);
    resolver_cancel(resolver, &second.wait);
    waiting--;
    run_until_answered();
    EXPECT(first.done);
    EXPECT(!second.done);
    EXPECT(third.done);
    resolver_cancel(resolver, &first.wait); /* nothing: it has its answer */

    /* All waiters gone: the query still fills the cache. */
    dns_server_set(server, "airports.test", DNS_REPLY_ADDRESSES, "127.0.0.9", 60);
    look_up(&first, "airports.test");
    resolver_cancel(resolver, &first.wait);
    waiting--;
    for (int i = 0; i < 100 && !first.at_once; i++) {
        run_for(20);
        look_up(&first, "airports.test");
        if (!first.at_once) {
            resolver_cancel(resolver, &first.wait);
            waiting--;
        }
    }
    EXPECT(first.at_once);
    EXPECT_STR(address(&first, 0), "127.0.0.9");
    EXPECT_INT(dns_server_count(server, "airports.test"), 1);
    tear_down();
}

TEST(many_addresses_are_cut_with_both_families)
{
    set_up();
    dns_server_set(server, "trips.test", DNS_REPLY_ADDRESSES,
                   "127.0.0.1 127.0.0.2 127.0.0.3 127.0.0.4 127.0.0.5 127.0.0.6 ::1", 60);
    dns_server_set(server, "six.test", DNS_REPLY_ADDRESSES,
                   "127.0.0.1 2001:db8::1 2001:db8::2 2001:db8::3 2001:db8::4 2001:db8::5", 60);
    struct look l;
    look_up_and_wait(&l, "trips.test");
    int families[2] = {0, 0};
    for (size_t i = 0; i < l.answer.count; i++)
        families[l.answer.addresses[i].sa.sa_family == AF_INET6]++;
    EXPECT_INT(families[0], RESOLVER_MAX_ADDRESSES - 1);
    EXPECT_INT(families[1], 1);
    look_up_and_wait(&l, "six.test");
    families[0] = families[1] = 0;
    for (size_t i = 0; i < l.answer.count; i++)
        families[l.answer.addresses[i].sa.sa_family == AF_INET6]++;
    EXPECT_INT(families[0], 1);
    EXPECT_INT(families[1], RESOLVER_MAX_ADDRESSES - 1);
    tear_down();
}

TEST(truncated_answer_comes_by_tcp)
{
    set_up();
    dns_server_set(server, "trips.test", DNS_REPLY_BY_TCP, "127.0.0.8 ::1", 60);
    dns_server_set(server, "airports.test", DNS_REPLY_BY_TCP, "127.0.0.9", 60);
    struct look l, other;
    look_up(&l, "trips.test");
    look_up(&other, "airports.test");
    run_until_answered();
    EXPECT_INT(l.answer.outcome, OUTCOME_OK);
    EXPECT_INT(l.answer.count, 2);
    EXPECT_INT(other.answer.outcome, OUTCOME_OK);
    EXPECT_STR(address(&other, 0), "127.0.0.9");
    tear_down();
}

TEST(other_name_servers)
{
    set_up();
    struct dns_server *other = dns_server_start();
    dns_server_set(server, "trips.test", DNS_REPLY_ADDRESSES, "127.0.0.8", 60);
    dns_server_set(server, "slow.test", DNS_REPLY_SILENCE, "", 60);
    dns_server_set(other, "trips.test", DNS_REPLY_ADDRESSES, "127.0.0.9", 60);
    dns_server_set(other, "slow.test", DNS_REPLY_ADDRESSES, "127.0.0.9", 60);
    struct look l, slow, again;
    look_up_and_wait(&l, "trips.test");
    EXPECT_STR(address(&l, 0), "127.0.0.8");

    look_up(&slow, "slow.test");
    EXPECT(resolver_set_nameservers(resolver, "not an address") < 0);
    look_up(&l, "trips.test");
    EXPECT(l.at_once); /* nothing has changed */
    EXPECT_INT(resolver_set_nameservers(resolver, dns_server_address(other)), 0);
    look_up(&l, "trips.test");
    EXPECT(!l.at_once); /* the cache was emptied */
    look_up(&again, "slow.test");
    dns_server_set(server, "slow.test", DNS_REPLY_ADDRESSES, "127.0.0.8", 60);
    run_until_answered();
    EXPECT_STR(address(&l, 0), "127.0.0.9");
    EXPECT_STR(address(&again, 0), "127.0.0.9");
    EXPECT_STR(address(&slow, 0), "127.0.0.8"); /* went on with the old ones */
    look_up(&slow, "slow.test");
    EXPECT(slow.at_once);
    EXPECT_STR(address(&slow, 0), "127.0.0.9"); /* and did not spoil the cache */
    run_for(200);                               /* the old channel goes */
    tear_down();
    dns_server_stop(other);
}

/* The only case that needs real time: the shortest TTL is 5 s. */
TEST(after_the_ttl)
{
    static const char *const names[] = {"moved.test", "broken.test", "silent.test", "gone.test"};
    set_up();
    struct look moved, broken, silent, gone, l;
    struct look *const looks[] = {&moved, &broken, &silent, &gone};
    for (size_t i = 0; i < 4; i++) {
        dns_server_set(server, names[i], DNS_REPLY_ADDRESSES, "127.0.0.8", 1);
        look_up(looks[i], names[i]);
    }
    run_until_answered();
    dns_server_set(server, "moved.test", DNS_REPLY_ADDRESSES, "127.0.0.9", 1);
    dns_server_set(server, "broken.test", DNS_REPLY_SERVFAIL, "", 1);
    dns_server_set(server, "silent.test", DNS_REPLY_SILENCE, "", 1);
    dns_server_set(server, "gone.test", DNS_REPLY_NXDOMAIN, "", 1);
    run_for(5050);
    for (size_t i = 0; i < 4; i++) {
        look_up(looks[i], names[i]);
        EXPECT(!looks[i]->at_once);
    }
    run_until_answered();
    EXPECT_STR(address(&moved, 0), "127.0.0.9");
    EXPECT(!moved.answer.stale);
    EXPECT_INT(broken.answer.outcome, OUTCOME_OK);
    EXPECT_STR(address(&broken, 0), "127.0.0.8");
    EXPECT(broken.answer.stale);
    EXPECT_STR(address(&silent, 0), "127.0.0.8");
    EXPECT(silent.answer.stale);
    EXPECT(silent.took_ms >= 450); /* patience, not the end of the query (2,400 ms) */
    look_up(&l, "silent.test");
    EXPECT(l.at_once); /* the query has gone on for long enough already */
    EXPECT(l.answer.stale);
    EXPECT_INT(gone.answer.outcome, OUTCOME_DNS_NXDOMAIN);
    EXPECT_INT(gone.answer.count, 0);

    unsigned asked = dns_server_count(server, "broken.test");
    look_up(&l, "broken.test");
    EXPECT(l.at_once); /* no new query so soon after the failure */
    EXPECT(l.answer.stale);
    EXPECT_INT(dns_server_count(server, "broken.test"), asked);
    tear_down();
}

TEST(free_with_a_query_outstanding)
{
    checker_role_assert();
    set_up();
    dns_server_set(server, "trips.test", DNS_REPLY_SILENCE, "", 0);
    struct look l, detached;
    look_up(&detached, "trips.test");
    EXPECT_INT(resolver_set_nameservers(resolver, dns_server_address(server)), 0);
    look_up(&l, "trips.test");
    run_for(20);
    resolver_cancel(resolver, &l.wait);
    resolver_cancel(resolver, &detached.wait);
    waiting -= 2;
    tear_down();
    EXPECT(!l.done);
    EXPECT(!detached.done);
}

TEST(bad_name_servers_are_refused)
{
    set_up();
    struct resolver *r = NULL;
    EXPECT(resolver_new(loop, "example", &r) < 0);
    EXPECT(r == NULL);
    tear_down();
}

TEST(no_descriptor_is_left)
{
    EXPECT_INT(open_descriptors(), descriptors_before);
}

int main(void)
{
    set_up();
    tear_down(); /* libuv keeps a pipe for the process */
    descriptors_before = open_descriptors();
    RUN(numeric_needs_no_server);
    RUN(hosts_file_comes_first);
    RUN(answer_is_kept);
    RUN(no_such_name);
    RUN(failing_server_is_not_the_names_fault);
    RUN(half_an_answer_is_not_the_names_fault);
    RUN(silent_server_times_out);
    RUN(closed_port_of_server);
    RUN(many_wait_for_one_query);
    RUN(cancelled_waiter_is_not_called);
    RUN(many_addresses_are_cut_with_both_families);
    RUN(truncated_answer_comes_by_tcp);
    RUN(other_name_servers);
    RUN(after_the_ttl);
    RUN(free_with_a_query_outstanding);
    RUN(bad_name_servers_are_refused);
    RUN(no_descriptor_is_left);
    return testing_end();
}
