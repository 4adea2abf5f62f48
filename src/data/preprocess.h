/* SPDX-License-Identifier: Apache-2.0
 *
 * data/preprocess: what a model does to raw values before its first stage. It
 * is computed on the training samples and stored with the model, and training,
 * evaluation and prediction all go through ex__preprocess_apply, so that the
 * same picture gives the same bits everywhere.
 */
#ifndef EX_DATA_PREPROCESS_H
#define EX_DATA_PREPROCESS_H

#include <jansson.h>
#include <stdbool.h>
#include <stdint.h>

#include "base/real.h"
#include "base/status.h"

enum { EX_MAX_STATISTICS = 64 };

/* (x / 255 where bytes, then − mean) / deviation, per channel. */
struct ex_preprocess {
  bool bytes;         /* raw values are 0 … 255 */
  int32_t n_channels; /* 1, or dim[0] of the input */
  double mean[EX_MAX_STATISTICS];
  double deviation[EX_MAX_STATISTICS]; /* each > 0 */
};

/* One input of `features` numbers, a multiple of n_channels; may be in place. */
void ex__preprocess_apply(const struct ex_preprocess *preprocess, const ex_real *raw,
                          int64_t features, ex_real *out);

json_t *ex__preprocess_to_json(const struct ex_preprocess *preprocess); /* NULL: no memory */
/* Checks everything; `features` must be a multiple of the number of channels. */
enum ex_status ex__preprocess_from_json(const json_t *json, const char *where, int64_t features,
                                        struct ex_preprocess *out, struct ex_error *err);

#endif
