/*
 * culprits.h: who is to blame, in one bounded line: "NAME: reason; NAME: reason; and 3 more".
 *
 * Threads: any, each on its own data. Errors: none; who has no room is counted.
 */
#ifndef HEALTHSVC_REPORT_CULPRITS_H
#define HEALTHSVC_REPORT_CULPRITS_H

#include <healthsvc/snapshot.h>

struct culprits {
    char text[1024];
    size_t len;
    size_t unnamed;
}; /* starts with len 0 and unnamed 0 */

/* `name` "": the service itself. */
void culprits_add(struct culprits *c, const char *name, const char *reason);
/* Those whose share is the verdict, after the service's own reason: when it is fail, what only
 * warns is not to blame. */
void culprits_of_verdict(struct culprits *c, const struct snapshot *s, const struct moment *m,
                         const struct reading *r);
/* The service's own reason, and why this dependency is not well. */
void culprits_of_dependency(struct culprits *c, const struct target_view *v, const struct moment *m,
                            const struct reading *r);
/* The line; "" if nobody was added. */
const char *culprits_text(struct culprits *c);

#endif
