/* SPDX-License-Identifier: Apache-2.0
 *
 * graph/op_confidence: four figures of how sure a vector of logits is: the
 * largest probability p, the entropy of p in nats, the largest p less the
 * second largest, and the entropy of p² normalised, which is that of the
 * softmax of twice the logits. What a gate of JEI-DNN reads (Regol, Chataoui &
 * Coates, ICLR 2024, sec. 4; the last figure from the authors' code).
 *
 * The two largest are the first of equals; at a tie the gradient is that of the
 * first, which is one of the many that a tie has.
 */
#include <math.h>

#include "graph/shape.h"

enum { MAXIMUM, ENTROPY, MARGIN, SHARP_ENTROPY, N_FIGURES };

/* Of softmax(scale · x). */
struct look {
  double most, log_sum, entropy;
};

static struct look look_at(const ex_real *x, int32_t n, double scale) {
  double most = x[0], sum = 0, weighted = 0;
  for (int32_t i = 1; i < n; i++)
    if (x[i] > most) most = x[i];
  for (int32_t i = 0; i < n; i++) {
    double below = scale * (x[i] - most), e = exp(below);
    sum += e;
    weighted += e > 0 ? below * e : 0;
  }
  /* The largest has a term of exp(0), so sum ≥ 1: cppcheck thinks of no inputs at all. */
  /* cppcheck-suppress invalidFunctionArg */
  double log_sum = log(sum);
  return (struct look){most, log_sum, log_sum - weighted / sum};
}

static double log_probability(const struct look *look, ex_real x, double scale) {
  return scale * (x - look->most) - look->log_sum;
}

static void two_largest(const ex_real *x, int32_t n, int32_t *first, int32_t *second) {
  *first = 0;
  *second = -1;
  for (int32_t i = 1; i < n; i++) {
    if (x[i] > x[*first]) {
      *second = *first;
      *first = i;
    } else if (*second < 0 || x[i] > x[*second]) {
      *second = i;
    }
  }
}

static int32_t classes_of(const struct ex_op_call *call) { return call->in_shape[0]->dim[0]; }

static void forward(const struct ex_op_call *call) {
  int32_t n = classes_of(call);
  for (int32_t s = 0; s < call->batch; s++) {
    const ex_real *x = call->in[0] + (int64_t)s * n;
    ex_real *out = call->out + (int64_t)s * N_FIGURES;
    int32_t first, second;
    two_largest(x, n, &first, &second);
    struct look look = look_at(x, n, 1);
    double largest = exp(log_probability(&look, x[first], 1));
    double next = second >= 0 ? exp(log_probability(&look, x[second], 1)) : 0;
    out[MAXIMUM] = (ex_real)largest;
    out[ENTROPY] = (ex_real)look.entropy;
    out[MARGIN] = (ex_real)(largest - next);
    out[SHARP_ENTROPY] = (ex_real)look_at(x, n, 2).entropy;
  }
}

static void backward(const struct ex_op_call *call) {
  int32_t n = classes_of(call);
  if (call->din[0] == NULL) return;
  for (int32_t s = 0; s < call->batch; s++) {
    const ex_real *x = call->in[0] + (int64_t)s * n, *d = call->dout + (int64_t)s * N_FIGURES;
    ex_real *dx = call->din[0] + (int64_t)s * n;
    int32_t first, second;
    two_largest(x, n, &first, &second);
    struct look look = look_at(x, n, 1), sharp = look_at(x, n, 2);
    double of_first = (double)d[MAXIMUM] + (double)d[MARGIN];
    double largest = exp(log_probability(&look, x[first], 1));
    double next = second >= 0 ? exp(log_probability(&look, x[second], 1)) : 0;
    for (int32_t j = 0; j < n; j++) {
      double log_p = log_probability(&look, x[j], 1), p = exp(log_p);
      double log_q = log_probability(&sharp, x[j], 2), q = exp(log_q);
      double g = of_first * largest * ((j == first) - p);
      g -= d[MARGIN] * next * ((j == second) - p);
      if (p > 0) g -= d[ENTROPY] * p * (log_p + look.entropy);
      if (q > 0) g -= d[SHARP_ENTROPY] * 2 * q * (log_q + sharp.entropy);
      dx[j] += (ex_real)g;
    }
  }
}

static enum ex_status shape(const struct ex_node *node, const struct ex_shape *const *in,
                            struct ex_shape *out, struct ex_error *err) {
  if (in[0]->rank != 1)
    return ex__fail(err, EX_ESHAPE, "%s: input of rank %d; must be [classes]", node->op->name,
                    (int)in[0]->rank);
  *out = (struct ex_shape){1, {N_FIGURES}};
  return EX_OK;
}

const struct ex_op ex__op_confidence = {
    .name = "confidence",
    .version = 1,
    .min_in = 1,
    .max_in = 1,
    .flags = EX_OP_NEEDS_INPUT,
    .shape = shape,
    .forward = forward,
    .backward = backward,
};
