/* SPDX-License-Identifier: Apache-2.0
 *
 * serve/statistics: counting, without a lock.
 */
#include "serve/statistics.h"

#include <math.h>

static const double steps[EX_LATENCY_PER_DECADE] = {1, 1.25, 1.6, 2, 2.5, 3.15, 4, 5, 6.3, 8};

double ex__latency_edge(int32_t bucket) {
  if (bucket >= EX_LATENCY_BUCKETS - 1) return INFINITY;
  double decade = 1e-5;
  for (int32_t i = bucket / EX_LATENCY_PER_DECADE; i > 0; i--) decade *= 10;
  return steps[bucket % EX_LATENCY_PER_DECADE] * decade;
}

int32_t ex__latency_bucket(int64_t ns) {
  double seconds = (double)ns / 1e9;
  int32_t low = 0, high = EX_LATENCY_BUCKETS - 1; /* the first whose edge is not below */
  while (low < high) {
    int32_t middle = (low + high) / 2;
    if (seconds <= ex__latency_edge(middle))
      high = middle;
    else
      low = middle + 1;
  }
  return low;
}

double ex__latency_quantile(const int64_t counts[EX_LATENCY_BUCKETS], double share) {
  int64_t n = 0, below = 0;
  for (int32_t i = 0; i < EX_LATENCY_BUCKETS; i++) n += counts[i];
  if (n == 0) return NAN;
  for (int32_t i = 0; i < EX_LATENCY_BUCKETS - 1; i++) {
    below += counts[i];
    if ((double)below >= share * (double)n) return ex__latency_edge(i);
  }
  return ex__latency_edge(EX_LATENCY_BUCKETS - 2);
}

void ex__statistics_request(struct ex_statistics *statistics, enum ex_request_end end, int64_t ns) {
  ex__count(&statistics->requests[end], 1);
  if (end != EX_REQUEST_ANSWERED) return;
  ex__count(&statistics->latency[ex__latency_bucket(ns)], 1);
  ex__count(&statistics->latency_ns, ns);
}

void ex__statistics_answer(struct ex_statistics *statistics,
                           const struct ex_pipeline_answer *answer, int64_t full_macs) {
  if (answer->status != EX_OK) return;
  ex__count(&statistics->samples, 1);
  if (answer->hurried) ex__count(&statistics->hurried, 1);
  ex__count(&statistics->exits[answer->result.exit], 1);
  ex__count(&statistics->macs, answer->result.macs);
  ex__count(&statistics->full_macs, full_macs);
  ex__count(&statistics->confidence_1e6, (int64_t)(answer->result.confidence * 1e6));
}
