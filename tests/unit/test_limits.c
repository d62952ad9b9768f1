/* What makes a good check worse, and in which order. */
#include "probe/limits.h"

#include "../testing.h"

#include <healthsvc/config.h>

#include <string.h>

#define NOW_S INT64_C(1800000000)
#define DAY_S 86400
#define LEFT(days) (NOW_S + (days)*DAY_S)

struct limit_case {
    int64_t cert_warn, cert_fail, time_warn_ms, time_fail_ms;
    int64_t took_us, expires_s; /* 0: no certificate */
    enum outcome outcome, judged;
    const char *text;
};

static void judge(const struct limit_case *c)
{
    const struct target_conf conf = {.tls = {.cert_warn = c->cert_warn, .cert_fail = c->cert_fail},
                                     .time_warn_ms = c->time_warn_ms,
                                     .time_fail_ms = c->time_fail_ms};
    const struct probe_result result = {.total_us = c->took_us,
                                        .cert_expires_wall_s = c->expires_s};
    char text[OUTCOME_TEXT_BYTES] = "as it was";
    enum outcome judged = limits_judge(&conf, &result, c->outcome, NOW_S, text);
    EXPECT_STR(outcome_token(judged), outcome_token(c->judged));
    EXPECT_STR(text, c->text);
}

static void judge_all(const struct limit_case *cases, size_t count)
{
    for (size_t i = 0; i < count && testing_faults == 0; i++) {
        judge(&cases[i]);
        if (testing_faults > 0)
            printf("# case %zu\n", i);
    }
}
#define JUDGE(cases) judge_all(cases, sizeof(cases) / sizeof((cases)[0]))

TEST(time_taken)
{
    static const struct limit_case cases[] = {
        {0, 0, 0, 0, 9000000, 0, OUTCOME_OK, OUTCOME_OK, "as it was"},
        {0, 0, 500, 0, 500000, 0, OUTCOME_OK, OUTCOME_OK, "as it was"},
        {0, 0, 500, 0, 500001, 0, OUTCOME_OK, OUTCOME_SLOW, "took 500 ms, more than 500"},
        {0, 0, 500, 2000, 1234567, 0, OUTCOME_OK, OUTCOME_SLOW, "took 1234 ms, more than 500"},
        {0, 0, 500, 2000, 2000001, 0, OUTCOME_OK, OUTCOME_TOO_SLOW, "took 2000 ms, more than 2000"},
        {0, 0, 0, 2000, 2000001, 0, OUTCOME_OK, OUTCOME_TOO_SLOW, "took 2000 ms, more than 2000"},
    };
    JUDGE(cases);
}

TEST(certificates)
{
    static const struct limit_case cases[] = {
        {14, 3, 0, 0, 1, 0, OUTCOME_OK, OUTCOME_OK, "as it was"},
        {14, 3, 0, 0, 1, LEFT(14), OUTCOME_OK, OUTCOME_OK, "as it was"},
        {14, 3, 0, 0, 1, LEFT(14) - 1, OUTCOME_OK, OUTCOME_TLS_EXPIRES_SOON,
         "certificate expires in 13 days"},
        {14, 3, 0, 0, 1, LEFT(3), OUTCOME_OK, OUTCOME_TLS_EXPIRES_SOON,
         "certificate expires in 3 days"},
        {14, 3, 0, 0, 1, LEFT(3) - 1, OUTCOME_OK, OUTCOME_TLS_EXPIRING,
         "certificate expires in 2 days"},
        {0, 3, 0, 0, 1, NOW_S + 7200, OUTCOME_OK, OUTCOME_TLS_EXPIRING,
         "certificate expires in 2 hours"},
        {0, 3, 0, 0, 1, NOW_S - 1, OUTCOME_OK, OUTCOME_TLS_EXPIRING, "certificate has expired"},
        {0, 0, 0, 0, 1, NOW_S - 1, OUTCOME_OK, OUTCOME_OK, "as it was"},
    };
    JUDGE(cases);
}

TEST(the_worse_counts)
{
    static const struct limit_case cases[] = {
        /* what fails, before what warns */
        {14, 0, 0, 500, 600000, LEFT(1), OUTCOME_OK, OUTCOME_TOO_SLOW,
         "took 600 ms, more than 500"},
        {0, 3, 500, 0, 600000, LEFT(1), OUTCOME_OK, OUTCOME_TLS_EXPIRING,
         "certificate expires in 1 day"},
        /* the answer's own warning stays, unless something fails */
        {14, 0, 500, 0, 600000, LEFT(1), OUTCOME_WARNING, OUTCOME_WARNING, "as it was"},
        {0, 0, 0, 500, 600000, 0, OUTCOME_WARNING, OUTCOME_TOO_SLOW, "took 600 ms, more than 500"},
        /* what is bad already, or was not tried, stays */
        {14, 3, 500, 900, 1000000, LEFT(1), OUTCOME_HTTP_STATUS, OUTCOME_HTTP_STATUS, "as it was"},
        {14, 3, 500, 900, 1000000, LEFT(1), OUTCOME_OWN_MEMORY, OUTCOME_OWN_MEMORY, "as it was"},
    };
    JUDGE(cases);
}

int main(void)
{
    RUN(time_taken);
    RUN(certificates);
    RUN(the_worse_counts);
    return testing_end();
}
