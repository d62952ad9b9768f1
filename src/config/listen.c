/*
 * listen.c: the addresses to serve. A string is short for a group that sets nothing but its address.
 */
#include <errno.h>
#include <grp.h>
#include <stddef.h>
#include <stdio.h>
#include <string.h>
#include <sys/un.h>

#include <healthsvc/config.h>
#include <healthsvc/keys.h>
#include <healthsvc/region.h>
#include <healthsvc/strbuf.h>
#include <healthsvc/units.h>

#include "config/loader.h"
#include "config/rows.h"

#define DEFAULT_ADDRESS "127.0.0.1:8000"
#define DEFAULT_MODE 0660
#define PATH_MAX_BYTES (sizeof((struct sockaddr_un *)NULL)->sun_path - 1) /* 107, unix(7) */
#define NAME_MAX_BYTES 255 /* FileDescriptorName=, systemd.socket(5) */
#define UNIX_PREFIX "unix:"
#define PASSED "systemd"
#define PASSED_PREFIX "systemd:"

/* In the order of the bits of enum serve. */
static const char *const serve_words[] = {"health", "ready", "live", "metrics", NULL};

/* One element of the list: a sink's argument. */
struct reading {
    struct loader *l;
    const config_setting_t *at; /* the group, or the string */
};

static void tell(void *arg, const config_setting_t *setting, const char *sentence)
{
    struct reading *r = arg;
    faults_add(&r->l->faults, setting != NULL ? setting : r->at, "%s", sentence);
}

static bool has_prefix(const char *text, const char *prefix)
{
    return strncmp(text, prefix, strlen(prefix)) == 0;
}

/* What is wrong with an address to listen on that is none, for those who know other servers. */
static const char *explain(const char *text)
{
    size_t len = strlen(text);

    if (has_prefix(text, "https:") ||
        (len > 1 && text[len - 1] == 's' && text[len - 2] >= '0' && text[len - 2] <= '9'))
        return "TLS on the listener is not in this build's CivetWeb; put HAProxy or nginx in front";
    if (text[0] == '/')
        return "a Unix socket is written \"unix:/path/of/socket\"";
    if (has_prefix(text, PASSED) || has_prefix(text, "fd:"))
        return "sockets that systemd passes are written \"systemd\" or \"systemd:NAME\"";
    return "must be a numeric address and a port, like \"127.0.0.1:8000\" or \"[::1]:8000\"";
}

/* The sentences below are NULL if nothing is wrong. */
static const char *read_path(const char *path, struct config_listen *entry)
{
    struct sockaddr_un *un = (struct sockaddr_un *)&entry->addr;
    size_t len = strlen(path);

    if (path[0] == '@')
        return "an abstract name is open to every local user; give a path, "
               "\"unix:/path/of/socket\"";
    if (path[0] != '/' || path[len - 1] == '/')
        return "must be \"unix:\" and an absolute path, like \"unix:/run/healthsvc/health.sock\"";
    if (len > PATH_MAX_BYTES)
        return "the path of a Unix socket is 107 bytes long at most";
    entry->kind = LISTEN_UNIX;
    un->sun_family = AF_UNIX;
    memcpy(un->sun_path, path, len);
    entry->addr_len = (socklen_t)(offsetof(struct sockaddr_un, sun_path) + len + 1);
    return NULL;
}

static const char *read_passed_name(const char *name, struct config_listen *entry)
{
    size_t len = strlen(name);

    entry->kind = LISTEN_PASSED;
    entry->passed_name = name;
    for (size_t i = 0; i < len; i++) {
        if (name[i] <= ' ' || name[i] > '~' || name[i] == ':')
            len = 0;
    }
    return len > 0 && len <= NAME_MAX_BYTES
               ? NULL
               : "must be \"systemd:\" and a FileDescriptorName=: printable ASCII without ':'";
}

