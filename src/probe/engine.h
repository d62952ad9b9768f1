/*
 * engine.h: what every probe has: a deadline, a phase, and exactly one end.
 *
 * A scheme that is not a byte dialogue fills a struct probe_ops; one that is uses stream_ops.
 * Owner: the engine frees a probe after probe_finish().
 * Threads: checker only.
 */
#ifndef HEALTHSVC_PROBE_ENGINE_H
#define HEALTHSVC_PROBE_ENGINE_H

#include <healthsvc/loop.h>
#include <healthsvc/probe.h>

#include <stdbool.h>

struct children;
struct keeper;
struct resolver;

struct probe_ops {
    size_t probe_size; /* of the struct that begins with struct probe; one allocation a probe */
    /* Begins. 0, or a negative errno: the probe is then freed and `done` never called. */
    int (*start)(struct probe *p);
    /* The deadline struck: true if it has finished the probe in words of its own; false leaves it
     * to be "timeout in PHASE". NULL: always that. */
    bool (*late)(struct probe *p);
    /* Releases whatever it holds (sockets, look-ups, TLS); called once, by the one finish. */
    void (*stop)(struct probe *p);
};

struct probe {
    struct engine *engine;
    const struct target_conf *conf;
    struct kept **kept; /* where the target's kept connection lies; NULL: it keeps none */
    probe_done_fn done;
    void *arg;
    struct loop_timer deadline;
    struct loop_garbage garbage;
    int64_t start_us, phase_start_us;
    uint64_t refusals; /* memory_refusals() at its start */
    bool starting;     /* inside ops->start: an end is delivered on the next turn */
    bool finished;
    struct probe_result result;
};

/* Enters a phase: set *before* the step, so that a deadline can say where it struck. */
void probe_enter(struct probe *p, enum probe_phase phase) REQUIRES(checker_role);
/* The one end: fills in times and text (text NULL or "": the outcome's sentence), stops the
 * scheme, calls `done`, frees. Asserts that it is the first. */
void probe_finish(struct probe *p, enum outcome outcome, const char *text) REQUIRES(checker_role);
void probe_finishf(struct probe *p, enum outcome outcome, const char *fmt, ...) PRINTF_LIKE(3, 4)
    REQUIRES(checker_role);

struct loop *engine_loop(const struct engine *engine);
struct resolver *engine_resolver(const struct engine *engine);
struct children *engine_children(const struct engine *engine);
struct keeper *engine_keeper(struct engine *engine);

extern const struct probe_ops stream_ops; /* stream.c */

/* Defines scheme_PLAIN and scheme_SECURED, which differ by port and by TLS from the first byte; what
 * follows are designators of what they share. */
#define SCHEME_PAIR(plain, plain_port, secured, secured_port, shared_flags, ...)  \
    extern const struct scheme scheme_##plain, scheme_##secured;                  \
    const struct scheme scheme_##plain = {.name = #plain,                         \
                                          .port = (plain_port),                   \
                                          .flags = (shared_flags),                \
                                          .ops = &stream_ops,                     \
                                          __VA_ARGS__};                           \
    const struct scheme scheme_##secured = {.name = #secured,                     \
                                            .port = (secured_port),               \
                                            .flags = (shared_flags) | SCHEME_TLS, \
                                            .ops = &stream_ops,                   \
                                            __VA_ARGS__}

#endif
