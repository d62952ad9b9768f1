/* Profiles, and what each way to fail a handshake is called; a real OpenSSL on the other end of a
 * socket pair, both driven by turns. */
#include "probe/tls.h"

#include <healthsvc/strbuf.h>

#include "../certs.h"
#include "../testing.h"

#include <errno.h>
#include <fcntl.h>
#include <openssl/err.h>
#include <signal.h>
#include <sys/socket.h>
#include <time.h>
#include <unistd.h>

#define DAY_S 86400
#define HOST "trips.test"
#define TURNS 50

static char dir[] = "/tmp/test_tls.XXXXXX";
static struct cert root, mid;
static char root_file[64], client_file[64], client_key[64], locked_key[64], other_key[64];

static struct target_conf targets[4];
static struct target_conf *target_list[4];
static struct config config = {.targets = target_list};

static void in_dir(char path[64], const char *name)
{
    snprintf(path, 64, "%s/%s", dir, name);
}

static struct cert make(const char *san, int64_t from_s, int64_t to_s)
{
    struct cert_spec spec = {
        .name = "leaf", .san = san, .from_s = from_s, .to_s = to_s, .issuer = &root};
    return cert_make(&spec);
}

static struct tls_profile *profile_of(const struct tls_conf *conf)
{
    struct strbuf why;
    struct tls_profile *profile = NULL;
    strbuf_init(&why, 1000);
    EXPECT_INT(tls_profile_get(&config, conf, &why, &profile), 0);
    EXPECT_STR(why.data, "");
    strbuf_done(&why);
    if (profile == NULL)
        exit(1);
    return profile;
}

static struct tls_profile *trusting_root(void)
{
    struct tls_conf conf = {.ca_file = root_file, .verify = true};
    return profile_of(&conf);
}

struct result {
    enum outcome outcome;
    char text[OUTCOME_TEXT_BYTES];
    int64_t expires_s;
    char sni[64];
    int version;
};

struct server {
    const struct cert *cert;
    const struct cert *intermediate;
    int max_version;
    bool wants_certificate;
};

static SSL *server_new(const struct server *server, int fd)
{
    SSL_CTX *ctx = SSL_CTX_new(TLS_server_method());
    if (server->max_version != 0)
        SSL_CTX_set_max_proto_version(ctx, server->max_version);
    SSL_CTX_use_certificate(ctx, server->cert->x509);
    SSL_CTX_use_PrivateKey(ctx, server->cert->key);
    if (server->intermediate != NULL)
        SSL_CTX_add1_chain_cert(ctx, server->intermediate->x509);
    if (server->wants_certificate) {
        SSL_CTX_set_verify(ctx, SSL_VERIFY_PEER | SSL_VERIFY_FAIL_IF_NO_PEER_CERT, NULL);
        SSL_CTX_load_verify_file(ctx, root_file);
    }
    SSL *ssl = SSL_new(ctx);
    SSL_CTX_free(ctx);
    SSL_set_fd(ssl, fd);
    SSL_set_accept_state(ssl);
    return ssl;
}

static void socket_pair(int fds[2])
{
    if (socketpair(AF_UNIX, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0, fds) != 0)
        exit(1);
}

/* One step of the client: true when it has come to an end, good or bad. */
static bool client_step(SSL *client, struct result *result)
{
    char byte;
    int r = SSL_do_handshake(client);
    if (r == 1) {
        r = SSL_read(client, &byte, 1); /* TLS 1.3 tells a refused certificate only here */
        if (r == 1) {
            result->outcome = OUTCOME_OK;
            return true;
        }
    }
    int error = SSL_get_error(client, r);
    if (error == SSL_ERROR_WANT_READ || error == SSL_ERROR_WANT_WRITE)
        return false;
    result->expires_s = tls_cert_expires(client);
    result->outcome = tls_outcome(client, error, time(NULL), result->text, sizeof result->text);
    return true;
}

static struct result shake_hands(const struct tls_profile *profile, const char *host,
                                 const struct server *server)
{
    struct result result = {.outcome = OUTCOME_OWN_ERROR};
    int fds[2];
    socket_pair(fds);
    SSL *client = tls_new(profile, host, fds[0]);
    SSL *peer = server_new(server, fds[1]);
    bool ended = false;
    for (int i = 0; i < TURNS && !ended; i++) {
        ended = client_step(client, &result);
        ERR_clear_error();
        if (SSL_do_handshake(peer) == 1)
            (void)SSL_write(peer, "x", 1);
        ERR_clear_error();
    }
    EXPECT(ended);
    if (result.outcome == OUTCOME_OK)
        result.expires_s = tls_cert_expires(client);
    result.version = SSL_version(client);
    const char *sni = SSL_get_servername(peer, TLSEXT_NAMETYPE_host_name);
    snprintf(result.sni, sizeof result.sni, "%s", sni != NULL ? sni : "");
    EXPECT(ERR_peek_error() == 0);
    SSL_free(client);
    SSL_free(peer);
    close(fds[0]);
    close(fds[1]);
    return result;
}

