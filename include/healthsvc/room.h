/*
 * room.h: memory for a library that takes what malloc() gives it unseen, and crashes without.
 *
 * Owner: whoever called room_make(). Threads: any; the library's calls on the same one.
 */
#ifndef HEALTHSVC_ROOM_H
#define HEALTHSVC_ROOM_H

#include <stddef.h>

struct room;

/* Sees to it that malloc() has so many bytes at hand, in small blocks; NULL: there are not as many.
 * Until room_done() (which accepts NULL) they are not given back to the kernel. */
struct room *room_make(size_t bytes);
void room_done(struct room *room);

#endif
