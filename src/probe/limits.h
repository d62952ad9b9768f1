/*
 * limits.h: what a good answer may still lack: days of its certificate, and speed.
 *
 * Threads: any (pure; the clock is an argument).
 */
#ifndef HEALTHSVC_PROBE_LIMITS_H
#define HEALTHSVC_PROBE_LIMITS_H

#include <healthsvc/probe.h>

/* Judges an end that is good or a warning by `conf` (cert_warn, cert_fail, time_warn, time_fail);
 * `result` has its times and its certificate's end. Returns `outcome` if it stays, else the worse
 * one with words in ret_text. */
enum outcome limits_judge(const struct target_conf *conf, const struct probe_result *result,
                          enum outcome outcome, int64_t now_wall_s,
                          char ret_text[OUTCOME_TEXT_BYTES]);

#endif
