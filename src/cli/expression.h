/* SPDX-License-Identifier: Apache-2.0
 *
 * cli/expression: the left side of a claim: paths into a JSON document and
 * numbers, joined by + - * / (with spaces around them; * and / bind first).
 * "joint.mean_macs / trunk.full.macs", "joint.exits.*.accuracy" (a mean over the exits)
 */
#ifndef EX_CLI_EXPRESSION_H
#define EX_CLI_EXPRESSION_H

#include <jansson.h>

#include "base/status.h"

enum ex_status expression_evaluate(const char *text, const json_t *document, double *value,
                                   struct ex_error *err);

#endif
