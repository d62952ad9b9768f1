/*
 * fastcgi: php-fpm and its like. With a path in the URL that script is run (php-fpm's ping.path is
 * the cheap one) and its status judged; without one FCGI_GET_VALUES asks the library below it.
 *
 * Either way a worker must be free: when all are busy the connection waits in the backlog, and the
 * deadline tells. What a script prints after its headers is passed over, and read to the end.
 * Source: FastCGI specification 1.0, sections 3.3 (records), 4 (management), 5.5 (end), B (roles).
 */
#include "probe/bytes.h"
#include "probe/engine.h"
#include "probe/expect.h"

#include <healthsvc/config.h>
#include <healthsvc/keys.h>
#include <healthsvc/strbuf.h>
#include <healthsvc/units.h>

#include <errno.h>
#include <string.h>
#include <strings.h>

#define HEADER_BYTES 8
#define REQUEST_ID 1
#define ROLE_RESPONDER 1
#define REQUEST_BYTES 16384
#define HEAD_BYTES 4096

enum record_type {
    RECORD_BEGIN = 1,
    RECORD_END = 3,
    RECORD_PARAMS = 4,
    RECORD_STDIN = 5,
    RECORD_STDOUT = 6,
    RECORD_STDERR = 7,
    RECORD_GET_VALUES = 9,
    RECORD_VALUES = 10,
};

struct fastcgi_conf {
    struct expect_status expect_status;
    struct strbuf request;
};

static const struct key_row fastcgi_keys[] = {
    {.name = "expect_status",
     .type = KEY_CUSTOM,
     .flags = KEY_ASKED,
     .offset = offsetof(struct fastcgi_conf, expect_status),
     .custom = expect_status_read,
     .custom_bytes = sizeof(struct expect_status),
     .shown_default = "2xx",
     .sentence = "The statuses of a good reply: one, a class, or a list: ( \"2xx\", 301 )."},
    KEYS_END,
};

/* ---- the request ---- */

static void add_record(struct strbuf *out, enum record_type type, uint16_t id, const void *content,
                       size_t len)
{
    strbuf_addc(out, 1);
    strbuf_addc(out, (char)type);
    bytes_add_be16(out, id);
    bytes_add_be16(out, (uint16_t)len);
    bytes_add_be16(out, 0); /* no padding */
    strbuf_add(out, content, len);
}

static void add_param(struct strbuf *out, const char *name, const char *value, size_t len)
{
    strbuf_addc(out, (char)strlen(name));
    bytes_add_be32(out, (uint32_t)len | 0x80000000u);
    strbuf_adds(out, name);
    strbuf_add(out, value, len);
}

static void add_run(struct strbuf *out, const char *path, struct strbuf *params)
{
    static const uint8_t begin[HEADER_BYTES] = {0, ROLE_RESPONDER};
    size_t script = strcspn(path, "?");
    const char *query = path + script + (path[script] == '?');
    const char *const fixed[][2] = {
        {"GATEWAY_INTERFACE", "CGI/1.1"}, {"SERVER_PROTOCOL", "HTTP/1.1"},
        {"SERVER_SOFTWARE", "healthsvc"}, {"REQUEST_METHOD", "GET"},
        {"QUERY_STRING", query},          {"REQUEST_URI", path},
    };
    add_param(params, "SCRIPT_FILENAME", path, script);
    add_param(params, "SCRIPT_NAME", path, script);
    for (size_t i = 0; i < sizeof fixed / sizeof fixed[0]; i++)
        add_param(params, fixed[i][0], fixed[i][1], strlen(fixed[i][1]));
    add_record(out, RECORD_BEGIN, REQUEST_ID, begin, sizeof begin);
    add_record(out, RECORD_PARAMS, REQUEST_ID, params->data, params->len);
    add_record(out, RECORD_PARAMS, REQUEST_ID, "", 0);
    add_record(out, RECORD_STDIN, REQUEST_ID, "", 0);
}

