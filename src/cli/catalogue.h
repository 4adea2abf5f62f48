/* SPDX-License-Identifier: Apache-2.0
 *
 * cli/catalogue: entries papers/NAME.json (built in) and results/NAME.json.
 */
#ifndef EX_CLI_CATALOGUE_H
#define EX_CLI_CATALOGUE_H

#include <jansson.h>

#include "base/status.h"

/* Name of entry `index`, in order of name; NULL past the last. */
const char *catalogue_at(int32_t index);
/* A new reference; an unknown name lists the known. `err` may be NULL. */
enum ex_status catalogue_find(const char *name, json_t **entry, struct ex_error *err);
/* results/NAME.json below the current folder; NULL where there is none. */
json_t *catalogue_result(const char *name);
/* The table of claims and verdicts, and what the runs gain over their baselines,
 * in Markdown; `result` may be NULL. */
void catalogue_print_result(const json_t *entry, const json_t *result);
/* Rows of report/comparison: a Markdown table per setting, in percent and points. */
void catalogue_print_comparison(const json_t *rows);
/* Claims of a result, two lines each. */
void catalogue_print_claims(const json_t *claims);

#endif
