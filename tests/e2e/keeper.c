/*
 * keeper URL CA_FILE KEEP_MS: asks one dependency every PACE_MS with `reuse`, where a connection may
 * be KEEP_MS old and not ten minutes; ends after the second new connection that was not the first.
 * Prints a line a check: "new" or "kept", when the certificate expires (unix s), the outcome; notes
 * begin with "#".
 */
#include "../asking.h"

#include <healthsvc/strbuf.h>

#include <signal.h>
#include <stdio.h>
#include <stdlib.h>

#define PACE_MS 50
#define MAX_CHECKS 10000
#define RENEWALS 2

static struct asked asked[MAX_CHECKS];
static struct target_conf conf;
static struct kept *kept;
static size_t now;
static int64_t keep_ms;

static void start(struct asking *round)
{
    checker_role_assert();
    asked[now].conf = &conf;
    asked[now].kept = &kept;
    ask_start(round, &asked[now]);
}

static void on_pace(struct loop_timer *t)
{
    start((struct asking *)((char *)t - offsetof(struct asking, timer)));
}

static void ended(struct asking *round, const struct asked *a)
{
    static int renewals;
    checker_role_assert();
    bool is_new = a->result.phase_us[PROBE_PHASE_CONNECT] > 0;
    printf("%s %lld %s\n", is_new ? "new" : "kept", (long long)a->result.cert_expires_wall_s,
           outcome_token(a->result.outcome));
    fflush(stdout);
    renewals += is_new && now > 0;
    if (renewals == RENEWALS || ++now == MAX_CHECKS)
        return;
    round->timer.fire = on_pace;
    loop_timer_set(round->loop, &round->timer, loop_now_ms(round->loop) + PACE_MS);
}

static void begin(struct asking *round)
{
    engine_set_keep(round->engine, keep_ms);
}

int main(int argc, char **argv)
{
    static const struct ask_options options = {.before = begin, .after = start, .ended = ended};
    struct strbuf text;
    if (argc != 4)
        return 2;
    signal(SIGPIPE, SIG_IGN);
    keep_ms = strtoll(argv[3], NULL, 10);
    strbuf_init(&text, 8192);
    strbuf_addf(&text,
                "dependencies = ( { name = \"it\"; url = \"%s\"; ca_file = \"%s\"; "
                "period = \"3m\"; timeout = \"20s\"; reuse = true; } );",
                argv[1], argv[2]);
    struct config *config = ask_config(text.data);
    strbuf_done(&text);
    if (config == NULL)
        return 1;
    conf = *config->targets[0];
    conf.period_ms = PACE_MS;
    struct asked nothing = {0};
    if (ask(&nothing, 1, NULL) != 0)
        printf("# (what libraries keep open from their first use on)\n");
    unsigned faults = ask(asked, MAX_CHECKS, &options);
    config_unref(config);
    return faults != 0;
}
