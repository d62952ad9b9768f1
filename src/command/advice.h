/*
 * advice.h: what a configuration without faults will still not do as its writer may believe.
 *
 * Owner: plain values, borrowed for the call. Threads: main.
 * Errors: -ENOMEM. A piece of advice is not an error: the configuration is good.
 */
#ifndef HEALTHSVC_COMMAND_ADVICE_H
#define HEALTHSVC_COMMAND_ADVICE_H

#include <healthsvc/attr.h>
#include <healthsvc/config.h>

#include <stddef.h>

struct forecast;

/* The descriptors of this process, as daemon/limits shares them out. */
struct advice_descriptors {
    size_t have, needed;
    size_t checks;        /* at once, that there are descriptors for */
    const char *shortage; /* a sentence: not even enough to start; NULL: there are */
};

/* Tells every piece of advice as "FILE:LINE: warning: sentence", dependency by dependency, then
 * those about the service as a whole ("FILE: warning: sentence"). Of one kind the first
 * ADVICE_TOLD are told, and how many more there are. */
#define ADVICE_TOLD 10
int advice_tell(const struct config *config, const struct forecast *forecast,
                const struct advice_descriptors *descriptors, config_fault_fn tell, void *arg)
    MUST_CHECK;

#endif
