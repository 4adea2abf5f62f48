/* SPDX-License-Identifier: Apache-2.0
 *
 * net/transform: exit transforms: from the raw outputs of heads to the output
 * that is the answer at a point, with a small running state over the points of
 * one sample. Trace, engine and export use this one code.
 *
 * `temperature` divides by a positive number per point, and 1 leaves the bits
 * alone; the other kinds may be scaled so too, after all else. `additive` (boosting) adds the answer of the point before, times a
 * factor. `ensemble` lets all heads so far answer together (net/ensemble.h), and
 * `product` multiplies what they say, so that a class falls out for good.
 * `kind` is written to files by name.
 *
 * A kind that keeps state sees every point from the first to the one asked for,
 * in order: ex__transform_needs tells ex__net_closure which heads that takes.
 */
#ifndef EX_NET_TRANSFORM_H
#define EX_NET_TRANSFORM_H

#include <jansson.h>
#include <stdint.h>

#include "base/param.h"
#include "base/real.h"
#include "base/status.h"
#include "net/ensemble.h"

enum ex_transform_kind {
  EX_TRANSFORM_IDENTITY,
  EX_TRANSFORM_TEMPERATURE,
  EX_TRANSFORM_ADDITIVE,
  EX_TRANSFORM_ENSEMBLE,
  EX_TRANSFORM_PRODUCT
};

struct ex_transform {
  enum ex_transform_kind kind;
  struct ex_list temperature;   /* per point, each > 0; of any kind but the identity; none: 1 */
  double factor;                /* in [0, 1], of the earlier answer; additive only */
  struct ex_list weight;        /* per point, each in [0, 100]; product only */
  struct ex_ensemble *ensemble; /* owned; ensemble only, else NULL */
};

void ex__transform_clear(struct ex_transform *transform); /* to the identity */
/* to ← a transform of its own; `to` is cleared before, also on EX_ENOMEM. */
enum ex_status ex__transform_copy(const struct ex_transform *from, struct ex_transform *to);

/* Scales the outputs of any kind, or no longer, where the list is empty. */
void ex__transform_set_temperatures(struct ex_transform *transform, const struct ex_list *list);

/* From the identity to the product with weights (k + 1) / n_points; temperatures go. */
void ex__transform_set_product(struct ex_transform *transform, int32_t n_points);

/* Bits of the earlier points whose raw outputs the answer at `point` needs. */
uint32_t ex__transform_needs(const struct ex_transform *transform, int32_t point);

/* Elements of running state per sample, for n_outputs; 0 where none is needed. */
int32_t ex__transform_state_size(const struct ex_transform *transform, int32_t n_outputs);
/* Before the first point of a sample. */
void ex__transform_start(const struct ex_transform *transform, int32_t n_outputs, ex_real *state);
/* output [n_outputs] at `point` from raw [n_outputs]; may be in place. */
void ex__transform_apply(const struct ex_transform *transform, int32_t point, int32_t n_outputs,
                         const ex_real *raw, ex_real *state, ex_real *output);

json_t *ex__transform_to_json(const struct ex_transform *transform);
/* *out is not cleared before; where it fails there is nothing to clear. */
enum ex_status ex__transform_from_json(const json_t *json, int32_t n_points, int32_t n_outputs,
                                       struct ex_transform *out, struct ex_error *err);

#endif
