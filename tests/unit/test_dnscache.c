/* The rules of the name cache, with the clock passed in. */
#include "probe/dnscache.h"

#include "../testing.h"

#include <arpa/inet.h>

#define HOUR_MS (3600 * INT64_C(1000))

static struct dnscache cache;

static struct dns_result good(const char *address, int64_t ttl_s)
{
    struct dns_result result = {.outcome = OUTCOME_OK, .count = 1, .ttl_s = ttl_s};
    result.addresses[0].in.sin_family = AF_INET;
    inet_pton(AF_INET, address, &result.addresses[0].in.sin_addr);
    return result;
}

static struct dns_entry *learn(const char *name, const char *address, int64_t ttl_s, int64_t now_ms)
{
    struct dns_entry *e = dnscache_get(&cache, name, now_ms);
    if (e == NULL)
        exit(1);
    struct dns_result result = good(address, ttl_s);
    dns_entry_settle(e, &result, now_ms);
    return e;
}

static void fail(struct dns_entry *e, enum outcome outcome, int64_t now_ms)
{
    struct dns_result result = {.outcome = outcome};
    dns_entry_settle(e, &result, now_ms);
}

static struct resolver_answer answer_of(const struct dns_entry *e, int64_t now_ms)
{
    static char text[OUTCOME_TEXT_BYTES];
    struct resolver_answer answer;
    dns_entry_answer(e, now_ms, text, sizeof text, &answer);
    return answer;
}

static const char *address_of(const struct resolver_answer *answer)
{
    static char text[INET_ADDRSTRLEN];
    return inet_ntop(AF_INET, &answer->addresses[0].in.sin_addr, text, sizeof text);
}

TEST(new_name_must_be_asked)
{
    struct dns_entry *e = dnscache_get(&cache, "trips", 1000);
    EXPECT(e == dnscache_get(&cache, "trips", 2000));
    EXPECT(e != dnscache_get(&cache, "airports", 2000));
    EXPECT_INT(cache.count, 2);
    EXPECT(!dns_entry_is_fresh(e, 2000));
    EXPECT(!dns_entry_has_addresses(e, 2000));
    dnscache_clear(&cache);
}

TEST(ttl_decides_within_bounds)
{
    struct dns_entry *e = learn("trips", "10.0.0.1", 60, 1000);
    EXPECT(dns_entry_is_fresh(e, 60999));
    EXPECT(!dns_entry_is_fresh(e, 61000));

    learn("trips", "10.0.0.1", 0, 1000);
    EXPECT(dns_entry_is_fresh(e, 5999));
    EXPECT(!dns_entry_is_fresh(e, 6000));

    learn("trips", "10.0.0.1", INT32_MAX, 1000);
    EXPECT(dns_entry_is_fresh(e, 300999));
    EXPECT(!dns_entry_is_fresh(e, 301000));
    dnscache_clear(&cache);
}

TEST(new_address_replaces_the_old_one)
{
    struct dns_entry *e = learn("trips", "10.0.0.1", 5, 1000);
    struct resolver_answer answer = answer_of(e, 2000);
    EXPECT_STR(address_of(&answer), "10.0.0.1");
    EXPECT(!answer.stale);
    EXPECT_STR(answer.text, "");

    learn("trips", "10.0.0.2", 5, 7000);
    answer = answer_of(e, 7000);
    EXPECT_STR(address_of(&answer), "10.0.0.2");
    EXPECT(!answer.stale);
    dnscache_clear(&cache);
}

TEST(expired_address_is_stale)
{
    struct dns_entry *e = learn("trips", "10.0.0.1", 5, 1000);
    struct resolver_answer answer = answer_of(e, 6000);
    EXPECT_INT(answer.outcome, OUTCOME_OK);
    EXPECT(answer.stale);
    dnscache_clear(&cache);
}

TEST(failure_keeps_the_address_and_waits)
{
    static const enum outcome failures[] = {OUTCOME_DNS_TRY_AGAIN, OUTCOME_DNS_TIMEOUT,
                                            OUTCOME_OWN_MEMORY};
    for (size_t i = 0; i < sizeof failures / sizeof failures[0]; i++) {
        struct dns_entry *e = learn("trips", "10.0.0.1", 5, 1000);
        fail(e, failures[i], 6500);
        EXPECT(dns_entry_is_fresh(e, 11499)); /* no query meanwhile */
        EXPECT(!dns_entry_is_fresh(e, 11500));
        struct resolver_answer answer = answer_of(e, 7000);
        EXPECT_INT(answer.outcome, OUTCOME_OK);
        EXPECT_STR(address_of(&answer), "10.0.0.1");
        EXPECT(answer.stale);
    }
    struct dns_entry *e = learn("trips", "10.0.0.1", 5, 12000);
    EXPECT(!answer_of(e, 12000).stale); /* the servers are back */
    dnscache_clear(&cache);
}

