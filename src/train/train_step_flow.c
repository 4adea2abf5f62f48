/* SPDX-License-Identifier: Apache-2.0
 *
 * train/train_step_flow: gradients on their way from a segment to another.
 *
 * A segment whose gradient is scaled, or goes on in some channels only, writes
 * it to a place of its own, and what goes on is then added to the port's
 * gradient; where nothing is there yet, and the scale is 1, it writes to the port
 * and the rest is wiped out. In the port's layout those channels are runs of elements, found once
 * by moving marks from the plain layout. What does not go on is told to the
 * program when it is compiled, which then need not compute it: stopped flows,
 * and of channels on both sides of a flow's range the longer part.
 */
#include "base/memory.h"
#include "train/train_step_internal.h"

/* Channels of a flow's value, and where its range ends. */
static int32_t channels_of(const ex_stepper *stepper, const struct ex_flow *flow, int32_t *to) {
  int32_t channels = ex__graph_node(stepper->net->graph, flow->value)->shape.dim[0];
  *to = flow->to > 0 && flow->to < channels ? flow->to : channels;
  return channels;
}

int32_t ex__stepper_find_blocked(const ex_stepper *stepper, int32_t index,
                                 struct ex_blocked blocked[EX_MAX_FLOWS]) {
  const struct ex_flows *flows = stepper->options.flows;
  int32_t n = 0;
  for (int32_t i = 0; flows != NULL && i < flows->n; i++) {
    const struct ex_flow *flow = &flows->flow[i];
    int32_t to, channels = channels_of(stepper, flow, &to);
    struct ex_blocked whole = {flow->value, 0, channels}, before = {flow->value, 0, flow->from},
                      behind = {flow->value, to, channels};
    struct ex_blocked longer = flow->from > channels - to ? before : behind;
    if (flow->scale == 0) longer = whole;
    if (flow->segment == index && longer.from < longer.to) blocked[n++] = longer;
  }
  return n;
}

/* Where `mark` is `wanted`; `runs` may be NULL. */
static int32_t find_runs(const ex_real *mark, int64_t n, ex_real wanted, struct neighbours *runs) {
  int32_t n_runs = 0;
  for (int64_t i = 0; i < n; i++) {
    if (mark[i] != wanted) continue;
    bool begins = i == 0 || mark[i - 1] != wanted;
    if (begins && runs != NULL) runs[n_runs] = (struct neighbours){i, 0};
    n_runs += begins;
    if (runs != NULL) runs[n_runs - 1].n++;
  }
  return n_runs;
}

static enum ex_status bind_runs(const struct segment *segment, const struct ex_flow *flow,
                                int64_t count, const ex_real *plain, ex_real *mark,
                                struct leak *leak) {
  ex__port_from_plain(segment->program, flow->value, 1, plain, mark);
  leak->n_runs = find_runs(mark, count, 1, NULL);
  leak->n_gaps = find_runs(mark, count, 0, NULL);
  leak->runs = ex__calloc((size_t)leak->n_runs + 1, sizeof *leak->runs);
  leak->gaps = ex__calloc((size_t)leak->n_gaps + 1, sizeof *leak->gaps);
  if (leak->runs == NULL || leak->gaps == NULL) return EX_ENOMEM;
  find_runs(mark, count, 1, leak->runs);
  find_runs(mark, count, 0, leak->gaps);
  return EX_OK;
}

enum ex_status ex__stepper_bind_flow(ex_stepper *stepper, const struct segment *segment,
                                     const struct ex_flow *flow, struct leak *leak,
                                     struct ex_error *err) {
  int32_t to, channels = channels_of(stepper, flow, &to);
  if (flow->scale == 1 && flow->from == 0 && to == channels) return EX_OK; /* as it is */
  int64_t count = ex__shape_count(&ex__graph_node(stepper->net->graph, flow->value)->shape);
  int64_t plane = count / channels;
  ex_real *plain = ex__calloc((size_t)count, sizeof *plain);
  ex_real *mark = ex__calloc((size_t)count, sizeof *mark);
  enum ex_status status = EX_ENOMEM;
  if (plain != NULL && mark != NULL) {
    for (int64_t i = flow->from * plane; i < to * plane; i++) plain[i] = 1;
    status = bind_runs(segment, flow, count, plain, mark, leak);
  }
  ex__free(plain);
  ex__free(mark);
  if (status != EX_OK)
    return ex__fail(err, status, "training: no memory for the flow of value %d", (int)flow->value);
  leak->scale = (ex_real)flow->scale;
  return ex__stepper_reserve(stepper, stepper->ports[flow->value].size, &leak->own, err);
}

ex_real *ex__stepper_leak_target(const struct leak *leak, const struct port *port) {
  return leak->own != NULL && (port->filled || leak->scale != 1) ? leak->own : port->grad;
}

/* Wipes out, over all samples, what does not go on. */
static void clear_gaps(const struct leak *leak, int64_t count, int32_t batch, ex_real *grad) {
  for (int32_t s = 0; s < batch; s++)
    for (int32_t r = 0; r < leak->n_gaps; r++) {
      ex_real *to = grad + s * count + leak->gaps[r].at;
      for (int64_t i = 0; i < leak->gaps[r].n; i++) to[i] = 0;
    }
}

void ex__stepper_pass_leak(const ex_stepper *stepper, const struct leak *leak, struct port *port) {
  int32_t batch = stepper->options.batch;
  int64_t count = port->size / batch;
  bool direct = ex__stepper_leak_target(leak, port) == port->grad;
  if (!port->filled) clear_gaps(leak, count, batch, port->grad);
  for (int32_t s = 0; s < batch && !direct; s++)
    for (int32_t r = 0; r < leak->n_runs; r++) {
      int64_t at = s * count + leak->runs[r].at, n = leak->runs[r].n;
      const ex_real *from = leak->own + at;
      ex_real *to = port->grad + at;
      if (port->filled)
        for (int64_t i = 0; i < n; i++) to[i] += leak->scale * from[i];
      else
        for (int64_t i = 0; i < n; i++) to[i] = leak->scale * from[i];
    }
  port->filled = true;
}
