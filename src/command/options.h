/*
 * options.h: the command line.
 *
 * Threads: main, before any other.
 */
#ifndef HEALTHSVC_COMMAND_OPTIONS_H
#define HEALTHSVC_COMMAND_OPTIONS_H

#include "command/query.h"

#include <stdbool.h>

enum mode {
    MODE_SERVE = 0,
    MODE_TEST,
    MODE_ONCE,
    MODE_QUERY,
};

struct options {
    enum mode mode;
    const char *path;   /* of the configuration; NULL: not given */
    struct query query; /* its format is -1's too */
    bool timeout_given;
    char fault[128]; /* the first one; "": none */
};

/* Reads all of it, whatever is wrong: an -f behind a fault decides how it is told. True: go on;
 * false: help or version have been printed. Strings are those of `argv`. */
bool options_read(int argc, char **argv, struct options *ret_options);

/* Tells the fault. Returns the exit code. */
int options_usage(const struct options *o);

#endif
