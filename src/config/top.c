/*
 * top.c: the settings of the service itself: its name, the addresses it serves and those it asks.
 */
#include <errno.h>
#include <limits.h>
#include <netinet/in.h>
#include <string.h>
#include <unistd.h>

#include <healthsvc/config.h>
#include <healthsvc/keys.h>
#include <healthsvc/region.h>
#include <healthsvc/strbuf.h>
#include <healthsvc/units.h>

#include "config/loader.h"
#include "config/rows.h"

#define DNS_PORT 53
#define ADDRESS_SHOWN_BYTES 60
#define WHY_MAX_BYTES 2048

static void tell(void *arg, const config_setting_t *setting, const char *sentence)
{
    struct loader *l = arg;
    faults_add(&l->faults, setting, "%s", sentence);
}

/* The length of the UTF-8 sequence at `s` (RFC 3629 section 4); 0: not one, or a control
 * character. */
static size_t visible_length(const unsigned char *s)
{
    unsigned char low = 0x80, high = 0xbf;
    size_t len;

    if (s[0] < 0x80)
        return s[0] >= 0x20 && s[0] != 0x7f ? 1 : 0;
    if (s[0] >= 0xc2 && s[0] <= 0xdf) {
        len = 2;
        low = s[0] == 0xc2 ? 0xa0 : low; /* U+0080..U+009F are controls */
    } else if (s[0] >= 0xe0 && s[0] <= 0xef) {
        len = 3;
        low = s[0] == 0xe0 ? 0xa0 : low;
        high = s[0] == 0xed ? 0x9f : high; /* surrogates */
    } else if (s[0] >= 0xf0 && s[0] <= 0xf4) {
        len = 4;
        low = s[0] == 0xf0 ? 0x90 : low;
        high = s[0] == 0xf4 ? 0x8f : high;
    } else {
        return 0;
    }
    if (s[1] < low || s[1] > high)
        return 0;
    for (size_t i = 2; i < len; i++) {
        if (s[i] < 0x80 || s[i] > 0xbf)
            return 0;
    }
    return len;
}

static void settle_name(struct loader *l, const config_setting_t *root)
{
    struct config *config = l->config;
    const config_setting_t *at = config_setting_get_member(root, "name");
    size_t len;

    if (config->name == NULL) {
        char host[HOST_NAME_MAX + 1] = "";
        (void)gethostname(host, sizeof host - 1);
        config->name = region_copy_text(config->region, host[0] != '\0' ? host : "localhost");
        if (config->name == NULL)
            l->no_memory = true;
        return;
    }
    for (const unsigned char *p = (const unsigned char *)config->name; *p != '\0'; p += len) {
        len = visible_length(p);
        if (len == 0) {
            faults_add(&l->faults, at, "'name' must be UTF-8 without control characters");
            return;
        }
    }
}

void top_tell_address(struct loader *l, const config_setting_t *at, const char *text,
                      const char *sentence)
{
    struct strbuf shown;

    strbuf_init(&shown, ADDRESS_SHOWN_BYTES);
    strbuf_add_printable(&shown, text, strlen(text), ADDRESS_SHOWN_BYTES);
    l->no_memory = l->no_memory || strbuf_error(&shown) == -ENOMEM;
    faults_add(&l->faults, at, "'%s' is \"%s\": %s",
               config_setting_name(at) != NULL ? config_setting_name(at)
                                               : config_setting_name(config_setting_parent(at)),
               shown.data, sentence);
    strbuf_done(&shown);
}

static void add_nameserver(struct loader *l, const config_setting_t *at, const char *text,
                           struct strbuf *joined)
{
    struct sockaddr_storage addr;
    socklen_t addr_len;

