/* units: every form that is accepted, and every near miss that is not. */
#include <healthsvc/units.h>

#include <errno.h>
#include <netinet/in.h>
#include <sys/un.h>

#include <healthsvc/strbuf.h>

#include "../testing.h"

#define COUNT(table) (sizeof(table) / sizeof(table)[0])
#define UNTOUCHED INT64_C(-77)

struct number_case {
    const char *text;
    int err;
    int64_t value;
};

TEST(parses_integers)
{
    static const struct number_case cases[] = {
        {"0", 0, 0},
        {"7", 0, 7},
        {"+7", 0, 7},
        {"-7", 0, -7},
        {"007", 0, 7},
        {"9223372036854775807", 0, INT64_MAX},
        {"-9223372036854775808", 0, INT64_MIN},
        {"9223372036854775808", -ERANGE, 0},
        {"-9223372036854775809", -ERANGE, 0},
        {"18446744073709551616", -ERANGE, 0},
        {"99999999999999999999999999", -ERANGE, 0},
        {"", -EINVAL, 0},
        {"+", -EINVAL, 0},
        {"-", -EINVAL, 0},
        {"--7", -EINVAL, 0},
        {" 7", -EINVAL, 0},
        {"7 ", -EINVAL, 0},
        {"7\n", -EINVAL, 0},
        {"0x10", -EINVAL, 0},
        {"1e3", -EINVAL, 0},
        {"1.0", -EINVAL, 0},
        {"seven", -EINVAL, 0},
        /* not a number at all, however long its digits */
        {"99999999999999999999999999x", -EINVAL, 0},
    };
    for (size_t i = 0; i < COUNT(cases); i++) {
        int64_t value = UNTOUCHED;
        int err = units_parse_int(cases[i].text, &value);
        if (!EXPECT_INT(err, cases[i].err) ||
            !EXPECT_INT(value, cases[i].err == 0 ? cases[i].value : UNTOUCHED))
            printf("# for \"%s\"\n", cases[i].text);
    }
}

TEST(parses_decimals)
{
    static const struct {
        const char *text;
        int err;
        double value;
    } cases[] = {
        {"0", 0, 0},
        {"-7", 0, -7},
        {"1.5", 0, 1.5},
        {".5", 0, 0.5},
        {"5.", 0, 5},
        {"-0.25", 0, -0.25},
        {"2.5e-06", 0, 2.5e-06},
        {"1E3", 0, 1000},
        {"1e+3", 0, 1000},
        {"1e-999", 0, 0},
        {"9007199254740992", 0, 9007199254740992},
        {"1e309", -ERANGE, 0},
        {"-1e309", -ERANGE, 0},
        {"1000000000000000000000000000000000000000000000000000000000000000", -ERANGE, 0},
        {"", -EINVAL, 0},
        {"-", -EINVAL, 0},
        {".", -EINVAL, 0},
        {"-.", -EINVAL, 0},
        {"+1", -EINVAL, 0},
        {"--1", -EINVAL, 0},
        {" 1", -EINVAL, 0},
        {"1 ", -EINVAL, 0},
        {"1.2.3", -EINVAL, 0},
        {"1,5", -EINVAL, 0},
        {"1e", -EINVAL, 0},
        {"1e+", -EINVAL, 0},
        {"e5", -EINVAL, 0},
        {"0x10", -EINVAL, 0},
        {"inf", -EINVAL, 0},
        {"nan", -EINVAL, 0},
    };
    for (size_t i = 0; i < COUNT(cases); i++) {
        double value = -77;
        int err = units_parse_decimal(cases[i].text, strlen(cases[i].text), &value);
        if (!EXPECT_INT(err, cases[i].err) ||
            !EXPECT(value == (cases[i].err == 0 ? cases[i].value : -77)))
            printf("# for \"%s\"\n", cases[i].text);
    }
    double value = -77;
    EXPECT_INT(units_parse_decimal("1.5s", 3, &value), 0);
    EXPECT(value == 1.5);
}

TEST(formats_decimals_in_the_fewest_digits)
{
    static const struct {
        double value;
        const char *text;
    } cases[] = {
        {0, "0"},
        {-1.5, "-1.5"},
        {0.1, "0.1"},
        {0.019 / 1000, "1.9e-05"},
        {270552530944, "270552530944"},
        {0.1 + 0.2, "0.30000000000000004"},
        {9007199254740991, "9007199254740991"},
        {1e300, "1e+300"},
        {1.7976931348623157e308, "1.7976931348623157e+308"},
        {-1.7976931348623157e308, "-1.7976931348623157e+308"},
        {4.9406564584124654e-324, "4.94065645841247e-324"},
    };
    struct strbuf b;
    strbuf_init(&b, 100);
    for (size_t i = 0; i < COUNT(cases); i++) {
        strbuf_clear(&b);
        units_format_decimal(&b, cases[i].value);
        EXPECT_STR(b.data, cases[i].text);
    }
    strbuf_done(&b);
}

