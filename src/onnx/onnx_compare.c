/* SPDX-License-Identifier: Apache-2.0
 *
 * onnx/onnx_compare: two implementations that share nothing must agree: the
 * evaluator in double, and the net as it will run.
 */
#include "onnx/onnx_compare.h"

#include <math.h>

#include "base/memory.h"
#include "base/random.h"
#include "net/net_run.h"

static enum ex_status random_input(const struct ex_onnx_comparison *c,
                                   struct ex_onnx_limits *limits, struct ex_onnx_tensor *out,
                                   struct ex_error *err) {
  struct ex_random random = ex__random_seed(c->seed, 1);
  int64_t dim[EX_ONNX_MAX_RANK];
  for (int32_t i = 0; i < c->shape->rank; i++) dim[i] = i > 0 ? c->shape->dim[i] : c->samples;
  EX_TRY(ex__onnx_tensor_shape(out, c->shape->type, c->shape->rank, dim, err));
  EX_TRY(ex__onnx_tensor_alloc(out, &limits->elements, err));
  for (int64_t i = 0; i < out->count; i++) out->real[i] = (float)ex__random_normal(&random);
  return EX_OK;
}

static enum ex_status evaluate(const struct ex_onnx_comparison *c, ex_onnx_eval *eval,
                               struct ex_onnx_tensor *input, struct ex_error *err) {
  ex__onnx_eval_batch(eval, c->declared_batch, c->samples);
  EX_TRY(ex__onnx_eval_input(eval, c->input, input, err));
  for (size_t i = 0; i < c->onnx->proto->graph->n_node; i++)
    if (c->needed[i]) EX_TRY(ex__onnx_eval_node(eval, i, err));
  return EX_OK;
}

/* What running the net needs. */
struct runner {
  ex_compiled *compiled;
  ex_lane *lane;
  ex_real *x, *state, *y; /* [input], [state], [n_outputs] */
};

static void close_runner(struct runner *runner) {
  ex__free(runner->x);
  ex__free(runner->state);
  ex__free(runner->y);
  ex__lane_free(runner->lane);
  ex__compiled_free(runner->compiled);
}

static enum ex_status open_runner(const ex_net *net, struct runner *out, struct ex_error *err) {
  const struct ex_compile_options options = {
      .backend = EX_BACKEND_FAST, .threads = 1, .max_batch = 1};
  *out = (struct runner){.compiled = NULL};
  EX_TRY(ex__compiled_new(net, &options, &out->compiled, err));
  EX_TRY(ex__lane_new(out->compiled, &out->lane, err));
  size_t state = (size_t)ex__compiled_state_size(out->compiled) + 1;
  out->x = ex__alloc((size_t)ex__shape_count(&net->input), sizeof *out->x);
  out->state = ex__alloc(state, sizeof *out->state);
  out->y = ex__alloc((size_t)net->n_outputs, sizeof *out->y);
  if (out->x != NULL && out->state != NULL && out->y != NULL) return EX_OK;
  return ex__fail(err, EX_ENOMEM, "no memory to compare");
}

static void compare_exit(const struct runner *runner, const double *expected, int64_t n,
                         struct ex_onnx_report *report) {
  for (int64_t i = 0; i < n; i++) {
    double off = fabs((double)runner->y[i] - expected[i]);
    report->largest = fmax(report->largest, fabs(expected[i]));
    report->difference = isnan(off) ? INFINITY : fmax(report->difference, off);
  }
}

/* Sample s through the net, all exits; expected: the outputs of all samples. */
static void compare_sample(const struct ex_onnx_comparison *c, const struct runner *runner,
                           const double *x, int32_t s, const struct ex_onnx_tensor *const *expected,
                           struct ex_onnx_report *report) {
  int64_t n_in = ex__shape_count(&c->net->input), n_out = c->net->n_outputs;
  ex_real *state = runner->state;
  for (int64_t i = 0; i < n_in; i++) runner->x[i] = (ex_real)x[s * n_in + i];
  ex__lane_input(runner->lane, runner->x, state);
  for (int32_t k = 0; k < c->net->n_points; k++) {
    ex__lane_body(runner->lane, k, &state, 1); /* a stage per exit */
    ex__lane_head(runner->lane, k, &state, 1, runner->y);
    compare_exit(runner, expected[k]->real + s * n_out, n_out, report);
  }
}

static enum ex_status compare_all(const struct ex_onnx_comparison *c, ex_onnx_eval *eval,
                                  struct ex_onnx_report *report, struct ex_error *err) {
  const struct ex_onnx_tensor *in = ex__onnx_eval_find(eval, c->input), *out[EX_MAX_POINTS];
  struct runner runner;
  for (int32_t k = 0; k < c->net->n_points; k++) {
    out[k] = ex__onnx_eval_find(eval, c->output[k]);
    if (out[k] == NULL || out[k]->real == NULL ||
        out[k]->count != (int64_t)c->samples * c->net->n_outputs)
      return ex__fail(err, EX_ESHAPE, "output %d has another shape for a batch of %d", (int)k,
                      (int)c->samples);
  }
  enum ex_status status = open_runner(c->net, &runner, err);
  for (int32_t s = 0; status == EX_OK && s < c->samples; s++)
    compare_sample(c, &runner, in->real, s, out, report);
  close_runner(&runner);
  EX_TRY(status);
  report->samples = c->samples;
  if (report->difference <= 1e-3 * report->largest + 1e-5) return EX_OK;
  return ex__fail(err, EX_EBACKEND,
                  "the network gives other outputs than the file: off by %.3g, where the largest "
                  "is %.3g; please report this",
                  report->difference, report->largest);
}

enum ex_status ex__onnx_compare(const struct ex_onnx_comparison *comparison,
                                struct ex_onnx_report *report, struct ex_error *err) {
  struct ex_onnx_limits limits = EX_ONNX_LIMITS;
  struct ex_onnx_tensor input = {.rank = 0};
  ex_onnx_eval *eval;
  if (comparison->samples < 1) return EX_OK;
  EX_TRY(ex__onnx_eval_new(comparison->onnx, &limits, &eval, err));
  enum ex_status status = random_input(comparison, &limits, &input, err);
  if (status == EX_OK)
    status = evaluate(comparison, eval, &input, err);
  else
    ex__onnx_tensor_clear(&input);
  if (status == EX_OK) status = compare_all(comparison, eval, report, err);
  ex__onnx_eval_free(eval);
  return status;
}
