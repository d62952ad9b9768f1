/*
 * What the engine owes every scheme, where one peer of each kind is not enough: limits, a stalled
 * loop, name servers, several addresses, handshakes and STARTTLS gone wrong, and how a connection
 * is closed.
 */
#include "../asking.h"
#include "../dns_server.h"
#include "../line_scheme.h"
#include "../peers.h"
#include "../testing.h"

#include <healthsvc/strbuf.h>

#include <arpa/inet.h>
#include <netinet/in.h>
#include <errno.h>
#include <poll.h>
#include <signal.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <time.h>
#include <unistd.h>

static const struct peer_script http_script = {
    .reply = "HTTP/1.1 200 OK\r\nContent-Length: 3\r\n\r\nok\n",
    .endless = "HTTP/1.1 200 OK\r\nX-Endless: ",
};
static const struct peer_script line_script = {.reply = LINE_REPLY, .endless = LINE_ENDLESS};
static const struct peer_script go_script = {.reply = "GO\n", .endless = "G"};
static const struct peer_script injecting_script = {.reply = "GO\nBYE to nobody\n", .endless = "G"};
/* The header of a TLS record of 16,192 bytes of handshake (RFC 8446 section 5.1). */
static const struct peer_script record_script = {.reply = "\x16",
                                                 .endless = "\x16\x03\x03\x3f\x40"};

static struct peers http_peers, line_peers, go_peers, injecting_peers, record_peers;

#define MAX_ASKED 8
static struct asked asked[MAX_ASKED];
static struct target_conf targets[MAX_ASKED];
static struct strbuf text; /* of the configuration that is being put together */
static struct config *config;

static int64_t scaled(int64_t ms)
{
    return ms * ask_scale();
}

/* Adds one dependency to the configuration. */
static void plan(const char *url, unsigned port, int64_t timeout_ms)
{
    strbuf_adds(&text, text.len == 0 ? "dependencies = (" : ", ");
    strbuf_addf(&text, "{ name = \"t%zu\"; url = \"%s:%u\"; timeout = \"%lldms\"; ", text.len, url,
                port, (long long)timeout_ms);
    strbuf_addf(&text, "period = \"1h\"; %s}",
                strncmp(url, "tls", 3) == 0 ? "verify = false; " : "");
}

/* Loads what was planned, one check for each, asked as `scheme` (NULL: as written). */
static bool load(const struct scheme *scheme)
{
    strbuf_adds(&text, ");");
    config = ask_config(text.data);
    strbuf_done(&text);
    memset(asked, 0, sizeof asked);
    if (!EXPECT(config != NULL) || !EXPECT(config->target_count <= MAX_ASKED))
        return false;
    for (size_t i = 0; i < config->target_count; i++) {
        targets[i] = *config->targets[i];
        if (scheme != NULL)
            targets[i].scheme = scheme;
        asked[i].conf = &targets[i];
    }
    return true;
}

static void ask_all(const struct ask_options *options)
{
    EXPECT_INT(ask(asked, MAX_ASKED, options), 0);
    config = config_unref(config);
}

static void expect_outcome(size_t i, enum outcome outcome)
{
    EXPECT_INT(asked[i].start_error, 0);
    EXPECT_STR(outcome_token(asked[i].result.outcome), outcome_token(outcome));
}

static void expect_end(size_t i, enum outcome outcome, enum probe_phase phase)
{
    expect_outcome(i, outcome);
    EXPECT_STR(probe_phase_token(asked[i].result.phase), probe_phase_token(phase));
}

/* ---- limits ---- */

TEST(more_than_the_limit_are_refused)
{
    static const struct ask_options options = {.limit = 2};
    for (int i = 0; i < 4; i++)
        plan("http://127.0.0.1", http_peers.ports[PEER_RIGHT], scaled(20000));
    if (!load(NULL))
        return;
    ask_all(&options);
    expect_outcome(0, OUTCOME_OK);
    expect_outcome(1, OUTCOME_OK);
    EXPECT_INT(asked[2].start_error, -EMFILE);
    EXPECT_INT(asked[3].start_error, -EMFILE);
}