static bool runs_script(const struct target_conf *conf)
{
    return strcmp(conf->path, "/") != 0;
}

static int fastcgi_prepare(struct target_conf *conf, struct strbuf *why)
{
    static const char ask[] = "\x0f\0FCGI_MPXS_CONNS";
    struct fastcgi_conf *fastcgi = conf->scheme_conf;
    struct strbuf params;
    (void)why;
    strbuf_init(&fastcgi->request, REQUEST_BYTES);
    strbuf_init(&params, REQUEST_BYTES);
    if (runs_script(conf))
        add_run(&fastcgi->request, conf->path, &params);
    else
        add_record(&fastcgi->request, RECORD_GET_VALUES, 0, ask, sizeof ask - 1);
    int r = strbuf_error(&params) != 0 ? strbuf_error(&params) : strbuf_error(&fastcgi->request);
    strbuf_done(&params);
    return r;
}

static void fastcgi_release(struct target_conf *conf)
{
    struct fastcgi_conf *fastcgi = conf->scheme_conf;
    if (fastcgi != NULL)
        strbuf_done(&fastcgi->request);
}

/* ---- the answer ---- */

struct fastcgi_state {
    const struct target_conf *conf;
    size_t head_len;
    size_t left; /* of a record that is passed over */
    bool head_complete;
    struct bytes_held held; /* a record's header, or a record that is looked at whole */
    char head[HEAD_BYTES];  /* what the script printed, up to the blank line */
};

static enum dlg_step fastcgi_open(void *state, const struct target_conf *conf, struct strbuf *out,
                                  struct dlg_result *ret)
{
    struct fastcgi_state *s = state;
    const struct fastcgi_conf *fastcgi = conf->scheme_conf;
    (void)ret;
    s->conf = conf;
    strbuf_add(out, fastcgi->request.data, fastcgi->request.len);
    return DLG_MORE;
}

/* Keeps what belongs to the script's headers. */
static void take_output(struct fastcgi_state *s, const uint8_t *in, size_t len)
{
    for (size_t i = 0; i < len && !s->head_complete && s->head_len < HEAD_BYTES; i++) {
        if (in[i] == '\r')
            continue;
        s->head_complete = in[i] == '\n' && (s->head_len == 0 || s->head[s->head_len - 1] == '\n');
        s->head[s->head_len++] = (char)in[i];
    }
}

/* The status of the script's headers; 200 if it names none (RFC 3875 section 6.3.3); 0: not one. */
static unsigned status_of(const struct fastcgi_state *s)
{
    static const char name[] = "Status:";
    const char *line = s->head, *end = s->head + s->head_len;
    while (line < end) {
        const char *next = memchr(line, '\n', (size_t)(end - line));
        size_t len = (size_t)((next != NULL ? next : end) - line);
        if (len >= sizeof name - 1 && strncasecmp(line, name, sizeof name - 1) == 0) {
            uint64_t status = 0;
            const char *digits = line + sizeof name - 1, *stop = line + len;
            while (digits < stop && *digits == ' ')
                digits++;
            // cppcheck-suppress knownConditionTrueFalse; the loop ends at a digit, too
            return stop - digits >= 3 && units_parse_digits(digits, 3, &status) == 0
                       ? (unsigned)status
                       : 0;
        }
        line += len + 1;
    }
    return 200;
}

