/* SPDX-License-Identifier: Apache-2.0
 *
 * data/data_samples: the store that all readers fill, and the readers of formats
 * that are arrays already (IDX, .npy, safetensors).
 */
#include "data/data_samples.h"

#include <inttypes.h>
#include <limits.h>
#include <string.h>

#include "base/memory.h"
#include "data/idx.h"
#include "data/npy.h"
#include "data/safetensors.h"

int64_t ex__samples_features(const struct ex_samples *samples) {
  int64_t features = 1;
  for (int32_t i = 0; i < samples->rank; i++) features *= samples->dim[i];
  return features;
}

void ex__samples_free(struct ex_samples *samples) {
  ex__free(samples->x);
  ex__free(samples->y);
  for (int32_t i = 0; samples->class_names != NULL && i < samples->n_classes; i++)
    ex__free(samples->class_names[i]);
  ex__free(samples->class_names);
  *samples = (struct ex_samples){0};
}

/* ---- appending ---------------------------------------------------------- */

static bool same_names(const struct ex_samples *a, const struct ex_samples *b) {
  if (a->class_names == NULL || b->class_names == NULL) return a->class_names == b->class_names;
  if (a->n_classes != b->n_classes) return false;
  for (int32_t i = 0; i < a->n_classes; i++)
    if (strcmp(a->class_names[i], b->class_names[i]) != 0) return false;
  return true;
}

static bool same_kind(const struct ex_samples *a, const struct ex_samples *b) {
  return a->rank == b->rank && memcmp(a->dim, b->dim, sizeof a->dim) == 0 && a->dtype == b->dtype &&
         same_names(a, b);
}

/* The labels of both, -1 where a part has none; NULL when memory is short. */
static int32_t *join_labels(const struct ex_samples *a, const struct ex_samples *b) {
  int32_t *y = ex__alloc((size_t)(a->n + b->n), sizeof *y);
  for (int64_t i = 0; y != NULL && i < a->n; i++) y[i] = a->y != NULL ? a->y[i] : -1;
  for (int64_t i = 0; y != NULL && i < b->n; i++) y[a->n + i] = b->y != NULL ? b->y[i] : -1;
  return y;
}

enum ex_status ex__samples_append(struct ex_samples *samples, struct ex_samples *more,
                                  const char *source, struct ex_error *err) {
  if (samples->n == 0 && samples->x == NULL) {
    *samples = *more;
    *more = (struct ex_samples){0};
    return EX_OK;
  }
  if (!same_kind(samples, more))
    return ex__fail(err, EX_ESHAPE, "%s: shape, type or classes differ from the file before it",
                    source);
  size_t size = (size_t)ex__samples_features(samples) * ex__dtype_size(samples->dtype);
  bool labelled = samples->y != NULL || more->y != NULL;
  int32_t *y = labelled ? join_labels(samples, more) : NULL;
  char *x = ex__grow(samples->x, (size_t)samples->n, (size_t)(samples->n + more->n), size);
  if (x != NULL) samples->x = x;
  if (x == NULL || (labelled && y == NULL)) {
    ex__free(y);
    return ex__fail(err, EX_ENOMEM, "%s: no memory for its samples", source);
  }
  memcpy(x + (size_t)samples->n * size, more->x, (size_t)more->n * size);
  ex__free(samples->y);
  samples->y = y;
  samples->n += more->n;
  if (more->n_classes > samples->n_classes) samples->n_classes = more->n_classes;
  ex__samples_free(more);
  return EX_OK;
}

/* ---- from arrays -------------------------------------------------------- */

static enum ex_status take_shape(const struct ex_array *x, const char *source,
                                 struct ex_samples *out, struct ex_error *err) {
  char shape[64];
  ex__array_shape_text(x, shape, sizeof shape);
  if (x->rank < 1 || x->rank > 4)
    return ex__fail(err, EX_ESHAPE,
                    "%s: inputs of shape %s; must have 1 to 4 dimensions, the first the sample",
                    source, shape);
  for (int32_t i = 1; i < x->rank; i++)
    if (x->dim[i] < 1 || x->dim[i] > INT32_MAX)
      return ex__fail(err, EX_ESHAPE, "%s: inputs of shape %s; each dimension must be at least 1",
                      source, shape);
  if (x->rank <= 2) {
    out->rank = 1;
    out->dim[0] = x->rank == 2 ? (int32_t)x->dim[1] : 1;
  } else {
    out->rank = 3;
    out->dim[0] = x->rank == 4 ? (int32_t)x->dim[1] : 1;
    out->dim[1] = (int32_t)x->dim[x->rank - 2];
    out->dim[2] = (int32_t)x->dim[x->rank - 1];
  }
  out->n = x->dim[0];
  if (out->n > INT32_MAX)
    return ex__fail(err, EX_EUNSUPPORTED, "%s: %" PRId64 " samples; must be at most %d", source,
                    out->n, INT32_MAX);
  return EX_OK;
}

