/*
 * notify.h: what a supervisor is told (the sd_notify protocol, sd_notify(3), systemd.service(5)).
 *
 * Without NOTIFY_SOCKET in the environment every call does nothing.
 * Threads: notify_init() on main before others exist; then any.
 * Errors: none reported: a supervisor that does not listen is no reason to fail.
 */
#ifndef HEALTHSVC_DAEMON_NOTIFY_H
#define HEALTHSVC_DAEMON_NOTIFY_H

#include <stdint.h>

void notify_init(void);
/* At the end, when no other thread is left. */
void notify_done(void);
void notify_ready(void);
void notify_stopping(void);
/* A reload begins, and ends in one of the others: failed before a later one begins, or applied, in
 * the order of their beginning, at any time. "Ready" is said when none is under way. The status, and
 * the metric of the last reload, tell of the one that began last. */
void notify_reloading(void);
void notify_reload_failed(const char *why);
void notify_reload_applied(void);
/* The loop is alive; sent on only if the supervisor set a watchdog for this process. */
void notify_watchdog(void);
/* The first half of STATUS=; the second is how the last reload failed. */
void notify_status_health(const char *text);

#endif
