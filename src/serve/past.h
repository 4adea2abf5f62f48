/* SPDX-License-Identifier: Apache-2.0
 *
 * serve/past: the last ten minutes of a model's name, second by second, so that
 * the dashboard has something to show as soon as it is opened.
 */
#ifndef EX_SERVE_PAST_H
#define EX_SERVE_PAST_H

#include "base/text.h"
#include "serve/statistics.h"

enum { EX_PAST_SECONDS = 600 };

/* What is counted in each second, beside exits; past.c names them. */
enum ex_past_count {
  EX_PAST_REQUESTS, /* answered */
  EX_PAST_REJECTED,
  EX_PAST_SAMPLES,
  EX_PAST_MACS,
  EX_PAST_FULL_MACS,
  EX_PAST_SHADOWED,
  EX_PAST_DISAGREED,
  EX_PAST_CROSSED,  /* samples that should have gone on upstream */
  EX_PAST_UPSTREAM, /* of these, that were answered there */
  EX_PAST_COUNTS
};

/* What came in one second. */
struct ex_second {
  int64_t count[EX_PAST_COUNTS], exits[EX_MAX_POINTS];
  double p50, p99; /* seconds; NaN: no requests */
  int32_t waiting; /* at its end */
};

struct ex_past {
  int64_t n; /* seconds noted since the start; the last EX_PAST_SECONDS are here */
  struct ex_second second[EX_PAST_SECONDS];
  struct ex_second before; /* counters at the end of the last second */
  int64_t latency_before[EX_LATENCY_BUCKETS];
};

/* Once a second, by one thread; the caller keeps readers out. */
void ex__past_note(struct ex_past *past, const struct ex_statistics *statistics, int32_t waiting);
/* Members "first" and one array for each figure, of the seconds from `since` on
 * that are still here, with commas between; n_exits of the model. */
void ex__past_write(const struct ex_past *past, int64_t since, int32_t n_exits,
                    struct ex_text *json);

#endif