TEST(parses_digits_by_length)
{
    uint64_t value = 77;
    EXPECT_INT(units_parse_digits("8000/health", 4, &value), 0);
    EXPECT(value == 8000);
    EXPECT_INT(units_parse_digits("18446744073709551615", 20, &value), 0);
    EXPECT(value == UINT64_MAX);
    value = 77;
    EXPECT_INT(units_parse_digits("18446744073709551616", 20, &value), -ERANGE);
    EXPECT_INT(units_parse_digits("8000/health", 5, &value), -EINVAL);
    EXPECT_INT(units_parse_digits("8000", 0, &value), -EINVAL);
    EXPECT_INT(units_parse_digits("+8", 2, &value), -EINVAL);
    EXPECT(value == 77);
}

TEST(parses_durations)
{
    static const struct number_case cases[] = {
        {"250ms", 0, 250},
        {"0s", 0, 0},
        {"5s", 0, 5000},
        {"1m", 0, 60000},
        {"2h", 0, 7200000},
        {"1d", 0, 86400000},
        {"9223372036854775807ms", 0, INT64_MAX},
        {"9223372036854775s", 0, INT64_C(9223372036854775000)},
        {"9223372036854776s", -ERANGE, 0},
        {"106751991168d", -ERANGE, 0},
        {"99999999999999999999999s", -ERANGE, 0},
        {"5", -EINVAL, 0},
        {"", -EINVAL, 0},
        {"s", -EINVAL, 0},
        {"5 s", -EINVAL, 0},
        {" 5s", -EINVAL, 0},
        {"5s ", -EINVAL, 0},
        {"-5s", -EINVAL, 0},
        {"+5s", -EINVAL, 0},
        {"1.5s", -EINVAL, 0},
        {"5S", -EINVAL, 0},
        {"5sec", -EINVAL, 0},
        {"1m30s", -EINVAL, 0},
        {"5w", -EINVAL, 0},
    };
    for (size_t i = 0; i < COUNT(cases); i++) {
        int64_t value = UNTOUCHED;
        int err = units_parse_duration_ms(cases[i].text, &value);
        if (!EXPECT_INT(err, cases[i].err) ||
            !EXPECT_INT(value, cases[i].err == 0 ? cases[i].value : UNTOUCHED))
            printf("# for \"%s\"\n", cases[i].text);
    }
}

TEST(formats_durations)
{
    static const struct {
        int64_t ms;
        const char *text;
    } cases[] = {
        {0, "0s"},
        {1, "1ms"},
        {250, "250ms"},
        {1000, "1s"},
        {1500, "1500ms"},
        {5000, "5s"},
        {60000, "1m"},
        {90000, "90s"},
        {3600000, "1h"},
        {86400000, "24h"},
        {172800000, "2d"},
        {-5000, "-5s"},
        {INT64_MAX, "9223372036854775807ms"},
    };
    for (size_t i = 0; i < COUNT(cases); i++) {
        struct strbuf b;
        int64_t back = 0;
        strbuf_init(&b, 64);
        units_format_duration(&b, cases[i].ms);
        EXPECT_STR(b.data, cases[i].text);
        if (cases[i].ms >= 0) {
            EXPECT_INT(units_parse_duration_ms(b.data, &back), 0);
            EXPECT_INT(back, cases[i].ms);
        }
        strbuf_done(&b);
    }
}

