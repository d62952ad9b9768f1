/*
 * loader.h: what the parts of config_load() share while one configuration is being read.
 *
 * Owner: config_load(). Threads: main.
 * Errors: faults are collected, the reading goes on; out of memory sticks in `no_memory`.
 */
#ifndef HEALTHSVC_CONFIG_LOADER_H
#define HEALTHSVC_CONFIG_LOADER_H

#include <healthsvc/attr.h>

#include <libconfig.h>
#include <stdbool.h>
#include <stddef.h>

#include "config/faults.h"
#include "config/source.h"

struct config;
struct key_target;
struct strbuf;
struct target_conf;

struct loader {
    struct config *config; /* being filled in */
    struct source source;
    struct faults faults;
    const config_setting_t *defaults; /* the group, or NULL */
    size_t named_count;               /* of l->config->by_name */
    bool no_memory;
};

/* config.c: in the place of a file's name (NULL: none is set) the one that it is opened by. */
void loader_resolve(struct loader *l, char **file);
/* top.c: all but the dependencies. */
void top_read(struct loader *l, const config_setting_t *root);
/* The i-th of the texts that `setting` (a string or a list; NULL: not written) was read into. */
const config_setting_t *top_element(const config_setting_t *setting, unsigned i);
/* A fault at `at`: "'listen' is "TEXT": SENTENCE". */
void top_tell_address(struct loader *l, const config_setting_t *at, const char *text,
                      const char *sentence);
/* listen.c: the addresses to serve (NULL: not written), once the top level's workers are known. */
void listen_read(struct loader *l, const config_setting_t *at);
/* dependency.c: the group of settings for all. */
void defaults_read(struct loader *l, const config_setting_t *group);
/* Adds one to l->config->targets, which has room for it. */
void dependency_read(struct loader *l, const config_setting_t *group);
/* Gives back what does not lie in the configuration's region. */
void dependency_done(struct target_conf *conf);
/* The tables of settings that have a use with conf->scheme, beside rows_identity; how many. */
#define DEPENDENCY_TABLES_MAX 4
size_t dependency_tables(struct target_conf *conf, struct key_target *ret_tables);
/* The setting of that name in the dependency, else in the defaults, else NULL. */
const config_setting_t *dependency_find_written(const struct loader *l,
                                                const config_setting_t *group, const char *name);
/* times.c: fills in what adapts (is 0); makes times of `b` that have adapted the same as those of `a`
 * that have; tells what does not hold together. */
void times_settle(struct target_conf *conf);
void times_level(const struct target_conf *a, struct target_conf *b);
void times_check(struct loader *l, const config_setting_t *group, const struct target_conf *conf);
/* secret.c: reads what one of conf->password_... names into conf->secret.
 * 0, or -EINVAL with a sentence, which never shows the secret, in *why; -ENOMEM. */
int secret_read(struct target_conf *conf, struct strbuf *why) MUST_CHECK;
/* The same for the one line of a file that `setting` names; the caller owns *ret_secret and gives
 * it to secret_free(). */
int secret_read_file(const char *setting, const char *path, struct strbuf *why, char **ret_secret)
    MUST_CHECK;
/* Wipes and frees; accepts NULL, returns NULL. */
char *secret_free(char *secret);

#endif
