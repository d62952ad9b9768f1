/*
 * What dns and ntp make of answers that are whole and to the question: each kind of one, from a
 * server of the test's own that gives it. And that these, and icmp, find their server by name.
 */
#include "../asking.h"
#include "../dns_server.h"
#include "../testing.h"

#include <healthsvc/strbuf.h>

#include <arpa/inet.h>
#include <poll.h>
#include <pthread.h>
#include <signal.h>
#include <sys/socket.h>
#include <time.h>
#include <unistd.h>

#define CASES 64
#define NTP_UNIX_S 2208988800 /* 1900 to 1970 */

struct judged {
    const char *settings; /* behind the URL's authority */
    enum outcome outcome;
    const char *text; /* a part of it */
    /* An answer of ntp. */
    uint8_t leap, stratum;
    const char *reference; /* NULL: an address */
    int ahead_s;
    /* An answer of dns: in the header's second word, and the records. */
    unsigned flags;
    const char *records; /* as sent, each of `record_len` bytes from the name on; NULL: none */
    size_t record_len;
    unsigned record_count;
};

struct server {
    int fd;
    uint16_t port;
    const struct judged *judged;
    bool ntp;
};
static struct server servers[CASES];
static size_t server_count;
static int wake[2];

static size_t answer_ntp(const struct judged *j, uint8_t *packet)
{
    struct timespec now;
    clock_gettime(CLOCK_REALTIME, &now);
    /* A second of the next era has the number of one 2^32 before it. */
    uint32_t s = htonl((uint32_t)((uint64_t)(now.tv_sec + j->ahead_s) + NTP_UNIX_S));
    memcpy(packet + 24, packet + 40, 8);
    memcpy(packet + 32, &s, 4);
    memcpy(packet + 40, &s, 4);
    packet[0] = (uint8_t)(j->leap << 6 | 0x24);
    packet[1] = j->stratum;
    memcpy(packet + 12, j->reference != NULL ? j->reference : "\x7f\0\0\1", 4);
    return 48;
}

static size_t answer_dns(const struct judged *j, uint8_t *packet, size_t len)
{
    packet[2] = (uint8_t)(0x80 | j->flags >> 8);
    packet[3] = (uint8_t)j->flags;
    packet[7] = (uint8_t)j->record_count;
    if (j->records != NULL)
        memcpy(packet + len, j->records, j->record_len);
    return len + j->record_len;
}

static void *serve(void *arg)
{
    struct pollfd polled[CASES + 1];
    (void)arg;
    for (size_t i = 0; i < server_count; i++)
        polled[i] = (struct pollfd){.fd = servers[i].fd, .events = POLLIN};
    polled[server_count] = (struct pollfd){.fd = wake[0], .events = POLLIN};
    while (poll(polled, server_count + 1, -1) > 0 && polled[server_count].revents == 0) {
        for (size_t i = 0; i < server_count; i++) {
            struct sockaddr_storage to;
            socklen_t to_len = sizeof to;
            uint8_t packet[1024];
            ssize_t len = polled[i].revents != 0 ? recvfrom(servers[i].fd, packet, 512, 0,
                                                            (struct sockaddr *)&to, &to_len)
                                                 : 0;
            if (len < 12)
                continue;
            const struct judged *j = servers[i].judged;
            size_t out =
                servers[i].ntp ? answer_ntp(j, packet) : answer_dns(j, packet, (size_t)len);
            (void)sendto(servers[i].fd, packet, out, 0, (struct sockaddr *)&to, to_len);
        }
    }
    return NULL;
}

static bool open_server(const struct judged *j, bool ntp)
{
    struct sockaddr_in at = {.sin_family = AF_INET, .sin_addr.s_addr = htonl(INADDR_LOOPBACK)};
    socklen_t len = sizeof at;
    struct server *s = &servers[server_count];
    *s = (struct server){.judged = j, .ntp = ntp};
    s->fd = socket(AF_INET, SOCK_DGRAM | SOCK_CLOEXEC, 0);
    if (s->fd < 0)
        return false;
    server_count++;
    if (bind(s->fd, (struct sockaddr *)&at, len) != 0 ||
        getsockname(s->fd, (struct sockaddr *)&at, &len) != 0)
        return false;
    s->port = ntohs(at.sin_port);
    return true;
}

static void close_servers(void)
{
    for (size_t i = 0; i < server_count; i++)
        close(servers[i].fd);
    server_count = 0;
}

static struct config *config;
static struct asked asked[CASES];

