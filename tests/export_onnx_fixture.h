/* SPDX-License-Identifier: Apache-2.0
 *
 * Models that go out as ONNX and are run by the importer's evaluator, in double, beside
 * the engine: a second opinion that needs no other runtime.
 */
#ifndef EX_TESTS_EXPORT_ONNX_FIXTURE_H
#define EX_TESTS_EXPORT_ONNX_FIXTURE_H

#include "export/export_onnx.h"
#include "onnx/onnx_eval.h"
#include "tests/export_fixture.h"

/* Scores are floats in the file and doubles in the engine. */
static const double onnx_near = 1e-5;

struct onnx_answer {
  int32_t label, exit;
  double confidence;
  double logits[64];
};

/* Names that are read in a graph, and in those within it. */
static inline void onnx_read_names(const Onnx__GraphProto *graph, json_t *names) {
  for (size_t i = 0; i < graph->n_output; i++)
    json_object_set_new(names, graph->output[i]->name, json_true());
  for (size_t i = 0; i < graph->n_node; i++) {
    const Onnx__NodeProto *node = graph->node[i];
    for (size_t k = 0; k < node->n_input; k++)
      json_object_set_new(names, node->input[k], json_true());
    for (size_t k = 0; k < node->n_attribute; k++)
      if (node->attribute[k]->g != NULL) onnx_read_names(node->attribute[k]->g, names);
  }
}

/* Runtimes complain of constants that nobody reads, and nodes would be work for nothing. */
static inline void onnx_assert_read(const Onnx__GraphProto *graph, const json_t *names) {
  for (size_t i = 0; i < graph->n_initializer; i++)
    if (json_object_get(names, graph->initializer[i]->name) == NULL)
      fail_msg("nobody reads the constant %s", graph->initializer[i]->name);
  for (size_t i = 0; i < graph->n_node; i++) {
    const Onnx__NodeProto *node = graph->node[i];
    bool read = false;
    for (size_t k = 0; k < node->n_output; k++)
      read = read || json_object_get(names, node->output[k]) != NULL;
    if (!read) fail_msg("nobody reads the node %s", node->name);
    for (size_t k = 0; k < node->n_attribute; k++)
      if (node->attribute[k]->g != NULL) onnx_assert_read(node->attribute[k]->g, names);
  }
}

static inline ex_onnx *onnx_exported(const ex_model *model, const ex_policy *policy,
                                     enum ex_onnx_form form) {
  struct ex_error err = {0};
  const struct ex_export_onnx job = {.model = model, .policy = policy, .form = form};
  void *data, *again;
  size_t size, again_size;
  ex_onnx *onnx;
  assert_ok(ex__export_onnx(&job, &data, &size, &err), &err);
  assert_ok(ex__export_onnx(&job, &again, &again_size, &err), &err);
  assert_int_equal(size, again_size);
  assert_memory_equal(data, again, size); /* the same model gives the same bytes */
  assert_ok(ex__onnx_parse(data, size, &onnx, &err), &err);
  json_t *names = json_object();
  onnx_read_names(onnx->proto->graph, names);
  onnx_assert_read(onnx->proto->graph, names);
  json_decref(names);
  ex__free(data);
  ex__free(again);
  return onnx;
}

static inline const struct ex_onnx_tensor *onnx_output(ex_onnx_eval *eval, const char *name,
                                                       int64_t count) {
  struct ex_error err = {0};
  struct ex_onnx_tensor *tensor = ex__onnx_eval_find(eval, name);
  assert_non_null(tensor);
  assert_int_equal(tensor->count, count);
  assert_ok(ex__onnx_eval_load(eval, tensor, &err), &err);
  return tensor;
}

