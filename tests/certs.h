/*
 * certs.h: certificates made in the test, as right or wrong as it wants them.
 *
 * Owner: the test. Threads: any. Errors: exit(1), since no test can go on without.
 */
#ifndef HEALTHSVC_TESTS_CERTS_H
#define HEALTHSVC_TESTS_CERTS_H

#include <openssl/x509.h>
#include <stdbool.h>
#include <stdint.h>

struct cert {
    X509 *x509;
    EVP_PKEY *key;
};

struct cert_spec {
    const char *name;          /* common name */
    const char *san;           /* "DNS:trips.test,IP:127.0.0.1"; NULL: none */
    int64_t from_s, to_s;      /* validity, relative to now; both 0: yesterday to in 90 days */
    const struct cert *issuer; /* NULL: itself */
    bool ca;
};

struct cert cert_make(const struct cert_spec *spec);
void cert_free(struct cert *c);
/* PEM files. `passphrase` NULL: the key in the clear. */
void cert_write(const char *path, const struct cert *c);
void cert_write_key(const char *path, const struct cert *c, const char *passphrase);

#endif
