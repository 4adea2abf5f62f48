/* SPDX-License-Identifier: Apache-2.0
 *
 * policy/policy_threshold: what rules with one threshold per exit share.
 */
#include "policy/policy_threshold.h"

enum ex_status ex__threshold_check(const char *part, const struct ex_list *list, int32_t n_points,
                                   struct ex_error *err) {
  if (list->n <= 1 || list->n == n_points - 1) return EX_OK;
  return ex__fail(err, EX_EINVAL,
                  "%s: thresholds has %d numbers; must be one for all, or %d: one per exit but the "
                  "last",
                  part, (int)list->n, (int)n_points - 1);
}
