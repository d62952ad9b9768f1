/*
 * url.c: stricter than RFC 3986, for what is accepted here is sent as it is: no credentials, no
 * fragment, no byte that would need quoting, and a host that a resolver or inet_pton() can take.
 * A Unix socket stands in the place of host and port; "localhost" is then what the peer is told.
 */
#include <healthsvc/url.h>

#include <arpa/inet.h>
#include <ctype.h>
#include <errno.h>
#include <string.h>

#include <healthsvc/config.h>
#include <healthsvc/probe.h>
#include <healthsvc/region.h>
#include <healthsvc/strbuf.h>
#include <healthsvc/units.h>

#define SCHEME_MAX_BYTES 15
#define SCHEMES_MAX 64
#define HOST_MAX_BYTES 253 /* RFC 1035 section 2.3.4, as text */
#define LABEL_MAX_BYTES 63
#define UNIX_SUFFIX "+unix"
#define UNIX_PATH_MAX_BYTES 107 /* unix(7): sun_path with its NUL */
#define FORM "scheme://host[:port][/path]"
#define UNIX_FORM "scheme+unix:///path/of/socket[:/path]"

static int refuse(struct strbuf *why, const char *sentence)
{
    strbuf_adds(why, sentence);
    return -EINVAL;
}

static int read_scheme(const char *name, struct target_conf *conf, struct strbuf *why)
{
    conf->scheme = scheme_find(name);
    if (conf->scheme == NULL) {
        const char *names[SCHEMES_MAX + 1];
        size_t count = 0;
        for (; count < SCHEMES_MAX && scheme_at(count) != NULL; count++)
            names[count] = scheme_at(count)->name;
        names[count] = NULL;
        const char *nearest = units_nearest_word(name, names);
        strbuf_addf(why, "unknown scheme '%s'", name);
        if (nearest != NULL)
            strbuf_addf(why, ", did you mean '%s'?", nearest);
        return -EINVAL;
    }
    if (conf->scheme->flags & SCHEME_COMMAND) {
        strbuf_addf(why, "'url' has no scheme '%s': set '%s' instead", name, name);
        conf->scheme = NULL;
        return -EINVAL;
    }
    if (conf->scheme->ops == NULL) {
        strbuf_addf(why, "scheme '%s' is known but not in this build", name);
        return -EINVAL;
    }
    return 0;
}

/* Takes "+unix" off the scheme's name. */
static bool take_unix_suffix(char *name)
{
    size_t len = strlen(name), suffix = sizeof UNIX_SUFFIX - 1;

    if (len <= suffix || strcmp(name + len - suffix, UNIX_SUFFIX) != 0)
        return false;
    name[len - suffix] = '\0';
    return true;
}

/* Letters, digits, '-', '_' in labels between dots; what looks like an IPv4 address is one. */
static bool is_host(const char *host)
{
    const char *label = host;
    struct in_addr address;

    if (strlen(host) > HOST_MAX_BYTES)
        return false;
    for (;;) {
        size_t len = strcspn(label, ".");
        for (size_t i = 0; i < len; i++) {
            if (!isalnum((unsigned char)label[i]) && label[i] != '-' && label[i] != '_')
                return false;
        }
        if (len == 0 || len > LABEL_MAX_BYTES)
            return false;
        if (label[len] == '\0')
            break;
        if (label[len + 1] == '\0')
            return true; /* the dot that makes a name absolute */
        label += len + 1;
    }
    return label[strspn(label, "0123456789")] != '\0' || inet_pton(AF_INET, host, &address) == 1;
}

bool url_is_host(const char *text)
{
    struct in6_addr address;

    return is_host(text) || inet_pton(AF_INET6, text, &address) == 1;
}

/* [p, end) is "host[:port]" or "[v6][:port]". */
static int read_authority(const char *p, const char *end, struct target_conf *conf,
                          struct region *region, struct strbuf *why)
{
    bool v6 = *p == '[';
    const char *host_end;
    struct in6_addr address;

    if (v6)
        p++;
    host_end = memchr(p, v6 ? ']' : ':', (size_t)(end - p));
    if (host_end == NULL && v6)
        return refuse(why, "'url': the host's '[' has no ']'");
    if (host_end == NULL)
        host_end = end;
    if (host_end == p)
        return refuse(why, "'url' names no host");
    conf->host = region_copy(region, p, (size_t)(host_end - p));
    if (conf->host == NULL)
        return -ENOMEM;
    if (v6 && inet_pton(AF_INET6, conf->host, &address) != 1)
        return refuse(why, "'url': what is in brackets is not an IPv6 address");
    if (!v6 && !is_host(conf->host))
        return refuse(why, "'url': the host is neither a host name nor an address");

