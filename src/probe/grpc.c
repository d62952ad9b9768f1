/*
 * grpc, grpcs: grpc.health.v1.Health/Check, one unary call over HTTP/2.
 *
 * nghttp2 does the framing and HPACK, from bytes to bytes, so a call is a dialogue like any other.
 * Its session allocates by itself; done() frees it. The verdict is in the trailers (grpc-status),
 * which are the only headers when the server refuses; the one message says how the service is.
 * With `reuse` the session is kept with its connection, and each check is one more stream.
 * Sources: gRPC's doc/PROTOCOL-HTTP2.md and doc/health-checking.md, RFC 9113.
 */
#ifdef HAVE_CONFIG_H
#include <config.h>
#endif

#include "probe/dialogue.h"
#include "probe/engine.h"

#include <healthsvc/config.h>
#include <healthsvc/keys.h>
#include <healthsvc/memory.h>
#include <healthsvc/strbuf.h>
#include <healthsvc/units.h>

#include <errno.h>
#include <nghttp2/nghttp2.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define SERVICE_BYTES 127 /* so that its length is one byte of a varint */
#define AUTHORITY_BYTES 300
#define PREFIX_BYTES 5 /* of a message: compressed or not, length */
#define REPLY_BYTES 256
#define REPLY_MAX_BYTES 65536
#define GRPC_MESSAGE_BYTES 80

enum grpc_status {
    GRPC_OK = 0,
    GRPC_DEADLINE_EXCEEDED = 4,
    GRPC_NOT_FOUND = 5,
    GRPC_PERMISSION_DENIED = 7,
    GRPC_RESOURCE_EXHAUSTED = 8,
    GRPC_UNIMPLEMENTED = 12,
    GRPC_UNAVAILABLE = 14,
    GRPC_UNAUTHENTICATED = 16,
};

enum serving_status {
    SERVING_UNKNOWN = 0,
    SERVING,
    NOT_SERVING,
    SERVICE_UNKNOWN,
};

struct grpc_conf {
    char *service;
    char *authority;
    /* made by prepare: */
    char authority_sent[AUTHORITY_BYTES];
    char timeout[24]; /* of the grpc-timeout header */
    uint8_t request[PREFIX_BYTES + 2 + SERVICE_BYTES];
    size_t request_len;
};

struct grpc_state {
    nghttp2_session *session;
    const struct grpc_conf *conf;
    size_t request_sent;
    int32_t stream;
    bool ended; /* the stream: all is known */
    uint32_t end_code;
    int http_status;
    bool has_status;
    uint64_t status; /* grpc-status */
    char message[GRPC_MESSAGE_BYTES + 1];
    uint8_t reply[REPLY_BYTES];
    size_t reply_len; /* more than the room: it did not fit */
};

static const struct key_row grpc_keys[] = {
    {.name = "service",
     .type = KEY_STRING,
     .flags = KEY_ASKED | KEY_SENT,
     .offset = offsetof(struct grpc_conf, service),
     .min = 1,
     .max = SERVICE_BYTES,
     .shown_default = "the server as a whole",
     .sentence = "The service whose health is asked for."},
    {.name = "authority",
     .type = KEY_STRING,
     .flags = KEY_ASKED | KEY_SENT,
     .offset = offsetof(struct grpc_conf, authority),
     .min = 1,
     .max = 255,
     .shown_default = "the URL's host and port",
     .sentence = "The :authority header."},
    KEYS_END,
};

