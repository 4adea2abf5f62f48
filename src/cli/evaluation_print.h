/* SPDX-License-Identifier: Apache-2.0
 *
 * cli/evaluation_print: an evaluation as text, for `evaluate` and `demo`.
 */
#ifndef EX_CLI_EVALUATION_PRINT_H
#define EX_CLI_EVALUATION_PRINT_H

#include <jansson.h>

/* `json`: what ex__evaluate made. Returns the exit status. */
int evaluation_print(const json_t *json);

#endif