static void on_room(struct loop_timer *t)
{
    checker_role_assert();
    struct asking *round = (struct asking *)((char *)t - offsetof(struct asking, timer));
    if (round->running > 0)
        loop_timer_set(round->loop, t, loop_now_ms(round->loop));
    else if (round->asked[1].ends == 0)
        ask_start(round, &round->asked[1]);
}

static void wait_for_room(struct asking *round)
{
    checker_role_assert();
    EXPECT_INT(round->asked[1].start_error, -EMFILE);
    round->timer.fire = on_room;
    loop_timer_set(round->loop, &round->timer, loop_now_ms(round->loop));
}

TEST(an_ended_check_makes_room)
{
    static const struct ask_options options = {.limit = 1, .after = wait_for_room};
    plan("http://127.0.0.1", http_peers.ports[PEER_RIGHT], scaled(20000));
    plan("http://127.0.0.1", http_peers.ports[PEER_RIGHT], scaled(20000));
    if (!load(NULL))
        return;
    ask_all(&options);
    expect_outcome(0, OUTCOME_OK);
    expect_outcome(1, OUTCOME_OK);
}

static struct rlimit descriptors_before;

static void take_descriptors(struct asking *round)
{
    (void)round;
    struct rlimit none = descriptors_before;
    none.rlim_cur = 0; /* those that are open stay so */
    EXPECT_INT(setrlimit(RLIMIT_NOFILE, &none), 0);
}

static void give_descriptors(struct asking *round)
{
    (void)round;
    EXPECT_INT(setrlimit(RLIMIT_NOFILE, &descriptors_before), 0);
}

TEST(no_descriptor_left_is_not_tried)
{
    static const struct ask_options options = {
        .nameservers = "127.0.0.1:9", .before = take_descriptors, .after = give_descriptors};
    EXPECT_INT(getrlimit(RLIMIT_NOFILE, &descriptors_before), 0);
    plan("http://127.0.0.1", http_peers.ports[PEER_RIGHT], scaled(20000));
    plan("tcp://127.0.0.1", http_peers.ports[PEER_RIGHT], scaled(20000));
    plan("tls://127.0.0.1", http_peers.ports[PEER_RIGHT], scaled(20000));
    plan("http://dependency.test", http_peers.ports[PEER_RIGHT], 1000);
    if (!load(NULL))
        return;
    ask_all(&options);
    for (size_t i = 0; i < 3; i++)
        expect_outcome(i, OUTCOME_OWN_DESCRIPTORS);
    EXPECT_STR(outcome_class_token(outcome_class(asked[3].result.outcome)), "not_tried");
}

/* ---- a stalled loop ---- */

#define STALL_MS 700

static void stall(struct asking *round)
{
    (void)round;
    nanosleep(&(struct timespec){.tv_nsec = STALL_MS * 1000000L}, NULL);
}

static void on_after_stall(struct loop_timer *t)
{
    checker_role_assert();
    struct asking *round = (struct asking *)((char *)t - offsetof(struct asking, timer));
    ask_start(round, &round->asked[7]);
}

static void stall_then_start_another(struct asking *round)
{
    checker_role_assert();
    stall(round);
    asked[7].conf = &targets[6];
    round->timer.fire = on_after_stall;
    loop_timer_set(round->loop, &round->timer, loop_now_ms(round->loop) + STALL_MS + 10);
}

TEST(bad_results_of_a_stalled_loop_are_not_tried)
{
    static const struct ask_options options = {.after = stall_then_start_another};
    static const enum peer_kind bad[] = {PEER_HANG,    PEER_RESET_MID, PEER_REFUSE,
                                         PEER_GARBAGE, PEER_BLACKHOLE, PEER_HALF_CLOSE};
    int tries = 0;
    do { /* anew if this machine held up the one after the stall too */
        for (size_t i = 0; i < sizeof bad / sizeof bad[0]; i++)
            plan("http://127.0.0.1", http_peers.ports[bad[i]], 300);
        plan("http://127.0.0.1", http_peers.ports[PEER_REFUSE], scaled(20000));
        if (!load(NULL))
            return;
        ask_all(&options);
    } while (asked[7].result.outcome == OUTCOME_OWN_STALLED && ++tries < 3);
    for (size_t i = 0; i < 7; i++)
        expect_outcome(i, OUTCOME_OWN_STALLED);
    expect_outcome(7, OUTCOME_CONNECT_REFUSED); /* began after the stall */
}

