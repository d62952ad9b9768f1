/*
 * Every scheme against every bad peer. What a check may end in depends on how far it gets with such
 * a peer: a scheme without a dialogue is content once it is connected, one with TLS never gets past
 * a peer that speaks in clear. So there are three columns, not one for each scheme; a new scheme
 * adds a lesson (lessons.h): its right reply, and a reply that is right so far and never ends.
 */
#ifdef HAVE_CONFIG_H
#include <config.h>
#endif

#include "../asking.h"
#include "../certs.h"
#include "../lessons.h"
#include "../line_scheme.h"
#include "../testing.h"
#include "probe/dialogue.h"

#include "probe/engine.h"

#include <healthsvc/strbuf.h>

#include <signal.h>
#include <sys/resource.h>
#include <unistd.h>

/* What a script of tcp and tls talks about. */
#define TALK_SCRIPT                                                                   \
    {                                                                                 \
        .reply = "220 peer\r\n250-one\r\n250 two\r\n", .endless = "220 peer\r\n250-", \
    }
#define TALK "\"send_line HI\", \"expect 220\", \"expect_match ^250 \""

/* The tests' own schemes. */
static const struct lesson line_lessons[] = {
    {"line", {.reply = LINE_REPLY, .endless = LINE_ENDLESS}},
    {"line-starttls", {.reply = LINE_REPLY, .endless = LINE_ENDLESS, .go = "GO\n"}},
};

/* With settings of their own. */
static const struct special {
    struct lesson lesson;
    const char *settings;
    enum peer_tls tls;
} specials[] = {
    {{"tcp", TALK_SCRIPT}, "script = ( " TALK " );", PEER_PLAIN},
    {{"tls", TALK_SCRIPT}, "script = ( " TALK " );", PEER_TLS},
    {{"tcp",
      {.go = "GO\n", .reply = "220 peer\r\n250-one\r\n250 two\r\n", .endless = "220 peer\r\n250-"}},
     "script = ( \"send_line STARTTLS\", \"expect GO\", \"starttls\", " TALK " );",
     PEER_STARTTLS},
    {{"smtp",
      {.greets = true,
       .go = "220 peer\r\n250 STARTTLS\r\n220 go\r\n",
       .reply = "250 peer\r\n",
       .endless = "250-"}},
     "starttls = true;",
     PEER_STARTTLS},
    {{"imap",
      {.greets = true,
       .go = "* OK peer\r\na OK go\r\n",
       .reply = "* BYE\r\na OK\r\n",
       .endless = "* BYE "}},
     "starttls = true;",
     PEER_STARTTLS},
    {{"pop3",
      {.greets = true, .go = "+OK\r\n+OK go\r\n", .reply = "+OK bye\r\n", .endless = "+OK "}},
     "starttls = true;",
     PEER_STARTTLS},
    {{"ftp",
      {.greets = true, .go = "220 peer\r\n234 go\r\n", .reply = "221 bye\r\n", .endless = "221-"}},
     "starttls = true;",
     PEER_STARTTLS},
    {{"nats", {.greets = true, .go = "INFO {}\r\n", .reply = "PONG\r\n", .endless = "+OK"}},
     "starttls = true;",
     PEER_STARTTLS},
    {{"postgres",
      {.go = "S",
       .reply = POSTGRES_REPLY,
       .reply_len = sizeof POSTGRES_REPLY - 1,
       .endless = POSTGRES_ENDLESS,
       .endless_len = sizeof POSTGRES_ENDLESS - 1}},
     "sslmode = \"verify-full\";",
     PEER_STARTTLS},
};

/* One scheme and the peers that it meets in clear, or inside TLS. */
struct world {
    char name[64];
    const struct scheme *scheme;
    const char *settings; /* NULL: none */
    const struct lesson *lesson;
    enum peer_tls tls;
    struct peers peers;
    struct config *config;
    struct target_conf targets[PEER_KINDS];
};
#define MAX_WORLDS 128
static struct world worlds[MAX_WORLDS];
static size_t world_count;
static const struct world *this_world;
static char folder[] = "/tmp/healthsvc-conformance-XXXXXX";
static char cert_file[64], key_file[64];

#define BIT(id) ((uint64_t)1 << OUTCOME_##id)

static bool speaks(const struct world *w)
{
    const struct dialogue *d = w->scheme->dialogue;
    return d != NULL && (d->speaks == NULL || w->settings != NULL);
}

/* The outcomes that are right. More than one where the kernel decides: whether the peer's end or
 * its reset is seen first. */
