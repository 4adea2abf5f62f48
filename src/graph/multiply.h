/* SPDX-License-Identifier: Apache-2.0
 *
 * graph/multiply: the small matrix product under the twins of conv2d and
 * linear. Plain C that any compiler vectorises; a library's product is not
 * wanted here, since the twin is what the libraries are checked against.
 */
#ifndef EX_GRAPH_MULTIPLY_H
#define EX_GRAPH_MULTIPLY_H

#include <stdint.h>

#include "base/real.h"

/* A matrix that is read at data[row * row_step + column * column_step]. */
struct ex_matrix {
  const ex_real *data;
  int64_t row_step, column_step;
};

/* c [rows][columns] += a [rows][depth] · b [depth][columns]; a by any steps, b
 * and c with unit column step. Each sum runs in order of depth, whatever the
 * other sizes, so that its bits do not depend on them. */
void ex__multiply_add(int64_t rows, int64_t columns, int64_t depth, struct ex_matrix a,
                      const ex_real *b, int64_t b_step, ex_real *c, int64_t c_step);

/* Σ a[i] · b[i], in eight interleaved partial sums so that it vectorises. */
ex_real ex__dot(const ex_real *a, const ex_real *b, int64_t n);

#endif
