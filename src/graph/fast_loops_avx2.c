/* SPDX-License-Identifier: Apache-2.0
 *
 * graph/fast_loops_avx2: 8 lanes, 16 registers.
 */
#include "graph/fast_loops.h"

#if !EX_FAST_LOOPS_SETS
typedef int ex_nothing_here; /* ISO C wants a declaration */
#else

#define LOOPS ex__loops_avx2
#define LOOPS_NAME "avx2"
#define LOOPS_TARGET __attribute__((target("avx2,fma")))
#define LANES 8
#define CONV_ONE(X) X(6) X(3) X(1)
#define WEIGHT_ONE(X) X(6) X(3) X(1)
#include "graph/fast_loops_template.h"

#endif
