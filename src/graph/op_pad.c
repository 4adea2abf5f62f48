/* SPDX-License-Identifier: Apache-2.0
 *
 * graph/op_pad: a constant around the input, along any of its dimensions.
 */
#include "graph/strided.h"

static const struct ex_param attrs[] = {
    {"shape", EX_PARAM_LIST, offsetof(struct ex_pad, shape), 1, INT32_MAX, "1", NULL,
     "Of the output."},
    {"dims", EX_PARAM_LIST, offsetof(struct ex_pad, dims), 1, INT32_MAX, "1", NULL,
     "Of the input."},
    {"before", EX_PARAM_LIST, offsetof(struct ex_pad, before), 0, 1 << 20, "0", NULL,
     "Elements in front, a number per dim."},
    {"after", EX_PARAM_LIST, offsetof(struct ex_pad, after), 0, 1 << 20, "0", NULL,
     "Elements behind, a number per dim."},
    {"value", EX_PARAM_REAL, offsetof(struct ex_pad, value), -3.5e38, 3.5e38, "0", NULL,
     "The constant."},
    {.name = NULL},
};

/* The input as it lies in a row of the padded one. */
static struct ex_strided inside_of(const struct ex_pad *attr, int64_t *offset, int64_t *count) {
  struct ex_strided inside = ex__strided_of(&attr->dims, NULL);
  int64_t step = 1;
  *offset = 0;
  for (int32_t i = inside.n - 1; i >= 0; i--) {
    inside.step[i] = step;
    *offset += (int64_t)attr->before.value[i] * step;
    step *= inside.dim[i] + (int64_t)attr->before.value[i] + (int64_t)attr->after.value[i];
  }
  *count = step;
  return inside;
}

static enum ex_status shape(const struct ex_node *node, const struct ex_shape *const *in,
                            struct ex_shape *out, struct ex_error *err) {
  const struct ex_pad *attr = node->attr;
  int64_t count = 1, padded = 1;
  int32_t n = attr->dims.n;
  if (n < 1 || n > EX_MAX_DIMS || attr->before.n != n || attr->after.n != n)
    return ex__fail(err, EX_ESHAPE, "pad: %d dims, %d and %d pads; must be as many, 1 to %d",
                    (int)n, (int)attr->before.n, (int)attr->after.n, EX_MAX_DIMS);
  for (int32_t i = 0; i < n; i++) {
    count *= (int64_t)attr->dims.value[i]; /* each factor below 2^31, as are the products */
    padded *= (int64_t)attr->dims.value[i] + (int64_t)attr->before.value[i] +
              (int64_t)attr->after.value[i];
    if (padded > INT32_MAX)
      return ex__fail(err, EX_ESHAPE, "pad: more than %d elements", INT32_MAX);
  }
  if (count != ex__shape_count(in[0]))
    return ex__fail(err, EX_ESHAPE, "pad: dims of %lld elements; the input has %lld",
                    (long long)count, (long long)ex__shape_count(in[0]));
  return ex__strided_shape("pad", &attr->shape, padded, out, err);
}

static void forward(const struct ex_op_call *call) {
  const struct ex_pad *attr = call->node->attr;
  int64_t offset, n, n_in = ex__shape_count(call->in_shape[0]);
  struct ex_strided inside = inside_of(attr, &offset, &n);
  for (int64_t i = 0; i < call->batch * n; i++) call->out[i] = (ex_real)attr->value;
  for (int64_t s = 0; s < call->batch; s++) {
    struct ex_counter counter = {{0}};
    int64_t at = s * n + offset;
    for (int64_t i = 0; i < n_in; i++, ex__count_on(&counter, &inside, &at))
      call->out[at] = call->in[0][s * n_in + i];
  }
}

static void backward(const struct ex_op_call *call) {
  const struct ex_pad *attr = call->node->attr;
  if (call->din[0] == NULL) return;
  int64_t offset, n, n_in = ex__shape_count(call->in_shape[0]);
  struct ex_strided inside = inside_of(attr, &offset, &n);
  for (int64_t s = 0; s < call->batch; s++) {
    struct ex_counter counter = {{0}};
    int64_t at = s * n + offset;
    for (int64_t i = 0; i < n_in; i++, ex__count_on(&counter, &inside, &at))
      call->din[0][s * n_in + i] += call->dout[at];
  }
}

const struct ex_op ex__op_pad = {
    .name = "pad",
    .version = 1,
    .attrs = attrs,
    .attr_size = sizeof(struct ex_pad),
    .min_in = 1,
    .max_in = 1,
    .shape = shape,
    .forward = forward,
    .backward = backward,
};
