/* SPDX-License-Identifier: Apache-2.0
 *
 * calibrate/risk: a promise about the risk of leaving early, with a confidence.
 *
 * Jazbec, Timans, Hadži Veljković, Sakmann, Zhang, Naesseth & Nalisnick, "Fast yet
 * Safe: Early-Exiting with Risk Control", NeurIPS 2024. A risk is the mean of a
 * loss that is 0 wherever full depth's answer is given. A path of policies, from
 * full depth to bold, is fixed on the select split alone; the certify split alone
 * says how far along it one may go (risk_path.c, risk_test.c).
 *
 * Which policy is taken thus depends on the certify split, and the guarantee
 * counts that in. Figures of the certify split that are not the promise
 * (accuracy, work) are estimates from samples that had a say.
 */
#ifndef EX_CALIBRATE_RISK_H
#define EX_CALIBRATE_RISK_H

#include "calibrate/calibrate.h"

/* The loss of one sample, early answer against full depth's. */
enum ex_risk_of {
  EX_RISK_DISAGREEMENT, /* 1 where the labels differ, else 0; needs no target */
  EX_RISK_ACCURACY,     /* wrong − wrong at full depth, in {−1, 0, 1} */
  EX_RISK_BRIER /* Σ_c (p_c − 1[c = target])² less the same of full depth, in [−2, 2] */
};

enum ex_risk_form {
  EX_RISK_LTT, /* Learn-then-Test: risk ≤ value with confidence; a negative loss counts as 0 */
  EX_RISK_UCB, /* betting upper confidence bound: the same promise, losses as they are */
  EX_RISK_CRC  /* conformal risk control: mean risk over certify splits ≤ value */
};

struct ex_risk {
  enum ex_risk_of of;
  enum ex_risk_form form;
  double value;      /* [0, 1); of brier: [0, 2) */
  double confidence; /* (0, 1); CRC has none and does not read it */
  uint32_t seed;     /* of the order in which UCB bets on the samples */
};

/* "disagreement", "accuracy", "brier"; "ltt", "ucb", "crc". */
const char *ex__risk_of_name(enum ex_risk_of of);
const char *ex__risk_form_name(enum ex_risk_form form);
enum ex_status ex__risk_of_parse(const char *text, enum ex_risk_of *out, struct ex_error *err);
enum ex_status ex__risk_form_parse(const char *text, enum ex_risk_form *out, struct ex_error *err);
/* The form that goes furthest: LTT for disagreement, UCB where losses have a sign. */
enum ex_risk_form ex__risk_form_default(enum ex_risk_of of);

/* Whether value and confidence are within their ranges. */
enum ex_status ex__risk_check(const struct ex_risk *risk, struct ex_error *err);

/* Of one sample of a trace that is answered by the output of `point`. Outputs
 * that are not finite count as the worst early and as the best at full depth. */
double ex__risk_loss(enum ex_risk_of of, const ex_trace *trace, int32_t point, int32_t sample);
/* Its mean where sample i is answered by outcomes[i]. */
double ex__risk_mean(enum ex_risk_of of, const ex_trace *trace, const struct ex_outcome *outcomes);
double ex__risk_loss_most(enum ex_risk_of of); /* 1, 1, 2; the least is −1, −1, −2, or 0 */

/* As ex__calibrate. The receipt's kind is "certified". EX_EINFEASIBLE: there are
 * too few samples for any promise; the message has the number that would do. */
enum ex_status ex__calibrate_risk(const ex_policy *policy, const ex_trace *select,
                                  const ex_trace *certify, const struct ex_risk *risk,
                                  const char *date, struct ex_calibration *out,
                                  struct ex_error *err);

#endif
