/* SPDX-License-Identifier: Apache-2.0
 *
 * data/data_recipe: reading the "data" object. Unknown keys are errors, since
 * a misspelt "augment" that is passed over costs a training run.
 */
#include "data/data_recipe.h"

#include <limits.h>
#include <string.h>

#include "base/json.h"

const struct ex_param ex__data_split_params[] = {
    {"select", EX_PARAM_INT, offsetof(struct ex_data_split, select), -1, INT32_MAX, "-1", NULL,
     "Samples of the training files that choose (best epoch, thresholds); -1: a twelfth."},
    {"certify", EX_PARAM_INT, offsetof(struct ex_data_split, certify), -1, INT32_MAX, "-1", NULL,
     "Samples of the training files that bound and never choose; -1: a twelfth."},
    {"test", EX_PARAM_INT, offsetof(struct ex_data_split, test), -1, INT32_MAX, "-1", NULL,
     "Samples cut for the test where there are no test files; -1: a twelfth."},
    {"seed", EX_PARAM_INT, offsetof(struct ex_data_split, seed), 0, INT32_MAX, "1", NULL,
     "Decides which samples go where."},
    {"labels-per-class", EX_PARAM_INT, offsetof(struct ex_data_split, labels_per_class), 0,
     INT32_MAX, "0", NULL, "Labelled training samples to keep of each class; 0: all."},
    {"keep-unlabelled", EX_PARAM_BOOL, offsetof(struct ex_data_split, keep_unlabelled), 0, 1,
     "false", NULL, "Whether the other training samples stay, without their labels."},
    {.name = NULL},
};

const struct ex_param ex__data_augment_params[] = {
    {"crop", EX_PARAM_INT, offsetof(struct ex_augment, crop), 0, 64, "0", NULL,
     "Pixels of padding on each side before a random crop of images."},
    {"flip", EX_PARAM_REAL, offsetof(struct ex_augment, flip), 0, 1, "0", NULL,
     "Probability of mirroring an image, left for right."},
    {.name = NULL},
};

static const char *const formats[] = {"idx",    "cifar10", "cifar100",   "cifar100-coarse",
                                      "folder", "npy",     "safetensors"};

static enum ex_status parse_format(const json_t *json, enum ex_data_format *out,
                                   struct ex_error *err) {
  const char *name;
  EX_TRY(ex__json_string(json, "format", "data", &name, err));
  for (size_t i = 0; i < sizeof formats / sizeof *formats; i++) {
    if (strcmp(formats[i], name) != 0) continue;
    *out = (enum ex_data_format)i;
    return EX_OK;
  }
  return ex__fail(err, EX_EINVAL,
                  "data: format = \"%.40s\"; must be idx, cifar10, cifar100, cifar100-coarse, "
                  "folder, npy or safetensors",
                  name);
}

static enum ex_status check_keys(const json_t *json, const char *where, const char *const *known,
                                 struct ex_error *err) {
  const char *key;
  json_t *value;
  json_object_foreach((json_t *)(uintptr_t)json, key, value) {
    size_t i = 0;
    while (known[i] != NULL && strcmp(known[i], key) != 0) i++;
    if (known[i] == NULL)
      return ex__fail(err, EX_EINVAL, "%s: the key \"%.40s\" is unknown", where, key);
  }
  return EX_OK;
}

/* A string or an array of strings; `*n` is 0 where `json` is NULL. */
static enum ex_status parse_paths(const json_t *json, const char *where, const char *key,
                                  const char **out, int32_t *n, struct ex_error *err) {
  size_t count = json_is_array(json) ? json_array_size(json) : json != NULL;
  if (count > EX_MAX_DATA_FILES || (json_is_array(json) && count == 0))
    return ex__fail(err, EX_EINVAL, "%s: \"%s\" names %zu files; must be 1 to %d", where, key,
                    count, EX_MAX_DATA_FILES);
  for (size_t i = 0; i < count; i++) {
    out[i] = json_string_value(json_is_array(json) ? json_array_get(json, i) : json);
    if (out[i] == NULL)
      return ex__fail(err, EX_EINVAL, "%s: \"%s\" must be a path or an array of paths", where, key);
  }
  *n = (int32_t)count;
  return EX_OK;
}

