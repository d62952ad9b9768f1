/*
 * fuzz.h: what a fuzz target is, to libFuzzer's program and to the one that replays the corpora.
 *
 * Owner: all is constant. Threads: main only. Errors: a finding is told and aborts.
 */
#ifndef HEALTHSVC_FUZZ_H
#define HEALTHSVC_FUZZ_H

#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

struct fuzz_target {
    const char *name; /* of its folder in corpus/, and of its dictionary in dict/ */
    /* One input, whatever it is; what it leaves behind must not change the next one's way. */
    void (*run)(const struct fuzz_target *target, const uint8_t *data, size_t size);
};

/* Targets whose run() is in a file of its own. fuzz_dialogue() plays the subjects of its name. */
void fuzz_dialogue(const struct fuzz_target *target, const uint8_t *data, size_t size);
void fuzz_probes(const struct fuzz_target *target, const uint8_t *data, size_t size);
void fuzz_dns(const struct fuzz_target *target, const uint8_t *data, size_t size);
void fuzz_names(const struct fuzz_target *target, const uint8_t *data, size_t size);
void fuzz_perfdata(const struct fuzz_target *target, const uint8_t *data, size_t size);
void fuzz_json(const struct fuzz_target *target, const uint8_t *data, size_t size);
void fuzz_config(const struct fuzz_target *target, const uint8_t *data, size_t size);
void fuzz_units(const struct fuzz_target *target, const uint8_t *data, size_t size);
void fuzz_request(const struct fuzz_target *target, const uint8_t *data, size_t size);
void fuzz_server(const struct fuzz_target *target, const uint8_t *data, size_t size);
void fuzz_query(const struct fuzz_target *target, const uint8_t *data, size_t size);

/* The board is open from here on. */
void fuzz_open_board(void);
/* Aborts if it is not the text format 0.0.4 of metrics. */
void fuzz_check_metrics(const char *text);

/* The i-th target, NULL past the end; the one of that name, or NULL. */
const struct fuzz_target *fuzz_target_at(size_t i);
const struct fuzz_target *fuzz_target_find(const char *name);
/* The name of a target that plays this scheme; NULL: there is none. */
const char *fuzz_target_of_scheme(const char *scheme);

/* A property that every input must have. */
#define HOLDS(property)                                                                   \
    do {                                                                                  \
        if (!(property)) {                                                                \
            fprintf(stderr, "%s:%d: does not hold: %s\n", __FILE__, __LINE__, #property); \
            abort();                                                                      \
        }                                                                                 \
    } while (0)

/* Bytes in memory of their own, exactly as long, so that a read beyond them is seen. */
static inline void *fuzz_copy(const void *bytes, size_t len)
{
    void *copy = malloc(len);
    HOLDS(copy != NULL);
    if (len > 0)
        memcpy(copy, bytes, len);
    return copy;
}

/* The same as a text: up to the first NUL, which is added where there is none. */
static inline char *fuzz_text(const void *bytes, size_t len)
{
    char *copy = malloc(len + 1);
    HOLDS(copy != NULL);
    if (len > 0)
        memcpy(copy, bytes, len);
    copy[len] = '\0';
    return copy;
}

/* Printable ASCII alone. */
static inline int fuzz_is_plain(const char *text)
{
    for (; *text != '\0'; text++) {
        if (*text < ' ' || *text > '~')
            return 0;
    }
    return 1;
}

#endif