static int grpc_prepare(struct target_conf *conf, struct strbuf *why)
{
    struct grpc_conf *grpc = conf->scheme_conf;
    size_t service = grpc->service != NULL ? strlen(grpc->service) : 0;
    int64_t timeout_ms = conf->timeout_ms;
    for (const char *p = grpc->authority; p != NULL && *p != '\0'; p++) {
        if (*p <= ' ' || *p > '~') {
            strbuf_adds(why, "'authority': must be printable ASCII without blanks");
            return -EINVAL;
        }
    }
    bool ipv6 = strchr(conf->host, ':') != NULL;
    if (grpc->authority != NULL)
        (void)snprintf(grpc->authority_sent, sizeof grpc->authority_sent, "%s", grpc->authority);
    else
        (void)snprintf(grpc->authority_sent, sizeof grpc->authority_sent, "%s%s%s:%u",
                       ipv6 ? "[" : "", conf->host, ipv6 ? "]" : "", conf->port);
    (void)snprintf(grpc->timeout, sizeof grpc->timeout, "%lldm", (long long)timeout_ms);
    /* HealthCheckRequest { string service = 1; }; nothing for the empty one. */
    grpc->request_len = PREFIX_BYTES;
    if (service > 0) {
        uint8_t *p = grpc->request;
        p[PREFIX_BYTES] = 1 << 3 | 2;
        p[PREFIX_BYTES + 1] = (uint8_t)service;
        memcpy(p + PREFIX_BYTES + 2, grpc->service, service);
        p[PREFIX_BYTES - 1] = (uint8_t)(service + 2);
        grpc->request_len += 2 + service;
    }
    return 0;
}

/* ---- what nghttp2 tells ---- */

/* Between two checks the session has no state to tell. */
static bool is_ours(const struct grpc_state *s, int32_t stream)
{
    return s != NULL && s->stream == stream;
}

static bool is_header(const uint8_t *name, size_t len, const char *known)
{
    return len == strlen(known) && memcmp(name, known, len) == 0;
}

static void keep_message(struct grpc_state *s, const uint8_t *value, size_t len)
{
    struct strbuf text;
    strbuf_init(&text, 2 * sizeof s->message);
    strbuf_add_printable(&text, value, len, GRPC_MESSAGE_BYTES);
    memcpy(s->message, text.data, text.len + 1);
    strbuf_done(&text);
}

static int on_header(nghttp2_session *session, const nghttp2_frame *frame, const uint8_t *name,
                     size_t name_len, const uint8_t *value, size_t value_len, uint8_t flags,
                     void *arg)
{
    struct grpc_state *s = arg;
    uint64_t number;
    (void)session;
    (void)flags;
    if (!is_ours(s, frame->hd.stream_id))
        return 0;
    if (is_header(name, name_len, ":status") &&
        units_parse_digits((const char *)value, value_len, &number) == 0 && number <= 999) {
        s->http_status = (int)number;
    } else if (is_header(name, name_len, "grpc-status")) {
        s->has_status = units_parse_digits((const char *)value, value_len, &s->status) == 0;
    } else if (is_header(name, name_len, "grpc-message")) {
        keep_message(s, value, value_len);
    }
    return 0;
}

static int on_data(nghttp2_session *session, uint8_t flags, int32_t stream, const uint8_t *data,
                   size_t len, void *arg)
{
    struct grpc_state *s = arg;
    (void)session;
    (void)flags;
    if (!is_ours(s, stream))
        return 0;
    if (s->reply_len <= sizeof s->reply && len <= sizeof s->reply - s->reply_len)
        memcpy(s->reply + s->reply_len, data, len);
    s->reply_len += len; /* max_reply_bytes bounds it */
    return 0;
}

static int on_stream_close(nghttp2_session *session, int32_t stream, uint32_t code, void *arg)
{
    struct grpc_state *s = arg;
    (void)session;
    if (is_ours(s, stream)) {
        s->ended = true;
        s->end_code = code;
    }
    return 0;
}

static ssize_t read_request(nghttp2_session *session, int32_t stream, uint8_t *out, size_t room,
                            uint32_t *flags, nghttp2_data_source *source, void *arg)
{
    struct grpc_state *s = arg;
    (void)session;
    (void)stream;
    (void)source;
    size_t len = s->conf->request_len - s->request_sent;
    if (len > room)
        len = room;
    memcpy(out, s->conf->request + s->request_sent, len);
    s->request_sent += len;
    if (s->request_sent == s->conf->request_len)
        *flags |= NGHTTP2_DATA_FLAG_EOF;
    return (ssize_t)len;
}

/* ---- judging ---- */