static struct result ask(const char *host, const struct cert *cert)
{
    struct tls_profile *profile = trusting_root();
    struct server server = {.cert = cert};
    struct result result = shake_hands(profile, host, &server);
    tls_profile_unref(profile);
    return result;
}

/* Against a peer that reads the client's hello (or not), sends some bytes and closes. */
static struct result ask_raw(const char *bytes, size_t len, bool read_hello)
{
    struct result result = {.outcome = OUTCOME_OWN_ERROR};
    struct tls_profile *profile = trusting_root();
    char hello[4096];
    int fds[2];
    socket_pair(fds);
    SSL *client = tls_new(profile, HOST, fds[0]);
    EXPECT(!client_step(client, &result));
    if (read_hello)
        EXPECT(read(fds[1], hello, sizeof hello) > 0);
    EXPECT_INT(write(fds[1], bytes, len), (int64_t)len);
    close(fds[1]);
    EXPECT(client_step(client, &result));
    EXPECT(ERR_peek_error() == 0);
    EXPECT_INT(result.expires_s, 0);
    SSL_free(client);
    close(fds[0]);
    tls_profile_unref(profile);
    return result;
}

TEST(right_certificate)
{
    struct cert leaf = make("DNS:trips.test", -DAY_S, 30 * DAY_S);
    struct result r = ask(HOST, &leaf);
    EXPECT_INT(r.outcome, OUTCOME_OK);
    EXPECT_STR(r.sni, HOST);
    EXPECT_INT(r.version, TLS1_3_VERSION);
    int64_t left_s = r.expires_s - time(NULL);
    EXPECT(left_s > 30 * DAY_S - 600 && left_s <= 30 * DAY_S);

    r = ask("TRIPS.test", &leaf);
    EXPECT_INT(r.outcome, OUTCOME_OK);
    r = ask("trips.test.", &leaf);
    EXPECT_INT(r.outcome, OUTCOME_OK);
    EXPECT_STR(r.sni, HOST);
    cert_free(&leaf);

    leaf = make("DNS:*.trips.test", -DAY_S, 900 * DAY_S);
    r = ask("eu.trips.test", &leaf);
    EXPECT_INT(r.outcome, OUTCOME_OK);
    left_s = r.expires_s - time(NULL); /* the root ends before the leaf does */
    EXPECT(left_s > 90 * DAY_S - 600 && left_s <= 90 * DAY_S);
    cert_free(&leaf);
}

TEST(tls_1_2_is_the_least)
{
    struct cert leaf = make("DNS:trips.test", 0, 0);
    struct tls_profile *profile = trusting_root();
    struct server server = {.cert = &leaf, .max_version = TLS1_2_VERSION};
    struct result r = shake_hands(profile, HOST, &server);
    EXPECT_INT(r.outcome, OUTCOME_OK);
    EXPECT_INT(r.version, TLS1_2_VERSION);
    server.max_version = TLS1_1_VERSION;
    r = shake_hands(profile, HOST, &server);
    EXPECT_INT(r.outcome, OUTCOME_TLS_HANDSHAKE);
    EXPECT_STR(r.text, "peer refuses TLS: alert 'protocol version'");
    tls_profile_unref(profile);
    cert_free(&leaf);
}

TEST(expired)
{
    static const struct {
        int64_t ago_s;
        const char *text;
    } rows[] = {
        {2 * DAY_S + 60, "certificate expired 2 days ago"},
        {DAY_S + 60, "certificate expired 1 day ago"},
        {5 * 3600 + 60, "certificate expired 5 hours ago"},
        {90, "certificate expired 1 minute ago"},
    };
    for (size_t i = 0; i < sizeof rows / sizeof rows[0]; i++) {
        struct cert leaf = make("DNS:trips.test", -30 * DAY_S, -rows[i].ago_s);
        struct result r = ask(HOST, &leaf);
        EXPECT_INT(r.outcome, OUTCOME_TLS_EXPIRED);
        EXPECT_STR(r.text, rows[i].text);
        EXPECT(r.expires_s != 0 && r.expires_s < time(NULL)); /* known although it failed */
        cert_free(&leaf);
    }
}

