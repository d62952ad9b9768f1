/*
 * One SSL_CTX serves all connections of a profile, and profiles that trust the same CAs share one
 * certificate store: parsing the system's takes 20 ms and 0.9 MB. They are read from the bundle
 * file if there is one, once; a CA directory would be searched on disk, by the checker thread, at
 * each handshake with an unknown issuer.
 *
 * Every handshake is a full one (no tickets, no session cache), because a resumed one does not show
 * the certificate.
 */
#include "probe/tls.h"

#include <healthsvc/memory.h>
#include <healthsvc/strbuf.h>

#include <arpa/inet.h>
#include <assert.h>
#include <errno.h>
#include <fcntl.h>
#include <openssl/crypto.h>
#include <openssl/decoder.h>
#include <openssl/err.h>
#include <openssl/evp.h>
#include <openssl/kdf.h>
#include <openssl/pem.h>
#include <openssl/x509v3.h>
#include <stdatomic.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#define SYSTEM_BUNDLE "/etc/ssl/certs/ca-certificates.crt"
#define NAME_BYTES 256 /* RFC 1035 section 2.3.4, with a NUL */

struct tls_profile {
    atomic_uint refs;
    SSL_CTX *ctx;
};

static void *take(size_t bytes, const char *file, int line)
{
    (void)file;
    (void)line;
    return memory_malloc(bytes);
}

static void *resize(void *mem, size_t bytes, const char *file, int line)
{
    (void)file;
    (void)line;
    return memory_realloc(mem, bytes);
}

static void give_back(void *mem, const char *file, int line)
{
    (void)file;
    (void)line;
    free(mem);
}

void tls_init(void)
{
    (void)CRYPTO_set_mem_functions(take, resize, give_back);
}

/* OpenSSL 3.0 makes all the algorithms of a kind when the first of them is wanted. If there is no memory
 * then it does not try again, and every handshake fails from then on, whatever the peer does. So they
 * are made here, where no more than a configuration has to be refused. */
#define MAKES(kind, name)                                        \
    static bool makes_##kind(void)                               \
    {                                                            \
        /* NOLINTNEXTLINE(bugprone-macro-parentheses): a type */ \
        kind *algorithm = kind##_fetch(NULL, name, NULL);        \
        kind##_free(algorithm);                                  \
        return algorithm != NULL;                                \
    }
MAKES(EVP_MD, "SHA256")
MAKES(EVP_CIPHER, "AES-128-GCM")
MAKES(EVP_MAC, "HMAC")
MAKES(EVP_KDF, "TLS13-KDF")
MAKES(EVP_RAND, "CTR-DRBG")
MAKES(EVP_KEYMGMT, "EC")
MAKES(EVP_KEYEXCH, "ECDH")
MAKES(EVP_SIGNATURE, "ECDSA")
MAKES(EVP_ASYM_CIPHER, "RSA")
MAKES(OSSL_DECODER, "EC")

static bool make_algorithms(void)
{
    return makes_EVP_MD() && makes_EVP_CIPHER() && makes_EVP_MAC() && makes_EVP_KDF() &&
           makes_EVP_RAND() && makes_EVP_KEYMGMT() && makes_EVP_KEYEXCH() &&
           makes_EVP_SIGNATURE() && makes_EVP_ASYM_CIPHER() && makes_OSSL_DECODER();
}

/* What a certificate holds is read at its first use; if there is no memory then, it is invalid from
 * then on. */
static void read_certificates(X509_STORE *store)
{
    STACK_OF(X509_OBJECT) *objects = X509_STORE_get0_objects(store);
    for (int i = 0; i < sk_X509_OBJECT_num(objects); i++) {
        X509 *cert = X509_OBJECT_get0_X509(sk_X509_OBJECT_value(objects, i));
        if (cert != NULL)
            (void)X509_check_purpose(cert, -1, 0);
    }
}

/* OpenSSL would ask on the terminal. */
static int refuse_passphrase(char *buf, int size, int rwflag, void *asked)
{
    (void)buf;
    (void)size;
    (void)rwflag;
    *(bool *)asked = true;
    return -1;
}

/* Before OpenSSL opens it: its own words for a missing file are of no help. */
static int check_file(const char *key, const char *path, struct strbuf *why)
{
    struct stat st;
    int err = 0;
    int fd = open(path, O_RDONLY | O_CLOEXEC | O_NONBLOCK);
    if (fd < 0 || fstat(fd, &st) != 0)
        err = errno;
    else if (!S_ISREG(st.st_mode))
        err = S_ISDIR(st.st_mode) ? EISDIR : EINVAL;
    if (fd >= 0)
        close(fd);
    if (err == 0)
        return 0;
    strbuf_addf(why, "'%s' %s: %s", key, path, err == EINVAL ? "not a file" : strerror(err));
    return -EINVAL;
}