static bool load(const struct strbuf *dependencies)
{
    struct strbuf text;
    strbuf_init(&text, 65536);
    strbuf_addf(&text,
                "defaults = { period = \"1h\"; timeout = \"%llds\"; };\ndependencies = (\n%s);\n",
                20LL * (long long)ask_scale(), dependencies->data);
    config = ask_config(text.data);
    strbuf_done(&text);
    memset(asked, 0, sizeof asked);
    for (size_t i = 0; config != NULL && i < config->target_count; i++)
        asked[i].conf = config->targets[i];
    return EXPECT(config != NULL);
}

static void expect(size_t i, enum outcome outcome, const char *text)
{
    const struct probe_result *r = &asked[i].result;
    if (!EXPECT_STR(outcome_token(r->outcome), outcome_token(outcome)) ||
        !EXPECT_HAS(r->text, text))
        printf("# case %zu: %s\n", i, asked[i].conf->url);
}

/* Asks while the servers serve, and ends them. False: it could not begin. */
static bool ask_served(const struct strbuf *dependencies, const struct ask_options *options)
{
    pthread_t thread;
    bool serving = load(dependencies) && EXPECT_INT(pthread_create(&thread, NULL, serve, NULL), 0);
    if (serving)
        EXPECT_INT(ask(asked, config->target_count, options), 0);
    close(wake[1]);
    if (serving)
        pthread_join(thread, NULL);
    close(wake[0]);
    close_servers();
    return serving;
}

static void judge_all(const struct judged *cases, size_t count, const char *scheme)
{
    struct strbuf rows;
    bool ntp = strcmp(scheme, "ntp") == 0;
    bool open = pipe(wake) == 0;
    strbuf_init(&rows, 65536);
    for (size_t i = 0; i < count && open; i++) {
        open = open_server(&cases[i], ntp);
        strbuf_addf(&rows, "{ name = \"d%zu\"; url = \"%s://127.0.0.1:%u%s },\n", i, scheme,
                    servers[i].port, cases[i].settings);
    }
    if (EXPECT(open) && ask_served(&rows, NULL)) {
        for (size_t i = 0; i < count; i++)
            expect(i, cases[i].outcome, cases[i].text);
    }
    config = config_unref(config);
    strbuf_done(&rows);
}
#define JUDGE_ALL(cases, scheme) judge_all(cases, sizeof(cases) / sizeof(cases)[0], scheme)

TEST(time_servers)
{
    static const struct judged cases[] = {
        {"\";", OUTCOME_OK, "", .stratum = 15},
        {"\"; max_stratum = 3;", OUTCOME_OK, "", .stratum = 3},
        {"\"; max_stratum = 3;", OUTCOME_WRONG_ANSWER, "stratum 4, at most 3 expected",
         .stratum = 4},
        {"\";", OUTCOME_NOT_SERVING, "its clock is not synchronised", .leap = 3, .stratum = 2},
        {"\";", OUTCOME_OK, "", .leap = 1, .stratum = 2},
        {"\";", OUTCOME_NOT_SERVING, "its clock is not synchronised", .stratum = 16},
        {"\";", OUTCOME_OVERLOADED, "asked too often (RATE)", .reference = "RATE"},
        {"\";", OUTCOME_REFUSED, "server refuses to serve (DENY)", .reference = "DENY"},
        {"\";", OUTCOME_REFUSED, "server refuses to serve (RSTR)", .reference = "RSTR"},
        {"\";", OUTCOME_NOT_SERVING, "its clock is not synchronised", .reference = "INIT"},
        {"\";", OUTCOME_NOT_SERVING, "its clock is not synchronised", .reference = "\0\x1b[m"},
        {"\";", OUTCOME_OK, "", .stratum = 2, .ahead_s = 7200},
        {"\"; max_offset = \"2h\";", OUTCOME_OK, "", .stratum = 2, .ahead_s = -3600},
        {"\"; max_offset = \"1m\";", OUTCOME_WRONG_ANSWER, "s ahead of this machine's",
         .stratum = 2, .ahead_s = 7200},
        {"\"; max_offset = \"1m\";", OUTCOME_WRONG_ANSWER, "s behind this machine's", .stratum = 2,
         .ahead_s = -7200},
        /* in 2046, when the seconds since 1900 have begun anew */
        {"\"; max_offset = \"1m\";", OUTCOME_WRONG_ANSWER, "s ahead of this machine's",
         .stratum = 2, .ahead_s = 20 * 365 * 86400},
    };
    JUDGE_ALL(cases, "ntp");
}

