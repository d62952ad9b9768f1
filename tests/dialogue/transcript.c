/* The settings of a row go through the scheme's own rows and its prepare(), as a file's would, so
 * a transcript also shows that a setting does what it says. */
#include "transcript.h"

#include <healthsvc/config.h>
#include <healthsvc/keys.h>
#include <healthsvc/probe.h>
#include <healthsvc/region.h>

#include <errno.h>
#include <libconfig.h>

#define CUTS_ALL_BYTES 4096 /* replies up to this long are cut everywhere */
#define CUTS_SOME 16        /* longer ones: at so many places at the start, within, at the end */
#define SENT_BYTES 65536
#define SHOWN_BYTES 800

static void take_fault(void *arg, const config_setting_t *setting, const char *sentence)
{
    (void)setting;
    strbuf_adds(arg, sentence);
}

static int read_settings(const struct scheme *scheme, const char *text, void *base,
                         struct region *region, struct strbuf *why)
{
    const struct key_target target = {.rows = scheme->keys, .base = base};
    const struct key_sink sink = {.fault = take_fault, .arg = why};
    int r = keys_set_defaults(&target, region);
    if (r != 0 || text == NULL)
        return r;
    config_t file;
    config_init(&file);
    if (config_read_string(&file, text) == CONFIG_TRUE) {
        r = keys_read(config_root_setting(&file), &target, 1, region, &sink);
    } else {
        strbuf_addf(why, "line %d: %s", config_error_line(&file), config_error_text(&file));
        r = -EINVAL;
    }
    config_destroy(&file);
    return r;
}

static char *copy_text(struct region *region, const char *text)
{
    return text != NULL ? region_copy_text(region, text) : NULL;
}

int transcript_prepare(const struct scheme *scheme, const struct transcript *t,
                       struct target_conf *ret_conf, struct strbuf *why)
{
    struct config *owner = calloc(1, sizeof *owner);
    struct region *region = region_new();
    if (owner == NULL || region == NULL)
        abort();
    owner->region = region;
    *ret_conf = (struct target_conf){
        .owner = owner,
        .name = copy_text(region, "transcript"),
        .host = copy_text(region, t->host != NULL ? t->host : "trips"),
        .port = t->port != 0 ? t->port : scheme->port,
        .path = copy_text(region, t->path != NULL ? t->path : "/health"),
        .user = copy_text(region, t->user),
        .secret = copy_text(region, t->secret),
        .tls.ca_file = copy_text(region, t->ca_file),
        .reuse = t->reuse,
        .scheme = scheme,
        .scheme_conf = region_alloc(region, scheme->conf_size + 1),
    };
    if (ret_conf->scheme_conf == NULL)
        return -ENOMEM;
    int r = scheme->keys != NULL
                ? read_settings(scheme, t->settings, ret_conf->scheme_conf, region, why)
                : 0;
    if (r == 0 && scheme->prepare != NULL)
        r = scheme->prepare(ret_conf, why);
    return r;
}

void transcript_release(struct target_conf *conf)
{
    if (conf->scheme->release != NULL)
        conf->scheme->release(conf);
    region_free(conf->owner->region);
    free(conf->owner);
}

/* ---- one playing ---- */

struct player {
    const struct target_conf *conf;
    const struct dialogue *dialogue;
    void *state;
    const size_t *pieces; /* the one that is being filled; `more` follow, the last repeats */
    size_t more, filled;
    struct strbuf out; /* of one call */
    struct transcript_end *end;
};

static void begin_call(struct player *p)
{
    strbuf_clear(&p->out);
    p->end->result = (struct dlg_result){.outcome = OUTCOME_BAD_REPLY}; /* as stream.c does */
}

static void end_call(struct player *p, enum dlg_step step)
{
    p->end->step = step;
    strbuf_add(&p->end->sent, p->out.data, p->out.len);
}

static void play_open(struct player *p)
{
    begin_call(p);
    end_call(p, p->dialogue->open(p->state, p->conf, &p->out, &p->end->result));
}

static void play_piece(struct player *p, const char *at, size_t len)
{
    uint8_t *copy = malloc(len);
    if (copy == NULL)
        abort();
    memcpy(copy, at, len);
    begin_call(p);
    end_call(p, p->dialogue->feed(p->state, copy, len, &p->out, &p->end->result));
    free(copy);
}

/* The bytes that the peer's next piece may still hold, when `len` of it have come. */
static size_t fill_piece(struct player *p, size_t len)
{
    size_t room = *p->pieces - p->filled;
    if (len < room) {
        p->filled += len;
        return len;
    }
    p->filled = 0;
    if (p->more > 0) {
        p->pieces++;
        p->more--;
    }
    return room;
}

/* Feeds `bytes` until a step other than DLG_MORE. Returns how many were fed. */
static size_t play_bytes(struct player *p, struct transcript_bytes bytes)
{
    size_t fed = 0;
    while (fed < bytes.len && p->end->step == DLG_MORE) {
        size_t len = fill_piece(p, bytes.len - fed);
        play_piece(p, bytes.at + fed, len);
        fed += len;
    }
    return fed;
}

void transcript_feed(const struct target_conf *conf, struct transcript_bytes clear,
                     struct transcript_bytes secured, const size_t *pieces, size_t count, bool eof,
                     struct transcript_end *ret_end)
{
    struct player p = {.conf = conf,
                       .dialogue = conf->scheme->dialogue,
                       .pieces = pieces,
                       .more = count - 1,
                       .end = ret_end};
    p.state = calloc(1, p.dialogue->state_size + 1);
    if (p.state == NULL)
        abort();
    strbuf_init(&p.out, SENT_BYTES);
    *ret_end = (struct transcript_end){.step = DLG_MORE};
    strbuf_init(&ret_end->sent, SENT_BYTES);

