/* What a line of the log looks like, whatever is in it. */
#include <healthsvc/log.h>

#include "../testing.h"

#include <errno.h>
#include <fcntl.h>
#include <sys/stat.h>
#include <unistd.h>

#define MESSAGE_AT 25 /* behind "2026-11-25T14:35:29.512Z " */

static char logged[8192];

/* What `level` and `text` come out as on standard error, which is a pipe meanwhile. */
static const char *log_one(enum log_level level, const char *text)
{
    int ends[2];
    int own = dup(STDERR_FILENO);
    ssize_t len = 0;
    if (EXPECT_INT(pipe2(ends, O_NONBLOCK), 0)) {
        (void)dup2(ends[1], STDERR_FILENO);
        close(ends[1]);
        log_line(level, "%s", text);
        (void)dup2(own, STDERR_FILENO);
        len = read(ends[0], logged, sizeof logged - 1);
        close(ends[0]);
    }
    close(own);
    logged[len > 0 ? len : 0] = '\0';
    return logged;
}

TEST(a_time_and_the_level)
{
    const char *line = log_one(LOG_LEVEL_NOTICE, "hello name=x");
    if (EXPECT_INT(strlen(line), MESSAGE_AT + strlen("hello name=x\n"))) {
        EXPECT(line[10] == 'T' && line[MESSAGE_AT - 2] == 'Z');
        EXPECT_STR(line + MESSAGE_AT, "hello name=x\n");
    }
    EXPECT_HAS(log_one(LOG_LEVEL_WARNING, "odd"), "Z warning: odd\n");
    EXPECT_HAS(log_one(LOG_LEVEL_ERROR, "bad"), "Z error: bad\n");
}

TEST(control_characters_are_dots)
{
    EXPECT_HAS(log_one(LOG_LEVEL_NOTICE, "one\nerror: two\r\033[31m\x7f\xc3\xa4"),
               "Z one.error: two..[31m.\xc3\xa4\n");
}

TEST(a_long_line_is_cut_and_still_ends)
{
    char text[5000];
    memset(text, 'x', sizeof text - 1);
    text[sizeof text - 1] = '\0';
    const char *line = log_one(LOG_LEVEL_NOTICE, text);
    EXPECT_INT(strlen(line), 2048);
    EXPECT_INT(strspn(line + MESSAGE_AT, "x"), 2047 - MESSAGE_AT);
    EXPECT_INT(line[2047], '\n');
}

TEST(who_logs_keeps_its_errno)
{
    int own = dup(STDERR_FILENO);
    close(STDERR_FILENO);
    errno = ERANGE;
    log_error("nobody reads this");
    EXPECT_INT(errno, ERANGE);
    (void)dup2(own, STDERR_FILENO);
    close(own);
}

TEST(the_journal_gets_a_priority)
{
    struct stat st;
    char stream[64];
    int own = dup(STDERR_FILENO);
    /* Another stream than standard error is no reason to believe that the journal reads it. */
    setenv("JOURNAL_STREAM", "1:1", 1);
    log_init();
    EXPECT_HAS(log_one(LOG_LEVEL_ERROR, "bad"), "Z error: bad\n");
    EXPECT_INT(fstat(STDERR_FILENO, &st), 0);
    (void)snprintf(stream, sizeof stream, "%ju:%ju", (uintmax_t)st.st_dev, (uintmax_t)st.st_ino);
    setenv("JOURNAL_STREAM", stream, 1);
    close(STDERR_FILENO); /* none at all */
    log_init();
    (void)dup2(own, STDERR_FILENO);
    close(own);
    EXPECT_HAS(log_one(LOG_LEVEL_ERROR, "bad"), "Z error: bad\n");
    log_init();
    EXPECT_STR(log_one(LOG_LEVEL_ERROR, "bad"), "<3>bad\n");
    EXPECT_STR(log_one(LOG_LEVEL_NOTICE, "good"), "<5>good\n");
}

int main(void)
{
    RUN(a_time_and_the_level);
    RUN(control_characters_are_dots);
    RUN(a_long_line_is_cut_and_still_ends);
    RUN(who_logs_keeps_its_errno);
    RUN(the_journal_gets_a_priority);
    return testing_end();
}
