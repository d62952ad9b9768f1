/*
 * source.h: a configuration file and all it includes, as one text that remembers where each line
 * came from.
 *
 * Owner: config_load(); the files' names lie in its region. Threads: main.
 * Errors: what is wrong with the files themselves goes to `faults`; out of memory is returned.
 */
#ifndef HEALTHSVC_CONFIG_SOURCE_H
#define HEALTHSVC_CONFIG_SOURCE_H

#include <healthsvc/attr.h>
#include <healthsvc/strbuf.h>

#include <stdbool.h>
#include <stddef.h>

struct faults;
struct region;

#define SOURCE_MAX_BYTES (16 << 20)
#define SOURCE_MAX_DEPTH 10

/* From this line of the text on, the lines are those of `file` from `file_line` on. */
struct source_span {
    unsigned line;
    const char *file;
    unsigned file_line;
};

struct source {
    struct strbuf text;
    unsigned line; /* the one that the text's end is in */
    struct source_span *spans;
    size_t span_count, span_room;
    struct region *region;
    const char *main_file;
    char last_token; /* its first byte */
    size_t comma_at; /* if that is a comma: its place in the text */
    bool torn;      /* a string or comment without end: the syntax error it makes is said already */
    size_t dir_len; /* of the main file's directory with its '/', a prefix of main_file */
    struct faults *faults;
};

/* 0 or -ENOMEM; `s` needs source_done() in any case. */
int source_read(struct source *s, const char *path, struct region *region, struct faults *faults)
    MUST_CHECK;
void source_done(struct source *s);
/* The file and its line for a line of the text. */
const char *source_place(const struct source *s, unsigned line, unsigned *ret_file_line);
/* `path`, which is relative to the main file's directory unless it is absolute, in the region. NULL:
 * no memory. */
char *source_resolve(const struct source *s, const char *path) MUST_CHECK;

#endif
