/* SPDX-License-Identifier: Apache-2.0
 *
 * export/export_rule: the rules that can be exported, and their numbers.
 *
 * Exits that a rule skips never ask it, so thresholds that nobody reaches need no
 * number that a float could round to one that somebody does. Others are rounded
 * so that a float compares with the float as it would with the number itself:
 * upwards for `at least` and `below`, downwards for `above`. What is always the same
 * factor or logarithm is worked out here, so that the kernels need neither.
 */
#include "export/export_rule.h"

#include <float.h>
#include <math.h>
#include <string.h>

#include "base/logistic.h"
#include "export/export_layer.h"
#include "export/export_numbers.h"
#include "policy/confidences.h"
#include "policy/routing.h"

/* ---- numbers ---------------------------------------------------------------- */

static double within_floats(double value) { return fmin(fmax(value, -FLT_MAX), FLT_MAX); }

static double rounded_up(double value) {
  float near = (float)within_floats(value);
  return (double)near < value ? (double)nextafterf(near, FLT_MAX) : (double)near;
}

static double rounded_down(double value) { return -rounded_up(-value); }

static void write_number(struct ex_text *text, double value) {
  ex__write_float(text, within_floats(value));
}

/* "1, 2, 3", in lines of five. */
static void write_numbers(struct ex_text *text, const double *values, int32_t n) {
  for (int32_t i = 0; i < n; i++) {
    ex__text_add(text, "%s", i == 0 ? "" : i % 5 == 0 ? ",\n     " : ", ");
    write_number(text, values[i]);
  }
}

/* static const float NAME = VALUE; */
static void write_constant(struct ex_text *text, const char *name, double value) {
  ex__text_add(text, "static const float %s = ", name);
  write_number(text, value);
  ex__text_add(text, ";\n");
}

static int32_t exits_before_last(const struct ex_rule_values *values) {
  return values->policy->n_points - 1;
}

/* static const float NAME[] = {…}: of each exit but the last. */
static void write_list(struct ex_text *text, const char *name, const double *values, int32_t n) {
  ex__text_add(text, "/* Of each exit but the last. */\nstatic const float %s[] = {", name);
  write_numbers(text, values, n);
  ex__text_add(text, "};\n");
}

/* static const float NAME[][n] = {…}: the first rows of a table. */
static void write_table(struct ex_text *text, const char *name, const struct ex_table *table,
                        int32_t n_rows) {
  ex__text_add(text, "static const float %s[][%d] = {\n", name, (int)table->n_columns);
  for (int32_t r = 0; r < n_rows; r++) {
    ex__text_add(text, "    {");
    write_numbers(text, table->value[r], table->n_columns);
    ex__text_add(text, "},\n");
  }
  ex__text_add(text, "};\n");
}

/* ---- thresholds ------------------------------------------------------------- */

static void write_thresholds(struct ex_rule_values *values, double none, struct ex_text *text) {
  double of_exit[EX_MAX_POINTS];
  for (int32_t p = 0; p < exits_before_last(values); p++)
    of_exit[p] = rounded_up(ex__value_of_exit(values, "thresholds", p, none));
  write_list(text, "thresholds", of_exit, exits_before_last(values));
}

static void thresholds(struct ex_rule_values *values, struct ex_text *text) {
  write_thresholds(values, values->policy->class->threshold_off, text);
}

/* Of a rule that learns them: that are above all scores where nothing was learned. */
static void learned_thresholds(struct ex_rule_values *values, struct ex_text *text) {
  write_thresholds(values, 2, text);
}

static bool falls_back(struct ex_rule_values *values) {
  return ex__value_number(values, "fallback") != 0;
}

static void patience(struct ex_rule_values *values, struct ex_text *text) {
  ex__text_add(text, "enum { PATIENCE = %d };\n", (int)ex__value_number(values, "patience"));
}

static void hazard(struct ex_rule_values *values, struct ex_text *text) {
  write_constant(text, "threshold", rounded_up(ex__value_number(values, "threshold")));
}

/* ---- what was learned of confidences ------------------------------------------ */

/* Of each exit but the last: bands of the confidence, and whether those in it leave. */
static void bands(struct ex_rule_values *values, struct ex_text *text) {
  const struct ex_table *edge = ex__value_table(values, "edge");
  const struct ex_table *right = ex__value_table(values, "right");
  double accuracy = ex__value_number(values, "accuracy");
  ex__text_add(text,
               "enum { BANDS = %d };\nstatic const struct band {\n  float from;\n"
               "  int leaves;\n} bands[][BANDS] = {\n",
               (int)edge->n_columns);
  for (int32_t p = 0; p < edge->n_rows; p++) {
    ex__text_add(text, "    {");
    for (int32_t i = 0; i < edge->n_columns; i++) {
      ex__text_add(text, "%s%s{", i > 0 ? "," : "", i > 0 && i % 4 == 0 ? "\n     " : "");
      write_number(text, rounded_up(edge->value[p][i]));
      ex__text_add(text, ", %d}", right->value[p][i] >= accuracy);
    }
    ex__text_add(text, "},\n");
  }
  ex__text_add(text, "};\n");
}

