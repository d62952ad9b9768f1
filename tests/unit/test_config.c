/* config: product.md's rules one by one: a text and the faults it gives, word for word and in the
 * file's order; or a text and the values it gives. The schemes are fake_schemes.c's. */
#include <healthsvc/config.h>

#include <errno.h>
#include <fcntl.h>
#include <grp.h>
#include <netinet/in.h>
#include <sys/stat.h>
#include <sys/un.h>
#include <unistd.h>

#include <healthsvc/keys.h>
#include <healthsvc/strbuf.h>
#include <healthsvc/units.h>

#include "../testing.h"
#include "fake_schemes.h"

#define FILE_NAME "health.conf"
#define LONG_50 "aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa"
#define SECRET "hunter2"

static struct strbuf told;

static void tell(void *arg, const char *text)
{
    (void)arg;
    strbuf_addf(&told, "%s\n", text);
}

static void write_bytes(const char *name, const char *bytes, size_t len)
{
    FILE *f = fopen(name, "w");
    if (EXPECT(f != NULL)) {
        EXPECT(fwrite(bytes, 1, len, f) == len);
        EXPECT(fclose(f) == 0);
    }
}

static void write_file(const char *name, const char *text)
{
    write_bytes(name, text, strlen(text));
}

/* The configuration, or NULL; the faults are in `told`. */
static struct config *load(const char *name)
{
    struct config *config = NULL;
    strbuf_clear(&told);
    int err = config_load(name, tell, NULL, &config);
    EXPECT_INT(err, config != NULL ? 0 : -EINVAL);
    EXPECT((config != NULL) == (told.len == 0));
    EXPECT(strstr(told.data, SECRET) == NULL);
    return config;
}

static struct config *load_text(const char *text)
{
    write_file(FILE_NAME, text);
    return load(FILE_NAME);
}

/* The one without fault that a test goes on with. */
static struct config *load_good(const char *text)
{
    struct config *config = load_text(text);
    if (config == NULL) {
        printf("# for: %s\n# %s", text, told.data);
        abort();
    }
    return config;
}

struct fault_case {
    const char *text;
    const char *told; /* of each line without the file's name */
};

static void expect_faults(const struct fault_case *cases, size_t count)
{
    for (size_t i = 0; i < count; i++) {
        struct strbuf want;
        const char *rest = cases[i].told;
        strbuf_init(&want, 65536);
        while (*rest != '\0') {
            size_t len = strcspn(rest, "\n");
            strbuf_addf(&want, FILE_NAME ":%.*s\n", (int)len, rest);
            rest += len + (rest[len] == '\n');
        }
        config_unref(load_text(cases[i].text));
        if (!EXPECT_STR(told.data, want.data))
            printf("# for: %s\n", cases[i].text);
        strbuf_done(&want);
    }
}

#define EXPECT_FAULTS(cases) expect_faults(cases, sizeof(cases) / sizeof(cases)[0])

/* A dependency on line 2, with its name and URL, and whatever is given. */
#define DEP(settings) "dependencies = (\n{ name = \"a\"; url = \"http://h/\"; " settings " } );"
#define URL(url) "dependencies = (\n{ name = \"a\"; url = \"" url "\"; } );"

#define DURATION_FORM \
    "must be a duration 100ms .. 24h, written like \"250ms\", \"5s\", \"1m\" or \"2h\""

TEST(top_level_faults)
{
    static const struct fault_case cases[] = {
        {"name = \"\";", "1: 'name' is empty"},
        {"name = 5;", "1: 'name' is 5, must be a string of 1 .. 128 bytes"},
        {"name = \"a\\nb\";", "1: 'name' must be UTF-8 without control characters"},
        {"name = \"a\\x7f\";", "1: 'name' must be UTF-8 without control characters"},
        {"name = \"\\xff\";", "1: 'name' must be UTF-8 without control characters"},
        {"name = \"\\xc2\\x85\";", "1: 'name' must be UTF-8 without control characters"},
        {"name = \"\\xc3\";", "1: 'name' must be UTF-8 without control characters"},
        {"name = \"\\xc0\\x80\";", "1: 'name' must be UTF-8 without control characters"},
        {"name = \"\\xed\\xa0\\x80\";", "1: 'name' must be UTF-8 without control characters"},
        {"name = \"\\xf4\\x90\\x80\\x80\";", "1: 'name' must be UTF-8 without control characters"},
        {"name = \"\\xe2\\x82\";", "1: 'name' must be UTF-8 without control characters"},
        {"name = \"\\xe2\\x82\\xc0\";", "1: 'name' must be UTF-8 without control characters"},
        {"name = \"\\xe0\\x9f\\xbf\";", "1: 'name' must be UTF-8 without control characters"},
        {"workers = 0;", "1: 'workers' is 0, must be 1 .. 1024"},
        {"workers = 1025;", "1: 'workers' is 1025, must be 1 .. 1024"},
        {"workers = \"32\";", "1: 'workers' is \"32\", must be a whole number 1 .. 1024"},
        {"unhealthy_status = 399;", "1: 'unhealthy_status' is 399, must be 400 .. 599"},
        {"unhealthy_status = 600;", "1: 'unhealthy_status' is 600, must be 400 .. 599"},
        {"shutdown_delay = \"2h\";", "1: 'shutdown_delay' is 2h, must be 0s .. 1h"},
        {"shutdown_delay = -1;", "1: 'shutdown_delay' is -1s, must be 0s .. 1h"},
        {"lisen = \"127.0.0.1:1\";", "1: unknown setting 'lisen', did you mean 'listen'?"},
        {"include = \"x\";", "1: unknown setting 'include'"},
        {"defaults = ( );", "1: 'defaults' must be a group: { ... }"},
        {"dependencies = { };", "1: 'dependencies' must be a list of groups: ( { ... }, ... )"},
        {"dependencies = \"x\";", "1: 'dependencies' must be a list of groups: ( { ... }, ... )"},
        {"dependencies = [ \"x\" ];",
         "1: 'dependencies' must be a list of groups: ( { ... }, ... )"},
        {"dependencies = ( \"x\",\n3 );", "1: a dependency must be a group: { name = ...; ... }\n"
                                          "2: a dependency must be a group: { name = ...; ... }"},
    };
    EXPECT_FAULTS(cases);
}

#define LISTEN_FORM \
    "must be a numeric address and a port, like \"127.0.0.1:8000\" or \"[::1]:8000\""
#define LISTEN_PATH \
    "must be \"unix:\" and an absolute path, like \"unix:/run/healthsvc/health.sock\""
#define LISTEN_NAME "must be \"systemd:\" and a FileDescriptorName=: printable ASCII without ':'"
#define LISTEN_GROUP(settings) "listen = { address = \"unix:/run/x\";\n" settings " };"
#define TEN "0123456789"
#define HUNDRED TEN TEN TEN TEN TEN TEN TEN TEN TEN TEN
#define LISTEN_TLS \
    "TLS on the listener is not in this build's CivetWeb; put HAProxy or nginx in front"

