/* SPDX-License-Identifier: Apache-2.0
 *
 * net/model_read: reading a model file, which may come from anywhere.
 *
 * The order is what keeps it safe: the container is checked by safetensors,
 * the description becomes a structure that passes ex__net_check, every tensor
 * of that structure must be in the file with its type and shape, and only then
 * is memory given to weights. So a file can ask for no more than it brings.
 * A weight that is not finite is refused by name: it would silence every exit.
 */
#include <inttypes.h>
#include <math.h>
#include <string.h>

#include "base/json.h"
#include "base/memory.h"
#include "base/text.h"
#include "data/safetensors.h"
#include "graph/program.h"
#include "net/model_entries.h"

static enum ex_status check_format(const ex_safetensors *file, struct ex_error *err) {
  const char *text = ex__safetensors_metadata(file, "format");
  int64_t format;
  if (text == NULL || ex__safetensors_metadata(file, "exeunt") == NULL ||
      !ex__text_to_int(text, &format) || format < 1)
    return ex__fail(err, EX_EFORMAT,
                    "not a model of Exeunt: its metadata must have \"format\", an integer from 1, "
                    "and \"exeunt\"");
  if (format > EX_MODEL_FORMAT)
    return ex__fail(err, EX_EUNSUPPORTED,
                    "format %" PRId64 "; this version reads up to %d: a newer one is needed",
                    format, EX_MODEL_FORMAT);
  return EX_OK;
}

/* Metadata `key` as JSON. */
static enum ex_status parse_entry(const ex_safetensors *file, const char *key, json_t **out,
                                  struct ex_error *err) {
  const char *text = ex__safetensors_metadata(file, key);
  EX_TRY(ex__json_parse(text, strlen(text), key, out, err));
  if (json_is_object(*out)) return EX_OK;
  json_decref(*out);
  *out = NULL;
  return ex__fail(err, EX_EFORMAT, "%s: must be a JSON object", key);
}

static enum ex_status read_labels(const json_t *json, const ex_net *net, const char ***out,
                                  struct ex_error *err) {
  const json_t *labels;
  EX_TRY(ex__json_array(json, "labels", "exeunt", INT32_MAX, &labels, err));
  size_t n = json_array_size(labels);
  if (n != (size_t)net->n_outputs)
    return ex__fail(err, EX_EFORMAT, "exeunt: %zu labels for %d outputs", n, (int)net->n_outputs);
  *out = ex__calloc(n, sizeof **out);
  if (*out == NULL) return ex__fail(err, EX_ENOMEM, "exeunt: no memory for labels");
  for (size_t i = 0; i < n; i++) {
    (*out)[i] = json_string_value(json_array_get(labels, i));
    if ((*out)[i] == NULL)
      return ex__fail(err, EX_EFORMAT, "exeunt: label %zu must be a string", i);
  }
  return EX_OK;
}

static enum ex_status read_preprocess(const json_t *json, const ex_net *net,
                                      struct ex_preprocess *out, struct ex_error *err) {
  const json_t *preprocess;
  EX_TRY(ex__json_object(json, "preprocess", "exeunt", &preprocess, err));
  EX_TRY(
      ex__preprocess_from_json(preprocess, "preprocess", ex__shape_count(&net->input), out, err));
  if (out->n_channels != 1 && out->n_channels != net->input.dim[0])
    return ex__fail(err, EX_EFORMAT, "preprocess: %d means; must be 1, or %d as the input has",
                    (int)out->n_channels, (int)net->input.dim[0]);
  return EX_OK;
}

/* Makes the model around the structure; takes the net only when it succeeds. */
static enum ex_status make_model(const json_t *json, ex_net *net, ex_model **out,
                                 struct ex_error *err) {
  struct ex_preprocess preprocess;
  const char **labels = NULL;
  EX_TRY(read_preprocess(json, net, &preprocess, err));
  enum ex_status status = read_labels(json, net, &labels, err);
  if (status == EX_OK) status = ex__model_new(net, &preprocess, labels, out, err);
  ex__free(labels);
  return status;
}

static enum ex_status read_description(const ex_safetensors *file, ex_model **out,
                                       struct ex_error *err) {
  json_t *json;
  ex_net *net = NULL;
  EX_TRY(parse_entry(file, "exeunt", &json, err));
  enum ex_status status = ex__net_structure_from_json(json_object_get(json, "net"), &net, err);
  if (status == EX_OK) status = make_model(json, net, out, err);
  if (status != EX_OK) ex_net_free(net);
  json_decref(json);
  return status;
}

/* ---- weights -------------------------------------------------------------- */

