/*
 * reload.h: which dependencies of a new configuration go on, which begin anew, which end.
 *
 * Made on main, so that comparing ten thousand definitions delays no check; applied on the checker
 * thread, where nothing is left that can fail.
 * Owner: main until it is posted, then the checker.
 */
#ifndef HEALTHSVC_CHECK_RELOAD_H
#define HEALTHSVC_CHECK_RELOAD_H

#include <healthsvc/attr.h>
#include <healthsvc/config.h>

#include <stddef.h>

struct target;
struct target_view;

struct reload_plan {
    struct config *config;   /* a reference */
    size_t count;            /* of its targets; the arrays below have that many */
    struct target **targets; /* new ones made; NULL: take the old one named beside */
    size_t *old_index;
    enum config_change *change;
    const struct target_view **views; /* room for the checker's list */
    char summary[256];                /* "3 kept, 1 changed (period), 1 added, 0 removed" */
};

/* `old` NULL: everything is new. 0 or -ENOMEM. */
int reload_plan_new(const struct config *old, struct config *config, struct reload_plan **ret_plan)
    MUST_CHECK;
/* Frees the plan and what is still in it; accepts NULL. */
void reload_plan_free(struct reload_plan *plan);

#endif
