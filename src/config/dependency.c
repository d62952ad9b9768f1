/*
 * dependency.c: one dependency, from its group to a definition that is ready to be asked.
 *
 * The defaults are not merged into the group but read into the same struct before it, by the tables
 * that the scheme has a use for: so a default that does not apply to a scheme does no harm, and a
 * value written in the dependency simply comes last.
 */
#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include <healthsvc/config.h>
#include <healthsvc/keys.h>
#include <healthsvc/probe.h>
#include <healthsvc/region.h>
#include <healthsvc/strbuf.h>
#include <healthsvc/url.h>

#include "config/loader.h"
#include "config/rows.h"

#define WHY_MAX_BYTES 2048
#define TABLES_MAX 64 /* the common ones and each scheme's */

struct tables {
    struct key_target list[TABLES_MAX];
    size_t count;
    size_t schemes_from; /* of the schemes' own; their bases are scratch */
};

/* One group while it is being read: a sink's argument. */
struct reading {
    struct loader *l;
    const config_setting_t *group;
    const struct scheme *scheme; /* NULL: not known, or the group is `defaults` */
};

static void tell(void *arg, const config_setting_t *setting, const char *sentence)
{
    struct reading *r = arg;
    faults_add(&r->l->faults, setting != NULL ? setting : r->group, "%s", sentence);
}

static void keep_quiet(void *arg, const config_setting_t *setting, const char *sentence)
{
    (void)arg;
    (void)setting;
    (void)sentence;
}

static bool ignore_unknown(void *arg, const config_setting_t *setting)
{
    (void)arg;
    (void)setting;
    return true;
}

static const struct key_sink quiet = {.fault = keep_quiet, .unknown = ignore_unknown};

static void add_table(struct tables *t, const struct key_row *rows, void *base)
{
    if (rows != NULL && t->count < TABLES_MAX)
        t->list[t->count++] = (struct key_target){.rows = rows, .base = base};
}

size_t dependency_tables(struct target_conf *conf, struct key_target *ret_tables)
{
    size_t count = 0;

    ret_tables[count++] = (struct key_target){.rows = rows_common, .base = conf};
    if (conf->scheme->flags & SCHEME_SECRET)
        ret_tables[count++] = (struct key_target){.rows = rows_secret, .base = conf};
    if (conf->scheme->flags & (SCHEME_TLS | SCHEME_STARTTLS))
        ret_tables[count++] = (struct key_target){.rows = rows_tls, .base = conf};
    if (conf->scheme->flags & SCHEME_REUSE)
        ret_tables[count++] = (struct key_target){.rows = rows_reuse, .base = conf};
    if (conf->scheme->keys != NULL)
        ret_tables[count++] =
            (struct key_target){.rows = conf->scheme->keys, .base = conf->scheme_conf};
    return count;
}

/* Every setting that any scheme has a use for; the schemes' own go to scratch memory. */
static void add_all_tables(struct loader *l, struct tables *t, struct target_conf *conf)
{
    add_table(t, rows_common, conf);
    add_table(t, rows_secret, conf);
    add_table(t, rows_tls, conf);
    add_table(t, rows_reuse, conf);
    t->schemes_from = t->count;
    for (size_t i = 0; scheme_at(i) != NULL; i++) {
        const struct scheme *scheme = scheme_at(i);
        bool known = scheme->keys == NULL;
        for (size_t k = t->schemes_from; k < t->count && !known; k++)
            known = t->list[k].rows == scheme->keys;
        if (known)
            continue;
        void *scratch = region_alloc(l->config->region, scheme->conf_size);
        if (scratch == NULL || t->count == TABLES_MAX) {
            l->no_memory = true;
            return;
        }
        add_table(t, scheme->keys, scratch);
    }
}

/* True if some scheme has a use for it. */
static bool is_known_somewhere(const char *name)
{
    if (rows_find(rows_secret, name) != NULL || rows_find(rows_tls, name) != NULL ||
        rows_find(rows_reuse, name) != NULL)
        return true;
    for (size_t i = 0; scheme_at(i) != NULL; i++) {
        if (scheme_at(i)->keys != NULL && rows_find(scheme_at(i)->keys, name) != NULL)
            return true;
    }
    return false;
}

static bool tell_unknown(void *arg, const config_setting_t *setting)
{
    struct reading *r = arg;
    const char *name = config_setting_name(setting);

    if (r->scheme != NULL && r->scheme->ops == NULL)
        return true; /* it may well be one of that scheme's */
    if (r->scheme == NULL || !is_known_somewhere(name))
        return false;
    faults_add(&r->l->faults, setting, "'%s' has no use with scheme %s", name, r->scheme->name);
    return true;
}

