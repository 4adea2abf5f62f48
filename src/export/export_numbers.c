/* SPDX-License-Identifier: Apache-2.0
 *
 * export/export_numbers: as the rules' own files in policy/ have it.
 */
#include "export/export_numbers.h"

#include <math.h>

#include "base/logistic.h"
#include "policy/confidences.h"

/* The confidence that a share of the samples lies below. */
static double quantile(const struct ex_table *table, int32_t point, double share) {
  const double *at = table->value[point];
  if (share <= 0) return -INFINITY;
  if (share >= 1) return INFINITY;
  double place = share * (table->n_columns - 1);
  int32_t below = (int32_t)place;
  return at[below] + (place - below) * (at[below + 1] - at[below]);
}

void ex__window_of(struct ex_rule_values *values, int32_t point, double *low, double *high) {
  const struct ex_table *table = ex__value_table(values, "quantile");
  double middle = 1 - ex__value_number(values, "accept");
  double reach = ex__value_number(values, "width") / 2;
  *low = quantile(table, point, middle - reach);
  *high = quantile(table, point, middle + reach);
}

struct ex_eenet_reads ex__eenet_reads(struct ex_rule_values *values) {
  enum { MOST_TOP = 8 };
  int32_t n = values->policy->n_outputs, top = 0, features = n + 2;
  if (features + values->policy->n_points - 1 > EX_MAX_FEATURES) {
    top = n < MOST_TOP ? n : MOST_TOP;
    features = top + 1;
  }
  return (struct ex_eenet_reads){top, EX_MAX_FEATURES - features};
}

bool ex__predictive_learned(struct ex_rule_values *values) {
  return ex__value_is(values, "engine", "learned");
}

bool ex__predictive_by_probability(struct ex_rule_values *values) {
  return ex__predictive_learned(values) && ex__value_is(values, "measure", "confidence");
}

double ex__predictive_leaves_at(struct ex_rule_values *values, int32_t point) {
  const double largest_measure = 27.6; /* −log(1e-12), where the rule cuts it off */
  double measure =
      ex__value_number(values, "beta") * ex__value_of_exit(values, "normaliser", point, 1);
  if (!ex__predictive_by_probability(values)) return measure;
  return measure > largest_measure ? 2 : 1 - exp(-measure);
}

bool ex__adaptive_any(struct ex_rule_values *values) {
  int32_t next = 1 + ex__n_confidences((int32_t)ex__value_number(values, "top"));
  return ex__value_table(values, "gates")->n_columns > next;
}

static int32_t place_in(const struct ex_list *list, int32_t class) {
  for (int32_t i = 0; i < list->n; i++)
    if ((int32_t)list->value[i] == class) return i;
  return -1;
}

bool ex__classy_minds(struct ex_rule_values *values, int32_t class) {
  return place_in(ex__value_list(values, "column"), class) >= 0;
}

double ex__classy_leaves_at(struct ex_rule_values *values, int32_t point, int32_t class) {
  const struct ex_list *of_interest = ex__value_list(values, "classes");
  const struct ex_list *from = ex__value_list(values, "from");
  int32_t place = of_interest->n > 0 ? place_in(of_interest, class) : class;
  int32_t column = place_in(ex__value_list(values, "column"), class);
  bool in_set = place >= 0 && (place >= from->n || point >= (int32_t)from->value[place]);
  return in_set && column >= 0 ? ex__value_table(values, "threshold")->value[point][column] : 2;
}