/* What OpenSSL says of a file it could not use; the first error is the cause. */
static int bad_file(const char *key, const char *path, const char *content, struct strbuf *why)
{
    unsigned long error = ERR_peek_error();
    const char *reason = ERR_reason_error_string(error);
    int lib = ERR_GET_LIB(error), code = ERR_GET_REASON(error);
    if ((lib == ERR_LIB_PEM && code == PEM_R_NO_START_LINE) ||
        (lib == ERR_LIB_X509 && code == X509_R_NO_CERTIFICATE_OR_CRL_FOUND) ||
        (lib == ERR_LIB_OSSL_DECODER && code == ERR_R_UNSUPPORTED))
        strbuf_addf(why, "'%s' %s: no usable PEM %s in it", key, path, content);
    else
        strbuf_addf(why, "'%s' %s: %s", key, path, reason != NULL ? reason : "not usable");
    return -EINVAL;
}

static int load_trust(SSL_CTX *ctx, const struct tls_conf *conf, X509_STORE *shared,
                      struct strbuf *why)
{
    if (!conf->verify) {
        SSL_CTX_set_verify(ctx, SSL_VERIFY_NONE, NULL);
        return 0;
    }
    SSL_CTX_set_verify(ctx, SSL_VERIFY_PEER, NULL);
    if (shared != NULL) {
        SSL_CTX_set1_cert_store(ctx, shared);
        return 0;
    }
    if (conf->ca_file != NULL) {
        int err = check_file("ca_file", conf->ca_file, why);
        if (err < 0)
            return err;
        if (SSL_CTX_load_verify_file(ctx, conf->ca_file) != 1)
            return bad_file("ca_file", conf->ca_file, "certificate", why);
        return 0;
    }
    if (getenv(X509_get_default_cert_file_env()) == NULL && access(SYSTEM_BUNDLE, R_OK) == 0 &&
        SSL_CTX_load_verify_file(ctx, SYSTEM_BUNDLE) == 1)
        return 0;
    if (SSL_CTX_set_default_verify_paths(ctx) == 1)
        return 0;
    strbuf_adds(why, "the system's CA certificates cannot be read");
    return -EINVAL;
}

static int load_client_certificate(SSL_CTX *ctx, const struct tls_conf *conf, struct strbuf *why)
{
    if (conf->cert_file == NULL) {
        if (conf->key_file == NULL)
            return 0;
        strbuf_adds(why, "'key_file' has no use without 'cert_file'");
        return -EINVAL;
    }
    const char *key = conf->key_file != NULL ? "key_file" : "cert_file";
    const char *key_path = conf->key_file != NULL ? conf->key_file : conf->cert_file;
    int err = check_file("cert_file", conf->cert_file, why);
    if (err == 0)
        err = check_file(key, key_path, why);
    if (err < 0)
        return err;
    if (SSL_CTX_use_certificate_chain_file(ctx, conf->cert_file) != 1)
        return bad_file("cert_file", conf->cert_file, "certificate", why);

    bool asked = false;
    SSL_CTX_set_default_passwd_cb(ctx, refuse_passphrase);
    SSL_CTX_set_default_passwd_cb_userdata(ctx, &asked);
    bool ok = SSL_CTX_use_PrivateKey_file(ctx, key_path, SSL_FILETYPE_PEM) == 1 &&
              SSL_CTX_check_private_key(ctx) == 1;
    SSL_CTX_set_default_passwd_cb_userdata(ctx, NULL);
    SSL_CTX_set_default_passwd_cb(ctx, NULL);
    if (ok)
        return 0;
    if (!asked)
        return bad_file(key, key_path, "private key", why);
    strbuf_addf(why, "'%s' %s: the key is protected by a passphrase; write it without one", key,
                key_path);
    return -EINVAL;
}

static struct tls_profile *profile_ref(struct tls_profile *profile)
{
    atomic_fetch_add_explicit(&profile->refs, 1, memory_order_relaxed);
    return profile;
}

struct tls_profile *tls_profile_unref(struct tls_profile *profile)
{
    if (profile == NULL || atomic_fetch_sub_explicit(&profile->refs, 1, memory_order_acq_rel) != 1)
        return NULL;
    SSL_CTX_free(profile->ctx);
    free(profile);
    return NULL;
}

