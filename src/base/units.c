/*
 * units.c: every number is read digit by digit with its limit checked before it can overflow:
 * strtol and its kin take leading spaces, other bases and locales, which a configuration must not.
 */
#include <healthsvc/units.h>

#include <arpa/inet.h>
#include <errno.h>
#include <float.h>
#include <inttypes.h>
#include <math.h>
#include <netinet/in.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/un.h>

#include <healthsvc/strbuf.h>

/* Longest word that "did you mean" looks at: longer ones are no misspelt settings. */
#define WORD_MAX_BYTES 40
#define WORD_MAX_EDITS 2

struct unit {
    const char *suffix;
    int64_t ms;
    int64_t least; /* shown in this unit from this many on: a day is rather called 24h */
};
static const struct unit duration_units[] = {
    {"d", 86400000, 2}, {"h", 3600000, 1}, {"m", 60000, 1}, {"s", 1000, 1}, {"ms", 1, 1},
};
#define DURATION_UNITS (sizeof duration_units / sizeof duration_units[0])

int units_parse_digits(const char *text, size_t len, uint64_t *ret_value)
{
    uint64_t value = 0;

    if (len == 0)
        return -EINVAL;
    for (size_t i = 0; i < len; i++) {
        if (text[i] < '0' || text[i] > '9')
            return -EINVAL;
    }
    for (size_t i = 0; i < len; i++) {
        uint64_t digit = (uint64_t)(text[i] - '0');
        if (value > (UINT64_MAX - digit) / 10)
            return -ERANGE;
        value = value * 10 + digit;
    }
    *ret_value = value;
    return 0;
}

int units_parse_int(const char *text, int64_t *ret_value)
{
    bool negative = text[0] == '-';
    const char *digits = negative || text[0] == '+' ? text + 1 : text;
    uint64_t value;
    int err = units_parse_digits(digits, strlen(digits), &value);

    if (err != 0)
        return err;
    if (negative && value == (uint64_t)INT64_MAX + 1) {
        *ret_value = INT64_MIN;
        return 0;
    }
    if (value > INT64_MAX)
        return -ERANGE;
    *ret_value = negative ? -(int64_t)value : (int64_t)value;
    return 0;
}

#define DECIMAL_MAX_BYTES 63

static size_t count_digits(const char *text, const char *end)
{
    size_t digits = 0;
    while (text + digits < end && text[digits] >= '0' && text[digits] <= '9')
        digits++;
    return digits;
}

int units_parse_decimal(const char *text, size_t len, double *ret_value)
{
    const char *at = text, *end = text + len;
    char copy[DECIMAL_MAX_BYTES + 1];

    at += at < end && *at == '-';
    size_t whole = count_digits(at, end), fraction = 0;
    at += whole;
    if (at < end && *at == '.') {
        fraction = count_digits(++at, end);
        at += fraction;
    }
    if (at < end && (*at == 'e' || *at == 'E')) {
        at++;
        at += at < end && (*at == '-' || *at == '+');
        size_t exponent = count_digits(at, end);
        if (exponent == 0)
            return -EINVAL;
        at += exponent;
    }
    if (at != end || whole + fraction == 0)
        return -EINVAL;
    if (len > DECIMAL_MAX_BYTES)
        return -ERANGE;
    /* Of this form strtod() takes no other view: the locale is never set. */
    memcpy(copy, text, len);
    copy[len] = '\0';
    double value = strtod(copy, NULL);
    if (!isfinite(value))
        return -ERANGE;
    *ret_value = value;
    return 0;
}

void units_format_decimal(struct strbuf *b, double value)
{
    char text[32];
    double same = value;

    for (int digits = DBL_DIG; digits <= DBL_DECIMAL_DIG; digits++) {
        int len = snprintf(text, sizeof text, "%.*g", digits, value);
        /* Rounded up, the greatest numbers are no numbers any more. */
        if (units_parse_decimal(text, (size_t)len, &same) == 0 && same == value)
            break;
    }
    strbuf_adds(b, text);
}

