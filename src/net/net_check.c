/* SPDX-License-Identifier: Apache-2.0
 *
 * net/net_check: what holds of every net, whoever made it.
 *
 * Causality is what makes leaving early possible: a body reads bodies only, a
 * head reads bodies of its own or earlier stages and the heads it declares, a
 * gate may also read its own head. Whoever runs a net afterwards relies on
 * this and checks nothing again.
 */
#include "graph/op.h"
#include "net/net.h"

static const char *const part_names[] = {"body", "head", "gate"};

static int32_t stage_of(const struct ex_node *node) { return node->segment / EX_N_PARTS; }
static enum ex_part part_of(const struct ex_node *node) {
  return (enum ex_part)(node->segment % EX_N_PARTS);
}

static enum ex_status check_counts(const ex_net *net, struct ex_error *err) {
  if (net->n_stages < 1 || net->n_stages > EX_MAX_STAGES)
    return ex__fail(err, EX_EINVAL, "net: %d stages; must be 1 to %d", (int)net->n_stages,
                    EX_MAX_STAGES);
  if (net->n_points < 1 || net->n_points > EX_MAX_POINTS)
    return ex__fail(err, EX_EINVAL, "net: %d answer points; must be 1 to %d", (int)net->n_points,
                    EX_MAX_POINTS);
  if (net->n_outputs < 1)
    return ex__fail(err, EX_EINVAL, "net: %d outputs; must be at least 1", (int)net->n_outputs);
  if (ex__graph_n_segments(net->graph) > net->n_stages * EX_N_PARTS)
    return ex__fail(err, EX_EINVAL, "net: the graph has segment %d; %d stages have %d",
                    (int)ex__graph_n_segments(net->graph) - 1, (int)net->n_stages,
                    (int)(net->n_stages * EX_N_PARTS));
  if (net->transform.kind == EX_TRANSFORM_PRODUCT && net->transform.weight.n != net->n_points)
    return ex__fail(err, EX_EINVAL, "net: %d weights of a product for %d answer points",
                    (int)net->transform.weight.n, (int)net->n_points);
  bool scaled = net->transform.kind == EX_TRANSFORM_TEMPERATURE || net->transform.temperature.n > 0;
  if (scaled && net->transform.temperature.n != net->n_points)
    return ex__fail(err, EX_EINVAL, "net: %d temperatures for %d answer points",
                    (int)net->transform.temperature.n, (int)net->n_points);
  const struct ex_ensemble *ensemble = net->transform.ensemble;
  if ((net->transform.kind == EX_TRANSFORM_ENSEMBLE) != (ensemble != NULL) ||
      (ensemble != NULL &&
       (ensemble->n_points != net->n_points || ensemble->n_outputs != net->n_outputs)))
    return ex__fail(
        err, EX_EINVAL, "net: an ensemble of %d exits and %d outputs; must be %d and %d",
        ensemble != NULL ? (int)ensemble->n_points : 0,
        ensemble != NULL ? (int)ensemble->n_outputs : 0, (int)net->n_points, (int)net->n_outputs);
  return EX_OK;
}

/* That `value` is made in this part of the point's stage, kept, and has `size` elements. */
static enum ex_status check_value(const ex_net *net, int32_t point, int32_t value,
                                  enum ex_part part, int32_t size, struct ex_error *err) {
  const char *what = part_names[part];
  if (value < 0 || value >= ex__graph_n_nodes(net->graph))
    return ex__fail(err, EX_EINVAL, "point %d: its %s is value %d; must be in [0, %d]", (int)point,
                    what, (int)value, (int)ex__graph_n_nodes(net->graph) - 1);
  const struct ex_node *node = ex__graph_node(net->graph, value);
  int32_t stage = net->points[point].stage;
  if (node->segment != ex__net_segment(stage, part) || !node->kept)
    return ex__fail(err, EX_EINVAL,
                    "point %d: its %s, value %d, is made in the %s of stage %d; must be kept, and "
                    "made in the %s of stage %d",
                    (int)point, what, (int)value, part_names[part_of(node)], (int)stage_of(node),
                    what, (int)stage);
  if (node->shape.rank != 1 || node->shape.dim[0] != size)
    return ex__fail(err, EX_ESHAPE,
                    "point %d: its %s, value %d, has %lld elements in %d dimensions; must have %d "
                    "in 1",
                    (int)point, what, (int)value, (long long)ex__shape_count(&node->shape),
                    (int)node->shape.rank, (int)size);
  return EX_OK;
}

