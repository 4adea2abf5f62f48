/* SPDX-License-Identifier: Apache-2.0
 *
 * report/expression: the left side of a claim: paths into a JSON document and
 * numbers, joined by + - * / (with spaces around them; * and / bind first).
 * "joint.mean_macs / trunk.full.macs", "joint.exits.*.accuracy" (a mean over the exits)
 */
#ifndef EX_REPORT_EXPRESSION_H
#define EX_REPORT_EXPRESSION_H

#include <jansson.h>

#include "base/status.h"

enum ex_status ex__expression_evaluate(const char *text, const json_t *document, double *value,
                                       struct ex_error *err);

#endif
