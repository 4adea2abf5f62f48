/* SPDX-License-Identifier: Apache-2.0
 *
 * data/data: handing out samples. Nothing here can fail or allocate (but the
 * digest), and nothing depends on which thread asks for which sample.
 */
#include <inttypes.h>

#include "base/random.h"
#include "base/text.h"
#include "data/data_store.h"
#include "data/data_transform.h"

enum { STREAM_SHUFFLE = 0x5393 };

void ex__data_preprocess_as(ex_data *data, const struct ex_preprocess *preprocess) {
  data->applied = *preprocess;
}

const struct ex_data_info *ex__data_info(const ex_data *data) { return &data->info; }

int32_t ex__data_size(const ex_data *data, enum ex_split split) { return data->roles[split].n; }

static int32_t label(const struct role *role, int32_t index) {
  return role->samples->y != NULL ? role->samples->y[role->items[index]] : -1;
}

int32_t ex__data_label(const ex_data *data, enum ex_split split, int32_t index) {
  return label(&data->roles[split], index);
}

void ex__data_raw(const ex_data *data, enum ex_split split, int32_t index, ex_real *x) {
  const struct role *role = &data->roles[split];
  ex__transform_fill(role->samples, role->items[index], NULL, x);
}

static void read_one(const ex_data *data, const struct role *role, int32_t item,
                     const struct ex_augment_draw *draw, ex_real *x) {
  ex__transform_fill(role->samples, role->items[item], draw, x);
  ex__preprocess_apply(&data->applied, x, data->info.features, x);
}

void ex__data_read(const ex_data *data, enum ex_split split, const int32_t *items, int32_t n,
                   ex_real *x, int32_t *y) {
  const struct role *role = &data->roles[split];
  for (int32_t i = 0; i < n; i++) {
    read_one(data, role, items[i], NULL, x + i * data->info.features);
    if (y != NULL) y[i] = label(role, items[i]);
  }
}

void ex__data_read_range(const ex_data *data, enum ex_split split, int32_t first, int32_t n,
                         ex_real *x, int32_t *y) {
  for (int32_t i = 0; i < n; i++) {
    int32_t item = first + i;
    ex__data_read(data, split, &item, 1, x + i * data->info.features, y != NULL ? y + i : NULL);
  }
}

void ex__data_shuffle(const ex_data *data, uint64_t seed, int32_t epoch, int32_t *order) {
  int32_t n = data->roles[EX_SPLIT_TRAIN].n;
  for (int32_t i = 0; i < n; i++) order[i] = i;
  struct ex_random random = ex__random_seed(seed, (uint64_t)STREAM_SHUFFLE << 32 | (uint32_t)epoch);
  ex__random_shuffle(&random, order, n);
}

void ex__data_read_augmented(const ex_data *data, uint64_t seed, int32_t epoch,
                             const int32_t *items, int32_t n, ex_real *x, int32_t *y) {
  const struct role *role = &data->roles[EX_SPLIT_TRAIN];
  for (int32_t i = 0; i < n; i++) {
    struct ex_augment_draw draw = ex__augment_draw(&data->augment, seed, epoch, items[i]);
    read_one(data, role, items[i], &draw, x + i * data->info.features);
    if (y != NULL) y[i] = label(role, items[i]);
  }
}

void ex__data_class_weights(const ex_data *data, ex_real *weights) {
  const struct role *role = &data->roles[EX_SPLIT_TRAIN];
  int32_t labelled = 0, present = 0;
  for (int32_t c = 0; c < data->info.n_classes; c++) weights[c] = 0;
  for (int32_t i = 0; i < role->n; i++) {
    int32_t class = label(role, i);
    if (class < 0) continue;
    if (weights[class] == 0) present++;
    weights[class] += 1;
    labelled++;
  }
  for (int32_t c = 0; c < data->info.n_classes; c++)
    if (weights[c] > 0) weights[c] = (ex_real)labelled / ((ex_real)present * weights[c]);
}

enum ex_status ex__data_digest(const ex_data *data, enum ex_split split,
                               char text[EX_DIGEST_TEXT]) {
  const struct role *role = &data->roles[split];
  const struct ex_samples *samples = role->samples;
  struct ex_text head = {0};
  ex__text_add(&head, "exeunt data 1\n%s %d %d %d %d\n%d\n", ex__dtype_name(samples->dtype),
               (int)samples->rank, (int)samples->dim[0], (int)samples->dim[1], (int)samples->dim[2],
               (int)role->n);
  ex_digest *digest = head.failed ? NULL : ex__digest_new();
  if (digest != NULL) {
    size_t size = (size_t)data->info.features * ex__dtype_size(samples->dtype);
    ex__digest_add(digest, head.data, head.size);
    for (int32_t i = 0; i < role->n; i++) {
      int32_t class = label(role, i);
      ex__digest_add(digest, (const char *)samples->x + (size_t)role->items[i] * size, size);
      ex__digest_add(digest, &class, sizeof class);
    }
    ex__digest_finish(digest, text);
  }
  ex__text_clear(&head);
  return digest != NULL ? EX_OK : EX_ENOMEM;
}
