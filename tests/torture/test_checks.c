/*
 * A check of every scheme without memory: it ends in what it ends in with memory, or it has not been
 * tried. Whatever else it said would be a lie about the dependency: a good end as much as a bad one.
 */
#ifdef HAVE_CONFIG_H
#include <config.h>
#endif

#include "torture.h"

#include "../asking.h"
#include "../certs.h"
#include "../dns_server.h"
#include "../lessons.h"

#include <healthsvc/config.h>
#include <healthsvc/strbuf.h>

#include "probe/engine.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

static char folder[] = "/tmp/healthsvc-torture-XXXXXX";

/* ---- one check ---- */

static struct loop *loop;
static struct engine *engine;
static struct kept *kept;
static const char *nameservers;

static void engine_up(void)
{
    if (loop_new(&loop) != 0 || engine_new(loop, nameservers, &engine) != 0)
        abort();
}

static void engine_down(void)
{
    engine = engine_free(engine);
    loop = loop_free(loop);
}

struct check {
    const struct target_conf *conf;
    bool looks_up;      /* a name, which nothing must be known of yet */
    enum outcome right; /* what it ends in with memory */
    /* Then: */
    int start_error;
    unsigned ends;
    enum outcome outcome;
    char text[OUTCOME_TEXT_BYTES];
};

static void on_done(struct probe *p, const struct probe_result *result, void *arg)
{
    checker_role_assert();
    struct check *check = arg;
    (void)p;
    torture_end();
    check->ends++;
    check->outcome = result->outcome;
    memcpy(check->text, result->text, sizeof check->text);
    loop_stop(loop);
}

static void begin(void *arg)
{
    checker_role_assert();
    struct check *check = arg;
    struct probe *probe;
    torture_begin();
    check->start_error = probe_start(engine, check->conf, &kept, on_done, check, &probe);
    if (check->start_error < 0) {
        torture_end();
        loop_stop(loop);
    }
}

/* A thread may give its own back a little later. Less than before is right, too: the name server is
 * one of this process's threads, and may only then accept, and close, what a check before gave up. */
static bool descriptors_return_to(int count)
{
    static const struct timespec tick = {.tv_nsec = 1000000};
    for (int64_t left_ms = 5000 * ask_scale(); left_ms > 0; left_ms--) {
        if (ask_descriptors() <= count)
            return true;
        nanosleep(&tick, NULL);
    }
    return false;
}

static void check_once(const void *arg)
{
    const struct check *what = arg;
    struct check check = *what;
    int descriptors = ask_descriptors();
    if (check.looks_up)
        engine_up();
    struct loop_letter letter = {.fn = begin, .arg = &check};
    loop_post(loop, &letter);
    loop_run(loop);
    probe_drop_kept(&kept);
    EXPECT_INT(check.ends, check.start_error == 0);
    if (check.start_error < 0)
        EXPECT_INT(check.start_error, -ENOMEM);
    bool tried = check.start_error == 0 && outcome_class(check.outcome) != OUTCOME_CLASS_NOT_TRIED;
    bool right = check.start_error == 0 && check.outcome == what->right;
    if (!EXPECT(right || (torture_struck() && !tried)))
        printf("# ended in %s: %s\n", outcome_token(check.outcome), check.text);
    if (check.looks_up)
        engine_down();
    EXPECT(descriptors_return_to(descriptors));
}

/* ---- who is asked ---- */

#define HEALTH_DOC                                                     \
    "{\"status\":\"warn\",\"checks\":{\"db:t\":[{\"status\":\"warn\"," \
    "\"output\":\"slow\"}]}}"
/* It ends with the connection. */
#define HTTP_DOC(type, body)                                                               \
    {                                                                                      \
        .reply = "HTTP/1.1 200 OK\r\nContent-Type: " type "\r\n\r\n" body, .endless = "x", \
    }

