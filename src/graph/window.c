/* SPDX-License-Identifier: Apache-2.0
 *
 * graph/window: the geometry of pooling.
 */
#include "graph/window.h"

#include "graph/shape.h"

static int32_t stride_of(const struct ex_pool *attr) {
  return attr->stride > 0 ? attr->stride : attr->kernel;
}

enum ex_status ex__window_shape(const struct ex_node *node, const struct ex_shape *const *in,
                                struct ex_shape *out, struct ex_error *err) {
  const struct ex_pool *attr = node->attr;
  const char *op = node->op->name;
  char text[EX_SHAPE_TEXT_SIZE];
  EX_TRY(ex__shape_is_image(op, in[0], err));
  /* Otherwise a window could lie wholly in the padding and have nothing to pool. */
  if (attr->pad > attr->kernel / 2)
    return ex__fail(err, EX_ESHAPE, "%s: pad = %d; must be at most half of the kernel, %d", op,
                    (int)attr->pad, (int)attr->kernel);
  int64_t dim[3] = {in[0]->dim[0]};
  for (int i = 1; i < 3; i++)
    dim[i] = ex__window_count(in[0]->dim[i], attr->kernel, 1, stride_of(attr), attr->pad,
                              attr->ceil_mode);
  if (dim[1] < 1 || dim[2] < 1)
    return ex__fail(err, EX_ESHAPE, "%s: kernel %d on input %s padded by %d; must fit", op,
                    (int)attr->kernel, ex__shape_text(in[0], text), (int)attr->pad);
  return ex__shape_make(op, 3, dim, out, err);
}

int32_t ex__window_span(const struct ex_pool *attr, int64_t size, int64_t i, int32_t *begin,
                        int32_t *end) {
  int64_t first = i * stride_of(attr) - attr->pad, last = first + attr->kernel;
  if (last > size + attr->pad) last = size + attr->pad;
  *begin = (int32_t)(first > 0 ? first : 0);
  *end = (int32_t)(last < size ? last : size);
  return (int32_t)(last - first);
}

struct ex_window ex__window_at(const struct ex_pool *attr, const struct ex_shape *in, int32_t row,
                               int32_t column) {
  struct ex_window window;
  int32_t rows = ex__window_span(attr, in->dim[1], row, &window.top, &window.bottom);
  int32_t columns = ex__window_span(attr, in->dim[2], column, &window.left, &window.right);
  window.padded = rows * columns;
  return window;
}