static int profile_new(const struct tls_conf *conf, X509_STORE *shared, struct strbuf *why,
                       struct tls_profile **ret_profile)
{
    int err = -EINVAL;
    uint64_t refusals = memory_refusals();
    struct tls_profile *profile = calloc(1, sizeof *profile);
    if (profile == NULL)
        return -ENOMEM;
    atomic_init(&profile->refs, 1);
    profile->ctx = SSL_CTX_new(TLS_client_method());
    if (profile->ctx == NULL || !make_algorithms()) {
        strbuf_adds(why, "OpenSSL has no TLS: if it had no memory when it was first used, a new "
                         "start of this program helps");
        goto fail;
    }
    SSL_CTX_set_min_proto_version(profile->ctx, TLS1_2_VERSION);
    SSL_CTX_set_session_cache_mode(profile->ctx, SSL_SESS_CACHE_OFF);
    /* Many servers close without close_notify; whether a reply is whole, its protocol tells. */
    SSL_CTX_set_options(profile->ctx,
                        SSL_OP_NO_TICKET | SSL_OP_NO_RENEGOTIATION | SSL_OP_IGNORE_UNEXPECTED_EOF);
    /* 19 KB a connection in place of 28; what is to be sent may move between two tries. */
    SSL_CTX_set_mode(profile->ctx, SSL_MODE_RELEASE_BUFFERS | SSL_MODE_ENABLE_PARTIAL_WRITE |
                                       SSL_MODE_ACCEPT_MOVING_WRITE_BUFFER);
    err = load_trust(profile->ctx, conf, shared, why);
    if (err < 0)
        goto fail;
    read_certificates(SSL_CTX_get_cert_store(profile->ctx));
    err = load_client_certificate(profile->ctx, conf, why);
    if (err < 0)
        goto fail;
    /* What OpenSSL had no memory for may be missing without a word, a trusted certificate say. */
    if (memory_refusals() != refusals)
        goto fail;
    ERR_clear_error(); /* what a CA bundle ends in: "no start line" */
    *ret_profile = profile;
    return 0;

fail:
    ERR_clear_error();
    tls_profile_unref(profile);
    return memory_refusals() != refusals ? -ENOMEM : err;
}

static bool same_text(const char *a, const char *b)
{
    return a == NULL || b == NULL ? a == b : strcmp(a, b) == 0;
}

int tls_profile_get(struct config *config, const struct tls_conf *conf, struct strbuf *why,
                    struct tls_profile **ret_profile)
{
    X509_STORE *shared = NULL;
    /* From the end: neighbours are the most alike. */
    for (size_t i = config->target_count; i-- > 0;) {
        const struct target_conf *t = config->targets[i];
        if (t->tls_profile == NULL || t->tls.verify != conf->verify ||
            !same_text(t->tls.ca_file, conf->ca_file))
            continue;
        if (same_text(t->tls.cert_file, conf->cert_file) &&
            same_text(t->tls.key_file, conf->key_file)) {
            *ret_profile = profile_ref(t->tls_profile);
            return 0;
        }
        shared = SSL_CTX_get_cert_store(t->tls_profile->ctx);
    }
    int err = profile_new(conf, shared, why, ret_profile);
    if (err == -ENOMEM)
        strbuf_adds(why, "no memory left");
    return err;
}

static bool set_host(SSL *ssl, const char *host)
{
    X509_VERIFY_PARAM *param = SSL_get0_param(ssl);
    struct in6_addr any;
    if (inet_pton(AF_INET, host, &any) == 1 || inet_pton(AF_INET6, host, &any) == 1)
        return X509_VERIFY_PARAM_set1_ip_asc(param, host) == 1;

    /* RFC 6066 section 3: without the trailing dot. No certificate has it either. */
    char name[NAME_BYTES];
    size_t len = strlen(host);
    if (len > 1 && host[len - 1] == '.')
        len--;
    assert(len > 0 && len < sizeof name); /* the configuration sees to that */
    memcpy(name, host, len);
    name[len] = '\0';
    X509_VERIFY_PARAM_set_hostflags(param, X509_CHECK_FLAG_NO_PARTIAL_WILDCARDS);
    return SSL_set_tlsext_host_name(ssl, name) == 1 && SSL_set1_host(ssl, name) == 1;
}

SSL *tls_new(const struct tls_profile *profile, const char *host, int fd)
{
    SSL *ssl = SSL_new(profile->ctx);
    if (ssl != NULL && set_host(ssl, host) && SSL_set_fd(ssl, fd) == 1) {
        SSL_set_connect_state(ssl);
        return ssl;
    }
    SSL_free(ssl);
    ERR_clear_error();
    return NULL;
}

/* An SSL holds a reference on its context, so no other can have come to lie at the same place. */
bool tls_made_with(const SSL *ssl, const struct tls_profile *profile)
{
    return SSL_get_SSL_CTX(ssl) == profile->ctx;
}