static const char *read_address(struct config_listen *entry)
{
    const char *text = entry->text;

    if (has_prefix(text, UNIX_PREFIX))
        return read_path(text + strlen(UNIX_PREFIX), entry);
    if (has_prefix(text, PASSED_PREFIX))
        return read_passed_name(text + strlen(PASSED_PREFIX), entry);
    if (strcmp(text, PASSED) == 0) {
        entry->kind = LISTEN_PASSED;
        return NULL;
    }
    return units_parse_address(text, 0, &entry->addr, &entry->addr_len) == 0 ? NULL : explain(text);
}

static bool same_address(const struct config_listen *a, const struct config_listen *b)
{
    if (a->kind != b->kind)
        return false;
    if (a->kind == LISTEN_PASSED)
        return strcmp(a->text, b->text) == 0;
    if (a->kind == LISTEN_NETWORK && units_port(&a->addr) == 0)
        return false; /* the kernel picks another each time */
    return a->addr_len == b->addr_len && memcmp(&a->addr, &b->addr, a->addr_len) == 0;
}

static bool is_listed(const struct config *config, const struct config_listen *entry)
{
    for (size_t i = 0; i < config->listen_count; i++) {
        if (same_address(entry, &config->listen[i]))
            return true;
    }
    return false;
}

/* The member of that name of a group; NULL: a string, or not written. */
static const config_setting_t *member(const config_setting_t *at, const char *name)
{
    return at != NULL && config_setting_type(at) == CONFIG_TYPE_GROUP
               ? config_setting_get_member(at, name)
               : NULL;
}

static void tell_word(struct loader *l, const config_setting_t *at, const char *word)
{
    const char *nearest = units_nearest_word(word, serve_words);
    char sentence[80] = "must be of health, ready, live and metrics";

    if (nearest != NULL)
        (void)snprintf(sentence, sizeof sentence, "did you mean \"%s\"?", nearest);
    top_tell_address(l, at, word, sentence);
}

static void read_serve(struct loader *l, const config_setting_t *at, char *words,
                       struct config_listen *entry)
{
    char *rest = words;

    entry->serve = words != NULL ? 0 : SERVE_ALL;
    if (words != NULL && words[0] == '\0') {
        faults_add(&l->faults, at, "'serve' names nothing");
        return;
    }
    for (unsigned i = 0; rest != NULL; i++) {
        const char *word = strsep(&rest, "\n");
        unsigned bit = 0;
        while (serve_words[bit] != NULL && strcmp(serve_words[bit], word) != 0)
            bit++;
        if (serve_words[bit] != NULL)
            entry->serve |= 1U << bit;
        else
            tell_word(l, top_element(at, i), word);
    }
}

static void read_mode(struct loader *l, const config_setting_t *at, const char *text,
                      struct config_listen *entry)
{
    mode_t mode = 0;

    entry->mode = DEFAULT_MODE;
    if (text == NULL)
        return;
    for (const char *p = text; *p >= '0' && *p <= '7'; p++)
        mode = mode << 3 | (mode_t)(*p - '0');
    if (text[strspn(text, "01234567")] != '\0' || mode > 0777)
        faults_add(&l->faults, at,
                   "'mode' must be an octal one, \"000\" .. \"0777\", like \"0660\"");
    else
        entry->mode = mode;
}

static void read_group(struct loader *l, const config_setting_t *at, const char *text,
                       struct config_listen *entry)
{
    uint64_t number;
    const struct group *group;

    entry->group = (gid_t)-1;
    if (text == NULL)
        return;
    errno = 0;
    if (units_parse_digits(text, strlen(text), &number) == 0 && number < (gid_t)-1)
        entry->group = (gid_t)number;
    else if ((group = getgrnam(text)) != NULL)
        entry->group = group->gr_gid;
    else if (errno == ENOMEM)
        l->no_memory = true;
    else
        faults_add(&l->faults, at, "'group' is none that this machine knows");
}

