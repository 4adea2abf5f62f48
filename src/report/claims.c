/* SPDX-License-Identifier: Apache-2.0
 *
 * report/claims: runs are paired by seed: a claim is evaluated per seed, and the
 * interval of its mean decides. `met`: the whole interval keeps the inequality;
 * `not met`: none of it does; else `no significant difference`. The interval
 * covers what differs between seeds (weights, order of data), not the test
 * sample.
 */
#include "report/claims.h"

#include <math.h>

#include "report/expression.h"

/* Two-sided 95 % quantile of Student's t. */
static double student_t(int32_t degrees) {
  static const double quantile[EX_MAX_SEEDS] = {0,     12.706, 4.303, 3.182, 2.776, 2.571,
                                                2.447, 2.365,  2.306, 2.262, 2.228, 2.201,
                                                2.179, 2.160,  2.145, 2.131};
  return quantile[degrees];
}

struct ex_repeated ex__repeated(const double *value, int32_t n) {
  double mean = 0, squares = 0;
  for (int32_t i = 0; i < n; i++) mean += value[i] / n;
  for (int32_t i = 0; i < n; i++) squares += (value[i] - mean) * (value[i] - mean);
  return (struct ex_repeated){mean, n > 1 ? student_t(n - 1) * sqrt(squares / (n - 1) / n) : 0};
}

static const char *judge(bool least, double bound, double low, double high) {
  if (least ? low >= bound : high <= bound) return "met";
  if (least ? high < bound : low > bound) return "not met";
  return "no significant difference";
}

static json_t *not_measured(const json_t *claim, const struct ex_error *err) {
  return json_pack("{s:O, s:O, s:s, s:s}", "claim", json_object_get(claim, "says"), "value",
                   json_object_get(claim, "value"), "verdict", "not measured", "why", err->text);
}

static json_t *conclude(const json_t *claim, const double *value, int32_t n, bool counts) {
  struct ex_repeated found = ex__repeated(value, n);
  bool least = json_object_get(claim, "at-least") != NULL;
  double bound = json_number_value(json_object_get(claim, least ? "at-least" : "at-most"));
  double low = found.mean - found.half, high = found.mean + found.half;
  json_t *values = json_array();
  for (int32_t i = 0; i < n; i++) json_array_append_new(values, json_real(value[i]));
  const char *verdict = !counts  ? "quick run, not counted"
                        : n == 1 ? "one seed, not counted"
                                 : judge(least, bound, low, high);
  return json_pack("{s:O, s:O, s:s, s:f, s:f, s:[f, f], s:o, s:s}", "claim",
                   json_object_get(claim, "says"), "value", json_object_get(claim, "value"), "rule",
                   least ? "at-least" : "at-most", "bound", bound, "mean", found.mean, "interval",
                   low, high, "per_seed", values, "verdict", verdict);
}

/* Later seeds may lack runs that need fewer of them, which ends the series of
 * values; a figure that is missing where all runs are there is an error. */
static int32_t evaluate(const json_t *claim, const json_t *runs, const json_t *evaluations,
                        double *value, struct ex_error *err) {
  const char *text = json_string_value(json_object_get(claim, "value"));
  int32_t n = 0;
  size_t seed;
  const json_t *found;
  json_array_foreach(evaluations, seed, found) {
    if (seed == EX_MAX_SEEDS) break;
    if (ex__expression_evaluate(text != NULL ? text : "", found, &value[n], err) == EX_OK)
      n++;
    else
      return json_object_size(found) == json_object_size(runs) ? 0 : n;
  }
  return n;
}

json_t *ex__claims_check(const json_t *reproduction, const json_t *evaluations, bool counts) {
  json_t *results = json_array();
  size_t i;
  const json_t *claim;
  json_array_foreach(json_object_get(reproduction, "claims"), i, claim) {
    double value[EX_MAX_SEEDS];
    struct ex_error err = {.text = "there was no run"};
    int32_t n = evaluate(claim, json_object_get(reproduction, "runs"), evaluations, value, &err);
    json_array_append_new(results,
                          n > 0 ? conclude(claim, value, n, counts) : not_measured(claim, &err));
  }
  return results;
}