/* Records behind the name, which is the question's: type, class, time to live, length, data. */
#define OF(type, len) "\xc0\x0c\0" type "\0\1\0\0\0\x3c\0" len
#define A_RECORD OF("\1", "\4") "\300\0\2"
#define AAAA_RECORD OF("\34", "\20") "\x20\1\xd\xb8\0\0\0\0\0\0\0\0\0\0\0"
#define CNAME_RECORD OF("\5", "\2") "\xc0\x0c"
#define ANY_TEXT OF("\20", "\6") "\5v=1 a"
#define SOA_RECORD \
    OF("\6", "\30") "\xc0\x0c\xc0\x0c\x78\xb4\x5d\x81\0\0\0\1\0\0\0\2\0\0\0\3\0\0\0\4"
#define RECORDS(n, bytes) .records = (bytes), .record_len = sizeof(bytes) - 1, .record_count = n

TEST(name_servers)
{
    static const struct judged cases[] = {
        {"/a.test\";", OUTCOME_OK, "", RECORDS(1, A_RECORD "\1")},
        {"/a.test\"; expect_rcode = [ \"NXDOMAIN\", \"refused\" ];", OUTCOME_OK, "", .flags = 3},
        {"/a.test\"; expect_rcode = [ \"NXDOMAIN\", \"refused\" ];", OUTCOME_OK, "", .flags = 5},
        {"/a.test\"; expect_rcode = [ \"NXDOMAIN\", \"refused\" ];", OUTCOME_WRONG_ANSWER,
         "name server answers NOERROR", RECORDS(1, A_RECORD "\1")},
        {"/a.test\";", OUTCOME_NOT_SERVING, "name server answers SERVFAIL", .flags = 2},
        {"/a.test\";", OUTCOME_REFUSED, "name server answers REFUSED", .flags = 5},
        {"/a.test\";", OUTCOME_WRONG_ANSWER, "name server answers code 11", .flags = 11},
        {"/a.test\"; authoritative = true;", OUTCOME_WRONG_ANSWER, "answer is not authoritative",
         RECORDS(1, A_RECORD "\1")},
        {"/a.test\"; authoritative = true;", OUTCOME_OK, "", .flags = 0x400,
         RECORDS(1, A_RECORD "\1")},
        {"/a.test\"; min_records = 2;", OUTCOME_WRONG_ANSWER, "1 records, at least 2 expected",
         RECORDS(2, CNAME_RECORD A_RECORD "\1")},
        {"/a.test\"; min_records = 0; expect_records = \"192.0.2.1\";", OUTCOME_WRONG_ANSWER,
         "no record 192.0.2.1", .record_count = 0},
        {"/a.test\"; expect_records = \"192.0.2.2\";", OUTCOME_WRONG_ANSWER,
         "no record 192.0.2.2, but 192.0.2.1", RECORDS(1, A_RECORD "\1")},
        {"/a.test\"; expect_records = \"192.0.2.2\";", OUTCOME_WRONG_ANSWER,
         "no record 192.0.2.2, but 192.0.2.1 and others", RECORDS(2, A_RECORD "\1" A_RECORD "\3")},
        {"/a.test?type=AAAA\"; expect_records = [ \"2001:DB8:0::2\", \"2001:db8::1\" ];",
         OUTCOME_OK, "", RECORDS(2, AAAA_RECORD "\1" AAAA_RECORD "\2")},
        {"/a.test?type=CNAME\"; expect_records = \"A.test\";", OUTCOME_OK, "",
         RECORDS(1, CNAME_RECORD)},
        {"/a.test?type=CNAME\"; expect_records = \"a.test.\";", OUTCOME_OK, "",
         RECORDS(1, CNAME_RECORD)},
        {"/a.test?type=CNAME\"; expect_records = \".\";", OUTCOME_WRONG_ANSWER,
         "no record ., but a.test.", RECORDS(1, CNAME_RECORD)},
        /* text is compared as it is, names are not */
        {"/a.test?type=TXT\"; expect_records = \"v=1 a\";", OUTCOME_OK, "", RECORDS(1, ANY_TEXT)},
        {"/a.test?type=TXT\"; expect_records = \"v=1 A\";", OUTCOME_WRONG_ANSWER,
         "no record v=1 A, but v=1 a", RECORDS(1, ANY_TEXT)},
        {"/a.test?type=TXT\"; expect_records = \"v=1\";", OUTCOME_WRONG_ANSWER,
         "no record v=1, but v=1 a", RECORDS(1, ANY_TEXT)},
        {"/a.test?type=SOA\";", OUTCOME_OK, "serial 2025086337", RECORDS(1, SOA_RECORD)},
    };
    JUDGE_ALL(cases, "dns");
}

