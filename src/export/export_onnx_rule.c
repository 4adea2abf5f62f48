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

static const char *along_classes(ex_onnx_graph *graph, const char *op, const char *value) {
  const char *name = ex__onnx_node(graph, op, value);
  ex__onnx_set_int(graph, "axis", classes_axis);
  return name;
}

const char *ex__onnx_confidence(ex_onnx_graph *graph, const char *answer) {
  return reduced(graph, "ReduceMax", along_classes(graph, "Softmax", answer));
}

/* Of equals the first, as the task has it. */
const char *ex__onnx_label(ex_onnx_graph *graph, const char *answer) {
  const char *name = along_classes(graph, "ArgMax", answer);
  ex__onnx_set_int(graph, "keepdims", 0);
  return name;
}

const char *ex__onnx_margin(ex_onnx_graph *graph, int32_t n_outputs, const char *answer) {
  static const int64_t two = 2, first = 0, second = 1, third = 2;
  if (n_outputs == 1) return ex__onnx_confidence(graph, answer); /* nothing is second */
  const char *probability = along_classes(graph, "Softmax", answer);
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
  const char *term = ex__onnx_node(graph, "Mul", along_classes(graph, "Softmax", answer),
                                   along_classes(graph, "LogSoftmax", answer));
  const char *axis = ex__onnx_integers(graph, &classes_axis, 1);
  const char *sum = ex__onnx_node(graph, "ReduceSum", term, axis);
  ex__onnx_set_int(graph, "keepdims", 0);
  return ex__onnx_node(graph, "Neg", sum);
}

/* ---- rules ------------------------------------------------------------------ */

static const char *threshold(struct ex_onnx_walk *walk, int32_t point) {
  double off = walk->values.policy->class->threshold_off;
  return ex__onnx_real(walk->graph, ex__value_of_exit(&walk->values, "thresholds", point, off));
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
  (void)point;
  ex_onnx_graph *graph = walk->graph;
  const char *label = ex__onnx_label(graph, answer);
  const char *zero = ex__onnx_integer(graph, 0);
  if (walk->label == NULL) {
    walk->equal = ex__onnx_node(graph, "Mul", label, zero);
  } else {
    const char *same = ex__onnx_node(graph, "Equal", label, walk->label);
    const char *more = ex__onnx_node(graph, "Add", walk->equal, ex__onnx_integer(graph, 1));
    walk->equal = ex__onnx_node(graph, "Where", same, more, zero);
  }
  walk->label = label;
  int64_t patience = (int64_t)ex__value_number(&walk->values, "patience");
  return ex__onnx_node(graph, "GreaterOrEqual", walk->equal, ex__onnx_integer(graph, patience));
}

static enum ex_status no_fallback(struct ex_rule_values *values, struct ex_error *err) {
  if (ex__value_number(values, "fallback") == 0) return EX_OK;
  return ex__fail(err, EX_EUNSUPPORTED,
                  "rule max-probability with fallback = true; only without it can it be written "
                  "as ONNX");
}

static const struct ex_onnx_rule rules[] = {
    {"max-probability", no_fallback, by_max_probability},
    {"margin", NULL, by_margin},
    {"entropy", NULL, by_entropy},
    {"patience", NULL, by_patience},
    {"fixed", NULL, NULL},
};

enum { N_RULES = sizeof rules / sizeof *rules };

enum ex_status ex__onnx_rule_find(struct ex_rule_values *values, const struct ex_onnx_rule **out,
                                  struct ex_error *err) {
  const char *name = values->policy->class->name;
  for (int32_t i = 0; i < N_RULES; i++) {
    *out = &rules[i];
    if (strcmp(rules[i].name, name) == 0)
      return rules[i].check != NULL ? rules[i].check(values, err) : EX_OK;
  }
  struct ex_text known = {0};
  for (int32_t i = 0; i < N_RULES; i++)
    ex__text_add(&known, "%s%s", i > 0 ? ", " : "", rules[i].name);
  ex__fail(err, EX_EUNSUPPORTED, "exit rule %s cannot be written as ONNX; must be one of %s", name,
           known.data != NULL ? known.data : "?");
  ex__text_clear(&known);
  return EX_EUNSUPPORTED;
}