/* A varint (protobuf's encoding); false: cut or too long. */
static bool read_varint(const uint8_t **at, const uint8_t *end, uint64_t *ret_value)
{
    uint64_t value = 0;
    for (unsigned shift = 0; *at < end && shift < 64; shift += 7) {
        uint8_t byte = *(*at)++;
        value |= (uint64_t)(byte & 0x7f) << shift;
        if ((byte & 0x80) == 0) {
            *ret_value = value;
            return true;
        }
    }
    return false;
}

/* HealthCheckResponse { ServingStatus status = 1; }, other fields skipped. */
static bool read_serving(const uint8_t *at, const uint8_t *end, uint64_t *ret_serving)
{
    uint64_t tag, value;
    *ret_serving = SERVING_UNKNOWN; /* proto3: what is not sent is 0 */
    while (at < end) {
        if (!read_varint(&at, end, &tag))
            return false;
        uint64_t skip = 0;
        switch (tag & 7) {
        case 0: /* varint */
            if (!read_varint(&at, end, &value))
                return false;
            if (tag >> 3 == 1)
                *ret_serving = value;
            break;
        case 1: /* 64 bits */
            skip = 8;
            break;
        case 2: /* bytes */
            if (!read_varint(&at, end, &skip))
                return false;
            break;
        case 5: /* 32 bits */
            skip = 4;
            break;
        default:
            return false;
        }
        if (skip > (uint64_t)(end - at))
            return false;
        at += skip;
    }
    return true;
}

static void say(struct dlg_result *ret, enum outcome outcome, const char *text)
{
    ret->outcome = outcome;
    (void)snprintf(ret->text, sizeof ret->text, "%s", text);
}

static void judge_message(const struct grpc_state *s, struct dlg_result *ret)
{
    uint64_t serving;
    size_t len = 0;
    if (s->reply_len >= PREFIX_BYTES && s->reply_len <= sizeof s->reply)
        len = (size_t)s->reply[3] << 8 | s->reply[4];
    if (s->reply_len < PREFIX_BYTES || s->reply_len > sizeof s->reply || s->reply[0] != 0 ||
        s->reply[1] != 0 || s->reply[2] != 0 || s->reply_len != PREFIX_BYTES + len ||
        !read_serving(s->reply + PREFIX_BYTES, s->reply + s->reply_len, &serving)) {
        say(ret, OUTCOME_BAD_REPLY, "not a health check response");
        return;
    }
    switch (serving) {
    case SERVING:
        say(ret, OUTCOME_OK, "");
        break;
    case SERVING_UNKNOWN:
        say(ret, OUTCOME_NOT_SERVING, "service does not know its state");
        break;
    case NOT_SERVING:
        say(ret, OUTCOME_NOT_SERVING, "");
        break;
    case SERVICE_UNKNOWN:
        say(ret, OUTCOME_UNKNOWN_SERVICE, "");
        break;
    default:
        say(ret, OUTCOME_BAD_REPLY, "no known serving status");
        break;
    }
}

static enum outcome outcome_of_status(uint64_t status)
{
    switch (status) {
    case GRPC_NOT_FOUND:
        return OUTCOME_UNKNOWN_SERVICE;
    case GRPC_UNIMPLEMENTED:
        return OUTCOME_UNIMPLEMENTED;
    case GRPC_RESOURCE_EXHAUSTED:
        return OUTCOME_OVERLOADED;
    case GRPC_PERMISSION_DENIED:
    case GRPC_UNAUTHENTICATED:
        return OUTCOME_REFUSED;
    case GRPC_DEADLINE_EXCEEDED:
        return OUTCOME_TIMEOUT;
    default:
        return OUTCOME_NOT_SERVING;
    }
}