int units_parse_duration_ms(const char *text, int64_t *ret_ms)
{
    size_t digits = strspn(text, "0123456789");

    for (size_t i = 0; i < DURATION_UNITS; i++) {
        const struct unit *unit = &duration_units[i];
        uint64_t value;
        if (strcmp(text + digits, unit->suffix) != 0)
            continue;
        int err = units_parse_digits(text, digits, &value);
        if (err != 0)
            return err;
        if (value > (uint64_t)(INT64_MAX / unit->ms))
            return -ERANGE;
        *ret_ms = (int64_t)value * unit->ms;
        return 0;
    }
    return -EINVAL;
}

void units_format_duration(struct strbuf *b, int64_t duration_ms)
{
    for (size_t i = 0; i < DURATION_UNITS; i++) {
        const struct unit *unit = &duration_units[i];
        int64_t value = duration_ms / unit->ms;
        if (duration_ms % unit->ms == 0 && (value >= unit->least || value <= -unit->least)) {
            strbuf_addf(b, "%" PRId64 "%s", value, unit->suffix);
            return;
        }
    }
    strbuf_adds(b, "0s");
}

int units_parse_address(const char *text, uint16_t default_port, struct sockaddr_storage *ret_addr,
                        socklen_t *ret_len)
{
    bool v6 = text[0] == '[';
    const char *host = v6 ? text + 1 : text;
    size_t host_len = strcspn(host, v6 ? "]" : ":");
    const char *rest = host + host_len;
    char numeric[INET6_ADDRSTRLEN];
    uint64_t port = default_port;
    struct sockaddr_storage addr = {0};

    if (v6) {
        if (*rest != ']')
            return -EINVAL;
        rest++;
    }
    if (host_len >= sizeof numeric)
        return -EINVAL;
    memcpy(numeric, host, host_len);
    numeric[host_len] = '\0';

    if (*rest == ':') {
        int err = units_parse_digits(rest + 1, strlen(rest + 1), &port);
        if (err != 0)
            return err;
        if (port > UINT16_MAX)
            return -ERANGE;
    } else if (*rest != '\0' || default_port == 0) {
        return -EINVAL;
    }

    if (v6) {
        struct sockaddr_in6 *in6 = (struct sockaddr_in6 *)&addr;
        if (inet_pton(AF_INET6, numeric, &in6->sin6_addr) != 1)
            return -EINVAL;
        in6->sin6_family = AF_INET6;
        in6->sin6_port = htons((uint16_t)port);
        *ret_len = sizeof *in6;
    } else {
        struct sockaddr_in *in = (struct sockaddr_in *)&addr;
        if (inet_pton(AF_INET, numeric, &in->sin_addr) != 1)
            return -EINVAL;
        in->sin_family = AF_INET;
        in->sin_port = htons((uint16_t)port);
        *ret_len = sizeof *in;
    }
    *ret_addr = addr;
    return 0;
}

static bool network_bit(const unsigned char *bytes, unsigned i)
{
    return (bytes[i / 8] >> (7 - i % 8) & 1) != 0;
}

int units_parse_network(const char *text, struct units_network *ret_network)
{
    size_t len = strcspn(text, "/");
    char numeric[INET6_ADDRSTRLEN];
    struct units_network n = {.family = memchr(text, ':', len) != NULL ? AF_INET6 : AF_INET};
    unsigned all_bits = n.family == AF_INET6 ? 128 : 32;
    uint64_t bits = all_bits;

    if (len >= sizeof numeric)
        return -EINVAL;
    memcpy(numeric, text, len);
    numeric[len] = '\0';
    if (inet_pton(n.family, numeric, n.prefix) != 1)
        return -EINVAL;
    if (text[len] == '/') {
        int err = units_parse_digits(text + len + 1, strlen(text + len + 1), &bits);
        if (err != 0)
            return err;
        if (bits > all_bits)
            return -ERANGE;
    }
    n.prefix_bits = (unsigned)bits;
    for (unsigned i = n.prefix_bits; i < all_bits; i++) {
        if (network_bit(n.prefix, i))
            return -EINVAL;
    }
    *ret_network = n;
    return 0;
}

