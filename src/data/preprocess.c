/* SPDX-License-Identifier: Apache-2.0
 *
 * data/preprocess: applying it, and its place in a model's metadata.
 */
#include "data/preprocess.h"

#include "base/json.h"

void ex__preprocess_apply(const struct ex_preprocess *preprocess, const ex_real *raw,
                          int64_t features, ex_real *out) {
  int64_t run = features / preprocess->n_channels;
  for (int32_t c = 0; c < preprocess->n_channels; c++) {
    ex_real mean = (ex_real)preprocess->mean[c], scale = (ex_real)(1 / preprocess->deviation[c]);
    const ex_real *from = raw + c * run;
    ex_real *to = out + c * run;
    if (preprocess->bytes)
      for (int64_t i = 0; i < run; i++) to[i] = (from[i] / 255 - mean) * scale;
    else
      for (int64_t i = 0; i < run; i++) to[i] = (from[i] - mean) * scale;
  }
}

static json_t *numbers_to_json(const double *values, int32_t n) {
  json_t *array = json_array();
  for (int32_t i = 0; array != NULL && i < n; i++) {
    if (json_array_append_new(array, json_real(values[i])) == 0) continue;
    json_decref(array);
    return NULL;
  }
  return array;
}

json_t *ex__preprocess_to_json(const struct ex_preprocess *preprocess) {
  json_t *mean = numbers_to_json(preprocess->mean, preprocess->n_channels);
  json_t *deviation = numbers_to_json(preprocess->deviation, preprocess->n_channels);
  return json_pack("{s:b, s:o, s:o}", "bytes", preprocess->bytes, "mean", mean, "deviation",
                   deviation);
}

static enum ex_status numbers_from_json(const json_t *json, const char *key, const char *where,
                                        double least, double *out, int32_t *n,
                                        struct ex_error *err) {
  const json_t *array;
  EX_TRY(ex__json_array(json, key, where, EX_MAX_STATISTICS, &array, err));
  *n = (int32_t)json_array_size(array);
  for (int32_t i = 0; i < *n; i++) {
    const json_t *item = json_array_get(array, (size_t)i);
    out[i] = json_number_value(item);
    if (!json_is_number(item) || !(out[i] >= least && out[i] <= 1e30))
      return ex__fail(err, EX_EFORMAT, "%s: \"%s\" must hold numbers in [%g, 1e30]", where, key,
                      least);
  }
  return EX_OK;
}

enum ex_status ex__preprocess_from_json(const json_t *json, const char *where, int64_t features,
                                        struct ex_preprocess *out, struct ex_error *err) {
  *out = (struct ex_preprocess){0};
  int32_t n_deviations;
  EX_TRY(numbers_from_json(json, "mean", where, -1e30, out->mean, &out->n_channels, err));
  EX_TRY(numbers_from_json(json, "deviation", where, 1e-30, out->deviation, &n_deviations, err));
  const json_t *bytes = json_object_get(json, "bytes");
  if (!json_is_boolean(bytes))
    return ex__fail(err, EX_EFORMAT, "%s: \"bytes\" must be true or false", where);
  if (out->n_channels < 1 || out->n_channels != n_deviations || features % out->n_channels != 0)
    return ex__fail(err, EX_EFORMAT,
                    "%s: %d means and %d deviations; must be as many, and divide %lld features",
                    where, (int)out->n_channels, (int)n_deviations, (long long)features);
  out->bytes = json_is_true(bytes);
  return EX_OK;
}
