/* SPDX-License-Identifier: Apache-2.0
 *
 * net/transform: the kinds of exit transform, one line each in `kinds`.
 *
 * Temperature scaling (Guo et al., ICML 2017) divides in double and rounds
 * once, so that a temperature of 1 returns the same bits. It changes neither
 * the label nor the order of confidence within one exit, only between exits. It
 * comes last: what other kinds carry from exit to exit is not scaled.
 *
 * Additive (BoostNet, Yu et al., AAAI 2023): F_n = f_n + t · F_{n−1}, in double
 * and rounded once; the state is F of the point before. With t = 0 it is the
 * identity, bits included, and nobody's head is needed.
 *
 * Product (Jazbec, Allingham, Zhang & Nalisnick, "Towards Anytime Classification in
 * Early-Exit Architectures by Enforcing Conditional Monotonicity", NeurIPS 2023):
 *
 *     p_k(c) ∝ Π_{j≤k} max(z_j(c), 0)^{w_j},  w_j = (j + 1) / K,
 *
 * for networks that were trained without it. The state is log p before it is
 * normalised, and the output is that: softmax makes p of it. A class that any exit
 * gave nothing stays out (log p = −1000, which is 0 as a share). Where nothing is
 * left of any class the exit answers by its own softmax, and those after it too.
 */
#include "net/transform.h"

#include <math.h>
#include <string.h>

#include "base/json.h"
#include "base/param_given.h"

static const double least_temperature = 1e-6, largest_temperature = 1e6;

