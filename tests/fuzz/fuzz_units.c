/*
 * Numbers, durations and addresses. An input is a text that all readers of units.h read; what each
 * takes is held against a plain reading of its own here, and must come back from its writer. Eight
 * bytes of it are also numbers that the writers write.
 */
#include "fuzz.h"

#include <healthsvc/strbuf.h>
#include <healthsvc/units.h>

#include <arpa/inet.h>
#include <ctype.h>
#include <errno.h>
#include <math.h>
#include <netinet/in.h>
#include <stdbool.h>

/* ---- the plain readings ---- */

/* Digits alone, at most 30 of them that count; -1: not of that form. */
static __int128 read_digits(const char *text, size_t len)
{
    __int128 value = 0;
    if (len == 0)
        return -1;
    for (size_t i = 0; i < len; i++) {
        if (!isdigit((unsigned char)text[i]))
            return -1;
        if (value < (__int128)1 << 90)
            value = value * 10 + (text[i] - '0');
    }
    return value;
}

static void check_int(const char *text)
{
    bool sign = *text == '-' || *text == '+';
    int64_t value = 77;
    int r = units_parse_int(text, &value);
    __int128 want = read_digits(text + sign, strlen(text + sign));
    if (want < 0) {
        HOLDS(r == -EINVAL && value == 77);
        return;
    }
    want = *text == '-' ? -want : want;
    if (want < INT64_MIN || want > INT64_MAX)
        HOLDS(r == -ERANGE && value == 77);
    else
        HOLDS(r == 0 && value == (int64_t)want);
}

static int64_t factor_of(const char *unit)
{
    static const struct {
        const char *unit;
        int64_t ms;
    } factors[] = {{"ms", 1}, {"s", 1000}, {"m", 60000}, {"h", 3600000}, {"d", 86400000}};
    for (size_t i = 0; i < sizeof factors / sizeof factors[0]; i++) {
        if (strcmp(unit, factors[i].unit) == 0)
            return factors[i].ms;
    }
    return 0;
}

static void check_duration_back(int64_t ms)
{
    struct strbuf b;
    int64_t back = -1;
    strbuf_init(&b, 64);
    units_format_duration(&b, ms);
    HOLDS(strbuf_error(&b) == 0 && units_parse_duration_ms(b.data, &back) == 0 && back == ms);
    strbuf_done(&b);
}

static void check_duration(const char *text)
{
    int64_t ms = 77, factor;
    size_t digits = 0;
    while (isdigit((unsigned char)text[digits]))
        digits++;
    int r = units_parse_duration_ms(text, &ms);
    factor = factor_of(text + digits);
    if (digits == 0 || factor == 0) {
        HOLDS(r == -EINVAL && ms == 77);
        return;
    }
    __int128 want = read_digits(text, digits) * factor;
    if (want > INT64_MAX) {
        HOLDS(r == -ERANGE && ms == 77);
        return;
    }
    HOLDS(r == 0 && ms == (int64_t)want);
    check_duration_back(ms);
}

/* "-1.5" "2.5e-06" ".5": strtod() takes more (blanks, '+', hexadecimal, "inf"). */
static bool is_decimal(const char *text)
{
    const char *digits = "0123456789";
    text += *text == '-';
    size_t whole = strspn(text, digits), fraction = 0;
    text += whole;
    if (*text == '.') {
        fraction = strspn(text + 1, digits);
        text += 1 + fraction;
    }
    if (*text == 'e' || *text == 'E') {
        text += 1 + (text[1] == '-' || text[1] == '+');
        size_t exponent = strspn(text, digits);
        if (exponent == 0)
            return false;
        text += exponent;
    }
    return *text == '\0' && whole + fraction > 0;
}

static void check_decimal_back(double value)
{
    struct strbuf b;
    double back = NAN;
    strbuf_init(&b, 64);
    units_format_decimal(&b, value);
    HOLDS(strbuf_error(&b) == 0 && units_parse_decimal(b.data, b.len, &back) == 0);
    HOLDS(back == value);
    strbuf_done(&b);
}

