/*
 * rows.h: every setting of the top level and of a dependency that is no scheme's own.
 *
 * Threads: any (constant).
 */
#ifndef HEALTHSVC_CONFIG_ROWS_H
#define HEALTHSVC_CONFIG_ROWS_H

#include <healthsvc/keys.h>

/* Addresses as written, until top.c has made them what struct config holds. */
struct address_texts {
    char *nameservers;
    char *details_for;
};

/* One group of `listen`, until listen.c has made it a struct config_listen. */
struct listen_texts {
    char *address;
    char *serve;
    char *mode;
    char *group;
    int64_t workers; /* 0: the top level's */
};

extern const struct key_row rows_top[];       /* into struct config */
extern const struct key_row rows_addresses[]; /* into struct address_texts */
extern const struct key_row rows_listen[];    /* into struct listen_texts */
/* Into struct target_conf: */
extern const struct key_row rows_identity[]; /* not in `defaults` */
extern const struct key_row rows_common[];
extern const struct key_row rows_secret[]; /* with schemes that may log in */
extern const struct key_row rows_tls[];    /* with schemes that speak TLS */
extern const struct key_row rows_reuse[];  /* with schemes that may keep their connection */

/* The row of that name, or NULL. */
const struct key_row *rows_find(const struct key_row *rows, const char *name);

#endif
