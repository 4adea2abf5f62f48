/* SPDX-License-Identifier: Apache-2.0
 *
 * serve/statistics: what is counted for a model's name, from the start on, over
 * reloads. Every counter only grows; readers take differences.
 */
#ifndef EX_SERVE_STATISTICS_H
#define EX_SERVE_STATISTICS_H

#include <stdatomic.h>

#include "engine/pipeline.h"
#include "serve/uplink.h"

/* Latencies fall into buckets whose upper edges are 1, 1.25, 1.6, 2, 2.5, 3.15, 4,
 * 5, 6.3 and 8 times a power of ten, from 10 µs; the last has no upper edge. */
enum { EX_LATENCY_PER_DECADE = 10, EX_LATENCY_DECADES = 7, EX_LATENCY_BUCKETS = 71 };

enum ex_request_end {
  EX_REQUEST_ANSWERED,
  EX_REQUEST_WRONG,    /* the request's fault: 400, 404, … */
  EX_REQUEST_REJECTED, /* no room: 503 */
  EX_REQUEST_LATE,     /* its deadline passed before the first exit: 504 */
  EX_REQUEST_FAILED,
  EX_REQUEST_ENDS
};

struct ex_statistics {
  atomic_llong requests[EX_REQUEST_ENDS];
  atomic_llong latency[EX_LATENCY_BUCKETS], latency_ns; /* of requests answered */
  atomic_llong samples, hurried;                        /* answered; by their deadline */
  atomic_llong exits[EX_MAX_POINTS];                    /* samples by the exit that answered */
  atomic_llong macs, full_macs;     /* spent on them; and what full depth would have taken */
  atomic_llong confidence_1e6;      /* sum over samples, in millionths */
  atomic_llong shadowed, disagreed; /* went on to full depth unseen; other label there */
  atomic_llong reloads, failed_reloads;
  atomic_llong upstream[EX_UPLINK_ENDS], upstream_bytes; /* samples that crossed; bytes of them */
  atomic_llong upstream_ns;                              /* until those that were answered were */
};

int32_t ex__latency_bucket(int64_t ns);
double ex__latency_edge(int32_t bucket); /* seconds; the last's: infinity */
/* Seconds that a share of the counts lies below, by the bucket's upper edge; NaN: none. */
double ex__latency_quantile(const int64_t counts[EX_LATENCY_BUCKETS], double share);

void ex__statistics_request(struct ex_statistics *statistics, enum ex_request_end end, int64_t ns);
/* An answer that a client is given. */
void ex__statistics_answer(struct ex_statistics *statistics,
                           const struct ex_pipeline_answer *answer, int64_t full_macs);

static inline void ex__count(atomic_llong *counter, int64_t n) {
  atomic_fetch_add_explicit(counter, n, memory_order_relaxed);
}
static inline int64_t ex__counted(const atomic_llong *counter) {
  return atomic_load_explicit(counter, memory_order_relaxed);
}

#endif
