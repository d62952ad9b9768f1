/*
 * A reason says what a service depends on, where, and what ails it: of use to who mends it, and to
 * who looks for a way in. A load balancer needs neither. So by default this machine alone is told;
 * behind a proxy on this machine everybody looks local, which is what "never" with a token is for.
 */
#include "web/details.h"

#include <civetweb.h>
#include <openssl/crypto.h>
#include <string.h>
#include <strings.h>

#include <healthsvc/config.h>
#include <healthsvc/units.h>

#include "web/peer.h"

static bool is_near(const struct config *config, const struct sockaddr_storage *peer)
{
    if (peer_is_local(peer))
        return true;
    for (size_t i = 0; i < config->details_for_count; i++) {
        if (units_network_has(&config->details_for[i], (const struct sockaddr *)peer))
            return true;
    }
    return false;
}

/* Authorization: Bearer TOKEN, RFC 6750 section 2.1. How long it takes does not tell how much of
 * it is right. */
static bool shows_token(const char *token, const struct mg_request_info *info)
{
    static const char scheme[] = "Bearer ";
    size_t len = strlen(token);

    for (int i = 0; i < info->num_headers; i++) {
        const char *value = info->http_headers[i].value;
        if (strcasecmp(info->http_headers[i].name, "Authorization") != 0 ||
            strncasecmp(value, scheme, sizeof scheme - 1) != 0)
            continue;
        value += sizeof scheme - 1;
        if (strlen(value) == len && CRYPTO_memcmp(value, token, len) == 0)
            return true;
    }
    return false;
}

bool details_shown(const struct config *config, const struct mg_request_info *info)
{
    if (config->details == DETAILS_ALWAYS ||
        (config->details == DETAILS_LOCAL && is_near(config, peer_find(info))))
        return true;
    return config->details_token != NULL && shows_token(config->details_token, info);
}
