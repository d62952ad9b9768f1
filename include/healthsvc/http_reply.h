/*
 * http_reply.h: an HTTP/1.x response, parsed from bytes that come in any pieces.
 *
 * The end and its words depend on the bytes alone, never on how they were cut.
 * Owner: lies in the caller's state. Allocates only for a line that was cut between two pieces
 * and for a body that is to be kept. Threads: one at a time.
 * Errors: HTTP_REPLY_FAILED with outcome and text in *ret.
 * Source: RFC 9112 (cited by section in the .c).
 */
#ifndef HEALTHSVC_HTTP_REPLY_H
#define HEALTHSVC_HTTP_REPLY_H

#include <healthsvc/outcome.h>
#include <healthsvc/strbuf.h>

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

/* Status lines and headers together, those of 1xx included; and once more for all that frames a
 * chunked body: its size lines and trailers. */
#define HTTP_REPLY_SECTION_BYTES 16384
/* Lines that are not empty, of all the reply. */
#define HTTP_REPLY_LINES 1000
/* So much of a body is read, unless more is asked for; more is not needed, and is not waited for. */
#define HTTP_REPLY_BODY_BYTES 65536

enum http_part {
    HTTP_PART_STATUS = 0,
    HTTP_PART_HEADERS,
    HTTP_PART_LENGTH,     /* a body of a length that was announced */
    HTTP_PART_CLOSE,      /* a body that the end of the connection ends */
    HTTP_PART_CHUNK_SIZE, /* the line before a chunk */
    HTTP_PART_CHUNK,
    HTTP_PART_CHUNK_END, /* the line end behind it */
    HTTP_PART_TRAILERS,
    HTTP_PART_END,
};

/* A header of a status line that may be the final one; the bytes are borrowed for the call. */
struct http_field {
    const char *name, *value;
    size_t name_len, value_len;
};

struct http_reply {
    enum http_part part;
    bool head;      /* the request was HEAD: no body, whatever is announced */
    bool keep_body; /* collect it in `body`; may be set when the headers are complete */
    bool http10, has_length, chunked;
    bool closes;     /* the peer says that this is its last reply (`Connection: close`) */
    uint16_t status; /* of the latest status line, 1xx included; 0: none yet */
    uint16_t lines;
    uint32_t section_bytes, body_bytes, body_limit;
    uint64_t left;      /* of the announced length, or of the chunk */
    struct strbuf line; /* what has come of a line */
    struct strbuf body;
    void (*on_field)(void *arg, const struct http_field *field); /* may be NULL */
    void *arg;
};

enum http_reply_step {
    HTTP_REPLY_MORE = 0, /* all was taken; more is needed */
    HTTP_REPLY_HEAD,     /* the final status and its headers are complete: go on with the rest */
    HTTP_REPLY_END,      /* the reply is complete, or as much of it as is read */
    HTTP_REPLY_FAILED,
};

/* Nothing of a body is kept, and no header told, until the caller says so. */
void http_reply_init(struct http_reply *r, bool head);
void http_reply_done(struct http_reply *r);
/* Reads so much of a body instead of HTTP_REPLY_BODY_BYTES. Before the first byte. */
void http_reply_limit_body(struct http_reply *r, uint32_t limit_bytes);
/* Takes bytes from the front of what *in, *len describe. */
enum http_reply_step http_reply_feed(struct http_reply *r, const uint8_t **in, size_t *len,
                                     struct dlg_result *ret);
/* After HTTP_REPLY_END: whether the reply is over and another may follow on this connection
 * (section 9.3; HTTP/1.0 never promises it here). */
bool http_reply_persists(const struct http_reply *r);
/* The peer has closed: HTTP_REPLY_END or HTTP_REPLY_FAILED. */
enum http_reply_step http_reply_eof(struct http_reply *r, struct dlg_result *ret);

#endif