static bool tell_unknown_default(void *arg, const config_setting_t *setting)
{
    struct reading *r = arg;
    const char *name = config_setting_name(setting);

    if (rows_find(rows_identity, name) == NULL)
        return false;
    faults_add(&r->l->faults, setting, "'%s' has no use in 'defaults'", name);
    return true;
}

/* keys_read() whose faults have been told already. */
static void read_keys(struct loader *l, const config_setting_t *group,
                      const struct key_target *tables, size_t count, const struct key_sink *sink)
{
    if (keys_read(group, tables, count, l->config->region, sink) == -ENOMEM)
        l->no_memory = true;
}

const config_setting_t *dependency_find_written(const struct loader *l,
                                                const config_setting_t *group, const char *name)
{
    const config_setting_t *own = config_setting_get_member(group, name);
    if (own != NULL || l->defaults == NULL)
        return own;
    return config_setting_get_member(l->defaults, name);
}

/* The settings of which each names a place of the one password. */
static bool is_password(const struct key_row *row)
{
    return strncmp(row->name, "password_", strlen("password_")) == 0;
}

/* How many of them the group writes; more than one is a fault. */
static unsigned check_passwords_written(struct loader *l, const config_setting_t *group)
{
    const config_setting_t *last = NULL;
    unsigned count = 0;

    for (const struct key_row *row = rows_secret; row->name != NULL; row++) {
        const config_setting_t *at =
            is_password(row) ? config_setting_get_member(group, row->name) : NULL;
        if (at == NULL)
            continue;
        count++;
        if (last == NULL || config_setting_source_line(at) > config_setting_source_line(last))
            last = at;
    }
    if (count > 1)
        faults_add(&l->faults, last,
                   "'password_file', 'password_env' and 'password_credential' exclude one another");
    return count;
}

void defaults_read(struct loader *l, const config_setting_t *group)
{
    struct reading r = {.l = l, .group = group};
    struct key_sink sink = {.fault = tell, .unknown = tell_unknown_default, .arg = &r};
    struct target_conf scratch = {0};
    struct tables t = {0};

    add_all_tables(l, &t, &scratch);
    read_keys(l, group, t.list, t.count, &sink);
    (void)check_passwords_written(l, group);
}

/* A fault at the setting that the sentence quotes first, if it is written anywhere. */
static void tell_quoted(struct loader *l, const config_setting_t *group, const char *sentence)
{
    const char *open = strchr(sentence, '\'');
    const char *close = open != NULL ? strchr(open + 1, '\'') : NULL;
    const config_setting_t *at = NULL;

    if (close != NULL) {
        char name[64] = "";
        size_t len = (size_t)(close - open - 1);
        if (len < sizeof name) {
            memcpy(name, open + 1, len);
            at = dependency_find_written(l, group, name);
        }
    }
    faults_add(&l->faults, at != NULL ? at : group, "%s", sentence);
}

/* Tells what came of a step that left its reason in `why`, at `at` or (NULL) at what it quotes;
 * frees `why`. */
static void conclude(struct loader *l, const config_setting_t *group, const config_setting_t *at,
                     int err, struct strbuf *why)
{
    if (err == -ENOMEM || (err != 0 && strbuf_error(why) == -ENOMEM))
        l->no_memory = true;
    else if (err != 0 && at != NULL)
        faults_add(&l->faults, at, "%s", why->data);
    else if (err != 0)
        tell_quoted(l, group, why->len > 0 ? why->data : strerror(-err));
    strbuf_done(why);
}

static void read_url(struct loader *l, const config_setting_t *group, struct target_conf *conf)
{
    const config_setting_t *url = config_setting_get_member(group, "url");
    const config_setting_t *exec = config_setting_get_member(group, "exec");
    const struct scheme *command = scheme_find("exec");
    struct strbuf why;

    if (exec != NULL && url != NULL)
        faults_add(&l->faults, exec, "'url' and 'exec' exclude each other");
    else if (exec != NULL && (command == NULL || command->ops == NULL))
        faults_add(&l->faults, exec, "'exec' checks are not in this build");
    else if (exec != NULL)
        conf->scheme = command;
    else if (url == NULL)
        faults_add(&l->faults, group, "'url' is missing");
    if (conf->url == NULL)
        return;
    strbuf_init(&why, WHY_MAX_BYTES);
    conclude(l, group, url, url_read(conf, l->config->region, &why), &why);
}