TEST(address_faults)
{
    static const struct fault_case cases[] = {
        {"listen = 8000;",
         "1: 'listen' must be a string, a group { address = ...; }, or a list of them"},
        {"listen = ( \"127.0.0.1:0\",\n( ),\n7 );",
         "2: 'listen' must be a string, a group { address = ...; }, or a list of them\n"
         "3: 'listen' must be a string, a group { address = ...; }, or a list of them"},
        {"listen = \"\";", "1: 'listen' is empty"},
        {"listen = [ ];", "1: 'listen' names no address"},
        {"listen = \"8000\";", "1: 'listen' is \"8000\": " LISTEN_FORM},
        {"listen = \"+8000\";", "1: 'listen' is \"+8000\": " LISTEN_FORM},
        {"listen = \":8000\";", "1: 'listen' is \":8000\": " LISTEN_FORM},
        {"listen = \"localhost:8000\";", "1: 'listen' is \"localhost:8000\": " LISTEN_FORM},
        {"listen = \"127.0.0.1\";", "1: 'listen' is \"127.0.0.1\": " LISTEN_FORM},
        {"listen = \"127.0.0.1:65536\";", "1: 'listen' is \"127.0.0.1:65536\": " LISTEN_FORM},
        {"listen = \"::1:8000\";", "1: 'listen' is \"::1:8000\": " LISTEN_FORM},
        {"listen = \"http://127.0.0.1:1\";", "1: 'listen' is \"http://127.0.0.1:1\": " LISTEN_FORM},
        {"listen = \"https://127.0.0.1:1\";",
         "1: 'listen' is \"https://127.0.0.1:1\": " LISTEN_TLS},
        {"listen = \"127.0.0.1:8443s\";", "1: 'listen' is \"127.0.0.1:8443s\": " LISTEN_TLS},
        {"listen = \"8443s\";", "1: 'listen' is \"8443s\": " LISTEN_TLS},
        {"listen = \"/run/x\";",
         "1: 'listen' is \"/run/x\": a Unix socket is written \"unix:/path/of/socket\""},
        {"listen = \"unix:\";", "1: 'listen' is \"unix:\": " LISTEN_PATH},
        {"listen = \"unix:x.sock\";", "1: 'listen' is \"unix:x.sock\": " LISTEN_PATH},
        {"listen = \"unix:/run/\";", "1: 'listen' is \"unix:/run/\": " LISTEN_PATH},
        {"listen = \"unix:@x\";", "1: 'listen' is \"unix:@x\": an abstract name is open to every "
                                  "local user; give a path, \"unix:/path/of/socket\""},
        {"listen = \"unix:/" TEN TEN TEN TEN TEN TEN TEN TEN TEN TEN "0123456\";",
         "1: 'listen' is \"unix:/" TEN TEN TEN TEN TEN
         "0...\": the path of a Unix socket is 107 bytes long at most"},
        {"listen = \"fd:3\";", "1: 'listen' is \"fd:3\": sockets that systemd passes are written "
                               "\"systemd\" or \"systemd:NAME\""},
        {"listen = \"systemd1\";",
         "1: 'listen' is \"systemd1\": sockets that systemd passes are written \"systemd\" or "
         "\"systemd:NAME\""},
        {"listen = \"systemd:\";", "1: 'listen' is \"systemd:\": " LISTEN_NAME},
        {"listen = \"systemd:a:b\";", "1: 'listen' is \"systemd:a:b\": " LISTEN_NAME},
        {"listen = \"systemd:a b\";", "1: 'listen' is \"systemd:a b\": " LISTEN_NAME},
        {"listen = \"systemd:\\xc3\\xa4\";", "1: 'listen' is \"systemd:.\": " LISTEN_NAME},
        {"listen = \"systemd:" HUNDRED HUNDRED TEN TEN TEN TEN TEN "012345\";",
         "1: 'listen' is \"systemd:" TEN TEN TEN TEN "012345678...\": " LISTEN_NAME},
        {"listen = [ \"unix:/a\", \"systemd\", \"systemd:a\",\n\"systemd:a\",\n\"unix:/a\",\n"
         "\"systemd\" ];",
         "2: 'listen' is \"systemd:a\": this address is listed twice\n"
         "3: 'listen' is \"unix:/a\": this address is listed twice\n"
         "4: 'listen' is \"systemd\": this address is listed twice"},
        {"listen = { };", "1: 'address' is missing"},
        {"listen = { address = \"\"; };", "1: 'address' is empty"},
        {"listen = (\n{ address = \"x\"; } );", "2: 'address' is \"x\": " LISTEN_FORM},
        {LISTEN_GROUP("mod = \"0600\";"), "2: unknown setting 'mod', did you mean 'mode'?"},
        {LISTEN_GROUP("mode = 600;"), "2: 'mode' is 600, must be a string of 3 .. 4 bytes"},
        {LISTEN_GROUP("mode = \"0668\";"),
         "2: 'mode' must be an octal one, \"000\" .. \"0777\", like \"0660\""},
        {LISTEN_GROUP("mode = \"2660\";"),
         "2: 'mode' must be an octal one, \"000\" .. \"0777\", like \"0660\""},
        {LISTEN_GROUP("mode = \"+660\";"),
         "2: 'mode' must be an octal one, \"000\" .. \"0777\", like \"0660\""},
        {LISTEN_GROUP("group = \"no such group\";"), "2: 'group' is none that this machine knows"},
        {LISTEN_GROUP("group = \"4294967295\";"), "2: 'group' is none that this machine knows"},
        {LISTEN_GROUP("workers = 0;"), "2: 'workers' is 0, must be 1 .. 1024"},
        {LISTEN_GROUP("serve = 5;"), "2: 'serve' is 5, must be a string or a list of strings"},
        {LISTEN_GROUP("serve = [ ];"), "2: 'serve' names nothing"},
        {LISTEN_GROUP("serve = [ \"health\",\n\"metric\",\n\"everything\" ];"),
         "3: 'serve' is \"metric\": did you mean \"metrics\"?\n"
         "4: 'serve' is \"everything\": must be of health, ready, live and metrics"},
        {"listen = ( { address = \"127.0.0.1:1\"; mode = \"0660\"; },\n"
         "{ address = \"systemd\"; group = \"0\"; } );",
         "1: 'mode' has no use but with a Unix socket\n"
         "2: 'group' has no use with a socket that systemd passes: see SocketMode= and "
         "SocketGroup= there"},
        {"listen = [ \"127.0.0.1:0\", \"127.0.0.1:1\",\n\"[::1]:1\",\n\"127.0.0.1:1\",\n"
         "\"[0::1]:1\", \"x\", \"127.0.0.1:0\" ];",
         "3: 'listen' is \"127.0.0.1:1\": this address is listed twice\n"
         "4: 'listen' is \"[0::1]:1\": this address is listed twice\n"
         "4: 'listen' is \"x\": " LISTEN_FORM},
        {"listen = \"\\x1b[2J:1\";", "1: 'listen' is \".[2J:1\": " LISTEN_FORM},
        {"nameservers = \"dns.example\";",
         "1: 'nameservers' is \"dns.example\": must be a numeric address, with a port if that is "
         "not 53, like \"10.0.0.2\", \"127.0.0.1:5353\" or \"[::1]\""},
        {"nameservers = ( \"10.0.0.2\",\n\"10.0.0.2:0\" );",
         "2: 'nameservers' is \"10.0.0.2:0\": must be a numeric address, with a port if that is "
         "not 53, like \"10.0.0.2\", \"127.0.0.1:5353\" or \"[::1]\""},
    };
    EXPECT_FAULTS(cases);
}

TEST(dependency_faults)
{
    static const struct fault_case cases[] = {
        {"dependencies = (\n{ } );", "2: 'url' is missing\n2: 'name' is missing"},
        {"dependencies = (\n{ name = \"a\"; } );", "2: 'url' is missing"},
        {"dependencies = (\n{ url = \"tcp://h:1\"; } );", "2: 'name' is missing"},
        {"dependencies = (\n{ name = \"\"; url = \"tcp://h:1\"; } );", "2: 'name' is empty"},
        {"dependencies = (\n{ name = 5; url = 5; } );",
         "2: 'name' is 5, must be a string of 1 .. 64 bytes\n"
         "2: 'url' is 5, must be a string of 1 .. 2048 bytes"},
        {"dependencies = (\n{ name = \"a b\"; url = \"tcp://h:1\"; } );",
         "2: 'name' may hold letters, digits, '.', '_' and '-' only"},
        {"dependencies = (\n{ name = \"a/b\"; url = \"tcp://h:1\"; } );",
         "2: 'name' may hold letters, digits, '.', '_' and '-' only"},
        {"dependencies = (\n{ name = \"..\"; url = \"tcp://h:1\"; } );",
         "2: 'name' must not be '.' or '..'"},
        {"dependencies = (\n{ name = \"123456789012345678901234567890123456789012345678901234567890"
         "12345\"; url = \"tcp://h:1\"; } );",
         "2: 'name' is 65 bytes long, must be 1 .. 64 bytes"},
        {"dependencies = (\n{ name = \"b\"; url = \"tcp://h:1\"; },\n"
         "{ name = \"a\"; url = \"tcp://h:1\"; },\n{ url = \"tcp://h:1\"; },\n"
         "{ name = \"c\"; url = \"tcp://h:1\"; },\n{\nname = \"b\"; url = \"tcp://h:1\"; },\n"
         "{ name = \"a\"; url = \"tcp://h:1\"; } );",
         "4: 'name' is missing\n"
         "7: duplicate name 'b', first used at health.conf:2\n"
         "8: duplicate name 'a', first used at health.conf:3"},
        {DEP("perod = 5;"), "2: unknown setting 'perod', did you mean 'period'?"},
        {DEP("nmae = 5;"), "2: unknown setting 'nmae', did you mean 'name'?"},
        {DEP("methd = 5;"), "2: unknown setting 'methd', did you mean 'method'?"},
        {DEP("period = \"50ms\";"), "2: 'period' is 50ms, must be 100ms .. 24h"},
        {DEP("period = \"2d\";"), "2: 'period' is 2d, must be 100ms .. 24h"},
        {DEP("period = true;"), "2: 'period' is true, " DURATION_FORM},
        {DEP("period = 0.5;"), "2: 'period' is 0.5, " DURATION_FORM},
        {DEP("timeout = \"1ms\";"), "2: 'timeout' is 1ms, must be 10ms .. 24h"},
        {DEP("fall = 0;"), "2: 'fall' is 0, must be 1 .. 100"},
        {DEP("rise = 101;"), "2: 'rise' is 101, must be 1 .. 100"},
        {DEP("fall = 2.0;"), "2: 'fall' is 2.0, must be a whole number 1 .. 100"},
        {DEP("confirm = 0;"), "2: 'confirm' is 0s, must be 10ms .. 24h"},
        {DEP("importance = \"maybe\";"),
         "2: 'importance' is \"maybe\", must be one of \"required\", \"optional\", \"info\""},
        {DEP("max_age = \"31d\";"), "2: 'max_age' is 31d, must be 100ms .. 30d"},
        {DEP("even = 3;"), "2: 'even' is odd (3)"},
        {DEP("method = \"a\\r\\nb\";"), "2: 'method' must not contain CR, LF or NUL"},
        {DEP("user = \"a\\nb\";"), "2: 'user' must not contain CR, LF or NUL"},
        {DEP("exec = [ \"x\" ];"), "2: 'url' and 'exec' exclude each other"},
        {"dependencies = (\n{ name = \"a\"; exec = [ \"x\" ]; } );",
         "2: 'exec' checks are not in this build"},
        {"dependencies = (\n{ name = \"a\"; exec = [ \"x\" ]; perod = 1; verify = 5; } );",
         "2: 'exec' checks are not in this build\n"
         "2: unknown setting 'perod', did you mean 'period'?\n"
         "2: 'verify' is 5, must be true or false"},
        /* a setting that is another scheme's */
        {DEP("ca_file = \"x\";"), "2: 'ca_file' has no use with scheme http"},
        {DEP("verify = true;"), "2: 'verify' has no use with scheme http"},
        {"dependencies = (\n{ name = \"a\"; url = \"tcp://h:1\"; user = \"u\"; method = \"GET\";\n"
         "password_env = \"X\"; } );",
         "2: 'user' has no use with scheme tcp\n"
         "2: 'method' has no use with scheme tcp\n"
         "3: 'password_env' has no use with scheme tcp"},
        {"dependencies = (\n{ name = \"a\"; url = \"https://h\"; cert_warn = -1; verify = 1; } );",
         "2: 'cert_warn' is -1, must be 0 .. 3650\n"
         "2: 'verify' is 1, must be true or false"},
        {"dependencies = (\n{ name = \"a\"; url = \"https://h\";\nserver_name = \".\"; },\n"
         "{ name = \"b\"; url = \"https://h\"; server_name = \"a b\"; },\n"
         "{ name = \"c\"; url = \"https://h\"; server_name = \"[::1]\"; } );",
         "3: 'server_name' is neither a host name nor an address\n"
         "4: 'server_name' is neither a host name nor an address\n"
         "5: 'server_name' is neither a host name nor an address"},
        /* what preparing says, at the setting it quotes first, else at the group */
        {DEP("\nmethod = \"BREW\";"), "3: 'method' is BREW: this is a 'teapot'"},
        {"defaults = { method = \"BREW\"; };\n" DEP(""), "1: 'method' is BREW: this is a 'teapot'"},
        {"dependencies = (\n{ name = \"a\"; url = \"https://h\";\nca_file = \"missing\"; } );",
         "3: 'ca_file': cannot read missing"},
    };
    EXPECT_FAULTS(cases);
}

#define URL_BYTES \
    "2: 'url' may hold printable ASCII only, and no spaces: the rest must be percent-encoded"
