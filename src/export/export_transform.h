/* SPDX-License-Identifier: Apache-2.0
 *
 * export/export_transform: what happens to numbers before the first stage and after
 * a head: pre-processing and exit transforms, as C.
 */
#ifndef EX_EXPORT_EXPORT_TRANSFORM_H
#define EX_EXPORT_EXPORT_TRANSFORM_H

#include "export/export_plan.h"

/* Bytes in front of the work memory: the answer, and what is carried from exit to
 * exit; 0 where heads answer as they are. */
int64_t ex__transform_reserved(const ex_net *net);
/* Its constants; returns its kernel, NULL: none is needed. */
const char *ex__transform_write_constants(const struct ex_export_plan *plan, struct ex_text *text);
void ex__transform_write_start(const struct ex_export_plan *plan, struct ex_text *text);
void ex__transform_write_call(const struct ex_export_plan *plan, struct ex_text *text);

enum ex_status ex__input_check(const struct ex_export_plan *plan, struct ex_error *err);
/* In float: mean and factor of each channel. In int8: what each byte becomes, or the
 * same numbers where inputs are no bytes. Returns the kernel. */
const char *ex__input_write_constants(const struct ex_export_plan *plan, struct ex_text *text);
void ex__input_write_call(const struct ex_export_plan *plan, struct ex_text *text);

#endif
