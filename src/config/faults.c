/*
 * faults.c: the reading goes top level, defaults, dependencies, and cross-checks last, which is not
 * the order of the file; a person repairs a file from top to bottom, so the list is sorted once.
 */
#include "config/faults.h"

#include <stdarg.h>
#include <stdlib.h>
#include <string.h>

#include <healthsvc/strbuf.h>

#define SENTENCE_MAX_BYTES 4096

void faults_done(struct faults *f)
{
    for (size_t i = 0; i < f->count; i++)
        free(f->list[i].sentence);
    free(f->list);
    *f = (struct faults){0};
}

static void PRINTF_LIKE(4, 0)
    add(struct faults *f, unsigned line, const config_setting_t *at, const char *fmt, va_list args)
{
    struct strbuf sentence;

    if (f->count == f->room) {
        size_t room = f->room > 0 ? 2 * f->room : 16;
        struct fault *list = reallocarray(f->list, room, sizeof *list);
        if (list == NULL) {
            f->no_memory = true;
            return;
        }
        f->list = list;
        f->room = room;
    }
    strbuf_init(&sentence, SENTENCE_MAX_BYTES);
    strbuf_vaddf(&sentence, fmt, args);
    char *text = strbuf_take(&sentence);
    if (text == NULL) {
        f->no_memory = true;
        return;
    }
    f->list[f->count] = (struct fault){.line = line, .order = f->count, .at = at, .sentence = text};
    f->count++;
}

void faults_add_line(struct faults *f, unsigned line, const char *fmt, ...)
{
    va_list args;

    va_start(args, fmt);
    add(f, line, NULL, fmt, args);
    va_end(args);
}

void faults_add(struct faults *f, const config_setting_t *at, const char *fmt, ...)
{
    va_list args;

    va_start(args, fmt);
    add(f, config_setting_source_line(at), at, fmt, args);
    va_end(args);
}

bool faults_has(const struct faults *f, const config_setting_t *at)
{
    for (size_t i = f->count; i > 0; i--) {
        if (f->list[i - 1].at == at)
            return true;
    }
    return false;
}

static int compare(const void *a, const void *b)
{
    const struct fault *left = a, *right = b;

    if (left->line != right->line)
        return left->line < right->line ? -1 : 1;
    return left->order < right->order ? -1 : 1; /* no two are equal */
}

void faults_sort(struct faults *f)
{
    size_t kept = 0;

    if (f->count == 0)
        return;
    qsort(f->list, f->count, sizeof *f->list, compare);
    for (size_t i = 0; i < f->count; i++) {
        bool said = false;
        for (size_t k = kept; k > 0 && f->list[k - 1].line == f->list[i].line && !said; k--)
            said = strcmp(f->list[k - 1].sentence, f->list[i].sentence) == 0;
        if (said)
            free(f->list[i].sentence);
        else
            f->list[kept++] = f->list[i];
    }
    f->count = kept;
}
