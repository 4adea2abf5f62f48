/* SPDX-License-Identifier: Apache-2.0
 *
 * train/recipe: reading one checks everything that can be checked without the
 * data; then `ex__recipe_open_data` and `ex__recipe_build_net` do the work.
 * The document is kept whole, with what the command line changed, because it
 * goes into the model file and into the digest of checkpoints.
 */
#include "train/recipe.h"

#include <limits.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

#include "base/json.h"
#include "base/memory.h"
#include "zoo/zoo.h"

enum { MAX_RECIPE = 1 << 20, MAX_PATH_PARTS = 8, MAX_KEY = 64 };

static const char *const keys[] = {"name",   "summary", "input",  "data", "network",
                                   "method", "train",   "policy", NULL};

/* ---- assignments -------------------------------------------------------- */

/* A JSON value where the text is one, else the text itself as a string. */
static json_t *parse_value(const char *text) {
  json_t *value = json_loads(text, JSON_DECODE_ANY | JSON_REJECT_DUPLICATES, NULL);
  return value != NULL ? value : json_string(text);
}

/* Walks "a.b.c", making objects on the way; the last key is left in `key`. */
static json_t *walk(json_t *root, const char *path, size_t length, char key[MAX_KEY]) {
  json_t *at = root;
  for (int part = 0; part < MAX_PATH_PARTS; part++) {
    size_t n = 0;
    while (n < length && path[n] != '.') n++;
    if (n == 0 || n >= MAX_KEY) return NULL;
    memcpy(key, path, n);
    key[n] = '\0';
    if (n == length) return at;
    json_t *next = json_object_get(at, key);
    if (next == NULL && json_object_set_new(at, key, json_object()) == 0)
      next = json_object_get(at, key);
    if (!json_is_object(next)) return NULL;
    at = next;
    path += n + 1;
    length -= n + 1;
  }
  return NULL;
}

static enum ex_status assign(json_t *root, const char *text, struct ex_error *err) {
  const char *equals = strchr(text, '=');
  char key[MAX_KEY];
  json_t *object = equals != NULL ? walk(root, text, (size_t)(equals - text), key) : NULL;
  if (object == NULL)
    return ex__fail(err, EX_EINVAL,
                    "setting \"%.80s\"; must be PATH=VALUE with a dotted path of at most %d keys "
                    "through objects of the recipe",
                    text, MAX_PATH_PARTS);
  if (json_object_set_new(object, key, parse_value(equals + 1)) != 0)
    return ex__fail(err, EX_ENOMEM, "setting \"%.80s\": out of memory", text);
  return EX_OK;
}

/* ---- reading ------------------------------------------------------------ */

static enum ex_status check_keys(const json_t *json, const char *source, struct ex_error *err) {
  if (!json_is_object(json))
    return ex__fail(err, EX_EFORMAT, "%s: a recipe must be a JSON object", source);
  const char *key;
  json_t *value;
  json_object_foreach((json_t *)json, key, value) {
    int i = 0;
    while (keys[i] != NULL && strcmp(keys[i], key) != 0) i++;
    if (keys[i] == NULL)
      return ex__fail(err, EX_EFORMAT,
                      "%s: key \"%.40s\" is unknown; must be one of name, summary, input, data, "
                      "network, method, train, policy",
                      source, key);
  }
  const json_t *network;
  return ex__json_object(json, "network", source, &network, err);
}

/* {"name": NAME, parameter…} → the part's name, and the parameters alone. */
static enum ex_status split_name(const json_t *part, const char *source, const char **name,
                                 json_t **values, struct ex_error *err) {
  EX_TRY(ex__json_string(part, "name", source, name, err));
  *values = json_copy((json_t *)part);
  if (*values == NULL) return ex__fail(err, EX_ENOMEM, "%s: out of memory", source);
  json_object_del(*values, "name");
  return EX_OK;
}

static enum ex_status unknown_method(const char *name, struct ex_error *err) {
  char known[160] = "";
  for (int32_t i = 0; ex__method_at(i) != NULL; i++) {
    size_t used = strlen(known);
    snprintf(known + used, sizeof known - used, "%s%s", i > 0 ? ", " : "", ex__method_at(i)->name);
  }
  return ex__fail(err, EX_EINVAL, "method \"%.40s\" is unknown; must be one of %s", name, known);
}

