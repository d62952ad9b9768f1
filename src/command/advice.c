/*
 * Each piece of advice is a row and a function, which says nothing about a configuration that does
 * as it says: a warning that is always there is read by nobody. So a limit here is where a setting
 * stops doing what it is there for, not where one could wish for another.
 */
#include "command/advice.h"

#include "command/forecast.h"

#include <healthsvc/keys.h>
#include <healthsvc/probe.h>
#include <healthsvc/strbuf.h>
#include <healthsvc/units.h>

#include <errno.h>
#include <stdarg.h>
#include <stdbool.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>
#include <sys/stat.h>

#define SENTENCE_BYTES 8192
#define SLOW_TO_FAIL_MS INT64_C(120000)
#define PATIENCE_MS INT64_C(30000)   /* of Docker's HEALTHCHECK, kubelet's and Nagios' are less */
#define FIRST_ROUND_MS INT64_C(1000) /* what spreading the first checks may add */
#define FAR_TLS_MS INT64_C(100)      /* three round trips of 30 ms, as within a continent */
#define NTP_PERIOD_MS INT64_C(16000) /* what chrony and ntpd limit a client to by default */
#define POLLER_MS INT64_C(2000)      /* HAProxy's default `inter` */
#define BUSY_CORES 0.8

struct one {
    const struct target_conf *conf;
    struct forecast_times times;
    const struct target_conf *twin; /* an earlier one that asks just the same, or NULL */
};

struct all {
    const struct config *config;
    const struct forecast *forecast;
    const struct advice_descriptors *descriptors;
};

static void add_duration(struct strbuf *out, const char *before, int64_t ms, const char *after)
{
    strbuf_adds(out, before);
    units_format_duration(out, ms);
    strbuf_adds(out, after);
}

/* ---- about one dependency: each adds its sentence, or nothing ---- */

static bool has_prefix(const char *text, const char *prefix)
{
    return strncasecmp(text, prefix, strlen(prefix)) == 0;
}

static bool is_local(const struct target_conf *t)
{
    return t->unix_path != NULL || t->host == NULL || strcmp(t->host, "localhost") == 0 ||
           strcmp(t->host, "::1") == 0 || has_prefix(t->host, "127.");
}

static void advise_slow(const struct one *d, struct strbuf *out)
{
    const struct target_conf *t = d->conf;
    if (t->importance != IMPORTANCE_REQUIRED || d->times.down_ms <= SLOW_TO_FAIL_MS)
        return;
    add_duration(out, "when it hangs, requests go on being sent here for up to ", d->times.down_ms,
                 ": that is how long it takes to be down, by 'period', 'timeout', 'fall' and "
                 "'confirm'");
}

static void advise_patient(const struct one *d, struct strbuf *out)
{
    const struct target_conf *t = d->conf;
    if (t->timeout_ms + FIRST_ROUND_MS < PATIENCE_MS)
        return;
    add_duration(out, "'timeout' is ", t->timeout_ms,
                 ": for so long nothing is known of it after a start, and -1 may take as long, "
                 "which who runs it gives up sooner (Docker after 30s)");
}

static void advise_tls(const struct one *d, struct strbuf *out)
{
    const struct target_conf *t = d->conf;
    if (t->tls_profile == NULL || t->timeout_ms >= FAR_TLS_MS || is_local(t))
        return;
    add_duration(out, "'timeout' is ", t->timeout_ms,
                 ": a check with a full TLS handshake takes a look-up and at least three round "
                 "trips, and fails where one takes a third of that");
}

static void advise_ntp(const struct one *d, struct strbuf *out)
{
    const struct target_conf *t = d->conf;
    if (strcmp(t->scheme->name, "ntp") != 0 || t->period_ms >= NTP_PERIOD_MS || is_local(t))
        return;
    add_duration(out, "'period' is ", t->period_ms,
                 ": public time servers refuse who asks more often than every 16s");
}

