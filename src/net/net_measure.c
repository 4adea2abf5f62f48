/* SPDX-License-Identifier: Apache-2.0
 *
 * net/net_measure: nanoseconds of each body, head and gate, one sample at a
 * time. Medians, since the machine has other work too.
 */
#include <stdlib.h>

#include "base/clock.h"
#include "net/net_run_internal.h"

struct samples {
  int64_t ns[EX_MAX_SEGMENTS_OF_NET][EX_MAX_ROUNDS];
};

static int compare(const void *left, const void *right) {
  const int64_t *a = left, *b = right;
  return (*a > *b) - (*a < *b);
}

static int64_t median(int64_t *values, int32_t n) {
  qsort(values, (size_t)n, sizeof *values, compare);
  return values[n / 2];
}

static int64_t time_part(ex_lane *lane, int32_t stage, int32_t point, enum ex_part part) {
  ex_real score;
  int64_t start = ex__now_ns();
  if (part == EX_PART_BODY)
    ex__lane_body(lane, stage, &lane->own_state, 1);
  else if (part == EX_PART_HEAD)
    ex__lane_head(lane, point, &lane->own_state, 1, lane->own_output);
  else
    ex__lane_gate(lane, point, &lane->own_state, 1, &score);
  return ex__now_ns() - start;
}

/* One run through the whole net; every time goes to column `round`. */
static void run_round(ex_lane *lane, const ex_real *x, int32_t round, struct samples *samples) {
  const ex_net *net = lane->compiled->net;
  ex__lane_input(lane, x, lane->own_state);
  for (int32_t stage = 0; stage < net->n_stages; stage++) {
    int32_t point = ex__net_point_of(net, stage);
    for (int32_t part = 0; part < EX_N_PARTS; part++) {
      bool exists = part == EX_PART_BODY || (point >= 0 && part == EX_PART_HEAD) ||
                    (point >= 0 && net->points[point].gate >= 0);
      samples->ns[ex__net_segment(stage, (enum ex_part)part)][round] =
          exists ? time_part(lane, stage, point, (enum ex_part)part) : 0;
    }
  }
}

void ex__lane_measure(ex_lane *lane, const ex_real *x, int32_t rounds, struct ex_cost *cost) {
  const ex_net *net = lane->compiled->net;
  struct samples samples;
  if (rounds < 1) rounds = 1;
  if (rounds > EX_MAX_ROUNDS) rounds = EX_MAX_ROUNDS;
  run_round(lane, x, 0, &samples); /* warms caches; written over */
  for (int32_t round = 0; round < rounds; round++) run_round(lane, x, round, &samples);
  for (int32_t stage = 0; stage < net->n_stages; stage++) {
    int64_t(*of)[EX_MAX_ROUNDS] = &samples.ns[ex__net_segment(stage, EX_PART_BODY)];
    cost->body_ns[stage] = median(of[EX_PART_BODY], rounds);
    int32_t point = ex__net_point_of(net, stage);
    if (point < 0) continue;
    cost->head_ns[point] = median(of[EX_PART_HEAD], rounds);
    cost->gate_ns[point] = median(of[EX_PART_GATE], rounds);
  }
}
