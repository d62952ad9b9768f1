/*
 * outcome.h: what a check can end in, and of which class that is. The list is outcome.def.
 *
 * Threads: any (pure).
 */
#ifndef HEALTHSVC_OUTCOME_H
#define HEALTHSVC_OUTCOME_H

enum outcome_class {
    OUTCOME_CLASS_GOOD = 0,
    OUTCOME_CLASS_WARNING, /* alive, and says itself that something is not right */
    OUTCOME_CLASS_BAD,
    OUTCOME_CLASS_NOT_TRIED, /* this side could not ask; never held against the dependency */
};
#define OUTCOME_CLASS_COUNT 4

enum outcome {
    OUTCOME_FIRST_UNUSED = -1, /* keeps every listed value counted from 0 */
#define OUTCOME(id, token, class, sentence) OUTCOME_##id,
#include <healthsvc/outcome.def>
#undef OUTCOME
    OUTCOME_COUNT,
};

/* Longest text of a check, with its NUL; longer ones are cut. */
#define OUTCOME_TEXT_BYTES 200

/* How a talk with a peer ended. */
struct dlg_result {
    enum outcome outcome;
    int http_status;               /* 0: none */
    char text[OUTCOME_TEXT_BYTES]; /* "": the outcome's sentence */
};

const char *outcome_token(enum outcome o);    /* "connect_refused" */
const char *outcome_sentence(enum outcome o); /* "connection refused" */
enum outcome_class outcome_class(enum outcome o);
const char *outcome_class_token(enum outcome_class c); /* "good" "warning" "bad" "not_tried" */

/* The outcome of a local or connection error: takes a positive errno. EMFILE, ENFILE, ENOMEM,
 * ENOBUFS, ENETUNREACH, EADDRNOTAVAIL, EACCES and EPERM are our own faults; ECONNREFUSED,
 * ETIMEDOUT, EHOSTUNREACH and ECONNRESET the peer's. */
enum outcome outcome_of_errno(int err);

#endif
