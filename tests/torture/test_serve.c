/*
 * Publishing, rendering and serving without memory: what is published is whole, an answer is the
 * right one, or says 500, or the connection is closed without a byte; and the next request is
 * answered.
 */
#include "torture.h"

#include "../unit/serving.h"

#include <healthsvc/render.h>

#include <fcntl.h>
#include <sys/mman.h>
#include <sys/wait.h>

/* ---- publishing ---- */

static void expect_body(const struct snapshot *s, enum render_format format, const char *right)
{
    struct moment m = fixture_moment(0);
    struct reading r = snapshot_read(s, &m);
    struct strbuf out;
    strbuf_init(&out, REPLY_BYTES);
    render_health(s, &m, &r, format, &out);
    EXPECT_STR(out.data, right);
    strbuf_done(&out);
}

static char right_text[REPLY_BYTES];

static void publish_once(const void *arg)
{
    struct snapshot *s = NULL;
    (void)arg;
    torture_begin();
    int r = snapshot_new(&fixture_config, fixture_list, FIXTURE_COUNT, &s);
    torture_end();
    if (r != 0) {
        EXPECT_INT(r, -ENOMEM);
        EXPECT(s == NULL && torture_struck());
        return;
    }
    expect_body(s, RENDER_TEXT, right_text);
    snapshot_unref(s);
}

/* ---- rendering ---- */

struct rendering {
    const char *name;
    void (*render)(const struct snapshot *s, const struct moment *m, const struct reading *r,
                   struct strbuf *out);
};

static void as_text(const struct snapshot *s, const struct moment *m, const struct reading *r,
                    struct strbuf *out)
{
    render_health(s, m, r, RENDER_TEXT, out);
}

static void as_json(const struct snapshot *s, const struct moment *m, const struct reading *r,
                    struct strbuf *out)
{
    render_health(s, m, r, RENDER_JSON, out);
}

static void as_nagios(const struct snapshot *s, const struct moment *m, const struct reading *r,
                      struct strbuf *out)
{
    render_health(s, m, r, RENDER_NAGIOS, out);
}

static void one_as_json(const struct snapshot *s, const struct moment *m, const struct reading *r,
                        struct strbuf *out)
{
    render_dependency(s, snapshot_row(s, AIRPORTS), m, r, RENDER_JSON, out);
}

static void as_readyz(const struct snapshot *s, const struct moment *m, const struct reading *r,
                      struct strbuf *out)
{
    (void)render_readyz(s, m, r, true, out);
}

static const struct rendering renderings[] = {
    {"render text", as_text},     {"render json", as_json},
    {"render nagios", as_nagios}, {"render one as json", one_as_json},
    {"render readyz", as_readyz}, {"render metrics", render_metrics},
};

static void render_into(const struct rendering *how, const struct snapshot *s, struct strbuf *out)
{
    struct moment m = fixture_moment(0);
    struct reading r = snapshot_read(s, &m);
    how->render(s, &m, &r, out);
}

/* The memory figures of /metrics change by themselves. */
static bool is_metrics(const struct rendering *how)
{
    return how->render == render_metrics;
}

static void render_once(const void *arg)
{
    const struct rendering *how = arg;
    struct snapshot *s = fixture_snapshot(FIXTURE_COUNT);
    struct strbuf out, right;
    strbuf_init(&out, 1 << 20);
    strbuf_init(&right, 1 << 20);
    torture_begin();
    render_into(how, s, &out);
    torture_end();
    if (strbuf_error(&out) != 0) {
        EXPECT(torture_struck());
        EXPECT_INT(strbuf_error(&out), -ENOMEM);
    }
    /* Once more with memory: nothing half made is kept with the results. */
    bool whole = strbuf_error(&out) == 0;
    render_into(how, s, &right);
    EXPECT_INT(strbuf_error(&right), 0);
    if (whole && is_metrics(how))
        EXPECT(strstr(out.data, "healthsvc_") != NULL && out.data[out.len - 1] == '\n');
    else if (whole)
        EXPECT_STR(out.data, right.data);
    strbuf_done(&out);
    strbuf_done(&right);
    snapshot_unref(s);
}

/* ---- serving ---- */

struct request {
    const char *name, *target, *line; /* `line`: a header's */
    const char *status, *part;        /* of the right answer */
};

#define LIVEZ                                                               \
    {                                                                       \
        "request /livez", "/livez", "", "HTTP/1.1 200 ", "Up and running\n" \
    }

static const struct request requests[] = {
    {"request /health", "/health", "", "HTTP/1.1 500 ", "airports status: Error"},
    {"request /health in JSON", "/health", "Accept: application/json\r\n", "HTTP/1.1 500 ",
     "\"status\":\"fail\""},
    {"request /health/trips", "/health/trips", "", "HTTP/1.1 200 ", "trips status: OK\n"},
    LIVEZ,
    {"request /readyz", "/readyz?verbose", "", "HTTP/1.1 500 ", "[-]airports failed"},
    {"request /metrics", "/metrics", "", "HTTP/1.1 200 ", "healthsvc_"},
    {"request of nothing", "/nothing", "", "HTTP/1.1 404 ", "no such path"},
};

/* All of it has come, by its length. */
static bool is_whole(const char *answer)
{
    const char *length = strstr(answer, "Content-Length: ");
    const char *body = strstr(answer, "\r\n\r\n");
    return length != NULL && body != NULL &&
           (size_t)strtoul(length + 16, NULL, 10) == strlen(body + 4);
}

