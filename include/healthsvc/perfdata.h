/*
 * perfdata.h: what a monitoring plugin has measured: the performance data of its output.
 *
 * Source: Monitoring Plugins Development Guidelines, "Performance data" and "Threshold and ranges";
 * Nagios Core's Plugin API for where it stands in an output of several lines.
 * Owner: whoever holds a reference (perfdata_ref() and perfdata_unref() are in probe.h); immutable.
 * Threads: any. Errors: none: what cannot be read, or kept, is left out.
 */
#ifndef HEALTHSVC_PERFDATA_H
#define HEALTHSVC_PERFDATA_H

#include <healthsvc/attr.h>

#include <stdatomic.h>
#include <stdbool.h>
#include <stddef.h>

#define PERFDATA_MAX 128       /* values of one output */
#define PERFDATA_LABEL_MAX 128 /* bytes of a label */
#define PERFDATA_UNIT_MAX 16

/* What is well: start <= value <= end, or with `inside` all that is not. An open end is infinite;
 * `start` is NAN where no range was given. */
struct perf_range {
    double start, end;
    bool inside;
};

/* Numbers are in base units: seconds, bytes, and a ratio for per cent. Those not given are NAN. */
struct perf_value {
    const char *label; /* printable ASCII, not empty, unlike all others (see perfdata_parse()) */
    const char *unit;  /* "s", "B", "ratio", "" for none and for counters, or the plugin's own */
    bool counter;
    double value;
    struct perf_range warn, crit;
    double min, max;
};

struct perfdata {
    atomic_uint refs;
    size_t count;
    struct perf_value values[]; /* then the texts they point to */
};

/* Reads a plugin's output; `cut` says that there was more of it, so that its last word may not be
 * whole. Left out is what is not of the form, has no value ("U"), or has the label of one before
 * ("a:b" and "a_b" are the same one, for formats that give the colon a meaning). NULL: nothing is
 * left. */
struct perfdata *perfdata_parse(const char *output, size_t len, bool cut) MUST_CHECK;

/* The number of a range that begins at 0, as a plain threshold does; NAN for any other. */
double perf_range_plain(const struct perf_range *range);

#endif
