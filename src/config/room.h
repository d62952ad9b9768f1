/*
 * room.h: memory for libconfig, which takes what malloc() gives it unseen.
 *
 * Owner: whoever called room_make(). Threads: main.
 */
#ifndef HEALTHSVC_CONFIG_ROOM_H
#define HEALTHSVC_CONFIG_ROOM_H

#include <stddef.h>

struct room;

/* Sees to it that malloc() has enough at hand for libconfig to read that text; NULL: there is not as
 * much. Until room_done() it is not given back to the kernel. */
struct room *room_make(const char *text, size_t len);
void room_done(struct room *room);

#endif