static enum ex_status read_method(struct ex_recipe *recipe, const char *source,
                                  struct ex_error *err) {
  const json_t *part = json_object_get(recipe->json, "method");
  const char *name = "joint";
  json_t *values = NULL;
  if (part != NULL) EX_TRY(split_name(part, source, &name, &values, err));
  recipe->method = ex__method_find(name);
  enum ex_status status = EX_OK;
  if (recipe->method == NULL) {
    status = unknown_method(name, err);
  } else {
    ex__param_defaults(recipe->method->params, recipe->method_values);
    if (values != NULL)
      status = ex__param_from_json(recipe->method->name, recipe->method->params,
                                   recipe->method_values, values, err);
  }
  json_decref(values);
  return status;
}

/* Data are looked for beside the recipe, wherever the model goes later. */
static enum ex_status make_root_absolute(struct ex_recipe *recipe, struct ex_error *err) {
  json_t *data = json_object_get(recipe->json, "data");
  const char *root = json_string_value(json_object_get(data, "root"));
  if (!json_is_object(data) || (root != NULL && root[0] == '/')) return EX_OK;
  char here[PATH_MAX] = "", path[PATH_MAX];
  const char *folder = recipe->folder != NULL ? recipe->folder : ".";
  if (folder[0] != '/' && getcwd(here, sizeof here) == NULL) return EX_OK;
  int n = snprintf(path, sizeof path, "%s%s%s%s%s", here, here[0] != '\0' ? "/" : "", folder,
                   root != NULL ? "/" : "", root != NULL ? root : "");
  if (n < 0 || (size_t)n >= sizeof path) return EX_OK; /* stays relative to the folder */
  if (json_object_set_new(data, "root", json_string(path)) != 0)
    return ex__fail(err, EX_ENOMEM, "recipe: out of memory");
  return EX_OK;
}

static enum ex_status fill(struct ex_recipe *recipe, const char *source,
                           const char *const *assignments, int32_t n, struct ex_error *err) {
  for (int32_t i = 0; i < n; i++) EX_TRY(assign(recipe->json, assignments[i], err));
  EX_TRY(check_keys(recipe->json, source, err));
  EX_TRY(make_root_absolute(recipe, err));
  EX_TRY(read_method(recipe, source, err));
  ex__param_defaults(ex__train_params, &recipe->train);
  const json_t *train = json_object_get(recipe->json, "train");
  return train == NULL ? EX_OK
                       : ex__param_from_json("train", ex__train_params, &recipe->train, train, err);
}

enum ex_status ex__recipe_parse(const json_t *json, const char *source, const char *folder,
                                const char *const *assignments, int32_t n, struct ex_recipe *out,
                                struct ex_error *err) {
  memset(out, 0, sizeof *out);
  if (!json_is_object(json))
    return ex__fail(err, EX_EFORMAT, "%s: a recipe must be a JSON object", source);
  out->json = json_deep_copy(json);
  out->folder = folder != NULL ? ex__strdup(folder) : NULL;
  enum ex_status status = EX_OK;
  if (out->json == NULL || (folder != NULL && out->folder == NULL))
    status = ex__fail(err, EX_ENOMEM, "%s: out of memory", source);
  if (status == EX_OK) status = fill(out, source, assignments, n, err);
  if (status != EX_OK) ex__recipe_free(out);
  return status;
}

enum ex_status ex__recipe_read(const char *path, const char *const *assignments, int32_t n,
                               struct ex_recipe *out, struct ex_error *err) {
  memset(out, 0, sizeof *out);
  json_t *json;
  EX_TRY(ex__json_load(path, MAX_RECIPE, &json, err));
  char *folder = ex__strdup(path);
  if (folder == NULL) {
    json_decref(json);
    return ex__fail(err, EX_ENOMEM, "%s: out of memory", path);
  }
  char *slash = strrchr(folder, '/');
  if (slash != NULL) *slash = '\0';
  const char *where = slash == NULL ? NULL : folder[0] == '\0' ? "/" : folder;
  enum ex_status status = ex__recipe_parse(json, path, where, assignments, n, out, err);
  json_decref(json);
  ex__free(folder);
  return status;
}

