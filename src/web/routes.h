/*
 * routes.h: what is answered to which request: CivetWeb's two callbacks that answer.
 *
 * Threads: CivetWeb's workers. Errors: none; every request gets an answer.
 */
#ifndef HEALTHSVC_WEB_ROUTES_H
#define HEALTHSVC_WEB_ROUTES_H

struct mg_connection;

/* mg_callbacks.begin_request: answers every request; the code answered. */
int routes_begin_request(struct mg_connection *conn);
/* mg_callbacks.http_error: answers what CivetWeb could not parse; 0: done. */
int routes_http_error(struct mg_connection *conn, int status, const char *message);

#endif
