/*
 * mysql: MySQL and MariaDB, the whole handshake of a named user, then COM_QUIT.
 *
 * The server speaks first, but that greeting must never be the end: a client that leaves after it
 * counts as a handshake error, and after max_connect_errors (100) of them the server locks the
 * client's address out. A refused login does not count. So whatever the greeting says, an answer is
 * sent and the server's verdict read, even where the answer cannot be what was wanted.
 * Source: MySQL internals, "Connection Phase"; MariaDB knowledge base, "Connecting".
 */
#include "probe/bytes.h"
#include "probe/engine.h"
#include "probe/sslmode.h"

#include <healthsvc/config.h>
#include <healthsvc/keys.h>
#include <healthsvc/strbuf.h>

#include <openssl/evp.h>
#include <string.h>

#define HEADER_BYTES 4
#define ERROR_PACKET 0xff
#define SALT_BYTES 20
#define MAX_PACKET_BYTES 16777215
#define CHARSET_UTF8 33

#define CLIENT_PROTOCOL_41 0x00000200u
#define CLIENT_SSL 0x00000800u
#define CLIENT_SECURE_CONNECTION 0x00008000u
#define CLIENT_PLUGIN_AUTH 0x00080000u
#define CAPABILITIES (CLIENT_PROTOCOL_41 | CLIENT_SECURE_CONNECTION | CLIENT_PLUGIN_AUTH)

struct mysql_conf {
    int sslmode; /* enum sslmode */
};

static const struct key_row mysql_keys[] = {
    SSLMODE_ROW(struct mysql_conf),
    KEYS_END,
};

static int mysql_prepare(struct target_conf *conf, struct strbuf *why)
{
    const struct mysql_conf *mysql = conf->scheme_conf;
    return sslmode_settle(conf, mysql->sslmode, why);
}

static bool mysql_wants_tls(const struct target_conf *conf)
{
    return ((const struct mysql_conf *)conf->scheme_conf)->sslmode != SSLMODE_DISABLE;
}

struct mysql_state {
    const struct target_conf *conf;
    bool greeted, secured;
    bool no_tls;      /* wanted and not to be had: the verdict, after a quiet end */
    uint8_t sequence; /* of the packet that we send next */
    bool sha256;      /* the server's plugin is caching_sha2_password */
    uint8_t salt[SALT_BYTES];
    struct bytes_held held;
};

/* ---- what is sent ---- */

/* Begins a packet: its header is filled in by end_packet(). */
static size_t begin_packet(struct strbuf *out)
{
    bytes_add_be32(out, 0);
    return out->len;
}

static void end_packet(struct mysql_state *s, struct strbuf *out, size_t begin)
{
    uint32_t header = (uint32_t)(out->len - begin) | (uint32_t)s->sequence << 24;
    bytes_put_be32(out, begin - HEADER_BYTES, __builtin_bswap32(header));
    s->sequence++;
}

/* SHA1(password) ^ SHA1(salt, SHA1(SHA1(password))); with SHA-256 the salt comes last. */
static bool scramble(const struct mysql_state *s, const char *password, uint8_t *ret,
                     unsigned *ret_len)
{
    const EVP_MD *md = s->sha256 ? EVP_sha256() : EVP_sha1();
    uint8_t once[EVP_MAX_MD_SIZE], mixed[SALT_BYTES + EVP_MAX_MD_SIZE];
    unsigned len = 0;
    uint8_t *twice = s->sha256 ? mixed : mixed + SALT_BYTES;
    uint8_t *salt = s->sha256 ? mixed + EVP_MD_get_size(md) : mixed;
    bool done = EVP_Digest(password, strlen(password), once, &len, md, NULL) == 1 &&
                EVP_Digest(once, len, twice, NULL, md, NULL) == 1;
    memcpy(salt, s->salt, SALT_BYTES);
    done = done && EVP_Digest(mixed, SALT_BYTES + len, ret, ret_len, md, NULL) == 1;
    for (unsigned i = 0; done && i < len; i++)
        ret[i] ^= once[i];
    return done;
}

/* The proof of the password, with its length before it if `counted`. */
static void add_proof(const struct mysql_state *s, struct strbuf *out, bool counted)
{
    uint8_t proof[EVP_MAX_MD_SIZE];
    unsigned len = 0;
    /* Without TLS where TLS is wanted not even a proof is given away. */
    if (s->conf->secret != NULL && !s->no_tls && !scramble(s, s->conf->secret, proof, &len))
        len = 0;
    if (counted)
        strbuf_addc(out, (char)len);
    strbuf_add(out, proof, len);
}

static uint32_t capabilities(const struct mysql_state *s)
{
    return CAPABILITIES | (s->secured ? CLIENT_SSL : 0);
}