#define URL_FORM "2: 'url' must have the form scheme://host[:port][/path]"
#define URL_HOST "2: 'url': the host is neither a host name nor an address"
#define URL_PORT "2: 'url': the port must be a number 1 .. 65535"
#define URL_USER \
    "2: 'url' must not hold a user or a password: set 'user', and 'password_file' or another"

TEST(url_faults)
{
    static const struct fault_case cases[] = {
        {URL(""), "2: 'url' is empty"},
        {URL("h"), URL_FORM},
        {URL("h:80"), URL_FORM},
        {URL("http:/h"), URL_FORM},
        {URL("://h"), URL_FORM},
        {URL("abcdefghijklmnopqrstuvwxyz://h"), URL_FORM},
        {URL("htpp://h"), "2: unknown scheme 'htpp', did you mean 'http'?"},
        {URL("gopher://h"), "2: unknown scheme 'gopher'"},
        {URL("redis://h"), "2: scheme 'redis' is known but not in this build"},
        {URL("exec://h"), "2: scheme 'exec' is known but not in this build"},
        {URL("tcp://h"), "2: 'url' must name a port: tcp has no usual one"},
        {URL("tls://[::1]"), "2: 'url' must name a port: tls has no usual one"},
        {URL("tcp://h:1/x"), "2: 'url': a path has no use with scheme tcp"},
        {URL("tcp://h:1?x"), "2: 'url': a path has no use with scheme tcp"},
        {URL("http://"), "2: 'url' names no host"},
        {URL("http:///x"), "2: 'url' names no host"},
        {URL("http://:80"), "2: 'url' names no host"},
        {URL("http://[]"), "2: 'url' names no host"},
        {URL("http://[::1"), "2: 'url': the host's '[' has no ']'"},
        {URL("http://[::1/]"), "2: 'url': the host's '[' has no ']'"},
        {URL("http://[1.2.3.4]"), "2: 'url': what is in brackets is not an IPv6 address"},
        {URL("http://[::1]80"), URL_PORT},
        {URL("http://::1"), "2: 'url' names no host"},
        {URL("http://a::2"), URL_PORT},
        {URL("http://1::2"), URL_HOST},
        {URL("http://h:"), URL_PORT},
        {URL("http://h:0"), URL_PORT},
        {URL("http://h:65536"), URL_PORT},
        {URL("http://h:99999999999999999999999"), URL_PORT},
        {URL("http://h:+80"), URL_PORT},
        {URL("http://h:80x"), URL_PORT},
        {URL("http://h:80:80"), URL_PORT},
        {URL("http://a..b"), URL_HOST},
        {URL("http://.b"), URL_HOST},
        {URL("http://a*b"), URL_HOST},
        {URL("http://a%20b"), URL_HOST},
        {URL("http://1.2.3.256"), URL_HOST},
        {URL("http://127.1"), URL_HOST},
        {URL("http://host.7"), URL_HOST},
        {URL("http://a123456789012345678901234567890123456789012345678901234567890123.b"),
         URL_HOST},
        {URL("http://h/a b"), URL_BYTES},
        {URL("http://h/\\t"), URL_BYTES},
        {URL("http://h/\\xc3\\xa9"), URL_BYTES},
        {URL("http://h/\\x7f"), URL_BYTES},
        {URL("http://h/\\r\\nX: y"), "2: 'url' must not contain CR, LF or NUL"},
        {URL("http://h/x#y"), "2: 'url' must not have a fragment (#)"},
        {URL("http://h#y"), "2: 'url' must not have a fragment (#)"},
        /* the password is not shown (load() looks for it in every message) */
        {URL("http://user:" SECRET "@h/"), URL_USER},
        {URL("http://" SECRET "@h/"), URL_USER},
        {URL("http://u:p@[::1]:80?" SECRET), URL_USER},
        {URL("http://u:" SECRET "/x@h"), URL_PORT},
        {URL("http://u:" SECRET " @h"), URL_BYTES},
        {URL(SECRET "@h"), URL_FORM},
        {URL("u:" SECRET "@h"), URL_FORM},
    };
    EXPECT_FAULTS(cases);
}

TEST(a_url_is_at_most_2048_bytes)
{
    for (int len = 2048; len <= 2049; len++) {
        struct strbuf text;
        strbuf_init(&text, 65536);
        strbuf_adds(&text, "dependencies = (\n{ name = \"a\"; url = \"http://h/");
        for (int i = (int)strlen("http://h/"); i < len; i++)
            strbuf_addc(&text, 'x');
        strbuf_adds(&text, "\"; } );");
        struct config *config = load_text(text.data);
        EXPECT((config != NULL) == (len == 2048));
        EXPECT_STR(told.data, len == 2048 ? ""
                                          : FILE_NAME ":2: 'url' is 2049 bytes long, must be "
                                                      "1 .. 2048 bytes\n");
        config_unref(config);
        strbuf_done(&text);
    }
}

TEST(a_host_is_at_most_253_bytes)
{
    static const struct {
        int labels; /* of 10 bytes, with the dot */
        bool good;
    } cases[] = {{25, true}, {26, false}};
    for (size_t i = 0; i < 2; i++) {
        struct strbuf text;
        strbuf_init(&text, 65536);
        strbuf_adds(&text, "dependencies = (\n{ name = \"a\"; url = \"tcp://x");
        for (int k = 0; k < cases[i].labels; k++)
            strbuf_adds(&text, ".123456789");
        strbuf_adds(&text, "x:1\"; } );");
        struct config *config = load_text(text.data);
        EXPECT((config != NULL) == cases[i].good);
        EXPECT_STR(told.data, cases[i].good ? "" : FILE_NAME ":" URL_HOST "\n");
        config_unref(config);
        strbuf_done(&text);
    }
}

TEST(defaults_faults)
{
    static const struct fault_case cases[] = {
        {"defaults = {\nname = \"a\";\nurl = \"x\"; exec = [ ]; };",
         "2: 'name' has no use in 'defaults'\n"
         "3: 'url' has no use in 'defaults'\n"
         "3: 'exec' has no use in 'defaults'"},
        {"defaults = { perod = 5; };", "1: unknown setting 'perod', did you mean 'period'?"},
        {"defaults = { metod = 5; };", "1: unknown setting 'metod', did you mean 'method'?"},
        /* told once, whatever the number of dependencies */
        {"defaults = { period = 5.5; fall = 0; even = 1; };\ndependencies = (\n"
         "{ name = \"a\"; url = \"http://h\"; }, { name = \"b\"; url = \"http://h\"; } );",
         "1: 'period' is 5.5, " DURATION_FORM "\n"
         "1: 'fall' is 0, must be 1 .. 100\n"
         "1: 'even' is odd (1)"},
        {"defaults = { password_file = \"none\"; };\ndependencies = (\n"
         "{ name = \"a\"; url = \"http://h\"; }, { name = \"b\"; url = \"http://h\"; } );",
         "1: 'password_file': none cannot be read: No such file or directory"},
        {"defaults = { password_file = \"none\";\npassword_env = \"NONE\"; };",
         "2: 'password_file', 'password_env' and 'password_credential' exclude one another"},
    };
    EXPECT_FAULTS(cases);
}

TEST(times_hold_together)
{
    static const struct fault_case cases[] = {
        {DEP("timeout = \"10s\";"), "2: 'timeout' is 10s, must be less than 'period' (10s)"},
        {DEP("timeout = \"20s\";"), "2: 'timeout' is 20s, must be less than 'period' (10s)"},
        {DEP("timeout = \"20s\";\nperiod = \"20s\";"),
         "2: 'timeout' is 20s, must be less than 'period' (20s)"},
        {DEP("period = \"5s\";\ntimeout = \"20s\"; confirm = \"6s\"; max_age = \"4s\";"),
         "2: 'period' is 5s, must be at most 'max_age' (4s)\n"
         "3: 'timeout' is 20s, must be less than 'period' (5s)\n"
         "3: 'confirm' is 6s, must be at most 'period' (5s)"},
        {DEP("confirm = \"11s\";"), "2: 'confirm' is 11s, must be at most 'period' (10s)"},
        {DEP("max_age = \"9s\";"), "2: 'max_age' is 9s, must be at least 'period' (10s)"},
        /* the dependency's own setting is where the fault is */
        {"defaults = { timeout = \"3s\"; };\n" DEP("period = \"2s\";"),
         "3: 'period' is 2s, must be more than 'timeout' (3s)"},
        {"defaults = { confirm = \"3s\"; };\n" DEP("period = \"2s\";"),
         "3: 'period' is 2s, must be at least 'confirm' (3s)"},
        {"defaults = { period = \"2s\"; };\n" DEP("timeout = \"3s\";"),
         "3: 'timeout' is 3s, must be less than 'period' (2s)"},
        {"defaults = { period = \"20s\"; };\n" DEP("max_age = \"15s\";"),
         "3: 'max_age' is 15s, must be at least 'period' (20s)"},
        {"defaults = { max_age = \"20s\"; };\n" DEP("period = \"30s\";"),
         "3: 'period' is 30s, must be at most 'max_age' (20s)"},
        /* the defaults alone, once */
        {"defaults = { timeout = \"20s\"; };\ndependencies = (\n"
         "{ name = \"a\"; url = \"http://h\"; }, { name = \"b\"; url = \"http://h\"; },\n"
         "{ name = \"c\"; url = \"http://h\"; period = \"5s\"; },\n"
         "{ name = \"d\"; url = \"http://h\"; period = \"30s\"; } );",
         "1: 'timeout' is 20s, must be less than 'period' (10s)\n"
         "4: 'period' is 5s, must be more than 'timeout' (20s)"},
        {"defaults = { period = \"20s\";\ntimeout = \"20s\"; };\n" DEP(""),
         "2: 'timeout' is 20s, must be less than 'period' (20s)"},
        /* what could not be read is compared with nothing */
        {DEP("period = \"50ms\"; timeout = \"20s\";"), "2: 'period' is 50ms, must be 100ms .. 24h"},
        {"defaults = { period = 0; };\n" DEP("timeout = \"20s\";"),
         "1: 'period' is 0s, must be 100ms .. 24h"},
        /* and a URL that is wrong hides nothing */
        {"dependencies = (\n{ name = \"a\"; url = \"x\"; timeout = \"20s\"; } );",
         URL_FORM "\n2: 'timeout' is 20s, must be less than 'period' (10s)"},
    };
    static const struct {
        const char *text;
        int64_t period_ms, timeout_ms, confirm_ms, max_age_ms;
    } good[] = {
        {DEP(""), 10000, 3000, 1000, 33000},
        {DEP("period = \"60s\";"), 60000, 3000, 1000, 183000},
        {DEP("period = 60;"), 60000, 3000, 1000, 183000},
        {DEP("period = \"3s\";"), 3000, 2400, 1000, 11400},
        {DEP("period = \"3001ms\";"), 3001, 3000, 1000, 12003},
        {DEP("period = \"1s\";"), 1000, 800, 1000, 3800},
        {DEP("period = \"500ms\";"), 500, 400, 500, 1900},
        {DEP("period = \"100ms\";"), 100, 80, 100, 380},
        {DEP("period = \"24h\";"), 86400000, 3000, 1000, 259203000},
        {DEP("timeout = \"9999ms\"; confirm = \"10s\"; max_age = \"10s\";"), 10000, 9999, 10000,
         10000},
        {"defaults = { period = \"2s\"; };\n" DEP(""), 2000, 1600, 1000, 7600},
        {"defaults = { period = \"2s\"; timeout = \"1s\"; };\n" DEP("period = \"5s\";"), 5000, 1000,
         1000, 16000},
        {"defaults = { timeout = \"20s\"; };\n" DEP("period = \"30s\";"), 30000, 20000, 1000,
         110000},
        {"defaults = { timeout = \"20s\"; };\n" DEP("timeout = \"1s\";"), 10000, 1000, 1000, 31000},
        {"defaults = { timeout = \"20s\"; };\n", 0, 0, 0, 0},
    };
    EXPECT_FAULTS(cases);
    for (size_t i = 0; i < sizeof good / sizeof good[0]; i++) {
        struct config *config = load_good(good[i].text);
        if (good[i].period_ms > 0 && EXPECT_INT(config->target_count, 1)) {
            EXPECT_INT(config->targets[0]->period_ms, good[i].period_ms);
            EXPECT_INT(config->targets[0]->timeout_ms, good[i].timeout_ms);
            EXPECT_INT(config->targets[0]->confirm_ms, good[i].confirm_ms);
            EXPECT_INT(config->targets[0]->max_age_ms, good[i].max_age_ms);
        }
        config_unref(config);
    }
}

