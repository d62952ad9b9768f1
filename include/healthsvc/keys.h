/*
 * keys.h: one libconfig group read against its rows: types, ranges, defaults, unknown settings.
 *
 * A setting is a row. Reading, validation, "did you mean", comparison at a reload and the
 * documentation tables all come from the rows.
 * Owner: the strings of the struct filled in lie in the caller's region.
 * Threads: main, while a configuration loads; keys_equal() any.
 * Errors: faults go to the sink with file and line; the call goes on, to report them all.
 */
#ifndef HEALTHSVC_KEYS_H
#define HEALTHSVC_KEYS_H

#include <healthsvc/attr.h>

#include <libconfig.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

struct region;
struct strbuf;

enum key_type {
    KEY_STRING = 0, /* char *, in the region; length in bytes within min..max */
    KEY_DURATION,   /* int64_t, milliseconds within min..max */
    KEY_INT,        /* int64_t within min..max */
    KEY_BOOL,       /* bool */
    KEY_ENUM,       /* int (an enum), the index of the word in `words` */
    KEY_TEXT_LIST, /* char *: a string or a list of strings, joined by '\n'; each within min..max */
    KEY_CUSTOM,    /* `custom_bytes` plain bytes filled by `custom`, compared by memcmp */
    KEY_GROUP,     /* a group or list that the caller reads itself; here only known and named */
};

enum key_flag {
    KEY_ASKED = 1,    /* dependency: part of what is asked; a change asks anew */
    KEY_JUDGED = 2,   /* dependency: only how it is judged or timed */
    KEY_REQUIRED = 4, /* must be written */
    KEY_SENT = 8,     /* goes out on the wire: CR, LF and NUL are refused */
};

struct key_row {
    const char *name; /* NULL ends a table */
    enum key_type type;
    unsigned flags;
    size_t offset; /* of the member in the struct that is filled */
    int64_t min, max;
    const char *default_text; /* as a file would write it ("10s", "3", "required"); NULL: zero/NULL
                                 (what is not written then adapts; the sentence tells how) */
    const char *const *words; /* KEY_ENUM, NULL-terminated */
    /* KEY_CUSTOM: reads `setting` (NULL: not written, fill in the default) into the member at
     * `dest`; 0, or -EINVAL with a sentence in *why (without the setting's name). */
    int (*custom)(const config_setting_t *setting, void *dest, struct strbuf *why);
    size_t custom_bytes;
    const char *shown_type;    /* what the documentation says of the value; NULL: by its type */
    const char *shown_default; /* what the documentation says of the default; NULL: default_text */
    const char *sentence;      /* one, for the manual */
};

#define KEYS_END     \
    {                \
        .name = NULL \
    }

/* Where faults go: `setting` tells file and line (NULL: the group's). */
struct key_sink {
    void (*fault)(void *arg, const config_setting_t *setting, const char *sentence);
    /* Asked first about a member that no table knows: true if nothing more is to be said about it.
     * NULL: none is. */
    bool (*unknown)(void *arg, const config_setting_t *setting);
    void *arg;
};

/* A row's table and the struct it fills. */
struct key_target {
    const struct key_row *rows;
    void *base;
};

/* Fills in every default of the rows; `base` must be zeroed. 0 or -ENOMEM. */
int keys_set_defaults(const struct key_target *target, struct region *region) MUST_CHECK;
/* Reads `group` against the tables together (`count` of them): a member that no table knows is a
 * fault with the nearest known name, one that several know is read by each. Values replace what is
 * there. Wrong values are faults and leave what was there. 0 if there was no fault, -EINVAL or
 * -ENOMEM. */
int keys_read(const config_setting_t *group, const struct key_target *targets, size_t count,
              struct region *region, const struct key_sink *sink) MUST_CHECK;
/* True if the member of that row holds the same in both structs. */
bool keys_equal(const struct key_row *row, const void *a, const void *b);
/* One documentation line a row: name, type and range, default, sentence, tab-separated. */
void keys_describe(const struct key_row *rows, struct strbuf *out);

#endif
