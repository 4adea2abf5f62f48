/* SPDX-License-Identifier: Apache-2.0
 *
 * train/train_merge: inner products and sums of the gradients of single exits.
 *
 * Every sum is made in one order, element by element, whatever the machine. A
 * sum must wait for its last addition, so several run side by side; that is as
 * fast as the loop can be without another order. What an exit does not reach is
 * zero and is left out: of a deep network's parameters most belong to the last
 * stages, which few exits reach.
 */
#include "train/train_state.h"

enum { BESIDE = 4, BLOCK = 2048 };

struct parameter {
  int32_t tensor;
  int64_t count;
  bool trained;
  uint32_t points; /* whose losses reach it, as bits */
};

static struct parameter parameter_at(const struct ex_training *training, int32_t tensor) {
  const struct ex_tensor_info *info = ex__graph_tensor(training->job->net->graph, tensor);
  bool trained = info->role != EX_ROLE_BUFFER && ex__stepper_trains(training->stepper, tensor);
  return (struct parameter){tensor, ex__shape_count(&info->shape), trained,
                            training->reached[info->node]};
}

static bool is_reached(const struct parameter *parameter, int32_t point) {
  return (parameter->points >> point & 1) != 0;
}

/* Whether the merge decides about it: the losses of at least two points reach it. */
static bool is_shared(const struct parameter *parameter) {
  return parameter->trained && (parameter->points & (parameter->points - 1)) != 0;
}

static ex_real *gradient_of(const struct ex_training *training, int32_t point,
                            const struct parameter *parameter) {
  return ex__slabs_tensor(training->point_grads[point], training->job->net->graph,
                          parameter->tensor);
}

/* ---- inner products -------------------------------------------------------- */

static void add_products(const ex_real *x, const ex_real *const y[BESIDE], int64_t n,
                         double sum[BESIDE]) {
  double s0 = sum[0], s1 = sum[1], s2 = sum[2], s3 = sum[3];
  const ex_real *y0 = y[0], *y1 = y[1], *y2 = y[2], *y3 = y[3];
  for (int64_t i = 0; i < n; i++) {
    double value = (double)x[i];
    s0 += value * (double)y0[i];
    s1 += value * (double)y1[i];
    s2 += value * (double)y2[i];
    s3 += value * (double)y3[i];
  }
  sum[0] = s0;
  sum[1] = s1;
  sum[2] = s2;
  sum[3] = s3;
}

/* One gradient with `n` others, at most BESIDE. */
static void multiply(const struct ex_training *training, int32_t point, const int32_t *others,
                     int32_t n, double sum[BESIDE]) {
  const ex_graph *graph = training->job->net->graph;
  for (int32_t k = 0; k < BESIDE; k++) sum[k] = 0;
  for (int32_t t = 0; t < ex__graph_n_tensors(graph); t++) {
    const struct parameter parameter = parameter_at(training, t);
    const ex_real *y[BESIDE];
    bool any = false;
    if (!is_shared(&parameter) || !is_reached(&parameter, point)) continue;
    for (int32_t k = 0; k < BESIDE; k++) {
      int32_t other = others[k < n ? k : 0]; /* what is beyond n is not used */
      y[k] = gradient_of(training, other, &parameter);
      any |= is_reached(&parameter, other);
    }
    if (any) add_products(gradient_of(training, point, &parameter), y, parameter.count, sum);
  }
}

void ex__merge_products(const struct ex_training *training, const int32_t *points, int32_t n,
                        double *product) {
  for (int32_t i = 0; i < n; i++)
    for (int32_t j = 0; j <= i; j += BESIDE) {
      double sum[BESIDE];
      int32_t beside = i + 1 - j < BESIDE ? i + 1 - j : BESIDE;
      multiply(training, points[i], points + j, beside, sum);
      for (int32_t k = 0; k < beside; k++)
        product[i * n + j + k] = product[(j + k) * n + i] = sum[k];
    }
}

/* ---- the sum --------------------------------------------------------------- */

/* Block by block, so that what is added to lies near. */
static void combine_one(struct ex_training *training, const int32_t *points, int32_t n,
                        const double *weight, const struct parameter *parameter) {
  bool shared = is_shared(parameter);
  ex_real *to = ex__slabs_tensor(training->grads, training->job->net->graph, parameter->tensor);
  for (int64_t at = 0; at < parameter->count; at += BLOCK) {
    int64_t end = at + BLOCK < parameter->count ? at + BLOCK : parameter->count;
    for (int64_t i = at; i < end; i++) to[i] = 0;
    for (int32_t k = 0; k < n; k++) {
      const ex_real *from = gradient_of(training, points[k], parameter);
      ex_real factor = shared ? (ex_real)weight[k] : 1;
      if (!is_reached(parameter, points[k])) continue;
      for (int64_t i = at; i < end; i++) to[i] += factor * from[i];
    }
  }
}

void ex__merge_combine(struct ex_training *training, const int32_t *points, int32_t n,
                       const double *weight) {
  const ex_graph *graph = training->job->net->graph;
  for (int32_t t = 0; t < ex__graph_n_tensors(graph); t++) {
    const struct parameter parameter = parameter_at(training, t);
    if (parameter.trained) combine_one(training, points, n, weight, &parameter);
  }
}