bool units_network_has(const struct units_network *network, const struct sockaddr *addr)
{
    const unsigned char *bytes;

    if (addr->sa_family != network->family)
        return false;
    if (addr->sa_family == AF_INET6)
        bytes = ((const struct sockaddr_in6 *)addr)->sin6_addr.s6_addr;
    else
        bytes = (const unsigned char *)&((const struct sockaddr_in *)addr)->sin_addr;
    for (unsigned i = 0; i < network->prefix_bits; i++) {
        if (network_bit(bytes, i) != network_bit(network->prefix, i))
            return false;
    }
    return true;
}

static void format_unix(struct strbuf *b, const struct sockaddr *addr)
{
    struct sockaddr_un un;
    memcpy(&un, addr, sizeof un);
    size_t skip = un.sun_path[0] == '\0' ? 1 : 0;
    const char *name = un.sun_path + skip;

    strbuf_adds(b, skip > 0 ? "unix:@" : "unix:");
    strbuf_add_printable(b, name, strnlen(name, sizeof un.sun_path - skip), sizeof un.sun_path);
}

void units_format_address(struct strbuf *b, const struct sockaddr *addr)
{
    char numeric[INET6_ADDRSTRLEN] = "?";

    if (addr->sa_family == AF_INET6) {
        struct sockaddr_in6 in6;
        memcpy(&in6, addr, sizeof in6);
        inet_ntop(AF_INET6, &in6.sin6_addr, numeric, sizeof numeric);
        strbuf_addf(b, "[%s]:%u", numeric, ntohs(in6.sin6_port));
    } else if (addr->sa_family == AF_INET) {
        struct sockaddr_in in;
        memcpy(&in, addr, sizeof in);
        inet_ntop(AF_INET, &in.sin_addr, numeric, sizeof numeric);
        strbuf_addf(b, "%s:%u", numeric, ntohs(in.sin_port));
    } else if (addr->sa_family == AF_UNIX) {
        format_unix(b, addr);
    } else {
        strbuf_adds(b, numeric);
    }
}

uint16_t units_port(const struct sockaddr_storage *addr)
{
    if (addr->ss_family == AF_INET6)
        return ntohs(((const struct sockaddr_in6 *)addr)->sin6_port);
    return addr->ss_family == AF_INET ? ntohs(((const struct sockaddr_in *)addr)->sin_port) : 0;
}

static size_t least(size_t a, size_t b)
{
    return a < b ? a : b;
}

/* Damerau's distance (optimal string alignment): what a slip of the finger costs. */
static size_t edits_between(const char *a, const char *b)
{
    size_t rows[3][WORD_MAX_BYTES + 1];
    size_t *above2 = rows[0], *above = rows[1], *here = rows[2];
    size_t a_len = strlen(a), b_len = strlen(b);

    for (size_t j = 0; j <= b_len; j++)
        here[j] = j;
    for (size_t i = 1; i <= a_len; i++) {
        size_t *oldest = above2;
        above2 = above;
        above = here;
        here = oldest;
        here[0] = i;
        for (size_t j = 1; j <= b_len; j++) {
            size_t swap_cost = a[i - 1] != b[j - 1];
            here[j] = least(above[j - 1] + swap_cost, least(above[j], here[j - 1]) + 1);
            if (i > 1 && j > 1 && a[i - 1] == b[j - 2] && a[i - 2] == b[j - 1])
                here[j] = least(here[j], above2[j - 2] + 1);
        }
    }
    return here[b_len];
}

const char *units_nearest_word(const char *word, const char *const *words)
{
    const char *nearest = NULL;
    size_t word_len = strlen(word);
    size_t nearest_edits = WORD_MAX_EDITS + 1;

    if (word_len > WORD_MAX_BYTES)
        return NULL;
    for (; *words != NULL; words++) {
        if (strlen(*words) > WORD_MAX_BYTES)
            continue;
        size_t edits = edits_between(word, *words);
        /* Two edits turn any word of two letters into any other: not a misspelling. */
        if (edits < nearest_edits && edits < word_len) {
            nearest = *words;
            nearest_edits = edits;
        }
    }
    return nearest;
}

uint64_t units_hash64(const char *text)
{
    uint64_t hash =
        UINT64_C(0xcbf29ce484222325); /* the offset basis and prime of FNV-1a, 64 bits */

    for (; *text != '\0'; text++) {
        hash ^= (uint8_t)*text;
        hash *= UINT64_C(0x100000001b3);
    }
    return hash;
}