TEST(secret_faults)
{
    static const struct fault_case cases[] = {
        {DEP("password_file = \"pw\"; password_env = \"PW\";"),
         "2: 'password_file', 'password_env' and 'password_credential' exclude one another"},
        {DEP("password_credential = \"pw\";\npassword_env = \"PW\";"),
         "3: 'password_file', 'password_env' and 'password_credential' exclude one another"},
        {DEP("password_credential = \"no\";"),
         "2: 'password_credential': creds/no cannot be read: No such file or directory"},
        {DEP("password_credential = \"../pw\";"),
         "2: 'password_credential' must be the name of a credential, not a path"},
        {DEP("password_credential = \".\";"),
         "2: 'password_credential' must be the name of a credential, not a path"},
        {DEP("password_credential = \"..\";"),
         "2: 'password_credential' must be the name of a credential, not a path"},
        {DEP("password_env = \"HEALTHSVC_TEST_UNSET\";"),
         "2: 'password_env': the environment variable is not set"},
        {DEP("password_env = \"" SECRET "\";"),
         "2: 'password_env': the environment variable is not set"},
        {DEP("password_env = \"PW_EMPTY\";"),
         "2: 'password_env': the environment variable is empty"},
        {DEP("password_env = \"PW_LF\";"),
         "2: 'password_env': the environment variable must hold one line without CR or NUL"},
        {DEP("\npassword_file = \"no/such\";"),
         "3: 'password_file': no/such cannot be read: No such file or directory"},
        {DEP("password_file = \".\";"), "2: 'password_file': . cannot be read: Is a directory"},
        {DEP("password_file = \"pw_empty\";"), "2: 'password_file': pw_empty is empty"},
        {DEP("password_file = \"pw_crlf\";"),
         "2: 'password_file': pw_crlf must hold one line without CR or NUL"},
        {DEP("password_file = \"pw_two\";"),
         "2: 'password_file': pw_two must hold one line without CR or NUL"},
        {DEP("password_file = \"pw_nul\";"),
         "2: 'password_file': pw_nul must hold one line without CR or NUL"},
        {DEP("password_file = \"pw_long\";"),
         "2: 'password_file': pw_long holds more than 4096 bytes"},
        {DEP("password_file = \"pw_fifo\";"), "2: 'password_file': pw_fifo is empty"},
        {DEP("password_file = \"a\\nb\";"),
         "2: 'password_file': a.b cannot be read: No such file or directory"},
    };
    static char long_secret[4098];
    memset(long_secret, 'x', sizeof long_secret);
    write_file("pw_empty", "\n");
    write_file("pw_crlf", SECRET "\r\n");
    write_file("pw_two", SECRET "\n\n");
    write_bytes("pw_nul", SECRET "\0x\n", sizeof SECRET + 2);
    write_bytes("pw_long", long_secret, 4097);
    EXPECT_INT(mkfifo("pw_fifo", 0600), 0);
    EXPECT_INT(mkdir("creds", 0700), 0);
    setenv("PW_EMPTY", "", 1);
    setenv("PW_LF", SECRET "\nx", 1);
    setenv("CREDENTIALS_DIRECTORY", "creds", 1);
    EXPECT_FAULTS(cases);
    for (int set = 0; set < 2; set++) {
        unsetenv("CREDENTIALS_DIRECTORY");
        if (set)
            setenv("CREDENTIALS_DIRECTORY", "", 1);
        config_unref(load_text(DEP("password_credential = \"pw\";")));
        EXPECT_STR(told.data,
                   FILE_NAME ":2: 'password_credential': no credentials were passed "
                             "(LoadCredential= in the unit); by hand, set CREDENTIALS_DIRECTORY to "
                             "the folder of them\n");
    }
}

TEST(reads_secrets)
{
    static const struct {
        const char *text;
        const char *secret;
    } cases[] = {
        {DEP(""), NULL},
        {DEP("user = \"u\";"), NULL},
        {DEP("user = \"u\"; password_file = \"pw\";"), SECRET},
        {DEP("password_env = \"PW\";"), SECRET " 2"},
        {"defaults = { password_file = \"pw\"; };\n" DEP(""), SECRET},
        {"defaults = { password_file = \"pw\"; };\n" DEP("password_env = \"PW\";"), SECRET " 2"},
        {"defaults = { password_env = \"PW\"; };\n" DEP("password_file = \"pw\";"), SECRET},
        {DEP("password_credential = \"passed\";"), SECRET " 3"},
        {"defaults = { password_credential = \"passed\"; };\n" DEP("password_env = \"PW\";"),
         SECRET " 2"},
        /* no use with tcp: not even read */
        {"defaults = { password_file = \"none\"; };\n" URL("tcp://h:1"), NULL},
    };
    static char longest[4097];
    write_file("pw", SECRET "\n");
    write_file("creds/passed", SECRET " 3\n");
    setenv("PW", SECRET " 2", 1);
    setenv("CREDENTIALS_DIRECTORY", "creds", 1);
    for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++) {
        struct config *config = load_good(cases[i].text);
        EXPECT_STR(config->targets[0]->secret, cases[i].secret);
        config_unref(config);
    }
    memset(longest, 'x', 4096);
    longest[4096] = '\n';
    write_bytes("pw_max", longest, 4097);
    struct config *config = load_good(DEP("password_file = \"pw_max\";"));
    EXPECT_INT(strlen(config->targets[0]->secret), 4096);
    config_unref(config);
}

TEST(who_is_told_details)
{
    static const struct fault_case cases[] = {
        {"details = \"nobody\";", "1: 'details' is \"nobody\", must be one of \"always\", "
                                  "\"local\", \"never\""},
        {"details_for = [ \"10.0.0.0/8\",\n\"10.0.0.1/8\", \"::/0\", \"x\" ];",
         "2: 'details_for' is \"10.0.0.1/8\": must be a network without bits behind its prefix, "
         "like \"10.0.0.0/8\" or \"fd00::/8\", or an address\n"
         "2: 'details_for' is \"x\": must be a network without bits behind its prefix, like "
         "\"10.0.0.0/8\" or \"fd00::/8\", or an address"},
        {"details_token_file = \"no\";",
         "1: 'details_token_file': no cannot be read: No such file or directory"},
    };
    EXPECT_FAULTS(cases);
    struct config *config = load_good("");
    EXPECT_INT(config->details, DETAILS_LOCAL);
    EXPECT_INT(config->details_for_count, 0);
    EXPECT_STR(config->details_token, NULL);
    config_unref(config);
    write_file("token", SECRET "\n");
    config = load_good("details = \"never\"; details_token_file = \"token\";\n"
                       "details_for = [ \"10.0.0.0/8\", \"fd00::/8\" ];");
    EXPECT_INT(config->details, DETAILS_NEVER);
    EXPECT_STR(config->details_token, SECRET);
    if (EXPECT_INT(config->details_for_count, 2)) {
        EXPECT_INT(config->details_for[0].prefix_bits, 8);
        EXPECT_INT(config->details_for[1].family, AF_INET6);
    }
    config_unref(config);
}

TEST(an_empty_file_is_a_configuration)
{
    char host[256] = "";
    struct config *config = load_good("");
    EXPECT_INT(gethostname(host, sizeof host), 0);
    EXPECT_STR(config->name, host);
    EXPECT_STR(config->path, FILE_NAME);
    EXPECT_INT(config->listen_count, 1);
    EXPECT_STR(config->listen[0].text, "127.0.0.1:8000");
    EXPECT_INT(config->workers, 32);
    EXPECT_INT(config->unhealthy_status, 500);
    EXPECT_INT(config->shutdown_delay_ms, 0);
    EXPECT_STR(config->nameservers, NULL);
    EXPECT_INT(config->target_count, 0);
    EXPECT(config_find_target(config, "a") == NULL);
    EXPECT(config_ref(config) == config);
    EXPECT(config_unref(config) == NULL);
    EXPECT_STR(config->name, host);
    config_unref(config);
    EXPECT(config_unref(NULL) == NULL);
    config_unref(load_good("dependencies = ();"));
    config_unref(load_good("dependencies = []; defaults = {};"));
}

