/* SPDX-License-Identifier: Apache-2.0
 *
 * export/export_onnx: a calibrated model as an ONNX graph, exits, rule and
 * pre-processing included. docs/export-onnx.md describes what comes out.
 *
 * What it cannot write (an operator, an exit rule, an exit transform) is refused by
 * name; nothing is left out in silence. The same model gives the same bytes.
 */
#ifndef EX_EXPORT_EXPORT_ONNX_H
#define EX_EXPORT_EXPORT_ONNX_H

#include "net/model.h"
#include "policy/policy.h"

enum ex_onnx_form {
  EX_ONNX_FORM_BATCH, /* any number of inputs: at each exit those that stay are gathered */
  EX_ONNX_FORM_SINGLE /* one input: a chain of If */
};

struct ex_export_onnx {
  const ex_model *model;
  const ex_policy *policy;
  enum ex_onnx_form form;
};

/* *data, *size: the file; the caller's (ex__free). EX_EUNSUPPORTED names what cannot be
 * exported. */
enum ex_status ex__export_onnx(const struct ex_export_onnx *job, void **data, size_t *size,
                               struct ex_error *err);

#endif
