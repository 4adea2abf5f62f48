/* SPDX-License-Identifier: Apache-2.0
 *
 * net/net_lane: one thread's running of the stages.
 *
 * A lone sample runs on its state in place. Several are split into the largest
 * compiled sizes; their ports are gathered, run, and scattered back, which
 * costs 2 to 4 % of a stage and makes it irrelevant where a sample's state
 * lies and who its neighbours are. Outputs of heads and gates are vectors,
 * whose ports are plain.
 */
#include <string.h>

#include "base/memory.h"
#include "net/net_run_internal.h"

static int32_t most_ports(const ex_compiled *compiled) {
  int32_t most = 1;
  for (int32_t s = 0; s < compiled->n_segments; s++) {
    if (compiled->segments[s].n_in > most) most = compiled->segments[s].n_in;
    if (compiled->segments[s].n_out > most) most = compiled->segments[s].n_out;
  }
  return most;
}

static enum ex_status reserve(ex_lane *lane, struct ex_error *err) {
  const ex_compiled *compiled = lane->compiled;
  size_t ports = (size_t)most_ports(compiled);
  lane->transient = ex__calloc((size_t)compiled->transient_bytes, 1);
  lane->gather = ex__calloc((size_t)compiled->gather_size, sizeof *lane->gather);
  lane->in = ex__calloc(ports, sizeof *lane->in);
  lane->out = ex__calloc(ports, sizeof *lane->out);
  lane->own_state = ex__calloc((size_t)compiled->state_size, sizeof *lane->own_state);
  lane->own_output = ex__calloc((size_t)compiled->net->n_outputs, sizeof *lane->own_output);
  if (lane->transient == NULL || lane->gather == NULL || lane->in == NULL || lane->out == NULL ||
      lane->own_state == NULL || lane->own_output == NULL)
    return ex__fail(err, EX_ENOMEM, "net: no memory to run it");
  for (int32_t s = 0; s < compiled->n_segments; s++)
    for (int32_t k = 0; k < compiled->n_sizes; k++)
      if (compiled->segments[s].program[k] != NULL)
        EX_TRY(
            ex__run_new(compiled->segments[s].program[k], lane->transient, &lane->run[s][k], err));
  return EX_OK;
}

enum ex_status ex__lane_new(const ex_compiled *compiled, ex_lane **out, struct ex_error *err) {
  *out = NULL;
  ex_lane *lane = ex__calloc(1, sizeof *lane);
  if (lane == NULL) return ex__fail(err, EX_ENOMEM, "net: no memory to run it");
  lane->compiled = compiled;
  enum ex_status status = reserve(lane, err);
  if (status == EX_OK)
    *out = lane;
  else
    ex__lane_free(lane);
  return status;
}

void ex__lane_free(ex_lane *lane) {
  if (lane == NULL) return;
  for (int32_t s = 0; s < EX_MAX_SEGMENTS_OF_NET; s++)
    for (int32_t k = 0; k < EX_MICRO_SIZES; k++) ex__run_free(lane->run[s][k]);
  ex__free(lane->transient);
  ex__free(lane->gather);
  ex__free(lane->in);
  ex__free(lane->out);
  ex__free(lane->own_state);
  ex__free(lane->own_output);
  ex__free(lane);
}

/* ---- one call of a program ------------------------------------------------ */

static void copy(ex_real *to, const ex_real *from, int64_t n) {
  memcpy(to, from, (size_t)n * sizeof *to);
}

static void gather(const ex_lane *lane, const struct port *port, ex_real *const *state, int32_t n) {
  for (int32_t i = 0; i < n; i++)
    copy(lane->gather + port->gather + i * port->size, state[i] + port->state, port->size);
}

static void scatter(const ex_lane *lane, const struct port *port, ex_real *const *state,
                    int32_t n) {
  for (int32_t i = 0; i < n; i++)
    copy(state[i] + port->state, lane->gather + port->gather + i * port->size, port->size);
}

/* Runs 1 << k samples; `result` [1 << k][size], or NULL, receives the value `wanted`. */
static void run_size(ex_lane *lane, int32_t s, int32_t k, ex_real *const *state, int32_t wanted,
                     ex_real *result) {
  const struct segment *segment = &lane->compiled->segments[s];
  int32_t n = 1 << k;
  for (int32_t i = 0; i < segment->n_in; i++) {
    const struct port *port = &segment->in[i];
    if (n > 1) gather(lane, port, state, n);
    lane->in[i] = n > 1 ? lane->gather + port->gather : state[0] + port->state;
  }
  for (int32_t i = 0; i < segment->n_out; i++) {
    const struct port *port = &segment->out[i];
    bool in_place = n == 1 && port->state >= 0;
    lane->out[i] = in_place ? state[0] + port->state : lane->gather + port->gather;
  }
  ex__run_forward(lane->run[s][k], NULL, lane->in, lane->out);
  for (int32_t i = 0; i < segment->n_out; i++) {
    const struct port *port = &segment->out[i];
    if (n > 1 && port->state >= 0) scatter(lane, port, state, n);
    if (result != NULL && port->value == wanted) copy(result, lane->out[i], n * port->size);
  }
}

/* `width`: elements of the wanted value per sample. */
static void run(ex_lane *lane, int32_t stage, enum ex_part part, ex_real *const *state, int32_t n,
                int32_t wanted, ex_real *result, int32_t width) {
  int32_t s = ex__net_segment(stage, part);
  if (lane->compiled->segments[s].program[0] == NULL) return; /* a stage may have no body */
  for (int32_t at = 0; at < n;) {
    int32_t k = lane->compiled->n_sizes - 1;
    while (1 << k > n - at) k--;
    run_size(lane, s, k, state + at, wanted, result != NULL ? result + (int64_t)at * width : NULL);
    at += 1 << k;
  }
}

/* ---- the interface -------------------------------------------------------- */

void ex__lane_input(const ex_lane *lane, const ex_real *x, ex_real *state) {
  const ex_compiled *compiled = lane->compiled;
  if (compiled->input_state >= 0)
    copy(state + compiled->input_state, x, ex__shape_count(&compiled->net->input));
}

void ex__lane_body(ex_lane *lane, int32_t stage, ex_real *const *state, int32_t n) {
  run(lane, stage, EX_PART_BODY, state, n, -1, NULL, 0);
}

void ex__lane_head(ex_lane *lane, int32_t point, ex_real *const *state, int32_t n,
                   ex_real *output) {
  const ex_net *net = lane->compiled->net;
  run(lane, net->points[point].stage, EX_PART_HEAD, state, n, net->points[point].output, output,
      net->n_outputs);
}

void ex__lane_gate(ex_lane *lane, int32_t point, ex_real *const *state, int32_t n, ex_real *score) {
  const struct ex_point *p = &lane->compiled->net->points[point];
  run(lane, p->stage, EX_PART_GATE, state, n, p->gate, score, 1);
}

int64_t ex__lane_executed_macs(const ex_lane *lane) {
  int64_t macs = 0;
  for (int32_t s = 0; s < lane->compiled->n_segments; s++)
    for (int32_t k = 0; k < lane->compiled->n_sizes; k++)
      if (lane->run[s][k] != NULL) macs += ex__run_executed_macs(lane->run[s][k]);
  return macs;
}