static enum ex_status take_inputs(const struct ex_array *x, const char *source,
                                  struct ex_samples *out, struct ex_error *err) {
  EX_TRY(take_shape(x, source, out, err));
  out->dtype = x->dtype == EX_DTYPE_U8 ? EX_DTYPE_U8 : EX_DTYPE_F32;
  out->x = ex__alloc((size_t)x->count, ex__dtype_size(out->dtype));
  if (out->x == NULL) return ex__fail(err, EX_ENOMEM, "%s: no memory for its samples", source);
  if (x->dtype == out->dtype) {
    if (x->size > 0) memcpy(out->x, x->data, x->size);
    return EX_OK;
  }
  float *values = out->x;
  for (int64_t i = 0; i < x->count; i++) {
    ex_real value;
    if (ex__array_to_real(x, i, 1, &value) != EX_OK)
      return ex__fail(err, EX_EUNSUPPORTED, "%s: inputs of type %s", source,
                      ex__dtype_name(x->dtype));
    values[i] = (float)value;
  }
  return EX_OK;
}

static enum ex_status check_labels(const struct ex_array *y, const char *source, int64_t n,
                                   struct ex_error *err) {
  int64_t none;
  if (ex__array_to_int(y, 0, 0, &none) != EX_OK)
    return ex__fail(err, EX_EUNSUPPORTED, "%s: labels of type %s; must be U8, I8, I32 or I64",
                    source, ex__dtype_name(y->dtype));
  char shape[64];
  ex__array_shape_text(y, shape, sizeof shape);
  if (y->rank != 1 || y->dim[0] != n)
    return ex__fail(err, EX_ESHAPE, "%s: labels of shape %s; must be [%" PRId64 "], one per sample",
                    source, shape, n);
  return EX_OK;
}

static enum ex_status take_labels(const struct ex_array *y, const char *source,
                                  struct ex_samples *out, struct ex_error *err) {
  EX_TRY(check_labels(y, source, out->n, err));
  out->y = ex__alloc((size_t)out->n, sizeof *out->y);
  if (out->y == NULL) return ex__fail(err, EX_ENOMEM, "%s: no memory for its labels", source);
  for (int64_t i = 0; i < out->n; i++) {
    int64_t label = -1;
    (void)ex__array_to_int(y, i, 1, &label);
    if (label < -1 || label >= EX_MAX_CLASSES)
      return ex__fail(err, EX_EFORMAT,
                      "%s: sample %" PRId64 " has label %" PRId64
                      "; must be -1 (none) or a class in [0, %d]",
                      source, i, label, EX_MAX_CLASSES - 1);
    out->y[i] = (int32_t)label;
    if (label >= out->n_classes) out->n_classes = (int32_t)label + 1;
  }
  return EX_OK;
}

enum ex_status ex__samples_from_arrays(const struct ex_array *x, const char *x_source,
                                       const struct ex_array *y, const char *y_source,
                                       struct ex_samples *out, struct ex_error *err) {
  *out = (struct ex_samples){0};
  enum ex_status status = take_inputs(x, x_source, out, err);
  if (status == EX_OK && y != NULL) status = take_labels(y, y_source, out, err);
  if (status != EX_OK) ex__samples_free(out);
  return status;
}

/* ---- files that hold arrays --------------------------------------------- */

static enum ex_status read_idx_labels(const char *path, struct ex_array *out,
                                      struct ex_error *err) {
  if (path == NULL) return EX_OK;
  return ex__idx_read(path, 1, out, err);
}

enum ex_status ex__samples_read_idx(const char *images, const char *labels, struct ex_samples *out,
                                    struct ex_error *err) {
  *out = (struct ex_samples){0};
  struct ex_array x = {0}, y = {0};
  enum ex_status status = ex__idx_read(images, 3, &x, err);
  if (status == EX_OK) status = read_idx_labels(labels, &y, err);
  if (status == EX_OK)
    status = ex__samples_from_arrays(&x, images, labels != NULL ? &y : NULL, labels, out, err);
  ex__array_free(&x);
  ex__array_free(&y);
  return status;
}

enum ex_status ex__samples_read_npy(const char *inputs, const char *labels, struct ex_samples *out,
                                    struct ex_error *err) {
  *out = (struct ex_samples){0};
  struct ex_npy x, y = {0};
  enum ex_status status = ex__npy_open(inputs, &x, err);
  if (status == EX_OK && labels != NULL) status = ex__npy_open(labels, &y, err);
  if (status == EX_OK)
    status = ex__samples_from_arrays(&x.array, inputs, labels != NULL ? &y.array : NULL, labels,
                                     out, err);
  ex__npy_close(&x);
  ex__npy_close(&y);
  return status;
}

enum ex_status ex__samples_read_safetensors(const char *path, struct ex_samples *out,
                                            struct ex_error *err) {
  *out = (struct ex_samples){0};
  ex_safetensors *file;
  EX_TRY(ex__safetensors_open(path, &file, err));
  const struct ex_array *x = ex__safetensors_find(file, "x");
  const struct ex_array *y = ex__safetensors_find(file, "y");
  enum ex_status status;
  if (x == NULL)
    status = ex__fail(err, EX_ENOTFOUND, "%s: has no array \"x\" of inputs", path);
  else
    status = ex__samples_from_arrays(x, path, y, path, out, err);
  ex__safetensors_free(file);
  return status;
}