TEST(reads_addresses_and_writes_them_back)
{
    static const struct {
        const char *text;
        uint16_t default_port;
        const char *back; /* NULL: refused */
    } cases[] = {
        {"127.0.0.1:8000", 0, "127.0.0.1:8000"},
        {"0.0.0.0:0", 0, "0.0.0.0:0"},
        {"255.255.255.255:65535", 0, "255.255.255.255:65535"},
        {"10.0.0.2", 53, "10.0.0.2:53"},
        {"10.0.0.2:5353", 53, "10.0.0.2:5353"},
        {"[::1]:8000", 0, "[::1]:8000"},
        {"[::]:0", 0, "[::]:0"},
        {"[2001:db8:0:0::53]", 53, "[2001:db8::53]:53"},
        {"[::ffff:1.2.3.4]:1", 0, "[::ffff:1.2.3.4]:1"},
        {"10.0.0.2", 0, NULL},
        {"[::1]", 0, NULL},
        {"", 53, NULL},
        {":8000", 0, NULL},
        {"8000", 0, NULL},
        {"+8000", 0, NULL},
        {"127.0.0.1:", 0, NULL},
        {"127.0.0.1:", 53, NULL},
        {"127.0.0.1:65536", 0, NULL},
        {"127.0.0.1:99999999999999999999999", 0, NULL},
        {"127.0.0.1:-1", 0, NULL},
        {"127.0.0.1:80s", 0, NULL},
        {"127.0.0.1:8000 ", 0, NULL},
        {" 127.0.0.1:8000", 0, NULL},
        {"127.0.0.01:8000", 0, NULL},
        {"127.0.0.256:8000", 0, NULL},
        {"127.1:8000", 0, NULL},
        {"0x7f.0.0.1:8000", 0, NULL},
        {"localhost:8000", 0, NULL},
        {"*:8000", 0, NULL},
        {"::1:8000", 0, NULL},
        {"::1", 53, NULL},
        {"[::1", 53, NULL},
        {"[::1]x", 53, NULL},
        {"[::1]8000", 53, NULL},
        {"[127.0.0.1]:8000", 0, NULL},
        {"[fe80::1%eth0]:8000", 0, NULL},
        {"[]:8000", 0, NULL},
        {"[1111:2222:3333:4444:5555:6666:7777:8888:9999:aaaa:bbbb:cccc]:1", 0, NULL},
    };
    for (size_t i = 0; i < COUNT(cases); i++) {
        struct sockaddr_storage addr = {.ss_family = AF_UNIX};
        socklen_t len = 7;
        struct strbuf b;
        strbuf_init(&b, 64);
        int err = units_parse_address(cases[i].text, cases[i].default_port, &addr, &len);
        if (!EXPECT((err == 0) == (cases[i].back != NULL)))
            printf("# for \"%s\"\n", cases[i].text);
        if (err == 0) {
            units_format_address(&b, (struct sockaddr *)&addr);
            EXPECT_STR(b.data, cases[i].back);
            EXPECT_INT(len, addr.ss_family == AF_INET6 ? sizeof(struct sockaddr_in6)
                                                       : sizeof(struct sockaddr_in));
        } else {
            EXPECT(err == -EINVAL || err == -ERANGE);
            EXPECT_INT(addr.ss_family, AF_UNIX);
            EXPECT_INT(len, 7);
        }
        strbuf_done(&b);
    }
}

TEST(formats_unix_sockets_and_what_is_no_address)
{
    struct sockaddr_storage addr = {.ss_family = AF_UNSPEC};
    struct sockaddr_un *un = (struct sockaddr_un *)&addr;
    struct strbuf b;
    strbuf_init(&b, 200);
    units_format_address(&b, (struct sockaddr *)&addr);
    EXPECT_STR(b.data, "?");
    EXPECT_INT(units_port(&addr), 0);
    un->sun_family = AF_UNIX;
    memcpy(un->sun_path, "/run/a\x1b", 8);
    strbuf_clear(&b);
    units_format_address(&b, (struct sockaddr *)&addr);
    EXPECT_STR(b.data, "unix:/run/a.");
    EXPECT_INT(units_port(&addr), 0);
    memset(un->sun_path, 0, sizeof un->sun_path);
    memcpy(un->sun_path + 1, "name", 4);
    strbuf_clear(&b);
    units_format_address(&b, (struct sockaddr *)&addr);
    EXPECT_STR(b.data, "unix:@name");
    memset(un->sun_path, 'a', sizeof un->sun_path); /* without an end */
    strbuf_clear(&b);
    units_format_address(&b, (struct sockaddr *)&addr);
    EXPECT_INT(b.len, 5 + sizeof un->sun_path);
    strbuf_done(&b);
}

#define FORTY "abcdefghijabcdefghijabcdefghijabcdefghij"

