/* SPDX-License-Identifier: Apache-2.0
 *
 * net/ensemble: sums in double, in the order of the heads, rounded once, so that
 * trace and engine give the same bits. A head whose factor is 0 is not read: it
 * may not have run. A row is memory that a file has brought numbers for.
 */
#include "net/ensemble.h"

#include <float.h>
#include <math.h>
#include <string.h>

#include "base/exponential.h"
#include "base/json.h"
#include "base/memory.h"

enum { PIECE = 64 }; /* exponentials that are computed at once */

static const double least_log = -1e30; /* × 32 heads × 1e6 is still a float */
static const char *const means[] = {"geometric", "arithmetic"};

struct ex_ensemble *ex__ensemble_new(enum ex_mean mean, int32_t n_points, int32_t n_outputs) {
  if (n_points > EX_MAX_LIST) return NULL;
  struct ex_ensemble *ensemble = ex__calloc(1, sizeof *ensemble);
  if (ensemble == NULL) return NULL;
  ensemble->mean = mean;
  ensemble->n_points = n_points;
  ensemble->n_outputs = n_outputs;
  return ensemble;
}

void ex__ensemble_free(struct ex_ensemble *ensemble) {
  if (ensemble == NULL) return;
  for (int32_t p = 0; p < ensemble->n_points; p++) ex__free(ensemble->row[p]);
  ex__free(ensemble);
}

static size_t row_size(const struct ex_ensemble *ensemble, int32_t point) {
  return (size_t)point + 1 + (size_t)ensemble->n_outputs;
}

double *ex__ensemble_row(struct ex_ensemble *ensemble, int32_t point) {
  double **row = &ensemble->row[point];
  if (*row == NULL) *row = ex__calloc(row_size(ensemble, point), sizeof **row);
  return *row;
}

struct ex_ensemble *ex__ensemble_copy(const struct ex_ensemble *ensemble) {
  struct ex_ensemble *copy =
      ex__ensemble_new(ensemble->mean, ensemble->n_points, ensemble->n_outputs);
  for (int32_t p = 0; copy != NULL && p < ensemble->n_points; p++) {
    if (ensemble->row[p] == NULL) continue;
    double *row = ex__ensemble_row(copy, p);
    if (row == NULL) {
      ex__ensemble_free(copy);
      return NULL;
    }
    memcpy(row, ensemble->row[p], row_size(ensemble, p) * sizeof *row);
  }
  return copy;
}

uint32_t ex__ensemble_needs(const struct ex_ensemble *ensemble, int32_t point) {
  const double *factor = ensemble->row[point];
  uint32_t needs = 0;
  for (int32_t j = 0; factor != NULL && j < point; j++)
    if (factor[j] != 0) needs |= UINT32_C(1) << j;
  return needs;
}

/* Points whose outputs some row reads: all up to the last that has one. */
static int32_t points_held(const struct ex_ensemble *ensemble) {
  int32_t n = ensemble->n_points;
  while (n > 0 && ensemble->row[n - 1] == NULL) n--;
  return n;
}

int32_t ex__ensemble_state_size(const struct ex_ensemble *ensemble) {
  return points_held(ensemble) * ensemble->n_outputs;
}

/* ---- answers ---------------------------------------------------------------- */

static double sum_exponentials(const ex_real *raw, int32_t n, double most) {
  double sum = 0, each[PIECE];
  for (int32_t from = 0; from < n; from += PIECE) {
    int32_t count = n - from < PIECE ? n - from : PIECE;
    ex__exponentials(raw + from, count, most, each);
    for (int32_t i = 0; i < count; i++) sum += each[i];
  }
  return sum;
}

void ex__ensemble_opinion(enum ex_mean mean, const ex_real *raw, int32_t n_outputs,
                          ex_real *opinion) {
  double most = raw[0];
  bool finite = true;
  for (int32_t c = 0; c < n_outputs; c++) {
    finite &= isfinite(raw[c]) != 0;
    if (raw[c] > most) most = raw[c];
  }
  if (!finite) { /* no answer here, nor where this one is read */
    for (int32_t c = 0; c < n_outputs; c++) opinion[c] = (ex_real)NAN;
    return;
  }
  double log_sum = log(sum_exponentials(raw, n_outputs, most));
  for (int32_t c = 0; c < n_outputs; c++) {
    double log_p = fmax((double)raw[c] - most - log_sum, least_log);
    opinion[c] = (ex_real)(mean == EX_MEAN_GEOMETRIC ? log_p : exp(log_p));
  }
}

static double combine(const double *factor, int32_t point, const ex_real *opinion,
                      int32_t n_outputs, double bias) {
  double sum = bias;
  for (int32_t j = 0; j <= point; j++)
    if (factor[j] != 0) sum += factor[j] * (double)opinion[(int64_t)j * n_outputs];
  return sum;
}

