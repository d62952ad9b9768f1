/*
 * health_doc.h: what another health service says of itself, and which of its parts it blames.
 *
 * Two forms: application/health+json (draft-inadarei-api-health-check-06), and the text that this
 * program answers itself.
 * Threads: any (pure). Errors: a body of neither form is HEALTH_UNKNOWN; no memory, -ENOMEM.
 */
#ifndef HEALTHSVC_PROBE_HEALTH_DOC_H
#define HEALTHSVC_PROBE_HEALTH_DOC_H

#include <healthsvc/strbuf.h>

struct json_t; /* jansson's */

enum health_status {
    HEALTH_UNKNOWN = 0,
    HEALTH_PASS,
    HEALTH_WARN,
    HEALTH_FAIL,
};

/* Longest reason: leaves room for "HTTP 500: " before it in a check's text. */
#define HEALTH_REASON_BYTES 180

/* The status; for warn and fail the parts to blame are added to *reason ("postgres: connection
 * refused; cache: slow"), printable, at most HEALTH_REASON_BYTES; nothing if none is named. */
enum health_status health_doc_json(const struct json_t *root, struct strbuf *reason);
enum health_status health_doc_text(const char *text, size_t len, struct strbuf *reason);

#endif
