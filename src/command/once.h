/*
 * once.h: what `-1` says when every dependency has been asked.
 *
 * Threads: main.
 */
#ifndef HEALTHSVC_COMMAND_ONCE_H
#define HEALTHSVC_COMMAND_ONCE_H

#include <healthsvc/render.h>

/* Prints the verdict from the board. Returns the exit code: 0 healthy, 1 not, 2 if it could not be
 * told; in a plugin's format that of its line. */
int once_print(enum render_format format);

#endif