static const char *const kinds[] = {
    [EX_TRANSFORM_IDENTITY] = "identity", [EX_TRANSFORM_TEMPERATURE] = "temperature",
    [EX_TRANSFORM_ADDITIVE] = "additive", [EX_TRANSFORM_ENSEMBLE] = "ensemble",
    [EX_TRANSFORM_PRODUCT] = "product",
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
  return transform->kind == EX_TRANSFORM_PRODUCT ||
         (transform->kind == EX_TRANSFORM_ADDITIVE && transform->factor != 0);
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

static const double nothing = -1000; /* a logarithm; its share is 0 in double too */

/* An output that is not finite is passed on as it is, and leaves no trace. */
static void multiply(double weight, int32_t n_outputs, const ex_real *raw, ex_real *state,
                     ex_real *output) {
  bool left = false, finite = true;
  for (int32_t i = 0; i < n_outputs; i++) finite = finite && isfinite(raw[i]);
  for (int32_t i = 0; finite && i < n_outputs; i++) {
    bool out = !(raw[i] > 0) || state[i] <= (ex_real)nothing;
    double sum = out ? nothing : (double)state[i] + weight * log((double)raw[i]);
    state[i] = (ex_real)(out ? nothing : fmax(sum, nothing / 2));
    left |= !out;
  }
  for (int32_t i = 0; i < n_outputs; i++) output[i] = left ? state[i] : raw[i];
}

static void scale(const struct ex_transform *transform, int32_t point, int32_t n_outputs,
                  const ex_real *from, ex_real *output) {
  double divisor = transform->temperature.n > 0 ? transform->temperature.value[point] : 1;
  for (int32_t i = 0; i < n_outputs; i++) output[i] = (ex_real)(from[i] / divisor);
}

void ex__transform_apply(const struct ex_transform *transform, int32_t point, int32_t n_outputs,
                         const ex_real *raw, ex_real *state, ex_real *output) {
  if (transform->ensemble != NULL) {
    ex__ensemble_apply(transform->ensemble, point, raw, state, output);
    scale(transform, point, n_outputs, output, output);
  } else if (transform->kind == EX_TRANSFORM_PRODUCT) {
    multiply(transform->weight.value[point], n_outputs, raw, state, output);
    scale(transform, point, n_outputs, output, output);
  } else if (accumulates(transform)) {
    for (int32_t i = 0; i < n_outputs; i++)
      state[i] = (ex_real)(raw[i] + transform->factor * state[i]);
    scale(transform, point, n_outputs, state, output);
  } else {
    scale(transform, point, n_outputs, raw, output);
  }
}

void ex__transform_set_temperatures(struct ex_transform *transform, const struct ex_list *list) {
  transform->temperature = *list;
  if (transform->kind == EX_TRANSFORM_IDENTITY || transform->kind == EX_TRANSFORM_TEMPERATURE)
    transform->kind = list->n > 0 ? EX_TRANSFORM_TEMPERATURE : EX_TRANSFORM_IDENTITY;
}

void ex__transform_set_product(struct ex_transform *transform, int32_t n_points) {
  ex__transform_clear(transform);
  transform->kind = EX_TRANSFORM_PRODUCT;
  transform->weight.n = n_points;
  for (int32_t k = 0; k < n_points; k++) transform->weight.value[k] = (k + 1.0) / n_points;
}

json_t *ex__transform_to_json(const struct ex_transform *transform) {
  json_t *json = json_pack("{s:s}", "kind", kinds[transform->kind]);
  bool ok = json != NULL;
  if (ok && transform->kind == EX_TRANSFORM_ADDITIVE)
    ok = json_object_set_new(json, "factor", json_real(transform->factor)) == 0;
  if (ok && transform->kind == EX_TRANSFORM_PRODUCT)
    ok = json_object_set_new(json, "weight", ex__list_to_json(&transform->weight)) == 0;
  if (ok && transform->ensemble != NULL) ok = ex__ensemble_add_json(transform->ensemble, json);
  if (ok && transform->temperature.n > 0)
    ok = json_object_set_new(json, "temperature", ex__list_to_json(&transform->temperature)) == 0;
  if (ok) return json;
  json_decref(json);
  return NULL;
}

/* A number per point, under `key`. */
static enum ex_status read_list(const json_t *json, const char *key, double least, double most,
                                int32_t n_points, struct ex_list *out, struct ex_error *err) {
  const json_t *list;
  EX_TRY(ex__json_array(json, key, "transform", EX_MAX_LIST, &list, err));
  out->n = (int32_t)json_array_size(list);
  if (out->n != n_points)
    return ex__fail(err, EX_EFORMAT, "transform: %d %ss for %d answer points", (int)out->n, key,
                    (int)n_points);
  for (int32_t i = 0; i < n_points; i++) {
    const json_t *item = json_array_get(list, (size_t)i);
    out->value[i] = json_number_value(item);
    if (!json_is_number(item) || !(out->value[i] >= least && out->value[i] <= most))
      return ex__fail(err, EX_EFORMAT, "transform: %s %d must be a number in [%g, %g]", key, (int)i,
                      least, most);
  }
  return EX_OK;
}

static enum ex_status read_factor(const json_t *json, double *out, struct ex_error *err) {
  const json_t *factor = json_object_get(json, "factor");
  *out = json_number_value(factor); /* 0 where it is none */
  if (json_is_number(factor) && *out >= 0 && *out <= 1) return EX_OK;
  return ex__fail(err, EX_EFORMAT, "transform: factor must be a number in [0, 1]");
}

static enum ex_status read_kind(const json_t *json, int32_t n_points, int32_t n_outputs,
                                struct ex_transform *out, struct ex_error *err) {
  switch (out->kind) {
    case EX_TRANSFORM_ADDITIVE: return read_factor(json, &out->factor, err);
    case EX_TRANSFORM_ENSEMBLE:
      return ex__ensemble_from_json(json, n_points, n_outputs, &out->ensemble, err);
    case EX_TRANSFORM_PRODUCT:
      return read_list(json, "weight", 0, 100, n_points, &out->weight, err);
    case EX_TRANSFORM_TEMPERATURE: /* its list is read for every kind */
    case EX_TRANSFORM_IDENTITY: break;
  }
  return EX_OK;
}

enum ex_status ex__transform_from_json(const json_t *json, int32_t n_points, int32_t n_outputs,
                                       struct ex_transform *out, struct ex_error *err) {
  *out = (struct ex_transform){0};
  const char *name;
  EX_TRY(ex__json_string(json, "kind", "transform", &name, err));
  for (size_t i = 0; i < sizeof kinds / sizeof *kinds; i++) {
    if (strcmp(kinds[i], name) != 0) continue;
    out->kind = (enum ex_transform_kind)i;
    bool scaled = out->kind == EX_TRANSFORM_TEMPERATURE ||
                  (out->kind != EX_TRANSFORM_IDENTITY && json_object_get(json, "temperature"));
    if (scaled)
      EX_TRY(read_list(json, "temperature", least_temperature, largest_temperature, n_points,
                       &out->temperature, err));
    return read_kind(json, n_points, n_outputs, out, err);
  }
  return ex__fail(err, EX_EUNSUPPORTED,
                  "transform: kind = \"%.40s\"; must be identity, temperature, additive, "
                  "ensemble or product",
                  name);
}
