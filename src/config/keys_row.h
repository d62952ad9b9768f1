/*
 * keys_row.h: what keys.c knows of a single row, for keys_read.c.
 *
 * Threads: any (pure). Errors: none.
 */
#ifndef HEALTHSVC_CONFIG_KEYS_ROW_H
#define HEALTHSVC_CONFIG_KEYS_ROW_H

#include <healthsvc/keys.h>

/* Where the row's member lies in the struct at `base`. */
void *keys_member(const struct key_row *row, void *base);
const void *keys_const_member(const struct key_row *row, const void *base);
/* "100ms .. 24h" */
void keys_add_range(struct strbuf *b, const struct key_row *row);
/* "a duration 100ms .. 24h": follows "must be" in a fault, and documents the row. */
void keys_add_wanted(struct strbuf *b, const struct key_row *row);
/* The index of the word in row->words, or -1. */
int keys_word_index(const struct key_row *row, const char *word);

#endif
