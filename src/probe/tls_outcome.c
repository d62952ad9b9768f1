/*
 * What a failed handshake means. OpenSSL stops at the first thing that is wrong with a certificate
 * and looks in this order: who issued it, what it may be used for, which host it is for, when it is
 * valid (from the root down). An expired certificate of an unknown CA is therefore "not trusted".
 *
 * Names in certificates are the peer's bytes: they are made printable and cut.
 */
#include "probe/tls.h"

#include <healthsvc/strbuf.h>

#include <arpa/inet.h>
#include <errno.h>
#include <inttypes.h>
#include <openssl/err.h>
#include <openssl/x509v3.h>
#include <stdio.h>
#include <string.h>
#include <time.h>

#define NAME_SHOWN 60 /* bytes of a name out of a certificate: two of them fit a text */

static int64_t unix_time(const ASN1_TIME *t)
{
    struct tm tm;
    return ASN1_TIME_to_tm(t, &tm) == 1 ? (int64_t)timegm(&tm) : 0;
}

/* Leaf first. What was verified, else what the peer sent; NULL: none. */
static STACK_OF(X509) * chain_of(SSL *ssl)
{
    STACK_OF(X509) *chain = NULL;
    if (SSL_get_verify_result(ssl) == X509_V_OK)
        chain = SSL_get0_verified_chain(ssl);
    return chain != NULL ? chain : SSL_get_peer_cert_chain(ssl);
}

int64_t tls_cert_expires(SSL *ssl)
{
    int64_t earliest_s = 0;
    int err = errno;
    ERR_set_mark();
    STACK_OF(X509) *chain = chain_of(ssl);
    for (int i = 0; i < sk_X509_num(chain); i++) {
        int64_t expires_s = unix_time(X509_get0_notAfter(sk_X509_value(chain, i)));
        if (expires_s != 0 && (earliest_s == 0 || expires_s < earliest_s))
            earliest_s = expires_s;
    }
    ERR_pop_to_mark();
    errno = err;
    return earliest_s;
}

/* "2 days", "1 hour", "5 minutes". */
static void add_span(struct strbuf *b, int64_t seconds)
{
    int64_t n = seconds / 60;
    const char *unit = "minute";
    if (seconds >= 86400) {
        n = seconds / 86400;
        unit = "day";
    } else if (seconds >= 3600) {
        n = seconds / 3600;
        unit = "hour";
    }
    strbuf_addf(b, "%" PRId64 " %s%s", n, unit, n == 1 ? "" : "s");
}

/* The common name, else the organisation. */
static void add_name(struct strbuf *b, const X509_NAME *name)
{
    char text[256];
    int len = X509_NAME_get_text_by_NID(name, NID_commonName, text, sizeof text);
    if (len < 0)
        len = X509_NAME_get_text_by_NID(name, NID_organizationName, text, sizeof text);
    strbuf_addc(b, '\'');
    strbuf_add_printable(b, text, len > 0 ? (size_t)len : 0, NAME_SHOWN);
    strbuf_addc(b, '\'');
}

/* Says which certificate of the chain is out of its time, and by how much. */
static void add_validity(struct strbuf *b, SSL *ssl, bool expired, int64_t now_s)
{
    STACK_OF(X509) *chain = SSL_get0_verified_chain(ssl);
    for (int i = 0; i < sk_X509_num(chain); i++) {
        X509 *cert = sk_X509_value(chain, i);
        int64_t late_s = expired ? now_s - unix_time(X509_get0_notAfter(cert))
                                 : unix_time(X509_get0_notBefore(cert)) - now_s;
        if (late_s < 0)
            continue;
        if (i > 0) {
            strbuf_adds(b, "issuer's certificate ");
            add_name(b, X509_get_subject_name(cert));
            strbuf_addc(b, ' ');
        } else {
            strbuf_adds(b, "certificate ");
        }
        strbuf_adds(b, expired ? "expired " : "not valid for another ");
        add_span(b, late_s);
        strbuf_adds(b, expired ? " ago" : "");
        return;
    }
}

/* Adds the first name or address that the certificate is for; returns how many there are. */
static int add_first_host(struct strbuf *b, const X509 *cert)
{
    int count = 0;
    GENERAL_NAMES *names = X509_get_ext_d2i(cert, NID_subject_alt_name, NULL, NULL);
    for (int i = 0; i < sk_GENERAL_NAME_num(names); i++) {
        int type;
        char ip[INET6_ADDRSTRLEN];
        const ASN1_STRING *value = GENERAL_NAME_get0_value(sk_GENERAL_NAME_value(names, i), &type);
        if ((type != GEN_DNS && type != GEN_IPADD) || count++ > 0)
            continue;
        const unsigned char *data = ASN1_STRING_get0_data(value);
        int len = ASN1_STRING_length(value);
        strbuf_addc(b, '\'');
        if (type == GEN_DNS)
            strbuf_add_printable(b, data, (size_t)len, NAME_SHOWN);
        else if ((len == 4 || len == 16) &&
                 inet_ntop(len == 4 ? AF_INET : AF_INET6, data, ip, sizeof ip) != NULL)
            strbuf_adds(b, ip);
        strbuf_addc(b, '\'');
    }
    GENERAL_NAMES_free(names);
    return count;
}

