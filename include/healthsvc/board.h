/*
 * board.h: the one place where the checker's results meet the HTTP workers.
 *
 * Owner: main opens it before the checker starts and closes it after server and checker are down.
 * Threads: board_publish() by the checker only; board_acquire() and board_moment() by any. The
 * lock is held for a pointer copy and a reference, never over I/O, rendering or allocation.
 * Errors: none after board_open().
 */
#ifndef HEALTHSVC_BOARD_H
#define HEALTHSVC_BOARD_H

#include <healthsvc/attr.h>
#include <healthsvc/snapshot.h>

#include <stdint.h>

int board_open(void) MUST_CHECK;
void board_close(void);
/* Takes the caller's reference; the one before is released. */
void board_publish(struct snapshot *s);
/* A new reference on the latest snapshot; NULL before the first. */
struct snapshot *board_acquire(void) MUST_CHECK;

/* The checker's loop is alive now. Checker thread. */
void board_beat(int64_t now_mono_ms);
/* From now on every reading says "shutting down". */
void board_set_stopping(void);
/* Fills in the clocks, the beat and whether a shutdown has begun. */
void board_moment(struct moment *ret_moment);

#endif
