/* SPDX-License-Identifier: Apache-2.0
 *
 * net/net_json: the structure of a net as JSON and back:
 * {task, input, outputs, stages, points: [{stage, output, gate, needs}…],
 * transform, graph}. Reading ends in ex__net_check, so a net from a file is
 * held to the same rules as one from the zoo.
 */
#include <stdio.h>
#include <string.h>

#include "base/json.h"
#include "base/memory.h"
#include "net/net.h"

/* ---- writing -------------------------------------------------------------- */

static bool append_integer(json_t *array, int64_t value) {
  return json_array_append_new(array, json_integer(value)) == 0;
}

static json_t *shape_to_json(const struct ex_shape *shape) {
  json_t *array = json_array();
  bool ok = array != NULL;
  for (int32_t i = 0; ok && i < shape->rank; i++) ok = append_integer(array, shape->dim[i]);
  if (ok) return array;
  json_decref(array);
  return NULL;
}

static json_t *point_to_json(const struct ex_point *point) {
  json_t *needs = json_array();
  bool ok = needs != NULL;
  for (int32_t p = 0; ok && p < EX_MAX_POINTS; p++)
    if (point->needs >> p & 1) ok = append_integer(needs, p);
  if (ok)
    return json_pack("{s:i, s:i, s:i, s:o}", "stage", (int)point->stage, "output",
                     (int)point->output, "gate", (int)point->gate, "needs", needs);
  json_decref(needs);
  return NULL;
}

json_t *ex__net_to_json(const ex_net *net) {
  json_t *points = json_array();
  bool ok = points != NULL;
  for (int32_t p = 0; ok && p < net->n_points; p++)
    ok = json_array_append_new(points, point_to_json(&net->points[p])) == 0;
  if (!ok) {
    json_decref(points);
    return NULL;
  }
  return json_pack("{s:s, s:o, s:i, s:i, s:o, s:o, s:o}", "task", net->task->name, "input",
                   shape_to_json(&net->input), "outputs", (int)net->n_outputs, "stages",
                   (int)net->n_stages, "points", points, "transform",
                   ex__transform_to_json(&net->transform), "graph", ex__graph_to_json(net->graph));
}

/* ---- reading -------------------------------------------------------------- */

static enum ex_status read_shape(const json_t *json, struct ex_shape *out, struct ex_error *err) {
  const json_t *array;
  EX_TRY(ex__json_array(json, "input", "net", EX_MAX_RANK, &array, err));
  out->rank = (int32_t)json_array_size(array);
  for (int32_t i = 0; i < out->rank; i++) {
    const json_t *item = json_array_get(array, (size_t)i);
    if (!json_is_integer(item) || json_integer_value(item) < 1 ||
        json_integer_value(item) > INT32_MAX)
      return ex__fail(err, EX_EFORMAT, "net: \"input\" must hold integers of at least 1");
    out->dim[i] = (int32_t)json_integer_value(item);
  }
  return EX_OK;
}

static enum ex_status read_needs(const json_t *json, const char *where, uint32_t *out,
                                 struct ex_error *err) {
  const json_t *array;
  EX_TRY(ex__json_array(json, "needs", where, EX_MAX_POINTS, &array, err));
  *out = 0;
  for (size_t i = 0; i < json_array_size(array); i++) {
    const json_t *item = json_array_get(array, i);
    if (!json_is_integer(item) || json_integer_value(item) < 0 ||
        json_integer_value(item) >= EX_MAX_POINTS)
      return ex__fail(err, EX_EFORMAT, "%s: \"needs\" must hold points in [0, %d]", where,
                      EX_MAX_POINTS - 1);
    *out |= 1u << json_integer_value(item);
  }
  return EX_OK;
}

static enum ex_status read_point(const json_t *json, int32_t index, struct ex_point *out,
                                 struct ex_error *err) {
  char where[32];
  snprintf(where, sizeof where, "net: point %d", (int)index);
  int64_t stage, output, gate;
  EX_TRY(ex__json_int(json, "stage", where, 0, EX_MAX_STAGES - 1, &stage, err));
  EX_TRY(ex__json_int(json, "output", where, 0, INT32_MAX, &output, err));
  EX_TRY(ex__json_int(json, "gate", where, -1, INT32_MAX, &gate, err));
  EX_TRY(read_needs(json, where, &out->needs, err));
  out->stage = (int32_t)stage;
  out->output = (int32_t)output;
  out->gate = (int32_t)gate;
  return EX_OK;
}

static enum ex_status read_points(const json_t *json, ex_net *net, struct ex_error *err) {
  const json_t *points;
  EX_TRY(ex__json_array(json, "points", "net", EX_MAX_POINTS, &points, err));
  net->n_points = (int32_t)json_array_size(points);
  for (int32_t p = 0; p < net->n_points; p++)
    EX_TRY(read_point(json_array_get(points, (size_t)p), p, &net->points[p], err));
  return EX_OK;
}

static enum ex_status read_net(const json_t *json, ex_net *net, struct ex_error *err) {
  const char *task;
  int64_t n_outputs, n_stages;
  const json_t *transform;
  EX_TRY(ex__json_string(json, "task", "net", &task, err));
  net->task = ex__task_find(task);
  if (net->task == NULL)
    return ex__fail(err, EX_EUNSUPPORTED, "net: the task \"%.40s\" is unknown", task);
  EX_TRY(read_shape(json, &net->input, err));
  EX_TRY(ex__json_int(json, "outputs", "net", 1, INT32_MAX, &n_outputs, err));
  EX_TRY(ex__json_int(json, "stages", "net", 1, EX_MAX_STAGES, &n_stages, err));
  net->n_outputs = (int32_t)n_outputs;
  net->n_stages = (int32_t)n_stages;
  EX_TRY(read_points(json, net, err));
  EX_TRY(ex__json_object(json, "transform", "net", &transform, err));
  EX_TRY(ex__transform_from_json(transform, net->n_points, net->n_outputs, &net->transform, err));
  EX_TRY(ex__graph_from_json(json_object_get(json, "graph"), &net->graph, err));
  return ex__net_check(net, err);
}

enum ex_status ex__net_structure_from_json(const json_t *json, ex_net **out, struct ex_error *err) {
  *out = NULL;
  ex_net *net = ex__calloc(1, sizeof *net);
  if (net == NULL) return ex__fail(err, EX_ENOMEM, "net: no memory");
  enum ex_status status = read_net(json, net, err);
  if (status == EX_OK)
    *out = net;
  else
    ex_net_free(net);
  return status;
}

enum ex_status ex__net_from_json(const json_t *json, ex_net **out, struct ex_error *err) {
  EX_TRY(ex__net_structure_from_json(json, out, err));
  enum ex_status status = ex__net_allocate(*out, err);
  if (status == EX_OK) return EX_OK;
  ex_net_free(*out);
  *out = NULL;
  return status;
}
