/* SPDX-License-Identifier: Apache-2.0
 *
 * export/export_rule: the rules that can be exported, and their numbers.
 *
 * Exits that a rule skips never ask it, so thresholds that nobody reaches need no
 * number that a float could round to one that somebody does.
 */
#include "export/export_rule.h"

#include <string.h>

#include "export/export_layer.h"

/* thresholds[n_points]: the last one is never read. */
static void thresholds(struct ex_rule_values *values, struct ex_text *text) {
  const ex_policy *policy = values->policy;
  ex__text_add(text, "/* Of each exit but the last. */\nstatic const float thresholds[] = {");
  for (int32_t p = 0; p < policy->n_points - 1; p++) {
    if (p > 0) ex__text_add(text, ", ");
    ex__write_float(text, ex__value_of_exit(values, "thresholds", p, policy->class->threshold_off));
  }
  ex__text_add(text, "%s0};\n", policy->n_points > 1 ? ", " : "");
}

static void patience(struct ex_rule_values *values, struct ex_text *text) {
  ex__text_add(text, "enum { PATIENCE = %d };\n", (int)ex__value_number(values, "patience"));
}

/* Of each exit but the last: bands of the confidence, and whether those in it leave. */
static void bands(struct ex_rule_values *values, struct ex_text *text) {
  const struct ex_table *edge = ex__value_table(values, "edge");
  const struct ex_table *right = ex__value_table(values, "right");
  double accuracy = ex__value_number(values, "accuracy");
  int32_t n = edge->n_columns;
  ex__text_add(text,
               "enum { BANDS = %d };\nstatic const struct band {\n  float from;\n"
               "  int leaves;\n} bands[][BANDS] = {\n",
               n > 0 ? (int)n : 1);
  for (int32_t p = 0; p < edge->n_rows; p++) {
    ex__text_add(text, "    {");
    for (int32_t i = 0; i < n; i++) {
      ex__text_add(text, "%s%s{", i > 0 ? "," : "", i > 0 && i % 4 == 0 ? "\n     " : "");
      ex__write_float(text, edge->value[p][i]);
      ex__text_add(text, ", %d}", right->value[p][i] >= accuracy);
    }
    ex__text_add(text, "},\n");
  }
  ex__text_add(text, n > 0 ? "};\n" : "    {{0, 0}}};\n");
}

static enum ex_status no_fallback(struct ex_rule_values *values, struct ex_error *err) {
  if (ex__value_number(values, "fallback") == 0) return EX_OK;
  return ex__fail(err, EX_EUNSUPPORTED,
                  "rule max-probability with fallback = true; only without it can it be "
                  "written as C");
}

static const struct ex_export_rule rules[] = {
    {"max-probability", "rule_max_probability", no_fallback, thresholds},
    {"margin", "rule_margin", NULL, thresholds},
    {"entropy", "rule_entropy", NULL, thresholds},
    {"patience", "rule_patience", NULL, patience},
    {"pcee", "rule_pcee", NULL, bands},
    {"fixed", "rule_fixed", NULL, NULL},
};

enum { N_RULES = sizeof rules / sizeof *rules };

enum ex_status ex__export_rule_find(struct ex_rule_values *values,
                                    const struct ex_export_rule **out, struct ex_error *err) {
  const char *name = values->policy->class->name;
  for (int32_t i = 0; i < N_RULES; i++) {
    *out = &rules[i];
    if (strcmp(rules[i].name, name) == 0)
      return rules[i].check != NULL ? rules[i].check(values, err) : EX_OK;
  }
  struct ex_text known = {0};
  for (int32_t i = 0; i < N_RULES; i++)
    ex__text_add(&known, "%s%s", i > 0 ? ", " : "", rules[i].name);
  ex__fail(err, EX_EUNSUPPORTED, "exit rule %s cannot be written as C; must be one of %s", name,
           known.data != NULL ? known.data : "?");
  ex__text_clear(&known);
  return EX_EUNSUPPORTED;
}