TEST(stale_address_ends_after_a_day)
{
    struct dns_entry *e = learn("trips", "10.0.0.1", 5, 1000);
    fail(e, OUTCOME_DNS_TRY_AGAIN, 1000 + 24 * HOUR_MS - 1);
    EXPECT(dns_entry_has_addresses(e, 1000 + 24 * HOUR_MS - 1));
    EXPECT(!dns_entry_has_addresses(e, 1000 + 24 * HOUR_MS));
    fail(e, OUTCOME_DNS_TIMEOUT, 1000 + 24 * HOUR_MS);
    EXPECT_INT(answer_of(e, 1000 + 24 * HOUR_MS).outcome, OUTCOME_DNS_TIMEOUT);
    dnscache_clear(&cache);
}

TEST(authoritative_no_is_not_papered_over)
{
    struct dns_entry *e = learn("trips", "10.0.0.1", 5, 1000);
    fail(e, OUTCOME_DNS_NXDOMAIN, 7000);
    struct resolver_answer answer = answer_of(e, 7000);
    EXPECT_INT(answer.outcome, OUTCOME_DNS_NXDOMAIN);
    EXPECT_INT(answer.count, 0);
    EXPECT(!answer.stale);
    EXPECT_STR(answer.text, "host name 'trips' does not exist");
    EXPECT(dns_entry_is_fresh(e, 11999));
    EXPECT(!dns_entry_is_fresh(e, 12000));

    fail(e, OUTCOME_DNS_NO_ADDRESS, 12000);
    EXPECT_STR(answer_of(e, 12000).text, "host name 'trips' has no address");
    fail(e, OUTCOME_DNS_TIMEOUT, 17000); /* nothing to fall back on any more */
    EXPECT_INT(answer_of(e, 17000).outcome, OUTCOME_DNS_TIMEOUT);
    dnscache_clear(&cache);
}

TEST(failure_without_address_is_not_kept)
{
    struct dns_entry *e = dnscache_get(&cache, "trips", 1000);
    fail(e, OUTCOME_DNS_TRY_AGAIN, 1000);
    EXPECT(!dns_entry_is_fresh(e, 1000));
    EXPECT_STR(answer_of(e, 1000).text, "name servers failed to answer for 'trips'");
    fail(e, OUTCOME_DNS_TIMEOUT, 2000);
    EXPECT(!dns_entry_is_fresh(e, 2000));
    EXPECT_STR(answer_of(e, 2000).text, "name servers did not answer in time for 'trips'");
    dnscache_clear(&cache);
}

TEST(unused_names_are_forgotten)
{
    char name[32];
    for (int i = 0; i < 3000; i++) {
        snprintf(name, sizeof name, "host%d", i);
        learn(name, "10.0.0.1", 300, 1000);
    }
    struct dns_entry *busy = dnscache_get(&cache, "host7", 1000);
    busy->query = &cache;
    EXPECT(dnscache_get(&cache, "host8", 2000) != NULL);
    dnscache_sweep(&cache, 1000 + HOUR_MS);
    EXPECT_INT(cache.count, 3000);
    dnscache_sweep(&cache, 1001 + HOUR_MS);
    EXPECT_INT(cache.count, 2); /* one used since, one being asked */
    EXPECT(!busy->detached);
    EXPECT(dnscache_get(&cache, "host7", 2000) == busy);
    busy->query = NULL;
    dnscache_clear(&cache);
    EXPECT_INT(cache.count, 0);
}

TEST(clear_leaves_a_queried_entry_to_its_query)
{
    struct dns_entry *e = learn("trips", "10.0.0.1", 5, 1000);
    e->query = &cache;
    dnscache_clear(&cache);
    EXPECT(e->detached);
    EXPECT_INT(cache.count, 0);
    EXPECT(dnscache_get(&cache, "trips", 1000) != e);
    free(e);
    dnscache_clear(&cache);
}

int main(void)
{
    RUN(new_name_must_be_asked);
    RUN(ttl_decides_within_bounds);
    RUN(new_address_replaces_the_old_one);
    RUN(expired_address_is_stale);
    RUN(failure_keeps_the_address_and_waits);
    RUN(stale_address_ends_after_a_day);
    RUN(authoritative_no_is_not_papered_over);
    RUN(failure_without_address_is_not_kept);
    RUN(unused_names_are_forgotten);
    RUN(clear_leaves_a_queried_entry_to_its_query);
    return testing_end();
}
