/* SPDX-License-Identifier: Apache-2.0
 *
 * calibrate/risk_path: one scalar that moves a rule from full depth to bold.
 */
#ifndef EX_CALIBRATE_RISK_PATH_H
#define EX_CALIBRATE_RISK_PATH_H

#include "calibrate/calibrate_internal.h"
#include "calibrate/risk.h"

/* Policies in the order in which they are tested, fixed on select alone; each
 * spends less on select than the one before. */
enum ex_status ex__risk_path_make(const ex_policy *policy, const ex_trace *select,
                                  enum ex_risk_of of, struct ex_candidates *out,
                                  struct ex_error *err);

#endif
