/* SPDX-License-Identifier: Apache-2.0
 *
 * serve/past: differences of counters, and a ring of them.
 */
#include "serve/past.h"

#include <math.h>

static void read_counters(const struct ex_statistics *statistics, struct ex_second *out) {
  out->requests = ex__counted(&statistics->requests[EX_REQUEST_ANSWERED]);
  out->rejected = ex__counted(&statistics->requests[EX_REQUEST_REJECTED]);
  out->samples = ex__counted(&statistics->samples);
  out->macs = ex__counted(&statistics->macs);
  out->full_macs = ex__counted(&statistics->full_macs);
  out->shadowed = ex__counted(&statistics->shadowed);
  out->disagreed = ex__counted(&statistics->disagreed);
  for (int32_t p = 0; p < EX_MAX_POINTS; p++) out->exits[p] = ex__counted(&statistics->exits[p]);
}

void ex__past_note(struct ex_past *past, const struct ex_statistics *statistics, int32_t waiting) {
  struct ex_second now, *second = &past->second[past->n % EX_PAST_SECONDS];
  const struct ex_second *before = &past->before;
  int64_t latency[EX_LATENCY_BUCKETS];
  read_counters(statistics, &now);
  for (int32_t i = 0; i < EX_LATENCY_BUCKETS; i++) {
    int64_t count = ex__counted(&statistics->latency[i]);
    latency[i] = count - past->latency_before[i];
    past->latency_before[i] = count;
  }
  *second = (struct ex_second){.requests = now.requests - before->requests,
                               .rejected = now.rejected - before->rejected,
                               .samples = now.samples - before->samples,
                               .macs = now.macs - before->macs,
                               .full_macs = now.full_macs - before->full_macs,
                               .shadowed = now.shadowed - before->shadowed,
                               .disagreed = now.disagreed - before->disagreed,
                               .p50 = ex__latency_quantile(latency, 0.5),
                               .p99 = ex__latency_quantile(latency, 0.99),
                               .waiting = waiting};
  for (int32_t p = 0; p < EX_MAX_POINTS; p++) second->exits[p] = now.exits[p] - before->exits[p];
  past->before = now;
  past->n++;
}

static void write_number(struct ex_text *json, bool first, double value) {
  if (isfinite(value))
    ex__text_add(json, first ? "%.6g" : ",%.6g", value);
  else
    ex__text_add(json, first ? "null" : ",null");
}

static double figure(const struct ex_second *second, int32_t which) {
  switch (which) {
    case 0: return (double)second->requests;
    case 1: return (double)second->rejected;
    case 2: return (double)second->samples;
    case 3: return (double)second->macs;
    case 4: return (double)second->full_macs;
    case 5: return (double)second->shadowed;
    case 6: return (double)second->disagreed;
    case 7: return second->p50;
    case 8: return second->p99;
    case 9: return (double)second->waiting;
    default: return (double)second->exits[which - 10];
  }
}

void ex__past_write(const struct ex_past *past, int64_t since, int32_t n_exits,
                    struct ex_text *json) {
  static const char *const names[] = {"requests", "rejected",  "samples", "macs", "full_macs",
                                      "shadowed", "disagreed", "p50",     "p99",  "waiting"};
  int64_t oldest = past->n > EX_PAST_SECONDS ? past->n - EX_PAST_SECONDS : 0;
  int64_t first = since > oldest ? since : oldest;
  ex__text_add(json, "\"first\":%lld", (long long)first);
  for (int32_t which = 0; which < 10 + n_exits; which++) {
    if (which < 10)
      ex__text_add(json, ",\"%s\":[", names[which]);
    else
      ex__text_add(json, which == 10 ? ",\"exits\":[[" : ",[");
    for (int64_t i = first; i < past->n; i++)
      write_number(json, i == first, figure(&past->second[i % EX_PAST_SECONDS], which));
    ex__text_add(json, "]");
  }
  ex__text_add(json, "]");
}