static void check_name(struct loader *l, const config_setting_t *group, struct target_conf *conf)
{
    struct config *config = l->config;
    const config_setting_t *at = config_setting_get_member(group, "name");
    size_t low = 0, high = l->named_count;

    /* A path that ends in /. or /.. cannot be asked for: HTTP clients and servers resolve it. */
    if (conf->name[strspn(conf->name, "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ"
                                      "0123456789._-")] != '\0')
        faults_add(&l->faults, at, "'name' may hold letters, digits, '.', '_' and '-' only");
    else if (strcmp(conf->name, ".") == 0 || strcmp(conf->name, "..") == 0)
        faults_add(&l->faults, at, "'name' must not be '.' or '..'");

    while (low < high) {
        size_t middle = low + (high - low) / 2;
        int order = strcmp(config->by_name[middle]->name, conf->name);
        if (order == 0) {
            faults_add(&l->faults, at, "duplicate name '%s', first used at %s:%d", conf->name,
                       config->by_name[middle]->file, config->by_name[middle]->line);
            low = middle;
            break;
        }
        if (order < 0)
            low = middle + 1;
        else
            high = middle;
    }
    memmove(&config->by_name[low + 1], &config->by_name[low],
            (l->named_count - low) * sizeof config->by_name[0]);
    config->by_name[low] = conf;
    l->named_count++;
}

static void check_server_name(struct loader *l, const config_setting_t *group,
                              const struct target_conf *conf)
{
    const char *name = conf->tls.server_name;

    if (name != NULL && !url_is_host(name))
        tell_quoted(l, group, "'server_name' is neither a host name nor an address");
}

/* What the dependency writes itself takes the place of what the defaults do. */
static void drop_default_passwords(const config_setting_t *group, struct target_conf *conf)
{
    for (const struct key_row *row = rows_secret; row->name != NULL; row++) {
        if (!is_password(row) || config_setting_get_member(group, row->name) != NULL)
            continue;
        *(char **)((char *)conf + row->offset) = NULL;
    }
}

static void read_secret(struct loader *l, const config_setting_t *group, struct target_conf *conf)
{
    struct strbuf why;

    unsigned written = check_passwords_written(l, group);
    if (written > 1)
        return;
    if (written == 1)
        drop_default_passwords(group, conf);
    strbuf_init(&why, 2 * WHY_MAX_BYTES);
    conclude(l, group, NULL, secret_read(conf, &why), &why);
}

static void prepare(struct loader *l, const config_setting_t *group, struct target_conf *conf)
{
    struct strbuf why;

    strbuf_init(&why, WHY_MAX_BYTES);
    conclude(l, group, NULL, probe_prepare(l->config, conf, &why), &why);
}

/* All but the identity: the scheme's defaults, the file's defaults, the dependency's own. */
static void read_settings(struct loader *l, const config_setting_t *group, struct target_conf *conf)
{
    struct reading r = {.l = l, .group = group, .scheme = conf->scheme};
    struct key_sink sink = {.fault = tell, .unknown = tell_unknown, .arg = &r};
    struct tables t = {0};

    add_table(&t, rows_identity, conf);
    if (conf->scheme == NULL || conf->scheme->ops == NULL) {
        add_all_tables(l, &t, conf);
    } else {
        t.count += dependency_tables(conf, &t.list[t.count]);
        t.schemes_from = t.count;
    }
    for (size_t i = 1; i < t.count; i++) {
        if (keys_set_defaults(&t.list[i], l->config->region) != 0)
            l->no_memory = true;
    }
    if (l->defaults != NULL)
        read_keys(l, l->defaults, &t.list[1], t.count - 1, &quiet);
    read_keys(l, group, t.list, t.count, &sink);
}

void dependency_read(struct loader *l, const config_setting_t *group)
{
    struct target_conf *conf = region_alloc(l->config->region, sizeof *conf);
    struct key_target identity = {.rows = rows_identity, .base = conf};
    size_t faults_before = l->faults.count;
    unsigned line;

    if (conf == NULL) {
        l->no_memory = true;
        return;
    }
    conf->position = (unsigned)l->config->target_count;
    l->config->targets[l->config->target_count++] = conf;
    conf->owner = l->config;
    conf->file = source_place(&l->source, config_setting_source_line(group), &line);
    conf->line = (int)line;

    read_keys(l, group, &identity, 1, &quiet); /* the URL's scheme decides about the rest */
    read_url(l, group, conf);
    if (conf->scheme != NULL && conf->scheme->ops != NULL && conf->scheme->conf_size > 0) {
        conf->scheme_conf = region_alloc(l->config->region, conf->scheme->conf_size);
        if (conf->scheme_conf == NULL) {
            l->no_memory = true;
            return;
        }
    }
    read_settings(l, group, conf);
    if (conf->name != NULL)
        check_name(l, group, conf);
    check_server_name(l, group, conf);
    times_settle(conf);
    times_check(l, group, conf);
    loader_resolve(l, &conf->password_file);
    loader_resolve(l, &conf->tls.ca_file);
    loader_resolve(l, &conf->tls.cert_file);
    loader_resolve(l, &conf->tls.key_file);
    read_secret(l, group, conf);
    if (l->faults.count == faults_before && !l->faults.no_memory && !l->no_memory)
        prepare(l, group, conf);
}

void dependency_done(struct target_conf *conf)
{
    probe_release(conf);
    conf->secret = secret_free(conf->secret);
}
