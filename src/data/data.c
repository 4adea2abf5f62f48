/* SPDX-License-Identifier: Apache-2.0
 *
 * data/data: opening what a recipe names, and cutting it into the four roles.
 */
#include "data/data.h"

#include <limits.h>
#include <stdio.h>
#include <string.h>

#include "base/memory.h"
#include "base/text.h"
#include "data/data_split.h"
#include "data/data_store.h"

const char *ex__split_name(enum ex_split split) {
  static const char *const names[] = {"train", "select", "certify", "test"};
  return names[split];
}

/* ---- reading the files -------------------------------------------------- */

/* folder/root/path; a later absolute part drops what stands before it. */
static char *join_path(const char *folder, const char *root, const char *path) {
  struct ex_text text = {0};
  bool root_absolute = root != NULL && root[0] == '/';
  if (path[0] != '/') {
    if (folder != NULL && !root_absolute) ex__text_add(&text, "%s/", folder);
    if (root != NULL) ex__text_add(&text, "%s/", root);
  }
  ex__text_add(&text, "%s", path);
  if (!text.failed) return text.data;
  ex__text_clear(&text);
  return NULL;
}

/* Labels follow "classes" where the recipe has them, else the first folder. */
static enum ex_status read_folder(const struct ex_data_recipe *recipe, const char *path,
                                  const struct ex_samples *train, struct ex_samples *out,
                                  struct ex_error *err) {
  size_t n = json_array_size(recipe->classes);
  if (n == 0)
    return ex__samples_read_folder(path, recipe->shape, (const char *const *)train->class_names,
                                   train->n_classes, out, err);
  const char **names = ex__calloc(n, sizeof *names);
  if (names == NULL) return ex__fail(err, EX_ENOMEM, "data: no memory for %zu classes", n);
  for (size_t i = 0; i < n; i++) names[i] = json_string_value(json_array_get(recipe->classes, i));
  enum ex_status status = ex__samples_read_folder(path, recipe->shape, names, (int32_t)n, out, err);
  ex__free(names);
  return status;
}

static enum ex_status read_file(const struct ex_data_recipe *recipe, const char *inputs,
                                const char *labels, const struct ex_samples *train,
                                struct ex_samples *out, struct ex_error *err) {
  switch (recipe->format) {
    case EX_DATA_IDX: return ex__samples_read_idx(inputs, labels, out, err);
    case EX_DATA_CIFAR_10: return ex__samples_read_cifar(inputs, EX_CIFAR_10, out, err);
    case EX_DATA_CIFAR_100: return ex__samples_read_cifar(inputs, EX_CIFAR_100_FINE, out, err);
    case EX_DATA_CIFAR_100_COARSE:
      return ex__samples_read_cifar(inputs, EX_CIFAR_100_COARSE, out, err);
    case EX_DATA_FOLDER: return read_folder(recipe, inputs, train, out, err);
    case EX_DATA_NPY: return ex__samples_read_npy(inputs, labels, out, err);
    case EX_DATA_SAFETENSORS: return ex__samples_read_safetensors(inputs, out, err);
  }
  return ex__fail(err, EX_EUNSUPPORTED, "data: format %d", (int)recipe->format);
}

static enum ex_status read_files(const struct ex_data_recipe *recipe, const char *folder,
                                 const struct ex_data_files *files, const struct ex_samples *train,
                                 struct ex_samples *out, struct ex_error *err) {
  enum ex_status status = EX_OK;
  for (int32_t i = 0; status == EX_OK && i < files->n; i++) {
    char *inputs = join_path(folder, recipe->root, files->inputs[i]);
    char *labels =
        files->labels[i] != NULL ? join_path(folder, recipe->root, files->labels[i]) : NULL;
    struct ex_samples more = {0};
    if (inputs == NULL || (files->labels[i] != NULL && labels == NULL))
      status = ex__fail(err, EX_ENOMEM, "data: no memory to read");
    if (status == EX_OK) status = read_file(recipe, inputs, labels, train, &more, err);
    if (status == EX_OK) status = ex__samples_append(out, &more, inputs, err);
    ex__samples_free(&more);
    ex__free(inputs);
    ex__free(labels);
  }
  return status;
}

