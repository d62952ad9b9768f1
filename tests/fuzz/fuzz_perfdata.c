/*
 * The performance data of any output. An input is one byte, whether the output was cut, and then
 * the output; what is promised of the result is looked at, and all of it is read.
 */
#include "fuzz.h"

#include <healthsvc/perfdata.h>
#include <healthsvc/probe.h>

#include <math.h>
#include <stdlib.h>
#include <string.h>

const char *const fuzz_corpus = "perfdata";

static void check_text(const char *text, size_t min, size_t max)
{
    size_t len = strlen(text);
    if (len < min || len > max)
        abort();
    for (size_t i = 0; i < len; i++) {
        if (text[i] < ' ' || text[i] > '~')
            abort();
    }
}

static void check_range(const struct perf_range *range)
{
    if (isnan(range->start) != isnan(range->end) || range->start > range->end)
        abort();
    double plain = perf_range_plain(range);
    if (!isnan(plain) && (!isfinite(plain) || range->inside))
        abort();
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    if (size < 1)
        return 0;
    char *output = malloc(size); /* of its own, exactly as long */
    if (output == NULL)
        abort();
    memcpy(output, data + 1, size - 1);
    output = realloc(output, size - 1 > 0 ? size - 1 : 1);
    if (output == NULL)
        abort();
    struct perfdata *p = perfdata_parse(output, size - 1, data[0] & 1);
    free(output); /* nothing may point there */
    if (p == NULL)
        return 0;
    if (p->count == 0 || p->count > PERFDATA_MAX)
        abort();
    for (size_t i = 0; i < p->count; i++) {
        const struct perf_value *v = &p->values[i];
        check_text(v->label, 1, PERFDATA_LABEL_MAX);
        check_text(v->unit, 0, PERFDATA_UNIT_MAX);
        if (!isfinite(v->value) || isinf(v->min) || isinf(v->max))
            abort();
        check_range(&v->warn);
        check_range(&v->crit);
        for (size_t k = 0; k < i; k++) {
            if (strcmp(v->label, p->values[k].label) == 0)
                abort();
        }
    }
    perfdata_unref(p);
    return 0;
}
