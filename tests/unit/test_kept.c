/* kept: how old a connection may be when it is asked once more, and whose turn it is to go. */
#include "probe/dialogue.h"
#include "probe/kept.h"

#include "../testing.h"

#include <healthsvc/config.h>
#include <healthsvc/probe.h>

#include <errno.h>
#include <sys/socket.h>
#include <time.h>
#include <unistd.h>

#define MINUTE 60000

/* Whether a connection of `since` 1,000 is asked once more at 1,000 + age. */
static bool allows(int64_t period_ms, int64_t age_ms)
{
    const struct keeper keeper = {.keep_ms = PROBE_KEEP_MS};
    const struct target_conf conf = {.period_ms = period_ms};
    return keeper_allows(&keeper, &conf, 1000, 1000 + age_ms);
}

TEST(the_check_after_the_next_comes_within_ten_minutes)
{
    EXPECT(allows(MINUTE, 0));
    EXPECT(allows(MINUTE, 9 * MINUTE));
    EXPECT(!allows(MINUTE, 9 * MINUTE + 1));
    EXPECT(allows(100, 10 * MINUTE - 100));
    EXPECT(!allows(100, 10 * MINUTE - 99));
    EXPECT(allows(5 * MINUTE, 5 * MINUTE));
    EXPECT(!allows(5 * MINUTE, 5 * MINUTE + 1));
    EXPECT(!allows(6 * MINUTE, 6 * MINUTE));
    EXPECT(!allows(1440 * MINUTE, 0));
}

/* Whatever the period is that `reuse` is accepted with: checks on their slots see a handshake at
 * least every ten minutes, and no connection serves one check only. */
TEST(a_handshake_at_least_every_ten_minutes)
{
    for (int64_t period_ms = 100; period_ms <= 5 * MINUTE; period_ms += period_ms / 3 + 7) {
        int64_t since_ms = 0, longest_ms = 0;
        unsigned checks = 0, handshakes = 1;
        const struct keeper keeper = {.keep_ms = PROBE_KEEP_MS};
        const struct target_conf conf = {.period_ms = period_ms};
        for (int64_t now_ms = period_ms; now_ms <= 60 * MINUTE; now_ms += period_ms) {
            checks++;
            if (keeper_allows(&keeper, &conf, since_ms, now_ms))
                continue;
            if (now_ms - since_ms > longest_ms)
                longest_ms = now_ms - since_ms;
            since_ms = now_ms;
            handshakes++;
        }
        EXPECT(longest_ms > 0 && longest_ms <= 10 * MINUTE);
        EXPECT(2 * (handshakes - 1) <= checks);
    }
}

/* ---- connections, each one end of a pair of sockets ---- */

static struct keeper keeper;
static const struct dlg_reuse no_protocol; /* any byte is one too many */

static void begin(void)
{
    keeper = (struct keeper){.keep_ms = PROBE_KEEP_MS};
    EXPECT_INT(loop_new(&keeper.loop), 0);
}

static void end(void)
{
    EXPECT_INT(keeper.count, 0);
    EXPECT(keeper.newest == NULL);
    keeper.loop = loop_free(keeper.loop);
}

/* Leaves one in the slot; returns its peer. */
static int leave(struct kept **slot, int64_t cert_expires_wall_s, const char *said)
{
    checker_role_assert();
    struct loop_watch watch = {.fd = -1};
    struct kept *kept = NULL;
    int ends[2];
    EXPECT_INT(socketpair(AF_UNIX, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0, ends), 0);
    EXPECT_INT(loop_watch_add(keeper.loop, &watch, ends[0]), 0);
    EXPECT_INT(kept_new(&keeper, &watch, &keeper, &kept), 0);
    EXPECT_INT(watch.fd, -1);
    kept->reuse = &no_protocol;
    kept->since_mono_ms = 1000;
    kept->cert_expires_wall_s = cert_expires_wall_s;
    EXPECT(write(ends[1], said, strlen(said)) == (ssize_t)strlen(said));
    kept_leave(kept, slot);
    return ends[1];
}