TEST(reads_the_top_level)
{
    struct config *config = load_good(
        "name = \"Reise \\xc3\\xbc \\xe0\\xa4\\xa8 \\xf0\\x9f\\x98\\x80\"; workers = 1024;\n"
        "unhealthy_status = 503; shutdown_delay = \"1h\";\n"
        "listen = ( \"127.0.0.1:0\", \"[::1]:8080\", \"127.0.0.1:0\" );\n"
        "nameservers = [ \"10.0.0.2\", \"127.0.0.1:5353\", \"[::1]\" ];");
    EXPECT_STR(config->name, "Reise \xc3\xbc \xe0\xa4\xa8 \xf0\x9f\x98\x80");
    EXPECT_INT(config->workers, 1024);
    EXPECT_INT(config->unhealthy_status, 503);
    EXPECT_INT(config->shutdown_delay_ms, 3600000);
    EXPECT_INT(config->listen_count, 3);
    EXPECT_STR(config->listen[1].text, "[::1]:8080");
    EXPECT_INT(config->listen[0].addr.ss_family, AF_INET);
    EXPECT_INT(config->listen[0].addr_len, sizeof(struct sockaddr_in));
    EXPECT_INT(config->listen[1].addr.ss_family, AF_INET6);
    EXPECT_INT(((struct sockaddr_in6 *)&config->listen[1].addr)->sin6_port, htons(8080));
    EXPECT_STR(config->nameservers, "10.0.0.2:53,127.0.0.1:5353,[::1]:53");
    config_unref(config);
    config = load_good("listen = \"0.0.0.0:80\"; nameservers = \"[::1]:5353\";");
    EXPECT_STR(config->listen[0].text, "0.0.0.0:80");
    EXPECT_STR(config->nameservers, "[::1]:5353");
    config_unref(config);
    config = load_good("workers = 5; listen = ( \"unix:/run/a\", { address = \"[::1]:0\"; },\n"
                       "{ address = \"unix:/run/b\"; serve = [ \"live\", \"health\" ];\n"
                       "  workers = 8; mode = \"606\"; group = \"0\"; },\n"
                       "{ address = \"systemd:web\"; serve = \"metrics\"; }, \"systemd\" );");
    if (EXPECT_INT(config->listen_count, 5)) {
        const struct config_listen *l = config->listen;
        EXPECT_INT(l[0].kind, LISTEN_UNIX);
        EXPECT_STR(((const struct sockaddr_un *)&l[0].addr)->sun_path, "/run/a");
        EXPECT_INT(l[0].mode, 0660);
        EXPECT_INT(l[0].group, (gid_t)-1);
        EXPECT_INT(l[0].serve, SERVE_ALL);
        EXPECT_INT(l[0].workers, 5);
        EXPECT_INT(l[1].kind, LISTEN_NETWORK);
        EXPECT_INT(l[1].workers, 5);
        EXPECT_STR(l[2].text, "unix:/run/b");
        EXPECT_INT(l[2].mode, 0606);
        EXPECT_INT(l[2].group, 0);
        EXPECT_INT(l[2].serve, SERVE_HEALTH | SERVE_LIVE);
        EXPECT_INT(l[2].workers, 8);
        EXPECT_INT(l[3].kind, LISTEN_PASSED);
        EXPECT_STR(l[3].passed_name, "web");
        EXPECT_INT(l[3].serve, SERVE_METRICS);
        EXPECT_INT(l[4].kind, LISTEN_PASSED);
        EXPECT_STR(l[4].passed_name, NULL);
    }
    config_unref(config);
    config = load_good("listen = { address = \"127.0.0.1:1\"; workers = 2; };");
    EXPECT_INT(config->listen_count, 1);
    EXPECT_INT(config->listen[0].workers, 2);
    config_unref(config);
    config = load_good("listen = { address = \"unix:/run/x\"; group = \"root\"; };");
    EXPECT_INT(config->listen[0].group, getgrnam("root")->gr_gid);
    config_unref(config);
    /* The longest path. */
    config = load_good("listen = \"unix:/" TEN TEN TEN TEN TEN TEN TEN TEN TEN TEN "012345\";");
    EXPECT_INT(config->listen[0].addr_len, sizeof(struct sockaddr_un));
    config_unref(config);
    config = load_good("nameservers = [ ]; details_for = [ ];");
    EXPECT_STR(config->nameservers, NULL);
    EXPECT_INT(config->details_for_count, 0);
    config_unref(config);
}

TEST(reads_urls)
{
    static const struct {
        const char *url, *scheme, *host;
        int port;
        const char *path;
    } cases[] = {
        {"http://trips:8000/health", "http", "trips", 8000, "/health"},
        {"http://trips", "http", "trips", 80, "/"},
        {"https://trips/", "https", "trips", 443, "/"},
        {"HTTP://Trips.Example./a/../b?c=d&e@f:g", "http", "Trips.Example.", 80,
         "/a/../b?c=d&e@f:g"},
        {"http://h?ready", "http", "h", 80, "/?ready"},
        {"http://h/%20%00", "http", "h", 80, "/%20%00"},
        {"http://10.0.0.1:65535", "http", "10.0.0.1", 65535, "/"},
        {"http://[::1]", "http", "::1", 80, "/"},
        {"tcp://[2001:db8::1]:5432", "tcp", "2001:db8::1", 5432, NULL},
        {"tcp://my_host-1:1/", "tcp", "my_host-1", 1, NULL},
        {"tls://1.example.com:443", "tls", "1.example.com", 443, NULL},
    };
    for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++) {
        struct strbuf text;
        strbuf_init(&text, 1000);
        strbuf_addf(&text, "dependencies = ( { name = \"a\"; url = \"%s\"; } );", cases[i].url);
        struct config *config = load_good(text.data);
        const struct target_conf *conf = config->targets[0];
        EXPECT_STR(conf->url, cases[i].url);
        EXPECT_STR(conf->scheme->name, cases[i].scheme);
        EXPECT_STR(conf->host, cases[i].host);
        EXPECT_INT(conf->port, cases[i].port);
        EXPECT_STR(conf->path, cases[i].path);
        config_unref(config);
        strbuf_done(&text);
    }
}

TEST(reads_urls_of_unix_sockets)
{
    static const struct {
        const char *url, *scheme, *unix_path;
        int port;
        const char *path;
    } cases[] = {
        {"http+unix:///run/x.sock:/health?a", "http", "/run/x.sock", 80, "/health?a"},
        {"HTTP+UNIX:///run/x.sock", "http", "/run/x.sock", 80, "/"},
        {"http+unix:///run/x:/a:b", "http", "/run/x", 80, "/a:b"},
        {"tcp+unix:///run/x.sock", "tcp", "/run/x.sock", 0, NULL},
        {"tcp+unix:///run/x.sock:/", "tcp", "/run/x.sock", 0, NULL},
    };
    for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++) {
        struct strbuf text;
        strbuf_init(&text, 1000);
        strbuf_addf(&text, "dependencies = ( { name = \"a\"; url = \"%s\"; } );", cases[i].url);
        struct config *config = load_good(text.data);
        const struct target_conf *conf = config->targets[0];
        EXPECT_STR(conf->scheme->name, cases[i].scheme);
        EXPECT_STR(conf->host, "localhost");
        EXPECT_STR(conf->unix_path, cases[i].unix_path);
        EXPECT_INT(conf->port, cases[i].port);
        EXPECT_STR(conf->path, cases[i].path);
        config_unref(config);
        strbuf_done(&text);
    }
}

TEST(refuses_urls_of_unix_sockets)
{
    static const struct {
        const char *url, *says;
    } cases[] = {
        {"http+unix://run/x", "'url' must have the form scheme+unix:///path/of/socket[:/path]"},
        {"http+unix:///", "'url' must have the form scheme+unix:///path/of/socket[:/path]"},
        {"http+unix://", "'url' must have the form scheme+unix:///path/of/socket[:/path]"},
        {"http+unix:///a:b", "'url' must have the form scheme+unix:///path/of/socket[:/path]"},
        {"tcp+unix:///a:/b", "'url': a path has no use with scheme tcp"},
        {"tls+unix:///a", "'url': scheme tls cannot be asked by way of a Unix socket"},
        {"htp+unix:///a", "unknown scheme 'htp', did you mean 'http'?"},
        {"+unix:///a", "unknown scheme '+unix'"},
        {"tcp+unix:///" LONG_50 LONG_50 "1234567",
         "'url': the path of a Unix socket must not be longer than 107 bytes"},
    };
    for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++) {
        struct strbuf text, says;
        strbuf_init(&text, 1000);
        strbuf_init(&says, 1000);
        strbuf_addf(&text, "dependencies = ( { name = \"a\"; url = \"%s\"; } );", cases[i].url);
        strbuf_addf(&says, FILE_NAME ":1: %s\n", cases[i].says);
        config_unref(load_text(text.data));
        EXPECT_STR(told.data, says.data);
        strbuf_done(&text);
        strbuf_done(&says);
    }
    config_unref(load_good(URL("tcp+unix:///" LONG_50 LONG_50 "123456")));
}

TEST(reuse)
{
    static const struct {
        const char *text, *says;
        bool reuse;
    } cases[] = {
        {"dependencies = ( { name = \"a\"; url = \"http://h\"; } );", "", false},
        {"dependencies = ( { name = \"a\"; url = \"http://h\"; reuse = true; } );", "", true},
        {"dependencies = ( { name = \"a\"; url = \"https://h\"; reuse = true; period = \"5m\"; } "
         ");",
         "", true},
        {"dependencies = ( { name = \"a\"; url = \"https://h\";\n reuse = true; period = 301; } );",
         FILE_NAME
         ":2: 'reuse' has no use with a 'period' of more than 5m: a connection is kept for "
         "10m at most\n",
         false},
        {"dependencies = ( { name = \"a\"; url = \"https://h\"; reuse = false; period = 301; } );",
         "", false},
        /* A default does no harm where it has no use. */
        {"defaults = { reuse = true; };\n"
         "dependencies = ( { name = \"a\"; url = \"https://h\"; period = 301; } );",
         "", true},
        {"defaults = { reuse = true; };\n"
         "dependencies = ( { name = \"a\"; url = \"tcp://h:1\"; } );",
         "", false},
        {"dependencies = ( { name = \"a\"; url = \"tcp://h:1\"; reuse = true; } );",
         FILE_NAME ":1: 'reuse' has no use with scheme tcp\n", false},
    };
    for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++) {
        struct config *config = load_text(cases[i].text);
        EXPECT_STR(told.data, cases[i].says);
        if (config != NULL)
            EXPECT_INT(config->targets[0]->reuse, cases[i].reuse);
        config_unref(config);
    }
}