TEST(not_yet_valid)
{
    struct cert leaf = make("DNS:trips.test", 3 * 3600 + 1800, 30 * DAY_S);
    struct result r = ask(HOST, &leaf);
    EXPECT_INT(r.outcome, OUTCOME_TLS_NOT_YET_VALID);
    EXPECT_STR(r.text, "certificate not valid for another 3 hours");
    cert_free(&leaf);
}

TEST(intermediate)
{
    struct cert_spec spec = {.name = "leaf", .san = "DNS:trips.test", .issuer = &mid};
    struct cert leaf = cert_make(&spec);
    struct tls_profile *profile = trusting_root();
    struct server server = {.cert = &leaf, .intermediate = &mid};
    struct result r = shake_hands(profile, HOST, &server);
    EXPECT_INT(r.outcome, OUTCOME_OK);
    server.intermediate = NULL;
    r = shake_hands(profile, HOST, &server);
    EXPECT_INT(r.outcome, OUTCOME_TLS_UNTRUSTED);
    EXPECT_STR(r.text, "certificate not trusted: unable to get local issuer certificate "
                       "(issued by 'Mid CA')");
    cert_free(&leaf);

    struct cert_spec old_spec = {.name = "Old CA",
                                 .from_s = -30 * DAY_S,
                                 .to_s = -3 * DAY_S - 60,
                                 .issuer = &root,
                                 .ca = true};
    struct cert old = cert_make(&old_spec);
    spec.issuer = &old;
    leaf = cert_make(&spec);
    server.intermediate = &old;
    r = shake_hands(profile, HOST, &server);
    EXPECT_INT(r.outcome, OUTCOME_TLS_EXPIRED);
    EXPECT_STR(r.text, "issuer's certificate 'Old CA' expired 3 days ago");
    cert_free(&old);
    cert_free(&leaf);
    tls_profile_unref(profile);
}

TEST(wrong_host)
{
    struct cert leaf = make("DNS:other.test,DNS:third.test,IP:10.0.0.1", 0, 0);
    struct result r = ask(HOST, &leaf);
    EXPECT_INT(r.outcome, OUTCOME_TLS_WRONG_HOST);
    EXPECT_STR(r.text, "certificate is for 'other.test' and 2 others, not for 'trips.test'");
    r = ask("10.0.0.2", &leaf);
    EXPECT_INT(r.outcome, OUTCOME_TLS_WRONG_HOST);
    EXPECT_STR(r.text, "certificate is for 'other.test' and 2 others, not for '10.0.0.2'");
    cert_free(&leaf);

    leaf = make("IP:2001:db8::1", 0, 0);
    r = ask(HOST, &leaf);
    EXPECT_STR(r.text, "certificate is for '2001:db8::1', not for 'trips.test'");
    cert_free(&leaf);

    leaf = make(NULL, 0, 0);
    r = ask(HOST, &leaf);
    EXPECT_INT(r.outcome, OUTCOME_TLS_WRONG_HOST);
    EXPECT_STR(r.text, "certificate is for 'leaf', not for 'trips.test'");
    cert_free(&leaf);
}

TEST(long_foreign_names_are_cut)
{
    char san[512] = "DNS:\x1b[31m";
    size_t len = strlen(san);
    memset(san + len, 'a', 200);
    struct cert leaf = make(san, 0, 0);
    struct result r = ask(HOST, &leaf);
    EXPECT_INT(r.outcome, OUTCOME_TLS_WRONG_HOST);
    EXPECT(strchr(r.text, '\x1b') == NULL);
    EXPECT_HAS(r.text, "certificate is for '.[31maaa");
    EXPECT_HAS(r.text, "aaa...', not for 'trips.test'");
    cert_free(&leaf);
}

TEST(numeric_host)
{
    struct cert leaf = make("IP:127.0.0.1,IP:::1", 0, 0);
    struct result r = ask("127.0.0.1", &leaf);
    EXPECT_INT(r.outcome, OUTCOME_OK);
    EXPECT_STR(r.sni, "");
    r = ask("::1", &leaf);
    EXPECT_INT(r.outcome, OUTCOME_OK);
    cert_free(&leaf);

    leaf = make("DNS:127.0.0.1", 0, 0); /* an address is no name */
    r = ask("127.0.0.1", &leaf);
    EXPECT_INT(r.outcome, OUTCOME_TLS_WRONG_HOST);
    cert_free(&leaf);
}

