/* SPDX-License-Identifier: Apache-2.0
 *
 * export/export_onnx_transform: exit transforms as ONNX nodes, in the arithmetic of
 * net/transform.c and net/ensemble.c, in float. Where an output is not finite, what
 * others make of it is not a number either, except for a product, which passes over it.
 */
#include <float.h>
#include <math.h>

#include "export/export_onnx_walk.h"

static const char *times(ex_onnx_graph *graph, const char *value, double factor) {
  return ex__onnx_node(graph, "Mul", value, ex__onnx_real(graph, factor));
}

/* Σ 0 · x of each row [batch][1]: 0, or not a number where one of them is not finite. */
static const char *blemish(ex_onnx_graph *graph, const char *value) {
  static const int64_t axis = 1;
  return ex__onnx_node(graph, "ReduceSum", times(graph, value, 0),
                       ex__onnx_integers(graph, &axis, 1));
}

const char *ex__onnx_finite(ex_onnx_graph *graph, const char *value) {
  return ex__onnx_node(graph, "Equal", blemish(graph, value), ex__onnx_real(graph, 0));
}

/* ---- sums and products over all heads so far ------------------------------------ */

/* Takes the raw outputs of the next point in; returns the answer there, or where it is not
 * asked for, anything. */
typedef const char *running(struct ex_onnx_walk *walk, int32_t point, const char *raw, bool asked);

static const char *add_up(struct ex_onnx_walk *walk, int32_t point, const char *raw, bool asked) {
  const char *before = walk->carried[EX_CARRIED_SUM];
  (void)point, (void)asked;
  if (before != NULL)
    raw = ex__onnx_node(walk->graph, "Add", raw,
                        times(walk->graph, before, walk->net->transform.factor));
  walk->carried[EX_CARRIED_SUM] = raw;
  return raw;
}

/* Which classes are still in: [batch][n_outputs]. */
static const char *classes_left(ex_onnx_graph *graph, const char *raw, const char *before,
                                const char *nothing, const char *finite) {
  const char *in = ex__onnx_node(graph, "Greater", raw, ex__onnx_real(graph, 0));
  in = ex__onnx_node(graph, "And", in, ex__onnx_node(graph, "Greater", before, nothing));
  return ex__onnx_node(graph, "And", in, finite);
}

static const char *multiply(struct ex_onnx_walk *walk, int32_t point, const char *raw, bool asked) {
  const double least = -1000;
  static const int64_t axis = 1;
  ex_onnx_graph *graph = walk->graph;
  const char *nothing = ex__onnx_real(graph, least), *finite = ex__onnx_finite(graph, raw);
  const char *before = ex__onnx_recall(walk, EX_CARRIED_SUM, EX_ONNX_FLOAT, 0);
  const char *in = classes_left(graph, raw, before, nothing, finite);
  const char *safe = ex__onnx_node(graph, "Where", in, raw, ex__onnx_real(graph, 1));
  const char *sum =
      times(graph, ex__onnx_node(graph, "Log", safe), walk->net->transform.weight.value[point]);
  sum = ex__onnx_node(graph, "Add", before, sum);
  sum = ex__onnx_node(graph, "Max", sum, ex__onnx_real(graph, least / 2));
  sum = ex__onnx_node(graph, "Where", in, sum, nothing);
  if (point < walk->net->n_points - 1)
    walk->carried[EX_CARRIED_SUM] = ex__onnx_node(graph, "Where", finite, sum, before);
  if (!asked) return raw;
  const char *most = ex__onnx_node(graph, "ReduceMax", sum);
  ex__onnx_set_ints(graph, "axes", &axis, 1);
  return ex__onnx_node(graph, "Where", ex__onnx_node(graph, "Greater", most, nothing), sum, raw);
}

/* NULL: another kind. */
static running *running_of(const struct ex_transform *transform) {
  if (transform->kind == EX_TRANSFORM_PRODUCT) return multiply;
  return transform->kind == EX_TRANSFORM_ADDITIVE && transform->factor != 0 ? add_up : NULL;
}

/* ---- ensemble ----------------------------------------------------------------- */