TEST(limits_hold_together)
{
    static const struct {
        const char *settings, *says;
    } cases[] = {
        {"time_warn = 1; time_fail = 2;", ""},
        {"time_warn = 0; time_fail = \"1ms\";", ""},
        {"time_warn = 2; time_fail = 2;",
         FILE_NAME ":1: 'time_warn' is 2s, must be less than 'time_fail' (2s)\n"},
        {"time_warn = 3;", FILE_NAME ":1: 'time_warn' is 3s, must be less than 'timeout' (3s)\n"},
        {"cert_warn = 14; cert_fail = 7;", ""},
        {"cert_fail = 7;", ""},
        {"cert_warn = 7; cert_fail = 7;",
         FILE_NAME ":1: 'cert_fail' is 7, must be less than 'cert_warn' (7)\n"},
        {"time_fail = 4; timeout = 4;",
         FILE_NAME ":1: 'time_fail' is 4s, must be less than 'timeout' (4s)\n"},
    };
    for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++) {
        char text[256];
        snprintf(text, sizeof text, "dependencies = ( { name = \"a\"; url = \"https://h\"; %s } );",
                 cases[i].settings);
        config_unref(load_text(text));
        EXPECT_STR(told.data, cases[i].says);
    }
}

TEST(reads_dependencies)
{
    struct config *config = load_good(
        "defaults = { fall = 5; rise = 6; importance = \"info\"; verify = false;\n"
        "  cert_warn = 14; method = \"POST\"; headers = [ \"A: b\" ]; user = \"u\"; };\n"
        "dependencies = (\n"
        "  { name = \"web.1\"; url = \"https://h\"; fall = 7; verify = true; even = 4; },\n"
        "  { name = \"db_2\"; url = \"tcp://h:1\"; },\n"
        "  { name = \"A-3\"; url = \"http://h\"; importance = \"optional\"; method = \"HEAD\"; }\n"
        ");");
    EXPECT_INT(config->target_count, 3);
    const struct target_conf *web = config->targets[0], *db = config->targets[1],
                             *last = config->targets[2];
    const struct fake_http_conf *http = web->scheme_conf;
    EXPECT(web->owner == config);
    EXPECT_STR(web->name, "web.1");
    EXPECT_STR(web->file, FILE_NAME);
    EXPECT_INT(web->line, 4);
    EXPECT_INT(web->fall, 7);
    EXPECT_INT(web->rise, 6);
    EXPECT_INT(web->importance, IMPORTANCE_INFO);
    EXPECT(web->tls.verify);
    EXPECT_INT(web->tls.cert_warn, 14);
    EXPECT_STR(web->user, "u");
    EXPECT_STR(http->method, "POST");
    EXPECT_STR(http->headers, "A: b");
    EXPECT_INT(http->even, 4);
    EXPECT_INT(db->line, 5);
    EXPECT_INT(db->fall, 5);
    EXPECT_STR(db->user, NULL); /* a default that tcp has no use for */
    EXPECT(db->scheme_conf == NULL);
    EXPECT_INT(last->importance, IMPORTANCE_OPTIONAL);
    EXPECT_STR(((const struct fake_http_conf *)last->scheme_conf)->method, "HEAD");
    EXPECT(config_find_target(config, "web.1") == web);
    EXPECT(config_find_target(config, "db_2") == db);
    EXPECT(config_find_target(config, "A-3") == last);
    EXPECT(config_find_target(config, "A") == NULL);
    EXPECT(config_find_target(config, "zzz") == NULL);
    config_unref(config);
}

TEST(server_names)
{
    static const char *const good[] = {"trips.test", "TRIPS.test.", "127.0.0.1", "::1", "_x"};
    for (size_t i = 0; i < sizeof good / sizeof good[0]; i++) {
        struct strbuf text;
        strbuf_init(&text, 1000);
        strbuf_addf(&text,
                    "dependencies = ( { name = \"a\"; url = \"https://h\"; "
                    "server_name = \"%s\"; } );",
                    good[i]);
        struct config *config = load_good(text.data);
        EXPECT_STR(config->targets[0]->tls.server_name, good[i]);
        config_unref(config);
        strbuf_done(&text);
    }
}

TEST(verifies_unless_told_not_to)
{
    struct config *config = load_good(URL("https://h"));
    EXPECT(config->targets[0]->tls.verify);
    EXPECT_INT(config->targets[0]->tls.cert_warn, 0);
    EXPECT_INT(config->targets[0]->importance, IMPORTANCE_REQUIRED);
    EXPECT_INT(config->targets[0]->fall, 3);
    EXPECT_INT(config->targets[0]->rise, 2);
    config_unref(config);
}

TEST(prepares_what_has_no_fault_and_releases_everything)
{
    fake_prepared = fake_released = 0;
    config_unref(load_text("workers = 0;\ndependencies = (\n"
                           "{ name = \"a\"; url = \"http://h\"; },\n"
                           "{ name = \"b\"; url = \"http://h\"; fall = 0; },\n"
                           "{ name = \"c\"; url = \"http://h\"; method = \"BREW\"; },\n"
                           "{ name = \"d\"; url = \"redis://h\"; database = 5; } );"));
    EXPECT_STR(told.data, FILE_NAME ":1: 'workers' is 0, must be 1 .. 1024\n" FILE_NAME
                                    ":4: 'fall' is 0, must be 1 .. 100\n" FILE_NAME
                                    ":5: 'method' is BREW: this is a 'teapot'\n" FILE_NAME
                                    ":6: scheme 'redis' is known but not in this build\n");
    EXPECT_INT(fake_prepared, 2);
    EXPECT_INT(fake_released, 4);
}

TEST(file_names_are_relative_to_the_configuration)
{
    EXPECT_INT(mkdir("sub", 0700), 0);
    write_file("sub/pw", SECRET "\n");
    write_file("sub/main.conf",
               "dependencies = ( { name = \"a\"; url = \"https://h\"; password_file = \"pw\";\n"
               "ca_file = \"ca.pem\"; cert_file = \"/etc/c.pem\"; key_file = \"k/k.pem\"; } );");
    struct config *config = load("sub/main.conf");
    if (EXPECT(config != NULL)) {
        EXPECT_STR(config->targets[0]->secret, SECRET);
        EXPECT_STR(config->targets[0]->password_file, "sub/pw");
        EXPECT_STR(config->targets[0]->tls.ca_file, "sub/ca.pem");
        EXPECT_STR(config->targets[0]->tls.cert_file, "/etc/c.pem");
        EXPECT_STR(config->targets[0]->tls.key_file, "sub/k/k.pem");
    }
    config_unref(config);
}

TEST(files_that_cannot_be_read)
{
    config_unref(load("nowhere.conf"));
    EXPECT_STR(told.data,
               "nowhere.conf:1: cannot read 'nowhere.conf': No such file or directory\n");
    config_unref(load("sub"));
    EXPECT_STR(told.data, "sub:1: cannot read 'sub': Is a directory\n");
    config_unref(load(""));
    EXPECT_STR(told.data, ":1: cannot read '': No such file or directory\n");
    static const struct fault_case cases[] = {
        {"fall = 1;\n@include \"nowhere.conf\"\nrise = 2;",
         "1: unknown setting 'fall'\n"
         "2: cannot read 'nowhere.conf': No such file or directory\n"
         "3: unknown setting 'rise'"},
        {"\n@include \"sub\"", "2: cannot read 'sub': Is a directory"},
        {"@include \"health.conf\"", "1: 'health.conf' includes itself"},
        {"  @include \"health.conf\"\nrise = 1;\n# the end",
         "1: 'health.conf' includes itself\n2: unknown setting 'rise'"},
        {"\n@include \"no end\n@include \"a\\\"b\"\n",
         "2: @include needs a file name in quotes, on one line\n"
         "3: @include needs a file name in quotes, on one line"},
    };
    EXPECT_FAULTS(cases);
}

static void write_large(const char *name, size_t len)
{
    FILE *f = fopen(name, "w");
    if (!EXPECT(f != NULL))
        return;
    for (size_t i = 0; i < len; i++)
        putc(i % 80 == 79 ? '\n' : '#', f);
    EXPECT(fclose(f) == 0);
}

TEST(files_that_are_too_large)
{
    write_large("large.conf", (16 << 20) + 1);
    config_unref(load("large.conf"));
    EXPECT_STR(told.data, "large.conf:1: cannot read 'large.conf': too large\n");
    write_large("half.conf", 9 << 20);
    config_unref(load_text("@include \"half.conf\"\n@include \"half.conf\"\n"));
    EXPECT_STR(told.data,
               "half.conf:1: the configuration is larger than 16 MiB with all its includes\n");
}

TEST(includes)
{
    char here[1024], text[4096];
    EXPECT_INT(mkdir("sub/deep", 0700), 0);
    /* A name is relative to the main file's directory, in an included file too. */
    write_file("sub/a.conf", "{ name = \"a\"; url = \"tcp://h:1\"; },\n"
                             "  @include \"deep/b.conf\" , # and the rest of the line\n"
                             "{ name = \"c\"; url = \"tcp://h:1\"; fall = 0; }");
    write_file("sub/deep/b.conf", "# a comment without newline at its end");
    write_file("sub/main.conf", "workers = 0;\ndependencies = (\n@include \"a.conf\"\n);\n"
                                "rise = 1;\n");
    config_unref(load("sub/main.conf"));
    EXPECT_STR(told.data, "sub/a.conf:2: syntax error\n");

    write_file("sub/deep/b.conf", "\n\n{ name = \"a\"; url = \"tcp://h:1\"; }");
    config_unref(load("sub/main.conf"));
    EXPECT_STR(told.data, "sub/main.conf:1: 'workers' is 0, must be 1 .. 1024\n"
                          "sub/deep/b.conf:3: duplicate name 'a', first used at sub/a.conf:1\n"
                          "sub/a.conf:3: 'fall' is 0, must be 1 .. 100\n"
                          "sub/main.conf:5: unknown setting 'rise'\n");

    write_file("sub/deep/b.conf", "{ name = \"b\"; url = \"tcp://h:1\"; }");
    write_file("sub/a.conf", "{ name = \"a\"; url = \"tcp://h:1\"; },\n"
                             "@include \"deep/b.conf\"");
    write_file("sub/main.conf", "dependencies = (\n@include \"a.conf\"\n);\n");
    struct config *config = load("sub/main.conf");
    if (EXPECT(config != NULL) && EXPECT_INT(config->target_count, 2)) {
        EXPECT_STR(config->targets[1]->file, "sub/deep/b.conf");
        EXPECT_INT(config->targets[1]->line, 1);
        EXPECT_STR(config->targets[0]->file, "sub/a.conf");
    }
    config_unref(config);

    /* An absolute name; an empty file; two on one line; none in strings and comments. */
    write_file("empty.conf", "");
    write_file("name.conf", "name = \"included\";");
    EXPECT(getcwd(here, sizeof here) != NULL);
    snprintf(text, sizeof text,
             "@include \"empty.conf\" @include\t\"%s/name.conf\" workers = 7;\n"
             "# @include \"x\"\n/*\n@include \"x\"\n*/\n// @include \"x\"\n"
             "unhealthy_status = 503; defaults = { user = \"\\\"\n@include 'x'\"; };",
             here);
    config = load_text(text);
    EXPECT_STR(told.data, FILE_NAME ":7: 'user' must not contain CR, LF or NUL\n");
    config_unref(config);
    *strstr(text, "defaults") = '\0';
    config = load_good(text);
    EXPECT_STR(config->name, "included");
    EXPECT_INT(config->workers, 7);
    config_unref(config);
}

