/* SPDX-License-Identifier: Apache-2.0
 *
 * graph/fast_train_parallel: sharing out work among threads.
 */
#include "graph/fast_train.h"

void ex__train_parallel(int32_t threads, int64_t n, train_range *run, void *context) {
  if (threads <= 1) {
    run(context, 0, 0, n);
    return;
  }
#pragma omp parallel for num_threads(threads) schedule(static, 1)
  for (int32_t t = 0; t < threads; t++) run(context, t, n * t / threads, n * (t + 1) / threads);
}
