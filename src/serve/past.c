/* SPDX-License-Identifier: Apache-2.0
 *
 * serve/past: differences of counters, and a ring of them.
 */
#include "serve/past.h"

#include <math.h>

static const char *const names[EX_PAST_COUNTS] = {
    [EX_PAST_REQUESTS] = "requests",   [EX_PAST_REJECTED] = "rejected",
    [EX_PAST_SAMPLES] = "samples",     [EX_PAST_MACS] = "macs",
    [EX_PAST_FULL_MACS] = "full_macs", [EX_PAST_SHADOWED] = "shadowed",
    [EX_PAST_DISAGREED] = "disagreed", [EX_PAST_CROSSED] = "crossed",
    [EX_PAST_UPSTREAM] = "upstream",
};

static void read_counters(const struct ex_statistics *statistics, struct ex_second *out) {
  const atomic_llong *const counters[EX_PAST_COUNTS] = {
      [EX_PAST_REQUESTS] = &statistics->requests[EX_REQUEST_ANSWERED],
      [EX_PAST_REJECTED] = &statistics->requests[EX_REQUEST_REJECTED],
      [EX_PAST_SAMPLES] = &statistics->samples,
      [EX_PAST_MACS] = &statistics->macs,
      [EX_PAST_FULL_MACS] = &statistics->full_macs,
      [EX_PAST_SHADOWED] = &statistics->shadowed,
      [EX_PAST_DISAGREED] = &statistics->disagreed,
      [EX_PAST_UPSTREAM] = &statistics->upstream[EX_UPLINK_ANSWERED],
  };
  *out = (struct ex_second){.waiting = 0};
  for (int i = 0; i < EX_PAST_COUNTS; i++)
    if (counters[i] != NULL) out->count[i] = ex__counted(counters[i]);
  for (int i = 0; i < EX_UPLINK_ENDS; i++)
    out->count[EX_PAST_CROSSED] += ex__counted(&statistics->upstream[i]);
  for (int32_t p = 0; p < EX_MAX_POINTS; p++) out->exits[p] = ex__counted(&statistics->exits[p]);
}

void ex__past_note(struct ex_past *past, const struct ex_statistics *statistics, int32_t waiting) {
  struct ex_second now, *second = &past->second[past->n % EX_PAST_SECONDS];
  int64_t latency[EX_LATENCY_BUCKETS];
  read_counters(statistics, &now);
  for (int32_t i = 0; i < EX_LATENCY_BUCKETS; i++) {
    int64_t count = ex__counted(&statistics->latency[i]);
    latency[i] = count - past->latency_before[i];
    past->latency_before[i] = count;
  }
  *second = (struct ex_second){.p50 = ex__latency_quantile(latency, 0.5),
                               .p99 = ex__latency_quantile(latency, 0.99),
                               .waiting = waiting};
  for (int i = 0; i < EX_PAST_COUNTS; i++) second->count[i] = now.count[i] - past->before.count[i];
  for (int32_t p = 0; p < EX_MAX_POINTS; p++)
    second->exits[p] = now.exits[p] - past->before.exits[p];
  past->before = now;
  past->n++;
}

/* ---- as JSON ------------------------------------------------------------------- */

static void write_number(struct ex_text *json, bool first, double value) {
  if (isfinite(value))
    ex__text_add(json, first ? "%.6g" : ",%.6g", value);
  else
    ex__text_add(json, first ? "null" : ",null");
}

typedef double figure(const struct ex_second *second, int32_t which);
static double counted(const struct ex_second *second, int32_t which) {
  return (double)second->count[which];
}
static double left(const struct ex_second *second, int32_t which) {
  return (double)second->exits[which];
}
static double p50(const struct ex_second *second, int32_t which) {
  return (void)which, second->p50;
}
static double p99(const struct ex_second *second, int32_t which) {
  return (void)which, second->p99;
}
static double waiting(const struct ex_second *second, int32_t which) {
  return (void)which, (double)second->waiting;
}

/* [a figure of each second from `first` on] */
static void write_row(const struct ex_past *past, int64_t first, figure *of, int32_t which,
                      struct ex_text *json) {
  ex__text_add(json, "[");
  for (int64_t i = first; i < past->n; i++)
    write_number(json, i == first, of(&past->second[i % EX_PAST_SECONDS], which));
  ex__text_add(json, "]");
}

void ex__past_write(const struct ex_past *past, int64_t since, int32_t n_exits,
                    struct ex_text *json) {
  static const struct {
    const char *name;
    figure *of;
  } others[] = {{"p50", p50}, {"p99", p99}, {"waiting", waiting}};
  int64_t oldest = past->n > EX_PAST_SECONDS ? past->n - EX_PAST_SECONDS : 0;
  int64_t first = since > oldest ? since : oldest;
  ex__text_add(json, "\"first\":%lld", (long long)first);
  for (int i = 0; i < EX_PAST_COUNTS; i++) {
    ex__text_add(json, ",\"%s\":", names[i]);
    write_row(past, first, counted, i, json);
  }
  for (size_t i = 0; i < sizeof others / sizeof *others; i++) {
    ex__text_add(json, ",\"%s\":", others[i].name);
    write_row(past, first, others[i].of, 0, json);
  }
  ex__text_add(json, ",\"exits\":[");
  for (int32_t p = 0; p < n_exits; p++) {
    if (p > 0) ex__text_add(json, ",");
    write_row(past, first, left, p, json);
  }
  ex__text_add(json, "]");
}
