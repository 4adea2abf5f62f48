/* SPDX-License-Identifier: Apache-2.0
 *
 * cli/joining: model files in, one model of them out.
 */
#ifndef EX_CLI_JOINING_H
#define EX_CLI_JOINING_H

#include <jansson.h>

#include "base/status.h"

/* Reads the models `files` [n], from cheap to dear, joins them (net/join.h) and
 * writes the result to `output`, which must be none of them. Select, certify and
 * test samples must be the same where the models say which they were; the data are
 * the recipe's of the last model that has one. summary: {model, exits: [{exit,
 * file, macs, direct_macs, params, weights}…]}. */
enum ex_status joining_run(const char *const *files, int32_t n, const char *output,
                           json_t **summary, struct ex_error *err);

#endif