static void windows(struct ex_rule_values *values, struct ex_text *text) {
  ex__text_add(text, "/* Of each exit but the last: confidences that go on. */\n"
                     "static const struct confidences {\n  float low, high;\n} windows[] = {\n");
  for (int32_t p = 0; p < exits_before_last(values); p++) {
    double low, high;
    ex__window_of(values, p, &low, &high);
    ex__text_add(text, "    {");
    write_number(text, rounded_up(low));
    ex__text_add(text, ", ");
    write_number(text, rounded_down(high));
    ex__text_add(text, "},\n");
  }
  ex__text_add(text, "};\n");
}

/* The chance of being wrong is compared as log-odds. The sigmoid of a double is 1 from
 * about 36.7 on, which is below a bound above 1 alone. */
static void shared_layer(struct ex_rule_values *values, struct ex_text *text) {
  const struct ex_list *weights = ex__value_list(values, "weights");
  double bound = ex__value_number(values, "uncertainty");
  double odds = bound > 1 ? FLT_MAX : bound < 1 ? log(bound / (1 - bound)) : 36.7;
  ex__text_add(text,
               "enum { TOP = %d };\n"
               "/* An intercept, and of each of the confidences. */\n"
               "static const float weights[TOP + 2] = {",
               (int)ex__value_number(values, "top"));
  write_numbers(text, weights->value, weights->n);
  ex__text_add(text, "};\n");
  write_constant(text, "bound", odds);
}

static void scores(struct ex_rule_values *values, struct ex_text *text) {
  const struct ex_table *score = ex__value_table(values, "score");
  int32_t n = values->policy->n_outputs;
  struct ex_eenet_reads reads = ex__eenet_reads(values);
  ex__text_add(text, "enum { TOP = %d, PAST = %d };\n", (int)reads.top, (int)reads.past);
  write_constant(text, "per_nat", n > 1 ? 1 / log(n) : 0);
  ex__text_add(text, "/* Of each exit, an intercept first. */\n");
  write_table(text, "scores", score, exits_before_last(values));
  learned_thresholds(values, text);
}

/* ---- jumps ------------------------------------------------------------------ */

/* leaves_at[] of each exit but the last, and how far a jump goes. */
static void write_measure(struct ex_rule_values *values, struct ex_text *text) {
  double leaves_at[EX_MAX_POINTS];
  for (int32_t p = 0; p < exits_before_last(values); p++)
    leaves_at[p] = rounded_up(ex__predictive_leaves_at(values, p));
  ex__text_add(text, "enum { FURTHEST = %d };\n", (int)ex__value_number(values, "rmax"));
  write_list(text, "leaves_at", leaves_at, exits_before_last(values));
}

static void neighbours(struct ex_rule_values *values, struct ex_text *text) {
  double beta = ex__value_number(values, "beta"), above[EX_MAX_POINTS];
  for (int32_t p = 0; p < exits_before_last(values); p++)
    above[p] = rounded_down(beta * ex__value_of_exit(values, "normaliser", p, 1));
  write_measure(values, text);
  write_list(text, "jumps_above", above, exits_before_last(values));
}

/* Of each exit and length of a jump: of 1, largest probability, lead and entropy. */
static void regressions(struct ex_rule_values *values, struct ex_text *text) {
  enum { N = 4 };
  const struct ex_table *jump = ex__value_table(values, "jump");
  int32_t classes = values->policy->n_outputs, longest = jump->n_columns / N;
  write_measure(values, text);
  ex__text_add(text, "enum { BY_PROBABILITY = %d };\n", (int)ex__predictive_by_probability(values));
  write_constant(text, "wanted", log(ex__value_number(values, "beta")));
  ex__text_add(text, "static const float regressions[][%d][%d] = {\n", (int)longest, N);
  for (int32_t p = 0; p < jump->n_rows; p++)
    for (int32_t r = 0; r < longest; r++) {
      double c[N];
      memcpy(c, jump->value[p] + (ptrdiff_t)r * N, sizeof c);
      c[N - 1] = classes > 1 ? c[N - 1] / log(classes) : 0;
      ex__text_add(text, r == 0 ? "    {{" : "     {");
      write_numbers(text, c, N);
      ex__text_add(text, r == longest - 1 ? "}},\n" : "},\n");
    }
  ex__text_add(text, "};\n");
}

