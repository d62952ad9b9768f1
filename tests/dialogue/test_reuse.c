/* Two questions on one connection: both replies cut in two at every byte and byte by byte, with what
 * comes between them; and the replies after which there must be no second question. */
#ifdef HAVE_CONFIG_H
#include <config.h>
#endif

#include "transcript.h"

#include <healthsvc/probe.h>

extern const struct scheme scheme_http;
#ifdef HAVE_NGHTTP2
extern const struct scheme scheme_grpc;
#endif

#define SENT_BYTES 4096
#define REPLY_BYTES 131072
#define CUTS_ALL_BYTES 4096 /* replies up to this long are cut everywhere, */
#define CUTS_SOME 64        /* longer ones at so many places */

struct pair {
    struct transcript asked; /* its settings, its `reply`: what comes to the first question */
    bool in_doubt;           /* no second question may follow; else: */
    struct transcript_bytes between;
    bool ended; /* by what came between; else: */
    struct transcript_bytes second;
    bool eof; /* and then the peer closes */
    enum outcome outcome;
    const char *text; /* NULL: "" */
    bool unanswered;
    const char *sent; /* with the second question; NULL: not looked at */
};

/* One connection while it is played. */
struct talk {
    const struct target_conf *conf;
    const struct dialogue *d;
    void *state;
    void *session;
    struct strbuf out;
    struct dlg_result ret;
    enum dlg_step step;
};

static void ask_question(struct talk *t, bool again)
{
    t->state = calloc(1, t->d->state_size);
    if (t->state == NULL)
        abort();
    strbuf_clear(&t->out);
    t->ret = (struct dlg_result){.outcome = OUTCOME_BAD_REPLY};
    if (again && t->d->reuse->resume != NULL)
        t->d->reuse->resume(t->state, t->session);
    t->session = NULL;
    t->step = t->d->open(t->state, t->conf, &t->out, &t->ret);
}

static void end_question(struct talk *t)
{
    if (t->d->done != NULL)
        t->d->done(t->state);
    free(t->state);
    t->state = NULL;
}

/* Bytes in memory of their own, exactly as long. */
static uint8_t *copy_of(const char *at, size_t len)
{
    uint8_t *copy = malloc(len);
    if (copy == NULL)
        abort();
    memcpy(copy, at, len);
    return copy;
}

/* How many bytes the next piece has: cut at `first`, then pieces of `piece`. */
static size_t piece_of(size_t fed, size_t len, size_t first, size_t piece)
{
    size_t want = fed < first ? first - fed : piece;
    return want < len - fed ? want : len - fed;
}

/* Returns how many bytes were left over when the verdict was in. */
static size_t hear(struct talk *t, struct transcript_bytes reply, size_t first, size_t piece)
{
    size_t fed = 0;
    while (fed < reply.len && t->step == DLG_MORE) {
        size_t len = piece_of(fed, reply.len, first, piece);
        uint8_t *copy = copy_of(reply.at + fed, len);
        t->ret = (struct dlg_result){.outcome = OUTCOME_BAD_REPLY};
        t->step = t->d->feed(t->state, copy, len, &t->out, &t->ret);
        free(copy);
        fed += len;
    }
    return reply.len - fed;
}

static bool idle(struct talk *t, struct transcript_bytes between, size_t first, size_t piece)
{
    for (size_t fed = 0, len; fed < between.len; fed += len) {
        len = piece_of(fed, between.len, first, piece);
        uint8_t *copy = copy_of(between.at + fed, len);
        bool calm = t->d->reuse->idle != NULL && t->d->reuse->idle(t->session, copy, len, &t->out);
        free(copy);
        if (!calm)
            return false;
    }
    return true;
}

static void forget(struct talk *t)
{
    if (t->session != NULL)
        t->d->reuse->forget(t->session);
    t->session = NULL;
}

