/* SPDX-License-Identifier: Apache-2.0
 *
 * data/data_samples: the binary files of CIFAR-10 and CIFAR-100
 * (www.cs.toronto.edu/~kriz/cifar.html): records of one label byte (CIFAR-10)
 * or two (CIFAR-100: coarse, fine) and 3 planes of 32 × 32 bytes. There is no
 * header, so the size of the file is all that tells a wrong one.
 */
#include <string.h>

#include "base/file.h"
#include "base/memory.h"
#include "data/data_samples.h"

enum { SIDE = 32, IMAGE_SIZE = 3 * SIDE * SIDE };

static const struct {
  const char *name;
  int32_t n_labels, label_at, n_classes; /* bytes before the image; which one; its bound */
} kinds[] = {
    [EX_CIFAR_10] = {"CIFAR-10", 1, 0, 10},
    [EX_CIFAR_100_FINE] = {"CIFAR-100", 2, 1, 100},
    [EX_CIFAR_100_COARSE] = {"CIFAR-100", 2, 0, 20},
};

static enum ex_status copy_records(const uint8_t *data, const char *path, enum ex_cifar kind,
                                   struct ex_samples *out, struct ex_error *err) {
  size_t record = (size_t)kinds[kind].n_labels + IMAGE_SIZE;
  uint8_t *x = out->x;
  for (int64_t i = 0; i < out->n; i++, data += record) {
    uint8_t label = data[kinds[kind].label_at];
    if (label >= kinds[kind].n_classes)
      return ex__fail(err, EX_EFORMAT, "%s: record %lld has label %d; %s has classes 0 to %d", path,
                      (long long)i, label, kinds[kind].name, (int)kinds[kind].n_classes - 1);
    out->y[i] = label;
    memcpy(x + (size_t)i * IMAGE_SIZE, data + kinds[kind].n_labels, IMAGE_SIZE);
  }
  return EX_OK;
}

static enum ex_status parse(const struct ex_mapping *map, const char *path, enum ex_cifar kind,
                            struct ex_samples *out, struct ex_error *err) {
  size_t record = (size_t)kinds[kind].n_labels + IMAGE_SIZE;
  if (map->size == 0 || map->size % record != 0)
    return ex__fail(err, EX_EFORMAT, "%s: %zu bytes; a %s file is a multiple of %zu", path,
                    map->size, kinds[kind].name, record);
  *out = (struct ex_samples){.n = (int64_t)(map->size / record),
                             .rank = 3,
                             .dim = {3, SIDE, SIDE},
                             .dtype = EX_DTYPE_U8,
                             .n_classes = kinds[kind].n_classes};
  if (out->n > INT32_MAX) return ex__fail(err, EX_EUNSUPPORTED, "%s: too many records", path);
  out->x = ex__alloc((size_t)out->n, IMAGE_SIZE);
  out->y = ex__alloc((size_t)out->n, sizeof *out->y);
  if (out->x == NULL || out->y == NULL)
    return ex__fail(err, EX_ENOMEM, "%s: no memory for its samples", path);
  return copy_records(map->data, path, kind, out, err);
}

enum ex_status ex__samples_read_cifar(const char *path, enum ex_cifar kind, struct ex_samples *out,
                                      struct ex_error *err) {
  *out = (struct ex_samples){0};
  struct ex_mapping map;
  EX_TRY(ex__file_map(path, &map, err));
  enum ex_status status = parse(&map, path, kind, out, err);
  if (status != EX_OK) ex__samples_free(out);
  ex__file_unmap(&map);
  return status;
}