    play_open(&p);
    size_t fed = play_bytes(&p, clear);
    if (ret_end->step == DLG_STARTTLS) {
        ret_end->clear_behind = clear.len - fed;
        strbuf_adds(&ret_end->sent, "[TLS]");
        play_open(&p);
        play_bytes(&p, secured);
    }
    if (eof && ret_end->step != DLG_DONE) {
        begin_call(&p);
        ret_end->result.outcome = OUTCOME_CLOSED;
        if (p.dialogue->eof != NULL)
            p.dialogue->eof(p.state, &ret_end->result);
        end_call(&p, DLG_DONE);
    }
    if (p.dialogue->done != NULL)
        p.dialogue->done(p.state);
    strbuf_done(&p.out);
    free(p.state);
}

/* ---- a row ---- */

/* NULL, or how the end differs from what the row tells. */
static const char *compare(const struct transcript *t, const struct transcript_end *end,
                           struct strbuf *wrong)
{
    const char *text = t->text != NULL ? t->text : "";
    if (end->clear_behind > 0)
        strbuf_addf(wrong, "%zu bytes in clear behind STARTTLS", end->clear_behind);
    else if (t->waits && end->step == DLG_MORE)
        ; /* as told */
    else if (t->waits || end->step != DLG_DONE)
        strbuf_addf(wrong, "%s (%s \"%s\")", end->step == DLG_DONE ? "done" : "waits",
                    outcome_token(end->result.outcome), end->result.text);
    else if (end->result.outcome != t->outcome || strcmp(end->result.text, text) != 0 ||
             end->result.http_status != t->http_status)
        strbuf_addf(wrong, "%s \"%s\" %d, expected %s \"%s\" %d",
                    outcome_token(end->result.outcome), end->result.text, end->result.http_status,
                    outcome_token(t->outcome), text, t->http_status);
    size_t sent_len = t->sent_len > 0 || t->sent == NULL ? t->sent_len : strlen(t->sent);
    if (t->sent != NULL &&
        (end->sent.len != sent_len || memcmp(end->sent.data, t->sent, sent_len) != 0)) {
        strbuf_adds(wrong, " sent \"");
        strbuf_add_printable(wrong, end->sent.data, end->sent.len, SHOWN_BYTES);
        strbuf_adds(wrong, "\", expected \"");
        strbuf_add_printable(wrong, t->sent, sent_len, SHOWN_BYTES);
        strbuf_addc(wrong, '"');
    }
    return wrong->len > 0 ? wrong->data : NULL;
}

/* The cut after `cut`. */
static size_t next_cut(size_t cut, size_t total)
{
    if (total <= CUTS_ALL_BYTES || cut < CUTS_SOME || cut + CUTS_SOME >= total)
        return cut + 1;
    size_t next = cut + total / CUTS_SOME;
    return next < total - CUTS_SOME ? next : total - CUTS_SOME;
}

static const char *play_cut(const struct target_conf *conf, const struct transcript *t,
                            struct transcript_bytes clear, size_t first, size_t piece)
{
    static char seen[2048];
    struct transcript_end end;
    struct strbuf wrong;
    strbuf_init(&wrong, sizeof seen - 100);
    transcript_feed(conf, clear, t->secured, (size_t[]){first, piece}, 2, t->eof, &end);
    const char *text = compare(t, &end, &wrong);
    if (text != NULL)
        (void)snprintf(seen, sizeof seen, "%zu bytes cut at %zu%s: %s", clear.len + t->secured.len,
                       first, piece == 1 ? " and after each" : "", text);
    strbuf_done(&end.sent);
    strbuf_done(&wrong);
    return text != NULL ? seen : NULL;
}

const char *transcript_play(const struct scheme *scheme, const struct transcript *t)
{
    static char fault[1024];
    struct target_conf conf;
    struct strbuf why, reply;
    const char *wrong = NULL;
    strbuf_init(&why, sizeof fault - 1);
    strbuf_init(&reply, SIZE_MAX / 2);

    int r = transcript_prepare(scheme, t, &conf, &why);
    if (r != 0 || t->fault != NULL) {
        (void)snprintf(fault, sizeof fault, "%s", why.data);
        wrong = r == -EINVAL && t->fault != NULL && strcmp(fault, t->fault) == 0 ? NULL
                : r == 0 ? "settings accepted, a fault was expected"
                         : fault;
        goto done;
    }
    strbuf_add(&reply, t->reply.at, t->reply.len);
    for (size_t i = 0; i < t->times; i++)
        strbuf_adds(&reply, t->unit);
    strbuf_add(&reply, t->tail.at, t->tail.len);
    if (strbuf_error(&reply) != 0) {
        wrong = "no memory";
        goto done;
    }
    const struct transcript_bytes clear = {reply.data, reply.len};
    size_t total = reply.len + t->secured.len;
    wrong = play_cut(&conf, t, clear, 1, 1);
    for (size_t cut = 1; cut <= total && wrong == NULL; cut = next_cut(cut, total))
        wrong = play_cut(&conf, t, clear, cut, SIZE_MAX);
done:
    transcript_release(&conf);
    strbuf_done(&reply);
    strbuf_done(&why);
    return wrong;
}