static enum ex_status check_test(const ex_data *data, struct ex_error *err) {
  const struct ex_samples *train = &data->files[0], *test = &data->files[1];
  if (test->n == 0) return EX_OK;
  if (test->rank == train->rank && memcmp(test->dim, train->dim, sizeof test->dim) == 0 &&
      test->dtype == train->dtype)
    return EX_OK;
  return ex__fail(
      err, EX_ESHAPE,
      "data: test samples are [%d, %d, %d] of %s; must be [%d, %d, %d] of %s as in train",
      (int)test->dim[0], (int)test->dim[1], (int)test->dim[2], ex__dtype_name(test->dtype),
      (int)train->dim[0], (int)train->dim[1], (int)train->dim[2], ex__dtype_name(train->dtype));
}

/* ---- classes ------------------------------------------------------------ */

static const char *class_name(const ex_data *data, const json_t *given, int32_t c,
                              char number[16]) {
  const struct ex_samples *train = &data->files[0];
  if (given != NULL) return json_string_value(json_array_get(given, (size_t)c));
  if (train->class_names != NULL) return train->class_names[c];
  snprintf(number, 16, "%d", (int)c);
  return number;
}

/* Sub-folders bring their names, so "classes" may order them but not add any:
 * a name without a picture is a misspelt or a forgotten folder. */
static enum ex_status check_folders(const ex_data *data, const json_t *given,
                                    struct ex_error *err) {
  const struct ex_samples *train = &data->files[0];
  int32_t n = (int32_t)json_array_size(given);
  bool *found = ex__calloc((size_t)n, sizeof *found);
  if (found == NULL) return ex__fail(err, EX_ENOMEM, "data: no memory for %d classes", (int)n);
  for (int64_t i = 0; i < train->n; i++) found[train->y[i]] = true;
  int32_t missing = 0;
  while (missing < n && found[missing]) missing++;
  ex__free(found);
  if (missing == n) return EX_OK;
  return ex__fail(err, EX_EFORMAT,
                  "data: \"classes\" names \"%.60s\"; the training folder has no sub-folder of "
                  "that name",
                  json_string_value(json_array_get(given, (size_t)missing)));
}

static enum ex_status set_classes(ex_data *data, const json_t *given, struct ex_error *err) {
  int32_t found = data->files[0].n_classes > data->files[1].n_classes ? data->files[0].n_classes
                                                                      : data->files[1].n_classes;
  int32_t n = given != NULL ? (int32_t)json_array_size(given) : found;
  if (found > n)
    return ex__fail(err, EX_EFORMAT, "data: the files have %d classes; \"classes\" names %d",
                    (int)found, (int)n);
  data->class_names = ex__calloc((size_t)n, sizeof *data->class_names);
  if (data->class_names == NULL)
    return ex__fail(err, EX_ENOMEM, "data: no memory for %d classes", (int)n);
  data->info.n_classes = n;
  for (int32_t c = 0; c < n; c++) {
    char number[16];
    data->class_names[c] = ex__strdup(class_name(data, given, c, number));
    if (data->class_names[c] == NULL)
      return ex__fail(err, EX_ENOMEM, "data: no memory for %d classes", (int)n);
  }
  data->info.class_names = (const char *const *)data->class_names;
  return EX_OK;
}

/* ---- roles -------------------------------------------------------------- */

static int32_t part_size(int32_t wanted, int32_t n) { return wanted >= 0 ? wanted : n / 12; }

static enum ex_status cut_roles(ex_data *data, const struct ex_data_split *split,
                                struct ex_error *err) {
  const struct ex_samples *files = &data->files[0];
  int32_t n = (int32_t)files->n;
  bool cut_test = data->files[1].n == 0;
  int64_t select = part_size(split->select, n), certify = part_size(split->certify, n);
  int64_t test = cut_test ? part_size(split->test, n) : 0, train = n - select - certify - test;
  if (train < 1)
    return ex__fail(
        err, EX_EINVAL,
        "data.split: select %lld + certify %lld + test %lld leave nothing of %d samples",
        (long long)select, (long long)certify, (long long)test, (int)n);
  const int32_t sizes[EX_N_SPLITS] = {(int32_t)train, (int32_t)select, (int32_t)certify,
                                      (int32_t)test};
  data->order = ex__alloc((size_t)n, sizeof *data->order);
  data->test_order = ex__alloc((size_t)data->files[1].n, sizeof *data->test_order);
  if (data->order == NULL || data->test_order == NULL)
    return ex__fail(err, EX_ENOMEM, "data: no memory to split %d samples", (int)n);
  EX_TRY(ex__split(files->y, n, data->info.n_classes, (uint64_t)split->seed, EX_N_SPLITS, sizes,
                   data->order, err));
  int32_t *at = data->order;
  for (int s = 0; s < EX_N_SPLITS; at += sizes[s++]) {
    data->roles[s] = (struct role){files, at, sizes[s]};
  }
  if (cut_test) return EX_OK;
  for (int32_t i = 0; i < (int32_t)data->files[1].n; i++) data->test_order[i] = i;
  data->roles[EX_SPLIT_TEST] =
      (struct role){&data->files[1], data->test_order, (int32_t)data->files[1].n};
  return EX_OK;
}