static enum ex_status find_tensor(const ex_safetensors *file, const struct ex_tensor_info *info,
                                  const struct ex_array **out, struct ex_error *err) {
  int64_t dim[EX_MAX_RANK];
  for (int32_t k = 0; k < info->shape.rank; k++) dim[k] = info->shape.dim[k];
  return ex__safetensors_get(file, info->name, EX_DTYPE_REAL, info->shape.rank, dim, out, err);
}

static enum ex_status check_tensors(const ex_safetensors *file, const ex_graph *graph,
                                    struct ex_error *err) {
  int32_t n = ex__graph_n_tensors(graph);
  const struct ex_array *array;
  for (int32_t i = 0; i < n; i++)
    EX_TRY(find_tensor(file, ex__graph_tensor(graph, i), &array, err));
  if (ex__safetensors_count(file) != n)
    return ex__fail(err, EX_EFORMAT, "%s: %d arrays; the net has %d", ex__safetensors_source(file),
                    (int)ex__safetensors_count(file), (int)n);
  return EX_OK;
}

/* A number that silences every exit, or that becomes one: 1 / sqrt(variance + ε). */
static enum ex_status check_values(const struct ex_tensor_info *info, const struct ex_array *array,
                                   struct ex_error *err) {
  static const char variance[] = ".running_var";
  size_t length = strlen(info->name), end = sizeof variance - 1;
  bool positive = info->role == EX_ROLE_BUFFER && length >= end &&
                  strcmp(info->name + length - end, variance) == 0;
  const ex_real *value = array->data;
  for (int64_t k = 0; k < array->count; k++) {
    if (!isfinite(value[k]))
      return ex__fail(err, EX_ENOTFINITE, "\"%s\": element %" PRId64 " is %g; must be finite",
                      info->name, k, (double)value[k]);
    if (positive && value[k] < 0)
      return ex__fail(err, EX_EFORMAT,
                      "\"%s\": element %" PRId64 " is %g; a variance must not be below 0",
                      info->name, k, (double)value[k]);
  }
  return EX_OK;
}

static enum ex_status read_tensors(const ex_safetensors *file, ex_net *net, struct ex_error *err) {
  for (int32_t i = 0; i < ex__graph_n_tensors(net->graph); i++) {
    const struct ex_tensor_info *info = ex__graph_tensor(net->graph, i);
    const struct ex_array *array;
    EX_TRY(find_tensor(file, info, &array, err));
    EX_TRY(check_values(info, array, err));
    ex_slabs *slabs = info->role == EX_ROLE_BUFFER ? net->buffers : net->params;
    memcpy(ex__slabs_tensor(slabs, net->graph, i), array->data, array->size);
  }
  return EX_OK;
}

/* ---- the whole ------------------------------------------------------------ */

static enum ex_status read_entries(const ex_safetensors *file, ex_model *model,
                                   struct ex_error *err) {
  for (const struct ex_model_entry *entry = ex__model_entries; entry->key != NULL; entry++)
    if (ex__safetensors_metadata(file, entry->key) != NULL)
      EX_TRY(parse_entry(file, entry->key, ex__model_entry(model, entry), err));
  struct ex_cost cost;
  if (model->cost != NULL) EX_TRY(ex__cost_from_json(model->cost, model->net, &cost, err));
  ex_plan *plan = NULL;
  if (model->plan != NULL) EX_TRY(ex__plan_from_json(model->plan, &plan, err));
  ex__plan_free(plan);
  return EX_OK;
}

static enum ex_status read_model(const ex_safetensors *file, ex_model **out, struct ex_error *err) {
  const char *source = ex__safetensors_source(file);
  ex_model *model = NULL;
  enum ex_status status = check_format(file, err);
  if (status == EX_OK) status = read_description(file, &model, err);
  if (status != EX_OK) return ex__wrap(err, status, "%s", source);
  status = check_tensors(file, model->net->graph, err); /* names the source itself */
  if (status == EX_OK) {
    status = ex__net_allocate(model->net, err);
    if (status == EX_OK) status = read_tensors(file, model->net, err);
    if (status == EX_OK) status = read_entries(file, model, err);
    if (status != EX_OK) ex__wrap(err, status, "%s", source);
  }
  if (status == EX_OK)
    *out = model;
  else
    ex_model_free(model);
  return status;
}

enum ex_status ex__model_read(const char *path, ex_model **out, struct ex_error *err) {
  *out = NULL;
  ex_safetensors *file;
  EX_TRY(ex__safetensors_open(path, &file, err));
  enum ex_status status = read_model(file, out, err);
  ex__safetensors_free(file);
  return status;
}

enum ex_status ex__model_parse(const void *data, size_t size, const char *source, ex_model **out,
                               struct ex_error *err) {
  *out = NULL;
  ex_safetensors *file;
  EX_TRY(ex__safetensors_parse(data, size, source, &file, err));
  enum ex_status status = read_model(file, out, err);
  ex__safetensors_free(file);
  return status;
}
