/* SPDX-License-Identifier: Apache-2.0
 *
 * report/evaluation_interest: what early exits for classes of interest are worth. Means
 * over all classes hide it, so urgent samples are told apart from the others: answered
 * right early, right but at the last exit, wrong; and of the others who left early as
 * one of them (false alarms), or was refused.
 */
#include "report/evaluation_facts.h"

struct side { /* of the samples that are of interest, or of the others */
  int32_t n, early, early_right, late_right, refused;
  double macs;
};

static bool interests(const struct ex_evaluation_facts *facts, int32_t label) {
  bool asked = facts->env.classes == NULL;
  for (int32_t i = 0; !asked && i < facts->env.n_classes; i++)
    asked = facts->env.classes[i] == label;
  return asked && ex__policy_minds(facts->policy, label);
}

static void count(const struct ex_evaluation_facts *facts, int32_t sample, struct side *side) {
  const struct ex_outcome *outcome = &facts->outcomes[sample];
  int64_t at = ex__trace_at(facts->trace, outcome->answer, sample);
  bool early = outcome->point < facts->trace->n_points - 1;
  bool right = facts->trace->quality[at] > 0.5F;
  bool of_interest = interests(facts, facts->trace->answer[at].label);
  side->n++;
  side->early += early && of_interest;
  side->early_right += early && of_interest && right;
  side->late_right += !early && right;
  side->refused += early && !of_interest;
  side->macs += (double)outcome->macs;
}

static double ratio(double a, double b) { return b > 0 ? a / b : NAN; }

static json_t *classes_of(const struct ex_evaluation_facts *facts) {
  json_t *array = json_array();
  for (int32_t c = 0; c < facts->trace->n_outputs; c++)
    if (interests(facts, c)) json_array_append_new(array, json_string(facts->labels[c]));
  return array;
}

static bool put_sides(json_t *to, const struct side *wanted, const struct side *other) {
  json_t *others = json_object();
  return ex__put(to, "n", json_integer(wanted->n)) &&
         ex__put_number(to, "early_right", ratio(wanted->early_right, wanted->n)) &&
         ex__put_number(to, "late_right", ratio(wanted->late_right, wanted->n)) &&
         ex__put_number(to, "refused", ratio(wanted->refused, wanted->n)) &&
         ex__put_number(to, "precision",
                        ratio(wanted->early_right, wanted->early + other->early)) &&
         ex__put_number(to, "mean_macs", ratio(wanted->macs, wanted->n)) &&
         ex__put(to, "others", others) && ex__put(others, "n", json_integer(other->n)) &&
         ex__put_number(others, "false_alarms", ratio(other->early, other->n)) &&
         ex__put_number(others, "refused", ratio(other->refused, other->n)) &&
         ex__put_number(others, "mean_macs", ratio(other->macs, other->n));
}

bool ex__evaluation_interest(const struct ex_evaluation_facts *facts, json_t *evaluation) {
  struct side wanted = {0}, other = {0};
  if ((facts->policy->class->needs & EX_POLICY_READS_CLASSES) == 0)
    return ex__put(evaluation, "interest", json_null());
  for (int32_t i = 0; i < facts->trace->n; i++)
    count(facts, i, interests(facts, facts->trace->target[i]) ? &wanted : &other);
  json_t *object = json_object();
  return ex__put(evaluation, "interest", object) && ex__put(object, "classes", classes_of(facts)) &&
         put_sides(object, &wanted, &other);
}
