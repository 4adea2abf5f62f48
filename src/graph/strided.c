/* SPDX-License-Identifier: Apache-2.0
 *
 * graph/strided: the checks.
 */
#include "graph/strided.h"

struct ex_strided ex__strided_of(const struct ex_list *dims, const struct ex_list *steps) {
  struct ex_strided strided = {.n = dims->n};
  for (int32_t i = 0; i < dims->n && i < EX_MAX_DIMS; i++) {
    strided.dim[i] = (int64_t)dims->value[i];
    strided.step[i] = steps != NULL ? (int64_t)steps->value[i] : 0;
  }
  return strided;
}

int64_t ex__strided_count(const struct ex_strided *strided) {
  int64_t count = 1;
  for (int32_t i = 0; i < strided->n; i++) count *= strided->dim[i];
  return count;
}

static bool whole(double x) { return x >= INT32_MIN && x <= INT32_MAX && (double)(int32_t)x == x; }

enum ex_status ex__strided(const char *op, const struct ex_list *dims, const struct ex_list *steps,
                           int64_t offset, int64_t size, struct ex_strided *out,
                           struct ex_error *err) {
  int64_t low = offset, high = offset, count = 1;
  if (dims->n < 1 || dims->n > EX_MAX_DIMS || steps->n != dims->n)
    return ex__fail(err, EX_ESHAPE, "%s: %d dims and %d steps; must be as many, 1 to %d", op,
                    (int)dims->n, (int)steps->n, EX_MAX_DIMS);
  for (int32_t i = 0; i < dims->n; i++) {
    double dim = dims->value[i], step = steps->value[i];
    if (!whole(dim) || dim < 1 || !whole(step))
      return ex__fail(err, EX_ESHAPE, "%s: dim %g with step %g; must be whole numbers", op, dim,
                      step);
    count *= (int64_t)dim;
    if (count > INT32_MAX)
      return ex__fail(err, EX_ESHAPE, "%s: more than %d elements", op, INT32_MAX);
    int64_t reach = ((int64_t)dim - 1) * (int64_t)step; /* below 2^62 */
    if (reach > INT32_MAX || reach < -(int64_t)INT32_MAX)
      return ex__fail(err, EX_ESHAPE, "%s: dim %g with step %g goes too far", op, dim, step);
    high += reach > 0 ? reach : 0;
    low += reach < 0 ? reach : 0;
  }
  if (low < 0 || high >= size)
    return ex__fail(err, EX_ESHAPE, "%s: elements %lld to %lld; must lie in [0, %lld)", op,
                    (long long)low, (long long)high, (long long)size);
  *out = ex__strided_of(dims, steps);
  return EX_OK;
}

enum ex_status ex__strided_shape(const char *op, const struct ex_list *shape, int64_t count,
                                 struct ex_shape *out, struct ex_error *err) {
  EX_TRY(ex__shape_from_list(op, shape, out, err));
  if (ex__shape_count(out) == count) return EX_OK;
  return ex__fail(err, EX_ESHAPE, "%s: a shape of %lld elements; must have %lld", op,
                  (long long)ex__shape_count(out), (long long)count);
}
