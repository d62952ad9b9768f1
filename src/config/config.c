/*
 * config.c: the order of reading (the text, libconfig, the top level, the defaults, each dependency,
 * and only then the faults, sorted), and what is asked of a configuration afterwards.
 *
 * A configuration with a fault is read to its end for the sake of all its faults, then freed as a
 * whole: nobody ever holds a half of one.
 */
#include <healthsvc/config.h>

#include <errno.h>
#include <libconfig.h>
#include <stdlib.h>
#include <string.h>

#include <healthsvc/keys.h>
#include <healthsvc/probe.h>
#include <healthsvc/region.h>
#include <healthsvc/room.h>
#include <healthsvc/strbuf.h>

#include "config/loader.h"
#include "config/rows.h"

#define FAULT_MAX_BYTES 8192
/* A setting is 64 bytes, and has a name, a value or a list of its own (four blocks, of which glibc
 * makes 32 bytes at least), and a place in its parent's list. */
#define SETTING_BYTES 320
/* The scanner's copy, names and strings; buffers that grow by doubling. */
#define SCANNER_FACTOR 4

static void read_dependencies(struct loader *l, const config_setting_t *list)
{
    int count = config_setting_length(list);
    struct config *config = l->config;

    if (config_setting_type(list) != CONFIG_TYPE_LIST &&
        !(config_setting_type(list) == CONFIG_TYPE_ARRAY && count == 0)) {
        faults_add(&l->faults, list, "'dependencies' must be a list of groups: ( { ... }, ... )");
        return;
    }
    size_t bytes = ((size_t)count + 1) * sizeof(struct target_conf *);
    config->targets = region_alloc(config->region, bytes);
    config->by_name = region_alloc(config->region, bytes);
    if (config->targets == NULL || config->by_name == NULL) {
        l->no_memory = true;
        return;
    }
    for (int i = 0; i < count && !l->no_memory; i++) {
        const config_setting_t *group = config_setting_get_elem(list, (unsigned)i);
        if (config_setting_type(group) == CONFIG_TYPE_GROUP)
            dependency_read(l, group);
        else
            faults_add(&l->faults, group, "a dependency must be a group: { name = ...; ... }");
    }
}

static void read_root(struct loader *l, const config_setting_t *root)
{
    const config_setting_t *defaults = config_setting_get_member(root, "defaults");
    const config_setting_t *dependencies = config_setting_get_member(root, "dependencies");

    top_read(l, root);
    if (defaults != NULL && config_setting_type(defaults) != CONFIG_TYPE_GROUP) {
        faults_add(&l->faults, defaults, "'defaults' must be a group: { ... }");
    } else if (defaults != NULL) {
        defaults_read(l, defaults);
        l->defaults = defaults;
    }
    l->config->lists_dependencies = dependencies != NULL;
    if (dependencies != NULL)
        read_dependencies(l, dependencies);
}

/* What libconfig 1.5 takes for a text, at most. It checks none of its allocations: without memory it
 * crashes, or ends the process. */
static size_t needs_bytes(const struct strbuf *text)
{
    size_t settings = 1; /* no fewer than there are: each has one of these before it */
    for (const char *at = text->data; *(at += strcspn(at, "=:,{([")) != '\0'; at++)
        settings++;
    return SCANNER_FACTOR * text->len + SETTING_BYTES * settings;
}

/* The settings die with `settings`; what is kept of them is in l->config and l->faults. */
static void read_text(struct loader *l)
{
    const struct strbuf *text = &l->source.text;
    struct room *room = room_make(needs_bytes(text));
    config_t settings;

    if (room == NULL) {
        l->no_memory = true;
        return;
    }
    config_init(&settings);
    if (config_read_string(&settings, text->data) == CONFIG_TRUE)
        read_root(l, config_root_setting(&settings));
    else if (!l->source.torn)
        faults_add_line(&l->faults, (unsigned)config_error_line(&settings), "%s",
                        config_error_text(&settings));
    config_destroy(&settings);
    room_done(room);
}

/* 0: there was none; -EINVAL; -ENOMEM. */
static int tell_faults(struct loader *l, config_fault_fn fault, void *arg)
{
    struct strbuf text;

    faults_sort(&l->faults);
    strbuf_init(&text, FAULT_MAX_BYTES);
    for (size_t i = 0; i < l->faults.count && strbuf_error(&text) == 0; i++) {
        unsigned line;
        const char *file = source_place(&l->source, l->faults.list[i].line, &line);
        strbuf_clear(&text);
        strbuf_addf(&text, "%s:%u: %s", file, line, l->faults.list[i].sentence);
        if (strbuf_error(&text) == 0)
            fault(arg, text.data);
    }
    int err = strbuf_error(&text);
    strbuf_done(&text);
    if (err != 0)
        return -ENOMEM;
    return l->faults.count > 0 ? -EINVAL : 0;
}

