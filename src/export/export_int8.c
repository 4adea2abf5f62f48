/* SPDX-License-Identifier: Apache-2.0
 *
 * export/export_int8: the arithmetic of 8-bit numbers, and the ranges of all values.
 *
 * The network runs on the inputs that it is given by the operators' readable twins,
 * and the least and largest number of every value is kept. Layers that only move or
 * compare numbers keep the scale of their input.
 */
#include "export/export_int8.h"

#include <math.h>

#include "base/memory.h"

/* ---- numbers ---------------------------------------------------------------- */

struct ex_quantum ex__quantum_of(double least, double most) {
  struct ex_quantum quantum;
  least = fmin(least, 0);
  most = fmax(most, 0);
  quantum.scale = most > least ? (most - least) / 255 : 1;
  quantum.zero = (int32_t)fmin(fmax(round(-128 - least / quantum.scale), -128), 127);
  return quantum;
}

int32_t ex__quantum_store(const struct ex_quantum *quantum, double real) {
  return (int32_t)fmin(fmax(round(real / quantum->scale) + quantum->zero, -128), 127);
}

struct ex_multiplier ex__multiplier_of(double factor) {
  int exponent;
  double fraction = frexp(factor, &exponent); /* [½, 1) */
  struct ex_multiplier m = {(int32_t)fmin(round(fraction * 0x1p31), INT32_MAX), 31 - exponent};
  if (m.shift > 62) { /* too small to matter: every sum becomes 0 or nearly so */
    m.multiplier = m.shift < 62 + 31 ? m.multiplier >> (m.shift - 62) : 0;
    m.shift = 62;
  }
  if (m.shift < 1) m = (struct ex_multiplier){INT32_MAX, 1};
  return m;
}

/* ---- ranges ------------------------------------------------------------------ */

struct range {
  double least, most;
};

/* The network by its twins, one input at a time. */
struct twin {
  const struct ex_export_plan *plan;
  ex_real **value; /* [n_nodes]; NULL: not run */
  void *workspace; /* large enough for any */
  struct range *range;
  int32_t n;
};

static bool runs(const struct ex_export_plan *plan, int32_t id) {
  return ex__export_runs(plan, ex__graph_node(plan->net->graph, id));
}

static void describe_call(const struct twin *twin, int32_t id, struct ex_op_call *call) {
  const ex_graph *graph = twin->plan->net->graph;
  const struct ex_node *node = ex__graph_node(graph, id);
  *call = (struct ex_op_call){
      .node = node, .batch = 1, .out = twin->value[id], .workspace = twin->workspace};
  for (int32_t k = 0; k < node->n_in; k++) {
    call->in[k] = twin->value[node->in[k]];
    call->in_shape[k] = &ex__graph_node(graph, node->in[k])->shape;
  }
  /* Twins read their tensors alone; the type is shared with training, which moves them. */
  for (int32_t t = 0; t < node->n_tensors; t++) {
    bool buffer = ex__graph_tensor(graph, node->tensor[t])->role == EX_ROLE_BUFFER;
    call->tensor[t] = ex__slabs_tensor(buffer ? twin->plan->net->buffers : twin->plan->net->params,
                                       graph, node->tensor[t]);
  }
}

static enum ex_status open_twin(struct twin *twin, struct ex_error *err) {
  size_t workspace = 0;
  twin->n = ex__graph_n_nodes(twin->plan->net->graph);
  twin->value = ex__calloc((size_t)twin->n, sizeof *twin->value);
  twin->range = ex__calloc((size_t)twin->n, sizeof *twin->range);
  bool whole = twin->value != NULL && twin->range != NULL;
  for (int32_t id = 0; whole && id < twin->n; id++) {
    const struct ex_node *node = ex__graph_node(twin->plan->net->graph, id);
    struct ex_op_call call;
    if (!runs(twin->plan, id)) continue;
    twin->value[id] = ex__alloc((size_t)ex__shape_count(&node->shape), sizeof **twin->value);
    whole = twin->value[id] != NULL;
    describe_call(twin, id, &call);
    size_t size = node->op->workspace != NULL ? node->op->workspace(node, call.in_shape, 1) : 0;
    if (size > workspace) workspace = size;
  }
  twin->workspace = ex__alloc(workspace, 1);
  if (whole && twin->workspace != NULL) return EX_OK;
  return ex__fail(err, EX_ENOMEM, "export: no memory to run the network");
}

static void close_twin(struct twin *twin) {
  for (int32_t id = 0; twin->value != NULL && id < twin->n; id++) ex__free(twin->value[id]);
  ex__free(twin->value);
  ex__free(twin->range);
  ex__free(twin->workspace);
}

static void widen(struct range *range, const ex_real *value, int64_t n) {
  for (int64_t i = 0; i < n; i++) {
    range->least = fmin(range->least, (double)value[i]);
    range->most = fmax(range->most, (double)value[i]);
  }
}

/* The input stands in its value already. */
static void run_twin(const struct twin *twin) {
  for (int32_t id = 0; id < twin->n; id++) {
    if (!runs(twin->plan, id)) continue;
    struct ex_op_call call;
    describe_call(twin, id, &call);
    call.node->op->forward(&call);
    widen(&twin->range[id], twin->value[id], ex__shape_count(&call.node->shape));
  }
}

static enum ex_status observe(const struct twin *twin, struct ex_error *err) {
  const struct ex_export_c *job = twin->plan->job;
  int64_t features = ex__shape_count(&twin->plan->net->input);
  ex_real *input = twin->value[twin->plan->values[0].node];
  if (job->samples < 1 || job->read == NULL)
    return ex__fail(err, EX_EINVAL, "int8: %d samples; must be at least 1", (int)job->samples);
  for (int32_t i = 0; i < job->samples; i++) {
    job->read(job->context, i, input);
    ex__preprocess_apply(&job->model->preprocess, input, features, input);
    run_twin(twin);
  }
  return EX_OK;
}

/* Ranges of what was folded are those of what came out of it. */
static void quantise(struct ex_export_plan *plan, const struct range *range) {
  const struct range *input = &range[plan->values[0].node];
  plan->values[0].quantum = ex__quantum_of(input->least, input->most);
  for (int32_t s = 0; s < plan->n_steps; s++) {
    const struct ex_layer_step *step = &plan->steps[s];
    struct ex_value *out = &plan->values[step->out];
    const struct range *seen = &range[out->node];
    if (step->layer->flags & EX_LAYER_KEEPS_QUANTUM)
      out->quantum = ex__layer_in(plan, step, 0)->quantum;
    else
      out->quantum = ex__quantum_of(step->relu ? 0 : seen->least, seen->most);
  }
}

enum ex_status ex__export_ranges(struct ex_export_plan *plan, struct ex_error *err) {
  struct twin twin = {.plan = plan};
  enum ex_status status = open_twin(&twin, err);
  if (status == EX_OK) status = observe(&twin, err);
  for (int32_t id = 0; status == EX_OK && id < twin.n; id++)
    if (!isfinite(twin.range[id].most - twin.range[id].least))
      status = ex__fail(err, EX_ENOTFINITE,
                        "node %d, operator %s: its numbers on the inputs given are too large",
                        (int)id, ex__graph_node(plan->net->graph, id)->op->name);
  if (status == EX_OK) quantise(plan, twin.range);
  close_twin(&twin);
  return status;
}
