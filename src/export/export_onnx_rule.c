/* SPDX-License-Identifier: Apache-2.0
 *
 * export/export_onnx_rule: exit rules as ONNX nodes, in float. A comparison with a
 * NaN is false, so an answer that is not finite goes on, as the engine has it.
 */
#include <string.h>

#include "base/text.h"
#include "export/export_onnx_walk.h"

static const int64_t classes_axis = 1;

static const char *reduced(ex_onnx_graph *graph, const char *op, const char *value) {
  const char *name = ex__onnx_node(graph, op, value);
  ex__onnx_set_ints(graph, "axes", &classes_axis, 1);
  ex__onnx_set_int(graph, "keepdims", 0);
  return name;
}

const char *ex__onnx_column(ex_onnx_graph *graph, const char *value) {
  return ex__onnx_node(graph, "Unsqueeze", value, ex__onnx_integers(graph, &classes_axis, 1));
}

const char *ex__onnx_row(ex_onnx_graph *graph, const char *value) {
  return ex__onnx_node(graph, "Squeeze", value, ex__onnx_integers(graph, &classes_axis, 1));
}

const char *ex__onnx_along_classes(ex_onnx_graph *graph, const char *op, const char *value) {
  const char *name = ex__onnx_node(graph, op, value);
  ex__onnx_set_int(graph, "axis", classes_axis);
  return name;
}

const char *ex__onnx_confidence(ex_onnx_graph *graph, const char *answer) {
  return reduced(graph, "ReduceMax", ex__onnx_along_classes(graph, "Softmax", answer));
}

/* Of equals the first, as the task has it. */
const char *ex__onnx_label(ex_onnx_graph *graph, const char *answer) {
  const char *name = ex__onnx_along_classes(graph, "ArgMax", answer);
  ex__onnx_set_int(graph, "keepdims", 0);
  return name;
}

const char *ex__onnx_margin(ex_onnx_graph *graph, int32_t n_outputs, const char *answer) {
  static const int64_t two = 2, first = 0, second = 1, third = 2;
  if (n_outputs == 1) return ex__onnx_confidence(graph, answer); /* nothing is second */
  const char *probability = ex__onnx_along_classes(graph, "Softmax", answer);
  const char *axis = ex__onnx_integers(graph, &classes_axis, 1);
  const char *begin = ex__onnx_integers(graph, &first, 1);
  const char *middle = ex__onnx_integers(graph, &second, 1);
  const char *end = ex__onnx_integers(graph, &third, 1);
  const char *largest =
      ex__onnx_node(graph, "TopK", probability, ex__onnx_integers(graph, &two, 1));
  ex__onnx_next_output(graph); /* where they are, which nobody asks */
  const char *ahead = ex__onnx_node(graph, "Slice", largest, begin, middle, axis);
  const char *behind = ex__onnx_node(graph, "Slice", largest, middle, end, axis);
  const char *gap = ex__onnx_node(graph, "Sub", ahead, behind);
  return ex__onnx_node(graph, "Squeeze", gap, axis);
}

/* −Σ p · ln p, where the logarithm of a vanished probability is still a number. */
const char *ex__onnx_entropy(ex_onnx_graph *graph, const char *answer) {
  const char *term = ex__onnx_node(graph, "Mul", ex__onnx_along_classes(graph, "Softmax", answer),
                                   ex__onnx_along_classes(graph, "LogSoftmax", answer));
  const char *axis = ex__onnx_integers(graph, &classes_axis, 1);
  const char *sum = ex__onnx_node(graph, "ReduceSum", term, axis);
  ex__onnx_set_int(graph, "keepdims", 0);
  return ex__onnx_node(graph, "Neg", sum);
}

/* ---- memory ----------------------------------------------------------------- */

const char *ex__onnx_recall(struct ex_onnx_walk *walk, int32_t carried,
                            enum ex_onnx_element element, double otherwise) {
  if (walk->carried[carried] != NULL) return walk->carried[carried];
  return element == EX_ONNX_FLOAT ? ex__onnx_real(walk->graph, otherwise)
                                  : ex__onnx_integer(walk->graph, (int64_t)otherwise);
}