/* The part of the handshake response that is also the request for TLS. */
static void add_response_head(const struct mysql_state *s, struct strbuf *out)
{
    static const char zeros[23];
    bytes_add_le32(out, capabilities(s));
    bytes_add_le32(out, MAX_PACKET_BYTES);
    strbuf_addc(out, CHARSET_UTF8);
    strbuf_add(out, zeros, sizeof zeros);
}

static void add_response(struct mysql_state *s, struct strbuf *out, bool tls_request)
{
    const char *user = s->conf->user != NULL ? s->conf->user : "healthsvc";
    const char *plugin = s->sha256 ? "caching_sha2_password" : "mysql_native_password";
    size_t packet = begin_packet(out);
    add_response_head(s, out);
    if (!tls_request) {
        strbuf_add(out, user, strlen(user) + 1);
        add_proof(s, out, true);
        strbuf_add(out, plugin, strlen(plugin) + 1);
    }
    end_packet(s, out, packet);
}

/* ---- what comes back ---- */

static enum outcome outcome_of_error(uint16_t code, bool login)
{
    switch (code) {
    case 1040: /* too many connections */
    case 1135: /* cannot create a new thread */
    case 1203: /* too many connections of this user */
    case 1226: /* a limit of this user's */
        return OUTCOME_OVERLOADED;
    case 1053: /* shutdown in progress */
        return OUTCOME_STOPPING;
    case 3032: /* offline mode (MySQL) */
        return OUTCOME_NOT_SERVING;
    case 1044: /* access denied to the database */
    case 1045: /* access denied */
    case 1130: /* this host is not allowed */
    case 1251: /* another authentication is needed */
    case 1524: /* the user's plugin is not loaded */
    case 1698: /* access denied, no password may help */
    case 1820: /* the password must be changed */
    case 1862: /* the password has expired */
    case 3118: /* the account is locked (MySQL) */
    case 4151: /* the account is locked (MariaDB) */
    case 3159: /* insecure transport is prohibited (MySQL) */
    case 8513: /* the same (MariaDB) */
        return login ? OUTCOME_LOGIN_FAILED : OUTCOME_OK;
    default:
        return OUTCOME_REFUSED;
    }
}

static enum dlg_step judge_error(const struct mysql_state *s, struct bytes body,
                                 struct dlg_result *ret)
{
    uint16_t code = bytes_le16(&body);
    if (body.left > 0 && body.at[0] == '#') /* and the SQLSTATE: not before the handshake */
        (void)bytes_take(&body, 6);
    if (body.failed)
        return bytes_end(ret, OUTCOME_BAD_REPLY, "an error without a number");
    if (s->no_tls)
        return bytes_end(ret, OUTCOME_TLS_HANDSHAKE, "the server does not speak TLS");
    enum outcome outcome = outcome_of_error(code, s->conf->secret != NULL);
    return bytes_end_said(ret, outcome, outcome == OUTCOME_OK ? "alive: " : "", body.at, body.left);
}

static enum dlg_step take_greeting(struct mysql_state *s, struct bytes body, struct strbuf *out,
                                   struct dlg_result *ret)
{
    const struct mysql_conf *mysql = s->conf->scheme_conf;
    const char *version = bytes_text(&body);
    (void)bytes_le32(&body); /* connection id */
    const uint8_t *salt = bytes_take(&body, 8);
    (void)bytes_u8(&body); /* filler */
    uint32_t can = bytes_le16(&body);
    (void)bytes_take(&body, 3); /* charset, status */
    can |= (uint32_t)bytes_le16(&body) << 16;
    (void)bytes_take(&body, 11); /* length of the salt, reserved */
    const uint8_t *more_salt = bytes_take(&body, SALT_BYTES - 8);
    if (version == NULL || salt == NULL || more_salt == NULL || (can & CAPABILITIES) == 0)
        return bytes_end(ret, OUTCOME_BAD_REPLY, "not a valid greeting");
    memcpy(s->salt, salt, 8);
    memcpy(s->salt + 8, more_salt, SALT_BYTES - 8);
    (void)bytes_u8(&body); /* the salt's NUL */
    const char *plugin = (can & CLIENT_PLUGIN_AUTH) ? bytes_text(&body) : NULL;
    s->sha256 = plugin != NULL && strcmp(plugin, "caching_sha2_password") == 0;

    s->greeted = true;
    if (mysql->sslmode != SSLMODE_DISABLE && (can & CLIENT_SSL)) {
        s->secured = true;
        add_response(s, out, true);
        return DLG_STARTTLS;
    }
    s->no_tls = mysql->sslmode > SSLMODE_PREFER;
    add_response(s, out, false);
    return DLG_MORE;
}

/* Another plugin than was guessed, with a salt of its own. What is not known here gets an empty
 * answer, and an honest refusal comes back. */
