/* conf/health.conf shows every setting there is, with a value that is accepted, and that is the
 * default wherever it is not plainly an example. The schemes are the real ones. */
#ifdef HAVE_CONFIG_H
#include <config.h>
#endif

#include <healthsvc/config.h>

#include <unistd.h>

#include <healthsvc/strbuf.h>

#include "../testing.h"

#define LIST_OPEN "dependencies = (\n"

/* Those whose value in the file is an example, because the default is none that could be written. */
static const char *const examples[] = {
    "name",
    "nameservers",
    "host",
    "headers",
    "method = \"POST\";",
    "expect_headers",
    "expect_body",
    "expect_json",
    "script",
    "user",
    "ca_file",
    "key_file",
    "cert_file",
    "server_name",
    "expect_status = (",
    "max_file_age",
    "match",
    "expect_records",
    "max_offset",
    "service",
    "authority",
    "client_id",
    "details_for",
    "details_token_file",
    NULL,
};

/* Those of schemes that are not in this build. */
static const char *const absent[] = {
#ifndef HAVE_NGHTTP2
    "service",
    "authority",
#endif
    NULL,
};

static struct strbuf shipped, told;

static void tell(void *arg, const char *text)
{
    (void)arg;
    strbuf_addf(&told, "%s\n", text);
}

static void write_file(const char *path, const char *text)
{
    FILE *file = fopen(path, "w");
    if (!EXPECT(file != NULL))
        return;
    EXPECT(fputs(text, file) >= 0);
    EXPECT(fclose(file) == 0);
}

/* In a folder of its own, beside the files that its examples name. */
static struct config *load_text(const char *text)
{
    char folder[] = "/tmp/healthsvc-test-XXXXXX", path[64], token[64];
    struct config *config = NULL;
    strbuf_clear(&told);
    if (!EXPECT(mkdtemp(folder) != NULL))
        return NULL;
    (void)snprintf(path, sizeof path, "%s/health.conf", folder);
    (void)snprintf(token, sizeof token, "%s/details-token", folder);
    write_file(path, text);
    write_file(token, "secret\n");
    EXPECT((config_load(path, tell, NULL, &config) == 0) == (config != NULL));
    EXPECT_STR(told.data, "");
    unlink(path);
    unlink(token);
    EXPECT_INT(rmdir(folder), 0);
    return config;
}

static void read_shipped(void)
{
    const char *top = getenv("TOP_SRCDIR");
    char path[4096];
    snprintf(path, sizeof path, "%s/conf/health.conf", top != NULL ? top : ".");
    FILE *file = fopen(path, "r");
    int c;
    if (!EXPECT(file != NULL)) {
        printf("# %s\n", path);
        return;
    }
    while ((c = getc(file)) != EOF)
        strbuf_addc(&shipped, (char)c);
    fclose(file);
}

/* The shipped text with one line's '#' removed (NULL: none) and one dependency, if any. */
static void make_variant(struct strbuf *out, const char *line, const char *dependency)
{
    const char *list = strstr(shipped.data, LIST_OPEN);
    const char *rest = list + strlen(LIST_OPEN);
    const char *hash = line != NULL ? strchr(line, '#') : NULL;
    strbuf_clear(out);
    for (const char *p = shipped.data; p < rest; p++) {
        if (p != hash)
            strbuf_addc(out, *p);
    }
    strbuf_adds(out, dependency);
    strbuf_addc(out, '\n'); /* an @include may follow */
    strbuf_adds(out, rest);
}

static bool is_among(const char *const *names, const char *setting)
{
    for (size_t i = 0; names[i] != NULL; i++) {
        size_t len = strlen(names[i]);
        if (strncmp(setting, names[i], len) == 0 &&
            (setting[len] == ' ' || names[i][len - 1] == '('))
            return true;
    }
    return false;
}

TEST(runs_as_it_is)
{
    struct config *config = load_text(shipped.data);
    if (EXPECT(config != NULL)) {
        EXPECT_INT(config->target_count, 0);
        EXPECT_INT(config->listen_count, 1);
        EXPECT_STR(config->listen[0].text, "127.0.0.1:8000");
    }
    config_unref(config);
}