static enum ex_status parse_files(const json_t *json, const char *where, enum ex_data_format format,
                                  struct ex_data_files *out, struct ex_error *err) {
  static const char *const with_labels[] = {"inputs", "labels", NULL}, *const alone[] = {"inputs",
                                                                                         NULL};
  bool separate = format == EX_DATA_IDX || format == EX_DATA_NPY;
  if (!json_is_object(json) || json_object_get(json, "inputs") == NULL)
    return ex__fail(err, EX_EINVAL, "%s: must be an object with the key \"inputs\"", where);
  EX_TRY(check_keys(json, where, separate ? with_labels : alone, err));
  int32_t n_labels;
  EX_TRY(parse_paths(json_object_get(json, "inputs"), where, "inputs", out->inputs, &out->n, err));
  EX_TRY(
      parse_paths(json_object_get(json, "labels"), where, "labels", out->labels, &n_labels, err));
  if (n_labels != 0 && n_labels != out->n)
    return ex__fail(err, EX_EINVAL, "%s: %d files of labels for %d of inputs; must be as many",
                    where, (int)n_labels, (int)out->n);
  return EX_OK;
}

static enum ex_status parse_shape(const json_t *json, enum ex_data_format format, int32_t out[3],
                                  struct ex_error *err) {
  const json_t *shape = json_object_get(json, "shape");
  if ((shape != NULL) != (format == EX_DATA_FOLDER))
    return ex__fail(err, EX_EINVAL,
                    "data: \"shape\" must be given for the format folder, and only there");
  for (size_t i = 0; shape != NULL && i < 3; i++) {
    json_int_t side = json_integer_value(json_array_get(shape, i));
    if (json_array_size(shape) != 3 || side < 1 || side > INT16_MAX)
      return ex__fail(err, EX_EINVAL, "data: \"shape\" must be [channels, height, width]");
    out[i] = (int32_t)side;
  }
  return EX_OK;
}

static enum ex_status parse_classes(const json_t *json, const json_t **out, struct ex_error *err) {
  *out = json_object_get(json, "classes");
  if (*out == NULL) return EX_OK;
  size_t n = json_array_size(*out);
  bool ok = n >= 1 && n <= EX_MAX_CLASSES;
  for (size_t i = 0; ok && i < n; i++) ok = json_is_string(json_array_get(*out, i));
  if (ok) return EX_OK;
  return ex__fail(err, EX_EINVAL, "data: \"classes\" must be an array of 1 to %d names",
                  EX_MAX_CLASSES);
}

/* Optional objects of parameters keep their defaults where absent. */
static enum ex_status parse_params(const json_t *json, const char *key, const char *part,
                                   const struct ex_param *table, void *values,
                                   struct ex_error *err) {
  ex__param_defaults(table, values);
  const json_t *object = json_object_get(json, key);
  return object != NULL ? ex__param_from_json(part, table, values, object, err) : EX_OK;
}

enum ex_status ex__data_recipe_parse(const json_t *json, struct ex_data_recipe *out,
                                     struct ex_error *err) {
  static const char *const known[] = {"format",  "root",  "train",   "test", "shape",
                                      "classes", "split", "augment", NULL};
  *out = (struct ex_data_recipe){0};
  EX_TRY(parse_format(json, &out->format, err));
  EX_TRY(check_keys(json, "data", known, err));
  if (json_object_get(json, "root") != NULL)
    EX_TRY(ex__json_string(json, "root", "data", &out->root, err));
  EX_TRY(parse_files(json_object_get(json, "train"), "data.train", out->format, &out->train, err));
  if (json_object_get(json, "test") != NULL)
    EX_TRY(parse_files(json_object_get(json, "test"), "data.test", out->format, &out->test, err));
  EX_TRY(parse_shape(json, out->format, out->shape, err));
  EX_TRY(parse_classes(json, &out->classes, err));
  EX_TRY(parse_params(json, "split", "data.split", ex__data_split_params, &out->split, err));
  return parse_params(json, "augment", "data.augment", ex__data_augment_params, &out->augment, err);
}
