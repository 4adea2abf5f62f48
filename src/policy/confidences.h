/* SPDX-License-Identifier: Apache-2.0
 *
 * policy/confidences: what rules that learn from an exit's probabilities read of
 * them, whatever the number of classes: the largest probability, the margin, the
 * entropy in nats, and the third to the `top`-th largest probability (the second is
 * the largest less the margin); 0 where there are not so many classes.
 */
#ifndef EX_POLICY_CONFIDENCES_H
#define EX_POLICY_CONFIDENCES_H

#include "base/real.h"
#include "task/task.h"

enum { EX_MAX_TOP = 16, EX_MAX_CONFIDENCES = 3 + EX_MAX_TOP - 2 };

/* 2 ≤ top ≤ EX_MAX_TOP. */
static inline int32_t ex__n_confidences(int32_t top) { return 3 + top - 2; }

/* probability [n_outputs], of an answer that is finite; feature [ex__n_confidences(top)]. */
void ex__confidences(const struct ex_answer *answer, const ex_real *probability, int32_t n_outputs,
                     int32_t top, double *feature);

#endif
