/* SPDX-License-Identifier: Apache-2.0
 *
 * calibrate/risk_loss: the risks and their forms by name, and what leaving early
 * costs in one sample's answer.
 */
#include <math.h>
#include <string.h>

#include "calibrate/risk.h"

static const char *const of_names[] = {"disagreement", "accuracy", "brier"};
static const char *const form_names[] = {"ltt", "ucb", "crc"};

const char *ex__risk_of_name(enum ex_risk_of of) { return of_names[of]; }
const char *ex__risk_form_name(enum ex_risk_form form) { return form_names[form]; }

/* −1: not among them. */
static int find(const char *const *names, const char *text) {
  for (int i = 0; i < 3; i++)
    if (strcmp(names[i], text) == 0) return i;
  return -1;
}

enum ex_status ex__risk_of_parse(const char *text, enum ex_risk_of *out, struct ex_error *err) {
  int at = find(of_names, text);
  if (at < 0)
    return ex__fail(err, EX_EINVAL, "risk of \"%.40s\"; must be disagreement, accuracy or brier",
                    text);
  *out = (enum ex_risk_of)at;
  return EX_OK;
}

enum ex_status ex__risk_form_parse(const char *text, enum ex_risk_form *out, struct ex_error *err) {
  int at = find(form_names, text);
  if (at < 0)
    return ex__fail(err, EX_EINVAL, "form of risk \"%.40s\"; must be ltt, ucb or crc", text);
  *out = (enum ex_risk_form)at;
  return EX_OK;
}

enum ex_risk_form ex__risk_form_default(enum ex_risk_of of) {
  return of == EX_RISK_DISAGREEMENT ? EX_RISK_LTT : EX_RISK_UCB;
}

double ex__risk_loss_most(enum ex_risk_of of) { return of == EX_RISK_BRIER ? 2 : 1; }

enum ex_status ex__risk_check(const struct ex_risk *risk, struct ex_error *err) {
  double most = ex__risk_loss_most(risk->of);
  if (!(risk->value >= 0 && risk->value < most))
    return ex__fail(err, EX_EINVAL, "risk = %g; must be in [0, %g) for %s", risk->value, most,
                    ex__risk_of_name(risk->of));
  if (risk->form != EX_RISK_CRC && !(risk->confidence > 0 && risk->confidence < 1))
    return ex__fail(err, EX_EINVAL, "confidence = %g; must be above 0 and below 1",
                    risk->confidence);
  return EX_OK;
}

static double disagreement(const ex_trace *trace, int64_t early, int64_t full) {
  return trace->answer[early].label != trace->answer[full].label;
}

static double accuracy(const ex_trace *trace, int64_t early, int64_t full) {
  return (double)trace->quality[full] - (double)trace->quality[early];
}

/* NaN where the output is not finite. */
static double brier_score(const ex_trace *trace, int64_t at, int32_t target) {
  const ex_real *probability = trace->probability + at * trace->n_outputs;
  double sum = 0;
  for (int32_t c = 0; c < trace->n_outputs; c++) {
    double distance = (double)probability[c] - (c == target);
    sum += distance * distance;
  }
  return trace->answer[at].label < 0 ? NAN : fmin(2, sum);
}

static double brier(const ex_trace *trace, int64_t early, int64_t full, int32_t target) {
  double ours = brier_score(trace, early, target), theirs = brier_score(trace, full, target);
  return (isnan(ours) ? 2 : ours) - (isnan(theirs) ? 0 : theirs);
}

double ex__risk_loss(enum ex_risk_of of, const ex_trace *trace, int32_t point, int32_t sample) {
  int64_t early = ex__trace_at(trace, point, sample),
          full = ex__trace_at(trace, trace->n_points - 1, sample);
  if (early == full) return 0;
  switch (of) {
    case EX_RISK_DISAGREEMENT: return disagreement(trace, early, full);
    case EX_RISK_ACCURACY: return accuracy(trace, early, full);
    case EX_RISK_BRIER: return brier(trace, early, full, trace->target[sample]);
  }
  return NAN;
}

double ex__risk_mean(enum ex_risk_of of, const ex_trace *trace, const struct ex_outcome *outcomes) {
  double sum = 0;
  for (int32_t i = 0; i < trace->n; i++) sum += ex__risk_loss(of, trace, outcomes[i].answer, i);
  return sum / trace->n;
}
