/* P-256 keys, because making RSA ones takes long. */
#include "certs.h"

#include <openssl/ec.h>
#include <openssl/pem.h>
#include <openssl/x509v3.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

static void must(bool ok)
{
    if (ok)
        return;
    printf("Bail out! cannot make certificates\n");
    exit(1);
}

static void add_extension(X509 *x509, X509 *issuer, int nid, const char *value)
{
    X509V3_CTX ctx;
    X509V3_set_ctx(&ctx, issuer, x509, NULL, NULL, 0);
    X509_EXTENSION *extension = X509V3_EXT_conf_nid(NULL, &ctx, nid, value);
    must(extension != NULL && X509_add_ext(x509, extension, -1) == 1);
    X509_EXTENSION_free(extension);
}

struct cert cert_make(const struct cert_spec *spec)
{
    static long serial;
    const int64_t day_s = 86400;
    bool usual = spec->from_s == 0 && spec->to_s == 0;
    struct cert c = {.x509 = X509_new(), .key = EVP_EC_gen("P-256")};
    must(c.x509 != NULL && c.key != NULL);
    const struct cert *issuer = spec->issuer != NULL ? spec->issuer : &c;
    X509_NAME *name = X509_get_subject_name(c.x509);
    must(X509_set_version(c.x509, X509_VERSION_3) == 1);
    ASN1_INTEGER_set(X509_get_serialNumber(c.x509), ++serial);
    X509_gmtime_adj(X509_getm_notBefore(c.x509), usual ? -day_s : spec->from_s);
    X509_gmtime_adj(X509_getm_notAfter(c.x509), usual ? 90 * day_s : spec->to_s);
    must(X509_NAME_add_entry_by_txt(name, "CN", MBSTRING_ASC, (const unsigned char *)spec->name, -1,
                                    -1, 0) == 1);
    X509_set_issuer_name(c.x509, X509_get_subject_name(issuer->x509));
    X509_set_pubkey(c.x509, c.key);
    if (spec->ca)
        add_extension(c.x509, issuer->x509, NID_basic_constraints, "critical,CA:TRUE");
    if (spec->san != NULL)
        add_extension(c.x509, issuer->x509, NID_subject_alt_name, spec->san);
    must(X509_sign(c.x509, issuer->key, EVP_sha256()) > 0);
    return c;
}

void cert_free(struct cert *c)
{
    X509_free(c->x509);
    EVP_PKEY_free(c->key);
    *c = (struct cert){NULL, NULL};
}

void cert_write(const char *path, const struct cert *c)
{
    FILE *f = fopen(path, "w");
    must(f != NULL);
    must(PEM_write_X509(f, c->x509) == 1);
    must(fclose(f) == 0);
}

void cert_write_key(const char *path, const struct cert *c, const char *passphrase)
{
    FILE *f = fopen(path, "w");
    must(f != NULL);
    must(PEM_write_PKCS8PrivateKey(f, c->key, passphrase != NULL ? EVP_aes_128_cbc() : NULL,
                                   passphrase, passphrase != NULL ? (int)strlen(passphrase) : 0,
                                   NULL, NULL) == 1);
    must(fclose(f) == 0);
}
