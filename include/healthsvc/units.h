/*
 * units.h: numbers, durations and addresses from text, and back. The only place where text
 * becomes a number.
 *
 * Threads: any (pure). Errors: -EINVAL for text that is not of the form, -ERANGE for a value that
 * does not fit; outputs are written only on success.
 */
#ifndef HEALTHSVC_UNITS_H
#define HEALTHSVC_UNITS_H

#include <healthsvc/attr.h>

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <sys/socket.h>

struct strbuf;

/* A decimal integer, optional sign, no space, no other base; the whole text. */
int units_parse_int(const char *text, int64_t *ret_value) MUST_CHECK;
/* Like units_parse_int() for `len` bytes of digits only (no sign). */
int units_parse_digits(const char *text, size_t len, uint64_t *ret_value) MUST_CHECK;
/* `len` bytes of a decimal number, "-1.5" "2.5e-06" ".5", as the double nearest to it. */
int units_parse_decimal(const char *text, size_t len, double *ret_value) MUST_CHECK;
/* A finite number in the fewest digits that units_parse_decimal() reads as the same one; it is a
 * number of JSON and of Prometheus too. */
void units_format_decimal(struct strbuf *b, double value);
/* A duration with its unit: "250ms" "5s" "1m" "2h" "1d"; a decimal integer and one unit. */
int units_parse_duration_ms(const char *text, int64_t *ret_ms) MUST_CHECK;
/* Shortest exact form: 250 -> "250ms", 5000 -> "5s", 90000 -> "90s", 3600000 -> "1h". */
void units_format_duration(struct strbuf *b, int64_t duration_ms);

/* A numeric address with a port, "127.0.0.1:8000", "[::1]:8000"; no names, decimal only, octets
 * 0..255 without leading zeros. `default_port` 0 makes the port mandatory; a port of 0 in the
 * text is allowed. Fills *ret_addr (sockaddr_in or sockaddr_in6). */
int units_parse_address(const char *text, uint16_t default_port, struct sockaddr_storage *ret_addr,
                        socklen_t *ret_len) MUST_CHECK;
/* "127.0.0.1:8000", "[::1]:8000" or, of a whole struct sockaddr_un that is zeroed behind its path,
 * "unix:/path/of/socket" (abstract: "unix:@name"). */
void units_format_address(struct strbuf *b, const struct sockaddr *addr);
/* The port of an IPv4 or IPv6 address; 0: it has none. */
uint16_t units_port(const struct sockaddr_storage *addr);

/* A network of addresses, RFC 4632 section 3.1 and RFC 4291 section 2.3. */
struct units_network {
    int family; /* AF_INET or AF_INET6 */
    unsigned char prefix[16];
    unsigned prefix_bits;
};
/* "10.0.0.0/8", "fd00::/8", or an address alone; no names. Bits behind the prefix must be 0. */
int units_parse_network(const char *text, struct units_network *ret_network) MUST_CHECK;
/* True if the address (AF_INET or AF_INET6, without IPv4-mapped ones; others are nowhere) lies in
 * it. */
bool units_network_has(const struct units_network *network, const struct sockaddr *addr);

/* The word of `words` (NULL-terminated) nearest to `word`, at most 2 edits away (Damerau), or
 * NULL. For "did you mean". */
const char *units_nearest_word(const char *word, const char *const *words);

/* FNV-1a, 64 bits: the same value on every machine and run (a phase must survive a restart). */
uint64_t units_hash64(const char *text);

#endif
