/*
 * source.c: libconfig 1.5 would read the files itself, but it ends the process when an included
 * name is a directory, wraps integers over 2^31, cuts strings at a NUL, and takes an open comment
 * for the end of the file, all without a word; and with an include directory set it cannot include
 * an absolute name. So the text is put together here, where each of these is a fault with its
 * place, by as much of libconfig's lexical rules as that takes (scanner.l: strings, comments, names,
 * numbers, "@include" at the beginning of a line).
 *
 * What libconfig lacks for a folder of files with dependencies is added in the same way: an
 * @include of a pattern, and lists that do not mind which of the files comes last: a comma between
 * two groups may be missing, and one may be left over at the end.
 */
#include "config/source.h"

#include <errno.h>
#include <fcntl.h>
#include <glob.h>
#include <poll.h>
#include <stdbool.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>
#include <unistd.h>

#include <healthsvc/clock.h>
#include <healthsvc/region.h>
#include <healthsvc/units.h>

#include "config/faults.h"

#define READ_LIMIT_MS 5000
#define DIGITS "0123456789"
#define HEX_DIGITS DIGITS "abcdefABCDEF"
#define LETTERS "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ"

/* One file while it is being scanned; its includers are `outer`. */
struct scan {
    struct source *s;
    const struct scan *outer;
    const char *file;
    struct strbuf content;
    const char *copied; /* up to here the content is in the text */
    unsigned depth;
};

/* A file is ready at once. A pipe's writer is waited for, but not for ever: meanwhile the daemon takes
 * no signal. */
static ssize_t read_until(int fd, char *chunk, size_t size, int64_t limit_mono_ms)
{
    struct pollfd p = {.fd = fd, .events = POLLIN};
    ssize_t got = -1;

    do {
        int64_t left_ms = limit_mono_ms - clock_mono_ms();
        int ready = poll(&p, 1, left_ms > 0 ? (int)left_ms : 0);
        if (ready > 0)
            got = read(fd, chunk, size);
        else if (ready == 0)
            errno = ETIMEDOUT;
    } while (got < 0 && (errno == EINTR || errno == EAGAIN));
    return got;
}

static int read_content(const char *path, struct strbuf *content)
{
    char chunk[8192];
    ssize_t got;
    int64_t limit_mono_ms = clock_mono_ms() + READ_LIMIT_MS;
    int fd = open(path, O_RDONLY | O_CLOEXEC | O_NOCTTY | O_NONBLOCK);

    if (fd < 0)
        return -errno;
    while ((got = read_until(fd, chunk, sizeof chunk, limit_mono_ms)) > 0) {
        strbuf_add(content, chunk, (size_t)got);
        if (strbuf_error(content) != 0)
            break;
    }
    int err = got < 0 ? -errno : strbuf_error(content);
    close(fd);
    return err;
}

static int add_span(struct source *s, const char *file, unsigned file_line)
{
    if (s->span_count == s->span_room) {
        size_t room = s->span_room > 0 ? 2 * s->span_room : 8;
        struct source_span *spans = reallocarray(s->spans, room, sizeof *spans);
        if (spans == NULL)
            return -ENOMEM;
        s->spans = spans;
        s->span_room = room;
    }
    s->spans[s->span_count++] =
        (struct source_span){.line = s->line, .file = file, .file_line = file_line};
    return 0;
}

static void add_text(struct source *s, const char *text, size_t len)
{
    strbuf_add(&s->text, text, len);
    for (size_t i = 0; i < len; i++)
        s->line += text[i] == '\n';
}

static void copy_up_to(struct scan *sc, const char *end)
{
    add_text(sc->s, sc->copied, (size_t)(end - sc->copied));
    sc->copied = end;
}

/* The text's line of a place in the content; brings the text up to there. */
static unsigned line_at(struct scan *sc, const char *where)
{
    copy_up_to(sc, where);
    return sc->s->line;
}

/* Each skip_ takes the first byte of a token and returns the first after it. */

static const char *skip_string(struct scan *sc, const char *p)
{
    unsigned line = line_at(sc, p);

    for (p++; *p != '"'; p++) {
        if (strncasecmp(p, "\\x00", 4) == 0)
            faults_add_line(sc->s->faults, line_at(sc, p), "a string must not contain NUL");
        if (*p == '\\' && p[1] != '\0')
            p++;
        if (*p == '\0') {
            faults_add_line(sc->s->faults, line, "the string that begins here does not end");
            sc->s->torn = true;
            return p;
        }
    }
    return p + 1;
}

static const char *skip_block_comment(struct scan *sc, const char *p)
{
    const char *end = strstr(p + 2, "*/");

    if (end != NULL)
        return end + 2;
    faults_add_line(sc->s->faults, line_at(sc, p), "the comment that begins here does not end");
    sc->s->torn = true;
    return p + strlen(p);
}

/* An integer that 32 bits do not hold gets the suffix that makes libconfig read it with 64, so that
 * the setting's own range can refuse it. */
