/*
 * tls.h: TLS for the probes: shared contexts (profiles) and what a handshake's end means.
 *
 * Owner: a profile is shared by reference (atomic): target_confs of one configuration that want
 * the same share one SSL_CTX. Threads: profiles are made on main, used on the checker.
 * Errors: negative errno with a sentence naming the setting as 'key'.
 * Sources: RFC 8446, RFC 6066 section 3 (SNI), RFC 9525 (names), OpenSSL 3.0 manual.
 */
#ifndef HEALTHSVC_PROBE_TLS_H
#define HEALTHSVC_PROBE_TLS_H

#include <healthsvc/attr.h>
#include <healthsvc/config.h>
#include <healthsvc/outcome.h>

#include <openssl/ssl.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

struct strbuf;
struct tls_profile;

/* OpenSSL's memory from now on; once, before anything else of it is used. */
void tls_init(void);

/* A new reference on a profile that fits `conf`: one already made for another target of `config`,
 * or a new one (reads the files named). */
int tls_profile_get(struct config *config, const struct tls_conf *conf, struct strbuf *why,
                    struct tls_profile **ret_profile) MUST_CHECK;
struct tls_profile *tls_profile_unref(struct tls_profile *profile);

/* A new client SSL for one connection on `fd`, SNI and host verification set by `host`
 * (a numeric address is verified as one, without SNI). NULL: no memory. */
SSL *tls_new(const struct tls_profile *profile, const char *host, int fd) MUST_CHECK;

/* Whether a connection was made with this profile: what is trusted, what is shown. */
bool tls_made_with(const SSL *ssl, const struct tls_profile *profile);

/* What a failed handshake (SSL_do_handshake() <= 0 that is neither WANT_READ nor WANT_WRITE) means,
 * with words for people: "certificate expired 2 days ago"; the same for SSL_read() and SSL_write(),
 * where TLS 1.3 brings the peer's refusal of our certificate. Call it before errno is touched.
 * Clears OpenSSL's error queue. */
enum outcome tls_outcome(SSL *ssl, int ssl_error, int64_t now_wall_s, char *ret_text,
                         size_t text_bytes);
/* The earliest notAfter (unix s) of the verified chain, else of the peer's; 0: none. Leaves errno
 * and the error queue alone, so it may come before tls_outcome(). */
int64_t tls_cert_expires(SSL *ssl);

#endif
