/* SPDX-License-Identifier: Apache-2.0
 *
 * net/model: making, freeing and writing a model.
 *
 * Tensors are written stage by stage, so that the beginning of a file suffices
 * to run to an early exit. What describes the weights (the net) and what was
 * found out about them (policy, cost, plan, receipt) are separate entries of
 * the metadata: renewing one leaves the others' bytes as they were.
 */
#include "net/model.h"

#include <inttypes.h>
#include <stdio.h>

#include "base/json.h"
#include "base/memory.h"
#include "data/safetensors.h"
#include "net/model_entries.h"

const struct ex_model_entry ex__model_entries[] = {
    {"policy", offsetof(ex_model, policy)},
    {"cost", offsetof(ex_model, cost)},
    {"plan", offsetof(ex_model, plan)},
    {"receipt", offsetof(ex_model, receipt)},
    {"recipe", offsetof(ex_model, recipe)},
    {"provenance", offsetof(ex_model, provenance)},
    {NULL, 0},
};

static char *numbered(int32_t i) {
  char text[16];
  snprintf(text, sizeof text, "%" PRId32, i);
  return ex__strdup(text);
}

static enum ex_status copy_labels(ex_model *model, int32_t n, const char *const *labels,
                                  struct ex_error *err) {
  model->labels = ex__calloc((size_t)n + 1, sizeof *model->labels);
  bool ok = model->labels != NULL;
  for (int32_t i = 0; ok && i < n; i++) {
    model->labels[i] = labels != NULL ? ex__strdup(labels[i]) : numbered(i);
    ok = model->labels[i] != NULL;
  }
  return ok ? EX_OK : ex__fail(err, EX_ENOMEM, "model: no memory for %d labels", (int)n);
}

enum ex_status ex__model_new(ex_net *net, const struct ex_preprocess *preprocess,
                             const char *const *labels, ex_model **out, struct ex_error *err) {
  *out = NULL;
  ex_model *model = ex__calloc(1, sizeof *model);
  if (model == NULL) return ex__fail(err, EX_ENOMEM, "model: no memory");
  enum ex_status status = copy_labels(model, net->n_outputs, labels, err);
  if (status != EX_OK) {
    ex_model_free(model);
    return status;
  }
  model->net = net;
  model->preprocess = *preprocess;
  *out = model;
  return EX_OK;
}

void ex_model_free(ex_model *model) {
  if (model == NULL) return;
  for (int32_t i = 0; model->labels != NULL && model->labels[i] != NULL; i++)
    ex__free(model->labels[i]);
  ex__free(model->labels);
  for (const struct ex_model_entry *entry = ex__model_entries; entry->key != NULL; entry++)
    json_decref(*ex__model_entry(model, entry));
  ex_net_free(model->net);
  ex__free(model);
}

/* ---- writing -------------------------------------------------------------- */

static enum ex_status add_json(ex_safetensors_writer *writer, const char *key, const json_t *json,
                               struct ex_error *err) {
  char *text = NULL;
  if (json == NULL || ex__json_dump(json, false, &text) != EX_OK)
    return ex__fail(err, EX_ENOMEM, "model: no memory for \"%s\"", key);
  enum ex_status status = ex__safetensors_add_metadata(writer, key, text, err);
  ex__free(text);
  return status;
}

static json_t *describe(const ex_model *model) {
  json_t *labels = json_array();
  bool ok = labels != NULL;
  for (int32_t i = 0; ok && i < model->net->n_outputs; i++)
    ok = json_array_append_new(labels, json_string(model->labels[i])) == 0;
  if (ok)
    return json_pack("{s:o, s:o, s:o}", "net", ex__net_to_json(model->net), "preprocess",
                     ex__preprocess_to_json(&model->preprocess), "labels", labels);
  json_decref(labels);
  return NULL;
}

static enum ex_status add_metadata(ex_safetensors_writer *writer, const ex_model *model,
                                   struct ex_error *err) {
  char format[16];
  snprintf(format, sizeof format, "%d", EX_MODEL_FORMAT);
  EX_TRY(ex__safetensors_add_metadata(writer, "format", format, err));
  json_t *description = describe(model);
  enum ex_status status = add_json(writer, "exeunt", description, err);
  json_decref(description);
  EX_TRY(status);
  for (const struct ex_model_entry *entry = ex__model_entries; entry->key != NULL; entry++) {
    const json_t *json = *ex__model_entry((ex_model *)(uintptr_t)model, entry);
    if (json != NULL) EX_TRY(add_json(writer, entry->key, json, err));
  }
  return EX_OK;
}

static enum ex_status add_tensors(ex_safetensors_writer *writer, const ex_net *net,
                                  struct ex_error *err) {
  for (int32_t stage = 0; stage < net->n_stages; stage++)
    for (int32_t i = 0; i < ex__graph_n_tensors(net->graph); i++) {
      const struct ex_tensor_info *info = ex__graph_tensor(net->graph, i);
      if (info->slab != stage) continue;
      int64_t dim[EX_MAX_RANK];
      for (int32_t k = 0; k < info->shape.rank; k++) dim[k] = info->shape.dim[k];
      const ex_slabs *slabs = info->role == EX_ROLE_BUFFER ? net->buffers : net->params;
      EX_TRY(ex__safetensors_add(writer, info->name, EX_DTYPE_REAL, info->shape.rank, dim,
                                 ex__slabs_tensor(slabs, net->graph, i), err));
    }
  return EX_OK;
}

enum ex_status ex__model_write(const ex_model *model, const char *path, struct ex_error *err) {
  ex_safetensors_writer *writer = ex__safetensors_writer_new();
  if (writer == NULL) return ex__fail(err, EX_ENOMEM, "%s: no memory", path);
  enum ex_status status = add_metadata(writer, model, err);
  if (status == EX_OK) status = add_tensors(writer, model->net, err);
  if (status == EX_OK) status = ex__safetensors_save(writer, path, err);
  ex__safetensors_writer_free(writer);
  return status;
}
