/* libpq's words mean what they mean there, except that "require" never verifies: a certificate to
 * trust that would then be ignored is a fault, not a surprise. */
#include "probe/sslmode.h"

#include <healthsvc/config.h>
#include <healthsvc/strbuf.h>

#include <errno.h>
#include <stddef.h>

const char *const sslmode_words[] = {"disable", "prefer", "require", "verify-full", NULL};

int sslmode_settle(struct target_conf *conf, int mode, struct strbuf *why)
{
    conf->tls.verify = mode == SSLMODE_VERIFY_FULL;
    if (conf->tls.ca_file == NULL || conf->tls.verify)
        return 0;
    strbuf_addf(why, "'ca_file': sslmode \"%s\" verifies nothing, write \"verify-full\"",
                sslmode_words[mode]);
    return -EINVAL;
}