/* After the second question. NULL, or what is wrong. */
static const char *hear_second(struct talk *t, const struct pair *p, size_t first, size_t piece)
{
    ask_question(t, true);
    const char *wrong = NULL;
    if (t->step != DLG_MORE)
        wrong = "the second question is not asked";
    else if (p->sent != NULL && strcmp(t->out.data, p->sent) != 0)
        wrong = "something else is asked";
    else if (hear(t, p->second, first, piece) > 0)
        wrong = "the second verdict comes too early";
    if (wrong == NULL && p->eof && t->step == DLG_MORE) {
        t->step = DLG_DONE;
        t->ret = (struct dlg_result){.outcome = OUTCOME_CLOSED};
        if (t->d->eof != NULL)
            t->d->eof(t->state, &t->ret);
    }
    if (wrong == NULL && t->step != DLG_DONE)
        wrong = "no second verdict";
    if (wrong == NULL && (t->ret.outcome != p->outcome ||
                          strcmp(t->ret.text, p->text != NULL ? p->text : "") != 0)) {
        printf("# %s \"%s\"\n", outcome_token(t->ret.outcome), t->ret.text);
        wrong = "another second verdict";
    }
    if (wrong == NULL && t->d->reuse->answered(t->state) == p->unanswered)
        wrong = "answered or not, it is wrong about it";
    end_question(t);
    return wrong;
}

static const char *play_cut(const struct target_conf *conf, const struct pair *p,
                            struct transcript_bytes reply, size_t first, size_t piece)
{
    struct talk t = {.conf = conf, .d = conf->scheme->dialogue};
    const char *wrong = NULL;
    strbuf_init(&t.out, SENT_BYTES);
    ask_question(&t, false);
    size_t left_over = hear(&t, reply, first, piece);
    if (t.step != DLG_DONE || t.ret.outcome != OUTCOME_OK) {
        end_question(&t);
        strbuf_done(&t.out);
        return "no good first verdict";
    }
    /* Bytes that come only later make themselves heard on the idle connection. */
    bool calm = t.d->reuse->rest(t.state, &t.out, &t.session);
    end_question(&t);
    if (calm && left_over > 0)
        calm =
            idle(&t, (struct transcript_bytes){reply.at + reply.len - left_over, left_over}, 1, 1);
    if (calm == p->in_doubt)
        wrong = calm ? "a second question would follow" : "no second question may follow";
    else if (calm && idle(&t, p->between, first, piece) == p->ended)
        wrong = p->ended ? "not ended between" : "ended between";
    else if (calm && !p->ended)
        wrong = hear_second(&t, p, first, piece);
    forget(&t);
    strbuf_done(&t.out);
    return wrong;
}

static const struct pair *this_pair;
static const struct scheme *this_scheme;

static void play_pair(void)
{
    const struct pair *p = this_pair;
    struct transcript asked = p->asked;
    struct target_conf conf;
    struct strbuf why;
    struct strbuf reply;
    asked.reuse = true;
    strbuf_init(&why, 1000);
    strbuf_init(&reply, REPLY_BYTES);
    strbuf_add(&reply, asked.reply.at, asked.reply.len);
    for (size_t i = 0; i < asked.times; i++)
        strbuf_adds(&reply, asked.unit);
    const struct transcript_bytes first = {reply.data, reply.len};
    size_t longest = first.len > p->second.len ? first.len : p->second.len;
    if (p->between.len > longest)
        longest = p->between.len;
    if (EXPECT_INT(strbuf_error(&reply), 0) &&
        EXPECT_INT(transcript_prepare(this_scheme, &asked, &conf, &why), 0)) {
        const char *wrong = play_cut(&conf, p, first, 1, 1);
        size_t cut, step = longest > CUTS_ALL_BYTES ? longest / CUTS_SOME : 1;
        for (cut = 1; cut <= longest && wrong == NULL; cut += step)
            wrong = play_cut(&conf, p, first, cut, SIZE_MAX);
        if (wrong != NULL) {
            printf("# cut before %zu\n", cut);
            testing_fault("pair", 0, wrong);
        }
    }
    transcript_release(&conf);
    strbuf_done(&reply);
    strbuf_done(&why);
}

static void run_pairs(const struct scheme *scheme, const struct pair *pairs, size_t count)
{
    this_scheme = scheme;
    for (size_t i = 0; i < count; i++) {
        this_pair = &pairs[i];
        testing_run(pairs[i].asked.name, play_pair);
    }
}