/* A folder of files: each one group or more, with or without a comma after the last. */
TEST(includes_by_pattern)
{
    EXPECT_INT(mkdir("conf.d", 0700), 0);
    write_file("conf.d/20-b.conf", "{ name = \"b\"; url = \"tcp://h:1\"; }, # the last comma\n");
    write_file("conf.d/10-a.conf", "\n{ name = \"a\"; url = \"tcp://h:1\"; }");
    write_file("conf.d/30-c.conf", "{ name = \"c\"; url = \"tcp://h:1\"; }\n"
                                   "/* none */ { name = \"d\"; url = \"tcp://h:1\"; },");
    write_file("conf.d/.hidden.conf", "fall = 1;");
    write_file("conf.d/30-c.conf.old", "fall = 1;");
    static const char list[] = "dependencies = (\n@include \"conf.d/*.conf\"\n);\nworkers = 3;";
    struct config *config = load_good(list);
    if (EXPECT(config != NULL) && EXPECT_INT(config->target_count, 4)) {
        EXPECT_STR(config->targets[0]->name, "a");
        EXPECT_STR(config->targets[0]->file, "conf.d/10-a.conf");
        EXPECT_INT(config->targets[0]->line, 2);
        EXPECT_STR(config->targets[3]->name, "d");
        EXPECT_INT(config->targets[3]->line, 2);
        EXPECT_INT(config->workers, 3);
    }
    config_unref(config);

    /* What is wrong is said at its own place, and what follows the pattern at its own. */
    write_file("conf.d/20-b.conf", "\n{ name = \"b\"; fall = 0; url = \"tcp://h:1\"; }");
    write_file("conf.d/15-again.conf", "{ name = \"a\"; url = \"tcp://h:1\"; }");
    config_unref(load_text("dependencies = (\n@include \"conf.d/*.conf\"\n);\nrise = 3;"));
    EXPECT_STR(told.data,
               "conf.d/15-again.conf:1: duplicate name 'a', first used at conf.d/10-a.conf:2\n"
               "conf.d/20-b.conf:2: 'fall' is 0, must be 1 .. 100\n" FILE_NAME
               ":4: unknown setting 'rise'\n");
    EXPECT_INT(unlink("conf.d/15-again.conf"), 0);
    write_file("conf.d/20-b.conf", "@include \"conf.d/2*.conf\"");
    config_unref(load_text(list));
    EXPECT_STR(told.data, "conf.d/20-b.conf:1: 'conf.d/20-b.conf' includes itself\n");

    /* Nothing there, not even the folder. */
    config = load_good("dependencies = ( { name = \"a\"; url = \"tcp://h:1\"; },\n"
                       "@include \"conf.d/*.none\"\n@include \"no.d/*.conf\"\n);");
    if (EXPECT(config != NULL))
        EXPECT_INT(config->target_count, 1);
    config_unref(config);
    /* A folder that cannot be looked into is a fault, not an empty one. */
    EXPECT_INT(symlink("loop", "loop"), 0);
    config_unref(load_text("workers = 3;\n@include \"loop/*.conf\"\nrise = 3;"));
    EXPECT_STR(told.data,
               FILE_NAME ":2: cannot read the folder of 'loop/*.conf': Too many levels of "
                         "symbolic links\n" FILE_NAME ":3: unknown setting 'rise'\n");
}

TEST(commas_in_lists)
{
    static const struct fault_case cases[] = {
        {"dependencies = ( , { name = \"a\"; url = \"tcp://h:1\"; } );", "1: syntax error"},
        {"dependencies = ( { name = \"a\"; url = \"tcp://h:1\"; },, );", "1: syntax error"},
        {"listen = [ \"127.0.0.1:0\" 1 ];", "1: syntax error"},
    };
    EXPECT_FAULTS(cases);
    struct config *config = load_good("listen = [ \"127.0.0.1:0\", \"[::1]:0\", ];\n"
                                      "defaults = { fall = 1; }\n"
                                      "dependencies = ( { name = \"a\"; url = \"tcp://h:1\"; }\n"
                                      "{ name = \"b\"; url = \"tcp://h:1\"; } # \",\" ,\n , );");
    EXPECT_INT(config->listen_count, 2);
    EXPECT_INT(config->target_count, 2);
    config_unref(config);
}

TEST(includes_have_an_end)
{
    for (int i = 0; i < 12; i++) {
        char name[32], text[64];
        snprintf(name, sizeof name, "n%d.conf", i);
        snprintf(text, sizeof text, "# %d\n@include \"n%d.conf\"\n", i, i + 1);
        write_file(name, text);
    }
    config_unref(load("n0.conf"));
    EXPECT_STR(told.data, "n9.conf:2: more than 10 files include one another\n");
    write_file("n3.conf", "@include \"n1.conf\"\n");
    config_unref(load("n0.conf"));
    EXPECT_STR(told.data, "n3.conf:1: 'n1.conf' includes itself\n");
}

TEST(what_libconfig_would_pass_over)
{
    static const struct fault_case cases[] = {
        {"workers = 1;\nworkers = 2;", "2: duplicate setting name"},
        {"workers = ;", "1: syntax error"},
        {"listen = [ \"a\", 1 ];", "1: mismatched element type in array"},
        /* integers beyond 32 bits would wrap, to 10 and to -1 here */
        {"workers = 4294967306;", "1: 'workers' is 4294967306, must be 1 .. 1024"},
        {"workers = 2147483648;", "1: 'workers' is 2147483648, must be 1 .. 1024"},
        {"workers = -4294967286;", "1: 'workers' is -4294967286, must be 1 .. 1024"},
        {"workers = 0xFFFFFFFF;", "1: 'workers' is 4294967295, must be 1 .. 1024"},
        {"workers = 0x7FFFFFFF;", "1: 'workers' is 2147483647, must be 1 .. 1024"},
        {"workers = 0X80000000;", "1: 'workers' is 2147483648, must be 1 .. 1024"},
        {"workers = 0x10000000A;", "1: 'workers' is 4294967306, must be 1 .. 1024"},
        {"workers = 99999999999999999999999;",
         "1: 'workers' is 9223372036854775807, must be 1 .. 1024"},
        {"workers = 4294967306L;", "1: 'workers' is 4294967306, must be 1 .. 1024"},
        {DEP("period = 4294967306;"), "2: 'period' is 4294967306s, must be 100ms .. 24h"},
        {"workers = 1.99999999999;",
         "1: 'workers' is 1.99999999999, must be a whole number 1 .. 1024"},
        {"workers = .99999999999;",
         "1: 'workers' is 0.99999999999, must be a whole number 1 .. 1024"},
        {"workers = 1e-99999999999;", "1: 'workers' is 0.0, must be a whole number 1 .. 1024"},
        {"workers = 1E9;", "1: 'workers' is 1000000000.0, must be a whole number 1 .. 1024"},
        {DEP("period = 1e400;"), "2: 'period' is inf, " DURATION_FORM},
        /* the rest would be cut off, or be all comment */
        {"name = \"a\";\n/* workers = 0;\n\n", "2: the comment that begins here does not end"},
        {"name = \"a;\nworkers = 0;\n\n", "1: the string that begins here does not end"},
        {"name = \"a\\", "1: the string that begins here does not end"},
        {"\nname = \"a\\x00b\";", "2: a string must not contain NUL"},
        {"\nname = \"a\\X00b\";", "2: a string must not contain NUL"},
        {"name = \"\n\\x00b", "1: the string that begins here does not end\n"
                              "2: a string must not contain NUL"},
    };
    struct config *config;
    EXPECT_FAULTS(cases);
    write_bytes(FILE_NAME, "\nname = \"a\0b\";\nworkers = 0;\0", 29);
    config_unref(load(FILE_NAME));
    EXPECT_STR(told.data, FILE_NAME ":2: a NUL byte: this is not a text\n" FILE_NAME
                                    ":3: 'workers' is 0, must be 1 .. 1024\n");
    /* and what is no such number */
    config = load_good("workers = 0x0000000020; name = \"4294967306 0xFFFFFFFF // /* # @\\\\\";\n"
                       "# 4294967306\n/* \"4294967306 */ shutdown_delay = 0010L;");
    EXPECT_INT(config->workers, 32);
    EXPECT_STR(config->name, "4294967306 0xFFFFFFFF // /* # @\\");
    EXPECT_INT(config->shutdown_delay_ms, 10000);
    config_unref(config);
}

TEST(deep_nesting_is_a_fault)
{
    struct strbuf text;
    strbuf_init(&text, 1 << 20);
    strbuf_adds(&text, "name = ");
    for (int i = 0; i < 100000; i++)
        strbuf_addc(&text, '(');
    config_unref(load_text(text.data));
    EXPECT_STR(told.data, FILE_NAME ":1: memory exhausted\n");
    strbuf_done(&text);
}

