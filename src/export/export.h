/* SPDX-License-Identifier: Apache-2.0
 *
 * export/export: a calibrated model as C99: one source file and one header for
 * devices without an operating system: no allocation, no library, work memory
 * that is known per exit. docs/export-c.md describes what comes out.
 *
 * What it cannot write (an operator, an exit rule, an exit transform) is refused
 * by name; nothing is left out in silence. The same model gives the same text.
 */
#ifndef EX_EXPORT_EXPORT_H
#define EX_EXPORT_EXPORT_H

#include "base/text.h"
#include "net/model.h"
#include "policy/policy.h"

enum { EX_EXPORT_NAME_SIZE = 48 };

struct ex_export_c {
  const ex_model *model;
  const ex_policy *policy;
  const char *name; /* a C identifier in lower case that all public names begin with */
  bool int8;        /* weights and activations of 8 bits instead of float */
  /* int8 only: raw inputs that tell the ranges of activations: `read` fills x [input]
   * with number `index` of `samples`. They should be held-out ones: select. */
  void (*read)(void *context, int32_t index, ex_real *x);
  void *context;
  int32_t samples; /* ≥ 1 */
};

/* Whether `name` can be such a prefix: [a-z][a-z0-9_]*, shorter than
 * EX_EXPORT_NAME_SIZE. */
bool ex__export_name_is_good(const char *name);

/* Writes NAME.c to `source` and NAME.h to `header`, both cleared by the caller.
 * EX_EUNSUPPORTED names what cannot be exported. */
enum ex_status ex__export_c(const struct ex_export_c *job, struct ex_text *source,
                            struct ex_text *header, struct ex_error *err);

#endif
