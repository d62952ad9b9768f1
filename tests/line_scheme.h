/*
 * line_scheme.h: a protocol of the tests' own, for what no scheme of the table does (yet): STARTTLS,
 * and a polite goodbye.
 *
 * The client says "HELLO\n", the server answers with a line that begins with 'B', the client says
 * "QUIT\n" and closes. With STARTTLS all that comes after "STARTTLS\n", "GO\n" and TLS.
 */
#ifndef HEALTHSVC_TESTS_LINE_SCHEME_H
#define HEALTHSVC_TESTS_LINE_SCHEME_H

#include <healthsvc/probe.h>

#define LINE_REPLY "BYE\n"
#define LINE_ENDLESS "B"
#define LINE_GOODBYE "QUIT\n"

extern const struct scheme line_scheme, line_starttls_scheme;

#endif
