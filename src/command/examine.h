/*
 * examine.h: the answer of -t to a configuration without faults: what it will do, and what it needs.
 *
 * Owner: plain values, borrowed for the call. Threads: main. Errors: negative errno.
 */
#ifndef HEALTHSVC_COMMAND_EXAMINE_H
#define HEALTHSVC_COMMAND_EXAMINE_H

#include <healthsvc/attr.h>

struct advice_descriptors;
struct config;
struct forecast;
struct strbuf;

/* A table with a line for each dependency, and the sums; at most 80 columns wide as long as no name
 * is longer than 23. */
int examine_table(const struct config *config, const struct forecast *forecast,
                  const struct advice_descriptors *descriptors, struct strbuf *out) MUST_CHECK;

#endif
