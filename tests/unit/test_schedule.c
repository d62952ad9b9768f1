/* schedule: slots do not drift, late ones are counted, the first round is spread. */
#include "../testing.h"

#include "check/schedule.h"

TEST(slots_lie_on_the_phase)
{
    for (int64_t t = 0; t < 3000; t += 7) {
        int64_t slot = schedule_slot_before(1234567, 1000, t);
        EXPECT(slot <= t && t - slot < 1000);
        EXPECT_INT((slot % 1000 + 1000) % 1000, 565); /* 567, on the grid */
    }
    EXPECT_INT(schedule_slot_before(565, 1000, 1565), 1565);
    EXPECT_INT(schedule_slot_before(565, 1000, 1564), 565);
    EXPECT_INT(schedule_slot_before(565, 1000, 100), -435);
    EXPECT_INT(schedule_slot_before(UINT64_MAX, 86400000, 0) <= 0, 1);
}

TEST(next_comes_from_the_slot_and_not_from_now)
{
    uint64_t skipped = 0;
    EXPECT_INT(schedule_next(1000, 500, 1000, &skipped), 1500);
    EXPECT_INT(schedule_next(1000, 500, 1200, &skipped), 1500);
    EXPECT_INT(schedule_next(1000, 500, 1499, &skipped), 1500);
    EXPECT_INT(skipped, 0);
    int64_t slot = 1000;
    for (int i = 0; i < 1000; i++) /* each a little late: no drift */
        slot = schedule_next(slot, 500, slot + 13, &skipped);
    EXPECT_INT(slot, 1000 + 1000 * 500);
    EXPECT_INT(skipped, 0);
}

TEST(missed_slots_are_skipped_and_counted)
{
    uint64_t skipped = 0;
    EXPECT_INT(schedule_next(1000, 500, 1500, &skipped), 2000);
    EXPECT_INT(skipped, 1);
    EXPECT_INT(schedule_next(1000, 500, 1999, &skipped), 2000);
    EXPECT_INT(skipped, 2);
    EXPECT_INT(schedule_next(1000, 500, 11200, &skipped), 11500);
    EXPECT_INT(skipped, 2 + 20);
}

TEST(first_round_is_spread_over_at_most_a_second)
{
    EXPECT_INT(schedule_first_delay_ms(0, 1), 0);
    EXPECT(schedule_first_delay_ms(9, 10) < 10);
    int64_t last = 0;
    for (uint64_t i = 0; i < 10000; i++) {
        int64_t delay = schedule_first_delay_ms(i, 10000);
        EXPECT(delay >= last && delay < 1000);
        last = delay;
    }
    EXPECT(last > 990);
}

int main(void)
{
    RUN(slots_lie_on_the_phase);
    RUN(next_comes_from_the_slot_and_not_from_now);
    RUN(missed_slots_are_skipped_and_counted);
    RUN(first_round_is_spread_over_at_most_a_second);
    return testing_end();
}
