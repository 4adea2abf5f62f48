/* SPDX-License-Identifier: Apache-2.0
 *
 * policy/policy: the register of exit rules, their values as JSON and text,
 * and the guards around every decision.
 *
 * A policy is flat, so whatever sets values works on a copy that is kept only
 * when the rule's own check has passed: a refused value changes nothing.
 */
#include "policy/policy.h"

#include <math.h>
#include <string.h>

#include "base/json.h"
#include "base/text.h"

#define EX_POLICY(name) extern const struct ex_policy_class ex__policy_##name;
#include "policy/policies.def"
#undef EX_POLICY

static const struct ex_policy_class *const classes[] = {
#define EX_POLICY(name) &ex__policy_##name,
#include "policy/policies.def"
#undef EX_POLICY
};

enum { N_CLASSES = sizeof classes / sizeof *classes };

const struct ex_policy_class *ex__policy_at(int32_t index) {
  return index >= 0 && index < N_CLASSES ? classes[index] : NULL;
}

const struct ex_policy_class *ex__policy_find(const char *name) {
  for (int32_t i = 0; i < N_CLASSES; i++)
    if (strcmp(classes[i]->name, name) == 0) return classes[i];
  return NULL;
}

static enum ex_status unknown(const char *name, struct ex_error *err) {
  struct ex_text known = {0};
  for (int32_t i = 0; i < N_CLASSES; i++)
    ex__text_add(&known, "%s%s", i > 0 ? ", " : "", classes[i]->name);
  ex__fail(err, EX_ENOTFOUND, "exit rule \"%.40s\" is unknown; must be one of %s", name,
           known.data != NULL ? known.data : "?");
  ex__text_clear(&known);
  return EX_ENOTFOUND;
}

static enum ex_status check(const ex_policy *policy, struct ex_error *err) {
  if (policy->class->check == NULL) return EX_OK;
  return policy->class->check(policy->values, policy->n_points, policy->n_outputs, err);
}

enum ex_status ex__policy_init(ex_policy *policy, const char *name, int32_t n_points,
                               int32_t n_outputs, struct ex_error *err) {
  memset(policy, 0, sizeof *policy);
  const struct ex_policy_class *class = ex__policy_find(name);
  if (class == NULL) return unknown(name, err);
  if (n_points < 1 || n_points > EX_MAX_POINTS || n_outputs < 1)
    return ex__fail(err, EX_EINVAL, "%s: %d exits of %d outputs; must be 1 to %d exits and outputs",
                    name, (int)n_points, (int)n_outputs, EX_MAX_POINTS);
  policy->class = class;
  policy->n_points = n_points;
  policy->n_outputs = n_outputs;
  ex__param_defaults(class->params, policy->values);
  return check(policy, err);
}

enum ex_status ex__policy_set(ex_policy *policy, const char *name, const char *text,
                              struct ex_error *err) {
  ex_policy changed = *policy;
  const struct ex_policy_class *class = policy->class;
  EX_TRY(ex__param_set(class->name, class->params, changed.values, name, text, err));
  EX_TRY(check(&changed, err));
  *policy = changed;
  return EX_OK;
}

enum ex_status ex__policy_assign(ex_policy *policy, const char *text, struct ex_error *err) {
  char name[64];
  const char *equals = strchr(text, '=');
  size_t n = equals != NULL ? (size_t)(equals - text) : 0;
  if (n == 0 || n >= sizeof name)
    return ex__fail(err, EX_EINVAL, "\"%.80s\"; must be NAME=VALUE", text);
  memcpy(name, text, n);
  name[n] = '\0';
  return ex__policy_set(policy, name, equals + 1, err);
}

json_t *ex__policy_to_json(const ex_policy *policy) {
  json_t *values = ex__param_to_json(policy->class->params, policy->values);
  if (values == NULL) return NULL;
  return json_pack("{s:s, s:o}", "name", policy->class->name, "values", values);
}

enum ex_status ex__policy_from_json(const json_t *json, int32_t n_points, int32_t n_outputs,
                                    ex_policy *out, struct ex_error *err) {
  const char *name;
  const json_t *values;
  EX_TRY(ex__json_string(json, "name", "policy", &name, err));
  EX_TRY(ex__policy_init(out, name, n_points, n_outputs, err));
  if (json_object_get(json, "values") == NULL) return EX_OK;
  EX_TRY(ex__json_object(json, "values", "policy", &values, err));
  EX_TRY(ex__param_from_json(name, out->class->params, out->values, values, err));
  return check(out, err);
}

int32_t ex__policy_next(const ex_policy *policy, int32_t point, int32_t max_point) {
  const struct ex_policy_class *class = policy->class;
  int32_t next = point + 1;
  while (next < max_point && class->skips != NULL &&
         class->skips(policy->values, next, policy->n_points))
    next++;
  return next < max_point ? next : max_point;
}

struct ex_decision ex__policy_decide(const ex_policy *policy, void *scratch,
                                     const struct ex_env *env, const struct ex_observation *seen) {
  struct ex_decision decision = {EX_GO_ON, seen->point};
  bool finite = seen->answer.label >= 0;
  if (finite) decision = policy->class->decide(policy->values, scratch, env, seen);
  if (seen->point >= env->max_point && decision.action != EX_LEAVE)
    return (struct ex_decision){EX_LEAVE, seen->point};
  switch (decision.action) {
    case EX_LEAVE:
      if (decision.point < 0 || decision.point > seen->point) decision.point = seen->point;
      break;
    case EX_GO_TO:
      if (decision.point > env->max_point) decision.point = env->max_point;
      if (decision.point <= seen->point) decision = (struct ex_decision){EX_GO_ON, seen->point};
      break;
    case EX_GO_ON: break;
  }
  return decision;
}

bool ex__policy_read(const ex_policy *policy, const void *scratch,
                     const struct ex_observation *seen, struct ex_reading *reading) {
  const struct ex_policy_class *class = policy->class;
  if (seen->point == seen->n_points - 1 || seen->answer.label < 0) return false;
  if (class->read != NULL) {
    *reading = class->read(policy->values, scratch, seen);
    return reading->what != NULL;
  }
  if (class->score == NULL) return false;
  const struct ex_list *list = ex__policy_thresholds_of(policy);
  double value = class->leave_at(class->score(policy->values, seen));
  bool below = class->leave_at(1) < class->leave_at(0);
  *reading =
      (struct ex_reading){.what = class->name,
                          /* leave_at is a threshold that the value lies strictly below */
                          .value = below ? nextafter(value, -INFINITY) : value,
                          .threshold = list->n == 0 ? class->threshold_off
                                                    : list->value[list->n == 1 ? 0 : seen->point],
                          .below = below};
  return true;
}