static bool is_right(const struct request *request, const char *answer)
{
    return is_whole(answer) && strncmp(answer, request->status, strlen(request->status)) == 0 &&
           strstr(answer, request->part) != NULL;
}

/* The right answer, or one that says that it is none, or nothing. */
static bool is_honest(const struct request *request, const char *answer)
{
    return is_right(request, answer) || answer[0] == '\0' ||
           (is_whole(answer) && strncmp(answer, "HTTP/1.1 500 ", 13) == 0 &&
            strstr(answer, "no memory") != NULL);
}

static void request_once(const void *arg)
{
    const struct request *request = arg;
    publish(); /* nothing is rendered yet */
    torture_begin();
    const char *answer = get(request->target, request->line);
    torture_end();
    EXPECT(is_right(request, answer) || torture_struck());
    if (!EXPECT(is_honest(request, answer)))
        printf("# answered: %s\n", answer);
    EXPECT(is_right(request, get(request->target, request->line)));
}

/* ---- starting to serve ---- */

static void start_once(const void *arg)
{
    struct server *other = NULL;
    struct strbuf reason;
    (void)arg;
    strbuf_init(&reason, 1024);
    torture_begin();
    int r = server_start(&fixture_config, &other, &reason);
    torture_end();
    EXPECT(r == 0 || torture_struck());
    if (r == 0) {
        EXPECT_HAS(get("/livez", ""), "HTTP/1.1 200 OK");
        server_stop(other);
    }
    strbuf_done(&reason);
}

/* CivetWeb may end the process while it starts. What it must not do is serve, and crash then. */
struct outside {
    struct failing plan;
    atomic_bool serves;
};

static void start_apart(struct outside *o, unsigned long n)
{
    static const struct request livez = LIVEZ;
    struct server *other = NULL;
    struct strbuf reason;
    int null = open("/dev/null", O_WRONLY);
    (void)signal(SIGSEGV, SIG_DFL);
    (void)dup2(null, STDERR_FILENO);
    strbuf_init(&reason, 1024);
    failing_use(&o->plan);
    failing_begin(FAILING_ONE, n, false);
    int r = server_start(&fixture_config, &other, &reason);
    atomic_store(&o->serves, r == 0);
    bool honest = r != 0 || is_honest(&livez, get(livez.target, livez.line));
    failing_end();
    _exit(honest && (r != 0 || is_right(&livez, get(livez.target, livez.line))) ? 0 : 1);
}

TEST(civetweb_that_starts_without_memory_serves)
{
    struct outside *o =
        mmap(NULL, sizeof *o, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0);
    unsigned long served = 0, refused = 0, ended = 0;
    if (o == MAP_FAILED)
        abort();
    EXPECT(failing_spare(NULL));
    for (unsigned long n = 1;; n++) {
        int status = 0;
        atomic_store(&o->serves, false);
        fflush(stdout);
        pid_t pid = fork();
        if (pid == 0)
            start_apart(o, n);
        EXPECT(waitpid(pid, &status, 0) == pid);
        bool serves = atomic_load(&o->serves);
        if (atomic_load(&o->plan.refused) == 0) {
            EXPECT(serves && status == 0);
            break;
        }
        served += serves;
        refused += !serves && status == 0;
        ended += status != 0;
        if (!EXPECT(status == 0 || !serves))
            printf("# that was with allocation %lu\n", n);
    }
    printf("# civetweb: %lu served all the same, %lu did not start, %lu ended the process\n",
           served, refused, ended);
    munmap(o, sizeof *o);
}

int main(void)
{
    static const char *const addresses_of_start[] = {"127.0.0.1:0", NULL};
    alarm((unsigned)(300 * scaled(1)));
    start(2, "127.0.0.1:0");
    fixture_trouble();
    struct snapshot *s = fixture_snapshot(FIXTURE_COUNT);
    struct strbuf text;
    strbuf_init(&text, REPLY_BYTES);
    render_into(&renderings[0], s, &text);
    (void)snprintf(right_text, sizeof right_text, "%s", text.data);
    strbuf_done(&text);
    snapshot_unref(s);

    torture(&(struct torture){.name = "publish", .once = publish_once});
    for (size_t i = 0; i < sizeof renderings / sizeof renderings[0]; i++)
        torture(&(struct torture){
            .name = renderings[i].name, .once = render_once, .arg = &renderings[i]});

    for (size_t i = 0; i < FIXTURE_COUNT; i++)
        fixture_views[i].checked_mono_ms = clock_mono_ms();
    for (size_t i = 0; i < FIXTURE_COUNT; i++)
        fixture_confs[i].max_age_ms = 3600000;
    for (size_t i = 0; i < sizeof requests / sizeof requests[0]; i++)
        torture(&(struct torture){.name = requests[i].name,
                                  .once = request_once,
                                  .arg = &requests[i],
                                  .everywhere = true});
    server = server_stop(server);
    configure(2, addresses_of_start);
    EXPECT(failing_spare("civetweb")); /* it does not check its own */
    if (FAILING_MAY_BEGIN_THREADS) {
        torture(
            &(struct torture){.name = "start to serve", .once = start_once, .everywhere = true});
        RUN(civetweb_that_starts_without_memory_serves);
    }
    stop();
    return testing_end();
}
