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
void notify_ready(void);
void notify_reloading(void); /* ends with the next notify_ready() */
void notify_stopping(void);
/* The loop is alive; sent on only if the supervisor set a watchdog for this process. */
void notify_watchdog(void);
/* The two halves of STATUS=; each call sends both. NULL or "": nothing to say. */
void notify_status_health(const char *text);
void notify_status_reload(const char *text);

#endif