/* Closes it, and tells whether the other end was closed already. */
static bool was_closed(int peer)
{
    char byte;
    ssize_t r = recv(peer, &byte, 1, 0);
    bool closed = r == 0 || (r < 0 && errno != EAGAIN);
    close(peer);
    return closed;
}

static struct kept *take(struct kept **slot, int64_t at_ms)
{
    checker_role_assert();
    const struct target_conf conf = {.period_ms = MINUTE};
    return kept_take(slot, &conf, &keeper, at_ms);
}

TEST(what_is_left_is_taken_once)
{
    checker_role_assert();
    struct kept *slot = NULL;
    begin();
    EXPECT(take(&slot, 2000) == NULL);
    int peer = leave(&slot, 0, "");
    EXPECT_INT(keeper.count, 1);
    struct kept *kept = take(&slot, 2000);
    EXPECT(kept != NULL && slot == NULL);
    EXPECT_INT(keeper.count, 0);
    kept_leave(kept, &slot); /* and left again */
    EXPECT(slot == kept);
    probe_drop_kept(&slot);
    EXPECT(slot == NULL);
    probe_drop_kept(&slot);
    EXPECT(was_closed(peer));
    end();
}

TEST(too_old_is_closed)
{
    struct kept *slot = NULL;
    begin();
    int peer = leave(&slot, 0, "");
    EXPECT(take(&slot, 1000 + PROBE_KEEP_MS) == NULL);
    EXPECT(slot == NULL);
    EXPECT(was_closed(peer));
    end();
}

TEST(an_expired_certificate_is_looked_at_anew)
{
    checker_role_assert();
    struct kept *slot = NULL;
    begin();
    int peer = leave(&slot, (int64_t)time(NULL) - 1, "");
    EXPECT(take(&slot, 2000) == NULL);
    EXPECT(was_closed(peer));
    peer = leave(&slot, (int64_t)time(NULL) + 3600, "");
    struct kept *kept = take(&slot, 2000);
    EXPECT(kept != NULL);
    kept_free(kept);
    EXPECT(was_closed(peer));
    end();
}

TEST(what_has_talked_already_is_not_left)
{
    struct kept *slot = NULL;
    begin();
    int peer = leave(&slot, 0, "x");
    EXPECT(slot == NULL);
    EXPECT(was_closed(peer));
    end();
}

TEST(the_last_one_left_gives_way_first)
{
    checker_role_assert();
    struct kept *slots[3] = {NULL};
    int peers[3];
    begin();
    EXPECT(!keeper_give_way(&keeper));
    for (int i = 0; i < 3; i++)
        peers[i] = leave(&slots[i], 0, "");
    struct kept *middle = take(&slots[1], 2000);
    kept_leave(middle, &slots[1]);
    EXPECT_INT(keeper.count, 3);
    EXPECT(keeper_give_way(&keeper));
    EXPECT(slots[0] != NULL && slots[1] == NULL && slots[2] != NULL);
    EXPECT(keeper_give_way(&keeper));
    EXPECT(slots[0] != NULL && slots[2] == NULL);
    EXPECT(keeper_give_way(&keeper));
    EXPECT(slots[0] == NULL);
    EXPECT(!keeper_give_way(&keeper));
    for (int i = 0; i < 3; i++)
        EXPECT(was_closed(peers[i]));
    end();
}

int main(void)
{
    RUN(the_check_after_the_next_comes_within_ten_minutes);
    RUN(a_handshake_at_least_every_ten_minutes);
    RUN(what_is_left_is_taken_once);
    RUN(too_old_is_closed);
    RUN(an_expired_certificate_is_looked_at_anew);
    RUN(what_has_talked_already_is_not_left);
    RUN(the_last_one_left_gives_way_first);
    return testing_end();
}