static const char *skip_number(struct scan *sc, const char *p)
{
    bool hex = p[0] == '0' && (p[1] == 'x' || p[1] == 'X');
    size_t len = hex ? 2 + strspn(p + 2, HEX_DIGITS) : strspn(p, DIGITS);
    const char *end = p + len;
    bool fits;

    if (!hex && (*end == '.' || *end == 'e' || *end == 'E'))
        return end + strspn(end, DIGITS ".eE+-");
    if (*end == 'L')
        return end + 1;
    if (hex) {
        const char *digits = p + 2 + strspn(p + 2, "0");
        fits = end - digits < 8 || (end - digits == 8 && *digits < '8');
    } else {
        uint64_t value;
        fits = units_parse_digits(p, len, &value) == 0 && value <= INT32_MAX;
    }
    if (!fits) {
        copy_up_to(sc, end);
        add_text(sc->s, "L", 1);
    }
    return end;
}

static const char *skip_token(struct scan *sc, const char *p)
{
    if (*p == '"')
        return skip_string(sc, p);
    if (strchr(LETTERS "*", *p) != NULL)
        return p + strspn(p, LETTERS DIGITS "*_-");
    if (strchr(DIGITS ".", *p) != NULL)
        return skip_number(sc, p);
    return p + 1;
}

static int scan_file(struct source *s, const struct scan *outer, const char *path, unsigned depth);

/* The include statement in `line`, if it is one: its name (from the quote on), else NULL. */
static const char *include_name(const char *line)
{
    static const char word[] = "@include";

    line += strspn(line, " \t");
    if (strncmp(line, word, sizeof word - 1) != 0)
        return NULL;
    line += sizeof word - 1;
    size_t gap = strspn(line, " \t");
    return gap > 0 && line[gap] == '"' ? line + gap : NULL;
}

/* `name` is what is written for it. */
static int include_file(struct scan *sc, const char *name, const char *path)
{
    struct source *s = sc->s;

    for (const struct scan *o = sc; o != NULL; o = o->outer) {
        if (strcmp(o->file, path) == 0) {
            faults_add_line(s->faults, s->line, "'%s' includes itself", name);
            return 0;
        }
    }
    if (sc->depth == SOURCE_MAX_DEPTH) {
        faults_add_line(s->faults, s->line, "more than %d files include one another",
                        SOURCE_MAX_DEPTH);
        return 0;
    }
    return scan_file(s, sc, path, sc->depth + 1);
}

/* Folders that are not there hold nothing. */
static int stops_glob(const char *path, int err)
{
    (void)path;
    errno = err; /* which glob() returns with */
    return err != ENOENT;
}

/* The files that match, in the order of their names' bytes; that there is none is no fault. */
static int include_pattern(struct scan *sc, const char *name, const char *pattern)
{
    struct source *s = sc->s;
    glob_t found;
    int err = 0;
    int r = glob(pattern, 0, stops_glob, &found);

    if (r == GLOB_NOSPACE || (r == GLOB_ABORTED && errno == ENOMEM))
        err = -ENOMEM;
    else if (r == GLOB_ABORTED)
        faults_add_line(s->faults, s->line, "cannot read the folder of '%s': %s", name,
                        strerror(errno));
    for (size_t i = 0; r == 0 && i < found.gl_pathc && err == 0; i++) {
        const char *path = region_copy_text(s->region, found.gl_pathv[i]);
        err = path != NULL ? include_file(sc, path, path) : -ENOMEM;
    }
    globfree(&found);
    return err;
}

/* Puts what is named in the statement's place; `p` is at the name's opening quote. */
static int scan_include(struct scan *sc, const char *statement, const char *p,
                        const char **ret_after)
{
    size_t len = strcspn(p + 1, "\"\\\n");
    const char *after = p + 1 + len;
    struct source *s = sc->s;

    copy_up_to(sc, statement);
    if (*after != '"') {
        faults_add_line(s->faults, s->line, "@include needs a file name in quotes, on one line");
        sc->copied = *ret_after = after + strcspn(after, "\n");
        return 0;
    }
    sc->copied = *ret_after = after + 1;

    unsigned file_line;
    (void)source_place(s, s->line, &file_line);
    const char *name = region_copy(s->region, p + 1, len);
    const char *path = name != NULL ? source_resolve(s, name) : NULL;
    if (path == NULL)
        return -ENOMEM;
    int err = strpbrk(name, "*?[") != NULL ? include_pattern(sc, name, path)
                                           : include_file(sc, name, path);
    return err == 0 ? add_span(s, sc->file, file_line) : err;
}

/* Before the token at `p` is passed: mends the commas around it. */
static void mend_commas(struct scan *sc, const char *p)
{
    struct source *s = sc->s;

    if (*p == '{' && s->last_token == '}') {
        copy_up_to(sc, p);
        add_text(s, ",", 1);
    } else if ((*p == ')' || *p == ']') && s->last_token == ',') {
        copy_up_to(sc, p);
        if (s->comma_at < s->text.len)
            s->text.data[s->comma_at] = ' ';
    } else if (*p == ',') {
        copy_up_to(sc, p);
        s->comma_at = s->text.len;
    }
    s->last_token = *p;
}