TEST(unknown_issuer)
{
    struct cert_spec spec = {.name = "trips.test", .san = "DNS:trips.test"};
    struct cert self = cert_make(&spec);
    struct result r = ask(HOST, &self);
    EXPECT_INT(r.outcome, OUTCOME_TLS_UNTRUSTED);
    EXPECT_STR(r.text, "certificate not trusted: self-signed certificate (issued by 'trips.test')");

    struct tls_conf system = {.verify = true};
    struct tls_profile *profile = profile_of(&system);
    struct server server = {.cert = &self};
    r = shake_hands(profile, HOST, &server);
    EXPECT_INT(r.outcome, OUTCOME_TLS_UNTRUSTED);
    tls_profile_unref(profile);
    cert_free(&self);
}

TEST(verification_can_be_switched_off)
{
    struct cert leaf = make("DNS:other.test", -30 * DAY_S, -2 * DAY_S);
    struct tls_conf conf = {.verify = false};
    struct tls_profile *profile = profile_of(&conf);
    struct server server = {.cert = &leaf};
    struct result r = shake_hands(profile, HOST, &server);
    EXPECT_INT(r.outcome, OUTCOME_OK);
    int64_t late_s = time(NULL) - r.expires_s;
    EXPECT(late_s >= 2 * DAY_S && late_s < 2 * DAY_S + 600);
    tls_profile_unref(profile);
    cert_free(&leaf);
}

TEST(client_certificate)
{
    struct cert leaf = make("DNS:trips.test", 0, 0);
    struct tls_conf conf = {
        .ca_file = root_file, .cert_file = client_file, .key_file = client_key, .verify = true};
    struct tls_profile *with = profile_of(&conf), *without = trusting_root();
    static const int versions[] = {TLS1_2_VERSION, TLS1_3_VERSION};
    for (size_t i = 0; i < 2; i++) {
        struct server server = {
            .cert = &leaf, .max_version = versions[i], .wants_certificate = true};
        struct result r = shake_hands(with, HOST, &server);
        EXPECT_INT(r.outcome, OUTCOME_OK);
        r = shake_hands(without, HOST, &server);
        EXPECT_INT(r.outcome, OUTCOME_TLS_HANDSHAKE);
        EXPECT_HAS(r.text, "peer refuses TLS: alert '");
    }
    tls_profile_unref(with);
    tls_profile_unref(without);
    cert_free(&leaf);
}

TEST(peer_without_tls)
{
    static const char plain[] = "HTTP/1.1 400 Bad Request\r\n\r\n";
    struct result r = ask_raw(plain, sizeof plain - 1, true);
    EXPECT_INT(r.outcome, OUTCOME_TLS_HANDSHAKE);
    EXPECT_STR(r.text, "TLS handshake failed: wrong version number: peer does not speak TLS");

    static const char garbage[] = "\x16\x03\x03\x00\x04\x63\x00\x00\x00";
    r = ask_raw(garbage, sizeof garbage - 1, true);
    EXPECT_INT(r.outcome, OUTCOME_TLS_HANDSHAKE);
    EXPECT_HAS(r.text, "TLS handshake failed: ");
}

TEST(peer_goes_away)
{
    struct result r = ask_raw("", 0, true);
    EXPECT_INT(r.outcome, OUTCOME_CLOSED);
    EXPECT_STR(r.text, "closed in TLS handshake");
    r = ask_raw("\x16\x03\x03", 3, true);
    EXPECT_INT(r.outcome, OUTCOME_CLOSED);
    r = ask_raw("", 0, false); /* what was sent is lost */
    EXPECT_INT(r.outcome, OUTCOME_RESET);
    EXPECT_STR(r.text, "connection reset by peer in TLS handshake");
}

static struct tls_profile *prepare(size_t i, const struct tls_conf *conf)
{
    targets[i] = (struct target_conf){.tls = *conf};
    targets[i].tls_profile = profile_of(conf);
    target_list[i] = &targets[i];
    config.target_count = i + 1;
    return targets[i].tls_profile;
}

TEST(equal_targets_share_a_profile)
{
    struct tls_conf conf = {.verify = true};
    char same_file[64];
    snprintf(same_file, sizeof same_file, "%s", root_file);
    struct tls_profile *first = prepare(0, &conf);
    struct tls_conf other = {.ca_file = root_file, .verify = true};
    struct tls_profile *second = prepare(1, &other);
    EXPECT(first != second);
    conf.cert_warn = 7;
    char name[] = "elsewhere.test";
    conf.server_name = name;
    EXPECT(prepare(2, &conf) == first);
    other.ca_file = same_file;
    EXPECT(prepare(3, &other) == second);
    config.target_count = 4;

    /* Another client certificate: another profile, the same trust. */
    other.cert_file = client_file;
    other.key_file = client_key;
    struct tls_profile *third = profile_of(&other);
    EXPECT(third != second);
    struct cert leaf = make("DNS:trips.test", 0, 0);
    struct server server = {.cert = &leaf, .wants_certificate = true};
    struct result r = shake_hands(third, HOST, &server);
    EXPECT_INT(r.outcome, OUTCOME_OK);
    cert_free(&leaf);
    tls_profile_unref(third);

    config.target_count = 0;
    for (size_t i = 0; i < 4; i++)
        tls_profile_unref(targets[i].tls_profile);
}

