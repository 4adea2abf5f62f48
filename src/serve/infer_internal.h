/* SPDX-License-Identifier: Apache-2.0
 * serve/infer_internal: what the files that read a request share. */
#ifndef EX_SERVE_INFER_INTERNAL_H
#define EX_SERVE_INFER_INTERNAL_H

#include "base/json.h"
#include "serve/infer.h"

struct ex_infer_job {
  const ex_model *model;
  int32_t max_n;
  const uint8_t *binary; /* what follows the JSON */
  size_t binary_size, json_size;
  bool all_binary; /* outputs, unless one says otherwise */
  struct ex_infer_request *out;
  struct ex_error *err;
};

/* infer_input.c: the tensor of numbers or images, or the cut, into `out`. */
enum ex_status ex__infer_read_inputs(const struct ex_infer_job *job, const json_t *request);

#endif
