/*
 * details.h: whether who asks is told why a dependency is not well (the setting `details`).
 *
 * Threads: CivetWeb's workers. Errors: none; in doubt nobody is told.
 */
#ifndef HEALTHSVC_WEB_DETAILS_H
#define HEALTHSVC_WEB_DETAILS_H

#include <stdbool.h>

struct config;
struct mg_request_info;

bool details_shown(const struct config *config, const struct mg_request_info *info);

#endif