TEST(every_fault_in_one_run)
{
    static const struct fault_case cases[] = {
        {"nam = \"x\";\nworkers = 0;\nlisten = \"x\";\n"
         "defaults = { fall = 0; };\ndependencies = (\n"
         "{ name = \"a\"; url = \"htp://h\"; period = 1.5; },\n"
         "{ name = \"a\"; url = \"http://h\"; timeout = \"60s\"; frob = 1; } );\nx = 1;",
         "1: unknown setting 'nam', did you mean 'name'?\n"
         "2: 'workers' is 0, must be 1 .. 1024\n"
         "3: 'listen' is \"x\": " LISTEN_FORM "\n"
         "4: 'fall' is 0, must be 1 .. 100\n"
         "6: unknown scheme 'htp', did you mean 'http'?\n"
         "6: 'period' is 1.5, " DURATION_FORM "\n"
         "7: unknown setting 'frob'\n"
         "7: duplicate name 'a', first used at health.conf:6\n"
         "7: 'timeout' is 1m, must be less than 'period' (10s)\n"
         "8: unknown setting 'x'"},
    };
    EXPECT_FAULTS(cases);
}

TEST(compares_targets)
{
    static const struct {
        const char *settings;
        enum config_change change;
        const char *names;
    } cases[] = {
        {"", CONFIG_CHANGE_NONE, ""},
        {"fall = 3; period = 10; verify = true; method = \"GET\"; even = 2;", CONFIG_CHANGE_NONE,
         ""},
        {"period = 11; max_age = \"33s\";", CONFIG_CHANGE_JUDGED, "period"},
        {"timeout = 2;", CONFIG_CHANGE_JUDGED, "timeout"},
        {"period = 20;", CONFIG_CHANGE_JUDGED, "period"},
        {"period = \"500ms\";", CONFIG_CHANGE_JUDGED, "period"},
        {"timeout = 3; confirm = 1; max_age = 33;", CONFIG_CHANGE_NONE, ""},
        {"fall = 4;", CONFIG_CHANGE_JUDGED, "fall"},
        {"rise = 4;", CONFIG_CHANGE_JUDGED, "rise"},
        {"confirm = 2;", CONFIG_CHANGE_JUDGED, "confirm"},
        {"importance = \"info\";", CONFIG_CHANGE_JUDGED, "importance"},
        {"max_age = 60;", CONFIG_CHANGE_JUDGED, "max_age"},
        {"even = 4;", CONFIG_CHANGE_JUDGED, "even"},
        {"method = \"HEAD\";", CONFIG_CHANGE_ASKED, "method"},
        {"headers = [ \"A: b\" ];", CONFIG_CHANGE_ASKED, "headers"},
        {"user = \"u\";", CONFIG_CHANGE_ASKED, "user"},
        {"ca_file = \"x\";", CONFIG_CHANGE_ASKED, "ca_file"},
        {"cert_file = \"x\";", CONFIG_CHANGE_ASKED, "cert_file"},
        {"key_file = \"x\";", CONFIG_CHANGE_ASKED, "key_file"},
        {"server_name = \"x\";", CONFIG_CHANGE_ASKED, "server_name"},
        {"verify = false;", CONFIG_CHANGE_ASKED, "verify"},
        {"cert_warn = 7;", CONFIG_CHANGE_ASKED, "cert_warn"},
        {"cert_fail = 7;", CONFIG_CHANGE_ASKED, "cert_fail"},
        {"reuse = true;", CONFIG_CHANGE_ASKED, "reuse"},
        {"time_warn = 1;", CONFIG_CHANGE_JUDGED, "time_warn"},
        {"time_fail = 1;", CONFIG_CHANGE_JUDGED, "time_fail"},
        {"password_env = \"PW\";", CONFIG_CHANGE_ASKED, "password_env, password"},
        {"fall = 4; verify = false;", CONFIG_CHANGE_ASKED, "fall, verify"},
    };
    struct strbuf names;
    struct config *base = load_good(URL("https://h"));
    const struct target_conf *a = base->targets[0];
    strbuf_init(&names, 1000);
    setenv("PW", SECRET, 1);
    for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++) {
        char text[256];
        snprintf(text, sizeof text,
                 "\n\ndependencies = ( { name = \"a\"; url = \"https://h\"; %s } );",
                 cases[i].settings);
        struct config *other = load_good(text);
        strbuf_clear(&names);
        EXPECT_INT(config_compare_targets(a, other->targets[0], &names), cases[i].change);
        EXPECT_STR(names.data, cases[i].names);
        config_unref(other);
    }
    /* A written time that stays is not named, even if it looks adapted on one side. */
    struct config *fast = load_good(DEP("period = \"500ms\"; timeout = \"400ms\";"));
    struct config *slow = load_good(DEP("period = \"700ms\"; timeout = \"400ms\";"));
    strbuf_clear(&names);
    EXPECT_INT(config_compare_targets(fast->targets[0], slow->targets[0], &names),
               CONFIG_CHANGE_JUDGED);
    EXPECT_STR(names.data, "period");
    config_unref(fast);
    config_unref(slow);

    struct config *other = load_good(URL("tcp://h:1"));
    strbuf_clear(&names);
    EXPECT_INT(config_compare_targets(a, other->targets[0], &names), CONFIG_CHANGE_ASKED);
    EXPECT_HAS(names.data, "url");
    config_unref(other);
    config_unref(base);

    /* the same names, another secret in the file */
    write_file("pw", SECRET "\n");
    base = load_good(DEP("password_file = \"pw\";"));
    write_file("pw", SECRET "!\n");
    other = load_good(DEP("password_file = \"pw\";"));
    strbuf_clear(&names);
    EXPECT_INT(config_compare_targets(base->targets[0], other->targets[0], &names),
               CONFIG_CHANGE_ASKED);
    EXPECT_STR(names.data, "password");
    config_unref(other);
    config_unref(base);
    strbuf_done(&names);
}

TEST(describes_every_setting)
{
    static const char *const parts[] = {
        "[top level]\nname\ta string of 1 .. 128 bytes\tthe host name\t",
        "\nlisten\ta string, a group, or a list of them\t127.0.0.1:8000\t",
        "\n\n[listen, as a group]\naddress\ta string of 1 .. 300 bytes\trequired\t",
        "\nserve\ta string or a list of strings\tall\t",
        "\nworkers\ta whole number 1 .. 1024\tthe top level's\t",
        "\nworkers\ta whole number 1 .. 1024\t32\t",
        "\nshutdown_delay\ta duration 0s .. 1h\t0\t",
        "\n\n[dependency]\nname\ta string of 1 .. 64 bytes\trequired\t",
        "\nperiod\ta duration 100ms .. 24h\t10s\t",
        "\ntimeout\ta duration 10ms .. 24h\t3s, or 80 % of a shorter period\t",
        "\nimportance\tone of \"required\", \"optional\", \"info\"\trequired\t",
        "\n\n[dependency, with a scheme that logs in]\nuser\t",
        "\n\n[dependency, with a scheme that speaks TLS]\nca_file\t",
        "\n\n[http, https]\nmethod\ta string of 1 .. 16 bytes\tGET\t",
    };
    struct strbuf out;
    strbuf_init(&out, 65536);
    config_describe(&out);
    EXPECT_INT(strbuf_error(&out), 0);
    for (size_t i = 0; i < sizeof parts / sizeof parts[0]; i++)
        EXPECT_HAS(out.data, parts[i]);
    EXPECT(strstr(out.data, "[http") == strstr(out.data, "[http, https]"));
    EXPECT(strstr(strstr(out.data, "[http") + 1, "[") == NULL);
    strbuf_done(&out);
    EXPECT_STR(importance_token(IMPORTANCE_REQUIRED), "required");
    EXPECT_STR(importance_token(IMPORTANCE_OPTIONAL), "optional");
    EXPECT_STR(importance_token(IMPORTANCE_INFO), "info");
}

TEST(many_dependencies)
{
    enum {
        COUNT = 2000
    };
    struct strbuf text;
    strbuf_init(&text, 1 << 20);
    strbuf_adds(&text, "dependencies = (\n");
    for (int i = 0; i < COUNT; i++) /* neither in order nor in reverse */
        strbuf_addf(&text, "%s{ name = \"d%d\"; url = \"tcp://h:1\"; }\n", i > 0 ? "," : "",
                    i * 7 % COUNT);
    strbuf_adds(&text, ");");
    struct config *config = load_good(text.data);
    EXPECT_INT(config->target_count, COUNT);
    for (int i = 0; i < COUNT; i++) {
        char name[16];
        snprintf(name, sizeof name, "d%d", i * 7 % COUNT);
        EXPECT(config_find_target(config, name) == config->targets[i]);
        EXPECT_INT(config->targets[i]->line, i + 2);
    }
    config_unref(config);
    strbuf_done(&text);
}

int main(void)
{
    char dir[] = "/tmp/healthsvc-test-XXXXXX";
    char command[64];
    if (mkdtemp(dir) == NULL || chdir(dir) != 0) {
        perror("mkdtemp");
        return 99;
    }
    strbuf_init(&told, 1 << 20);
    RUN(top_level_faults);
    RUN(address_faults);
    RUN(dependency_faults);
    RUN(url_faults);
    RUN(a_url_is_at_most_2048_bytes);
    RUN(a_host_is_at_most_253_bytes);
    RUN(defaults_faults);
    RUN(times_hold_together);
    RUN(secret_faults);
    RUN(reads_secrets);
    RUN(who_is_told_details);
    RUN(an_empty_file_is_a_configuration);
    RUN(reads_the_top_level);
    RUN(reads_urls);
    RUN(reads_urls_of_unix_sockets);
    RUN(refuses_urls_of_unix_sockets);
    RUN(reuse);
    RUN(limits_hold_together);
    RUN(reads_dependencies);
    RUN(server_names);
    RUN(verifies_unless_told_not_to);
    RUN(prepares_what_has_no_fault_and_releases_everything);
    RUN(file_names_are_relative_to_the_configuration);
    RUN(files_that_cannot_be_read);
    RUN(files_that_are_too_large);
    RUN(includes);
    RUN(includes_by_pattern);
    RUN(commas_in_lists);
    RUN(includes_have_an_end);
    RUN(what_libconfig_would_pass_over);
    RUN(deep_nesting_is_a_fault);
    RUN(every_fault_in_one_run);
    RUN(compares_targets);
    RUN(describes_every_setting);
    RUN(many_dependencies);
    strbuf_done(&told);
    snprintf(command, sizeof command, "rm -r %s", dir);
    if (chdir("/") != 0 || system(command) != 0)
        fprintf(stderr, "cannot remove %s\n", dir);
    return testing_end();
}