TEST(finds_the_nearest_word)
{
    static const char *const long_words[] = {FORTY "k", FORTY, "period", NULL};
    static const char *const words[] = {"period", "timeout", "fall", "rise", "ca_file", NULL};
    static const char *const none[] = {NULL};
    static const char *const near[] = {"cat", "bat", "hat", NULL};
    EXPECT_STR(units_nearest_word("perod", words), "period");
    EXPECT_STR(units_nearest_word("preiod", words), "period"); /* two letters swapped: one edit */
    EXPECT_STR(units_nearest_word("periods", words), "period");
    EXPECT_STR(units_nearest_word("epriods", words), "period"); /* two edits */
    EXPECT_STR(units_nearest_word("perxyod", words), "period"); /* two edits: x for i, y */
    EXPECT_STR(units_nearest_word("prxyod", words), NULL);      /* three */
    EXPECT_STR(units_nearest_word("period", words), "period");
    EXPECT_STR(units_nearest_word("Rise", words), "rise");
    EXPECT_STR(units_nearest_word("cafile", words), "ca_file");
    EXPECT_STR(units_nearest_word("database", words), NULL);
    EXPECT_STR(units_nearest_word("", words), NULL);
    EXPECT_STR(units_nearest_word("x", words), NULL);
    EXPECT_STR(units_nearest_word("period", none), NULL);
    EXPECT_STR(units_nearest_word("rat", near), "cat"); /* the first of equals */
    EXPECT_STR(units_nearest_word("hatt", near), "hat");
    EXPECT_STR(units_nearest_word("timeouttimeouttimeouttimeouttimeouttimeout", words), NULL);
    /* only words of at most 40 bytes are compared */
    EXPECT_STR(units_nearest_word(FORTY, long_words), FORTY);
    EXPECT_STR(units_nearest_word("perod", long_words), "period");
}

TEST(hashes_alike_everywhere)
{
    /* The published vectors of FNV-1a, 64 bits. */
    EXPECT(units_hash64("") == UINT64_C(0xcbf29ce484222325));
    EXPECT(units_hash64("a") == UINT64_C(0xaf63dc4c8601ec8c));
    EXPECT(units_hash64("foobar") == UINT64_C(0x85944171f73967e8));
    EXPECT(units_hash64("\xff") != units_hash64("\x7f"));
}

TEST(networks)
{
    static const struct {
        const char *text;
        int err;
        const char *inside, *outside;
    } cases[] = {
        {"10.0.0.0/8", 0, "10.255.0.1:0", "11.0.0.0:0"},
        {"192.168.4.0/23", 0, "192.168.5.255:0", "192.168.6.0:0"},
        {"127.0.0.1", 0, "127.0.0.1:0", "127.0.0.2:0"},
        {"127.0.0.1/32", 0, "127.0.0.1:9", "[::1]:0"},
        {"0.0.0.0/0", 0, "255.1.2.3:0", "[::]:0"},
        {"fd00::/8", 0, "[fdff::1]:0", "[fe00::]:0"},
        {"fe80::/10", 0, "[febf::]:0", "[fec0::]:0"},
        {"::1", 0, "[::1]:0", "[::2]:0"},
        {"::/0", 0, "[ffff::]:0", "0.0.0.0:0"},
        {"10.0.0.5/8", -EINVAL, NULL, NULL},
        {"fd00::1/64", -EINVAL, NULL, NULL},
        {"10.0.0.0/33", -ERANGE, NULL, NULL},
        {"::/129", -ERANGE, NULL, NULL},
        {"10.0.0.0/", -EINVAL, NULL, NULL},
        {"10.0.0.0/8 ", -EINVAL, NULL, NULL},
        {"10.0.0/8", -EINVAL, NULL, NULL},
        {"/8", -EINVAL, NULL, NULL},
        {"", -EINVAL, NULL, NULL},
        {"[::1]/128", -EINVAL, NULL, NULL},
        {"localhost", -EINVAL, NULL, NULL},
        {"0000:0000:0000:0000:0000:0000:0000:0000:0000:0000/8", -EINVAL, NULL, NULL},
    };
    for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++) {
        struct units_network n;
        struct sockaddr_storage addr;
        socklen_t len;
        printf("# %s\n", cases[i].text);
        if (!EXPECT_INT(units_parse_network(cases[i].text, &n), cases[i].err) || cases[i].err != 0)
            continue;
        EXPECT_INT(units_parse_address(cases[i].inside, 0, &addr, &len), 0);
        EXPECT(units_network_has(&n, (const struct sockaddr *)&addr));
        EXPECT_INT(units_parse_address(cases[i].outside, 0, &addr, &len), 0);
        EXPECT(!units_network_has(&n, (const struct sockaddr *)&addr));
        addr = (struct sockaddr_storage){.ss_family = AF_UNIX};
        EXPECT(!units_network_has(&n, (const struct sockaddr *)&addr));
    }
}

int main(void)
{
    RUN(parses_integers);
    RUN(parses_decimals);
    RUN(formats_decimals_in_the_fewest_digits);
    RUN(parses_digits_by_length);
    RUN(parses_durations);
    RUN(formats_durations);
    RUN(reads_addresses_and_writes_them_back);
    RUN(formats_unix_sockets_and_what_is_no_address);
    RUN(finds_the_nearest_word);
    RUN(hashes_alike_everywhere);
    RUN(networks);
    return testing_end();
}
