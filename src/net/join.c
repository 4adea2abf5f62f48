/* SPDX-License-Identifier: Apache-2.0
 *
 * net/join: see the header. Nodes are copied one by one through the same door as
 * any other (ex__graph_add), and the result is held to ex__net_check.
 */
#include "net/join.h"

#include <stdio.h>
#include <string.h>

#include "base/memory.h"
#include "graph/op.h"

/* One of the networks on its way into the joined one. */
struct member {
  const ex_model *model;
  const ex_net *net;
  const char *name;
  int32_t index, last, offset; /* last: its point; offset: where its stages begin */
  int32_t *value;              /* [n_nodes]: id in the joined graph; −1: left out */
};

/* ---- whether they go together ---------------------------------------------- */

/* Its last head alone answers at its last exit: no other has a say by the transform. */
static bool answers_alone(const ex_net *net, int32_t last) {
  const struct ex_transform *transform = &net->transform;
  if (transform->kind == EX_TRANSFORM_PRODUCT) return false;
  if (transform->ensemble != NULL) return transform->ensemble->row[last] == NULL;
  return ex__transform_needs(transform, last) == 0;
}

static enum ex_status check_shape(const struct member *first, const struct member *other,
                                  struct ex_error *err) {
  const ex_net *a = first->net, *b = other->net;
  if (a->task != b->task)
    return ex__fail(err, EX_EINVAL, "%s: its task is %s, that of %s is %s; must be the same",
                    other->name, b->task->name, first->name, a->task->name);
  if (!ex__shape_equal(&a->input, &b->input))
    return ex__fail(err, EX_ESHAPE,
                    "%s: takes %lld numbers in %d dimensions, %s %lld in %d; inputs must be the "
                    "same",
                    other->name, (long long)ex__shape_count(&b->input), (int)b->input.rank,
                    first->name, (long long)ex__shape_count(&a->input), (int)a->input.rank);
  if (first->model->preprocess.bytes != other->model->preprocess.bytes)
    return ex__fail(
        err, EX_EINVAL, "%s: takes %s, %s %s; must take the same raw values", other->name,
        other->model->preprocess.bytes ? "bytes from 0 to 255" : "numbers as they are", first->name,
        first->model->preprocess.bytes ? "bytes from 0 to 255" : "numbers as they are");
  return EX_OK;
}

static enum ex_status check_labels(const struct member *first, const struct member *other,
                                   struct ex_error *err) {
  int32_t n = first->net->n_outputs;
  if (other->net->n_outputs != n)
    return ex__fail(err, EX_ESHAPE, "%s: %d classes, %s %d; must be the same", other->name,
                    (int)other->net->n_outputs, first->name, (int)n);
  for (int32_t c = 0; c < n; c++)
    if (strcmp(first->model->labels[c], other->model->labels[c]) != 0)
      return ex__fail(err, EX_EINVAL,
                      "%s: class %d is \"%.40s\", in %s \"%.40s\"; all must have the same labels "
                      "in the same order",
                      other->name, (int)c, other->model->labels[c], first->name,
                      first->model->labels[c]);
  return EX_OK;
}

static enum ex_status check_member(const struct member *member, struct ex_error *err) {
  if (!answers_alone(member->net, member->last))
    return ex__fail(err, EX_EUNSUPPORTED,
                    "%s: its last exit answers together with earlier ones (an exit transform); a "
                    "network that is joined must answer by its last head alone",
                    member->name);
  if (member->model->preprocess.n_channels > EX_MAX_LIST)
    return ex__fail(err, EX_EUNSUPPORTED, "%s: normalises %d channels apart; at most %d",
                    member->name, (int)member->model->preprocess.n_channels, EX_MAX_LIST);
  return EX_OK;
}

static int64_t work_of(const struct member *member) {
  struct ex_cost cost;
  ex__net_cost(member->net, &cost);
  return cost.direct_macs[member->last];
}

