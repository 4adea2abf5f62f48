/* SPDX-License-Identifier: Apache-2.0
 *
 * net/net_cost: what an answer costs, from the graph, and its JSON form.
 *
 * Multiply-adds follow from the graph alone; a table that is read must agree
 * with the net in every one of them, since a policy that was fitted to other
 * costs promises something else. Times are information and are only read.
 */
#include <stdio.h>

#include "base/json.h"
#include "net/net.h"

static int64_t segment_macs(const ex_net *net, int32_t stage, enum ex_part part) {
  return ex__graph_segment_macs(net->graph, ex__net_segment(stage, part));
}

static int64_t stage_params(const ex_net *net, int32_t stage) {
  int64_t params = 0;
  for (int32_t part = 0; part < EX_N_PARTS; part++)
    params += ex__graph_segment_params(net->graph, ex__net_segment(stage, (enum ex_part)part));
  return params;
}

void ex__net_cost(const ex_net *net, struct ex_cost *out) {
  *out = (struct ex_cost){0};
  int64_t heads = 0, params = 0;
  uint32_t looked = 0; /* bodies that looking at every point so far takes */
  for (int32_t stage = 0, p = 0; stage < net->n_stages; stage++) {
    out->body_macs[stage] = segment_macs(net, stage, EX_PART_BODY);
    params += stage_params(net, stage);
    if (p == net->n_points || net->points[p].stage != stage) continue;
    uint32_t bodies = ex__net_bodies(net, p);
    looked |= bodies;
    out->head_macs[p] = segment_macs(net, stage, EX_PART_HEAD);
    out->gate_macs[p] = segment_macs(net, stage, EX_PART_GATE);
    heads += out->head_macs[p] + out->gate_macs[p];
    out->params[p] = params;
    out->macs[p] = ex__sum_over(out->body_macs, looked) + heads;
    out->direct_macs[p] = ex__sum_over(out->body_macs, bodies) +
                          ex__sum_over(out->head_macs, ex__net_closure(net, p));
    p++;
  }
}

/* ---- JSON ----------------------------------------------------------------- */

static json_t *stage_to_json(const struct ex_cost *cost, int32_t stage) {
  return json_pack("{s:I, s:I}", "body_macs", (json_int_t)cost->body_macs[stage], "body_ns",
                   (json_int_t)cost->body_ns[stage]);
}

static json_t *point_to_json(const struct ex_cost *cost, int32_t p) {
  return json_pack("{s:I, s:I, s:I, s:I, s:I, s:I, s:I}", "head_macs",
                   (json_int_t)cost->head_macs[p], "head_ns", (json_int_t)cost->head_ns[p],
                   "gate_macs", (json_int_t)cost->gate_macs[p], "gate_ns",
                   (json_int_t)cost->gate_ns[p], "params", (json_int_t)cost->params[p], "macs",
                   (json_int_t)cost->macs[p], "direct_macs", (json_int_t)cost->direct_macs[p]);
}

json_t *ex__cost_to_json(const ex_net *net, const struct ex_cost *cost) {
  json_t *stages = json_array(), *points = json_array();
  bool ok = stages != NULL && points != NULL;
  for (int32_t s = 0; ok && s < net->n_stages; s++)
    ok = json_array_append_new(stages, stage_to_json(cost, s)) == 0;
  for (int32_t p = 0; ok && p < net->n_points; p++)
    ok = json_array_append_new(points, point_to_json(cost, p)) == 0;
  if (ok) return json_pack("{s:o, s:o}", "stages", stages, "points", points);
  json_decref(stages);
  json_decref(points);
  return NULL;
}

static enum ex_status expect(const json_t *json, const char *key, const char *where,
                             int64_t expected, struct ex_error *err) {
  int64_t found;
  EX_TRY(ex__json_int(json, key, where, 0, INT64_MAX, &found, err));
  if (found != expected)
    return ex__fail(err, EX_EFORMAT, "%s: %s = %lld; the net has %lld", where, key,
                    (long long)found, (long long)expected);
  return EX_OK;
}

static enum ex_status read_stage(const json_t *json, int32_t s, struct ex_cost *cost,
                                 struct ex_error *err) {
  char where[32];
  snprintf(where, sizeof where, "cost: stage %d", (int)s);
  EX_TRY(expect(json, "body_macs", where, cost->body_macs[s], err));
  return ex__json_int(json, "body_ns", where, 0, INT64_MAX, &cost->body_ns[s], err);
}

static enum ex_status read_point(const json_t *json, int32_t p, struct ex_cost *cost,
                                 struct ex_error *err) {
  char where[32];
  snprintf(where, sizeof where, "cost: point %d", (int)p);
  EX_TRY(expect(json, "head_macs", where, cost->head_macs[p], err));
  EX_TRY(expect(json, "gate_macs", where, cost->gate_macs[p], err));
  EX_TRY(expect(json, "params", where, cost->params[p], err));
  EX_TRY(expect(json, "macs", where, cost->macs[p], err));
  EX_TRY(expect(json, "direct_macs", where, cost->direct_macs[p], err));
  EX_TRY(ex__json_int(json, "head_ns", where, 0, INT64_MAX, &cost->head_ns[p], err));
  return ex__json_int(json, "gate_ns", where, 0, INT64_MAX, &cost->gate_ns[p], err);
}

enum ex_status ex__cost_from_json(const json_t *json, const ex_net *net, struct ex_cost *out,
                                  struct ex_error *err) {
  const json_t *stages, *points;
  ex__net_cost(net, out);
  EX_TRY(ex__json_array(json, "stages", "cost", EX_MAX_STAGES, &stages, err));
  EX_TRY(ex__json_array(json, "points", "cost", EX_MAX_POINTS, &points, err));
  if (json_array_size(stages) != (size_t)net->n_stages ||
      json_array_size(points) != (size_t)net->n_points)
    return ex__fail(err, EX_EFORMAT, "cost: %zu stages and %zu points; the net has %d and %d",
                    json_array_size(stages), json_array_size(points), (int)net->n_stages,
                    (int)net->n_points);
  for (int32_t s = 0; s < net->n_stages; s++)
    EX_TRY(read_stage(json_array_get(stages, (size_t)s), s, out, err));
  for (int32_t p = 0; p < net->n_points; p++)
    EX_TRY(read_point(json_array_get(points, (size_t)p), p, out, err));
  return EX_OK;
}
