/*
 * Counters only ever grow within a row of like results, and a state changes only when they say so.
 * That is what lets a reload with other limits decide again without forgetting anything.
 */
#include <healthsvc/config.h>
#include <healthsvc/verdict.h>

const char *target_state_token(enum target_state s)
{
    switch (s) {
    case TARGET_UNKNOWN:
        return "unknown";
    case TARGET_UP:
        return "up";
    case TARGET_DEGRADED:
        return "degraded";
    case TARGET_DOWN:
        return "down";
    case TARGET_STALE:
        return "stale";
    }
    return "none";
}

const char *verdict_token(enum verdict v)
{
    switch (v) {
    case VERDICT_PASS:
        return "pass";
    case VERDICT_WARN:
        return "warn";
    case VERDICT_FAIL:
        return "fail";
    }
    return "none";
}

static bool judge_set(struct judge *j, enum target_state state)
{
    bool changed = j->state != state;
    j->state = state;
    return changed;
}

static void count_one(uint16_t *in_row)
{
    if (*in_row < UINT16_MAX)
        ++*in_row;
}

static enum target_state judge_alive(const struct judge *j)
{
    return j->warned ? TARGET_DEGRADED : TARGET_UP;
}

bool judge_count(struct judge *j, enum outcome_class class, int64_t fall, int64_t rise)
{
    switch (class) {
    case OUTCOME_CLASS_NOT_TRIED:
        return false;
    case OUTCOME_CLASS_BAD:
        j->good_in_row = 0;
        count_one(&j->bad_in_row);
        break;
    case OUTCOME_CLASS_GOOD:
    case OUTCOME_CLASS_WARNING:
        j->bad_in_row = 0;
        count_one(&j->good_in_row);
        j->warned = class == OUTCOME_CLASS_WARNING;
        break;
    }
    switch (j->state) {
    case TARGET_UNKNOWN: /* the first outcome decides at once */
        return judge_set(j, class == OUTCOME_CLASS_BAD ? TARGET_DOWN : judge_alive(j));
    case TARGET_UP:
    case TARGET_DEGRADED:
        if (class == OUTCOME_CLASS_BAD)
            return j->bad_in_row >= fall && judge_set(j, TARGET_DOWN);
        return judge_set(j, judge_alive(j));
    case TARGET_DOWN:
        return j->good_in_row >= rise && judge_set(j, judge_alive(j));
    case TARGET_STALE:
        break;
    }
    return false;
}

bool judge_again(struct judge *j, int64_t fall, int64_t rise)
{
    bool alive = j->state == TARGET_UP || j->state == TARGET_DEGRADED;
    if (alive && j->bad_in_row > 0 && j->bad_in_row >= fall)
        return judge_set(j, TARGET_DOWN);
    if (j->state == TARGET_DOWN && j->good_in_row > 0 && j->good_in_row >= rise)
        return judge_set(j, judge_alive(j));
    return false;
}

bool judge_in_doubt(const struct judge *j)
{
    switch (j->state) {
    case TARGET_UNKNOWN:
        return true;
    case TARGET_UP:
    case TARGET_DEGRADED:
        return j->bad_in_row > 0;
    case TARGET_DOWN:
        return j->good_in_row > 0;
    case TARGET_STALE:
        break;
    }
    return false;
}

enum target_state target_state_at(const struct target_view *v, int64_t now_mono_ms)
{
    if (v->state == TARGET_UNKNOWN)
        return TARGET_UNKNOWN;
    if (now_mono_ms - v->checked_mono_ms > v->conf->max_age_ms)
        return TARGET_STALE;
    return v->state;
}

enum verdict verdict_of_target(const struct target_view *v, enum target_state state_now)
{
    if (v->pending)
        return VERDICT_PASS;
    bool up = state_now == TARGET_UP;
    switch (v->conf->importance) {
    case IMPORTANCE_REQUIRED:
        return up ? VERDICT_PASS : state_now == TARGET_DEGRADED ? VERDICT_WARN : VERDICT_FAIL;
    case IMPORTANCE_OPTIONAL:
        return up ? VERDICT_PASS : VERDICT_WARN;
    case IMPORTANCE_INFO:
        return VERDICT_PASS;
    }
    return VERDICT_FAIL;
}