static void check_decimal(const char *text, size_t len)
{
    double value = 77;
    int r = units_parse_decimal(text, len, &value);
    if (strlen(text) != len || !is_decimal(text)) {
        HOLDS(r == -EINVAL && value == 77);
        return;
    }
    double want = strtod(text, NULL);
    if (len > 63 || !isfinite(want)) { /* longer is no number that anybody writes */
        HOLDS(r == -ERANGE && value == 77);
        return;
    }
    HOLDS(r == 0 && value == want);
    check_decimal_back(value);
}

/* ---- addresses ---- */

static void check_address(const char *text, uint16_t default_port)
{
    struct sockaddr_storage addr, back;
    socklen_t len = 0, back_len = 0;
    struct strbuf b;
    int r = units_parse_address(text, default_port, &addr, &len);
    if (r != 0) {
        HOLDS(r == -EINVAL || r == -ERANGE);
        return;
    }
    strbuf_init(&b, 128);
    units_format_address(&b, (struct sockaddr *)&addr);
    HOLDS(units_parse_address(b.data, 0, &back, &back_len) == 0);
    HOLDS(back_len == len && memcmp(&addr, &back, sizeof addr) == 0);
    const char *colon = strrchr(b.data, ':');
    HOLDS(read_digits(colon + 1, strlen(colon + 1)) == units_port(&addr));
    HOLDS(text[0] == '[' ? addr.ss_family == AF_INET6 : addr.ss_family == AF_INET);
    strbuf_done(&b);
}

/* Whether the network of `text` has an address that differs from its first in bit `i`. */
static bool has_changed_bit(const struct units_network *n, unsigned i)
{
    struct sockaddr_in in = {.sin_family = AF_INET};
    struct sockaddr_in6 in6 = {.sin6_family = AF_INET6};
    unsigned char bytes[16];
    memcpy(bytes, n->prefix, sizeof bytes);
    if (i < 128)
        bytes[i / 8] ^= (unsigned char)(0x80 >> i % 8);
    memcpy(&in.sin_addr, bytes, 4);
    memcpy(&in6.sin6_addr, bytes, 16);
    return units_network_has(n, n->family == AF_INET ? (struct sockaddr *)&in
                                                     : (struct sockaddr *)&in6);
}

static void check_network(const char *text)
{
    struct units_network n;
    int r = units_parse_network(text, &n);
    const char *slash = strchr(text, '/');
    unsigned bits = strchr(text, ':') != NULL ? 128 : 32;
    if (r != 0) {
        HOLDS(r == -EINVAL || r == -ERANGE);
        return;
    }
    HOLDS(n.family == (bits == 128 ? AF_INET6 : AF_INET));
    HOLDS(n.prefix_bits == (slash != NULL ? read_digits(slash + 1, strlen(slash + 1)) : bits));
    HOLDS(has_changed_bit(&n, 128));
    for (unsigned i = 0; i < bits; i++)
        HOLDS(has_changed_bit(&n, i) == (i >= n.prefix_bits));
}

static void check_word(const char *text)
{
    static const char *const words[] = {"period", "timeout", "url", "ab", "dependencies", NULL};
    const char *nearest = units_nearest_word(text, words);
    for (size_t i = 0; words[i] != NULL; i++)
        HOLDS(strcmp(text, words[i]) != 0 || nearest == words[i]);
    if (nearest == NULL)
        return;
    size_t a = strlen(text), b = strlen(nearest), same = 0;
    HOLDS(a <= b + 2 && b <= a + 2);
    for (; *text != '\0'; text++)
        same += strchr(nearest, *text) != NULL;
    HOLDS(same + 2 >= a); /* two edits bring in two letters at most */
}

void fuzz_units(const struct fuzz_target *target, const uint8_t *data, size_t size)
{
    char *text = fuzz_text(data, size);
    (void)target;
    check_int(text);
    check_duration(text);
    check_decimal(text, size);
    check_address(text, 0);
    check_address(text, 80);
    check_network(text);
    check_word(text);
    if (size >= 8) {
        int64_t number;
        double decimal;
        memcpy(&number, data, sizeof number);
        memcpy(&decimal, data, sizeof decimal);
        check_duration_back(number < 0 ? -(number + 1) : number);
        if (isfinite(decimal))
            check_decimal_back(decimal);
    }
    free(text);
}
