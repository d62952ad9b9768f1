/*
 * url.h: what a dependency's URL says: scheme://host[:port][/path][?query].
 *
 * Threads: main. Errors: -EINVAL with a sentence that shows no part of the URL but its scheme, for
 * the rest may hold a password; -ENOMEM.
 */
#ifndef HEALTHSVC_URL_H
#define HEALTHSVC_URL_H

#include <healthsvc/attr.h>

#include <stdbool.h>

struct region;
struct strbuf;
struct target_conf;

/* Fills in conf->scheme, host, port and path from conf->url; the strings lie in `region`. The scheme
 * is set as soon as it is known, even if it is not in this build or the rest is wrong. */
int url_read(struct target_conf *conf, struct region *region, struct strbuf *why) MUST_CHECK;
/* Whether the text is a host name or an address; an IPv6 one without brackets. */
bool url_is_host(const char *text);
/* Adds the host, and the port unless it is the scheme's usual one, as the Host header has them. */
void url_add_host(struct strbuf *out, const struct target_conf *conf);

#endif