static void expect_fault(const struct tls_conf *conf, const char *format, const char *path)
{
    struct strbuf why;
    struct tls_profile *profile = NULL;
    char want[300];
    strbuf_init(&why, 1000);
    EXPECT_INT(tls_profile_get(&config, conf, &why, &profile), -EINVAL);
    EXPECT(profile == NULL);
    snprintf(want, sizeof want, "%.*s%s%s", (int)strcspn(format, "@"), format, path,
             format + strcspn(format, "@") + (strchr(format, '@') != NULL));
    EXPECT_STR(why.data, want);
    EXPECT(ERR_peek_error() == 0);
    strbuf_done(&why);
}

TEST(faults_name_the_setting)
{
    char missing[64], empty[64];
    in_dir(missing, "missing.pem");
    in_dir(empty, "empty.pem");
    int fd = open(empty, O_CREAT | O_WRONLY | O_CLOEXEC, 0600);
    close(fd);

    struct tls_conf conf = {.ca_file = missing, .verify = true};
    expect_fault(&conf, "'ca_file' @: No such file or directory", missing);
    conf.ca_file = dir;
    expect_fault(&conf, "'ca_file' @: Is a directory", dir);
    conf.ca_file = empty;
    expect_fault(&conf, "'ca_file' @: no usable PEM certificate in it", empty);

    conf = (struct tls_conf){.key_file = client_key};
    expect_fault(&conf, "'key_file' has no use without 'cert_file'@", "");
    conf.cert_file = missing;
    expect_fault(&conf, "'cert_file' @: No such file or directory", missing);
    conf.cert_file = empty;
    expect_fault(&conf, "'cert_file' @: no usable PEM certificate in it", empty);
    conf.cert_file = client_file;
    conf.key_file = missing;
    expect_fault(&conf, "'key_file' @: No such file or directory", missing);
    conf.key_file = other_key;
    expect_fault(&conf, "'key_file' @: key values mismatch", other_key);
    conf.key_file = locked_key;
    expect_fault(&conf, "'key_file' @: the key is protected by a passphrase; write it without one",
                 locked_key);
    conf.key_file = client_file;
    expect_fault(&conf, "'key_file' @: no usable PEM private key in it", client_file);
    conf.key_file = NULL;
    expect_fault(&conf, "'cert_file' @: no usable PEM private key in it", client_file);
    unlink(empty);
}

int main(void)
{
    signal(SIGPIPE, SIG_IGN); /* as the daemon does: OpenSSL writes without MSG_NOSIGNAL */
    if (mkdtemp(dir) == NULL)
        return 1;
    struct cert_spec root_spec = {.name = "Test CA", .ca = true};
    root = cert_make(&root_spec);
    struct cert_spec mid_spec = {.name = "Mid CA", .ca = true, .issuer = &root};
    mid = cert_make(&mid_spec);
    struct cert client = make(NULL, 0, 0), other = make(NULL, 0, 0);
    in_dir(root_file, "root.pem");
    in_dir(client_file, "client.pem");
    in_dir(client_key, "client.key");
    in_dir(locked_key, "locked.key");
    in_dir(other_key, "other.key");
    cert_write(root_file, &root);
    cert_write(client_file, &client);
    cert_write_key(client_key, &client, NULL);
    cert_write_key(locked_key, &client, "secret");
    cert_write_key(other_key, &other, NULL);
    cert_free(&client);
    cert_free(&other);

    RUN(right_certificate);
    RUN(tls_1_2_is_the_least);
    RUN(expired);
    RUN(not_yet_valid);
    RUN(intermediate);
    RUN(wrong_host);
    RUN(long_foreign_names_are_cut);
    RUN(numeric_host);
    RUN(unknown_issuer);
    RUN(verification_can_be_switched_off);
    RUN(client_certificate);
    RUN(peer_without_tls);
    RUN(peer_goes_away);
    RUN(equal_targets_share_a_profile);
    RUN(faults_name_the_setting);

    unlink(root_file);
    unlink(client_file);
    unlink(client_key);
    unlink(locked_key);
    unlink(other_key);
    rmdir(dir);
    cert_free(&root);
    cert_free(&mid);
    return testing_end();
}
