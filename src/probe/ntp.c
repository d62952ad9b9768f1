/*
 * ntp: one client packet; a server that is synchronised answers with mode 4 and a stratum 1 to 15.
 *
 * The transmit time of the question is a random number that must come back, so that nobody who does
 * not see the question can answer it, and nothing of this machine's clock is told, as chrony
 * does. Servers limit how often they are asked, so it is never asked twice in one check.
 * Source: RFC 5905 sections 7.3 and 7.4 (kiss codes).
 */
#include "probe/datagram.h"

#include <healthsvc/clock.h>
#include <healthsvc/config.h>
#include <healthsvc/keys.h>

#include <errno.h>
#include <stdio.h>
#include <string.h>
#include <sys/random.h>

#define PACKET_BYTES 48
#define CLIENT_V4 0x23 /* no leap warning, version 4, mode 3 */
#define MODE_SERVER 4
#define LEAP_UNKNOWN 3
#define UNIX_S INT64_C(2208988800) /* 1970 in seconds since 1900 */
#define ERA_S (INT64_C(1) << 32)

enum ntp_at { /* offsets of RFC 5905 figure 8 */
    AT_STRATUM = 1,
    AT_REFERENCE = 12,
    AT_ORIGIN = 24,
    AT_RECEIVE = 32,
    AT_TRANSMIT = 40,
};

struct ntp_conf {
    int64_t max_stratum;
    int64_t max_offset_ms; /* 0: any */
};

struct ntp_probe {
    struct datagram datagram; /* first */
    int64_t sent_wall_ms;
};

static const struct key_row ntp_keys[] = {
    {.name = "max_stratum",
     .type = KEY_INT,
     .flags = KEY_ASKED,
     .offset = offsetof(struct ntp_conf, max_stratum),
     .min = 1,
     .max = 15,
     .default_text = "15",
     .sentence = "A server further from a reference clock than this is bad."},
    {.name = "max_offset",
     .type = KEY_DURATION,
     .flags = KEY_ASKED,
     .offset = offsetof(struct ntp_conf, max_offset_ms),
     .min = 1,
     .max = INT64_C(86400000),
     .shown_default = "any",
     .sentence = "A server whose clock differs by more from this machine's is bad."},
    KEYS_END,
};

/* A timestamp as unix milliseconds; of the era that lies within 68 years of `near_ms`. */
static int64_t read_time(const uint8_t *at, int64_t near_ms)
{
    int64_t s = (int64_t)at[0] << 24 | at[1] << 16 | at[2] << 8 | at[3];
    int64_t fraction = (int64_t)at[4] << 24 | at[5] << 16 | at[6] << 8 | at[7];
    s -= UNIX_S;
    while (s < near_ms / 1000 - ERA_S / 2)
        s += ERA_S;
    return s * 1000 + (fraction * 1000 >> 32);
}

/* Stratum 0: the four bytes of the reference say why (RFC 5905 section 7.4). */
static void finish_kiss(struct probe *p, const uint8_t *in) REQUIRES(checker_role)
{
    char code[5] = "";
    for (size_t i = 0; i < 4; i++) {
        char c = (char)in[AT_REFERENCE + i];
        code[i] = c >= 'A' && c <= 'Z' ? c : '.';
    }
    if (strcmp(code, "RATE") == 0)
        probe_finish(p, OUTCOME_OVERLOADED, "asked too often (RATE)");
    else if (strcmp(code, "DENY") == 0 || strcmp(code, "RSTR") == 0)
        probe_finishf(p, OUTCOME_REFUSED, "server refuses to serve (%s)", code);
    else
        probe_finish(p, OUTCOME_NOT_SERVING, "its clock is not synchronised");
}

static void judge(struct ntp_probe *n, const uint8_t *in) REQUIRES(checker_role)
{
    struct probe *p = &n->datagram.probe;
    const struct ntp_conf *conf = p->conf->scheme_conf;
    int64_t now_ms = clock_wall_ms();
    int64_t theirs_ms =
        (read_time(in + AT_RECEIVE, now_ms) + read_time(in + AT_TRANSMIT, now_ms)) / 2;
    int64_t offset_ms = theirs_ms - (n->sent_wall_ms + now_ms) / 2;
    int stratum = in[AT_STRATUM];
    if (stratum == 0)
        finish_kiss(p, in);
    else if (in[0] >> 6 == LEAP_UNKNOWN || stratum > 15)
        probe_finish(p, OUTCOME_NOT_SERVING, "its clock is not synchronised");
    else if (stratum > conf->max_stratum)
        probe_finishf(p, OUTCOME_WRONG_ANSWER, "stratum %d, at most %d expected", stratum,
                      (int)conf->max_stratum);
    else if (conf->max_offset_ms > 0 &&
             (offset_ms > conf->max_offset_ms || offset_ms < -conf->max_offset_ms))
        probe_finishf(p, OUTCOME_WRONG_ANSWER, "its clock is %lldms %s this machine's",
                      (long long)(offset_ms < 0 ? -offset_ms : offset_ms),
                      offset_ms < 0 ? "behind" : "ahead of");
    else
        probe_finish(p, OUTCOME_OK, NULL);
}

static bool ntp_take(struct datagram *d, const uint8_t *in, size_t len)
{
    checker_role_assert();
    if (len < PACKET_BYTES || (in[0] & 7) != MODE_SERVER ||
        memcmp(in + AT_ORIGIN, d->question + AT_TRANSMIT, 8) != 0)
        return true;
    judge((struct ntp_probe *)d, in);
    return false;
}

static void ntp_sending(struct datagram *d)
{
    ((struct ntp_probe *)d)->sent_wall_ms = clock_wall_ms();
}

static int ntp_start(struct probe *p)
{
    checker_role_assert();
    struct datagram *d = (struct datagram *)p;
    d->question[0] = CLIENT_V4;
    d->question_len = PACKET_BYTES;
    if (getrandom(d->question + AT_TRANSMIT, 8, GRND_NONBLOCK) != 8)
        return -EAGAIN;
    d->take = ntp_take;
    d->sending = ntp_sending;
    return datagram_start(d);
}

static void ntp_stop(struct probe *p)
{
    checker_role_assert();
    datagram_stop((struct datagram *)p);
}

static const struct probe_ops ntp_ops = {
    .probe_size = sizeof(struct ntp_probe),
    .start = ntp_start,
    .stop = ntp_stop,
};

extern const struct scheme scheme_ntp;

const struct scheme scheme_ntp = {
    .name = "ntp",
    .port = 123,
    .conf_size = sizeof(struct ntp_conf),
    .keys = ntp_keys,
    .ops = &ntp_ops,
};