static uint64_t allowed(const struct world *w, enum peer_kind kind)
{
    uint64_t no_tls = BIT(TLS_HANDSHAKE); /* TLS wanted, clear text met */
    uint64_t connected = BIT(OK);         /* being connected is enough */
    uint64_t exchange = 0;                /* a reply is wanted */
    switch (kind) {
    case PEER_REFUSE:
        return BIT(CONNECT_REFUSED);
    case PEER_BLACKHOLE:
        return BIT(CONNECT_TIMEOUT);
    case PEER_HANG:
        no_tls = exchange = BIT(TIMEOUT);
        break;
    case PEER_CLOSE:
        no_tls = exchange = BIT(CLOSED) | BIT(RESET);
        break;
    case PEER_RESET:
        no_tls = exchange = BIT(RESET);
        connected = w->tls == PEER_TLS ? BIT(OK) : BIT(OK) | BIT(RESET);
        break;
    case PEER_RESET_MID:
        no_tls = BIT(TLS_HANDSHAKE) | BIT(RESET);
        exchange = BIT(RESET);
        break;
    case PEER_GARBAGE: /* for a script any answer is a reply */
        exchange = BIT(BAD_REPLY) | (w->settings != NULL ? BIT(WRONG_ANSWER) : 0);
        break;
    case PEER_ENDLESS:
        exchange = BIT(BAD_REPLY);
        break;
    case PEER_DRIBBLE:
        exchange = w->lesson->script.short_reply ? BIT(BAD_REPLY) : BIT(TIMEOUT);
        break;
    case PEER_RIGHT:
    case PEER_RIGHT_BYTES:
    case PEER_RIGHT_CLOSE:
        exchange = BIT(OK);
        break;
    case PEER_HALF_CLOSE:
        no_tls = exchange = BIT(CLOSED);
        break;
    case PEER_KINDS:
        break;
    }
    if ((w->scheme->flags & SCHEME_TLS) && w->tls == PEER_PLAIN)
        return no_tls;
    return speaks(w) ? exchange : connected;
}

static enum probe_phase phase_of_timeout(const struct world *w, enum peer_kind kind)
{
    if (kind == PEER_BLACKHOLE)
        return PROBE_PHASE_CONNECT;
    if ((w->scheme->flags & SCHEME_TLS) && w->tls == PEER_PLAIN)
        return PROBE_PHASE_TLS;
    return PROBE_PHASE_EXCHANGE;
}

static bool is_timeout(uint64_t outcomes)
{
    return outcomes == BIT(TIMEOUT) || outcomes == BIT(CONNECT_TIMEOUT);
}

static void expect_result(const struct world *w, enum peer_kind kind, const struct asked *asked)
{
    const struct probe_result *r = &asked->result;
    uint64_t right = allowed(w, kind);
    if (!EXPECT(right & (uint64_t)1 << r->outcome))
        printf("# %s/%s ended %s: %s\n", w->name, peer_kind_token(kind), outcome_token(r->outcome),
               r->text);
    EXPECT(r->outcome == OUTCOME_OK || r->text[0] != '\0');
    if (is_timeout(right)) {
        EXPECT_STR(probe_phase_token(r->phase), probe_phase_token(phase_of_timeout(w, kind)));
        EXPECT(r->total_us >= asked->conf->timeout_ms * 1000 - 1000);
    }
}

/* A check that was under way while this machine held the test up for long is no evidence. */
static bool held_up(const struct asked *asked, size_t count)
{
    for (size_t i = 0; i < count; i++) {
        if (asked[i].ends > 0 && asked[i].result.outcome == OUTCOME_OWN_STALLED)
            return true;
    }
    return false;
}
#define TRIES 3

/* One world alone, so that what is left behind has a name. What takes until the deadline is left to
 * all_at_once, where it takes that long but once. */
static void test_world(void)
{
    const struct world *w = this_world;
    struct asked asked[PEER_KINDS];
    int tries = 0;
    do {
        memset(asked, 0, sizeof asked);
        for (int kind = 0; kind < PEER_KINDS; kind++) {
            if (!is_timeout(allowed(w, (enum peer_kind)kind)))
                asked[kind].conf = &w->targets[kind];
        }
        EXPECT_INT(ask(asked, PEER_KINDS, NULL), 0);
    } while (held_up(asked, PEER_KINDS) && ++tries < TRIES);
    for (int kind = 0; kind < PEER_KINDS; kind++) {
        if (asked[kind].conf != NULL && EXPECT_INT(asked[kind].start_error, 0))
            expect_result(w, (enum peer_kind)kind, &asked[kind]);
    }
}

