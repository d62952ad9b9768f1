/*
 * attr.h: compiler attributes by the names used in this project.
 *
 * The thread-safety ones are checked by clang's -Wthread-safety and vanish elsewhere. A thread's
 * role is a capability too: a function marked REQUIRES(checker_role) may only be called by code
 * that runs on the checker thread.
 */
#ifndef HEALTHSVC_ATTR_H
#define HEALTHSVC_ATTR_H

#define MUST_CHECK __attribute__((warn_unused_result))
#define PRINTF_LIKE(fmt, first) __attribute__((format(printf, fmt, first)))

#if defined(__clang__)
#define THREAD_ATTR(x) __attribute__((x))
#else
#define THREAD_ATTR(x)
#endif

#define CAPABILITY(name) THREAD_ATTR(capability(name))
#define GUARDED_BY(x) THREAD_ATTR(guarded_by(x))
#define REQUIRES(x) THREAD_ATTR(requires_capability(x))
#define ACQUIRE(x) THREAD_ATTR(acquire_capability(x))
#define ACQUIRE_SHARED(x) THREAD_ATTR(acquire_shared_capability(x))
#define RELEASE(x) THREAD_ATTR(release_capability(x))
#define RELEASE_SHARED(x) THREAD_ATTR(release_shared_capability(x))
#define EXCLUDES(x) THREAD_ATTR(locks_excluded(x))
#define ASSERT_CAPABILITY(x) THREAD_ATTR(assert_capability(x))
#define NO_THREAD_SAFETY_ANALYSIS THREAD_ATTR(no_thread_safety_analysis)

#endif