TEST(good_results_of_a_stalled_loop_stand)
{
    static const struct ask_options options = {.after = stall};
    plan("http://127.0.0.1", http_peers.ports[PEER_RIGHT], scaled(20000));
    plan("tcp://127.0.0.1", http_peers.ports[PEER_HANG], scaled(20000));
    if (!load(NULL))
        return;
    ask_all(&options);
    expect_outcome(0, OUTCOME_OK);
    expect_outcome(1, OUTCOME_OK);
}

/* ---- names ---- */

TEST(silent_name_server)
{
    struct sockaddr_in sin = {.sin_family = AF_INET, .sin_addr.s_addr = htonl(INADDR_LOOPBACK)};
    socklen_t len = sizeof sin;
    char nameserver[32];
    int fd = socket(AF_INET, SOCK_DGRAM | SOCK_CLOEXEC, 0);
    EXPECT_INT(bind(fd, (struct sockaddr *)&sin, sizeof sin), 0);
    EXPECT_INT(getsockname(fd, (struct sockaddr *)&sin, &len), 0);
    snprintf(nameserver, sizeof nameserver, "127.0.0.1:%u", ntohs(sin.sin_port));
    const struct ask_options options = {.nameservers = nameserver};
    plan("http://dependency.test", 80, 700);
    plan("tls://dependency.test", 443, 700);
    if (load(NULL))
        ask_all(&options);
    expect_end(0, OUTCOME_DNS_TIMEOUT, PROBE_PHASE_DNS);
    expect_end(1, OUTCOME_DNS_TIMEOUT, PROBE_PHASE_DNS);
    close(fd);
}

#define LOOPBACK(last) (0x7f000000u + (last)) /* 127.0.0.x */

/* One address of a name hangs (127.0.0.2), refuses (127.0.0.3) or answers (127.0.0.1). The bad one
 * comes first in one of two names, whatever order the resolver prefers. */
TEST(several_addresses)
{
    struct dns_server *dns = dns_server_start();
    uint16_t port = http_peers.ports[PEER_RIGHT];
    int filler = -1;
    int hanging = peers_blackhole(LOOPBACK(2), port, &filler);
    if (!EXPECT(dns != NULL) || !EXPECT(hanging >= 0))
        return;
    static const struct {
        const char *url, *name, *addresses;
        enum outcome outcome;
    } names[] = {
        {"http://hang1.test", "hang1.test", "127.0.0.2 127.0.0.1", OUTCOME_OK},
        {"http://hang2.test", "hang2.test", "127.0.0.1 127.0.0.2", OUTCOME_OK},
        {"http://refuse1.test", "refuse1.test", "127.0.0.3 127.0.0.1", OUTCOME_OK},
        {"http://refuse2.test", "refuse2.test", "127.0.0.1 127.0.0.3", OUTCOME_OK},
        {"http://both.test", "both.test", "127.0.0.2 127.0.0.3 127.0.0.1", OUTCOME_OK},
        {"http://none.test", "none.test", "127.0.0.3 127.0.0.4", OUTCOME_CONNECT_REFUSED},
    };
    const size_t count = sizeof names / sizeof names[0];
    for (size_t i = 0; i < count; i++) {
        dns_server_set(dns, names[i].name, DNS_REPLY_ADDRESSES, names[i].addresses, 60);
        plan(names[i].url, port, scaled(20000));
    }
    plan("http://nowhere.test", port, scaled(20000));
    const struct ask_options options = {.nameservers = dns_server_address(dns)};
    if (load(NULL))
        ask_all(&options);
    for (size_t i = 0; i < count; i++)
        expect_outcome(i, names[i].outcome);
    EXPECT(asked[0].result.total_us > 200000 || asked[1].result.total_us > 200000);
    expect_end(count, OUTCOME_DNS_NXDOMAIN, PROBE_PHASE_DNS);
    close(filler);
    close(hanging);
    dns_server_stop(dns);
}