/* What the row of all schemes has not got. */
static const struct special {
    const char *name, *scheme, *settings;
    struct peer_script script; /* no reply: the scheme's lesson */
    enum peer_tls tls;
    enum peer_kind kind;
    enum outcome right;
} specials[] = {
    {.name = "tcp refused", .scheme = "tcp", .kind = PEER_REFUSE, .right = OUTCOME_CONNECT_REFUSED},
    {.name = "redis closed", .scheme = "redis", .kind = PEER_HALF_CLOSE, .right = OUTCOME_CLOSED},
    {.name = "http garbage", .scheme = "http", .kind = PEER_GARBAGE, .right = OUTCOME_BAD_REPLY},
    {.name = "http with a pattern",
     .scheme = "http",
     .settings = "expect_body = \"^ok\"; expect_headers = [ \"Server: ^p\" ];",
     .kind = PEER_RIGHT},
    {.name = "http with another pattern",
     .scheme = "http",
     .settings = "expect_body = \"up\";",
     .kind = PEER_RIGHT,
     .right = OUTCOME_BODY_MISMATCH},
    {.name = "http with a login",
     .scheme = "http",
     .settings = "user = \"joe\"; password_env = \"HEALTHSVC_SECRET\";",
     .kind = PEER_RIGHT},
#ifdef HAVE_JANSSON
    {.name = "http of a health service",
     .scheme = "http",
     .script = HTTP_DOC("application/health+json", HEALTH_DOC),
     .kind = PEER_RIGHT_CLOSE,
     .right = OUTCOME_WARNING},
    {.name = "http with JSON",
     .scheme = "http",
     .settings = "expect_json = [ \"/status = warn\", \"/checks/db:t/0/output\" ];",
     .script = HTTP_DOC("application/json", HEALTH_DOC),
     .kind = PEER_RIGHT_CLOSE},
    {.name = "http with other JSON",
     .scheme = "http",
     .settings = "expect_json = \"/status = pass\";",
     .script = HTTP_DOC("application/json", HEALTH_DOC),
     .kind = PEER_RIGHT_CLOSE,
     .right = OUTCOME_WRONG_ANSWER},
#endif
    {.name = "http of a text",
     .scheme = "http",
     .script = HTTP_DOC("text/plain", "api status: Warning\nDependencies:\ndb status: Warning\n"),
     .kind = PEER_RIGHT_CLOSE,
     .right = OUTCOME_WARNING},
    {.name = "tls expired",
     .scheme = "tls",
     .tls = PEER_TLS,
     .kind = PEER_RIGHT,
     .right = OUTCOME_TLS_EXPIRED},
    {.name = "tls for another host",
     .scheme = "tls",
     .settings = "server_name = \"other.test\";",
     .tls = PEER_TLS,
     .kind = PEER_RIGHT,
     .right = OUTCOME_TLS_WRONG_HOST},
    {.name = "https refused",
     .scheme = "https",
     .tls = PEER_PLAIN,
     .kind = PEER_GARBAGE,
     .right = OUTCOME_TLS_HANDSHAKE},
    {.name = "postgres with STARTTLS",
     .scheme = "postgres",
     .settings = "sslmode = \"verify-full\";",
     .script = {.go = "S",
                .reply = POSTGRES_REPLY,
                .reply_len = sizeof POSTGRES_REPLY - 1,
                .endless = POSTGRES_ENDLESS,
                .endless_len = sizeof POSTGRES_ENDLESS - 1},
     .tls = PEER_STARTTLS,
     .kind = PEER_RIGHT},
    {.name = "a script",
     .scheme = "tcp",
     .settings = "script = ( \"send_line HI\", \"expect 220\", \"expect_match ^250 \" );",
     .script = {.reply = "220 peer\r\n250-one\r\n250 two\r\n", .endless = "220-"},
     .kind = PEER_RIGHT},
    {.name = "another script",
     .scheme = "tcp",
     .settings = "script = ( \"send_line HI\", \"expect 221\" );",
     .script = {.reply = "220 peer\r\n250-one\r\n250 two\r\n", .endless = "220-"},
     .kind = PEER_RIGHT,
     .right = OUTCOME_WRONG_ANSWER},
};