TEST(asks_every_minute)
{
    struct strbuf text;
    strbuf_init(&text, 65536);
    make_variant(&text, NULL, "{ name = \"x\"; url = \"http://h/\"; }");
    struct config *config = load_text(text.data);
    if (EXPECT(config != NULL))
        EXPECT_INT(config->targets[0]->period_ms, 60000);
    config_unref(config);
    strbuf_done(&text);
}

static void expect_same(const char *text, const struct config *plain)
{
    struct strbuf names;
    struct config *config = load_text(text);
    strbuf_init(&names, 1000);
    if (config != NULL) {
        EXPECT_INT(config_compare_targets(plain->targets[0], config->targets[0], &names),
                   CONFIG_CHANGE_NONE);
        EXPECT_STR(names.data, "");
        EXPECT_INT(config->workers, plain->workers);
        EXPECT_INT(config->unhealthy_status, plain->unhealthy_status);
        EXPECT_INT(config->shutdown_delay_ms, plain->shutdown_delay_ms);
    }
    config_unref(config);
    strbuf_done(&names);
}

TEST(each_commented_setting_is_accepted_and_the_default)
{
    static const char asked[] = "{ name = \"x\"; url = \"https://h/\"; }";
    struct strbuf text;
    int settings = 0;
    strbuf_init(&text, 65536);
    make_variant(&text, NULL, asked);
    struct config *plain = load_text(text.data);
    if (!EXPECT(plain != NULL))
        return;
    for (const char *line = shipped.data; *line != '\0'; line += strcspn(line, "\n") + 1) {
        const char *hash = line + strspn(line, " ");
        if (hash[0] != '#' || hash[1] < 'a' || hash[1] > 'z' || is_among(absent, hash + 1))
            continue;
        bool example = is_among(examples, hash + 1);
        settings++;
        make_variant(&text, line, example ? "" : asked);
        if (example)
            config_unref(load_text(text.data));
        else
            expect_same(text.data, plain);
        if (testing_faults > 0) {
            printf("# with %.*s\n", (int)strcspn(hash, "\n"), hash);
            break;
        }
    }
    EXPECT(settings > 20);
    config_unref(plain);
    strbuf_done(&text);
}

TEST(each_commented_dependency_is_accepted)
{
    const char *list = strstr(shipped.data, LIST_OPEN) + strlen(LIST_OPEN);
    struct strbuf text, dependencies;
    strbuf_init(&text, 65536);
    strbuf_init(&dependencies, 65536);
    for (const char *p = list; *p != '\0'; p++) {
        if (*p != '#')
            strbuf_addc(&dependencies, *p);
    }
    strbuf_truncate(&dependencies, (size_t)(strrchr(dependencies.data, ')') - dependencies.data));
    make_variant(&text, NULL, dependencies.data);
    struct config *config = load_text(text.data);
    if (EXPECT(config != NULL))
        EXPECT_INT(config->target_count, 9);
    config_unref(config);
    strbuf_done(&text);
    strbuf_done(&dependencies);
}

TEST(every_setting_is_shown)
{
    struct strbuf described;
    int rows = 0;
    strbuf_init(&described, 65536);
    config_describe(&described);
    for (const char *row = described.data; *row != '\0'; row += strcspn(row, "\n") + 1) {
        char name[64], as_setting[80], as_explained[80];
        size_t len = strcspn(row, "\t\n");
        if (row[len] != '\t' || !EXPECT(len < sizeof name))
            continue;
        rows++;
        memcpy(name, row, len);
        name[len] = '\0';
        snprintf(as_setting, sizeof as_setting, "%s = ", name);
        snprintf(as_explained, sizeof as_explained, "\n# %-5s ", name);
        if (!EXPECT(strstr(shipped.data, as_setting) != NULL ||
                    strstr(shipped.data, as_explained) != NULL))
            printf("# %s\n", name);
    }
    EXPECT(rows > 30);
    strbuf_done(&described);
}

int main(void)
{
    strbuf_init(&shipped, 65536);
    strbuf_init(&told, 65536);
    read_shipped();
    if (strstr(shipped.data, LIST_OPEN) == NULL)
        return 99;
    RUN(runs_as_it_is);
    RUN(asks_every_minute);
    RUN(each_commented_setting_is_accepted_and_the_default);
    RUN(each_commented_dependency_is_accepted);
    RUN(every_setting_is_shown);
    strbuf_done(&shipped);
    strbuf_done(&told);
    return testing_end();
}
