/* SPDX-License-Identifier: Apache-2.0
 *
 * cli/steps: why one input left where it did: what each exit on its way said,
 * what the rule made of it, what it cost and what going on would have cost.
 */
#ifndef EX_CLI_STEPS_H
#define EX_CLI_STEPS_H

#include <jansson.h>

#include "engine/engine.h"

/* Runs x under the engine's policy; *steps: a new array of {exit, top: [{label,
 * name, probability}…], action, to?, reading?: {what, value, threshold, below},
 * macs, next?, next_macs, last_macs}, owned by the caller. */
enum ex_status steps_run(ex_engine *engine, const ex_model *model, const float *x,
                         struct ex_result *result, json_t **steps);
/* Two lines per exit that was looked at. */
void steps_print(const json_t *steps);

#endif
