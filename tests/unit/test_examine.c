/* examine: the table of -t, to the letter: columns, spans rounded up, sums. */
#include "../testing.h"

#include "command/advice.h"
#include "command/examine.h"
#include "command/forecast.h"

#include <healthsvc/config.h>
#include <healthsvc/probe.h>
#include <healthsvc/strbuf.h>

static const struct scheme http = {.name = "http"};
static const struct advice_descriptors descriptors = {.have = 1024, .needed = 217, .checks = 400};

static char names[2][65] = {"trips", "a"};

/* With two dependencies, or none. */
static void expect_table(size_t count, const char *want)
{
    struct target_conf trips = {.name = names[0],
                                .scheme = &http,
                                .period_ms = 60000,
                                .timeout_ms = 3000,
                                .confirm_ms = 1000,
                                .fall = 3,
                                .rise = 2,
                                .max_age_ms = 183000};
    struct target_conf other = {.name = names[1],
                                .scheme = &http,
                                .period_ms = 100,
                                .timeout_ms = 80,
                                .confirm_ms = 100,
                                .fall = 100,
                                .rise = 1,
                                .max_age_ms = 3600001};
    struct target_conf *targets[] = {&trips, &other};
    const struct config config = {.listen_count = 1, .targets = targets, .target_count = count};
    const struct forecast forecast = {
        .steady_per_s = 0.125,
        .doubt_per_s = 1234.5,
        .steady_cores = 0.0009,
        .doubt_cores = 0.0217,
        .at_once = count,
        .workers = 32,
        .threads = 35,
        .rest_bytes = 5 << 20,
        .worst_bytes = 11 << 19,
    };
    struct strbuf out;
    strbuf_init(&out, 65536);
    EXPECT_INT(examine_table(&config, &forecast, &descriptors, &out), 0);
    EXPECT_STR(out.data, want);
    strbuf_done(&out);
}

#define LEGEND                                                                          \
    "  From: it fails, or answers, at once. To: each check takes all of its timeout.\n" \
    "  Who asks /health adds times of its own (HAProxy by default 3 x 2s); so does a\n" \
    "  health service that is asked here.\n"
#define SUMS                                                                      \
    "\n"                                                                          \
    "checks       0.12 a second; 1234 if all are in doubt\n"                      \
    "processor    under 0.1 % of a core; 2.2 % if all are in doubt (estimated)\n" \
    "memory       5.0 MB; 5.5 MB if all hang (estimated)\n"                       \
    "descriptors  217 at most; the limit is 1024 here\n"                          \
    "threads      35; HTTP clients served at the same time: 32\n"

TEST(a_line_for_each)
{
    expect_table(2, "\n"
                    "dependency  period  down after        up after          stale after\n"
                    "trips       60s     62s .. 72s        61s .. 69s        183s\n"
                    "a           100ms   10s .. 10.16s     100ms .. 260ms    1h1s\n" LEGEND SUMS);
}

/* The table is then 80 columns wide. */
TEST(a_long_name_widens_its_column)
{
    (void)snprintf(names[1], sizeof names[1], "a.long.name.of.service1");
    expect_table(
        2,
        "\n"
        "dependency               period  down after        up after          stale after\n"
        "trips                    60s     62s .. 72s        61s .. 69s        183s\n"
        "a.long.name.of.service1  100ms   10s .. 10.16s     100ms .. 260ms    1h1s\n" LEGEND SUMS);
}

TEST(without_dependencies_only_what_the_service_needs)
{
    expect_table(0, "\n"
                    "memory       5.0 MB (estimated)\n"
                    "descriptors  217 at most; the limit is 1024 here\n"
                    "threads      35; HTTP clients served at the same time: 32\n");
}

int main(void)
{
    RUN(a_line_for_each);
    RUN(a_long_name_widens_its_column);
    RUN(without_dependencies_only_what_the_service_needs);
    return testing_end();
}