static void judge(const struct grpc_state *s, struct dlg_result *ret)
{
    ret->http_status = s->http_status;
    ret->text[0] = '\0';
    if (s->end_code == NGHTTP2_REFUSED_STREAM) {
        ret->outcome = OUTCOME_OVERLOADED;
    } else if (s->http_status != 0 && s->http_status != 200) {
        ret->outcome = OUTCOME_HTTP_STATUS;
        (void)snprintf(ret->text, sizeof ret->text, "HTTP %03d", s->http_status);
    } else if (!s->has_status) {
        ret->outcome = OUTCOME_BAD_REPLY;
        (void)snprintf(ret->text, sizeof ret->text, "stream ended without a grpc-status (%s)",
                       nghttp2_http2_strerror(s->end_code));
    } else if (s->status == GRPC_OK) {
        judge_message(s, ret);
    } else {
        ret->outcome = outcome_of_status(s->status);
        if (ret->outcome != OUTCOME_UNKNOWN_SERVICE && ret->outcome != OUTCOME_UNIMPLEMENTED)
            (void)snprintf(ret->text, sizeof ret->text, "grpc-status %llu%s%s",
                           (unsigned long long)s->status, s->message[0] != '\0' ? ": " : "",
                           s->message);
    }
}

/* ---- the dialogue ---- */

static enum dlg_step no_memory(struct dlg_result *ret)
{
    ret->outcome = OUTCOME_OWN_MEMORY;
    return DLG_DONE;
}

/* Moves what the session wants to send. */
static bool move_all(nghttp2_session *session, struct strbuf *out)
{
    const uint8_t *bytes;
    ssize_t len;
    while ((len = nghttp2_session_mem_send(session, &bytes)) > 0)
        strbuf_add(out, bytes, (size_t)len);
    return len == 0;
}

static enum dlg_step send_all(struct grpc_state *s, struct strbuf *out, struct dlg_result *ret)
{
    return move_all(s->session, out) ? DLG_MORE : no_memory(ret);
}

static int submit(struct grpc_state *s, bool tls)
{
    const struct grpc_conf *conf = s->conf;
    const struct {
        const char *name, *value;
    } fields[] = {
        {":method", "POST"},
        {":scheme", tls ? "https" : "http"},
        {":path", "/grpc.health.v1.Health/Check"},
        {":authority", conf->authority_sent},
        {"te", "trailers"},
        {"content-type", "application/grpc"},
        {"user-agent", "healthsvc/" PACKAGE_VERSION},
        {"grpc-timeout", conf->timeout},
    };
    nghttp2_nv headers[sizeof fields / sizeof fields[0]];
    for (size_t i = 0; i < sizeof fields / sizeof fields[0]; i++) {
        /* nghttp2 copies them; its fields are not const. */
        headers[i] = (nghttp2_nv){
            .name = (uint8_t *)(uintptr_t)fields[i].name,
            .namelen = strlen(fields[i].name),
            .value = (uint8_t *)(uintptr_t)fields[i].value,
            .valuelen = strlen(fields[i].value),
        };
    }
    nghttp2_data_provider body = {.read_callback = read_request};
    s->stream = nghttp2_submit_request(s->session, NULL, headers,
                                       sizeof headers / sizeof headers[0], &body, NULL);
    return s->stream < 0 ? s->stream : 0;
}

static void *take(size_t bytes, void *arg)
{
    (void)arg;
    return memory_malloc(bytes);
}

static void *take_zeroed(size_t count, size_t bytes, void *arg)
{
    (void)arg;
    return memory_calloc(count, bytes);
}

static void *resize(void *mem, size_t bytes, void *arg)
{
    (void)arg;
    return memory_realloc(mem, bytes);
}

static void give_back(void *mem, void *arg)
{
    (void)arg;
    free(mem);
}

/* A session on a new connection. */
static int begin(struct grpc_state *s)
{
    nghttp2_mem memory = {
        .malloc = take, .free = give_back, .calloc = take_zeroed, .realloc = resize};
    const nghttp2_settings_entry no_push = {NGHTTP2_SETTINGS_ENABLE_PUSH, 0};
    nghttp2_session_callbacks *callbacks;
    int r = nghttp2_session_callbacks_new(&callbacks);
    if (r != 0)
        return r;
    nghttp2_session_callbacks_set_on_header_callback(callbacks, on_header);
    nghttp2_session_callbacks_set_on_data_chunk_recv_callback(callbacks, on_data);
    nghttp2_session_callbacks_set_on_stream_close_callback(callbacks, on_stream_close);
    r = nghttp2_session_client_new3(&s->session, callbacks, s, NULL, &memory);
    nghttp2_session_callbacks_del(callbacks);
    if (r == 0)
        r = nghttp2_submit_settings(s->session, NGHTTP2_FLAG_NONE, &no_push, 1);
    return r;
}

