/*
 * version.h: `-V`: what this build is of and can ask.
 *
 * Threads: main.
 */
#ifndef HEALTHSVC_COMMAND_VERSION_H
#define HEALTHSVC_COMMAND_VERSION_H

/* On standard output. */
void version_print(void);

#endif