/* ---- HTTP ---- */

#define HEAD "HTTP/1.1 200 OK\r\n"
#define A16 "0123456789abcdef"
#define OK_2 HEAD "Content-Length: 2\r\n\r\nok"
#define REQUEST                                                                     \
    "GET /health HTTP/1.1\r\nHost: trips\r\nUser-Agent: healthsvc/" PACKAGE_VERSION \
    "\r\nAccept: application/health+json, application/json;q=0.9, */*;q=0.5\r\n"    \
    "Accept-Encoding: identity\r\nConnection: keep-alive\r\n\r\n"

static const struct pair http_pairs[] = {
    {{.name = "http: twice the same", .reply = BYTES(OK_2)},
     .second = BYTES(OK_2),
     .outcome = OUTCOME_OK,
     .sent = REQUEST},
    {{.name = "http: chunks, with a trailer",
      .reply = BYTES(HEAD "Transfer-Encoding: chunked\r\n\r\n2\r\nok\r\n0\r\nX-After: x\r\n\r\n")},
     .second = BYTES(HEAD "Transfer-Encoding: chunked\r\n\r\n0\r\n\r\n"),
     .outcome = OUTCOME_OK},
    {{.name = "http: no body, interim answers",
      .reply = BYTES("HTTP/1.1 102 Wait\r\nConnection: close\r\n\r\nHTTP/1.1 204 No\r\n\r\n")},
     .second = BYTES("HTTP/1.1 100 Go\r\n\r\n" HEAD "Content-Length: 0\r\n\r\n"),
     .outcome = OUTCOME_OK},
    {{.name = "http: HEAD",
      .settings = "method = \"HEAD\";",
      .reply = BYTES(HEAD "Content-Length: 700\r\n\r\n")},
     .second = BYTES(HEAD "Transfer-Encoding: chunked\r\n\r\n"),
     .outcome = OUTCOME_OK},
    {{.name = "http: keep-alive said, among other options",
      .reply = BYTES(HEAD "Connection: Keep-Alive, closer\r\nContent-Length: 0\r\n\r\n")},
     .second = BYTES(OK_2),
     .outcome = OUTCOME_OK},
    {{.name = "http: then bad", .reply = BYTES(OK_2)},
     .second = BYTES("HTTP/1.1 503 Full\r\nContent-Length: 0\r\n\r\n"),
     .outcome = OUTCOME_HTTP_STATUS,
     .text = "HTTP 503"},
    {{.name = "http: then closed", .reply = BYTES(OK_2)},
     .eof = true,
     .outcome = OUTCOME_CLOSED,
     .text = "closed without a reply",
     .unanswered = true},
    {{.name = "http: then closed after a byte", .reply = BYTES(OK_2)},
     .second = BYTES("H"),
     .eof = true,
     .outcome = OUTCOME_CLOSED,
     .text = "closed in the middle of the headers"},
    {{.name = "http: then the end of its patience", .reply = BYTES(OK_2)},
     .second = BYTES("HTTP/1.1 408 Too slow\r\nConnection: close\r\n\r\n"),
     .outcome = OUTCOME_HTTP_STATUS,
     .text = "HTTP 408",
     .unanswered = true},
    {{.name = "http: any byte between", .reply = BYTES(OK_2)},
     .between = BYTES("\n"),
     .ended = true},
    {{.name = "http: a body of just as much as is read",
      .reply = BYTES(HEAD "Content-Length: 65536\r\n\r\n"),
      .unit = A16,
      .times = 4096},
     .second = BYTES(OK_2),
     .outcome = OUTCOME_OK},
    /* No second question. */
    {{.name = "http: Connection: close",
      .reply = BYTES(HEAD "Connection: close\r\nContent-Length: 2\r\n\r\nok")},
     .in_doubt = true},
    {{.name = "http: close in a list, in any case",
      .reply = BYTES(HEAD "Connection: keep-alive , ,\tCLOSE \r\nContent-Length: 2\r\n\r\nok")},
     .in_doubt = true},
    {{.name = "http: close in the second of two headers",
      .reply = BYTES(HEAD "connection: x\r\nCONNECTION: close\r\nContent-Length: 2\r\n\r\nok")},
     .in_doubt = true},
    {{.name = "http: HTTP/1.0, whatever it says",
      .reply = BYTES("HTTP/1.0 200 OK\r\nConnection: keep-alive\r\nContent-Length: 2\r\n\r\nok")},
     .in_doubt = true},
    {{.name = "http: more than the body", .reply = BYTES(OK_2 "!")}, .in_doubt = true},
    {{.name = "http: a second reply at once", .reply = BYTES(OK_2 OK_2)}, .in_doubt = true},
    {{.name = "http: more than the last chunk",
      .reply = BYTES(HEAD "Transfer-Encoding: chunked\r\n\r\n2\r\nok\r\n0\r\n\r\n\r\n")},
     .in_doubt = true},
    {{.name = "http: inverted, judged before the body",
      .settings = "invert = true;",
      .reply = BYTES("HTTP/1.1 403 No\r\nContent-Length: 2\r\n\r\n")},
     .in_doubt = true},
    {{.name = "http: a body longer than what is read",
      .reply = BYTES(HEAD "Content-Length: 65537\r\n\r\n"),
      .unit = A16,
      .times = 4096},
     .in_doubt = true},
    {{.name = "http: an endless body", .reply = BYTES(HEAD "\r\n"), .unit = A16, .times = 4096},
     .in_doubt = true},
    {{.name = "http: an endless chunk",
      .reply = BYTES(HEAD "Transfer-Encoding: chunked\r\n\r\n10000000\r\n"),
      .unit = A16,
      .times = 4096},
     .in_doubt = true},
};