void ex__recipe_free(struct ex_recipe *recipe) {
  json_decref(recipe->json);
  ex__free(recipe->folder);
  memset(recipe, 0, sizeof *recipe);
}

/* ---- using -------------------------------------------------------------- */

static enum ex_status read_input(const json_t *input, struct ex_shape *shape, int32_t *n_classes,
                                 struct ex_error *err) {
  const json_t *dims;
  EX_TRY(ex__json_array(input, "shape", "input", 3, &dims, err));
  int64_t classes;
  EX_TRY(ex__json_int(input, "classes", "input", 2, 1 << 16, &classes, err));
  *n_classes = (int32_t)classes;
  *shape = (struct ex_shape){.rank = (int32_t)json_array_size(dims)};
  if (shape->rank != 1 && shape->rank != 3)
    return ex__fail(err, EX_ESHAPE,
                    "input: shape has %d numbers; must be [features] or [channels, height, width]",
                    (int)shape->rank);
  for (int32_t i = 0; i < shape->rank; i++) {
    const json_t *dim = json_array_get(dims, (size_t)i);
    if (!json_is_integer(dim) || json_integer_value(dim) < 1 || json_integer_value(dim) > 1 << 20)
      return ex__fail(err, EX_ESHAPE, "input: shape [%d] must be an integer in [1, 1048576]",
                      (int)i);
    shape->dim[i] = (int32_t)json_integer_value(dim);
  }
  return EX_OK;
}

static void shape_of_data(const ex_data *data, struct ex_shape *shape, int32_t *n_classes) {
  const struct ex_data_info *info = ex__data_info(data);
  *shape = (struct ex_shape){.rank = info->rank};
  memcpy(shape->dim, info->dim, sizeof info->dim);
  *n_classes = info->n_classes;
}

enum ex_status ex__recipe_open_data(const struct ex_recipe *recipe, ex_data **out,
                                    struct ex_error *err) {
  *out = NULL;
  const json_t *data;
  EX_TRY(ex__json_object(recipe->json, "data", "recipe", &data, err));
  return ex__data_open(data, recipe->folder, out, err);
}

/* What the data say, and the recipe's "input" must not contradict. */
static enum ex_status input_of_data(const json_t *input, const ex_data *data,
                                    struct ex_shape *shape, int32_t *n_classes,
                                    struct ex_error *err) {
  shape_of_data(data, shape, n_classes);
  if (input == NULL) return EX_OK;
  struct ex_shape stated = {0};
  int32_t stated_classes = 0;
  EX_TRY(read_input(input, &stated, &stated_classes, err));
  if (ex__shape_equal(shape, &stated) && *n_classes == stated_classes) return EX_OK;
  return ex__fail(err, EX_ESHAPE,
                  "recipe: \"input\" says %lld numbers and %d classes; the data have %lld and %d",
                  (long long)ex__shape_count(&stated), (int)stated_classes,
                  (long long)ex__shape_count(shape), (int)*n_classes);
}

enum ex_status ex__recipe_build_net(const struct ex_recipe *recipe, const ex_data *data,
                                    uint64_t seed, ex_net **out, struct ex_error *err) {
  *out = NULL;
  const json_t *input = json_object_get(recipe->json, "input");
  struct ex_shape shape = {0};
  int32_t n_classes = 0;
  if (data != NULL)
    EX_TRY(input_of_data(input, data, &shape, &n_classes, err));
  else if (input != NULL)
    EX_TRY(read_input(input, &shape, &n_classes, err));
  else
    return ex__fail(err, EX_EINVAL,
                    "recipe: has no \"input\"; must name the shape of one where "
                    "the data are not opened");
  if (n_classes < 2)
    return ex__fail(err, EX_EINVAL, "data: %d classes; must be at least 2 to train",
                    (int)n_classes);
  const json_t *network = json_object_get(recipe->json, "network");
  ex_builder *builder;
  EX_TRY(ex__zoo_write(network, &shape, n_classes, &builder, err));
  if (recipe->method->equip != NULL) recipe->method->equip(recipe->method_values, builder);
  enum ex_status status = ex__builder_finish(builder, seed, out, err);
  if (status == EX_OK) return EX_OK;
  return ex__wrap(err, status, "%s", json_string_value(json_object_get(network, "architecture")));
}