static enum ex_status check_points(const ex_net *net, struct ex_error *err) {
  int32_t previous = -1;
  for (int32_t p = 0; p < net->n_points && p < EX_MAX_POINTS; p++) {
    const struct ex_point *point = &net->points[p];
    if (point->stage <= previous || point->stage >= net->n_stages)
      return ex__fail(err, EX_EINVAL, "point %d: stage = %d; must be in [%d, %d]", (int)p,
                      (int)point->stage, (int)previous + 1, (int)net->n_stages - 1);
    previous = point->stage;
    if (point->needs >> p != 0)
      return ex__fail(err, EX_EINVAL, "point %d: needs = %#x; must name earlier points only",
                      (int)p, (unsigned)point->needs);
    EX_TRY(check_value(net, p, point->output, EX_PART_HEAD, net->n_outputs, err));
    if (point->gate >= 0)
      EX_TRY(check_value(net, p, point->gate, EX_PART_GATE, 1, err));
    else if (point->gate != -1)
      return ex__fail(err, EX_EINVAL, "point %d: gate = %d; must be a value, or -1", (int)p,
                      (int)point->gate);
  }
  if (previous != net->n_stages - 1)
    return ex__fail(err, EX_EINVAL, "net: the last of %d stages has no answer point; must have one",
                    (int)net->n_stages);
  return EX_OK;
}

/* Whether a node of `reader`'s part may read a value of `source`'s. */
static bool may_read(const ex_net *net, const struct ex_node *reader,
                     const struct ex_node *source) {
  int32_t stage = stage_of(reader), from = stage_of(source);
  if (source->op->max_in == 0) return true; /* the input, given before anything runs */
  if (part_of(source) == EX_PART_BODY) return from <= stage;
  if (reader->segment == source->segment) return true;
  if (part_of(reader) == EX_PART_BODY || part_of(source) != EX_PART_HEAD) return false;
  if (from == stage) return part_of(reader) == EX_PART_GATE;
  int32_t point = ex__net_point_of(net, stage), needed = ex__net_point_of(net, from);
  return needed >= 0 && (net->points[point].needs >> needed & 1);
}

static enum ex_status check_node(const ex_net *net, int32_t id, struct ex_error *err) {
  const struct ex_node *node = ex__graph_node(net->graph, id);
  int32_t stage = stage_of(node), point = ex__net_point_of(net, stage);
  if (part_of(node) != EX_PART_BODY && point < 0)
    return ex__fail(err, EX_EINVAL, "value %d is in the %s of stage %d, which has no answer point",
                    (int)id, part_names[part_of(node)], (int)stage);
  if (part_of(node) == EX_PART_GATE && net->points[point].gate < 0)
    return ex__fail(err, EX_EINVAL, "value %d is in the gate of stage %d, whose point has no gate",
                    (int)id, (int)stage);
  for (int32_t i = 0; i < node->n_in; i++) {
    const struct ex_node *source = ex__graph_node(net->graph, node->in[i]);
    if (!may_read(net, node, source))
      return ex__fail(err, EX_EINVAL,
                      "value %d, in the %s of stage %d, reads value %d, in the %s of stage %d; a "
                      "body reads bodies, a head bodies so far and the heads it declares",
                      (int)id, part_names[part_of(node)], (int)stage, (int)node->in[i],
                      part_names[part_of(source)], (int)stage_of(source));
  }
  for (int32_t i = 0; i < node->n_tensors; i++) {
    const struct ex_tensor_info *info = ex__graph_tensor(net->graph, node->tensor[i]);
    if (info->slab != stage)
      return ex__fail(err, EX_EINVAL, "\"%s\" of stage %d lies in slab %d; must lie in its own",
                      info->name, (int)stage, (int)info->slab);
  }
  return EX_OK;
}

/* One input of the net's shape, in the first body. */
static enum ex_status check_input(const ex_net *net, struct ex_error *err) {
  int32_t found = 0;
  for (int32_t id = 0; id < ex__graph_n_nodes(net->graph); id++) {
    const struct ex_node *node = ex__graph_node(net->graph, id);
    if (node->op->max_in > 0) continue;
    found++;
    if (node->segment != 0 || !ex__shape_equal(&node->shape, &net->input))
      return ex__fail(err, EX_EINVAL,
                      "value %d: an input must be in the first body and have the net's shape",
                      (int)id);
  }
  if (found != 1)
    return ex__fail(err, EX_EINVAL, "net: %d inputs in the graph; must be 1", (int)found);
  return EX_OK;
}

/* Values of one sample, all alive at once, as an upper bound: few bytes of JSON
 * can ask for any size, and whoever compiles the net would ask for the memory. */
static enum ex_status check_activations(const ex_net *net, struct ex_error *err) {
  int64_t total = 0;
  for (int32_t id = 0; id < ex__graph_n_nodes(net->graph); id++)
    total += ex__shape_count(&ex__graph_node(net->graph, id)->shape); /* each below 2^31 */
  if (total <= EX_MAX_ACTIVATIONS) return EX_OK;
  return ex__fail(err, EX_ESHAPE,
                  "net: activations of %lld numbers per sample; must be at most %d in all",
                  (long long)total, EX_MAX_ACTIVATIONS);
}

enum ex_status ex__net_check(const ex_net *net, struct ex_error *err) {
  EX_TRY(check_counts(net, err));
  EX_TRY(check_activations(net, err));
  EX_TRY(check_points(net, err));
  EX_TRY(check_input(net, err));
  for (int32_t id = 0; id < ex__graph_n_nodes(net->graph); id++) EX_TRY(check_node(net, id, err));
  return EX_OK;
}