/* ---- gRPC ---- */

#ifdef HAVE_NGHTTP2
#define SETTINGS "\0\0\0\4\0\0\0\0\0"
#define SETTINGS_ACK "\0\0\0\4\1\0\0\0\0"
#define PING              \
    "\0\0\x8\6\0\0\0\0\0" \
    "12345678"
#define PING_ACK          \
    "\0\0\x8\6\1\0\0\0\0" \
    "12345678"
#define WINDOW_UPDATE "\0\0\4\x8\0\0\0\0\0\0\0\0\x64"
/* The last stream that was processed, NO_ERROR. */
#define GOAWAY(last) "\0\0\x8\7\0\0\0\0\0\0\0\0" last "\0\0\0\0"
#define RST(stream, code) "\0\0\4\3\0\0\0\0" stream "\0\0\0" code
#define HEADERS(len, flags, stream, block) "\0\0" len "\1" flags "\0\0\0" stream block
#define DATA(status, stream) "\0\0\7\0\0\0\0\0" stream "\0\0\0\0\2\x8" status
#define SAYS(status, stream)            \
    HEADERS("\1", "\4", stream, "\x88") \
    DATA(status, stream)                \
    HEADERS("\xf", "\5", stream,        \
            "\0\xbgrpc-status\1"        \
            "0")
#define SERVING_1 SETTINGS SETTINGS_ACK SAYS("\1", "\1")

