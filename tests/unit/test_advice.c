/* advice: each warning where it is due, word for word, and silence next to it. The schemes and the
 * reading of the file are the real ones. */
#include "../certs.h"
#include "../testing.h"

#include "command/advice.h"
#include "command/forecast.h"

#include <healthsvc/strbuf.h>

#include <fcntl.h>
#include <sys/stat.h>
#include <unistd.h>

#define CONF "health.conf"
#define FIRST "name = \"gateway\";\ndependencies = (\n"
#define LAST ");\n"

static const struct advice_descriptors plenty = {.have = 65536, .needed = 1000, .checks = 32000};
static struct strbuf told;

static void tell(void *arg, const char *text)
{
    (void)arg;
    strbuf_addf(&told, "%s\n", text);
}

static void write_file(const char *name, const char *text, unsigned mode)
{
    FILE *f = fopen(name, "w");
    if (!EXPECT(f != NULL))
        return;
    EXPECT(fputs(text, f) >= 0);
    EXPECT(fclose(f) == 0);
    EXPECT(chmod(name, mode) == 0);
}

/* What is told of a configuration without faults. */
static const char *advice_with(const char *text, const struct advice_descriptors *descriptors)
{
    struct config *config = NULL;
    struct forecast forecast;
    strbuf_clear(&told);
    if (text != NULL)
        write_file(CONF, text, 0640);
    if (!EXPECT_INT(config_load(CONF, tell, NULL, &config), 0))
        return told.data;
    forecast_make(config, &forecast);
    EXPECT_INT(advice_tell(config, &forecast, descriptors, tell, NULL), 0);
    config_unref(config);
    return told.data;
}

static const char *advice(const char *text)
{
    return advice_with(text, &plenty);
}

/* `count` dependencies with these settings, "%zu" in them being the number. */
static const char *advice_of_many(size_t count, const char *settings)
{
    struct strbuf text;
    strbuf_init(&text, SIZE_MAX / 2);
    strbuf_adds(&text, FIRST);
    for (size_t i = 0; i < count; i++)
        strbuf_addf(&text, "{ name = \"d%zu\"; %s }%s\n", i, settings, i + 1 < count ? "," : "");
    strbuf_adds(&text, LAST);
    EXPECT_INT(strbuf_error(&text), 0);
    const char *said = advice(text.data);
    strbuf_done(&text);
    return said;
}

#define ONE(settings) FIRST "{ name = \"trips\"; " settings " }\n" LAST

TEST(the_defaults_are_quiet)
{
    EXPECT_STR(advice(""), "");
    EXPECT_STR(advice(ONE("url = \"http://trips/\";")), "");
    EXPECT_STR(advice(ONE("url = \"https://trips/\";")), "");
    EXPECT_STR(advice(ONE("exec = [ \"/bin/true\" ];")), "");
    EXPECT_STR(advice(ONE("url = \"tcp://trips:1\"; period = \"60s\";")), "");
    EXPECT_STR(advice(ONE("url = \"tcp://trips:1\"; period = \"100ms\";")), "");
}

TEST(slow_to_be_down)
{
    EXPECT_STR(advice(ONE("url = \"http://trips/\"; period = \"5m\";")),
               CONF ":3: warning: trips: when it hangs, requests go on being sent here for up to "
                    "312s: that is how long it takes to be down, by 'period', 'timeout', 'fall' "
                    "and 'confirm'\n");
    EXPECT_STR(advice(ONE("url = \"http://trips/\"; period = \"108s\";")), "");
    EXPECT_HAS(advice(ONE("url = \"http://trips/\"; period = \"109s\";")), "121s");
    const char *quiet = "{ name = \"b\"; url = \"http://b/\"; }\n" LAST;
    struct strbuf text;
    strbuf_init(&text, 4096);
    strbuf_addf(&text,
                FIRST "{ name = \"a\"; url = \"http://a/\"; period = \"5m\"; "
                      "importance = \"optional\"; },\n%s",
                quiet);
    EXPECT_STR(advice(text.data), "");
    strbuf_done(&text);
}