struct identity {
    char cert_file[64], key_file[64];
};
static struct identity good, expired;

static void make_identity(struct identity *id, const char *stem, int64_t from_s, int64_t to_s)
{
    const struct cert_spec spec = {
        .name = "peer", .san = "IP:127.0.0.1", .ca = true, .from_s = from_s, .to_s = to_s};
    struct cert cert = cert_make(&spec);
    (void)snprintf(id->cert_file, sizeof id->cert_file, "%s/%s.pem", folder, stem);
    (void)snprintf(id->key_file, sizeof id->key_file, "%s/%s.key", folder, stem);
    cert_write(id->cert_file, &cert);
    cert_write_key(id->key_file, &cert, NULL);
    cert_free(&cert);
}

static struct config *config_of(const char *asked, const char *settings)
{
    char text[1024];
    (void)snprintf(text, sizeof text,
                   "dependencies = ( { name = \"d\"; %s period = \"1h\"; timeout = \"%llds\"; %s } "
                   ");\n",
                   asked, 20 * (long long)ask_scale(), settings != NULL ? settings : "");
    struct config *config = ask_config(text);
    if (config == NULL)
        abort();
    return config;
}

/* With a peer of its own. */
static void torture_special(const struct special *s)
{
    const struct scheme *scheme = scheme_find(s->scheme);
    const struct peer_script *script = &s->script;
    const struct identity *id = s->right == OUTCOME_TLS_EXPIRED ? &expired : &good;
    struct peers peers = {0};
    char asked[256];
    if (script->reply == NULL && lesson_find(s->scheme) != NULL)
        script = &lesson_find(s->scheme)->script;
    if (peers_start(&peers, script, s->tls, id->cert_file, id->key_file) != 0)
        abort();
    int len = snprintf(asked, sizeof asked, "url = \"%s://127.0.0.1:%u%s\";", scheme->name,
                       peers.ports[s->kind], scheme->flags & SCHEME_PATH ? "/health" : "");
    if ((scheme->flags & SCHEME_TLS) || s->tls != PEER_PLAIN)
        (void)snprintf(asked + len, sizeof asked - (size_t)len, " ca_file = \"%s\";",
                       id->cert_file);
    struct config *config = config_of(asked, s->settings);
    struct check check = {.conf = config->targets[0], .right = s->right};
    torture(&(struct torture){.name = s->name, .once = check_once, .arg = &check});
    config_unref(config);
    peers_stop(&peers);
}

static void torture_every_stream(void)
{
    const struct scheme *scheme;
    for (size_t i = 0; (scheme = scheme_at(i)) != NULL; i++) {
        bool tls = (scheme->flags & SCHEME_TLS) != 0;
        const struct special plainly = {
            .name = scheme->name,
            .scheme = scheme->name,
            .tls = tls ? PEER_TLS : PEER_PLAIN,
            .kind = PEER_RIGHT,
        };
        if (scheme->ops == &stream_ops)
            torture_special(&plainly);
    }
}

struct other {
    const char *name, *asked;
    enum outcome right;
    bool looks_up;   /* asked by an engine of its own, which knows no name yet */
    bool everywhere; /* the work is done by another thread */
};

/* Without such a peer. */
static void torture_other(const struct other *o)
{
    struct config *config = config_of(o->asked, NULL);
    struct check check = {.conf = config->targets[0], .looks_up = o->looks_up, .right = o->right};
    torture(&(struct torture){
        .name = o->name, .once = check_once, .arg = &check, .everywhere = o->everywhere});
    config_unref(config);
}

