/* SPDX-License-Identifier: Apache-2.0
 *
 * export/export_values: looking a parameter up in the rule's table.
 */
#include "export/export_values.h"

#include <string.h>

static const void *field_of(const struct ex_rule_values *values, const struct ex_param *param) {
  return values->policy->values + param->offset;
}

/* NULL: there is none of that name. */
static const struct ex_param *find(struct ex_rule_values *values, const char *name) {
  const struct ex_param *param = values->policy->class->params;
  for (; param != NULL && param->name != NULL; param++)
    if (strcmp(param->name, name) == 0) return param;
  if (values->wrong == NULL) values->wrong = name;
  return NULL;
}

/* NULL: of another type, too. */
static const void *find_typed(struct ex_rule_values *values, const char *name,
                              enum ex_param_type type) {
  const struct ex_param *param = find(values, name);
  if (param != NULL && param->type == type) return field_of(values, param);
  if (values->wrong == NULL) values->wrong = name;
  return NULL;
}

double ex__value_number(struct ex_rule_values *values, const char *name) {
  const struct ex_param *param = find(values, name);
  if (param != NULL && param->type == EX_PARAM_REAL)
    return *(const double *)field_of(values, param);
  if (param != NULL && (param->type == EX_PARAM_INT || param->type == EX_PARAM_BOOL))
    return *(const int32_t *)field_of(values, param);
  if (values->wrong == NULL) values->wrong = name;
  return 0;
}

bool ex__value_is(struct ex_rule_values *values, const char *name, const char *choice) {
  const struct ex_param *param = find(values, name);
  const int32_t *chosen = find_typed(values, name, EX_PARAM_ENUM);
  return chosen != NULL && strcmp(param->choices[*chosen], choice) == 0;
}

const struct ex_list *ex__value_list(struct ex_rule_values *values, const char *name) {
  static const struct ex_list none = {.n = 0};
  const struct ex_list *list = find_typed(values, name, EX_PARAM_LIST);
  return list != NULL ? list : &none;
}

const struct ex_table *ex__value_table(struct ex_rule_values *values, const char *name) {
  static const struct ex_table none = {.n_rows = 0};
  const struct ex_table *table = find_typed(values, name, EX_PARAM_TABLE);
  return table != NULL ? table : &none;
}

double ex__value_of_exit(struct ex_rule_values *values, const char *name, int32_t point,
                         double none) {
  const struct ex_list *list = ex__value_list(values, name);
  return list->n == 0 ? none : list->value[list->n == 1 ? 0 : point];
}

enum ex_status ex__values_status(const struct ex_rule_values *values, struct ex_error *err) {
  if (values->wrong == NULL) return EX_OK;
  return ex__fail(err, EX_EBACKEND, "export: rule %s has no value %s", values->policy->class->name,
                  values->wrong);
}