    if (units_parse_address(text, DNS_PORT, &addr, &addr_len) != 0 || units_port(&addr) == 0) {
        top_tell_address(
            l, at, text,
            "must be a numeric address, with a port if that is not 53, like \"10.0.0.2\", "
            "\"127.0.0.1:5353\" or \"[::1]\"");
        return;
    }
    if (joined->len > 0)
        strbuf_addc(joined, ',');
    units_format_address(joined, (const struct sockaddr *)&addr);
}

const config_setting_t *top_element(const config_setting_t *setting, unsigned i)
{
    if (setting == NULL || config_setting_type(setting) == CONFIG_TYPE_STRING)
        return setting;
    return config_setting_get_elem(setting, i);
}

static void read_nameservers(struct loader *l, const config_setting_t *at, char *texts)
{
    struct strbuf joined;
    char *rest = texts;

    if (texts == NULL || texts[0] == '\0')
        return;
    strbuf_init(&joined, strlen(texts) * 4 + 64); /* each is at least 7 bytes, and gets ":53" */
    for (unsigned i = 0; rest != NULL; i++) {
        const char *text = strsep(&rest, "\n");
        add_nameserver(l, top_element(at, i), text, &joined);
    }
    if (strbuf_error(&joined) == 0)
        l->config->nameservers = region_copy_text(l->config->region, joined.data);
    if (l->config->nameservers == NULL)
        l->no_memory = true;
    strbuf_done(&joined);
}

static void add_network(struct loader *l, const config_setting_t *at, const char *text)
{
    struct config *config = l->config;
    struct units_network *network = &config->details_for[config->details_for_count];

    if (units_parse_network(text, network) == 0)
        config->details_for_count++;
    else
        top_tell_address(l, at, text,
                         "must be a network without bits behind its prefix, like \"10.0.0.0/8\" or "
                         "\"fd00::/8\", or an address");
}

static void read_details_for(struct loader *l, const config_setting_t *at, char *texts)
{
    char *rest = texts;
    size_t count = 1;

    if (texts == NULL || texts[0] == '\0')
        return;
    for (const char *p = texts; *p != '\0'; p++)
        count += *p == '\n';
    l->config->details_for =
        region_alloc(l->config->region, count * sizeof l->config->details_for[0]);
    if (l->config->details_for == NULL) {
        l->no_memory = true;
        return;
    }
    for (unsigned i = 0; rest != NULL; i++) {
        const char *text = strsep(&rest, "\n");
        add_network(l, top_element(at, i), text);
    }
}

static void read_details_token(struct loader *l, const config_setting_t *at)
{
    struct config *config = l->config;
    struct strbuf why;

    if (config->details_token_file == NULL)
        return;
    loader_resolve(l, &config->details_token_file);
    if (config->details_token_file == NULL)
        return;
    strbuf_init(&why, WHY_MAX_BYTES);
    int err = secret_read_file("details_token_file", config->details_token_file, &why,
                               &config->details_token);
    if (err == -ENOMEM || strbuf_error(&why) == -ENOMEM)
        l->no_memory = true;
    else if (err != 0)
        faults_add(&l->faults, at, "%s", why.data);
    strbuf_done(&why);
}

void top_read(struct loader *l, const config_setting_t *root)
{
    struct address_texts texts = {0};
    const struct key_target tables[] = {
        {.rows = rows_top, .base = l->config},
        {.rows = rows_addresses, .base = &texts},
    };
    const struct key_sink sink = {.fault = tell, .arg = l};

    struct region *region = l->config->region;

    if (keys_set_defaults(&tables[0], region) != 0 || keys_set_defaults(&tables[1], region) != 0 ||
        keys_read(root, tables, 2, region, &sink) == -ENOMEM) {
        l->no_memory = true;
    } else {
        settle_name(l, root);
        listen_read(l, config_setting_get_member(root, "listen"));
        read_nameservers(l, config_setting_get_member(root, "nameservers"), texts.nameservers);
        read_details_for(l, config_setting_get_member(root, "details_for"), texts.details_for);
        read_details_token(l, config_setting_get_member(root, "details_token_file"));
    }
}