/* Keeps some labels of train only; the others go, or stay without a label. */
static enum ex_status thin_labels(ex_data *data, const struct ex_data_split *split,
                                  struct ex_error *err) {
  if (split->labels_per_class == 0) return EX_OK;
  struct role *train = &data->roles[EX_SPLIT_TRAIN];
  int32_t *y = data->files[0].y;
  if (y == NULL)
    return ex__fail(err, EX_EINVAL, "data.split: labels-per-class asked for; nothing is labelled");
  int32_t n = train->n, n_kept = 0;
  int32_t *kept = ex__alloc((size_t)n, sizeof *kept);
  if (kept == NULL) return ex__fail(err, EX_ENOMEM, "data: no memory to split %d samples", (int)n);
  memcpy(kept, train->items, (size_t)n * sizeof *kept);
  enum ex_status status = ex__split_few(y, data->info.n_classes, split->labels_per_class,
                                        (uint64_t)split->seed, kept, n, &n_kept, err);
  if (status == EX_OK && split->keep_unlabelled) {
    for (int32_t i = 0, k = 0; i < n; i++) {
      if (k < n_kept && kept[k] == train->items[i])
        k++;
      else
        y[train->items[i]] = -1;
    }
  } else if (status == EX_OK) {
    memcpy(data->order, kept, (size_t)n_kept * sizeof *kept);
    train->n = n_kept;
  }
  ex__free(kept);
  return status;
}

/* ---- opening ------------------------------------------------------------ */

static enum ex_status describe(ex_data *data, struct ex_error *err) {
  const struct ex_samples *train = &data->files[0];
  struct ex_data_info *info = &data->info;
  info->rank = train->rank;
  memcpy(info->dim, train->dim, sizeof info->dim);
  info->features = ex__samples_features(train);
  info->preprocess = &data->preprocess;
  const struct role *role = &data->roles[EX_SPLIT_TRAIN];
  EX_TRY(ex__transform_statistics(train, role->items, role->n, &data->preprocess, err));
  data->applied = data->preprocess;
  return EX_OK;
}

static enum ex_status open_data(ex_data *data, const json_t *json, const char *folder,
                                struct ex_error *err) {
  struct ex_data_recipe recipe;
  EX_TRY(ex__data_recipe_parse(json, &recipe, err));
  EX_TRY(read_files(&recipe, folder, &recipe.train, &data->files[0], &data->files[0], err));
  EX_TRY(read_files(&recipe, folder, &recipe.test, &data->files[0], &data->files[1], err));
  EX_TRY(check_test(data, err));
  if (recipe.format == EX_DATA_FOLDER && recipe.classes != NULL)
    EX_TRY(check_folders(data, recipe.classes, err));
  EX_TRY(set_classes(data, recipe.classes, err));
  EX_TRY(cut_roles(data, &recipe.split, err));
  EX_TRY(thin_labels(data, &recipe.split, err));
  data->augment = recipe.augment;
  return describe(data, err);
}

enum ex_status ex__data_open(const json_t *recipe, const char *folder, ex_data **out,
                             struct ex_error *err) {
  *out = NULL;
  ex_data *data = ex__calloc(1, sizeof *data);
  if (data == NULL) return ex__fail(err, EX_ENOMEM, "data: no memory");
  enum ex_status status = open_data(data, recipe, folder, err);
  if (status == EX_OK)
    *out = data;
  else
    ex__data_free(data);
  return status;
}

void ex__data_free(ex_data *data) {
  if (data == NULL) return;
  ex__samples_free(&data->files[0]);
  ex__samples_free(&data->files[1]);
  ex__free(data->order);
  ex__free(data->test_order);
  for (int32_t c = 0; data->class_names != NULL && c < data->info.n_classes; c++)
    ex__free(data->class_names[c]);
  ex__free(data->class_names);
  ex__free(data);
}
