/* SPDX-License-Identifier: Apache-2.0
 *
 * cli/open: opening things with messages that name what was asked for.
 */
#include "cli/open.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "base/json.h"
#include "base/text.h"

static bool ends_with(const char *text, const char *end) {
  size_t n = strlen(text), m = strlen(end);
  return n >= m && strcmp(text + n - m, end) == 0;
}

static const char *built_in_recipe(const char *name, char path[96]) {
  snprintf(path, 96, "recipes/%.64s.json", name);
  return embedded_find(path);
}

bool names_recipe(const char *name) {
  char path[96];
  if (access(name, F_OK) != 0)
    return built_in_recipe(name, path) != NULL || ends_with(name, ".json");
  FILE *file = fopen(name, "rb"); /* a model begins with 8 bytes of length */
  if (file == NULL) return false;
  int c = getc(file);
  while (c == ' ' || c == '\n' || c == '\t' || c == '\r') c = getc(file);
  int next = getc(file);
  fclose(file);
  return c == '{' && next != 0;
}

static enum ex_status no_such_recipe(const char *name, struct ex_error *err) {
  char known[160] = "";
  for (int32_t i = 0; embedded_at(i) != NULL; i++) {
    const char *file = embedded_at(i);
    if (strncmp(file, "recipes/", 8) != 0) continue;
    size_t used = strlen(known);
    snprintf(known + used, sizeof known - used, "%s%.*s", used > 0 ? ", " : "",
             (int)(strlen(file) - strlen("recipes/.json")), file + strlen("recipes/"));
  }
  return ex__fail(err, EX_ENOTFOUND, "recipe \"%.80s\" is neither a file nor one of %s", name,
                  known);
}

enum ex_status open_recipe(const char *name, const struct assignments *set,
                           struct ex_recipe *recipe, struct ex_error *err) {
  const char *const *items = set != NULL ? set->text : NULL;
  int32_t n = set != NULL ? set->n : 0;
  if (access(name, F_OK) == 0) return ex__recipe_read(name, items, n, recipe, err);
  char path[96];
  const char *text = built_in_recipe(name, path);
  if (text == NULL) return no_such_recipe(name, err);
  json_t *json;
  EX_TRY(ex__json_parse(text, strlen(text), path, &json, err));
  enum ex_status status = ex__recipe_parse(json, name, NULL, items, n, recipe, err);
  json_decref(json);
  return status;
}

enum ex_status open_check_fit(const ex_net *net, const ex_data *data, struct ex_error *err) {
  const struct ex_data_info *info = ex__data_info(data);
  const struct ex_shape *input = &net->input;
  bool same = info->rank == input->rank;
  for (int32_t i = 0; same && i < info->rank; i++) same = info->dim[i] == input->dim[i];
  if (!same)
    return ex__fail(err, EX_ESHAPE,
                    "data: inputs of %lld numbers in %d dimensions; the model takes %lld in %d",
                    (long long)info->features, (int)info->rank, (long long)ex__shape_count(input),
                    (int)input->rank);
  if (info->n_classes > net->n_outputs)
    return ex__fail(err, EX_ESHAPE, "data: %d classes; the model knows %d", (int)info->n_classes,
                    (int)net->n_outputs);
  return EX_OK;
}

enum ex_status open_model_data(const ex_model *model, const char *data, ex_data **out,
                               struct ex_error *err) {
  *out = NULL;
  if (data == NULL && model->recipe == NULL)
    return ex__fail(err, EX_EINVAL, "the model has no recipe; must name one with --data");
  struct ex_recipe recipe;
  EX_TRY(data != NULL
             ? open_recipe(data, NULL, &recipe, err)
             : ex__recipe_parse(model->recipe, "the model's recipe", NULL, NULL, 0, &recipe, err));
  enum ex_status status = ex__recipe_open_data(&recipe, out, err);
  ex__recipe_free(&recipe);
  if (status == EX_OK) status = open_check_fit(model->net, *out, err);
  if (status == EX_OK) {
    ex__data_preprocess_as(*out, &model->preprocess);
    return EX_OK;
  }
  ex__data_free(*out);
  *out = NULL;
  return status;
}

enum ex_status open_policy(const ex_model *model, const char *name, const struct assignments *set,
                           ex_policy *out, struct ex_error *err) {
  const ex_net *net = model->net;
  const json_t *given = model->policy;
  if (given == NULL && model->recipe != NULL) given = json_object_get(model->recipe, "policy");
  if (name == NULL && given != NULL)
    EX_TRY(ex__policy_from_json(given, net->n_points, net->n_outputs, out, err));
  else
    EX_TRY(ex__policy_init(out, name != NULL ? name : "max-probability", net->n_points,
                           net->n_outputs, err));
  for (int32_t i = 0; set != NULL && i < set->n; i++)
    EX_TRY(ex__policy_assign(out, set->text[i], err));
  return EX_OK;
}

enum ex_status open_compiled(const ex_model *model, int32_t threads, ex_plan **plan,
                             ex_compiled **out, struct ex_error *err) {
  *plan = NULL;
  *out = NULL;
  EX_TRY(model->plan != NULL ? ex__plan_from_json(model->plan, plan, err) : ex__plan_new(plan));
  const struct ex_compile_options options = {
      .backend = EX_BACKEND_FAST, .threads = threads, .max_batch = EX_MICRO_BATCH, .plan = *plan};
  enum ex_status status = ex__compiled_new(model->net, &options, out, err);
  if (status == EX_OK) return EX_OK;
  ex__plan_free(*plan);
  *plan = NULL;
  return status;
}