static enum ex_status check_members(const struct member *members, int32_t n, struct ex_error *err) {
  int32_t stages = 0;
  for (int32_t m = 0; m < n; m++) {
    EX_TRY(check_member(&members[m], err));
    EX_TRY(check_shape(&members[0], &members[m], err));
    EX_TRY(check_labels(&members[0], &members[m], err));
    stages += members[m].net->n_stages;
    int64_t work = work_of(&members[m]), before = m > 0 ? work_of(&members[m - 1]) : work;
    if (work < before)
      return ex__fail(err, EX_EINVAL,
                      "%s: takes %lld multiply-adds, less than the %lld of %s before it; must be "
                      "named from cheap to dear",
                      members[m].name, (long long)work, (long long)before, members[m - 1].name);
  }
  if (stages > EX_MAX_STAGES)
    return ex__fail(err, EX_EINVAL, "%d stages in all; must be at most %d", (int)stages,
                    EX_MAX_STAGES);
  return EX_OK;
}

/* ---- copying a network -------------------------------------------------------- */

/* Marks in value[] what the last exit's output is made of: 0, else −1. */
static void mark(const struct member *member) {
  const ex_graph *graph = member->net->graph;
  for (int32_t id = 0; id < ex__graph_n_nodes(graph); id++) member->value[id] = -1;
  member->value[member->net->points[member->last].output] = 0;
  for (int32_t id = ex__graph_n_nodes(graph) - 1; id >= 0; id--) {
    const struct ex_node *node = ex__graph_node(graph, id);
    for (int32_t i = 0; member->value[id] == 0 && i < node->n_in; i++)
      member->value[node->in[i]] = 0;
  }
}

/* Nodes added from here on belong to where this one stood. */
static void enter(const struct member *member, const struct ex_node *node, ex_net *net) {
  int32_t stage = node->segment / EX_N_PARTS;
  bool head =
      node->segment == ex__net_segment(member->net->points[member->last].stage, EX_PART_HEAD);
  ex__graph_segment(net->graph,
                    ex__net_segment(member->offset + stage, head ? EX_PART_HEAD : EX_PART_BODY),
                    member->offset + stage);
}

static enum ex_status add_normalise(const struct member *member, ex_net *net, int32_t input,
                                    int32_t *value, struct ex_error *err) {
  const struct ex_preprocess *preprocess = &member->model->preprocess;
  struct ex_normalise attr = {.bytes = preprocess->bytes,
                              .mean.n = preprocess->n_channels,
                              .deviation.n = preprocess->n_channels};
  for (int32_t c = 0; c < preprocess->n_channels; c++) {
    attr.mean.value[c] = preprocess->mean[c];
    attr.deviation.value[c] = preprocess->deviation[c];
  }
  return ex__graph_add(net->graph, "normalise", NULL, &attr, &input, 1, value, err);
}

static enum ex_status copy_node(const struct member *member, int32_t id, ex_net *net, int32_t input,
                                struct ex_error *err) {
  const struct ex_node *node = ex__graph_node(member->net->graph, id);
  int32_t in[EX_MAX_INPUTS];
  enter(member, node, net);
  if (node->op->max_in == 0) return add_normalise(member, net, input, &member->value[id], err);
  for (int32_t i = 0; i < node->n_in; i++) in[i] = member->value[node->in[i]];
  char name[EX_NAME_SIZE + 16];
  snprintf(name, sizeof name, "net%d.%s", (int)member->index, node->name);
  return ex__graph_add(net->graph, node->op->name, node->name[0] != '\0' ? name : NULL, node->attr,
                       in, node->n_in, &member->value[id], err);
}

static enum ex_status copy_structure(struct member *member, ex_net *net, int32_t input,
                                     struct ex_error *err) {
  int32_t n = ex__graph_n_nodes(member->net->graph);
  member->offset = net->n_stages;
  member->value = ex__calloc((size_t)n, sizeof *member->value);
  if (member->value == NULL) return ex__fail(err, EX_ENOMEM, "%s: no memory", member->name);
  mark(member);
  for (int32_t id = 0; id < n; id++) {
    if (member->value[id] < 0) continue;
    enum ex_status status = copy_node(member, id, net, input, err);
    if (status != EX_OK) return ex__wrap(err, status, "%s", member->name);
  }
  const struct ex_point *point = &member->net->points[member->last];
  int32_t output = member->value[point->output];
  ex__graph_keep(net->graph, output);
  net->points[net->n_points++] = (struct ex_point){member->offset + point->stage, output, -1, 0};
  net->n_stages += member->net->n_stages;
  return EX_OK;
}

