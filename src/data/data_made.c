/* SPDX-License-Identifier: Apache-2.0
 *
 * data/data_made: data that no recipe names: samples in memory, and fewer of those
 * that were opened.
 */
#include "base/memory.h"
#include "data/data_store.h"

static int32_t *count_up(int64_t n) {
  int32_t *items = ex__alloc((size_t)n, sizeof *items);
  for (int32_t i = 0; items != NULL && i < n; i++) items[i] = i;
  return items;
}

static enum ex_status set_names(ex_data *data, const char *const *names, int32_t n) {
  data->class_names = ex__calloc((size_t)n, sizeof *data->class_names);
  if (data->class_names == NULL) return EX_ENOMEM;
  data->info.n_classes = n;
  for (int32_t c = 0; c < n; c++)
    if ((data->class_names[c] = ex__strdup(names[c])) == NULL) return EX_ENOMEM;
  data->info.class_names = (const char *const *)data->class_names;
  return EX_OK;
}

static enum ex_status fill(ex_data *data, const char *const *names, int32_t n_classes) {
  static const struct ex_preprocess none = {.n_channels = 1, .deviation = {1}};
  const struct ex_samples *train = &data->files[0], *select = &data->files[1];
  data->order = count_up(train->n);
  data->test_order = count_up(select->n);
  if (data->order == NULL || data->test_order == NULL) return EX_ENOMEM;
  data->roles[EX_SPLIT_TRAIN] = (struct role){train, data->order, (int32_t)train->n};
  data->roles[EX_SPLIT_SELECT] = (struct role){select, data->test_order, (int32_t)select->n};
  data->preprocess = data->applied = none;
  data->info.rank = train->rank;
  for (int32_t i = 0; i < train->rank; i++) data->info.dim[i] = train->dim[i];
  data->info.features = ex__samples_features(train);
  data->info.preprocess = &data->preprocess;
  return set_names(data, names, n_classes);
}

enum ex_status ex__data_of(struct ex_samples *train, struct ex_samples *select,
                           const char *const *class_names, int32_t n_classes, ex_data **out,
                           struct ex_error *err) {
  *out = NULL;
  ex_data *data = ex__calloc(1, sizeof *data);
  if (data == NULL) return ex__fail(err, EX_ENOMEM, "data: no memory");
  data->files[0] = *train;
  data->files[1] = *select;
  *train = *select = (struct ex_samples){0};
  if (fill(data, class_names, n_classes) == EX_OK) {
    *out = data;
    return EX_OK;
  }
  ex__data_free(data);
  return ex__fail(err, EX_ENOMEM, "data: no memory");
}

void ex__data_thin(ex_data *data, enum ex_split split, int32_t n) {
  struct role *role = &data->roles[split];
  if (n >= role->n) return;
  int32_t *order = role->samples == &data->files[0] ? data->order : data->test_order;
  int32_t *items = order + (role->items - order);
  /* Never reads behind where it writes: i · N / n ≥ i. */
  for (int32_t i = 0; i < n; i++) items[i] = items[(int64_t)i * role->n / n];
  role->n = n;
}