void ex__onnx_remember(struct ex_onnx_walk *walk, int32_t carried, const char *value,
                       const char *before) {
  if (walk->looks_again)
    walk->carried[carried] = ex__onnx_node(walk->graph, "Where", walk->looks, value, before);
}

/* ---- rules ------------------------------------------------------------------ */

const char *ex__onnx_threshold(struct ex_onnx_walk *walk, int32_t point, double none) {
  return ex__onnx_real(walk->graph, ex__value_of_exit(&walk->values, "thresholds", point, none));
}

static const char *threshold(struct ex_onnx_walk *walk, int32_t point) {
  return ex__onnx_threshold(walk, point, walk->values.policy->class->threshold_off);
}

static const char *by_max_probability(struct ex_onnx_walk *walk, int32_t point,
                                      const char *answer) {
  return ex__onnx_node(walk->graph, "GreaterOrEqual", ex__onnx_confidence(walk->graph, answer),
                       threshold(walk, point));
}

static const char *by_margin(struct ex_onnx_walk *walk, int32_t point, const char *answer) {
  return ex__onnx_node(walk->graph, "GreaterOrEqual",
                       ex__onnx_margin(walk->graph, walk->net->n_outputs, answer),
                       threshold(walk, point));
}

static const char *by_entropy(struct ex_onnx_walk *walk, int32_t point, const char *answer) {
  return ex__onnx_node(walk->graph, "Less", ex__onnx_entropy(walk->graph, answer),
                       threshold(walk, point));
}

static const char *by_patience(struct ex_onnx_walk *walk, int32_t point, const char *answer) {
  enum { LABEL = EX_CARRIED_RULE, EQUAL };
  (void)point;
  ex_onnx_graph *graph = walk->graph;
  const char *label = ex__onnx_label(graph, answer), *zero = ex__onnx_integer(graph, 0);
  const char *before = ex__onnx_recall(walk, LABEL, EX_ONNX_INT64, -1);
  const char *count = ex__onnx_recall(walk, EQUAL, EX_ONNX_INT64, 0);
  const char *same = ex__onnx_node(graph, "Equal", label, before);
  const char *more = ex__onnx_node(graph, "Add", count, ex__onnx_integer(graph, 1));
  const char *equal = ex__onnx_node(graph, "Where", same, more, zero);
  ex__onnx_remember(walk, EQUAL, equal, count);
  ex__onnx_remember(walk, LABEL, label, before);
  int64_t patience = (int64_t)ex__value_number(&walk->values, "patience");
  return ex__onnx_node(graph, "GreaterOrEqual", equal, ex__onnx_integer(graph, patience));
}

/* The hazard of leaving here once one has come here, by the score of the gate. */
static const char *by_hazard(struct ex_onnx_walk *walk, int32_t point, const char *answer) {
  enum { LEFT = EX_CARRIED_RULE };
  (void)point, (void)answer;
  ex_onnx_graph *graph = walk->graph;
  const char *zero = ex__onnx_real(graph, 0), *one = ex__onnx_real(graph, 1);
  const char *left = ex__onnx_recall(walk, LEFT, EX_ONNX_FLOAT, 0);
  const char *number = ex__onnx_node(graph, "Not", ex__onnx_node(graph, "IsNaN", walk->gate));
  const char *gate = ex__onnx_node(graph, "Sigmoid", ex__onnx_row(graph, walk->gate));
  const char *here = ex__onnx_node(graph, "Sub", one, left);
  const char *leaves = ex__onnx_node(graph, "Max", ex__onnx_node(graph, "Min", gate, here), zero);
  const char *share = ex__onnx_node(graph, "Min", ex__onnx_node(graph, "Div", leaves, here), one);
  const char *hazard =
      ex__onnx_node(graph, "Where", ex__onnx_node(graph, "Greater", here, zero), share, one);
  walk->looks = ex__onnx_node(graph, "And", walk->looks, ex__onnx_row(graph, number));
  if (walk->looks_again)
    ex__onnx_remember(walk, LEFT, ex__onnx_node(graph, "Add", left, leaves), left);
  return ex__onnx_node(graph, "GreaterOrEqual", hazard,
                       ex__onnx_real(graph, ex__value_number(&walk->values, "threshold")));
}

