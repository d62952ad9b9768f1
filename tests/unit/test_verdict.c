/* verdict: rise and fall, what is stale, and the worst of all. Outcomes: their classes. */
#include "../testing.h"

#include <healthsvc/config.h>
#include <healthsvc/verdict.h>

#include <errno.h>

/* Plays one letter a result: g good, w warning, b bad, n not tried; and writes the state after each
 * as a letter: ? unknown, U up, W degraded, D down; lower case while in doubt. */
static const char *play(const char *results, int64_t fall, int64_t rise)
{
    static char seen[64];
    struct judge j = {.state = TARGET_UNKNOWN};
    size_t count = strlen(results);
    if (!EXPECT(count < sizeof seen))
        return "";
    for (size_t i = 0; i < count; i++) {
        enum outcome_class class = results[i] == 'g'   ? OUTCOME_CLASS_GOOD
                                   : results[i] == 'w' ? OUTCOME_CLASS_WARNING
                                   : results[i] == 'b' ? OUTCOME_CLASS_BAD
                                                       : OUTCOME_CLASS_NOT_TRIED;
        enum target_state was = j.state;
        bool changed = judge_count(&j, class, fall, rise);
        EXPECT_INT(changed, was != j.state);
        static const char firm[] = "?UWD", doubtful[] = "?uwd";
        seen[i] = (judge_in_doubt(&j) ? doubtful : firm)[j.state];
    }
    seen[count] = '\0';
    return seen;
}

TEST(first_outcome_decides)
{
    EXPECT_STR(play("g", 3, 2), "U");
    EXPECT_STR(play("b", 3, 2), "D");
    EXPECT_STR(play("w", 3, 2), "W");
    EXPECT_STR(play("nng", 3, 2), "??U");
    EXPECT_STR(play("nb", 3, 2), "?D");
}

TEST(falls_after_so_many_in_a_row)
{
    EXPECT_STR(play("gbbb", 3, 2), "UuuD");
    EXPECT_STR(play("gbbgbbb", 3, 2), "UuuUuuD");
    EXPECT_STR(play("gb", 1, 1), "UD");
    EXPECT_STR(play("gbnbnb", 3, 2), "UuuuuD"); /* not tried neither counts nor resets */
}

TEST(rises_after_so_many_in_a_row)
{
    EXPECT_STR(play("bgg", 3, 2), "DdU");
    EXPECT_STR(play("bgbgg", 3, 2), "DdDdU");
    EXPECT_STR(play("bg", 3, 1), "DU");
    EXPECT_STR(play("bgw", 3, 2), "DdW");
    EXPECT_STR(play("bwg", 3, 2), "DdU");
    EXPECT_STR(play("bgng", 3, 2), "DddU");
}

TEST(counts_do_not_run_over)
{
    struct judge j = {.state = TARGET_UNKNOWN};
    for (int i = 0; i < 70000; i++)
        judge_count(&j, OUTCOME_CLASS_BAD, 3, 2);
    EXPECT(j.state == TARGET_DOWN && j.bad_in_row > 60000 && !judge_in_doubt(&j));
    judge_count(&j, OUTCOME_CLASS_GOOD, 3, 2);
    EXPECT(judge_in_doubt(&j));
    for (int i = 0; i < 70000; i++)
        judge_count(&j, OUTCOME_CLASS_GOOD, 3, 2);
    EXPECT(j.state == TARGET_UP && j.good_in_row > 60000 && !judge_in_doubt(&j));
}

TEST(warnings_show_at_once_while_up)
{
    EXPECT_STR(play("gwg", 3, 2), "UWU");
    EXPECT_STR(play("gwbbb", 3, 2), "UWwwD");
    EXPECT_STR(play("gwbg", 3, 2), "UWwU");
}

TEST(other_limits_decide_again_and_reset_nothing)
{
    struct judge j = {.state = TARGET_UNKNOWN};
    judge_count(&j, OUTCOME_CLASS_GOOD, 3, 2);
    judge_count(&j, OUTCOME_CLASS_BAD, 3, 2);
    judge_count(&j, OUTCOME_CLASS_BAD, 3, 2);
    EXPECT_INT(j.state, TARGET_UP);
    EXPECT(!judge_again(&j, 3, 2));
    EXPECT(judge_again(&j, 2, 2));
    EXPECT_INT(j.state, TARGET_DOWN);
    EXPECT(!judge_again(&j, 5, 2)); /* down stays down until it has risen */
    judge_count(&j, OUTCOME_CLASS_WARNING, 5, 3);
    EXPECT_INT(j.state, TARGET_DOWN);
    EXPECT(judge_again(&j, 5, 1));
    EXPECT_INT(j.state, TARGET_DEGRADED);
}

TEST(again_makes_nothing_of_the_unknown)
{
    struct judge j = {.state = TARGET_UNKNOWN};
    EXPECT(!judge_again(&j, 1, 1));
    EXPECT_INT(j.state, TARGET_UNKNOWN);
}

static struct target_conf conf = {.name = (char[]){"x"}, .max_age_ms = 1000};

