/* SPDX-License-Identifier: Apache-2.0
 *
 * policy/gate: one linear gate by weighted binary classification, what rules that
 * stop or choose (policy/stopping, policy/routing) are made of.
 *
 * A gate compares a weighted sum of features with a threshold. Each sample says what
 * it is worth that the gate fires for it; firing is right where that is above 0, and
 * a wrong decision costs its size. The weights come from logistic regression on that
 * classification. With `exact` (ours) the threshold is then the exact minimiser of
 * the weighted risk, and each feature alone, always and never are tried as well; the
 * least risk wins.
 */
#ifndef EX_POLICY_GATE_H
#define EX_POLICY_GATE_H

#include <stdbool.h>

#include "base/logistic.h"
#include "base/status.h"

/* Thresholds beyond this are out of reach of features of ordinary size: such a gate,
 * learned where all samples want the same, is always or never. */
#define EX_GATE_REACH 1e6

struct ex_gate {
  bool on;         /* off: never fires */
  double leave_at; /* fires where Σ weight · feature ≥ this, in ±EX_GATE_REACH */
  double weight[EX_MAX_FEATURES]; /* [d]; the largest has size 1, or all are 0 */
};

extern const struct ex_gate ex__gate_never, ex__gate_always;

static inline double ex__gate_score(const double *weight, const double *feature, int32_t d) {
  double sum = 0;
  for (int32_t j = 0; j < d; j++) sum += weight[j] * feature[j];
  return sum;
}

static inline bool ex__gate_fires(const struct ex_gate *gate, const double *feature, int32_t d) {
  return gate->on && ex__gate_score(gate->weight, feature, d) >= gate->leave_at;
}

/* The samples that a gate is learned from, and room to work. */
struct ex_gate_lesson {
  int32_t m, d;           /* samples so far; features, ≥ 1 */
  double l2;              /* of the regression, > 0 */
  bool exact;             /* thresholds by exact risk, not by the regression alone */
  const double **feature; /* [m], each [d], finite, borrowed */
  double *gain;           /* [m], finite, not 0 */
  double *x, *weight;
  uint8_t *positive;
  struct ex_scored *scored;
};

/* For `capacity` samples, none yet. EX_ENOMEM: nothing is to be freed. */
enum ex_status ex__gate_lesson_new(int32_t capacity, int32_t d, double l2, bool exact,
                                   struct ex_gate_lesson *out);
void ex__gate_lesson_free(struct ex_gate_lesson *lesson);
/* A sample that it is worth `gain` to fire for; one of 0 says nothing and is left out,
 * as is one that is not finite. */
void ex__gate_lesson_add(struct ex_gate_lesson *lesson, const double *feature, double gain);
/* From the samples so far, which are then forgotten; never, without any. */
struct ex_gate ex__gate_learn(struct ex_gate_lesson *lesson);

#endif