TEST(patience)
{
    EXPECT_STR(advice(ONE("url = \"http://trips/\"; period = \"31s\"; timeout = \"29s\"; "
                          "fall = 1;")),
               CONF
               ":3: warning: trips: 'timeout' is 29s: for so long nothing is known of it after "
               "a start, and -1 may take as long, which who runs it gives up sooner (Docker "
               "after 30s)\n");
    EXPECT_STR(advice(ONE("url = \"http://trips/\"; period = \"31s\"; timeout = \"28s\"; "
                          "fall = 1;")),
               "");
}

TEST(tls_in_too_short_a_time)
{
    EXPECT_STR(advice(ONE("url = \"https://trips/\"; timeout = \"99ms\";")), CONF
               ":3: warning: trips: 'timeout' is 99ms: a check with a full TLS handshake takes "
               "a look-up and at least three round trips, and fails where one takes a third "
               "of that\n");
    EXPECT_HAS(advice(ONE("url = \"https://trips/\"; period = \"110ms\";")), "'timeout' is 88ms");
    EXPECT_STR(advice(ONE("url = \"https://trips/\"; timeout = \"100ms\";")), "");
    EXPECT_STR(advice(ONE("url = \"http://trips/\"; timeout = \"99ms\";")), "");
    EXPECT_STR(advice(ONE("url = \"https://127.0.0.1/\"; timeout = \"99ms\";")), "");
    EXPECT_STR(advice(ONE("url = \"https://[::1]/\"; timeout = \"99ms\";")), "");
    EXPECT_STR(advice(ONE("url = \"https://localhost/\"; timeout = \"99ms\";")), "");
    EXPECT_STR(advice(ONE("url = \"https+unix:///run/t:/\"; timeout = \"99ms\";")), "");
}

TEST(ntp_too_often)
{
    EXPECT_STR(advice(ONE("url = \"ntp://pool.test\";")),
               CONF ":3: warning: trips: 'period' is 10s: public time servers refuse who asks more "
                    "often than every 16s\n");
    EXPECT_STR(advice(ONE("url = \"ntp://pool.test\"; period = \"16s\";")), "");
    EXPECT_STR(advice(ONE("url = \"ntp://127.0.0.1\";")), "");
}

TEST(stale_between_two_results)
{
    EXPECT_STR(advice(ONE("url = \"http://trips/\"; max_age = \"12s\";")), CONF
               ":3: warning: trips: 'max_age' is 12s, but between two results there may be 13s "
               "('period' and 'timeout'): it would be stale in between\n");
    EXPECT_STR(advice(ONE("url = \"http://trips/\"; max_age = \"13s\";")), "");
    EXPECT_STR(advice(FIRST "{ name = \"a\"; url = \"http://a/\"; max_age = \"12s\"; "
                            "importance = \"info\"; },\n"
                            "{ name = \"b\"; url = \"http://b/\"; }\n" LAST),
               "");
}

TEST(twins)
{
    EXPECT_STR(advice(FIRST "{ name = \"a\"; url = \"http://a/\"; },\n"
                            "{ name = \"b\"; url = \"http://b/\"; },\n"
                            "{ name = \"c\"; url = \"http://a/\"; },\n"
                            "{ name = \"d\"; exec = [ \"/bin/x\", \"1\" ]; },\n"
                            "{ name = \"e\"; exec = [ \"/bin/x\", \"2\" ]; },\n"
                            "{ name = \"f\"; exec = [ \"/bin/x\", \"1\" ]; },\n"
                            "{ name = \"g\"; url = \"http://a/\"; }\n" LAST),
               CONF ":5: warning: c: it asks just what 'a' does (" CONF ":3)\n" CONF
                    ":8: warning: f: it asks just what 'd' does (" CONF ":6)\n" CONF
                    ":9: warning: g: it asks just what 'a' does (" CONF ":3)\n");
    /* Another question, or another judgement of the answer. */
    EXPECT_STR(advice(FIRST "{ name = \"a\"; url = \"http://a/\"; },\n"
                            "{ name = \"b\"; url = \"http://a/\"; method = \"HEAD\"; },\n"
                            "{ name = \"c\"; url = \"http://a/\"; fall = 1; },\n"
                            "{ name = \"d\"; url = \"https://a/\"; }\n" LAST),
               "");
}

