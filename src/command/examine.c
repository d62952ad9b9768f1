/*
 * The first column is as wide as the longest name and the table is always whole: it is for people,
 * who page, and for awk. Times are rounded up where they are rounded, since they are bounds.
 */
#include "command/examine.h"

#include "command/advice.h"
#include "command/forecast.h"

#include <healthsvc/config.h>
#include <healthsvc/probe.h>
#include <healthsvc/strbuf.h>

#include <inttypes.h>
#include <stdint.h>
#include <stdio.h>
#include <string.h>

#define SPAN_BYTES 32
#define EXACT_BELOW_MS INT64_C(600000)

static void add_unit(struct strbuf *out, int64_t count, const char *unit)
{
    if (count > 0)
        strbuf_addf(out, "%" PRId64 "%s", count, unit);
}

/* "250ms" "62s" "17.25s" "12m30s" "1h0m5s": short, and never less than it is. */
static void add_span(struct strbuf *out, int64_t ms)
{
    if (ms < 1000) {
        strbuf_addf(out, "%" PRId64 "ms", ms);
    } else if (ms < EXACT_BELOW_MS) {
        char fraction[8] = "";
        if (ms % 1000 != 0)
            (void)snprintf(fraction, sizeof fraction, ".%03d", (int)(ms % 1000));
        for (size_t len = strlen(fraction); len > 0 && fraction[len - 1] == '0'; len--)
            fraction[len - 1] = '\0';
        strbuf_addf(out, "%" PRId64 "%ss", ms / 1000, fraction);
    } else {
        int64_t s = (ms + 999) / 1000;
        add_unit(out, s / 3600, "h");
        add_unit(out, s / 60 % 60, "m");
        add_unit(out, s % 60, "s");
    }
}

/* "62s .. 72s" in a column of `width`. */
static void add_range(struct strbuf *out, int64_t from_ms, int64_t to_ms, size_t width)
{
    size_t start = out->len;
    add_span(out, from_ms);
    strbuf_adds(out, " .. ");
    add_span(out, to_ms);
    size_t used = out->len - start;
    strbuf_addf(out, "%*s", used < width ? (int)(width - used) : 0, "");
}

static void add_row(struct strbuf *out, const struct target_conf *conf, int name_width)
{
    struct forecast_times t = forecast_times(conf);
    struct strbuf period;
    strbuf_init(&period, SPAN_BYTES);
    add_span(&period, conf->period_ms);
    strbuf_addf(out, "%-*s  %-6s  ", name_width, conf->name, period.data);
    strbuf_done(&period);
    add_range(out, t.down_prompt_ms, t.down_ms, 16);
    strbuf_adds(out, "  ");
    add_range(out, t.up_prompt_ms, t.up_ms, 16);
    strbuf_adds(out, "  ");
    add_span(out, t.stale_ms);
    strbuf_addc(out, '\n');
}

static void add_times(struct strbuf *out, const struct config *config)
{
    static const char first[] = "dependency";
    size_t width = strlen(first);
    for (size_t i = 0; i < config->target_count; i++) {
        size_t len = strlen(config->targets[i]->name);
        width = len > width ? len : width;
    }
    strbuf_addf(out, "\n%-*s  %-6s  %-16s  %-16s  %s\n", (int)width, first, "period", "down after",
                "up after", "stale after");
    for (size_t i = 0; i < config->target_count; i++)
        add_row(out, config->targets[i], (int)width);
    strbuf_adds(out,
                "  From: it fails, or answers, at once. To: each check takes all of its timeout.\n"
                "  Who asks /health adds times of its own (HAProxy by default 3 x 2s); so does a\n"
                "  health service that is asked here.\n");
}

static const char *rate(double per_s, char text[SPAN_BYTES])
{
    (void)snprintf(text, SPAN_BYTES, per_s < 10 ? "%.2f" : "%.0f", per_s);
    return text;
}

static const char *share(double cores, char text[SPAN_BYTES])
{
    if (cores < 0.001)
        return "under 0.1";
    (void)snprintf(text, SPAN_BYTES, "%.1f", 100 * cores);
    return text;
}

static double megabytes(int64_t bytes)
{
    return (double)bytes / 1048576;
}

int examine_table(const struct config *config, const struct forecast *f,
                  const struct advice_descriptors *descriptors, struct strbuf *out)
{
    if (config->target_count > 0)
        add_times(out, config);
    strbuf_addc(out, '\n');
    if (config->target_count > 0) {
        char a[SPAN_BYTES], b[SPAN_BYTES];
        strbuf_addf(out, "checks       %s a second; %s if all are in doubt\n",
                    rate(f->steady_per_s, a), rate(f->doubt_per_s, b));
        strbuf_addf(out, "processor    %s %% of a core; %s %% if all are in doubt (estimated)\n",
                    share(f->steady_cores, a), share(f->doubt_cores, b));
        strbuf_addf(out, "memory       %.1f MB; %.1f MB if all hang (estimated)\n",
                    megabytes(f->rest_bytes), megabytes(f->worst_bytes));
    } else {
        strbuf_addf(out, "memory       %.1f MB (estimated)\n", megabytes(f->rest_bytes));
    }
    strbuf_addf(out, "descriptors  %zu at most; the limit is %zu here\n", descriptors->needed,
                descriptors->have);
    strbuf_addf(out, "threads      %zu; HTTP clients served at the same time: %zu\n", f->threads,
                f->workers);
    return strbuf_error(out);
}
