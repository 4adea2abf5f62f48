/* SPDX-License-Identifier: Apache-2.0
 *
 * net/transform: the kinds of exit transform, one line each in `kinds`.
 *
 * Temperature scaling (Guo et al., ICML 2017) divides in double and rounds
 * once, so that a temperature of 1 returns the same bits. It changes neither
 * the label nor the order of confidence within one exit, only between exits.
 */
#include "net/transform.h"

#include <string.h>

#include "base/json.h"

static const double least_temperature = 1e-6, largest_temperature = 1e6;

static const char *const kinds[] = {
    [EX_TRANSFORM_IDENTITY] = "identity",
    [EX_TRANSFORM_TEMPERATURE] = "temperature",
};

int32_t ex__transform_state_size(const struct ex_transform *transform, int32_t n_outputs) {
  (void)transform;
  (void)n_outputs;
  return 0;
}

void ex__transform_start(const struct ex_transform *transform, int32_t n_outputs, ex_real *state) {
  (void)transform;
  (void)n_outputs;
  (void)state;
}

void ex__transform_apply(const struct ex_transform *transform, int32_t point, int32_t n_outputs,
                         const ex_real *raw, ex_real *state, ex_real *output) {
  (void)state;
  double divisor =
      transform->kind == EX_TRANSFORM_TEMPERATURE ? transform->temperature.value[point] : 1;
  for (int32_t i = 0; i < n_outputs; i++) output[i] = (ex_real)(raw[i] / divisor);
}

json_t *ex__transform_to_json(const struct ex_transform *transform) {
  json_t *json = json_pack("{s:s}", "kind", kinds[transform->kind]);
  if (json == NULL || transform->kind != EX_TRANSFORM_TEMPERATURE) return json;
  json_t *list = json_array();
  bool ok = json_object_set_new(json, "temperature", list) == 0;
  for (int32_t i = 0; ok && i < transform->temperature.n; i++)
    ok = json_array_append_new(list, json_real(transform->temperature.value[i])) == 0;
  if (ok) return json;
  json_decref(json);
  return NULL;
}

static enum ex_status read_temperature(const json_t *json, int32_t n_points, struct ex_list *out,
                                       struct ex_error *err) {
  const json_t *list;
  EX_TRY(ex__json_array(json, "temperature", "transform", EX_MAX_LIST, &list, err));
  out->n = (int32_t)json_array_size(list);
  if (out->n != n_points)
    return ex__fail(err, EX_EFORMAT, "transform: %d temperatures for %d answer points", (int)out->n,
                    (int)n_points);
  for (int32_t i = 0; i < n_points; i++) {
    const json_t *item = json_array_get(list, (size_t)i);
    out->value[i] = json_number_value(item);
    if (!json_is_number(item) ||
        !(out->value[i] >= least_temperature && out->value[i] <= largest_temperature))
      return ex__fail(err, EX_EFORMAT, "transform: temperature %d must be a number in [%g, %g]",
                      (int)i, least_temperature, largest_temperature);
  }
  return EX_OK;
}

enum ex_status ex__transform_from_json(const json_t *json, int32_t n_points,
                                       struct ex_transform *out, struct ex_error *err) {
  *out = (struct ex_transform){0};
  const char *name;
  EX_TRY(ex__json_string(json, "kind", "transform", &name, err));
  for (size_t i = 0; i < sizeof kinds / sizeof *kinds; i++) {
    if (strcmp(kinds[i], name) != 0) continue;
    out->kind = (enum ex_transform_kind)i;
    if (out->kind != EX_TRANSFORM_TEMPERATURE) return EX_OK;
    return read_temperature(json, n_points, &out->temperature, err);
  }
  return ex__fail(err, EX_EUNSUPPORTED,
                  "transform: kind = \"%.40s\"; must be identity or temperature", name);
}
