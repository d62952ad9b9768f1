/*
 * exec: a command that says by its exit code how things are, as monitoring plugins do: 0 good,
 * 1 warning, 2 critical, 3 unknown (Monitoring Plugins Development Guidelines, "Plugin Return
 * Codes"). Its first line of output, up to the '|' before the performance data, is the reason;
 * the performance data goes with the result.
 *
 * An exit code that means nothing, an end by a signal, a command that cannot be run: all these say
 * something about the command and nothing about what it was to ask, so they count as not tried. A
 * command that does not come to an end in time is bad: it may well be waiting for what it asks.
 */
#include "probe/children.h"
#include "probe/engine.h"

#include <healthsvc/config.h>
#include <healthsvc/perfdata.h>
#include <healthsvc/region.h>
#include <healthsvc/strbuf.h>
#include <healthsvc/units.h>

#include <errno.h>
#include <string.h>
#include <sys/wait.h>

#define TEXT_MAX_BYTES 150

enum plugin_code {
    PLUGIN_OK = 0,
    PLUGIN_WARNING,
    PLUGIN_CRITICAL,
    PLUGIN_UNKNOWN,
};

struct exec_conf {
    char **argv;
};

struct exec_probe {
    struct probe probe; /* first */
    struct child_wait wait;
    bool waited;         /* for others to end: it had less than the whole time */
    struct child *child; /* NULL: not running */
};

static int exec_prepare(struct target_conf *conf, struct strbuf *why)
{
    struct exec_conf *exec = conf->scheme_conf;
    size_t count = 1;
    if (conf->exec[0] != '/') {
        strbuf_adds(why, "'exec': the command must be an absolute path");
        return -EINVAL;
    }
    for (const char *p = conf->exec; *p != '\0'; p++)
        count += *p == '\n';
    char *word = region_copy_text(conf->owner->region, conf->exec);
    exec->argv = region_alloc(conf->owner->region, (count + 1) * sizeof exec->argv[0]);
    if (word == NULL || exec->argv == NULL)
        return -ENOMEM;
    for (size_t i = 0; i < count; i++) {
        exec->argv[i] = word;
        word += strcspn(word, "\n");
        *word++ = '\0';
    }
    return 0;
}

/* The first line's words for people. */
static void add_words(struct strbuf *text, const char *output, size_t len)
{
    size_t end = 0;
    while (end < len && output[end] != '\n' && output[end] != '\r' && output[end] != '|')
        end++;
    while (end > 0 && output[end - 1] == ' ')
        end--;
    strbuf_add_printable(text, output, end, TEXT_MAX_BYTES);
}

/* A result that says nothing about what was to be asked. */
static void finish_failed(struct exec_probe *e, const char *what, int number, const char *output,
                          size_t len) REQUIRES(checker_role)
{
    struct strbuf text;
    strbuf_init(&text, OUTCOME_TEXT_BYTES);
    strbuf_addf(&text, "command failed: %s %d", what, number);
    if (len > 0) {
        strbuf_adds(&text, ": ");
        add_words(&text, output, len);
    }
    probe_finish(&e->probe, OUTCOME_OWN_ERROR, text.data);
    strbuf_done(&text);
}

static void finish_said(struct exec_probe *e, enum outcome outcome, const char *output, size_t len)
    REQUIRES(checker_role)
{
    struct strbuf text;
    strbuf_init(&text, OUTCOME_TEXT_BYTES);
    add_words(&text, output, len);
    e->probe.result.perfdata = perfdata_parse(output, len, len == CHILD_OUTPUT_BYTES);
    probe_finish(&e->probe, outcome, text.data);
    strbuf_done(&text);
}

static void on_ended(void *arg, int status, const char *output, size_t len)
{
    checker_role_assert();
    struct exec_probe *e = arg;
    e->child = NULL;
    if (!WIFEXITED(status)) {
        finish_failed(e, "killed by signal", WTERMSIG(status), output, len);
        return;
    }
    switch (WEXITSTATUS(status)) {
    case PLUGIN_OK:
        finish_said(e, OUTCOME_OK, output, len);
        break;
    case PLUGIN_WARNING:
        finish_said(e, OUTCOME_WARNING, output, len);
        break;
    case PLUGIN_CRITICAL:
        finish_said(e, OUTCOME_CRITICAL, output, len);
        break;
    case PLUGIN_UNKNOWN:
        finish_said(e, OUTCOME_OWN_ERROR, output, len);
        break;
    default:
        finish_failed(e, "exit code", WEXITSTATUS(status), output, len);
        break;
    }
}

static void run(struct exec_probe *e) REQUIRES(checker_role)
{
    const struct exec_conf *exec = e->probe.conf->scheme_conf;
    probe_enter(&e->probe, PROBE_PHASE_EXCHANGE);
    int err = child_start(engine_children(e->probe.engine), exec->argv, on_ended, e, &e->child);
    if (err == 0)
        return;
    enum outcome outcome = outcome_of_errno(err);
    if (outcome_class(outcome) != OUTCOME_CLASS_NOT_TRIED)
        outcome = OUTCOME_OWN_ERROR;
    struct strbuf text;
    strbuf_init(&text, OUTCOME_TEXT_BYTES);
    strbuf_adds(&text, "cannot run ");
    strbuf_add_printable(&text, exec->argv[0], strlen(exec->argv[0]), 100);
    strbuf_addf(&text, ": %s", strerror(err));
    probe_finish(&e->probe, outcome, text.data);
    strbuf_done(&text);
}

static void end_within(struct exec_probe *e, int64_t ms) REQUIRES(checker_role)
{
    struct probe *p = &e->probe;
    loop_timer_set(engine_loop(p->engine), &p->deadline, p->start_us / 1000 + ms);
}

static void on_ready(struct child_wait *w)
{
    checker_role_assert();
    struct exec_probe *e = (struct exec_probe *)((char *)w - offsetof(struct exec_probe, wait));
    end_within(e, e->probe.conf->timeout_ms);
    run(e);
}

static int exec_start(struct probe *p)
{
    checker_role_assert();
    struct exec_probe *e = (struct exec_probe *)p;
    e->wait.ready = on_ready;
    e->waited = !children_may_start(engine_children(p->engine), &e->wait);
    /* With most of its time gone a command would be started only to be killed, and so would all
     * that wait behind it: the turn is for one that can make use of it. */
    if (e->waited)
        end_within(e, p->conf->timeout_ms / 2);
    else
        run(e);
    return 0;
}

static bool exec_late(struct probe *p)
{
    checker_role_assert();
    const struct exec_probe *e = (const struct exec_probe *)p;
    if (!e->waited)
        return false;
    probe_finishf(p, OUTCOME_OWN_ERROR, "no time left: %d other commands were running",
                  CHILDREN_MAX);
    return true;
}

static void exec_stop(struct probe *p)
{
    checker_role_assert();
    struct exec_probe *e = (struct exec_probe *)p;
    children_cancel(engine_children(p->engine), &e->wait);
    if (e->child != NULL)
        child_abandon(e->child);
    e->child = NULL;
}

static const struct probe_ops exec_ops = {
    .probe_size = sizeof(struct exec_probe),
    .start = exec_start,
    .late = exec_late,
    .stop = exec_stop,
};

extern const struct scheme scheme_exec;

const struct scheme scheme_exec = {
    .name = "exec",
    .flags = SCHEME_COMMAND,
    .conf_size = sizeof(struct exec_conf),
    .prepare = exec_prepare,
    .ops = &exec_ops,
};
