/* SPDX-License-Identifier: Apache-2.0
 *
 * export/export_numbers: what the values of exit rules come to, at one exit, for all that
 * write rules down in another language.
 */
#ifndef EX_EXPORT_EXPORT_NUMBERS_H
#define EX_EXPORT_EXPORT_NUMBERS_H

#include "export/export_values.h"

/* window: confidences within [*low, *high] go on; either may be infinite. */
void ex__window_of(struct ex_rule_values *values, int32_t point, double *low, double *high);

/* eenet: what a score is made of. */
struct ex_eenet_reads {
  int32_t top;  /* of the largest probabilities, in order; 0: one per class, and the largest */
  int32_t past; /* scores of exits before, at most */
};
struct ex_eenet_reads ex__eenet_reads(struct ex_rule_values *values);

/* predictive: the engine, whether the measure is the largest probability, and from which
 * measure an exit answers: a probability, 2 for one that is not to be had, or an output. */
bool ex__predictive_learned(struct ex_rule_values *values);
bool ex__predictive_by_probability(struct ex_rule_values *values);
double ex__predictive_leaves_at(struct ex_rule_values *values, int32_t point);

/* adaptive: whether its gates choose among all later exits. */
bool ex__adaptive_any(struct ex_rule_values *values);

/* classy: the probability from which a class leaves an exit; 2: it does not. */
double ex__classy_leaves_at(struct ex_rule_values *values, int32_t point, int32_t class);
bool ex__classy_minds(struct ex_rule_values *values, int32_t class); /* has a column */

#endif
