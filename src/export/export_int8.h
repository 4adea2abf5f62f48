/* SPDX-License-Identifier: Apache-2.0
 *
 * export/export_int8: the arithmetic of 8-bit numbers.
 *
 *     real = scale · (stored − zero), stored in [−128, 127]
 *
 * One scale and zero per value, from its range on held-out inputs, which always
 * contains 0; weights have a scale per output channel and no zero. A sum of products
 * is an exact integer; it becomes an output by a multiplier of 31 bits and a
 * shift (kernels/int8_requantise.h: to the nearest, halves upwards).
 */
#ifndef EX_EXPORT_EXPORT_INT8_H
#define EX_EXPORT_EXPORT_INT8_H

#include "export/export_layer.h"

struct ex_multiplier {
  int32_t multiplier; /* factor · 2^shift */
  int32_t shift;      /* in [1, 62] */
};

struct ex_quantum ex__quantum_of(double least, double most);
/* real to stored: to the nearest, halves away from zero, within [−128, 127]. */
int32_t ex__quantum_store(const struct ex_quantum *quantum, double real);
/* As exact as 31 bits allow; factor > 0. */
struct ex_multiplier ex__multiplier_of(double factor);

/* The least stored number of a step's output: its zero behind a relu. */
static inline int32_t ex__int8_low(const struct ex_export_plan *plan,
                                   const struct ex_layer_step *step) {
  return step->relu ? ex__layer_out(plan, step)->quantum.zero : -128;
}

#endif
