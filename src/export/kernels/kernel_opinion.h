/* SPDX-License-Identifier: Apache-2.0
 *
 * export/kernels/kernel_opinion: the logarithm of a softmax.
 */
#ifndef EX_EXPORT_KERNELS_KERNEL_OPINION_H
#define EX_EXPORT_KERNELS_KERNEL_OPINION_H

#include "export/kernels/kernel_logarithm.h"

/* opinion[i] = z[i] less the logarithm of Σ exp(z); not numbers where one of z is not */
static void log_softmax(const float *z, int n, float *opinion) {
  float most = z[0], sum = 0;
  for (int i = 1; i < n; i++)
    if (z[i] > most) most = z[i];
  for (int i = 0; i < n; i++) sum += exponential(z[i] - most);
  for (int i = 0; i < n; i++) opinion[i] = (z[i] - most) - logarithm(sum);
}

/* Σ factor · opinion, over the exits so far whose factor is not 0, and a bias. */
static float combine(const float *row, int exit, const float *state, int n, int output) {
  float sum = row[exit + 1 + output];
  for (int j = 0; j <= exit; j++)
    if (row[j] != 0) sum += row[j] * state[j * n + output];
  return sum;
}

#endif