TEST(all_addresses_hang)
{
    struct dns_server *dns = dns_server_start();
    int fillers[2] = {-1, -1};
    int hanging[2] = {-1, -1};
    uint16_t port = http_peers.ports[PEER_RIGHT];
    for (uint32_t i = 0; i < 2; i++)
        hanging[i] = peers_blackhole(LOOPBACK(5 + i), port, &fillers[i]);
    if (!EXPECT(dns != NULL) || !EXPECT(hanging[0] >= 0) || !EXPECT(hanging[1] >= 0))
        return;
    dns_server_set(dns, "hang.test", DNS_REPLY_ADDRESSES, "127.0.0.5 127.0.0.6", 60);
    plan("http://hang.test", port, scaled(1000));
    const struct ask_options options = {.nameservers = dns_server_address(dns)};
    if (load(NULL))
        ask_all(&options);
    expect_end(0, OUTCOME_CONNECT_TIMEOUT, PROBE_PHASE_CONNECT);
    for (int i = 0; i < 2; i++) {
        close(fillers[i]);
        close(hanging[i]);
    }
    dns_server_stop(dns);
}

/* ---- TLS and STARTTLS ---- */

TEST(handshake_that_never_gets_on)
{
    plan("tls://127.0.0.1", record_peers.ports[PEER_DRIBBLE], scaled(1000));
    plan("tls://127.0.0.1", record_peers.ports[PEER_RIGHT], scaled(1000));
    plan("tls://127.0.0.1", record_peers.ports[PEER_ENDLESS], scaled(20000));
    if (!load(NULL))
        return;
    ask_all(NULL);
    expect_end(0, OUTCOME_TIMEOUT, PROBE_PHASE_TLS);
    expect_end(1, OUTCOME_TIMEOUT, PROBE_PHASE_TLS);
    expect_outcome(2, OUTCOME_TLS_HANDSHAKE);
}

TEST(starttls_without_a_handshake)
{
    plan("tls://127.0.0.1", go_peers.ports[PEER_RIGHT], scaled(1000));
    plan("tls://127.0.0.1", go_peers.ports[PEER_RIGHT_CLOSE], scaled(20000));
    plan("tls://127.0.0.1", go_peers.ports[PEER_GARBAGE], scaled(20000));
    if (!load(&line_starttls_scheme))
        return;
    ask_all(NULL);
    expect_end(0, OUTCOME_TIMEOUT, PROBE_PHASE_TLS);
    EXPECT(asked[1].result.outcome == OUTCOME_CLOSED || asked[1].result.outcome == OUTCOME_RESET);
    expect_outcome(2, OUTCOME_BAD_REPLY);
}

/* Clear text behind the go-ahead must never pass for the reply (cf. CVE-2021-23222). */
TEST(starttls_with_injected_text)
{
    plan("tls://127.0.0.1", injecting_peers.ports[PEER_RIGHT], scaled(20000));
    plan("tls://127.0.0.1", injecting_peers.ports[PEER_RIGHT_BYTES], scaled(20000));
    if (!load(&line_starttls_scheme))
        return;
    ask_all(NULL);
    expect_outcome(0, OUTCOME_BAD_REPLY);
    EXPECT(asked[1].result.outcome == OUTCOME_BAD_REPLY ||
           asked[1].result.outcome == OUTCOME_TLS_HANDSHAKE);
}

/* ---- the first word ---- */

static int listener;
static bool connection_seen;

/* The loop stands still, so nothing has been asked: is the peer told of the connection already? */
static void look_at_listener(struct asking *round)
{
    (void)round;
    struct pollfd p = {.fd = listener, .events = POLLIN};
    connection_seen = poll(&p, 1, 50) == 1; /* Linux holds an acknowledgement for 200 ms at most */
}

/* Whether a machine under load is quick enough is luck, so one time of five will do. */
static void expect_seen_before_asked(const char *url, bool seen)
{
    static const struct ask_options options = {.after = look_at_listener};
    connection_seen = !seen;
    for (int i = 0; i < 5 && connection_seen != seen; i++) {
        struct sockaddr_in at = {.sin_family = AF_INET, .sin_addr.s_addr = htonl(INADDR_LOOPBACK)};
        socklen_t len = sizeof at;
        listener = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
        EXPECT(bind(listener, (struct sockaddr *)&at, sizeof at) == 0 && listen(listener, 5) == 0 &&
               getsockname(listener, (struct sockaddr *)&at, &len) == 0);
        plan(url, ntohs(at.sin_port), scaled(100));
        if (!load(NULL))
            return;
        ask_all(&options);
        close(listener);
        expect_outcome(0, OUTCOME_TIMEOUT);
    }
    EXPECT_INT(connection_seen, seen);
}

