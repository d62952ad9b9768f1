/*
 * fake_schemes.h: what tests know of the schemes in fake_schemes.c: tcp, tls, http (80), https
 * (443), and redis and exec, which are known but not built.
 *
 * Threads: one.
 */
#ifndef HEALTHSVC_TESTS_FAKE_SCHEMES_H
#define HEALTHSVC_TESTS_FAKE_SCHEMES_H

#include <healthsvc/config.h>
#include <healthsvc/probe.h>

struct fake_http_conf {
    char *method;
    char *headers;
    int even;
};

extern int fake_prepared, fake_released; /* calls of probe_prepare(), probe_release() */

#endif
