/* SPDX-License-Identifier: Apache-2.0
 *
 * graph/fast_loops_base: 4 lanes, for any processor.
 */
#define LOOPS ex__loops_base
#define LOOPS_NAME "base"
#define LOOPS_TARGET
#define LANES 4
#define CONV_ONE(X) X(2) X(1)
#define WEIGHT_ONE(X) X(2) X(1)
#include "graph/fast_loops_template.h"