/* The name server that the checks themselves are resolved with; its names' addresses refuse. */
TEST(servers_are_found_by_name)
{
    struct dns_server *names = dns_server_start();
    struct strbuf rows;
    struct judged right = {.stratum = 2};
    if (!EXPECT(names != NULL) || !EXPECT_INT(pipe(wake), 0) || !EXPECT(open_server(&right, true)))
        return;
    /* The second address is asked when the first refuses; nobody listens at 127.0.0.9. */
    dns_server_set(names, "time.test", DNS_REPLY_ADDRESSES, "127.0.0.1", 60);
    dns_server_set(names, "two.test", DNS_REPLY_ADDRESSES, "127.0.0.9 127.0.0.1", 60);
    dns_server_set(names, "six.test", DNS_REPLY_ADDRESSES, "::1 127.0.0.1", 60);
    dns_server_set(names, "none.test", DNS_REPLY_ADDRESSES, "127.0.0.9 127.0.0.8", 60);
    strbuf_init(&rows, 4096);
    static const char *const hosts[] = {"time", "two", "six", "none", "gone"};
    for (size_t i = 0; i < 5; i++)
        strbuf_addf(&rows, "{ name = \"d%zu\"; url = \"ntp://%s.test:%u\"; },\n", i, hosts[i],
                    servers[0].port);
    strbuf_adds(&rows, "{ name = \"d5\"; url = \"dns://gone.test/x\"; },\n"
                       "{ name = \"d6\"; url = \"icmp://gone.test\"; },\n"
                       "{ name = \"d7\"; url = \"icmp://time.test\"; },\n"
                       "{ name = \"d8\"; url = \"http+unix:///etc/passwd/socket\"; },\n");
    /* No connection can be made to 255.255.255.255 or 224.0.0.1: that says nothing of the peer. */
    dns_server_set(names, "mixed.test", DNS_REPLY_ADDRESSES, "255.255.255.255 127.0.0.9", 60);
    dns_server_set(names, "dexim.test", DNS_REPLY_ADDRESSES, "127.0.0.9 224.0.0.1", 60);
    dns_server_set(names, "noway.test", DNS_REPLY_ADDRESSES, "255.255.255.255 224.0.0.1", 60);
    for (size_t i = 0; i < 3; i++)
        strbuf_addf(&rows, "{ name = \"d%zu\"; url = \"tcp://%s.test:%u\"; },\n", 9 + i,
                    i == 0   ? "mixed"
                    : i == 1 ? "dexim"
                             : "noway",
                    servers[0].port);
    const struct ask_options options = {.nameservers = dns_server_address(names)};
    if (ask_served(&rows, &options)) {
        expect(0, OUTCOME_OK, "");
        expect(1, OUTCOME_OK, "");
        expect(2, OUTCOME_OK, "");
        expect(3, OUTCOME_CONNECT_REFUSED, "");
        for (size_t i = 4; i < 7; i++)
            expect(i, OUTCOME_DNS_NXDOMAIN, "host name 'gone.test' does not exist");
        /* The kernel may not let this group send any. */
        if (asked[7].result.outcome != OUTCOME_OWN_FORBIDDEN)
            expect(7, OUTCOME_OK, "");
        EXPECT_INT(asked[0].result.ip_family, AF_INET);
        expect(8, OUTCOME_CONNECT_REFUSED, "the Unix socket does not exist");
        expect(9, OUTCOME_CONNECT_REFUSED, "");
        expect(10, OUTCOME_CONNECT_REFUSED, "");
        EXPECT_INT(outcome_class(asked[11].result.outcome), OUTCOME_CLASS_NOT_TRIED);
    }
    dns_server_stop(names);
    config = config_unref(config);
    strbuf_done(&rows);
}

int main(void)
{
    signal(SIGPIPE, SIG_IGN); /* as the daemon does */
    alarm((unsigned)(250 * ask_scale()));
    struct asked nothing = {0};
    if (ask(&nothing, 1, NULL) != 0)
        printf("# (what libraries keep open from their first use on)\n");
    RUN(time_servers);
    RUN(name_servers);
    RUN(servers_are_found_by_name);
    return testing_end();
}
