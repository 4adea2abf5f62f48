/* SPDX-License-Identifier: Apache-2.0
 *
 * net/transform: the kinds of exit transform, one line each in `kinds`.
 *
 * Temperature scaling (Guo et al., ICML 2017) divides in double and rounds
 * once, so that a temperature of 1 returns the same bits. It changes neither
 * the label nor the order of confidence within one exit, only between exits.
 *
 * Additive (BoostNet, Yu et al., AAAI 2023): F_n = f_n + t · F_{n−1}, in double
 * and rounded once; the state is F of the point before. With t = 0 it is the
 * identity, bits included, and nobody's head is needed.
 */
#include "net/transform.h"

#include <string.h>

#include "base/json.h"

static const double least_temperature = 1e-6, largest_temperature = 1e6;

static const char *const kinds[] = {
    [EX_TRANSFORM_IDENTITY] = "identity",
    [EX_TRANSFORM_TEMPERATURE] = "temperature",
    [EX_TRANSFORM_ADDITIVE] = "additive",
    [EX_TRANSFORM_ENSEMBLE] = "ensemble",
};

void ex__transform_clear(struct ex_transform *transform) {
  ex__ensemble_free(transform->ensemble);
  *transform = (struct ex_transform){.kind = EX_TRANSFORM_IDENTITY};
}

enum ex_status ex__transform_copy(const struct ex_transform *from, struct ex_transform *to) {
  ex__transform_clear(to);
  struct ex_ensemble *ensemble = NULL;
  if (from->ensemble != NULL && (ensemble = ex__ensemble_copy(from->ensemble)) == NULL)
    return EX_ENOMEM;
  *to = *from;
  to->ensemble = ensemble;
  return EX_OK;
}

static bool accumulates(const struct ex_transform *transform) {
  return transform->kind == EX_TRANSFORM_ADDITIVE && transform->factor != 0;
}

uint32_t ex__transform_needs(const struct ex_transform *transform, int32_t point) {
  if (transform->ensemble != NULL) return ex__ensemble_needs(transform->ensemble, point);
  return accumulates(transform) ? (UINT32_C(1) << point) - 1 : 0;
}

int32_t ex__transform_state_size(const struct ex_transform *transform, int32_t n_outputs) {
  if (transform->ensemble != NULL) return ex__ensemble_state_size(transform->ensemble);
  return accumulates(transform) ? n_outputs : 0;
}

void ex__transform_start(const struct ex_transform *transform, int32_t n_outputs, ex_real *state) {
  int32_t size = ex__transform_state_size(transform, n_outputs);
  for (int32_t i = 0; i < size; i++) state[i] = 0;
}

void ex__transform_apply(const struct ex_transform *transform, int32_t point, int32_t n_outputs,
                         const ex_real *raw, ex_real *state, ex_real *output) {
  if (transform->ensemble != NULL) {
    ex__ensemble_apply(transform->ensemble, point, raw, state, output);
    return;
  }
  if (accumulates(transform)) {
    for (int32_t i = 0; i < n_outputs; i++)
      output[i] = state[i] = (ex_real)(raw[i] + transform->factor * state[i]);
    return;
  }
  double divisor =
      transform->kind == EX_TRANSFORM_TEMPERATURE ? transform->temperature.value[point] : 1;
  for (int32_t i = 0; i < n_outputs; i++) output[i] = (ex_real)(raw[i] / divisor);
}

json_t *ex__transform_to_json(const struct ex_transform *transform) {
  if (transform->kind == EX_TRANSFORM_ADDITIVE)
    return json_pack("{s:s, s:f}", "kind", kinds[transform->kind], "factor", transform->factor);
  json_t *json = json_pack("{s:s}", "kind", kinds[transform->kind]), *list = NULL;
  if (json == NULL || transform->kind == EX_TRANSFORM_IDENTITY) return json;
  bool ok = true;
  if (transform->ensemble != NULL)
    ok = ex__ensemble_add_json(transform->ensemble, json);
  else
    ok = json_object_set_new(json, "temperature", list = json_array()) == 0;
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

static enum ex_status read_factor(const json_t *json, double *out, struct ex_error *err) {
  const json_t *factor = json_object_get(json, "factor");
  *out = json_number_value(factor); /* 0 where it is none */
  if (json_is_number(factor) && *out >= 0 && *out <= 1) return EX_OK;
  return ex__fail(err, EX_EFORMAT, "transform: factor must be a number in [0, 1]");
}

enum ex_status ex__transform_from_json(const json_t *json, int32_t n_points, int32_t n_outputs,
                                       struct ex_transform *out, struct ex_error *err) {
  *out = (struct ex_transform){0};
  const char *name;
  EX_TRY(ex__json_string(json, "kind", "transform", &name, err));
  for (size_t i = 0; i < sizeof kinds / sizeof *kinds; i++) {
    if (strcmp(kinds[i], name) != 0) continue;
    out->kind = (enum ex_transform_kind)i;
    if (out->kind == EX_TRANSFORM_ADDITIVE) return read_factor(json, &out->factor, err);
    if (out->kind == EX_TRANSFORM_ENSEMBLE)
      return ex__ensemble_from_json(json, n_points, n_outputs, &out->ensemble, err);
    if (out->kind != EX_TRANSFORM_TEMPERATURE) return EX_OK;
    return read_temperature(json, n_points, &out->temperature, err);
  }
  return ex__fail(err, EX_EUNSUPPORTED,
                  "transform: kind = \"%.40s\"; must be identity, temperature, additive or "
                  "ensemble",
                  name);
}
