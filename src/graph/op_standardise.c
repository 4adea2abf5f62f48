/* SPDX-License-Identifier: Apache-2.0
 *
 * graph/op_standardise: groups of neighbours less their mean, by their
 * deviation: layer normalisation (Ba et al. 2016) and instance normalisation
 * before scale and shift. Sums are in double.
 */
#include <math.h>

#include "graph/shape.h"

static const struct ex_param attrs[] = {
    {"size", EX_PARAM_INT, offsetof(struct ex_standardise, size), 1, INT32_MAX, "1", NULL,
     "Elements of a group."},
    {"eps", EX_PARAM_REAL, offsetof(struct ex_standardise, eps), 0, 1, "1e-5", NULL,
     "Added to the variance."},
    {.name = NULL},
};

static enum ex_status shape(const struct ex_node *node, const struct ex_shape *const *in,
                            struct ex_shape *out, struct ex_error *err) {
  const struct ex_standardise *attr = node->attr;
  *out = *in[0];
  if (ex__shape_count(in[0]) % attr->size == 0) return EX_OK;
  return ex__fail(err, EX_ESHAPE, "standardise: groups of %d of %lld elements; must divide them",
                  (int)attr->size, (long long)ex__shape_count(in[0]));
}

static void moments(const ex_real *x, int64_t n, double eps, double *mean, double *scale) {
  double sum = 0, squares = 0;
  for (int64_t i = 0; i < n; i++) sum += (double)x[i];
  *mean = sum / (double)n;
  for (int64_t i = 0; i < n; i++) squares += ((double)x[i] - *mean) * ((double)x[i] - *mean);
  *scale = 1 / sqrt(squares / (double)n + eps);
}

static void forward(const struct ex_op_call *call) {
  const struct ex_standardise *attr = call->node->attr;
  int64_t n = ex__call_count(call), size = attr->size;
  for (int64_t first = 0; first < n; first += size) {
    double mean, scale;
    moments(call->in[0] + first, size, attr->eps, &mean, &scale);
    for (int64_t i = first; i < first + size; i++)
      call->out[i] = (ex_real)(((double)call->in[0][i] - mean) * scale);
  }
}

/* dx = s · (dy − mean(dy) − y · mean(dy · y)), with y and s made again. */
static void backward(const struct ex_op_call *call) {
  const struct ex_standardise *attr = call->node->attr;
  if (call->din[0] == NULL) return;
  int64_t n = ex__call_count(call), size = attr->size;
  for (int64_t first = 0; first < n; first += size) {
    double mean, scale, sum = 0, product = 0;
    moments(call->in[0] + first, size, attr->eps, &mean, &scale);
    for (int64_t i = first; i < first + size; i++) {
      sum += (double)call->dout[i];
      product += (double)call->dout[i] * ((double)call->in[0][i] - mean) * scale;
    }
    for (int64_t i = first; i < first + size; i++) {
      double y = ((double)call->in[0][i] - mean) * scale;
      call->din[0][i] += (ex_real)(scale * ((double)call->dout[i] - sum / (double)size -
                                            y * product / (double)size));
    }
  }
}

const struct ex_op ex__op_standardise = {
    .name = "standardise",
    .version = 1,
    .attrs = attrs,
    .attr_size = sizeof(struct ex_standardise),
    .min_in = 1,
    .max_in = 1,
    .flags = EX_OP_NEEDS_INPUT | EX_OP_ROWS,
    .shape = shape,
    .forward = forward,
    .backward = backward,
};