static void switch_plugin(struct mysql_state *s, struct bytes body, struct strbuf *out)
{
    const char *plugin = bytes_text(&body);
    const uint8_t *salt = bytes_take(&body, SALT_BYTES);
    bool native = plugin != NULL && strcmp(plugin, "mysql_native_password") == 0;
    s->sha256 = plugin != NULL && strcmp(plugin, "caching_sha2_password") == 0;
    size_t packet = begin_packet(out);
    if ((native || s->sha256) && salt != NULL) {
        memcpy(s->salt, salt, SALT_BYTES);
        add_proof(s, out, false);
    }
    end_packet(s, out, packet);
}

/* What caching_sha2_password says between: 3, the proof was enough; 4, it wants the password, which
 * only goes through a verified channel. */
static enum dlg_step take_more(struct mysql_state *s, struct bytes body, struct strbuf *out,
                               struct dlg_result *ret)
{
    uint8_t what = bytes_u8(&body);
    if (what == 3 && s->sha256)
        return DLG_MORE;
    if (what != 4 || !s->sha256)
        return bytes_end(ret, OUTCOME_BAD_REPLY, "not a known step of authentication");
    size_t packet = begin_packet(out);
    if (s->secured && s->conf->tls.verify && s->conf->secret != NULL)
        strbuf_add(out, s->conf->secret, strlen(s->conf->secret) + 1);
    end_packet(s, out, packet);
    return DLG_MORE;
}

static enum dlg_step judge_ok(struct mysql_state *s, struct strbuf *out, struct dlg_result *ret)
{
    static const uint8_t com_quit[] = {1, 0, 0, 0, 1};
    strbuf_add(out, com_quit, sizeof com_quit);
    if (s->no_tls)
        return bytes_end(ret, OUTCOME_TLS_HANDSHAKE, "the server does not speak TLS");
    ret->outcome = OUTCOME_OK;
    return DLG_DONE;
}

static enum dlg_step judge_packet(struct mysql_state *s, struct bytes body, struct strbuf *out,
                                  struct dlg_result *ret)
{
    uint8_t type = bytes_u8(&body);
    if (type == ERROR_PACKET)
        return judge_error(s, body, ret);
    if (!s->greeted) {
        if (type == 10)
            return take_greeting(s, body, out, ret);
        return bytes_end(ret, OUTCOME_BAD_REPLY, "not a greeting of MySQL");
    }
    if (type == 0x00)
        return judge_ok(s, out, ret);
    if (type == 0x01)
        return take_more(s, body, out, ret);
    if (type != 0xfe)
        return bytes_end(ret, OUTCOME_BAD_REPLY, "not an answer to a login");
    switch_plugin(s, body, out);
    return DLG_MORE;
}

static enum dlg_step mysql_open(void *state, const struct target_conf *conf, struct strbuf *out,
                                struct dlg_result *ret)
{
    struct mysql_state *s = state;
    (void)ret;
    s->conf = conf;
    if (s->secured)
        add_response(s, out, false);
    return DLG_MORE;
}

static enum dlg_step mysql_feed(void *state, const uint8_t *in, size_t len, struct strbuf *out,
                                struct dlg_result *ret)
{
    struct mysql_state *s = state;
    while (bytes_gather(&s->held, HEADER_BYTES, &in, &len)) {
        struct bytes header = bytes_of(s->held.at, HEADER_BYTES);
        uint32_t word = bytes_le32(&header);
        size_t body_bytes = word & 0xffffff;
        uint8_t sequence = (uint8_t)(word >> 24);
        if (body_bytes == 0 || body_bytes > BYTES_HELD_MAX - HEADER_BYTES)
            return bytes_end(ret, OUTCOME_BAD_REPLY, "not a packet of MySQL");
        if (!bytes_gather(&s->held, HEADER_BYTES + body_bytes, &in, &len))
            break;
        if (sequence != s->sequence && s->held.at[HEADER_BYTES] != ERROR_PACKET)
            return bytes_end(ret, OUTCOME_BAD_REPLY, "a packet out of sequence");
        s->sequence = (uint8_t)(sequence + 1);
        enum dlg_step step =
            judge_packet(s, bytes_of(s->held.at + HEADER_BYTES, body_bytes), out, ret);
        s->held.len = 0;
        if (step == DLG_STARTTLS && len > 0)
            return bytes_end(ret, OUTCOME_BAD_REPLY, "bytes in clear after the turn to TLS");
        if (step != DLG_MORE)
            return step;
    }
    return DLG_MORE;
}

static const struct dialogue mysql_dialogue = {
    .state_size = sizeof(struct mysql_state),
    .open = mysql_open,
    .feed = mysql_feed,
    .max_reply_bytes = 65536,
    .polite = true,
};

extern const struct scheme scheme_mysql;

const struct scheme scheme_mysql = {
    .name = "mysql",
    .port = 3306,
    .flags = SCHEME_SECRET | SCHEME_STARTTLS,
    .conf_size = sizeof(struct mysql_conf),
    .keys = mysql_keys,
    .prepare = mysql_prepare,
    .wants_tls = mysql_wants_tls,
    .ops = &stream_ops,
    .dialogue = &mysql_dialogue,
};