static void advise_stale(const struct one *d, struct strbuf *out)
{
    const struct target_conf *t = d->conf;
    int64_t gap_ms = d->times.result_gap_ms;
    if (t->importance == IMPORTANCE_INFO || t->max_age_ms >= gap_ms)
        return;
    add_duration(out, "'max_age' is ", t->max_age_ms, ", but between two results there may be ");
    add_duration(out, "", gap_ms, " ('period' and 'timeout'): it would be stale in between");
}

static void advise_twin(const struct one *d, struct strbuf *out)
{
    if (d->twin != NULL)
        strbuf_addf(out, "it asks just what '%s' does (%s:%d)", d->twin->name, d->twin->file,
                    d->twin->line);
}

static bool is_open(const char *file, unsigned *ret_mode)
{
    struct stat st;
    if (file == NULL || stat(file, &st) != 0 || (st.st_mode & S_IROTH) == 0)
        return false;
    *ret_mode = st.st_mode & 07777;
    return true;
}

static void add_open(struct strbuf *out, const char *setting, const char *file, unsigned mode)
{
    strbuf_addf(out, "'%s': everybody on this machine may read ", setting);
    strbuf_add_printable(out, file, strlen(file), 1024);
    strbuf_addf(out, " (mode %04o)", mode);
}

static void advise_open_secret(const struct one *d, struct strbuf *out)
{
    const struct target_conf *t = d->conf;
    const struct {
        const char *name, *file;
    } secrets[] = {
        {"password_file", t->password_file},
        {"key_file", t->tls.key_file},
        {"cert_file", t->tls.key_file == NULL ? t->tls.cert_file : NULL}, /* holds the key */
    };
    for (size_t i = 0; i < sizeof secrets / sizeof secrets[0]; i++) {
        unsigned mode = 0;
        if (is_open(secrets[i].file, &mode)) {
            add_open(out, secrets[i].name, secrets[i].file, mode);
            return;
        }
    }
}

/* The lines of the scheme's own setting of that name, or NULL. */
static const char *text_of(const struct target_conf *t, const char *name)
{
    for (const struct key_row *row = t->scheme->keys; row != NULL && row->name != NULL; row++) {
        if (strcmp(row->name, name) == 0 && row->type == KEY_TEXT_LIST)
            return *(char *const *)((const char *)t->scheme_conf + row->offset);
    }
    return NULL;
}

static void advise_open_header(const struct one *d, struct strbuf *out)
{
    const struct target_conf *t = d->conf;
    static const char *const secrets[] = {
        "Authorization:", "Proxy-Authorization:", "Cookie:", "X-Api-Key:"};
    unsigned mode = 0;
    for (const char *line = text_of(t, "headers"); line != NULL && *line != '\0';) {
        for (size_t i = 0; i < sizeof secrets / sizeof secrets[0]; i++) {
            if (has_prefix(line, secrets[i]) && is_open(t->file, &mode)) {
                strbuf_addf(out,
                            "'headers' has %.*s, and everybody on this machine may read this file "
                            "(mode %04o)",
                            (int)strlen(secrets[i]) - 1, secrets[i], mode);
                return;
            }
        }
        line += strcspn(line, "\n");
        line += *line == '\n';
    }
}

/* ---- about the service as a whole ---- */

static void advise_descriptors(const struct all *s, struct strbuf *out)
{
    const struct advice_descriptors *d = s->descriptors;
    if (d->shortage != NULL)
        strbuf_addf(out, "it would not start here: %s", d->shortage);
    else if (s->forecast->at_once > d->checks)
        strbuf_addf(out,
                    "the limit of open files (RLIMIT_NOFILE) is %zu here: enough for %zu checks at "
                    "once, but if all hang there are %zu, and what is over is not tried; %zu would "
                    "do",
                    d->have, d->checks, s->forecast->at_once, d->needed);
}

