/* SPDX-License-Identifier: Apache-2.0
 *
 * policy/policy_threshold: what rules with one threshold per exit share.
 *
 * The list holds a threshold for every point but the last, which always
 * answers; one number alone stands for all of them; an empty list means that
 * nothing was fitted yet, and nobody leaves early.
 */
#ifndef EX_POLICY_POLICY_THRESHOLD_H
#define EX_POLICY_POLICY_THRESHOLD_H

#include "policy/policy.h"

/* The threshold at a point before the last; `off` where none was given. */
static inline double ex__threshold_at(const struct ex_list *list, int32_t point, double off) {
  if (list->n == 0) return off;
  return list->value[list->n == 1 ? 0 : point];
}

/* Length of the list; `part` names the rule in the message. */
enum ex_status ex__threshold_check(const char *part, const struct ex_list *list, int32_t n_points,
                                   struct ex_error *err);

#endif
