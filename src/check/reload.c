#include "check/reload.h"

#include "check/target.h"

#include <healthsvc/strbuf.h>
#include <healthsvc/units.h>

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define NAMES_SHOWN_BYTES 160

/* Old targets by name: open addressing, at most half full. */
struct name_index {
    size_t *slots; /* index + 1; 0: free */
    size_t mask;
    const struct config *config;
};

static int index_init(struct name_index *x, const struct config *config)
{
    size_t room = 16;
    while (room < 2 * config->target_count)
        room *= 2;
    *x = (struct name_index){
        .slots = calloc(room, sizeof *x->slots), .mask = room - 1, .config = config};
    if (x->slots == NULL)
        return -ENOMEM;
    for (size_t i = 0; i < config->target_count; i++) {
        size_t at = (size_t)units_hash64(config->targets[i]->name) & x->mask;
        while (x->slots[at] != 0)
            at = (at + 1) & x->mask;
        x->slots[at] = i + 1;
    }
    return 0;
}

/* The old target's index + 1, or 0. */
static size_t index_find(const struct name_index *x, const char *name)
{
    size_t at = (size_t)units_hash64(name) & x->mask;
    while (x->slots[at] != 0) {
        if (strcmp(x->config->targets[x->slots[at] - 1]->name, name) == 0)
            return x->slots[at];
        at = (at + 1) & x->mask;
    }
    return 0;
}

/* Adds the words of `names` ("period, fall") that `all` does not have yet. */
static void merge_names(struct strbuf *all, const char *names)
{
    while (*names != '\0') {
        size_t len = strcspn(names, ",");
        char word[64];
        (void)snprintf(word, sizeof word, "%.*s", (int)len, names);
        const char *seen = strstr(all->data, word);
        size_t word_len = strlen(word);
        while (seen != NULL && ((seen > all->data && seen[-1] != ' ') ||
                                (seen[word_len] != ',' && seen[word_len] != '\0')))
            seen = strstr(seen + 1, word);
        if (seen == NULL)
            strbuf_addf(all, "%s%s", all->len > 0 ? ", " : "", word);
        names += len;
        names += strspn(names, ", ");
    }
}

static int plan_fill(struct reload_plan *plan, const struct config *old)
{
    struct name_index index = {.slots = NULL};
    struct strbuf changed_names, names;
    size_t kept = 0, changed = 0, added = 0;
    int r = 0;
    strbuf_init(&changed_names, NAMES_SHOWN_BYTES);
    strbuf_init(&names, NAMES_SHOWN_BYTES);
    if (old != NULL)
        r = index_init(&index, old);
    for (size_t i = 0; i < plan->count && r == 0; i++) {
        const struct target_conf *conf = plan->config->targets[i];
        size_t found = old != NULL ? index_find(&index, conf->name) : 0;
        plan->change[i] = CONFIG_CHANGE_ASKED;
        if (found == 0) {
            added++;
        } else {
            strbuf_clear(&names);
            plan->old_index[i] = found - 1;
            plan->change[i] = config_compare_targets(old->targets[found - 1], conf, &names);
            if (plan->change[i] == CONFIG_CHANGE_NONE)
                kept++;
            else
                changed++;
            merge_names(&changed_names, names.data);
        }
        if (plan->change[i] == CONFIG_CHANGE_ASKED) {
            plan->targets[i] = target_new(conf);
            if (plan->targets[i] == NULL)
                r = -ENOMEM;
        }
    }
    size_t removed = old != NULL ? old->target_count - kept - changed : 0;
    (void)snprintf(plan->summary, sizeof plan->summary,
                   "%zu kept, %zu changed%s%s%s, %zu added, %zu removed", kept, changed,
                   changed > 0 ? " (" : "", changed_names.data, changed > 0 ? ")" : "", added,
                   removed);
    strbuf_done(&names);
    strbuf_done(&changed_names);
    free(index.slots);
    return r;
}

int reload_plan_new(const struct config *old, struct config *config, struct reload_plan **ret_plan)
{
    size_t count = config->target_count;
    struct reload_plan *plan = calloc(1, sizeof *plan);
    if (plan == NULL)
        return -ENOMEM;
    plan->config = config_ref(config);
    plan->count = count;
    plan->targets = calloc(count + 1, sizeof *plan->targets);
    plan->old_index = calloc(count + 1, sizeof *plan->old_index);
    plan->change = calloc(count + 1, sizeof *plan->change);
    plan->views = calloc(count + 1, sizeof *plan->views);
    int r = -ENOMEM;
    if (plan->targets == NULL || plan->old_index == NULL || plan->change == NULL ||
        plan->views == NULL)
        goto fail;
    r = plan_fill(plan, old);
    if (r < 0)
        goto fail;
    *ret_plan = plan;
    return 0;

fail:
    reload_plan_free(plan);
    return r;
}

void reload_plan_free(struct reload_plan *plan)
{
    if (plan == NULL)
        return;
    for (size_t i = 0; plan->targets != NULL && i < plan->count; i++) {
        if (plan->targets[i] != NULL)
            target_free(plan->targets[i]);
    }
    free(plan->targets);
    free(plan->old_index);
    free(plan->change);
    free(plan->views);
    config_unref(plan->config);
    free(plan);
}