    p = v6 ? host_end + 1 : host_end;
    if (conf->scheme->flags & SCHEME_NO_PORT) {
        if (p == end)
            return 0;
        strbuf_addf(why, "'url': a port has no use with scheme %s", conf->scheme->name);
        return -EINVAL;
    }
    if (p == end) {
        conf->port = conf->scheme->port;
        if (conf->port == 0) {
            strbuf_addf(why, "'url' must name a port: %s has no usual one", conf->scheme->name);
            return -EINVAL;
        }
        return 0;
    }
    uint64_t port = 0;
    if (*p != ':' || units_parse_digits(p + 1, (size_t)(end - p - 1), &port) != 0 || port < 1 ||
        port > UINT16_MAX)
        return refuse(why, "'url': the port must be a number 1 .. 65535");
    conf->port = (uint16_t)port;
    return 0;
}

static int read_path(const char *p, struct target_conf *conf, struct region *region,
                     struct strbuf *why)
{
    if (!(conf->scheme->flags & SCHEME_PATH)) {
        if (*p == '\0' || strcmp(p, "/") == 0)
            return 0;
        strbuf_addf(why, "'url': a path has no use with scheme %s", conf->scheme->name);
        return -EINVAL;
    }
    size_t len = strlen(p), slash = *p != '/';
    conf->path = region_alloc(region, slash + len + 1);
    if (conf->path == NULL)
        return -ENOMEM;
    conf->path[0] = '/';
    memcpy(conf->path + slash, p, len);
    return 0;
}

/* p is "/path/of/socket[:/path]": a colon ends the socket's path, so that cannot hold one. */
static int read_unix(const char *p, struct target_conf *conf, struct region *region,
                     struct strbuf *why)
{
    size_t len = strcspn(p, ":");

    if (conf->scheme->dialogue == NULL) {
        strbuf_addf(why, "'url': scheme %s cannot be asked by way of a Unix socket",
                    conf->scheme->name);
        return -EINVAL;
    }
    if (*p != '/' || len < 2 || (p[len] == ':' && p[len + 1] != '/'))
        return refuse(why, "'url' must have the form " UNIX_FORM);
    if (len > UNIX_PATH_MAX_BYTES) {
        strbuf_addf(why, "'url': the path of a Unix socket must not be longer than %d bytes",
                    UNIX_PATH_MAX_BYTES);
        return -EINVAL;
    }
    conf->unix_path = region_copy(region, p, len);
    conf->host = region_copy_text(region, "localhost");
    conf->port = conf->scheme->port;
    if (conf->unix_path == NULL || conf->host == NULL)
        return -ENOMEM;
    return read_path(p[len] == ':' ? p + len + 1 : p + len, conf, region, why);
}

int url_read(struct target_conf *conf, struct region *region, struct strbuf *why)
{
    const char *url = conf->url;
    size_t len = strspn(url, "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789+-.");
    char name[SCHEME_MAX_BYTES + 1] = "";

    for (const char *p = url; *p != '\0'; p++) {
        if (*p < 0x21 || *p > 0x7e)
            return refuse(why, "'url' may hold printable ASCII only, and no spaces: the rest must "
                               "be percent-encoded");
    }
    if (len == 0 || len > SCHEME_MAX_BYTES || strncmp(url + len, "://", 3) != 0)
        return refuse(why, "'url' must have the form " FORM);
    for (size_t i = 0; i < len; i++)
        name[i] = (char)tolower((unsigned char)url[i]);
    bool is_unix = take_unix_suffix(name);
    int err = read_scheme(name, conf, why);
    if (err != 0)
        return err;

    const char *authority = url + len + 3;
    const char *end = authority + strcspn(authority, "/?#");
    if (memchr(authority, '@', (size_t)(end - authority)) != NULL)
        return refuse(why, "'url' must not hold a user or a password: set 'user', and "
                           "'password_file' or another");
    if (strchr(url, '#') != NULL)
        return refuse(why, "'url' must not have a fragment (#)");
    if (is_unix)
        return read_unix(authority, conf, region, why);
    if (conf->scheme->flags & SCHEME_FILE) {
        if (end != authority || *end != '/')
            return refuse(why, "'url': the path of a file follows three slashes: file:///path");
        return read_path(end, conf, region, why);
    }
    err = read_authority(authority, end, conf, region, why);
    return err != 0 ? err : read_path(end, conf, region, why);
}

void url_add_host(struct strbuf *out, const struct target_conf *conf)
{
    /* A zone ("fe80::1%eth0") means something on this machine only (RFC 6874 section 4). */
    int len = (int)strcspn(conf->host, "%");
    bool ipv6 = strchr(conf->host, ':') != NULL;
    strbuf_addf(out, "%s%.*s%s", ipv6 ? "[" : "", len, conf->host, ipv6 ? "]" : "");
    if (conf->port != conf->scheme->port)
        strbuf_addf(out, ":%u", conf->port);
}