TEST(secrets_that_everybody_may_read)
{
    write_file("password", "swordfish\n", 0644);
    EXPECT_STR(advice(ONE("url = \"http://trips/\"; user = \"u\"; password_file = \"password\";")),
               CONF ":3: warning: trips: 'password_file': everybody on this machine may read "
                    "password (mode 0644)\n");
    EXPECT(chmod("password", 0640) == 0);
    EXPECT_STR(advice(NULL), "");

    struct cert cert = cert_make(&(struct cert_spec){.name = "trips"});
    cert_write("cert.pem", &cert);
    cert_write_key("key.pem", &cert, NULL);
    cert_free(&cert);
    EXPECT(chmod("key.pem", 0604) == 0);
    EXPECT(chmod("cert.pem", 0644) == 0); /* a certificate is for everybody */
    EXPECT_HAS(
        advice(ONE("url = \"https://trips/\"; cert_file = \"cert.pem\"; "
                   "key_file = \"key.pem\";")),
        "warning: trips: 'key_file': everybody on this machine may read key.pem (mode 0604)");
    EXPECT(chmod("key.pem", 0600) == 0);
    EXPECT_STR(advice(NULL), "");
    cert = cert_make(&(struct cert_spec){.name = "trips"});
    cert_write("cert.pem", &cert);
    cert_write_key("key.pem", &cert, NULL);
    cert_free(&cert);
    EXPECT(system("cat key.pem >> cert.pem") == 0);
    EXPECT_HAS(
        advice(ONE("url = \"https://trips/\"; cert_file = \"cert.pem\";")),
        "warning: trips: 'cert_file': everybody on this machine may read cert.pem (mode 0644)");

    write_file("token", "swordfish-swordfish\n", 0644);
    EXPECT_STR(advice("details_token_file = \"token\";"),
               CONF ": warning: 'details_token_file': everybody on this machine may read token "
                    "(mode 0644)\n");
    EXPECT(chmod("token", 0600) == 0);
    EXPECT_STR(advice(NULL), "");

    const char *with_header =
        ONE("url = \"http://trips/\"; "
            "headers = [ \"Accept: text/plain\", \"authorization: Bearer x\" ];");
    EXPECT_STR(advice(with_header), "");
    EXPECT(chmod(CONF, 0644) == 0);
    EXPECT_STR(advice(NULL), CONF
               ":3: warning: trips: 'headers' has Authorization, and everybody on this machine "
               "may read this file (mode 0644)\n");
    write_file(CONF, ONE("url = \"http://trips/\"; headers = \"Accept: text/plain\";"), 0644);
    EXPECT_STR(advice(NULL), "");
    EXPECT(strstr(told.data, "swordfish") == NULL);
}

TEST(too_few_descriptors)
{
    const char *text = FIRST "{ name = \"a\"; url = \"http://a/\"; },\n"
                             "{ name = \"b\"; url = \"http://b/\"; }\n" LAST;
    struct advice_descriptors few = {.have = 300, .needed = 302, .checks = 1};
    EXPECT_STR(advice_with(text, &few),
               CONF ": warning: the limit of open files (RLIMIT_NOFILE) is 300 here: enough for 1 "
                    "checks at once, but if all hang there are 2, and what is over is not tried; "
                    "302 would do\n");
    few.checks = 2;
    EXPECT_STR(advice_with(text, &few), "");
    few.shortage = "there are none";
    EXPECT_STR(advice_with(text, &few),
               CONF ": warning: it would not start here: there are none\n");
}

