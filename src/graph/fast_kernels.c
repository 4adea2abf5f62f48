/* SPDX-License-Identifier: Apache-2.0
 *
 * graph/fast_kernels: which instruction set this processor has.
 */
#include "graph/fast_kernels.h"

const struct ex_kernels *ex__kernels(void) {
#if defined(__x86_64__)
  if (__builtin_cpu_supports("avx512f") && __builtin_cpu_supports("avx512bw") &&
      __builtin_cpu_supports("avx512vl") && __builtin_cpu_supports("avx512dq"))
    return &ex__kernels_avx512;
  if (__builtin_cpu_supports("avx2") && __builtin_cpu_supports("fma")) return &ex__kernels_avx2;
#endif
  return &ex__kernels_base;
}
