#ifdef HAVE_CONFIG_H
#include <config.h>
#endif

#include "command/version.h"

#include <healthsvc/probe.h>

#define PCRE2_CODE_UNIT_WIDTH 8

#include <ares.h>
#include <civetweb.h>
#ifdef HAVE_JANSSON
#include <jansson.h>
#endif
#include <libconfig.h>
#ifdef HAVE_NGHTTP2
#include <nghttp2/nghttp2.h>
#endif
#include <openssl/crypto.h>
#include <pcre2.h>
#include <stdbool.h>
#include <stdio.h>
#include <uv.h>

/* One line; none if there is no such scheme. */
static void print_schemes(const char *heading, bool built)
{
    const char *before = heading;
    for (size_t i = 0; scheme_at(i) != NULL; i++) {
        if ((scheme_at(i)->ops != NULL) != built)
            continue;
        printf("%s %s", before, scheme_at(i)->name);
        before = "";
    }
    (void)fputs(before == heading ? "" : "\n", stdout);
}

void version_print(void)
{
    printf("healthsvc %s\n", PACKAGE_VERSION);
    print_schemes("schemes:", true);
    print_schemes("schemes not in this build:", false);
    char pcre2[64] = "";
    (void)pcre2_config(PCRE2_CONFIG_VERSION, pcre2);
    printf("libraries: CivetWeb %s, libconfig %d.%d, libuv %s, c-ares %s, PCRE2 %s, %s\n",
           mg_version(), LIBCONFIG_VER_MAJOR, LIBCONFIG_VER_MINOR, uv_version_string(),
           ares_version(NULL), pcre2, OpenSSL_version(OPENSSL_VERSION));
#ifdef HAVE_NGHTTP2
    printf("HTTP/2 of grpc: nghttp2 %s\n", nghttp2_version(0)->version_str);
#else
    puts("HTTP/2 of grpc: not in this build");
#endif
#ifdef HAVE_JANSSON
    puts("JSON of dependencies: read, with jansson " JANSSON_VERSION);
#else
    puts("JSON of dependencies: not in this build");
#endif
}