/* x [n][input] → answers [n], by one run of the graph. */
static inline void onnx_run(const ex_onnx *onnx, const ex_net *net, const float *x, int32_t n,
                            struct onnx_answer *answers) {
  struct ex_error err = {0};
  struct ex_onnx_limits limits = EX_ONNX_LIMITS;
  struct ex_onnx_tensor input = {0};
  int64_t dim[EX_MAX_RANK + 1] = {n}, classes = net->n_outputs;
  ex_onnx_eval *eval;
  for (int32_t i = 0; i < net->input.rank; i++) dim[i + 1] = net->input.dim[i];
  assert_ok(ex__onnx_eval_new(onnx, &limits, &eval, &err), &err);
  assert_ok(ex__onnx_tensor_shape(&input, ONNX(FLOAT), net->input.rank + 1, dim, &err), &err);
  assert_ok(ex__onnx_tensor_alloc(&input, &limits.elements, &err), &err);
  for (int64_t i = 0; i < input.count; i++) input.real[i] = (double)x[i];
  assert_ok(ex__onnx_eval_input(eval, "input", &input, &err), &err);
  assert_ok(ex__onnx_eval_run(eval, &err), &err);
  const struct ex_onnx_tensor *label = onnx_output(eval, "label", n);
  const struct ex_onnx_tensor *exit = onnx_output(eval, "exit", n);
  const struct ex_onnx_tensor *confidence = onnx_output(eval, "confidence", n);
  const struct ex_onnx_tensor *logits = onnx_output(eval, "logits", n * classes);
  for (int32_t i = 0; i < n; i++) {
    answers[i].label = (int32_t)label->whole[i];
    answers[i].exit = (int32_t)exit->whole[i];
    answers[i].confidence = confidence->real[i];
    memcpy(answers[i].logits, logits->real + i * classes, (size_t)classes * sizeof(double));
  }
  ex__onnx_eval_free(eval);
}

static inline void onnx_assert_answer(const struct onnx_answer *got,
                                      const struct ex_result *expected, int32_t n,
                                      const char *what) {
  double largest = 1, off = 0;
  for (int32_t c = 0; c < n; c++) {
    largest = fmax(largest, fabs((double)expected->logits[c]));
    off = fmax(off, fabs(got->logits[c] - (double)expected->logits[c]));
  }
  if (!(off <= 2e-5 * largest)) fail_msg("%s: logits are off by %g of %g", what, off, largest);
  assert_int_equal(got->label, expected->label);
  assert_true(fabs(got->confidence - expected->confidence) < 1e-4);
}

/* Answers of the file against the engine's; returns how many left before the last exit.
 * At most one may lie so near a threshold that it could go either way. */
static inline int32_t onnx_compare(const ex_model *model, const ex_policy *policy,
                                   const struct inputs *in, int32_t n,
                                   const struct onnx_answer *answers, const char *what) {
  ex_engine *engine = export_engine(model, policy);
  struct readings readings;
  float logits[64];
  int32_t early = 0, near = 0;
  for (int32_t i = 0; i < n; i++) {
    struct ex_result expected = {.logits = logits};
    memset(&readings, 0, sizeof readings);
    readings.nearest = INFINITY;
    assert_int_equal(
        ex__engine_watch(engine, in->values + i * in->features, export_watch, &readings, &expected),
        EX_OK);
    early += expected.exit < model->net->n_points - 1;
    if (expected.exit != answers[i].exit && readings.nearest < onnx_near) {
      near++;
      continue;
    }
    if (expected.exit != answers[i].exit)
      fail_msg("%s: input %d leaves at exit %d, the engine's at %d", what, (int)i,
               (int)answers[i].exit, (int)expected.exit);
    onnx_assert_answer(&answers[i], &expected, model->net->n_outputs, what);
  }
  assert_true(near <= 1);
  ex_engine_free(engine);
  return early;
}

/* Both forms; returns how many of the inputs left early. */
static inline int32_t onnx_check(const ex_model *model, const ex_policy *policy,
                                 const struct inputs *in, const char *what) {
  static struct onnx_answer answers[EXPORT_MOST_INPUTS];
  ex_onnx *onnx = onnx_exported(model, policy, EX_ONNX_FORM_BATCH);
  onnx_run(onnx, model->net, in->values, in->n, answers);
  int32_t early = onnx_compare(model, policy, in, in->n, answers, what);
  ex__onnx_free(onnx);
  onnx = onnx_exported(model, policy, EX_ONNX_FORM_SINGLE);
  for (int32_t i = 0; i < in->n; i++)
    onnx_run(onnx, model->net, in->values + i * in->features, 1, &answers[i]);
  (void)onnx_compare(model, policy, in, in->n, answers, what);
  ex__onnx_free(onnx);
  return early;
}

#endif