/* Rows: the sum from which the gate fires, then weights. */
static void gates(struct ex_rule_values *values, struct ex_text *text) {
  struct ex_table table = *ex__value_table(values, "gates");
  for (int32_t r = 0; r < table.n_rows; r++) table.value[r][0] = rounded_up(table.value[r][0]);
  ex__text_add(text, "enum { TOP = %d };\n", (int)ex__value_number(values, "top"));
  ex__text_add(text, "/* The sum from which a gate fires, and the weights. */\n");
  write_table(text, "gates_of", &table, table.n_rows);
}

static void chains_of_gates(struct ex_rule_values *values, struct ex_text *text) {
  int32_t n = values->policy->n_points;
  gates(values, text);
  ex__text_add(text, "/* Of each exit but the last. */\nstatic const int first_gate[] = {");
  for (int32_t p = 0; p < n - 1; p++)
    ex__text_add(text, "%s%d", p > 0 ? ", " : "", (int)ex__route_row(n, p, 0));
  ex__text_add(text, "};\n");
}

/* ---- classes of interest ------------------------------------------------------ */

static void classes(struct ex_rule_values *values, struct ex_text *text) {
  const struct ex_list *column = ex__value_list(values, "column");
  struct ex_table least = *ex__value_table(values, "threshold");
  bool refuses = ex__value_is(values, "others", "refuse");
  double below[EX_MAX_POINTS];
  for (int32_t p = 0; p < exits_before_last(values); p++) {
    for (int32_t i = 0; i < column->n; i++)
      least.value[p][i] = rounded_up(ex__classy_leaves_at(values, p, (int32_t)column->value[i]));
    below[p] = refuses ? rounded_up(ex__value_of_exit(values, "refusal", p, 0)) : 0;
  }
  ex__text_add(text, "enum { COLUMNS = %d };\nstatic const int classes[COLUMNS] = {",
               (int)column->n);
  for (int32_t i = 0; i < column->n; i++)
    ex__text_add(text, "%s%d", i > 0 ? ", " : "", (int)column->value[i]);
  ex__text_add(text, "};\n/* Of each exit but the last and class; 2: it does not leave. */\n");
  write_table(text, "leaves_at", &least, least.n_rows);
  write_list(text, "refuses_below", below, exits_before_last(values));
}

/* ---- the table -------------------------------------------------------------- */

static const struct ex_export_rule rules[] = {
    {"max-probability", "rule_fallback", thresholds, falls_back, true},
    {"max-probability", "rule_max_probability", thresholds, NULL, false},
    {"margin", "rule_margin", thresholds, NULL, false},
    {"entropy", "rule_entropy", thresholds, NULL, false},
    {"patience", "rule_patience", patience, NULL, false},
    {"jei", "rule_jei", hazard, NULL, false},
    {"pcee", "rule_pcee", bands, NULL, false},
    {"lte", "rule_lte", shared_layer, NULL, false},
    {"window", "rule_window", windows, NULL, false},
    {"eenet", "rule_eenet", scores, NULL, false},
    {"predictive", "rule_predictive_learned", regressions, ex__predictive_learned, false},
    {"predictive", "rule_predictive", neighbours, NULL, false},
    {"adaptive", "rule_adaptive_any", chains_of_gates, ex__adaptive_any, false},
    {"adaptive", "rule_adaptive", gates, NULL, false},
    {"latency-aware", "rule_max_probability", learned_thresholds, NULL, false},
    {"classy", "rule_classy", classes, NULL, false},
    {"fixed", "rule_fixed", NULL, NULL, false},
};

enum { N_RULES = sizeof rules / sizeof *rules };

/* Of a rule that would look at the last exit alone, as one that has not learned yet. */
static const struct ex_export_rule never_asked = {.kernel = "rule_fixed"};

static bool asks(const ex_policy *policy, const struct ex_export_rule *rule) {
  int32_t last = policy->n_points - 1;
  return last > 0 && (rule->looks_back || ex__policy_next(policy, -1, last) < last);
}

enum ex_status ex__export_rule_find(struct ex_rule_values *values,
                                    const struct ex_export_rule **out, struct ex_error *err) {
  const char *name = values->policy->class->name;
  for (int32_t i = 0; i < N_RULES; i++) {
    if (strcmp(rules[i].name, name) != 0) continue;
    if (rules[i].suits != NULL && !rules[i].suits(values)) continue;
    *out = asks(values->policy, &rules[i]) ? &rules[i] : &never_asked;
    return EX_OK;
  }
  struct ex_text known = {0};
  for (int32_t i = 0; i < N_RULES; i++)
    if (i == 0 || strcmp(rules[i].name, rules[i - 1].name) != 0)
      ex__text_add(&known, "%s%s", i > 0 ? ", " : "", rules[i].name);
  ex__fail(err, EX_EUNSUPPORTED, "exit rule %s cannot be written as C; must be one of %s", name,
           known.data != NULL ? known.data : "?");
  ex__text_clear(&known);
  return EX_EUNSUPPORTED;
}
