/*
 * faults.h: the faults of one configuration, collected to be told together in the file's order.
 *
 * Owner: config_load(). Threads: main.
 * Errors: out of memory sticks in `no_memory`.
 */
#ifndef HEALTHSVC_CONFIG_FAULTS_H
#define HEALTHSVC_CONFIG_FAULTS_H

#include <healthsvc/attr.h>

#include <libconfig.h>
#include <stdbool.h>
#include <stddef.h>

struct fault {
    unsigned line;              /* of the whole text, see source.h */
    size_t order;               /* of finding, among those of one line */
    const config_setting_t *at; /* NULL: found before there were settings */
    char *sentence;
};

struct faults {
    struct fault *list;
    size_t count, room;
    bool no_memory;
};

void faults_done(struct faults *f);
void faults_add_line(struct faults *f, unsigned line, const char *fmt, ...) PRINTF_LIKE(3, 4);
void faults_add(struct faults *f, const config_setting_t *at, const char *fmt, ...)
    PRINTF_LIKE(3, 4);
/* True if that very setting has a fault. */
bool faults_has(const struct faults *f, const config_setting_t *at);
/* By line, then as found; the same said twice of one line (a default, once for each dependency that
 * it applies to) becomes one. */
void faults_sort(struct faults *f);

#endif
