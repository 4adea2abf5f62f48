/* SPDX-License-Identifier: Apache-2.0
 *
 * export/export_rule: the rules that can be exported, and their numbers, which are
 * read as anybody reads them: from the policy's JSON.
 *
 * Exits that a rule skips never ask it, so thresholds that nobody reaches need no
 * number that a float could round to one that somebody does.
 */
#include "export/export_rule.h"

#include <string.h>

#include "export/export_layer.h"

/* thresholds[n_points]: the last one is never read. */
static void thresholds(const ex_policy *policy, struct ex_text *text) {
  const struct ex_list *list = ex__policy_thresholds_of(policy);
  ex__text_add(text, "/* Of each exit but the last. */\nstatic const float thresholds[] = {");
  for (int32_t p = 0; p < policy->n_points - 1; p++) {
    if (p > 0) ex__text_add(text, ", ");
    ex__write_float(text, list->n == 0   ? policy->class->threshold_off
                          : list->n == 1 ? list->value[0]
                                         : list->value[p]);
  }
  ex__text_add(text, "%s0};\n", policy->n_points > 1 ? ", " : "");
}

/* An integer or boolean of the rule; NULL where memory is short. */
static json_t *values_of(const ex_policy *policy) {
  return ex__param_to_json(policy->class->params, policy->values);
}

static void whole(const ex_policy *policy, const char *key, const char *constant,
                  struct ex_text *text) {
  json_t *values = values_of(policy);
  if (values == NULL) text->failed = true;
  ex__text_add(text, "enum { %s = %lld };\n", constant,
               (long long)json_integer_value(json_object_get(values, key)));
  json_decref(values);
}

static void patience(const ex_policy *policy, struct ex_text *text) {
  whole(policy, "patience", "PATIENCE", text);
}

/* Of each exit but the last: bands of the confidence, and whether those in it leave. */
static void bands(const ex_policy *policy, struct ex_text *text) {
  json_t *values = values_of(policy);
  const json_t *edge = json_object_get(values, "edge"), *right = json_object_get(values, "right");
  double accuracy = json_number_value(json_object_get(values, "accuracy"));
  size_t n = json_array_size(json_array_get(edge, 0));
  if (values == NULL) text->failed = true;
  ex__text_add(text,
               "enum { BANDS = %zu };\nstatic const struct band {\n  float from;\n"
               "  int leaves;\n} bands[][BANDS] = {\n",
               n > 0 ? n : 1);
  for (size_t p = 0; p < json_array_size(edge); p++) {
    ex__text_add(text, "    {");
    for (size_t i = 0; i < n; i++) {
      double of_band = json_number_value(json_array_get(json_array_get(right, p), i));
      ex__text_add(text, "%s%s{", i > 0 ? "," : "", i > 0 && i % 4 == 0 ? "\n     " : "");
      ex__write_float(text, json_number_value(json_array_get(json_array_get(edge, p), i)));
      ex__text_add(text, ", %d}", of_band >= accuracy);
    }
    ex__text_add(text, "},\n");
  }
  ex__text_add(text, n > 0 ? "};\n" : "    {{0, 0}}};\n");
  json_decref(values);
}

static enum ex_status no_fallback(const ex_policy *policy, struct ex_error *err) {
  json_t *values = values_of(policy);
  bool fallback = json_is_true(json_object_get(values, "fallback"));
  json_decref(values);
  if (!fallback) return EX_OK;
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

enum ex_status ex__export_rule_find(const ex_policy *policy, const struct ex_export_rule **out,
                                    struct ex_error *err) {
  for (int32_t i = 0; i < N_RULES; i++) {
    *out = &rules[i];
    if (strcmp(rules[i].name, policy->class->name) == 0)
      return rules[i].check != NULL ? rules[i].check(policy, err) : EX_OK;
  }
  struct ex_text known = {0};
  for (int32_t i = 0; i < N_RULES; i++)
    ex__text_add(&known, "%s%s", i > 0 ? ", " : "", rules[i].name);
  ex__fail(err, EX_EUNSUPPORTED, "exit rule %s cannot be written as C; must be one of %s",
           policy->class->name, known.data != NULL ? known.data : "?");
  ex__text_clear(&known);
  return EX_EUNSUPPORTED;
}
