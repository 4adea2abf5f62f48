/* SPDX-License-Identifier: Apache-2.0
 *
 * zoo/zoo_internal_classifier: Shallow-Deep Networks (Kaya, Hong & Dumitras,
 * ICML 2019).
 *
 * A classifier reduces its map by windows of floor(side / 4), which leaves
 * about 4×4, mixing a·max + (1 − a)·average with one trained scalar a that
 * starts uniform in (0, 1); maps smaller than 4 are not reduced. Then one
 * linear layer. Where the window is 1 the reduction is the identity and a has
 * no gradient: it is left out, which computes the same.
 */
#include "zoo/zoo_internal_classifier.h"

#include <math.h>

void ex__zoo_place(ex_builder *builder, const int64_t *cost, int32_t n, int64_t total,
                   const struct ex_list *shares, bool *marked) {
  for (int32_t i = 0; i < n; i++) marked[i] = false;
  for (int32_t k = 0; k < shares->n; k++) {
    double wanted = shares->value[k] * (double)total, nearest = INFINITY, so_far = 0;
    int32_t best = 0;
    for (int32_t i = 0; i < n; i++) {
      so_far += (double)cost[i];
      if (fabs(so_far - wanted) >= nearest) continue;
      nearest = fabs(so_far - wanted);
      best = i;
    }
    if (n < 1 || marked[best]) {
      ex__builder_fail(builder, EX_EINVAL,
                       "shares: %g of the work falls on layer %d, as another does; must be "
                       "farther apart",
                       shares->value[k], (int)best + 1);
      return;
    }
    marked[best] = true;
  }
}

static int32_t mixed_pool(ex_builder *builder, int32_t x) {
  const struct ex_shape *shape = ex__builder_shape(builder, x);
  int32_t side = shape->dim[1] < shape->dim[2] ? shape->dim[1] : shape->dim[2], window = side / 4;
  if (window <= 1) return x;
  const int32_t in[] = {ex__builder_max_pool(builder, x, window, window, 0),
                        ex__builder_avg_pool(builder, x, window, window, 0)};
  return ex__builder_op(builder, "blend", "pool", NULL, in, 2);
}

void ex__zoo_internal_classifier(ex_builder *builder, int32_t x) {
  ex__builder_head(builder);
  ex__zoo_classify(builder, mixed_pool(builder, x));
}