static void torture_names(uint16_t port, struct dns_server *dns)
{
    char asked[128];
    dns_server_set(dns, "up.test", DNS_REPLY_ADDRESSES, "127.0.0.1", 60);
    dns_server_set(dns, "both.test", DNS_REPLY_BY_TCP, "127.0.0.1 ::1", 60);
    (void)snprintf(asked, sizeof asked, "url = \"tcp://up.test:%u\";", port);
    torture_other(&(struct other){.name = "a name", .asked = asked, .looks_up = true});
    (void)snprintf(asked, sizeof asked, "url = \"tcp://both.test:%u\";", port);
    torture_other(&(struct other){.name = "a name by TCP", .asked = asked, .looks_up = true});
    torture_other(&(struct other){.name = "no name",
                                  .asked = "url = \"tcp://gone.test:1\";",
                                  .looks_up = true,
                                  .right = OUTCOME_DNS_NXDOMAIN});
}

/* Where this machine does not let us ask, that is what it ends in. */
static enum outcome outcome_of_icmp(void)
{
    struct config *config = config_of("url = \"icmp://127.0.0.1\";", NULL);
    struct asked asked = {.conf = config->targets[0]};
    EXPECT_INT(ask(&asked, 1, NULL), 0);
    config_unref(config);
    return asked.result.outcome;
}

static void torture_other_ones(struct dns_server *dns)
{
    char dns_asked[128], tcp_asked[128], file_asked[200];
    const char *server = dns_server_address(dns);
    dns_server_set(dns, "up.test", DNS_REPLY_ADDRESSES, "127.0.0.1", 60);
    dns_server_set(dns, "both.test", DNS_REPLY_BY_TCP, "127.0.0.1 ::1", 60);
    (void)snprintf(dns_asked, sizeof dns_asked, "url = \"dns://%s/up.test\";", server);
    (void)snprintf(tcp_asked, sizeof tcp_asked, "url = \"dns://%s/both.test\";", server);
    (void)snprintf(file_asked, sizeof file_asked, "url = \"file://%s\"; match = \"BEGIN\";",
                   good.cert_file);
    const struct other others[] = {
        {.name = "dns", .asked = dns_asked},
        {.name = "dns by TCP", .asked = tcp_asked},
        {.name = "ntp refused",
         .asked = "url = \"ntp://127.0.0.1:1\";",
         .right = OUTCOME_CONNECT_REFUSED},
        {.name = "icmp", .asked = "url = \"icmp://127.0.0.1\";", .right = outcome_of_icmp()},
        {.name = "file", .asked = file_asked, .everywhere = true},
        {.name = "file missing",
         .asked = "url = \"file:///nonexistent\";",
         .everywhere = true,
         .right = OUTCOME_WRONG_ANSWER},
        {.name = "exec", .asked = "exec = [ \"/bin/echo\", \"ok | a=1;2;3 b=4MB\" ];"},
        {.name = "exec critical",
         .asked = "exec = [ \"/bin/sh\", \"-c\", \"echo bad; exit 2\" ];",
         .right = OUTCOME_CRITICAL},
    };
    for (size_t i = 0; i < sizeof others / sizeof others[0]; i++) {
        if (FAILING_MAY_BEGIN_THREADS || !others[i].everywhere)
            torture_other(&others[i]);
    }
}

int main(void)
{
    (void)signal(SIGPIPE, SIG_IGN);
    alarm((unsigned)(300 * ask_scale()));
    probe_init();
    (void)setenv("HEALTHSVC_SECRET", "hidden", 1);
    struct dns_server *dns = dns_server_start();
    struct peers peers;
    if (mkdtemp(folder) == NULL || dns == NULL ||
        peers_start(&peers, &lesson_find("tcp")->script, PEER_PLAIN, NULL, NULL) != 0)
        return 1;
    nameservers = dns_server_address(dns);
    make_identity(&good, "good", 0, 0);
    make_identity(&expired, "expired", -7200, -3600);
    engine_up();
    torture_every_stream();
    for (size_t i = 0; i < sizeof specials / sizeof specials[0]; i++)
        torture_special(&specials[i]);
    torture_other_ones(dns);
    engine_down();
    torture_names(peers.ports[PEER_RIGHT], dns);
    peers_stop(&peers);
    dns_server_stop(dns);
    return testing_end();
}