TEST(a_question_completes_the_connection_where_it_comes_first)
{
    expect_seen_before_asked("http://127.0.0.1", false);
    expect_seen_before_asked("tls://127.0.0.1", false);
}

TEST(who_speaks_first_is_told_of_the_connection_at_once)
{
    expect_seen_before_asked("smtp://127.0.0.1", true);
}

/* ---- closing ---- */

/* Waits until the peer has seen `count` ends of either kind. */
static bool ends_seen(const struct peer_seen *seen, unsigned count)
{
    for (int64_t waited_ms = 0; waited_ms < scaled(5000); waited_ms++) {
        if (atomic_load(&seen->ended_fin) + atomic_load(&seen->ended_reset) == count)
            return true;
        nanosleep(&(struct timespec){.tv_nsec = 1000000}, NULL);
    }
    return false;
}

static void expect_manners(const struct peers *peers, const char *url, const struct scheme *scheme,
                           unsigned fins, size_t goodbye_bytes)
{
    struct peer_seen *seen = &peers->seen[PEER_RIGHT];
    unsigned before = atomic_load(&seen->ended_fin) + atomic_load(&seen->ended_reset);
    unsigned fins_before = atomic_load(&seen->ended_fin);
    unsigned long bytes_before = atomic_load(&seen->goodbye_bytes);
    plan(url, peers->ports[PEER_RIGHT], scaled(20000));
    if (!load(scheme))
        return;
    ask_all(NULL);
    expect_outcome(0, OUTCOME_OK);
    EXPECT(ends_seen(seen, before + 1));
    EXPECT_INT(atomic_load(&seen->ended_fin) - fins_before, fins);
    EXPECT_INT(atomic_load(&seen->goodbye_bytes) - bytes_before, goodbye_bytes);
}

TEST(closes_by_reset)
{
    expect_manners(&http_peers, "http://127.0.0.1", NULL, 0, 0);
}

TEST(closes_politely_where_asked_to)
{
    expect_manners(&line_peers, "tcp://127.0.0.1", &line_scheme, 1, strlen(LINE_GOODBYE));
}

int main(void)
{
    signal(SIGPIPE, SIG_IGN); /* as the daemon does */
    alarm((unsigned)(200 * ask_scale()));
    strbuf_init(&text, 65536);
    if (peers_start(&http_peers, &http_script, PEER_PLAIN, NULL, NULL) != 0 ||
        peers_start(&line_peers, &line_script, PEER_PLAIN, NULL, NULL) != 0 ||
        peers_start(&go_peers, &go_script, PEER_PLAIN, NULL, NULL) != 0 ||
        peers_start(&injecting_peers, &injecting_script, PEER_PLAIN, NULL, NULL) != 0 ||
        peers_start(&record_peers, &record_script, PEER_PLAIN, NULL, NULL) != 0) {
        printf("Bail out! no peers\n");
        return 1;
    }
    struct asked nothing = {0};
    if (ask(&nothing, 1, NULL) != 0)
        printf("# (what libraries keep open from their first use on)\n");
    RUN(more_than_the_limit_are_refused);
    RUN(an_ended_check_makes_room);
    RUN(no_descriptor_left_is_not_tried);
    RUN(bad_results_of_a_stalled_loop_are_not_tried);
    RUN(good_results_of_a_stalled_loop_stand);
    RUN(silent_name_server);
    RUN(several_addresses);
    RUN(all_addresses_hang);
    RUN(handshake_that_never_gets_on);
    RUN(starttls_without_a_handshake);
    RUN(starttls_with_injected_text);
    RUN(a_question_completes_the_connection_where_it_comes_first);
    RUN(who_speaks_first_is_told_of_the_connection_at_once);
    RUN(closes_by_reset);
    RUN(closes_politely_where_asked_to);
    peers_stop(&http_peers);
    peers_stop(&line_peers);
    peers_stop(&go_peers);
    peers_stop(&injecting_peers);
    peers_stop(&record_peers);
    return testing_end();
}