static void add_wrong_host(struct strbuf *b, SSL *ssl)
{
    X509 *cert = sk_X509_value(SSL_get_peer_cert_chain(ssl), 0);
    X509_VERIFY_PARAM *param = SSL_get0_param(ssl);
    const char *wanted = X509_VERIFY_PARAM_get0_host(param, 0);
    char *ip = wanted == NULL ? X509_VERIFY_PARAM_get1_ip_asc(param) : NULL;

    strbuf_adds(b, "certificate is for ");
    int count = add_first_host(b, cert);
    if (count == 0) /* RFC 9525 section 6.3: the common name does not count; it may help to see */
        add_name(b, X509_get_subject_name(cert));
    if (count > 1)
        strbuf_addf(b, " and %d other%s", count - 1, count == 2 ? "" : "s");
    strbuf_adds(b, ", not for '");
    if (wanted == NULL)
        wanted = ip != NULL ? ip : "";
    strbuf_add_printable(b, wanted, strlen(wanted), NAME_SHOWN);
    strbuf_addc(b, '\'');
    OPENSSL_free(ip);
}

static void add_untrusted(struct strbuf *b, SSL *ssl, long result)
{
    STACK_OF(X509) *chain = SSL_get0_verified_chain(ssl);
    strbuf_addf(b, "certificate not trusted: %s", X509_verify_cert_error_string(result));
    if (sk_X509_num(chain) > 0) {
        strbuf_adds(b, " (issued by ");
        add_name(b, X509_get_issuer_name(sk_X509_value(chain, sk_X509_num(chain) - 1)));
        strbuf_addc(b, ')');
    }
}

static enum outcome of_verification(struct strbuf *b, SSL *ssl, long result, int64_t now_s)
{
    switch (result) {
    case X509_V_ERR_CERT_HAS_EXPIRED:
        add_validity(b, ssl, true, now_s);
        return OUTCOME_TLS_EXPIRED;
    case X509_V_ERR_CERT_NOT_YET_VALID:
        add_validity(b, ssl, false, now_s);
        return OUTCOME_TLS_NOT_YET_VALID;
    case X509_V_ERR_HOSTNAME_MISMATCH:
    case X509_V_ERR_IP_ADDRESS_MISMATCH:
        add_wrong_host(b, ssl);
        return OUTCOME_TLS_WRONG_HOST;
    case X509_V_ERR_OUT_OF_MEM:
        return OUTCOME_OWN_MEMORY;
    default:
        add_untrusted(b, ssl, result);
        return OUTCOME_TLS_UNTRUSTED;
    }
}

static enum outcome of_socket(struct strbuf *b, int err, bool shaking_hands)
{
    enum outcome o = OUTCOME_CLOSED;
    if (err == ECONNRESET)
        o = OUTCOME_RESET;
    else if (err != 0 && err != EPIPE)
        o = outcome_of_errno(err);
    if (!shaking_hands)
        return o;
    if (o == OUTCOME_CLOSED)
        strbuf_adds(b, "closed in TLS handshake");
    else
        strbuf_addf(b, "%s in TLS handshake", outcome_sentence(o));
    return o;
}

static enum outcome of_protocol(struct strbuf *b, unsigned long error, bool shaking_hands)
{
    int reason = ERR_GET_REASON(error);
    if (reason == ERR_R_MALLOC_FAILURE)
        return OUTCOME_OWN_MEMORY;
    if (ERR_GET_LIB(error) == ERR_LIB_SSL && reason > SSL_AD_REASON_OFFSET &&
        reason <= SSL_AD_REASON_OFFSET + 255) {
        strbuf_addf(b, "peer refuses TLS: alert '%s'",
                    SSL_alert_desc_string_long(reason - SSL_AD_REASON_OFFSET));
        return OUTCOME_TLS_HANDSHAKE;
    }
    const char *words = ERR_reason_error_string(error);
    strbuf_addf(b, "%s: %s", shaking_hands ? "TLS handshake failed" : "TLS failed",
                words != NULL ? words : "no reason known");
    if (shaking_hands && reason == SSL_R_WRONG_VERSION_NUMBER)
        strbuf_adds(b, ": peer does not speak TLS");
    return OUTCOME_TLS_HANDSHAKE;
}

enum outcome tls_outcome(SSL *ssl, int ssl_error, int64_t now_wall_s, char *ret_text,
                         size_t text_bytes)
{
    int err = errno;
    unsigned long error = ERR_peek_error();
    bool shaking_hands = !SSL_is_init_finished(ssl);
    long verified =
        SSL_get_verify_mode(ssl) == SSL_VERIFY_NONE ? X509_V_OK : SSL_get_verify_result(ssl);
    enum outcome o;
    struct strbuf b;
    strbuf_init(&b, text_bytes - 1);
    if (verified != X509_V_OK)
        o = of_verification(&b, ssl, verified, now_wall_s);
    else if (ssl_error == SSL_ERROR_SYSCALL)
        o = of_socket(&b, err, shaking_hands);
    else if (ssl_error == SSL_ERROR_ZERO_RETURN) /* or an end without close_notify, see tls.c */
        o = of_socket(&b, 0, shaking_hands);
    else
        o = of_protocol(&b, error, shaking_hands);
    (void)snprintf(ret_text, text_bytes, "%s", b.len > 0 ? b.data : outcome_sentence(o));
    strbuf_done(&b);
    ERR_clear_error();
    return o;
}