static enum dlg_step judge_end(const struct fastcgi_state *s, struct bytes body,
                               struct dlg_result *ret)
{
    const struct fastcgi_conf *fastcgi = s->conf->scheme_conf;
    (void)bytes_be32(&body); /* the script's own exit status */
    uint8_t protocol_status = bytes_u8(&body);
    if (body.failed || protocol_status > 3)
        return bytes_end(ret, OUTCOME_BAD_REPLY, "not a valid end of a FastCGI request");
    if (protocol_status == 3)
        return bytes_end(ret, OUTCOME_UNIMPLEMENTED, "the application is no responder");
    if (protocol_status != 0)
        return bytes_end(ret, OUTCOME_OVERLOADED, "the application takes no more requests");
    if (!s->head_complete)
        return bytes_end(ret, OUTCOME_BAD_REPLY, "the script's headers have no end");
    unsigned status = status_of(s);
    ret->http_status = (int)status;
    if (status < 100)
        return bytes_end(ret, OUTCOME_BAD_REPLY, "the script's status is none");
    if (!expect_status_has(&fastcgi->expect_status, status))
        return bytes_end(ret, OUTCOME_HTTP_STATUS, "HTTP %u", status);
    ret->outcome = OUTCOME_OK;
    return DLG_DONE;
}

/* A record's header is there: is it one that may come? */
static bool is_record(const struct fastcgi_state *s, uint8_t type, uint16_t id)
{
    if (!runs_script(s->conf))
        return type == RECORD_VALUES && id == 0;
    return id == REQUEST_ID &&
           (type == RECORD_STDOUT || type == RECORD_STDERR || type == RECORD_END);
}

/* Passes over what is left of a record, keeping what is output. */
static void pass(struct fastcgi_state *s, const uint8_t **in, size_t *len)
{
    size_t count = *len < s->left ? *len : s->left;
    struct bytes header = bytes_of(s->held.at + 4, 4);
    size_t content = bytes_be16(&header);
    size_t padding = bytes_u8(&header);
    size_t output = s->left > padding ? s->left - padding : 0;
    if (s->held.at[1] == RECORD_STDOUT && content > 0)
        take_output(s, *in, count < output ? count : output);
    s->left -= count;
    *in += count;
    *len -= count;
}

static enum dlg_step fastcgi_feed(void *state, const uint8_t *in, size_t len, struct strbuf *out,
                                  struct dlg_result *ret)
{
    struct fastcgi_state *s = state;
    (void)out;
    while (s->left > 0 || bytes_gather(&s->held, HEADER_BYTES, &in, &len)) {
        struct bytes header = bytes_of(s->held.at, HEADER_BYTES);
        uint8_t version = bytes_u8(&header), type = bytes_u8(&header);
        uint16_t id = bytes_be16(&header);
        size_t content = bytes_be16(&header);
        size_t padding = bytes_u8(&header);
        bool whole = type == RECORD_END || type == RECORD_VALUES;
        if (version != 1 || !is_record(s, type, id) || (whole && content > HEAD_BYTES))
            return bytes_end(ret, OUTCOME_BAD_REPLY, "not a record of FastCGI");
        if (whole) {
            if (!bytes_gather(&s->held, HEADER_BYTES + content + padding, &in, &len))
                return DLG_MORE;
            if (type == RECORD_END)
                return judge_end(s, bytes_of(s->held.at + HEADER_BYTES, content), ret);
            ret->outcome = OUTCOME_OK;
            return DLG_DONE;
        }
        if (s->left == 0)
            s->left = content + padding;
        pass(s, &in, &len);
        if (s->left > 0)
            return DLG_MORE;
        s->held.len = 0;
    }
    return DLG_MORE;
}

static const struct dialogue fastcgi_dialogue = {
    .state_size = sizeof(struct fastcgi_state),
    .open = fastcgi_open,
    .feed = fastcgi_feed,
    .max_reply_bytes = 1024 * 1024,
    .asks_first = true,
};

extern const struct scheme scheme_fastcgi;

const struct scheme scheme_fastcgi = {
    .name = "fastcgi",
    .port = 9000,
    .flags = SCHEME_PATH,
    .conf_size = sizeof(struct fastcgi_conf),
    .keys = fastcgi_keys,
    .prepare = fastcgi_prepare,
    .release = fastcgi_release,
    .ops = &stream_ops,
    .dialogue = &fastcgi_dialogue,
};
