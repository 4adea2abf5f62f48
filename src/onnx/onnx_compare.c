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

/* One sample through the net. */
static enum ex_status run_net(const struct ex_onnx_comparison *c, const double *x, ex_real *y,
                              struct ex_error *err) {
  const struct ex_compile_options options = {
      .backend = EX_BACKEND_FAST, .threads = 1, .max_batch = 1};
  ex_compiled *compiled;
  ex_lane *lane = NULL;
  int64_t n = ex__shape_count(&c->net->input);
  EX_TRY(ex__compiled_new(c->net, &options, &compiled, err));
  enum ex_status status = ex__lane_new(compiled, &lane, err);
  ex_real *plain = ex__alloc((size_t)n, sizeof *plain);
  ex_real *state = ex__alloc((size_t)ex__compiled_state_size(compiled) + 1, sizeof *state);
  if (status == EX_OK && (plain == NULL || state == NULL))
    status = ex__fail(err, EX_ENOMEM, "no memory to compare");
  if (status == EX_OK) {
    for (int64_t i = 0; i < n; i++) plain[i] = (ex_real)x[i];
    ex__lane_input(lane, plain, state);
    ex__lane_body(lane, 0, &state, 1);
    ex__lane_head(lane, 0, &state, 1, y);
  }
  ex__free(plain);
  ex__free(state);
  ex__lane_free(lane);
  ex__compiled_free(compiled);
  return status;
}

static enum ex_status compare_sample(const struct ex_onnx_comparison *c, const double *x,
                                     const double *expected, struct ex_onnx_report *report,
                                     struct ex_error *err) {
  int64_t n = c->net->n_outputs;
  ex_real *y = ex__alloc((size_t)n, sizeof *y);
  if (y == NULL) return ex__fail(err, EX_ENOMEM, "no memory to compare");
  enum ex_status status = run_net(c, x, y, err);
  for (int64_t i = 0; status == EX_OK && i < n; i++) {
    double off = fabs((double)y[i] - expected[i]);
    report->largest = fmax(report->largest, fabs(expected[i]));
    report->difference = isnan(off) ? INFINITY : fmax(report->difference, off);
  }
  ex__free(y);
  return status;
}

static enum ex_status compare_all(const struct ex_onnx_comparison *c, ex_onnx_eval *eval,
                                  struct ex_onnx_report *report, struct ex_error *err) {
  struct ex_onnx_tensor *in = ex__onnx_eval_find(eval, c->input);
  struct ex_onnx_tensor *out = ex__onnx_eval_find(eval, c->output);
  int64_t n_in = ex__shape_count(&c->net->input);
  if (out == NULL || out->real == NULL || out->count != (int64_t)c->samples * c->net->n_outputs)
    return ex__fail(err, EX_ESHAPE, "output \"%s\" has another shape for a batch of %d",
                    report->output, (int)c->samples);
  for (int32_t s = 0; s < c->samples; s++)
    EX_TRY(compare_sample(c, in->real + s * n_in, out->real + (int64_t)s * c->net->n_outputs,
                          report, err));
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