/* Every peer of every world. */
static struct asked crowd[MAX_WORLDS * PEER_KINDS];
static size_t crowd_count;

static void gather_crowd(void)
{
    crowd_count = world_count * PEER_KINDS;
    for (size_t i = 0; i < crowd_count; i++)
        crowd[i] = (struct asked){.conf = &worlds[i / PEER_KINDS].targets[i % PEER_KINDS]};
}

TEST(all_at_once)
{
    int tries = 0;
    do {
        gather_crowd();
        EXPECT_INT(ask(crowd, crowd_count, NULL), 0);
    } while (held_up(crowd, crowd_count) && ++tries < TRIES);
    for (size_t i = 0; i < crowd_count; i++) {
        if (EXPECT_INT(crowd[i].start_error, 0))
            expect_result(&worlds[i / PEER_KINDS], (enum peer_kind)(i % PEER_KINDS), &crowd[i]);
    }
}

TEST(cancelled_at_any_turn)
{
    gather_crowd();
    EXPECT_INT(ask_cancelling(crowd, crowd_count, 300), 0);
}

/* From inside the end of one check others are given up, whose events may lie in the same batch. */
static void cancel_next(struct asking *round, const struct asked *asked)
{
    checker_role_assert();
    for (size_t i = (size_t)(asked - round->asked) + 1; i < round->count; i++) {
        if (round->asked[i].probe != NULL) {
            probe_cancel(round->asked[i].probe); /* which ends the one behind it, and so on */
            return;
        }
    }
}

TEST(cancelled_by_the_end_of_another)
{
    static const struct ask_options options = {.ended = cancel_next};
    unsigned cancelled = 0;
    for (int i = 0; i < 10; i++) {
        gather_crowd();
        EXPECT_INT(ask(crowd, crowd_count, &options), 0);
        for (size_t k = 0; k < crowd_count; k++)
            cancelled += crowd[k].result.outcome == OUTCOME_OWN_CANCELLED;
    }
    EXPECT(cancelled > 0);
}

static void cancel_all(struct asking *round)
{
    checker_role_assert();
    for (size_t i = 0; i < round->count; i++)
        probe_cancel(round->asked[i].probe);
}

TEST(cancelled_in_the_turn_of_its_start)
{
    static const struct ask_options options = {.after = cancel_all};
    gather_crowd();
    EXPECT_INT(ask(crowd, crowd_count, &options), 0);
    for (size_t i = 0; i < crowd_count; i++)
        EXPECT_INT(crowd[i].result.outcome, OUTCOME_OWN_CANCELLED);
}

/* ---- setting the worlds up ---- */

/* The configuration knows the schemes of the table: the tests' own borrow a target of theirs. */
static const struct scheme *stand_in(const struct world *w)
{
    const struct scheme *known = scheme_find(w->scheme->name);
    return known != NULL ? known : scheme_find(w->tls == PEER_PLAIN ? "tcp" : "tls");
}

static bool configure(struct world *w)
{
    const struct scheme *written = stand_in(w);
    struct strbuf text;
    strbuf_init(&text, 65536);
    strbuf_adds(&text, "dependencies = (\n");
    for (int kind = 0; kind < PEER_KINDS; kind++) {
        bool to_the_end = is_timeout(allowed(w, (enum peer_kind)kind));
        strbuf_addf(&text, "%s  { name = \"%s\"; url = \"%s://127.0.0.1:%u%s\"; period = \"1h\";",
                    kind > 0 ? ",\n" : "", peer_kind_token((enum peer_kind)kind), written->name,
                    w->peers.ports[kind], written->flags & SCHEME_PATH ? "/health" : "");
        strbuf_addf(&text, " timeout = \"%lldms\";",
                    (long long)(to_the_end ? 1000 : 20000) * (long long)ask_scale());
        if (w->settings != NULL)
            strbuf_addf(&text, " %s", w->settings);
        if ((written->flags & SCHEME_TLS) || w->tls != PEER_PLAIN)
            strbuf_addf(&text, " ca_file = \"%s\";", cert_file);
        strbuf_adds(&text, " }");
    }
    strbuf_adds(&text, "\n);\n");
    w->config = strbuf_error(&text) == 0 ? ask_config(text.data) : NULL;
    strbuf_done(&text);
    if (w->config == NULL || w->config->target_count != PEER_KINDS)
        return false;
    for (size_t kind = 0; kind < PEER_KINDS; kind++) {
        w->targets[kind] = *w->config->targets[kind];
        w->targets[kind].scheme = w->scheme;
    }
    return true;
}