static int scan_content(struct scan *sc)
{
    const char *p = sc->content.data;
    bool line_start = true;
    int err = 0;

    sc->copied = p;
    while (*p != '\0' && err == 0) {
        const char *name = line_start ? include_name(p) : NULL;
        /* The rest of an include statement's line follows the included file's last newline. */
        line_start = *p == '\n' || name != NULL;
        if (name != NULL) {
            err = scan_include(sc, p, name, &p);
        } else if (*p == '#' || (p[0] == '/' && p[1] == '/')) {
            p += strcspn(p, "\n");
        } else if (p[0] == '/' && p[1] == '*') {
            p = skip_block_comment(sc, p);
        } else if (strchr(" \t\r\n\f", *p) != NULL) {
            p++;
        } else {
            mend_commas(sc, p);
            p = skip_token(sc, p);
        }
    }
    copy_up_to(sc, p);
    return err;
}

/* The first NUL is a fault, and all become spaces, so that the rest is looked at too. */
static void refuse_nul(struct scan *sc)
{
    struct strbuf *content = &sc->content;
    const char *nul = memchr(content->data, '\0', content->len);
    unsigned line = sc->s->line;

    if (nul == NULL)
        return;
    for (const char *p = content->data; p < nul; p++)
        line += *p == '\n';
    faults_add_line(sc->s->faults, line, "a NUL byte: this is not a text");
    for (size_t i = 0; i < content->len; i++) {
        if (content->data[i] == '\0')
            content->data[i] = ' ';
    }
}

static const char *why_unreadable(int err)
{
    if (err == -E2BIG)
        return "too large";
    return err == -ETIMEDOUT ? "its end has not come within 5s" : strerror(-err);
}

static int scan_file(struct source *s, const struct scan *outer, const char *path, unsigned depth)
{
    struct scan sc = {.s = s, .outer = outer, .file = path, .depth = depth};
    size_t begin = s->text.len;
    unsigned at = s->line; /* an unreadable file is a fault of the line that includes it */
    int err = outer == NULL ? add_span(s, path, 1) : 0;

    if (err != 0)
        return err;
    strbuf_init(&sc.content, SOURCE_MAX_BYTES);
    err = read_content(path, &sc.content);
    if (err == -ENOMEM)
        goto fail;
    if (err != 0) {
        faults_add_line(s->faults, at, "cannot read '%s': %s", path, why_unreadable(err));
        err = 0;
        goto fail;
    }
    if (outer != NULL) {
        err = add_span(s, path, 1);
        if (err != 0)
            goto fail;
    }
    refuse_nul(&sc);
    err = scan_content(&sc);
    /* A line of its own for each file, even an empty one: else a fault told there would be taken
     * for one of the next file's first line. */
    if (err == 0 && (s->text.len == begin || s->text.data[s->text.len - 1] != '\n'))
        add_text(s, "\n", 1);
fail:
    strbuf_done(&sc.content);
    return err;
}

int source_read(struct source *s, const char *path, struct region *region, struct faults *faults)
{
    const char *slash = strrchr(path, '/');

    *s = (struct source){.line = 1, .region = region, .faults = faults};
    s->dir_len = slash != NULL ? (size_t)(slash - path) + 1 : 0;
    strbuf_init(&s->text, SOURCE_MAX_BYTES);
    s->main_file = region_copy_text(region, path);
    if (s->main_file == NULL)
        return -ENOMEM;
    int err = scan_file(s, NULL, s->main_file, 1);
    if (err == 0 && strbuf_error(&s->text) == -ENOMEM)
        err = -ENOMEM;
    if (err == 0 && strbuf_error(&s->text) == -E2BIG)
        faults_add_line(faults, 1, "the configuration is larger than %d MiB with all its includes",
                        SOURCE_MAX_BYTES >> 20);
    return err;
}

void source_done(struct source *s)
{
    strbuf_done(&s->text);
    free(s->spans);
    *s = (struct source){0};
}

const char *source_place(const struct source *s, unsigned line, unsigned *ret_file_line)
{
    size_t low = 0, high = s->span_count;

    while (high - low > 1) {
        size_t middle = low + (high - low) / 2;
        if (s->spans[middle].line <= line)
            low = middle;
        else
            high = middle;
    }
    *ret_file_line = s->spans[low].file_line + (line - s->spans[low].line);
    return s->spans[low].file;
}

char *source_resolve(const struct source *s, const char *path)
{
    size_t dir_len = path[0] != '/' ? s->dir_len : 0, len = strlen(path);
    char *whole = region_alloc(s->region, dir_len + len + 1);

    if (whole != NULL) {
        memcpy(whole, s->main_file, dir_len);
        memcpy(whole + dir_len, path, len + 1);
    }
    return whole;
}
