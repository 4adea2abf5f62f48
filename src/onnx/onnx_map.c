/* SPDX-License-Identifier: Apache-2.0
 *
 * onnx/onnx_map: what the mappings of all operators share.
 */
#include "onnx/onnx_map.h"

#include <inttypes.h>
#include <math.h>
#include <stdio.h>
#include <string.h>

#include "base/memory.h"

struct ex_onnx_sample ex__onnx_sample(const struct ex_onnx_tensor *tensor) {
  struct ex_onnx_sample sample = {.rank = tensor->rank, .axis = tensor->axis};
  memcpy(sample.dim, tensor->dim, sizeof sample.dim);
  sample.dim[sample.axis] /= EX_ONNX_BATCH;
  return sample;
}

struct ex_onnx_sample ex__onnx_map_sample(const struct ex_onnx_map *map, int32_t k) {
  return ex__onnx_sample(map->call->in[k]);
}

enum ex_status ex__onnx_map_first(const struct ex_onnx_map *map) {
  struct ex_onnx_sample sample = ex__onnx_map_sample(map, 0);
  if (sample.axis == 0 && sample.dim[0] == 1) return EX_OK;
  return map_fail(map, "the batch is not the first dimension of its input");
}

bool ex__onnx_map_depends(const struct ex_onnx_map *map, int32_t k) {
  return ex__onnx_has(map->call, k) && map->call->in[k]->unknown;
}

int32_t ex__onnx_map_in(const struct ex_onnx_map *map, int32_t k) {
  return map->call->in[k]->tag - 1;
}

static struct ex_onnx_tensor *output_of(const struct ex_onnx_map *map, int32_t k) {
  return ex__onnx_eval_find(map->eval, map->call->node->output[k]);
}

struct ex_onnx_sample ex__onnx_map_shape(const struct ex_onnx_map *map, int32_t k) {
  return ex__onnx_sample(output_of(map, k));
}

/* ---- shapes ----------------------------------------------------------------------- */

enum ex_status ex__onnx_map_place(const struct ex_onnx_map *map,
                                  const struct ex_onnx_sample *sample, struct ex_list *shape) {
  int64_t dim[EX_ONNX_MAX_RANK];
  int32_t rank = 0;
  for (int32_t i = 0; i < sample->rank; i++)
    if (i != sample->axis || sample->dim[i] != 1) dim[rank++] = sample->dim[i];
  int64_t count = ex__onnx_product(sample->dim, 0, sample->rank);
  *shape = (struct ex_list){.n = rank < 2 ? 1 : 3, .value = {1, 1, 1}};
  if (count < 1 || count > INT32_MAX)
    return map_fail(map, "a value of %" PRId64 " numbers per sample; must be 1 to %d", count,
                    INT32_MAX);
  if (rank > 0) shape->value[0] = (double)dim[0];
  if (rank == 2) shape->value[2] = (double)dim[1];
  if (rank > 2) shape->value[1] = (double)dim[1];
  if (rank > 2) shape->value[2] = (double)ex__onnx_product(dim, 2, rank);
  return EX_OK;
}

enum ex_status ex__onnx_map_reshape(struct ex_onnx_map *map, int32_t *value,
                                    const struct ex_onnx_sample *sample) {
  struct ex_reshape attr;
  EX_TRY(ex__onnx_map_place(map, sample, &attr.shape));
  const struct ex_shape *own = ex__builder_shape(map->builder, *value);
  bool same = own->rank == attr.shape.n;
  for (int32_t i = 0; same && i < own->rank; i++)
    same = own->dim[i] == (int32_t)attr.shape.value[i];
  if (same) return EX_OK;
  return ex__onnx_map_add(map, "reshape", &attr, -1, value, 1, value);
}

enum ex_status ex__onnx_map_out(struct ex_onnx_map *map, int32_t k, int32_t value) {
  struct ex_onnx_sample sample = ex__onnx_map_shape(map, k);
  EX_TRY(ex__onnx_map_reshape(map, &value, &sample));
  output_of(map, k)->tag = value + 1;
  return EX_OK;
}

/* ---- operators and their names ------------------------------------------------------ */