static void advise_cores(const struct all *s, struct strbuf *out)
{
    const struct forecast *f = s->forecast;
    if (f->steady_cores >= BUSY_CORES)
        strbuf_addf(out,
                    "%.0f checks a second need an estimated %.1f cores, and one thread makes them: "
                    "they will start late, or be skipped; longer periods need less",
                    f->steady_per_s, f->steady_cores);
    else if (f->doubt_cores >= 1)
        strbuf_addf(out,
                    "while all dependencies are in doubt, %.0f checks a second need an estimated "
                    "%.1f cores, and one thread makes them: states will change later than "
                    "forecast; a longer 'confirm' needs less",
                    f->doubt_per_s, f->doubt_cores);
}

static void advise_commands(const struct all *s, struct strbuf *out)
{
    if (s->forecast->commands_running > CHILDREN_MAX)
        strbuf_addf(out,
                    "if the commands of 'exec' hang, %.0f of them want to run at a time, and %d "
                    "may: the others are not tried; longer periods or shorter timeouts need fewer",
                    s->forecast->commands_running, CHILDREN_MAX);
}

static void advise_never_fails(const struct all *s, struct strbuf *out)
{
    for (size_t i = 0; i < s->config->target_count; i++) {
        if (s->config->targets[i]->importance == IMPORTANCE_REQUIRED)
            return;
    }
    if (s->config->target_count > 0)
        strbuf_adds(out,
                    "no dependency is required: whatever happens to them, /health answers 200");
}

static void advise_shutdown(const struct all *s, struct strbuf *out)
{
    int64_t delay_ms = s->config->shutdown_delay_ms;
    if (delay_ms == 0 || delay_ms >= POLLER_MS)
        return;
    add_duration(out, "'shutdown_delay' is ", delay_ms,
                 ": it may be over before a load balancer has asked again (HAProxy asks every 2s "
                 "by default)");
}

static void advise_open_token(const struct all *s, struct strbuf *out)
{
    unsigned mode = 0;
    if (is_open(s->config->details_token_file, &mode))
        add_open(out, "details_token_file", s->config->details_token_file, mode);
}

/* ---- the rows ---- */

static const struct {
    void (*advise)(const struct one *d, struct strbuf *out);
    const char *what; /* follows "N more dependencies" */
} about_one[] = {
    {advise_slow, "that take long to be down"},
    {advise_patient, "with a long 'timeout'"},
    {advise_tls, "with a short 'timeout' for TLS"},
    {advise_ntp, "with a short 'period' for ntp"},
    {advise_stale, "that would be stale between two results"},
    {advise_twin, "that ask what another does"},
    {advise_open_secret, "with a secret in a file that everybody may read"},
    {advise_open_header, "with a secret in 'headers' that everybody may read"},
};
#define ABOUT_ONE (sizeof about_one / sizeof about_one[0])

static void (*const about_all[])(const struct all *s, struct strbuf *out) = {
    advise_descriptors, advise_cores,    advise_commands,
    advise_never_fails, advise_shutdown, advise_open_token,
};

/* ---- who asks the same ---- */

struct question {
    const struct target_conf *conf;
    size_t index;
};

static int compare_text(const char *a, const char *b)
{
    return strcmp(a != NULL ? a : "", b != NULL ? b : "");
}

static int compare_url(const struct question *a, const struct question *b)
{
    int order = compare_text(a->conf->url, b->conf->url);
    return order != 0 ? order : compare_text(a->conf->exec, b->conf->exec);
}

static int compare_question(const void *a, const void *b)
{
    const struct question *left = a, *right = b;
    int order = compare_url(left, right);
    return order != 0 ? order : left->index < right->index ? -1 : left->index > right->index;
}

