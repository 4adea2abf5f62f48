/* SPDX-License-Identifier: Apache-2.0
 *
 * data/data_input: told apart by content, since names can be anything.
 */
#include "data/data_input.h"

#include <limits.h>
#include <string.h>

#include "base/file.h"
#include "base/memory.h"
#include "data/image.h"
#include "data/npy.h"

static int64_t product(int32_t rank, const int32_t *dim) {
  int64_t features = 1;
  for (int32_t i = 0; i < rank; i++) features *= dim[i];
  return features;
}

/* How many inputs of the shape the array holds; −1 where it does not fit. */
static int64_t count_inputs(const struct ex_array *array, int32_t rank, const int32_t *dim) {
  if (rank == 3 && dim[0] == 1 && array->rank < 4) { /* the channel may be left out */
    bool has_channel = array->rank == 3 && array->dim[0] == 1;
    rank = 2 + has_channel;
    dim += !has_channel;
  }
  int32_t lead = array->rank - rank;
  if (lead != 0 && lead != 1) return -1;
  for (int32_t i = 0; i < rank; i++)
    if (array->dim[lead + i] != dim[i]) return -1;
  return lead == 1 ? array->dim[0] : 1;
}

static enum ex_status wrong_shape(const char *path, const struct ex_array *array, int32_t rank,
                                  const int32_t *dim, struct ex_error *err) {
  struct ex_array expected = {.rank = rank};
  for (int32_t i = 0; i < rank; i++) expected.dim[i] = dim[i];
  char found_text[64], expected_text[64];
  ex__array_shape_text(array, found_text, sizeof found_text);
  ex__array_shape_text(&expected, expected_text, sizeof expected_text);
  return ex__fail(err, EX_ESHAPE, "%s: an array of shape %s; must be %s, or [n] of these", path,
                  found_text, expected_text);
}

static enum ex_status take_array(const char *path, const struct ex_array *array, int32_t rank,
                                 const int32_t *dim, ex_real **x, int32_t *n,
                                 struct ex_error *err) {
  int64_t found = count_inputs(array, rank, dim);
  if (found < 0) return wrong_shape(path, array, rank, dim, err);
  if (found > INT32_MAX) return ex__fail(err, EX_EUNSUPPORTED, "%s: too many inputs", path);
  ex_real *values = ex__alloc((size_t)array->count, sizeof *values);
  if (values == NULL) return ex__fail(err, EX_ENOMEM, "%s: no memory for its inputs", path);
  enum ex_status status = ex__array_to_real(array, 0, array->count, values);
  if (status != EX_OK) {
    ex__free(values);
    return ex__fail(err, status, "%s: elements of type %s", path, ex__dtype_name(array->dtype));
  }
  *x = values;
  *n = (int32_t)found;
  return EX_OK;
}

static enum ex_status read_npy(const struct ex_mapping *map, const char *path, int32_t rank,
                               const int32_t *dim, ex_real **x, int32_t *n, struct ex_error *err) {
  struct ex_npy npy;
  enum ex_status status = ex__npy_parse(map->data, map->size, path, &npy, err);
  if (status == EX_OK) status = take_array(path, &npy.array, rank, dim, x, n, err);
  ex__npy_close(&npy);
  return status;
}

static bool reads_images(int32_t rank, const int32_t *dim) {
  return rank == 3 && (dim[0] == 1 || dim[0] == 3);
}

enum ex_status ex__input_decode(const void *data, size_t size, const char *source, int32_t rank,
                                const int32_t *dim, uint8_t *out, int64_t *n_decoded,
                                struct ex_error *err) {
  if (!reads_images(rank, dim))
    return ex__fail(err, EX_ESHAPE, "%s: the model does not read images", source);
  struct ex_image image;
  EX_TRY(ex__image_decode(data, size, source, dim[0], &image, err));
  ex__image_fit(&image, dim[1], dim[2], out);
  *n_decoded = (int64_t)image.height * image.width;
  ex__image_free(&image);
  return EX_OK;
}

static enum ex_status read_image(const struct ex_mapping *map, const char *path, int32_t rank,
                                 const int32_t *dim, ex_real **x, int32_t *n,
                                 struct ex_error *err) {
  if (!reads_images(rank, dim))
    return ex__fail(err, EX_ESHAPE, "%s: is not a .npy file, and the model does not read images",
                    path);
  size_t features = (size_t)product(rank, dim);
  int64_t n_decoded;
  uint8_t *pixels = ex__alloc(features, 1);
  ex_real *values = ex__alloc(features, sizeof *values);
  enum ex_status status = EX_ENOMEM;
  if (pixels == NULL || values == NULL)
    ex__fail(err, status, "%s: no memory for the image", path);
  else
    status = ex__input_decode(map->data, map->size, path, rank, dim, pixels, &n_decoded, err);
  for (size_t i = 0; status == EX_OK && i < features; i++) values[i] = pixels[i];
  ex__free(pixels);
  if (status == EX_OK) {
    *x = values;
    *n = 1;
  } else {
    ex__free(values);
  }
  return status;
}

enum ex_status ex__input_read(const char *path, int32_t rank, const int32_t *dim, ex_real **x,
                              int32_t *n, struct ex_error *err) {
  *x = NULL;
  *n = 0;
  struct ex_mapping map;
  EX_TRY(ex__file_map(path, &map, err));
  bool is_npy = map.size >= 6 && memcmp(map.data, "\x93NUMPY", 6) == 0;
  enum ex_status status = is_npy ? read_npy(&map, path, rank, dim, x, n, err)
                                 : read_image(&map, path, rank, dim, x, n, err);
  ex__file_unmap(&map);
  return status;
}
