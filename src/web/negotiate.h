/*
 * negotiate.h: which of our formats a client's Accept headers ask for (RFC 9110 section 12.5.1).
 *
 * Pure: text in, choice out; nothing is allocated. Threads: any, each on its own data.
 * Errors: none; what cannot be understood does not count, and nothing acceptable means text: the
 * answer of a health check is worth more than a 406.
 */
#ifndef HEALTHSVC_WEB_NEGOTIATE_H
#define HEALTHSVC_WEB_NEGOTIATE_H

enum media {
    MEDIA_TEXT = 0,    /* text/plain; what ties and doubts go to */
    MEDIA_HEALTH_JSON, /* application/health+json */
    MEDIA_JSON,        /* application/json */
};
#define MEDIA_COUNT 3

/* What the ranges seen so far say of each format; starts zeroed. */
struct negotiation {
    struct {
        int quality;     /* thousandths, 0..1000 */
        int specificity; /* of the range it comes from; 0: none yet */
    } of[MEDIA_COUNT];
};

/* Adds one Accept header's value; several headers are one list (RFC 9110 section 5.3). */
void negotiate_add(struct negotiation *n, const char *accept);
enum media negotiate_choose(const struct negotiation *n);

#endif