/* To be judged in another way is a reason to be asked twice; another name is none. */
static bool is_twin(const struct target_conf *a, const struct target_conf *b)
{
    struct strbuf names;
    strbuf_init(&names, 1024);
    bool twin = config_compare_targets(a, b, &names) == CONFIG_CHANGE_NONE;
    strbuf_done(&names);
    return twin;
}

/* For each dependency an earlier one that asks the same, or NULL. */
static int find_twins(const struct config *config, const struct target_conf **twins)
{
    struct question *list = calloc(config->target_count + 1, sizeof *list);
    if (list == NULL)
        return -ENOMEM;
    for (size_t i = 0; i < config->target_count; i++)
        list[i] = (struct question){.conf = config->targets[i], .index = i};
    qsort(list, config->target_count, sizeof *list, compare_question);
    for (size_t i = 1, first = 0; i < config->target_count; i++) {
        if (compare_url(&list[first], &list[i]) != 0)
            first = i;
        for (size_t k = first; k < i && twins[list[i].index] == NULL; k++) {
            if (is_twin(list[k].conf, list[i].conf))
                twins[list[i].index] = list[k].conf;
        }
    }
    free(list);
    return 0;
}

/* ---- telling ---- */

struct teller {
    config_fault_fn tell;
    void *arg;
    struct strbuf line;
};

static void PRINTF_LIKE(2, 3) tell(struct teller *to, const char *fmt, ...)
{
    va_list args;
    va_start(args, fmt);
    strbuf_clear(&to->line);
    strbuf_vaddf(&to->line, fmt, args);
    va_end(args);
    if (strbuf_error(&to->line) == 0)
        to->tell(to->arg, to->line.data);
}

static void tell_about_one(const struct one *d, size_t *told, struct teller *to)
{
    struct strbuf sentence;
    strbuf_init(&sentence, SENTENCE_BYTES);
    for (size_t k = 0; k < ABOUT_ONE; k++) {
        strbuf_clear(&sentence);
        about_one[k].advise(d, &sentence);
        if (sentence.len > 0 && told[k]++ < ADVICE_TOLD)
            tell(to, "%s:%d: warning: %s: %s", d->conf->file, d->conf->line, d->conf->name,
                 sentence.data);
    }
    strbuf_done(&sentence);
}

static void tell_about_all(const struct all *s, struct teller *to)
{
    struct strbuf sentence;
    strbuf_init(&sentence, SENTENCE_BYTES);
    for (size_t k = 0; k < sizeof about_all / sizeof about_all[0]; k++) {
        strbuf_clear(&sentence);
        about_all[k](s, &sentence);
        if (sentence.len > 0)
            tell(to, "%s: warning: %s", s->config->path, sentence.data);
    }
    strbuf_done(&sentence);
}

int advice_tell(const struct config *config, const struct forecast *forecast,
                const struct advice_descriptors *descriptors, config_fault_fn fn, void *arg)
{
    const struct all s = {.config = config, .forecast = forecast, .descriptors = descriptors};
    struct teller to = {.tell = fn, .arg = arg};
    size_t told[ABOUT_ONE] = {0};
    const struct target_conf **twins = calloc(config->target_count + 1, sizeof twins[0]);
    int r = twins != NULL ? find_twins(config, twins) : -ENOMEM;
    strbuf_init(&to.line, 2 * SENTENCE_BYTES);
    for (size_t i = 0; i < config->target_count && r == 0; i++) {
        const struct one d = {.conf = config->targets[i],
                              .times = forecast_times(config->targets[i]),
                              .twin = twins[i]};
        tell_about_one(&d, told, &to);
    }
    for (size_t k = 0; k < ABOUT_ONE && r == 0; k++) {
        if (told[k] > ADVICE_TOLD)
            tell(&to, "%s: warning: %zu more dependencies %s", config->path, told[k] - ADVICE_TOLD,
                 about_one[k].what);
    }
    if (r == 0)
        tell_about_all(&s, &to);
    strbuf_done(&to.line);
    free(twins);
    return r;
}
