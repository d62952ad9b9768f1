#include "check/schedule.h"

#define FIRST_ROUND_MAX_MS 1000

int64_t schedule_slot_before(uint64_t hash, int64_t period_ms, int64_t t_ms)
{
    int64_t phase_ms = (int64_t)(hash % (uint64_t)period_ms) / SCHEDULE_GRID_MS * SCHEDULE_GRID_MS;
    int64_t past_ms = (t_ms - phase_ms) % period_ms;
    if (past_ms < 0)
        past_ms += period_ms;
    return t_ms - past_ms;
}

int64_t schedule_next(int64_t slot_ms, int64_t period_ms, int64_t now_ms, uint64_t *skipped)
{
    int64_t next_ms = slot_ms + period_ms;
    if (next_ms <= now_ms) {
        int64_t missed = (now_ms - next_ms) / period_ms + 1;
        *skipped += (uint64_t)missed;
        next_ms += missed * period_ms;
    }
    return next_ms;
}

int64_t schedule_first_delay_ms(uint64_t i, uint64_t count)
{
    uint64_t span_ms = count < FIRST_ROUND_MAX_MS ? count : FIRST_ROUND_MAX_MS;
    return count > 0 ? (int64_t)(i * span_ms / count) : 0;
}