static const struct pair grpc_pairs[] = {
    {{.name = "grpc: twice serving", .reply = BYTES(SERVING_1)},
     .second = BYTES(SAYS("\1", "\3")),
     .outcome = OUTCOME_OK},
    {{.name = "grpc: then not serving", .reply = BYTES(SERVING_1)},
     .second = BYTES(SAYS("\2", "\3")),
     .outcome = OUTCOME_NOT_SERVING},
    {{.name = "grpc: pings, windows and settings between", .reply = BYTES(SERVING_1)},
     .between = BYTES(PING WINDOW_UPDATE SETTINGS PING),
     .second = BYTES(SAYS("\1", "\3")),
     .outcome = OUTCOME_OK},
    {{.name = "grpc: the first stream says more", .reply = BYTES(SERVING_1)},
     .between = BYTES(RST("\1", "\0")),
     .second = BYTES(RST("\1", "\0") SAYS("\1", "\3")),
     .outcome = OUTCOME_OK},
    {{.name = "grpc: then a goodbye that refuses", .reply = BYTES(SERVING_1)},
     .second = BYTES(GOAWAY("\1")),
     .outcome = OUTCOME_OVERLOADED,
     .unanswered = true},
    {{.name = "grpc: then a goodbye that still answers", .reply = BYTES(SERVING_1)},
     .second = BYTES(GOAWAY("\3") SAYS("\1", "\3")),
     .outcome = OUTCOME_OK},
    {{.name = "grpc: then refused", .reply = BYTES(SERVING_1)},
     .second = BYTES(RST("\3", "\7")),
     .outcome = OUTCOME_OVERLOADED,
     .unanswered = true},
    {{.name = "grpc: then reset", .reply = BYTES(SERVING_1)},
     .second = BYTES(RST("\3", "\2")),
     .outcome = OUTCOME_BAD_REPLY,
     .text = "stream ended without a grpc-status (INTERNAL_ERROR)"},
    {{.name = "grpc: then closed", .reply = BYTES(SERVING_1)},
     .eof = true,
     .outcome = OUTCOME_CLOSED,
     .unanswered = true},
    {{.name = "grpc: then closed after a ping", .reply = BYTES(SERVING_1)},
     .second = BYTES(PING),
     .eof = true,
     .outcome = OUTCOME_CLOSED,
     .unanswered = true},
    {{.name = "grpc: then closed in the answer", .reply = BYTES(SERVING_1)},
     .second = BYTES(HEADERS("\1", "\4", "\3", "\x88")),
     .eof = true,
     .outcome = OUTCOME_CLOSED},
    {{.name = "grpc: a goodbye between", .reply = BYTES(SERVING_1)},
     .between = BYTES(GOAWAY("\1")),
     .ended = true},
    {{.name = "grpc: nonsense between", .reply = BYTES(SERVING_1)},
     .between = BYTES("HTTP/1.1 400 Bad Request\r\n"),
     .ended = true},
    {{.name = "grpc: a goodbye with the answer", .reply = BYTES(SERVING_1 GOAWAY("\1"))},
     .in_doubt = true},
    {{.name = "grpc: a goodbye before the answer",
      .reply = BYTES(SETTINGS GOAWAY("\1") SAYS("\1", "\1"))},
     .in_doubt = true},
};

/* What is still to be sent when a check is over, and between two, is sent. */
TEST(grpc_pings_are_answered)
{
    static const struct transcript asked = {.reuse = true};
    static const struct transcript_bytes reply = BYTES(SERVING_1 PING), more = BYTES(PING);
    struct target_conf conf;
    struct strbuf why;
    strbuf_init(&why, 1000);
    EXPECT_INT(transcript_prepare(&scheme_grpc, &asked, &conf, &why), 0);
    struct talk t = {.conf = &conf, .d = scheme_grpc.dialogue};
    strbuf_init(&t.out, SENT_BYTES);
    ask_question(&t, false);
    strbuf_clear(&t.out);
    hear(&t, reply, reply.len, 1);
    EXPECT_INT(t.ret.outcome, OUTCOME_OK);
    EXPECT(t.d->reuse->rest(t.state, &t.out, &t.session));
    end_question(&t);
    static const struct transcript_bytes acks = BYTES(SETTINGS_ACK PING_ACK);
    EXPECT_INT(t.out.len, acks.len);
    EXPECT(t.out.len == acks.len && memmem(t.out.data, t.out.len, PING_ACK, 17) != NULL);
    strbuf_clear(&t.out);
    EXPECT(idle(&t, more, 3, SIZE_MAX));
    EXPECT(t.out.len == 17 && memcmp(t.out.data, PING_ACK, 17) == 0);
    forget(&t);
    strbuf_done(&t.out);
    transcript_release(&conf);
    strbuf_done(&why);
}
#endif

int main(void)
{
    run_pairs(&scheme_http, http_pairs, sizeof http_pairs / sizeof http_pairs[0]);
#ifdef HAVE_NGHTTP2
    run_pairs(&scheme_grpc, grpc_pairs, sizeof grpc_pairs / sizeof grpc_pairs[0]);
    RUN(grpc_pings_are_answered);
#endif
    return testing_end();
}