/* What a head says: logarithms of probabilities, or probabilities. */
static const char *opinion_of(struct ex_onnx_walk *walk, int32_t point, struct ex_error *err,
                              enum ex_status *status) {
  const char **opinion = &walk->carried[EX_CARRIED_OPINION + point];
  ex_onnx_graph *graph = walk->graph;
  if (*opinion != NULL || *status != EX_OK) return *opinion;
  *status = ex__onnx_make(walk, walk->net->points[point].output, err);
  if (*status != EX_OK) return NULL;
  const char *raw = walk->value[walk->net->points[point].output];
  bool logs = walk->net->transform.ensemble->mean == EX_MEAN_GEOMETRIC;
  const char *said = ex__onnx_along_classes(graph, logs ? "LogSoftmax" : "Softmax", raw);
  *opinion = ex__onnx_node(graph, "Add", said, blemish(graph, raw));
  return *opinion;
}

static enum ex_status combine(struct ex_onnx_walk *walk, int32_t point, const char **answer,
                              struct ex_error *err) {
  const struct ex_ensemble *ensemble = walk->net->transform.ensemble;
  const double *factor = ensemble->row[point];
  const int64_t dim[2] = {1, ensemble->n_outputs};
  enum ex_status status = EX_OK;
  float *bias;
  ex_onnx_graph *graph = walk->graph;
  const char *sum = ex__onnx_blank_reals(graph, 2, dim, &bias);
  for (int64_t c = 0; bias != NULL && c < dim[1]; c++) bias[c] = (float)factor[point + 1 + c];
  for (int32_t j = 0; j <= point; j++) {
    if (factor[j] == 0) continue;
    const char *said = opinion_of(walk, j, err, &status);
    EX_TRY(status);
    sum = ex__onnx_node(graph, "Add", sum, times(graph, said, factor[j]));
  }
  *answer = sum;
  if (ensemble->mean == EX_MEAN_GEOMETRIC) return EX_OK;
  /* A float is 0 long before a double is: what is that little answers no question. */
  *answer = ex__onnx_node(graph, "Max", sum, ex__onnx_real(graph, (double)FLT_MIN));
  *answer = ex__onnx_node(graph, "Log", *answer);
  return EX_OK;
}

/* ------------------------------------------------------------------------------- */

static enum ex_status transformed(struct ex_onnx_walk *walk, int32_t point, const char **answer,
                                  struct ex_error *err) {
  const struct ex_transform *transform = &walk->net->transform;
  running *run = running_of(transform);
  if (transform->ensemble != NULL && transform->ensemble->row[point] != NULL)
    return combine(walk, point, answer, err);
  for (int32_t p = run != NULL ? walk->n_summed : point; p <= point; p++) {
    EX_TRY(ex__onnx_make(walk, walk->net->points[p].output, err));
    *answer = walk->value[walk->net->points[p].output];
    if (run != NULL) *answer = run(walk, p, *answer, p == point);
  }
  if (run != NULL) walk->n_summed = point + 1;
  return EX_OK;
}

enum ex_status ex__onnx_answer(struct ex_onnx_walk *walk, int32_t point, const char **answer,
                               struct ex_error *err) {
  const struct ex_list *temperature = &walk->net->transform.temperature;
  double divisor = temperature->n > 0 ? temperature->value[point] : 1;
  EX_TRY(transformed(walk, point, answer, err));
  if (divisor != 1)
    *answer = ex__onnx_node(walk->graph, "Div", *answer, ex__onnx_real(walk->graph, divisor));
  return EX_OK;
}

void ex__onnx_forget(struct ex_onnx_walk *walk, int32_t point) {
  const int32_t last = walk->net->n_points - 1;
  uint32_t needed = 0;
  for (int32_t p = point; p < last;) {
    p = ex__onnx_next_exit(walk, p);
    needed |= ex__transform_needs(&walk->net->transform, p);
  }
  for (int32_t p = 0; p <= last; p++)
    if ((needed >> p & 1) == 0) walk->carried[EX_CARRIED_OPINION + p] = NULL;
}