static bool takes(char c) {
  return (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || (c >= '0' && c <= '9') || c == '_' ||
         c == '.' || c == '-';
}

/* "layer1.0.conv1.weight" is layer1.0.conv1's: PyTorch's names come through. */
static void clean_name(const char *from, char *to, size_t size) {
  static const char *const endings[] = {".weight", ".bias", ".running_mean"};
  size_t length = strlen(from), n = 0;
  for (size_t i = 0; i < sizeof endings / sizeof *endings; i++) {
    size_t end = strlen(endings[i]);
    if (length > end && strcmp(from + length - end, endings[i]) == 0) length -= end;
  }
  for (size_t i = 0; i < length && n + 1 < size; i++)
    if (takes(from[i]) || n > 0) to[n++] = (char)(takes(from[i]) ? from[i] : '_');
  to[n] = '\0';
}

static enum ex_status name_layer(struct ex_onnx_map *map, int32_t k_weight, char name[64]) {
  const Onnx__NodeProto *node = map->call->node;
  char given[48] = "";
  /* PyTorch calls what it folded itself onnx::Conv_12. */
  if (k_weight >= 0 && map->call->in[k_weight]->source != NULL &&
      strncmp(node->input[k_weight], "onnx::", 6) != 0)
    clean_name(node->input[k_weight], given, sizeof given);
  if (given[0] == '\0' && node->name != NULL) clean_name(node->name, given, sizeof given);
  if (given[0] == '\0') clean_name(node->op_type, given, sizeof given);
  if (json_object_get(map->names, given) != NULL)
    snprintf(name, 64, "%s_%zu", given, json_object_size(map->names));
  else
    snprintf(name, 64, "%s", given);
  if (json_object_set_new(map->names, name, json_true()) == 0) return EX_OK;
  return ex__fail(map->call->err, EX_ENOMEM, "no memory for a name");
}

/* Whether nodes of this operator own parameters, and so need a name. */
static bool owns_parameters(const char *op, int32_t n_in) {
  static const char *const always[] = {"conv2d", "linear", "batch_norm"};
  for (size_t i = 0; i < sizeof always / sizeof *always; i++)
    if (strcmp(op, always[i]) == 0) return true;
  return n_in == 1 && (strcmp(op, "arithmetic") == 0 || strcmp(op, "matmul") == 0);
}

enum ex_status ex__onnx_map_add(struct ex_onnx_map *map, const char *op, const void *attr,
                                int32_t k_weight, const int32_t *in, int32_t n_in, int32_t *value) {
  char name[64];
  bool named = owns_parameters(op, n_in);
  if (named) EX_TRY(name_layer(map, k_weight, name));
  int32_t added = ex__builder_op(map->builder, op, named ? name : NULL, attr, in, n_in);
  EX_TRY(ex__builder_status(map->builder, map->call->err));
  *value = added;
  return EX_OK;
}

/* ---- numbers -------------------------------------------------------------------------- */

enum ex_status ex__onnx_map_constant(struct ex_onnx_map *map, int32_t k,
                                     const struct ex_onnx_tensor **out) {
  struct ex_onnx_tensor *in = map->call->in[k];
  if (in == NULL || in->unknown)
    return map_fail(map, "input %d depends on the model's input; must be a constant", (int)k);
  EX_TRY(ex__onnx_eval_load(map->eval, in, map->call->err));
  *out = in;
  return EX_OK;
}

static bool reserve(struct ex_onnx_map *map) {
  if (map->n_weights < map->capacity) return true;
  int32_t capacity = 2 * map->capacity + 16;
  struct ex_onnx_weights *weights =
      ex__grow(map->weights, (size_t)map->capacity, (size_t)capacity, sizeof *weights);
  if (weights == NULL) return false;
  map->weights = weights;
  map->capacity = capacity;
  return true;
}

enum ex_status ex__onnx_map_weigh_numbers(struct ex_onnx_map *map, int32_t value, int32_t slot,
                                          const double *number, int64_t count) {
  ex_real *own = ex__alloc((size_t)count + 1, sizeof *own);
  if (own == NULL || !reserve(map)) {
    ex__free(own);
    return ex__fail(map->call->err, EX_ENOMEM, "no memory for %" PRId64 " weights", count);
  }
  map->weights[map->n_weights++] = (struct ex_onnx_weights){value, slot, count, own};
  for (int64_t i = 0; i < count; i++) {
    own[i] = (ex_real)number[i];
    if (!isfinite(own[i]))
      return ex__fail(map->call->err, EX_ENOTFINITE,
                      "number %" PRId64 " of a constant is %g; must be finite", i, number[i]);
  }
  return EX_OK;
}

enum ex_status ex__onnx_map_weigh(struct ex_onnx_map *map, int32_t value, int32_t slot, int32_t k) {
  const struct ex_onnx_tensor *in;
  EX_TRY(ex__onnx_map_constant(map, k, &in));
  EX_TRY(ex__onnx_want_real(map->call, k));
  return ex__onnx_map_weigh_numbers(map, value, slot, in->real, in->count);
}