void ex__ensemble_apply(const struct ex_ensemble *ensemble, int32_t point, const ex_real *raw,
                        ex_real *state, ex_real *output) {
  int32_t n_outputs = ensemble->n_outputs;
  if (point < points_held(ensemble))
    ex__ensemble_opinion(ensemble->mean, raw, n_outputs, state + (int64_t)point * n_outputs);
  const double *factor = ensemble->row[point];
  if (factor == NULL) {
    memmove(output, raw, (size_t)n_outputs * sizeof *output);
    return;
  }
  for (int32_t c = 0; c < n_outputs; c++) {
    double sum = combine(factor, point, state + c, n_outputs, factor[point + 1 + c]);
    if (ensemble->mean == EX_MEAN_ARITHMETIC) sum = sum < DBL_MIN ? log(DBL_MIN) : log(sum);
    output[c] = (ex_real)sum;
  }
}

/* ---- JSON ------------------------------------------------------------------- */

static json_t *numbers_to_json(const double *number, int32_t n) {
  json_t *list = json_array();
  bool ok = list != NULL;
  for (int32_t i = 0; ok && i < n; i++) ok = json_array_append_new(list, json_real(number[i])) == 0;
  if (ok) return list;
  json_decref(list);
  return NULL;
}

bool ex__ensemble_add_json(const struct ex_ensemble *ensemble, json_t *object) {
  json_t *exits = json_array();
  bool ok = exits != NULL;
  for (int32_t p = 0; ok && p < ensemble->n_points; p++) {
    const double *row = ensemble->row[p];
    json_t *exit = row == NULL
                       ? json_null()
                       : json_pack("{s:o, s:o}", "factors", numbers_to_json(row, p + 1), "bias",
                                   numbers_to_json(row + p + 1, ensemble->n_outputs));
    ok = json_array_append_new(exits, exit) == 0;
  }
  ok = ok && json_object_set_new(object, "mean", json_string(means[ensemble->mean])) == 0;
  if (ok) return json_object_set_new(object, "exits", exits) == 0;
  json_decref(exits);
  return false;
}

/* Exactly n numbers in [least, ex_largest_factor] under `key`; out may be NULL. */
static enum ex_status read_numbers(const json_t *exit, int32_t point, const char *key, int32_t n,
                                   double least, double *out, struct ex_error *err) {
  const json_t *list = json_object_get(exit, key);
  if (!json_is_array(list) || json_array_size(list) != (size_t)n)
    return ex__fail(err, EX_EFORMAT, "transform: exit %d must have %d \"%s\"", (int)point, (int)n,
                    key);
  for (int32_t i = 0; i < n; i++) {
    const json_t *item = json_array_get(list, (size_t)i);
    double value = json_number_value(item);
    if (!json_is_number(item) || !(value >= least && value <= ex_largest_factor))
      return ex__fail(err, EX_EFORMAT, "transform: %s %d of exit %d must be a number in [%g, %g]",
                      key, (int)i, (int)point, least, ex_largest_factor);
    if (out != NULL) out[i] = value;
  }
  return EX_OK;
}

static enum ex_status read_exit(const json_t *exit, int32_t point, struct ex_ensemble *ensemble,
                                struct ex_error *err) {
  if (json_is_null(exit)) return EX_OK;
  double least = ensemble->mean == EX_MEAN_GEOMETRIC ? -ex_largest_factor : 0;
  int32_t n_outputs = ensemble->n_outputs;
  EX_TRY(read_numbers(exit, point, "factors", point + 1, 0, NULL, err));
  EX_TRY(read_numbers(exit, point, "bias", n_outputs, least, NULL, err));
  double *row = ex__ensemble_row(ensemble, point);
  if (row == NULL) return ex__fail(err, EX_ENOMEM, "transform: no memory for an ensemble");
  EX_TRY(read_numbers(exit, point, "factors", point + 1, 0, row, err));
  return read_numbers(exit, point, "bias", n_outputs, least, row + point + 1, err);
}

static enum ex_status read_mean(const json_t *json, enum ex_mean *out, struct ex_error *err) {
  const char *name;
  EX_TRY(ex__json_string(json, "mean", "transform", &name, err));
  for (size_t i = 0; i < sizeof means / sizeof *means; i++) {
    *out = (enum ex_mean)i;
    if (strcmp(means[i], name) == 0) return EX_OK;
  }
  return ex__fail(err, EX_EUNSUPPORTED,
                  "transform: mean = \"%.40s\"; must be geometric or arithmetic", name);
}

enum ex_status ex__ensemble_from_json(const json_t *json, int32_t n_points, int32_t n_outputs,
                                      struct ex_ensemble **out, struct ex_error *err) {
  enum ex_mean mean;
  const json_t *exits;
  *out = NULL;
  EX_TRY(read_mean(json, &mean, err));
  EX_TRY(ex__json_array(json, "exits", "transform", EX_MAX_LIST, &exits, err));
  if (json_array_size(exits) != (size_t)n_points)
    return ex__fail(err, EX_EFORMAT, "transform: %zu exits of an ensemble for %d answer points",
                    json_array_size(exits), (int)n_points);
  struct ex_ensemble *ensemble = ex__ensemble_new(mean, n_points, n_outputs);
  if (ensemble == NULL) return ex__fail(err, EX_ENOMEM, "transform: no memory for an ensemble");
  enum ex_status status = EX_OK;
  for (int32_t p = 0; status == EX_OK && p < n_points; p++)
    status = read_exit(json_array_get(exits, (size_t)p), p, ensemble, err);
  if (status == EX_OK)
    *out = ensemble;
  else
    ex__ensemble_free(ensemble);
  return status;
}
