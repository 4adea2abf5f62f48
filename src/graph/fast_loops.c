/* SPDX-License-Identifier: Apache-2.0
 *
 * graph/fast_loops: the loops of fast_loops_template.h, once per instruction
 * set. Explicit targets and a table instead of target_clones: clang 14 and the
 * sanitizers do not get along with its indirect functions, and the table also
 * tells `describe` what runs.
 */
#include "graph/fast_loops.h"

#include <stddef.h>
#include <string.h>

#ifdef __clang__
#define UNROLL _Pragma("clang loop unroll(full)")
#else
#define UNROLL _Pragma("GCC unroll 28")
#endif

#if defined(__x86_64__) && defined(__GNUC__)
#define LOOPS(name) name##_avx512
#define LOOPS_NAME "avx512"
#define LOOPS_TARGET __attribute__((target("avx512f,avx512bw,avx512dq,avx512vl,avx2,fma")))
#include "graph/fast_loops_template.h"
#undef LOOPS
#undef LOOPS_NAME
#undef LOOPS_TARGET

#define LOOPS(name) name##_avx2
#define LOOPS_NAME "avx2"
#define LOOPS_TARGET __attribute__((target("avx2,fma")))
#include "graph/fast_loops_template.h"
#undef LOOPS
#undef LOOPS_NAME
#undef LOOPS_TARGET
#endif

#define LOOPS(name) name##_portable
#define LOOPS_NAME "portable"
#define LOOPS_TARGET
#include "graph/fast_loops_template.h"

const struct fast_loops *ex__fast_loops(void) {
#if defined(__x86_64__) && defined(__GNUC__)
  if (__builtin_cpu_supports("avx512f") && __builtin_cpu_supports("avx512bw") &&
      __builtin_cpu_supports("avx512dq") && __builtin_cpu_supports("avx512vl"))
    return &loops_avx512;
  if (__builtin_cpu_supports("avx2") && __builtin_cpu_supports("fma")) return &loops_avx2;
#endif
  return &loops_portable;
}