TEST(age_makes_stale_when_it_is_read)
{
    struct target_view v = {.conf = &conf, .state = TARGET_UP, .checked_mono_ms = 5000};
    EXPECT_INT(target_state_at(&v, 5000), TARGET_UP);
    EXPECT_INT(target_state_at(&v, 6000), TARGET_UP);
    EXPECT_INT(target_state_at(&v, 6001), TARGET_STALE);
    v.state = TARGET_DOWN;
    EXPECT_INT(target_state_at(&v, 6001), TARGET_STALE);
    v.state = TARGET_UNKNOWN;
    EXPECT_INT(target_state_at(&v, 9999), TARGET_UNKNOWN);
}

TEST(verdict_by_importance_and_state)
{
    static const struct {
        enum importance importance;
        enum target_state state;
        enum verdict verdict;
    } table[] = {
        {IMPORTANCE_REQUIRED, TARGET_UNKNOWN, VERDICT_FAIL},
        {IMPORTANCE_REQUIRED, TARGET_UP, VERDICT_PASS},
        {IMPORTANCE_REQUIRED, TARGET_DEGRADED, VERDICT_WARN},
        {IMPORTANCE_REQUIRED, TARGET_DOWN, VERDICT_FAIL},
        {IMPORTANCE_REQUIRED, TARGET_STALE, VERDICT_FAIL},
        {IMPORTANCE_OPTIONAL, TARGET_UNKNOWN, VERDICT_WARN},
        {IMPORTANCE_OPTIONAL, TARGET_UP, VERDICT_PASS},
        {IMPORTANCE_OPTIONAL, TARGET_DEGRADED, VERDICT_WARN},
        {IMPORTANCE_OPTIONAL, TARGET_DOWN, VERDICT_WARN},
        {IMPORTANCE_OPTIONAL, TARGET_STALE, VERDICT_WARN},
        {IMPORTANCE_INFO, TARGET_UNKNOWN, VERDICT_PASS},
        {IMPORTANCE_INFO, TARGET_DEGRADED, VERDICT_PASS},
        {IMPORTANCE_INFO, TARGET_DOWN, VERDICT_PASS},
        {IMPORTANCE_INFO, TARGET_STALE, VERDICT_PASS},
    };
    struct target_view v = {.conf = &conf};
    for (size_t i = 0; i < sizeof table / sizeof table[0]; i++) {
        conf.importance = table[i].importance;
        if (!EXPECT_INT(verdict_of_target(&v, table[i].state), table[i].verdict))
            printf("# row %zu\n", i);
    }
    v.pending = true;
    conf.importance = IMPORTANCE_REQUIRED;
    EXPECT_INT(verdict_of_target(&v, TARGET_UNKNOWN), VERDICT_PASS);
}

TEST(own_faults_are_not_tried)
{
    static const int own[] = {EMFILE,        ENFILE, ENOMEM, ENOBUFS, ENETUNREACH,
                              EADDRNOTAVAIL, EACCES, EPERM,  EINVAL};
    static const int theirs[] = {ECONNREFUSED, ETIMEDOUT, EHOSTUNREACH, ECONNRESET};
    for (size_t i = 0; i < sizeof own / sizeof own[0]; i++)
        EXPECT_INT(outcome_class(outcome_of_errno(own[i])), OUTCOME_CLASS_NOT_TRIED);
    for (size_t i = 0; i < sizeof theirs / sizeof theirs[0]; i++)
        EXPECT_INT(outcome_class(outcome_of_errno(theirs[i])), OUTCOME_CLASS_BAD);
    EXPECT_INT(outcome_class(OUTCOME_DNS_TRY_AGAIN), OUTCOME_CLASS_NOT_TRIED); /* EAI_AGAIN */
    EXPECT_INT(outcome_class(OUTCOME_OWN_STALLED), OUTCOME_CLASS_NOT_TRIED);
    EXPECT_INT(outcome_class(OUTCOME_TLS_EXPIRES_SOON), OUTCOME_CLASS_WARNING);
}

TEST(outcome_tokens_are_distinct)
{
    for (int i = 0; i < OUTCOME_COUNT; i++) {
        EXPECT(outcome_token((enum outcome)i)[0] != '\0');
        EXPECT(outcome_sentence((enum outcome)i)[0] != '\0');
        for (int k = 0; k < i; k++)
            EXPECT(strcmp(outcome_token((enum outcome)i), outcome_token((enum outcome)k)) != 0);
    }
}

int main(void)
{
    RUN(first_outcome_decides);
    RUN(falls_after_so_many_in_a_row);
    RUN(rises_after_so_many_in_a_row);
    RUN(counts_do_not_run_over);
    RUN(warnings_show_at_once_while_up);
    RUN(other_limits_decide_again_and_reset_nothing);
    RUN(again_makes_nothing_of_the_unknown);
    RUN(age_makes_stale_when_it_is_read);
    RUN(verdict_by_importance_and_state);
    RUN(own_faults_are_not_tried);
    RUN(outcome_tokens_are_distinct);
    return testing_end();
}