TEST(more_than_one_thread_can_do)
{
    const char *much = "url = \"https://localhost/\"; period = \"1s\";";
    EXPECT_HAS(advice_of_many(1300, much),
               CONF ": warning: 1300 checks a second need an estimated 0.9 cores, and one thread "
                    "makes them: they will start late, or be skipped; longer periods need less\n");
    EXPECT(strstr(advice_of_many(1200, much), "cores") == NULL);
    EXPECT_HAS(advice_of_many(1600, "url = \"https://localhost/\";"),
               CONF ": warning: while all dependencies are in doubt, 1600 checks a second need an "
                    "estimated 1.1 cores");
    EXPECT(strstr(advice_of_many(1500, "url = \"https://localhost/\";"), "cores") == NULL);
    EXPECT(strstr(advice_of_many(5000, "url = \"http://localhost/\";"), "cores") == NULL);
}

TEST(more_commands_than_may_run)
{
    EXPECT_HAS(advice_of_many(95, "exec = [ \"/bin/true\" ];"),
               CONF ": warning: if the commands of 'exec' hang, 33 of them want to run at a time, "
                    "and 32 may: the others are not tried; longer periods or shorter timeouts need "
                    "fewer\n");
    EXPECT(strstr(advice_of_many(90, "exec = [ \"/bin/true\" ];"), "commands") == NULL);
    EXPECT(strstr(advice_of_many(95, "url = \"http://localhost/\";"), "commands") == NULL);
}

TEST(nothing_can_fail)
{
    EXPECT_STR(advice(FIRST
                      "{ name = \"a\"; url = \"http://a/\"; importance = \"info\"; },\n"
                      "{ name = \"b\"; url = \"http://b/\"; importance = \"optional\"; }\n" LAST),
               CONF ": warning: no dependency is required: whatever happens to them, /health "
                    "answers 200\n");
    EXPECT_STR(advice(FIRST "{ name = \"a\"; url = \"http://a/\"; importance = \"info\"; },\n"
                            "{ name = \"b\"; url = \"http://b/\"; }\n" LAST),
               "");
}

TEST(shutdown_too_short_to_be_seen)
{
    EXPECT_STR(advice("shutdown_delay = \"1500ms\";"),
               CONF ": warning: 'shutdown_delay' is 1500ms: it may be over before a load balancer "
                    "has asked again (HAProxy asks every 2s by default)\n");
    EXPECT_STR(advice("shutdown_delay = \"2s\";"), "");
    EXPECT_STR(advice("shutdown_delay = 0;"), "");
}

TEST(of_many_alike_the_first_are_told)
{
    const char *said = advice_of_many(12345, "url = \"http://a/\";");
    size_t lines = 0;
    for (const char *p = said; *p != '\0'; p++)
        lines += *p == '\n';
    EXPECT_INT(lines, ADVICE_TOLD + 1);
    EXPECT_HAS(said, CONF ":4: warning: d1: ");
    EXPECT_HAS(said, CONF ":13: warning: d10: ");
    EXPECT_HAS(said, CONF ": warning: 12334 more dependencies that ask what another does\n");
}

int main(void)
{
    static char folder[] = "/tmp/healthsvc-advice-XXXXXX";
    if (mkdtemp(folder) == NULL || chdir(folder) != 0)
        return 1;
    strbuf_init(&told, SIZE_MAX / 2);
    RUN(the_defaults_are_quiet);
    RUN(slow_to_be_down);
    RUN(patience);
    RUN(tls_in_too_short_a_time);
    RUN(ntp_too_often);
    RUN(stale_between_two_results);
    RUN(twins);
    RUN(secrets_that_everybody_may_read);
    RUN(too_few_descriptors);
    RUN(more_than_one_thread_can_do);
    RUN(more_commands_than_may_run);
    RUN(nothing_can_fail);
    RUN(shutdown_too_short_to_be_seen);
    RUN(of_many_alike_the_first_are_told);
    strbuf_done(&told);
    static const char *const files[] = {CONF, "password", "token", "key.pem", "cert.pem"};
    for (size_t i = 0; i < sizeof files / sizeof files[0]; i++)
        (void)unlink(files[i]);
    EXPECT(rmdir(folder) == 0);
    return testing_end();
}