/* ---- the surest of all exits -------------------------------------------------- */

enum { SUREST = EX_CARRIED_RULE, SUREST_EXIT, SUREST_ANSWER };

static void compare_with_surest(struct ex_onnx_walk *walk, int32_t point, const char *confidence,
                                const char *answer) {
  ex_onnx_graph *graph = walk->graph;
  const char *surest = ex__onnx_recall(walk, SUREST, EX_ONNX_FLOAT, 0);
  const char *exit = ex__onnx_recall(walk, SUREST_EXIT, EX_ONNX_INT64, point);
  const char *best = walk->carried[SUREST_ANSWER] != NULL ? walk->carried[SUREST_ANSWER] : answer;
  const char *surer = ex__onnx_node(graph, "Greater", confidence, surest);
  surer = ex__onnx_node(graph, "And", surer, walk->looks);
  if (point < walk->net->n_points - 1)
    walk->carried[SUREST] = ex__onnx_node(graph, "Where", surer, confidence, surest);
  walk->carried[SUREST_EXIT] =
      ex__onnx_node(graph, "Where", surer, ex__onnx_integer(graph, point), exit);
  walk->carried[SUREST_ANSWER] =
      ex__onnx_node(graph, "Where", ex__onnx_column(graph, surer), answer, best);
}

static const char *by_fallback(struct ex_onnx_walk *walk, int32_t point, const char *answer) {
  const char *confidence = ex__onnx_confidence(walk->graph, answer);
  compare_with_surest(walk, point, confidence, answer);
  return ex__onnx_node(walk->graph, "GreaterOrEqual", confidence, threshold(walk, point));
}

static void give_surest(struct ex_onnx_walk *walk, const char **answer, const char **exit) {
  ex_onnx_graph *graph = walk->graph;
  walk->looks = ex__onnx_row(graph, ex__onnx_finite(graph, *answer));
  compare_with_surest(walk, walk->net->n_points - 1, ex__onnx_confidence(graph, *answer), *answer);
  *answer = walk->carried[SUREST_ANSWER];
  *exit = walk->carried[SUREST_EXIT];
}

static bool falls_back(struct ex_rule_values *values) {
  return ex__value_number(values, "fallback") != 0;
}

/* ---- the table ---------------------------------------------------------------- */

static const struct ex_onnx_rule plain[] = {
    {"max-probability", falls_back, by_fallback, give_surest},
    {"max-probability", NULL, by_max_probability, NULL},
    {"margin", NULL, by_margin, NULL},
    {"entropy", NULL, by_entropy, NULL},
    {"patience", NULL, by_patience, NULL},
    {"jei", NULL, by_hazard, NULL},
    {"fixed", NULL, NULL, NULL},
    {.name = NULL},
};

static const struct ex_onnx_rule *const tables[] = {plain, ex__onnx_learned_rules};
enum { N_TABLES = sizeof tables / sizeof *tables };

static enum ex_status unknown(const char *name, struct ex_error *err) {
  struct ex_text known = {0};
  for (int32_t t = 0; t < N_TABLES; t++)
    for (const struct ex_onnx_rule *rule = tables[t]; rule->name != NULL; rule++) {
      bool again = rule > tables[t] && strcmp(rule->name, rule[-1].name) == 0;
      if (!again) ex__text_add(&known, "%s%s", known.size > 0 ? ", " : "", rule->name);
    }
  ex__fail(err, EX_EUNSUPPORTED, "exit rule %s cannot be written as ONNX; must be one of %s", name,
           known.data != NULL ? known.data : "?");
  ex__text_clear(&known);
  return EX_EUNSUPPORTED;
}

enum ex_status ex__onnx_rule_find(struct ex_rule_values *values, const struct ex_onnx_rule **out,
                                  struct ex_error *err) {
  const char *name = values->policy->class->name;
  for (int32_t t = 0; t < N_TABLES; t++)
    for (*out = tables[t]; (*out)->name != NULL; (*out)++)
      if (strcmp((*out)->name, name) == 0 && ((*out)->suits == NULL || (*out)->suits(values)))
        return EX_OK;
  return unknown(name, err);
}