static const char *tls_token(enum peer_tls tls)
{
    switch (tls) {
    case PEER_PLAIN:
        return "in_clear";
    case PEER_TLS:
        return "inside_tls";
    case PEER_STARTTLS:
        return "after_starttls";
    }
    return "";
}

static bool make_world(const struct scheme *scheme, const struct lesson *lesson,
                       const char *settings, enum peer_tls tls)
{
    struct world *w = &worlds[world_count];
    if (lesson == NULL || world_count == MAX_WORLDS) {
        printf("Bail out! scheme %s has no lesson in this test\n", scheme->name);
        return false;
    }
    w->scheme = scheme;
    w->settings = settings;
    w->lesson = lesson;
    w->tls = tls;
    snprintf(w->name, sizeof w->name, "%s_%smeets_peers_%s", scheme->name,
             settings != NULL ? "with_a_script_" : "", tls_token(tls));
    if (peers_start(&w->peers, &lesson->script, tls, cert_file, key_file) != 0) {
        printf("Bail out! no peers for %s\n", w->name);
        return false;
    }
    world_count++;
    return configure(w);
}

static bool make_worlds(void)
{
    const struct scheme *scheme;
    for (size_t i = 0; (scheme = scheme_at(i)) != NULL; i++) {
        const struct lesson *lesson = lesson_find(scheme->name);
        if (scheme->ops != &stream_ops) /* not built, or in test_datagram, test_local */
            continue;
        if (!make_world(scheme, lesson, NULL, PEER_PLAIN))
            return false;
        if ((scheme->flags & SCHEME_TLS) && !make_world(scheme, lesson, NULL, PEER_TLS))
            return false;
    }
    for (size_t i = 0; i < sizeof specials / sizeof specials[0]; i++) {
        const struct special *s = &specials[i];
        if (!make_world(scheme_find(s->lesson.scheme), &s->lesson, s->settings, s->tls))
            return false;
    }
    return make_world(&line_scheme, &line_lessons[0], NULL, PEER_PLAIN) &&
           make_world(&line_starttls_scheme, &line_lessons[1], NULL, PEER_STARTTLS);
}

static bool make_certificate(void)
{
    static const struct cert_spec spec = {.name = "peer", .san = "IP:127.0.0.1", .ca = true};
    if (mkdtemp(folder) == NULL)
        return false;
    snprintf(cert_file, sizeof cert_file, "%s/cert.pem", folder);
    snprintf(key_file, sizeof key_file, "%s/key.pem", folder);
    struct cert cert = cert_make(&spec);
    cert_write(cert_file, &cert);
    cert_write_key(key_file, &cert, NULL);
    cert_free(&cert);
    return true;
}

/* A peer that is to greet must be told of the connection at once; only one that waits for a question
 * need not be. What a script begins with is its own. */
TEST(who_speaks_first)
{
    const struct dialogue *script = scheme_find("tcp")->dialogue;
    for (size_t i = 0; i < sizeof lessons / sizeof lessons[0]; i++) {
        const struct scheme *scheme = scheme_find(lessons[i].scheme);
        if (scheme == NULL || scheme->dialogue == NULL || scheme->dialogue == script)
            continue;
        if (!EXPECT(scheme->dialogue->asks_first == !lessons[i].script.greets))
            printf("# %s\n", scheme->name);
    }
}

int main(void)
{
    signal(SIGPIPE, SIG_IGN); /* as the daemon does */
    alarm((unsigned)(300 * ask_scale()));
    /* The crowd holds a descriptor for each check. */
    struct rlimit descriptors;
    if (getrlimit(RLIMIT_NOFILE, &descriptors) == 0) {
        descriptors.rlim_cur = descriptors.rlim_max;
        (void)setrlimit(RLIMIT_NOFILE, &descriptors);
    }
    bool made = make_certificate() && make_worlds();
    struct asked nothing = {0};
    if (made && ask(&nothing, 1, NULL) != 0)
        printf("# (what libraries keep open from their first use on)\n");
    for (size_t i = 0; made && i < world_count; i++) {
        this_world = &worlds[i];
        testing_run(worlds[i].name, test_world);
    }
    if (made) {
        RUN(who_speaks_first);
        RUN(all_at_once);
        RUN(cancelled_at_any_turn);
        RUN(cancelled_by_the_end_of_another);
        RUN(cancelled_in_the_turn_of_its_start);
    }
    for (size_t i = 0; i < world_count; i++) {
        peers_stop(&worlds[i].peers);
        config_unref(worlds[i].config);
    }
    unlink(cert_file);
    unlink(key_file);
    rmdir(folder);
    return testing_end() != 0 || !made;
}
