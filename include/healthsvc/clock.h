/*
 * clock.h: the clocks. Everything is decided by the monotonic one, which goes on while the machine
 * is suspended; the wall clock is shown.
 *
 * Threads: any. Errors: none (the clocks asked for always exist on Linux).
 */
#ifndef HEALTHSVC_CLOCK_H
#define HEALTHSVC_CLOCK_H

#include <stdint.h>

int64_t clock_mono_ms(void); /* CLOCK_BOOTTIME, milliseconds */
int64_t clock_mono_us(void); /* CLOCK_BOOTTIME, microseconds */
int64_t clock_cpu_us(void);  /* what the calling thread has run, microseconds */
int64_t clock_wall_ms(void); /* CLOCK_REALTIME, milliseconds since 1970-01-01 UTC */

#endif