/* Settings that only a Unix socket of our own has a use for. */
static void check_use(struct loader *l, const config_setting_t *at,
                      const struct config_listen *entry)
{
    static const char *const names[] = {"mode", "group"};

    for (size_t i = 0; i < sizeof names / sizeof names[0] && entry->kind != LISTEN_UNIX; i++) {
        const config_setting_t *written = member(at, names[i]);
        if (written != NULL && entry->kind == LISTEN_PASSED)
            faults_add(&l->faults, written,
                       "'%s' has no use with a socket that systemd passes: see SocketMode= and "
                       "SocketGroup= there",
                       names[i]);
        else if (written != NULL)
            faults_add(&l->faults, written, "'%s' has no use but with a Unix socket", names[i]);
    }
}

/* Adds what was read, unless its address is none. */
static void settle(struct loader *l, const config_setting_t *at, struct listen_texts *texts)
{
    struct config *config = l->config;
    struct config_listen *entry = &config->listen[config->listen_count];
    const config_setting_t *address_at = member(at, "address");

    *entry = (struct config_listen){.text = texts->address};
    const char *wrong = read_address(entry);
    if (wrong == NULL && is_listed(config, entry))
        wrong = "this address is listed twice";
    read_serve(l, member(at, "serve"), texts->serve, entry);
    read_mode(l, member(at, "mode"), texts->mode, entry);
    read_group(l, member(at, "group"), texts->group, entry);
    entry->workers = texts->workers != 0 ? texts->workers : config->workers;
    if (wrong == NULL) {
        check_use(l, at, entry);
        config->listen_count++;
        return;
    }
    top_tell_address(l, address_at != NULL ? address_at : at, entry->text, wrong);
    *entry = (struct config_listen){0};
}

/* A string; NULL is the default. */
static void read_string(struct loader *l, const config_setting_t *at, const char *text)
{
    struct listen_texts texts = {.address = region_copy_text(l->config->region, text)};

    if (texts.address == NULL)
        l->no_memory = true;
    else if (text[0] == '\0')
        faults_add(&l->faults, at, "'listen' is empty");
    else
        settle(l, at, &texts);
}

static void read_group_form(struct loader *l, const config_setting_t *at)
{
    struct listen_texts texts = {0};
    struct reading r = {.l = l, .at = at};
    const struct key_target table = {.rows = rows_listen, .base = &texts};
    const struct key_sink sink = {.fault = tell, .arg = &r};

    if (keys_read(at, &table, 1, l->config->region, &sink) == -ENOMEM)
        l->no_memory = true;
    else if (texts.address != NULL)
        settle(l, at, &texts);
}

static void read_element(struct loader *l, const config_setting_t *at)
{
    int type = config_setting_type(at);

    if (type == CONFIG_TYPE_STRING)
        read_string(l, at, config_setting_get_string(at));
    else if (type == CONFIG_TYPE_GROUP)
        read_group_form(l, at);
    else
        faults_add(&l->faults, at,
                   "'listen' must be a string, a group { address = ...; }, or a list of them");
}

void listen_read(struct loader *l, const config_setting_t *at)
{
    int type = at != NULL ? config_setting_type(at) : CONFIG_TYPE_STRING;
    bool list = type == CONFIG_TYPE_LIST || type == CONFIG_TYPE_ARRAY;
    int count = list ? config_setting_length(at) : 1;

    l->config->listen =
        region_alloc(l->config->region, ((size_t)count + 1) * sizeof l->config->listen[0]);
    if (l->config->listen == NULL)
        l->no_memory = true;
    else if (at == NULL)
        read_string(l, NULL, DEFAULT_ADDRESS);
    else if (count == 0)
        faults_add(&l->faults, at, "'listen' names no address");
    else if (!list)
        read_element(l, at);
    for (int i = 0; list && i < count && !l->no_memory; i++)
        read_element(l, config_setting_get_elem(at, (unsigned)i));
}
