/* SPDX-License-Identifier: Apache-2.0
 *
 * graph/shape: shapes, and the checks that operators share.
 */
#include "graph/shape.h"

#include <stdio.h>

int64_t ex__shape_count(const struct ex_shape *shape) {
  int64_t count = 1;
  for (int32_t i = 0; i < shape->rank; i++) count *= shape->dim[i];
  return count;
}

bool ex__shape_equal(const struct ex_shape *a, const struct ex_shape *b) {
  if (a->rank != b->rank) return false;
  for (int32_t i = 0; i < a->rank; i++)
    if (a->dim[i] != b->dim[i]) return false;
  return true;
}

const char *ex__shape_text(const struct ex_shape *shape, char text[EX_SHAPE_TEXT_SIZE]) {
  int used = 0;
  text[0] = '\0';
  for (int32_t i = 0; i < shape->rank && i < EX_MAX_RANK; i++)
    used += snprintf(text + used, (size_t)(EX_SHAPE_TEXT_SIZE - used), "[%d]", (int)shape->dim[i]);
  return text;
}

enum ex_status ex__shape_of_inputs(const struct ex_node *node, const struct ex_shape *const *in,
                                   struct ex_shape *out, struct ex_error *err) {
  char first[EX_SHAPE_TEXT_SIZE], other[EX_SHAPE_TEXT_SIZE];
  for (int32_t i = 1; i < node->n_in; i++)
    if (!ex__shape_equal(in[0], in[i]))
      return ex__fail(err, EX_ESHAPE, "%s: input %d is %s; must be %s as the first is",
                      node->op->name, (int)i, ex__shape_text(in[i], other),
                      ex__shape_text(in[0], first));
  *out = *in[0];
  return EX_OK;
}

enum ex_status ex__shape_is_image(const char *op, const struct ex_shape *in, struct ex_error *err) {
  char text[EX_SHAPE_TEXT_SIZE];
  if (in->rank == 3) return EX_OK;
  return ex__fail(err, EX_ESHAPE, "%s: input is %s; must be [channels][height][width]", op,
                  ex__shape_text(in, text));
}

enum ex_status ex__shape_make(const char *op, int32_t rank, const int64_t *dim,
                              struct ex_shape *out, struct ex_error *err) {
  char text[EX_SHAPE_TEXT_SIZE];
  int64_t count = 1;
  *out = (struct ex_shape){.rank = rank};
  for (int32_t i = 0; i < rank; i++) {
    if (dim[i] < 1 || dim[i] > INT32_MAX)
      return ex__fail(err, EX_ESHAPE, "%s: dimension %d = %lld; must be in [1, %d]", op, (int)i,
                      (long long)dim[i], INT32_MAX);
    out->dim[i] = (int32_t)dim[i];
    count = count > INT32_MAX ? count : count * dim[i]; /* below 2^62 */
  }
  if (count > INT32_MAX)
    return ex__fail(err, EX_ESHAPE, "%s: output of %s; must have at most %d elements", op,
                    ex__shape_text(out, text), INT32_MAX);
  return EX_OK;
}

enum ex_status ex__shape_from_list(const char *op, const struct ex_list *list, struct ex_shape *out,
                                   struct ex_error *err) {
  int64_t dim[3];
  if (list->n != 1 && list->n != 3)
    return ex__fail(err, EX_ESHAPE, "%s: shape has %d numbers; must have 1 or 3", op, (int)list->n);
  for (int32_t i = 0; i < list->n; i++) {
    double value = list->value[i];
    dim[i] = value >= 1 && value <= INT32_MAX ? (int64_t)value : 0;
    if ((double)dim[i] != value)
      return ex__fail(err, EX_ESHAPE, "%s: shape holds %g; must be whole numbers in [1, %d]", op,
                      value, INT32_MAX);
  }
  return ex__shape_make(op, list->n, dim, out, err);
}

int64_t ex__window_count(int64_t size, int64_t kernel, int64_t dilation, int64_t stride,
                         int64_t pad, bool ceil_mode) {
  int64_t room = size + 2 * pad - dilation * (kernel - 1) - 1;
  if (room < 0) return 0;
  int64_t count = (room + (ceil_mode ? stride - 1 : 0)) / stride + 1;
  if (ceil_mode && (count - 1) * stride >= size + pad) count--;
  return count;
}
