/*
 * dialogue.h: a protocol as a pure state machine: bytes in, bytes out, verdict.
 *
 * No socket, no clock, no allocation but in its own strbufs; so it can be tested at every split
 * of every reply and fuzzed as it is. The stream engine does look-up, connect, TLS, deadline, byte
 * limit and close.
 * Threads: one at a time.
 */
#ifndef HEALTHSVC_PROBE_DIALOGUE_H
#define HEALTHSVC_PROBE_DIALOGUE_H

#include <healthsvc/outcome.h>

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

struct strbuf;
struct target_conf;

enum dlg_step {
    DLG_MORE = 0, /* send what was put into `out`, then wait for bytes */
    DLG_STARTTLS, /* send `out`, then TLS, then open() again. Only if nothing follows the go-ahead:
                     more bytes in clear are an attack (cf. CVE-2021-23222), DLG_DONE with bad_reply */
    DLG_DONE,     /* *ret is the verdict; `out` may hold a goodbye, sent if the socket takes it */
};

/* How the connection of a dialogue is kept for the next check's (`reuse`). */
struct dlg_reuse {
    /* After a good verdict: whether nothing is in doubt, so that one more question may follow. `out`
     * takes what is still to be sent; *ret_session what the protocol knows of the connection (left
     * alone: nothing). */
    bool (*rest)(void *state, struct strbuf *out, void **ret_session);
    /* Before open() on such a connection: takes the session. NULL: there is none. */
    void (*resume)(void *state, void *session);
    /* Bytes that came in between; `out` as above. False: now it is in doubt. NULL: by any byte. */
    bool (*idle)(void *session, const uint8_t *in, size_t len, struct strbuf *out);
    /* Frees a session that is not taken up again. NULL: there is none. */
    void (*forget)(void *session);
    /* Whether any of an answer has come. If not, an end that is not good may only mean that the
     * peer was about to close the connection anyway. */
    bool (*answered)(const void *state);
};

struct dialogue {
    size_t state_size; /* zeroed before open() */
    /* Whether there is anything to say: if not, being connected (and TLS) is enough. NULL: there
     * is. */
    bool (*speaks)(const struct target_conf *conf);
    /* Connected (and TLS done). */
    enum dlg_step (*open)(void *state, const struct target_conf *conf, struct strbuf *out,
                          struct dlg_result *ret);
    enum dlg_step (*feed)(void *state, const uint8_t *in, size_t len, struct strbuf *out,
                          struct dlg_result *ret);
    /* The peer closed: always the end. NULL: OUTCOME_CLOSED. */
    void (*eof)(void *state, struct dlg_result *ret);
    /* Frees what the state holds. May be NULL. */
    void (*done)(void *state);
    size_t max_reply_bytes; /* more than this is OUTCOME_BAD_REPLY */
    bool polite;            /* close by FIN after the goodbye, not by RST */
    /* open() always says something that the peer waits for: then that need not be told that it is
     * connected before it is asked. */
    bool asks_first;
    const struct dlg_reuse *reuse; /* NULL: a connection is never kept */
};

#endif