static enum dlg_step grpc_open(void *state, const struct target_conf *conf, struct strbuf *out,
                               struct dlg_result *ret)
{
    struct grpc_state *s = state;
    s->conf = conf->scheme_conf;
    int r = s->session == NULL ? begin(s) : 0;
    if (r == 0)
        r = submit(s, conf->scheme->flags & SCHEME_TLS);
    return r == 0 ? send_all(s, out, ret) : no_memory(ret);
}

static enum dlg_step grpc_feed(void *state, const uint8_t *in, size_t len, struct strbuf *out,
                               struct dlg_result *ret)
{
    struct grpc_state *s = state;
    ssize_t r = nghttp2_session_mem_recv(s->session, in, len);
    if (s->ended) {
        judge(s, ret);
        return DLG_DONE;
    }
    if (r == NGHTTP2_ERR_NOMEM)
        return no_memory(ret);
    if (r < 0) {
        say(ret, OUTCOME_BAD_REPLY, "not HTTP/2");
        return DLG_DONE;
    }
    enum dlg_step step = send_all(s, out, ret);
    if (step == DLG_MORE && s->ended) { /* sending may end it too: a GOAWAY, a reset of ours */
        judge(s, ret);
        return DLG_DONE;
    }
    if (step == DLG_MORE && nghttp2_session_want_read(s->session) == 0) {
        say(ret, OUTCOME_BAD_REPLY, "not HTTP/2");
        return DLG_DONE;
    }
    return step;
}

static void grpc_done(void *state)
{
    struct grpc_state *s = state;
    nghttp2_session_del(s->session);
}

/* ---- between two checks ---- */

/* No GOAWAY, no end in sight. */
static bool may_ask(nghttp2_session *session)
{
    return nghttp2_session_check_request_allowed(session) != 0 &&
           nghttp2_session_want_read(session) != 0;
}

static bool grpc_rest(void *state, struct strbuf *out, void **ret_session)
{
    struct grpc_state *s = state;
    if (!s->ended || s->end_code != NGHTTP2_NO_ERROR || !move_all(s->session, out) ||
        !may_ask(s->session))
        return false;
    nghttp2_session_set_user_data(s->session, NULL);
    *ret_session = s->session;
    s->session = NULL;
    return true;
}

static void grpc_resume(void *state, void *session)
{
    struct grpc_state *s = state;
    s->session = session;
    nghttp2_session_set_user_data(s->session, s);
}

/* Pings and settings are answered; anything else that matters shows in may_ask(). */
static bool grpc_idle(void *session, const uint8_t *in, size_t len, struct strbuf *out)
{
    return nghttp2_session_mem_recv(session, in, len) >= 0 && move_all(session, out) &&
           may_ask(session);
}

static void grpc_forget(void *session)
{
    nghttp2_session_del(session);
}

/* A stream that a GOAWAY or a reset refused was not processed (RFC 9113 section 8.7). */
static bool grpc_answered(const void *state)
{
    const struct grpc_state *s = state;
    return s->http_status != 0 || (s->ended && s->end_code != NGHTTP2_REFUSED_STREAM);
}

static const struct dlg_reuse grpc_reuse = {
    .rest = grpc_rest,
    .resume = grpc_resume,
    .idle = grpc_idle,
    .forget = grpc_forget,
    .answered = grpc_answered,
};

static const struct dialogue grpc_dialogue = {
    .state_size = sizeof(struct grpc_state),
    .open = grpc_open,
    .feed = grpc_feed,
    .done = grpc_done,
    .max_reply_bytes = REPLY_MAX_BYTES,
    .reuse = &grpc_reuse,
    .asks_first = true,
};

SCHEME_PAIR(grpc, 0, grpcs, 443, SCHEME_REUSE, .alpn = "h2", .conf_size = sizeof(struct grpc_conf),
            .keys = grpc_keys, .prepare = grpc_prepare, .dialogue = &grpc_dialogue);
