/* SPDX-License-Identifier: Apache-2.0
 *
 * method/pcgrad: projected conflicting gradients, Yu, Kumar, Gupta, Levine,
 * Hausman, Finn, "Gradient Surgery for Multi-Task Learning", NeurIPS 2020,
 * algorithm 1, with one exit as one task.
 *
 * The gradient of each exit is taken through the others in random order; where
 * its inner product with g_j is negative (as it stands by then), it loses its
 * part along g_j: g ← g − (g · g_j / |g_j|²) g_j. The projected gradients are
 * summed. All of them are sums of the gradients that we began with, so their
 * inner products are all that is needed, and the order is drawn from the seed
 * of the step.
 *
 * Only parameters that two exits reach are merged. In the authors' code the
 * gradients are those of all parameters, which gives the same inner products
 * (where one exit alone reaches, one factor is zero) and also moves, a little,
 * a head along the part of its own gradient that another exit's lost.
 */
#include "base/random.h"
#include "method/method.h"

enum { STREAM_ORDER = 0x9c };

static double loss(const void *values, void *state, const struct ex_loss_call *call) {
  (void)values, (void)state;
  double sum = 0;
  for (int32_t k = 0; k < call->n_points; k++) sum += ex__method_cross_entropy(call, k, 1, 0);
  return sum;
}

static void merge(const void *values, void *state, const struct ex_merge_call *call) {
  (void)values, (void)state;
  struct ex_random random = ex__random_seed(call->seed, STREAM_ORDER);
  int32_t n = call->n, order[EX_MAX_POINTS];
  for (int32_t k = 0; k < n; k++) call->weight[k] = 0;
  for (int32_t i = 0; i < n; i++) {
    double part[EX_MAX_POINTS] = {0}; /* of each gradient in the projected one */
    part[i] = 1;
    for (int32_t k = 0; k < n; k++) order[k] = k;
    ex__random_shuffle(&random, order, n);
    for (int32_t k = 0; k < n; k++) {
      int32_t j = order[k];
      double along = 0, size = call->product[j * n + j];
      for (int32_t l = 0; l < n; l++) along += part[l] * call->product[l * n + j];
      if (j != i && along < 0 && size > 0) part[j] -= along / size;
    }
    for (int32_t k = 0; k < n; k++) call->weight[k] += part[k];
  }
}

const struct ex_method ex__method_pcgrad = {
    .name = "pcgrad",
    .cite = "Yu et al., Gradient Surgery for Multi-Task Learning, NeurIPS 2020",
    .summary = "Trains all exits together, and takes from the gradient of each what works against "
               "the gradient of another, in the weights that both reach. A step costs one forward "
               "pass and a backward pass per exit, and memory for a gradient of each. Choose it "
               "where exits are few and pull the first stages apart.",
    .loss = loss,
    .merge = merge,
};
