/* Who asks: the classes of addresses, and lists that no client can make grow. */
#include "../testing.h"

#include <healthsvc/pollers.h>
#include <healthsvc/strbuf.h>
#include <healthsvc/units.h>

#define LIMIT_BYTES ((size_t)1 << 20)

static struct strbuf body;

static const char *metrics(void)
{
    strbuf_clear(&body);
    pollers_add_metrics(&body);
    EXPECT_INT(strbuf_error(&body), 0);
    return body.data;
}

static size_t count(const char *text, const char *part)
{
    size_t n = 0;
    for (const char *at = text; (at = strstr(at, part)) != NULL; at++)
        n++;
    return n;
}

TEST(classes_of_addresses)
{
    static const struct {
        const char *address;
        enum poller_from from;
    } cases[] = {
        {"127.0.0.1:1", POLLER_FROM_LOOPBACK},   {"127.255.255.255:1", POLLER_FROM_LOOPBACK},
        {"[::1]:1", POLLER_FROM_LOOPBACK},       {"[::2]:1", POLLER_FROM_PUBLIC},
        {"10.0.0.1:1", POLLER_FROM_PRIVATE},     {"11.0.0.1:1", POLLER_FROM_PUBLIC},
        {"172.16.0.1:1", POLLER_FROM_PRIVATE},   {"172.31.255.255:1", POLLER_FROM_PRIVATE},
        {"172.32.0.0:1", POLLER_FROM_PUBLIC},    {"192.168.9.9:1", POLLER_FROM_PRIVATE},
        {"192.169.0.0:1", POLLER_FROM_PUBLIC},   {"100.64.0.1:1", POLLER_FROM_PRIVATE},
        {"100.128.0.0:1", POLLER_FROM_PUBLIC},   {"169.254.1.1:1", POLLER_FROM_PRIVATE},
        {"[fd12::1]:1", POLLER_FROM_PRIVATE},    {"[fe80::1]:1", POLLER_FROM_PRIVATE},
        {"[2001:db8::1]:1", POLLER_FROM_PUBLIC}, {"203.0.113.5:1", POLLER_FROM_PUBLIC},
    };
    for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++) {
        struct sockaddr_storage addr;
        socklen_t len;
        EXPECT_INT(units_parse_address(cases[i].address, 0, &addr, &len), 0);
        if (!EXPECT_INT(pollers_from((const struct sockaddr *)&addr), cases[i].from))
            printf("# %s\n", cases[i].address);
    }
    struct sockaddr_storage other = {.ss_family = AF_UNIX};
    EXPECT_INT(pollers_from((const struct sockaddr *)&other), POLLER_FROM_UNIX);
    other.ss_family = AF_UNSPEC;
    EXPECT_INT(pollers_from((const struct sockaddr *)&other), POLLER_FROM_UNKNOWN);
}

TEST(kinds_of_programs)
{
    static const struct {
        const char *agent, *told;
    } cases[] = {
        {NULL, "none"},
        {"", "other"},
        {"kube-probe/1.29", "kubelet"},
        {"Prometheus/2.42.0", "prometheus"},
        {"Consul Health Check", "consul"},
        {"Envoy/HC", "envoy"},
        {"ELB-HealthChecker/2.0", "elb"},
        {"check_http/v2.3.3 (monitoring-plugins 2.3.3)", "check_http"},
        {"Monit/5.33.0", "monit"},
        {"CURL/8", "curl"},
        {"Mozilla/5.0 (X11; Linux)", "browser"},
        {"curler", "other"},
        {"\xff\"\n{evil=", "other"},
    };
    for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++) {
        char want[160];
        pollers_clear();
        pollers_note(POLLER_FROM_PUBLIC, cases[i].agent, POLLER_PATH_LIVEZ, 503, 1234567);
        (void)snprintf(want, sizeof want,
                       "healthsvc_poller_last_status{from=\"public\",agent=\"%s\",path=\"/livez\"} "
                       "503\n",
                       cases[i].told);
        EXPECT_HAS(metrics(), want);
        EXPECT_INT(count(body.data, "\nhealthsvc_poller_requests_total{"), 1);
    }
    EXPECT_HAS(body.data, "} 1234.567\n");
}

TEST(nothing_noted_says_nothing)
{
    pollers_clear();
    EXPECT_STR(metrics(), "");
}

TEST(what_haproxy_thinks)
{
    pollers_clear();
    pollers_note_haproxy("UP; name=b/s; node=lb; weight=1/2; scur=1/2; qcur=0", 1);
    EXPECT_HAS(metrics(), "healthsvc_haproxy_server_up{server=\"b/s\",node=\"lb\"} 1\n");
    pollers_note_haproxy("DOWN 1/2;name=b/s;node=lb", 2);
    EXPECT_HAS(metrics(), "healthsvc_haproxy_server_up{server=\"b/s\",node=\"lb\"} 0\n");
    EXPECT_INT(count(body.data, "server=\"b/s\""), 1);
    static const char *const nonsense[] = {"",          ";",        ";;;",        "UP",
                                           "UP; name=", "name=a/b", "; name=a/b", " ; =; name"};
    for (size_t i = 0; i < sizeof nonsense / sizeof nonsense[0]; i++)
        pollers_note_haproxy(nonsense[i], 3);
    EXPECT_INT(count(metrics(), "healthsvc_haproxy_server_up{"), 1);
    pollers_note_haproxy("UP; name=\x01\xff\"\\; node=n\tn", 4);
    EXPECT_HAS(metrics(), "{server=\"..\\\"\\\\\",node=\"n.n\"} 1\n");
    /* Those seen longest ago make room. */
    for (int i = 0; i < 1000; i++) {
        char header[600];
        (void)snprintf(header, sizeof header, "UP; name=b/%d%0500d; node=lb", i, 0);
        pollers_note_haproxy(header, 10 + i);
    }
    EXPECT_INT(count(metrics(), "healthsvc_haproxy_server_up{"), POLLERS_HAPROXY_MAX);
    EXPECT_HAS(body.data, "server=\"b/999");
    EXPECT(strstr(body.data, "server=\"b/983") == NULL);
    pollers_clear();
}

int main(void)
{
    strbuf_init(&body, LIMIT_BYTES);
    RUN(classes_of_addresses);
    RUN(kinds_of_programs);
    RUN(nothing_noted_says_nothing);
    RUN(what_haproxy_thinks);
    strbuf_done(&body);
    return testing_end();
}
