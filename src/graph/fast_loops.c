/* SPDX-License-Identifier: Apache-2.0
 *
 * graph/fast_loops: which instruction set this processor has. A table instead
 * of target_clones: clang 14 and the sanitizers do not get along with its
 * indirect functions, and the table also tells `describe` what runs.
 */
#include "graph/fast_loops.h"

const struct fast_loops *ex__fast_loops(void) {
#if EX_FAST_LOOPS_SETS
  if (__builtin_cpu_supports("avx512f") && __builtin_cpu_supports("avx512bw") &&
      __builtin_cpu_supports("avx512dq") && __builtin_cpu_supports("avx512vl"))
    return &ex__loops_avx512;
  if (__builtin_cpu_supports("avx2") && __builtin_cpu_supports("fma")) return &ex__loops_avx2;
#endif
  return &ex__loops_base;
}
