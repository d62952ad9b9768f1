#include "check/reload.h"

#include "check/target.h"

#include <healthsvc/strbuf.h>

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define NAMES_SHOWN_BYTES 160

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
    struct strbuf changed_names, names;
    size_t kept = 0, changed = 0, added = 0;
    strbuf_init(&changed_names, NAMES_SHOWN_BYTES);
    strbuf_init(&names, NAMES_SHOWN_BYTES);
    size_t i;
    for (i = 0; i < plan->count; i++) {
        const struct target_conf *conf = plan->config->targets[i];
        const struct target_conf *was = old != NULL ? config_find_target(old, conf->name) : NULL;
        plan->change[i] = CONFIG_CHANGE_ASKED;
        if (was == NULL) {
            added++;
        } else {
            strbuf_clear(&names);
            plan->old_index[i] = was->position;
            plan->change[i] = config_compare_targets(was, conf, &names);
            if (plan->change[i] == CONFIG_CHANGE_NONE)
                kept++;
            else
                changed++;
            merge_names(&changed_names, names.data);
        }
        if (plan->change[i] == CONFIG_CHANGE_ASKED) {
            plan->targets[i] = target_new(conf);
            if (plan->targets[i] == NULL)
                break;
        }
    }
    size_t removed = old != NULL ? old->target_count - kept - changed : 0;
    (void)snprintf(plan->summary, sizeof plan->summary,
                   "%zu kept, %zu changed%s%s%s, %zu added, %zu removed", kept, changed,
                   changed > 0 ? " (" : "", changed_names.data, changed > 0 ? ")" : "", added,
                   removed);
    strbuf_done(&names);
    strbuf_done(&changed_names);
    return i == plan->count ? 0 : -ENOMEM;
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
