/* How many files may be open, and who gets them. */
#include "daemon/limits.h"

#include "../testing.h"

#include <healthsvc/strbuf.h>

#include <errno.h>
#include <sys/resource.h>

static void limit_to(rlim_t soft, rlim_t hard)
{
    const struct rlimit limit = {soft, hard};
    EXPECT_INT(setrlimit(RLIMIT_NOFILE, &limit), 0);
}

TEST(the_soft_limit_is_raised_to_the_hard_one)
{
    limit_to(200, 400);
    EXPECT_INT(limits_descriptors(), 200);
    limits_raise_descriptors();
    EXPECT_INT(limits_descriptors(), 400);
    limits_raise_descriptors();
    EXPECT_INT(limits_descriptors(), 400);
}

TEST(what_clients_leave_is_for_checks)
{
    struct strbuf why;
    size_t for_checks = 7;
    strbuf_init(&why, 1024);
    limit_to(400, 400);
    if (EXPECT_INT(limits_share_descriptors(100, &why, &for_checks), 0))
        EXPECT_INT(limits_descriptors_for(100, for_checks), 400);
    for_checks = 7;
    EXPECT_INT(limits_share_descriptors(390, &why, &for_checks), -EMFILE);
    EXPECT_INT(for_checks, 7);
    EXPECT_HAS(why.data, "RLIMIT_NOFILE) is 400, but this configuration needs at least 454: 390 "
                         "for its HTTP clients");
    strbuf_done(&why);
}

int main(void)
{
    RUN(the_soft_limit_is_raised_to_the_hard_one);
    RUN(what_clients_leave_is_for_checks);
    return testing_end();
}