static void copy_weights(const struct member *member, const ex_net *net) {
  const ex_graph *from = member->net->graph;
  for (int32_t i = 0; i < ex__graph_n_tensors(from); i++) {
    const struct ex_tensor_info *info = ex__graph_tensor(from, i);
    int32_t id = member->value[info->node], k = 0;
    if (id < 0) continue;
    while (ex__graph_node(from, info->node)->tensor[k] != i) k++;
    bool moves = info->role == EX_ROLE_BUFFER;
    memcpy(ex__slabs_tensor(moves ? net->buffers : net->params, net->graph,
                            ex__graph_node(net->graph, id)->tensor[k]),
           ex__slabs_tensor(moves ? member->net->buffers : member->net->params, from, i),
           (size_t)ex__shape_count(&info->shape) * sizeof(ex_real));
  }
}

/* ---- the whole ------------------------------------------------------------------ */

static void join_temperatures(const struct member *members, ex_net *net) {
  struct ex_list list = {.n = net->n_points};
  bool scaled = false;
  for (int32_t m = 0; m < net->n_points; m++) {
    const struct ex_list *own = &members[m].net->transform.temperature;
    list.value[m] = own->n > 0 ? own->value[members[m].last] : 1;
    scaled = scaled || own->n > 0;
  }
  if (scaled) ex__transform_set_temperatures(&net->transform, &list);
}

static enum ex_status build(struct member *members, int32_t n, ex_net *net, struct ex_error *err) {
  int32_t input;
  const ex_net *first = members[0].net;
  net->task = first->task;
  net->input = first->input;
  net->n_outputs = first->n_outputs;
  if (ex__graph_new(&net->graph) != EX_OK) return ex__fail(err, EX_ENOMEM, "join: no memory");
  EX_TRY(ex__graph_add_input(net->graph, &net->input, &input, err));
  for (int32_t m = 0; m < n; m++) EX_TRY(copy_structure(&members[m], net, input, err));
  join_temperatures(members, net);
  EX_TRY(ex__net_check(net, err));
  EX_TRY(ex__net_allocate(net, err));
  for (int32_t m = 0; m < n; m++) copy_weights(&members[m], net);
  return EX_OK;
}

static enum ex_status join(struct member *members, int32_t n, ex_model **out,
                           struct ex_error *err) {
  EX_TRY(check_members(members, n, err));
  ex_net *net = ex__calloc(1, sizeof *net);
  if (net == NULL) return ex__fail(err, EX_ENOMEM, "join: no memory");
  const struct ex_preprocess none = {.n_channels = 1, .deviation = {1}};
  enum ex_status status = build(members, n, net, err);
  if (status == EX_OK)
    status = ex__model_new(net, &none, (const char *const *)members[0].model->labels, out, err);
  if (status != EX_OK) ex_net_free(net);
  return status;
}

enum ex_status ex__models_join(const ex_model *const *models, const char *const *names, int32_t n,
                               ex_model **out, struct ex_error *err) {
  *out = NULL;
  if (n < 2 || n > EX_MAX_POINTS)
    return ex__fail(err, EX_EINVAL, "%d networks to join; must be 2 to %d", (int)n, EX_MAX_POINTS);
  struct member members[EX_MAX_POINTS];
  for (int32_t m = 0; m < n; m++)
    members[m] = (struct member){.model = models[m],
                                 .net = models[m]->net,
                                 .name = names[m],
                                 .index = m,
                                 .last = models[m]->net->n_points - 1};
  enum ex_status status = join(members, n, out, err);
  for (int32_t m = 0; m < n; m++) ex__free(members[m].value);
  return status;
}