void loader_resolve(struct loader *l, char **file)
{
    if (*file == NULL)
        return;
    *file = source_resolve(&l->source, *file);
    if (*file == NULL)
        l->no_memory = true;
}

int config_load(const char *path, config_fault_fn fault, void *arg, struct config **ret_config)
{
    struct loader l = {.config = calloc(1, sizeof *l.config)};
    int err = -ENOMEM;

    if (l.config == NULL)
        return -ENOMEM;
    atomic_init(&l.config->refs, 1);
    l.config->region = region_new();
    if (l.config->region == NULL)
        goto fail;
    l.config->path = region_copy_text(l.config->region, path);
    if (l.config->path == NULL)
        goto fail;
    err = source_read(&l.source, path, l.config->region, &l.faults);
    if (err != 0)
        goto fail;
    if (strbuf_error(&l.source.text) == 0)
        read_text(&l);
    err = l.no_memory || l.faults.no_memory ? -ENOMEM : tell_faults(&l, fault, arg);
    if (err != 0)
        goto fail;
    *ret_config = l.config;
    l.config = NULL;
    err = 0;
fail:
    faults_done(&l.faults);
    config_unref(l.config);
    source_done(&l.source);
    return err;
}

struct config *config_ref(struct config *config)
{
    atomic_fetch_add_explicit(&config->refs, 1, memory_order_relaxed);
    return config;
}

struct config *config_unref(struct config *config)
{
    if (config == NULL || atomic_fetch_sub_explicit(&config->refs, 1, memory_order_acq_rel) > 1)
        return NULL;
    for (size_t i = 0; i < config->target_count; i++)
        dependency_done(config->targets[i]);
    config->details_token = secret_free(config->details_token);
    region_free(config->region);
    free(config);
    return NULL;
}

const struct target_conf *config_find_target(const struct config *config, const char *name)
{
    size_t low = 0, high = config->target_count;

    while (low < high) {
        size_t middle = low + (high - low) / 2;
        int order = strcmp(config->by_name[middle]->name, name);
        if (order == 0)
            return config->by_name[middle];
        if (order < 0)
            low = middle + 1;
        else
            high = middle;
    }
    return NULL;
}

static void add_name(struct strbuf *names, const char *name)
{
    strbuf_addf(names, "%s%s", names->len > 0 ? ", " : "", name);
}

static enum config_change worse(enum config_change a, enum config_change b)
{
    return a > b ? a : b;
}

/* The rows' flags of what differs, as a change. */
static enum config_change compare_rows(const struct key_row *rows, const void *a, const void *b,
                                       struct strbuf *names)
{
    enum config_change change = CONFIG_CHANGE_NONE;

    for (; rows->name != NULL; rows++) {
        if (!(rows->flags & (KEY_ASKED | KEY_JUDGED)) || keys_equal(rows, a, b))
            continue;
        add_name(names, rows->name);
        change =
            worse(change, rows->flags & KEY_ASKED ? CONFIG_CHANGE_ASKED : CONFIG_CHANGE_JUDGED);
    }
    return change;
}

static bool same_secret(const struct target_conf *a, const struct target_conf *b)
{
    if (a->secret == NULL || b->secret == NULL)
        return a->secret == b->secret;
    return strcmp(a->secret, b->secret) == 0;
}

enum config_change config_compare_targets(const struct target_conf *a, const struct target_conf *b,
                                          struct strbuf *names)
{
    static const struct key_row *const tables[] = {rows_identity, rows_common, rows_secret,
                                                   rows_tls, rows_reuse};
    enum config_change change = CONFIG_CHANGE_NONE;
    struct target_conf level = *b;

    /* Who changes the period is told of the period, not of all that follows it. */
    times_level(a, &level);
    for (size_t i = 0; i < sizeof tables / sizeof tables[0]; i++)
        change = worse(change, compare_rows(tables[i], a, &level, names));
    if (a->scheme == b->scheme && a->scheme->keys != NULL)
        change =
            worse(change, compare_rows(a->scheme->keys, a->scheme_conf, b->scheme_conf, names));
    if (!same_secret(a, b)) {
        add_name(names, "password");
        change = CONFIG_CHANGE_ASKED;
    }
    return change;
}
