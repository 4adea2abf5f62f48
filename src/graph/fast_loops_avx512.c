/* SPDX-License-Identifier: Apache-2.0
 *
 * graph/fast_loops_avx512: 16 lanes, 32 registers.
 */
#include "graph/fast_loops.h"

#if !EX_FAST_LOOPS_SETS
typedef int ex_nothing_here; /* ISO C wants a declaration */
#else

#define LOOPS ex__loops_avx512
#define LOOPS_NAME "avx512"
#define LOOPS_TARGET __attribute__((target("avx512f,avx512bw,avx512dq,avx512vl,avx2,fma")))
#define LANES 16
#define CONV_PAIR(X) X(14) X(7) X(4) X(1)
#define CONV_ONE(X) X(14) X(7) X(4) X(1)
#define WEIGHT_PAIR(X) X(12) X(4) X(1)
#define WEIGHT_ONE(X) X(24) X(8) X(3) X(1)
#include "graph/fast_loops_template.h"

#endif
