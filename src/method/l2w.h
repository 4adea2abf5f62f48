/* SPDX-License-Identifier: Apache-2.0
 *
 * method/l2w: what Learning to Weight Samples keeps between steps, in its own
 * header for the tests that look into it.
 */
#ifndef EX_METHOD_L2W_H
#define EX_METHOD_L2W_H

#include "method/adam.h"

/* The weight-prediction network: in [n_in] → relu [n_hidden] → tanh [n_points]. */
struct ex_l2w_shape {
  int32_t n_in, n_hidden, n_points;
};

static inline int64_t ex__l2w_count(const struct ex_l2w_shape *shape) {
  return (int64_t)shape->n_hidden * (shape->n_in + 1) +
         (int64_t)shape->n_points * (shape->n_hidden + 1);
}

struct ex_l2w_state {
  struct ex_adam adam;
  /* [3][ex__l2w_count]: the network's numbers (weights [n_hidden][n_in], biases
   * [n_hidden], weights [n_points][n_hidden], biases [n_points]), and Adam's two
   * means of their gradients. */
  double number[];
};

#endif
