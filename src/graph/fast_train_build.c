/* SPDX-License-Identifier: Apache-2.0
 *
 * graph/fast_train_build: nodes become steps.
 *
 * Fused are batch-norm + ReLU, batch-norm + add + ReLU (the end of a residual
 * block) and add + ReLU, where nobody else reads what lies between. A fused
 * step stands at the place of its last node, so that all its inputs are there.
 */
#include <string.h>

#include "base/memory.h"
#include "graph/fast_train.h"

struct builder {
  ex_program *program;
  struct train *train;
  int32_t *number; /* [nodes of the graph] value of a node; −1 */
  int32_t *uses;   /* [nodes of the graph] how often it is read in this segment */
  int32_t *reader; /* the last node that reads it */
  int32_t *head;   /* first node of the step that ends at this node; −1: none ends here */
  bool *out_port;
};

static const struct ex_node *node_at(const struct builder *b, int32_t id) {
  return ex__graph_node(b->program->graph, id);
}

static bool is_op(const struct builder *b, int32_t id, const char *name) {
  return strcmp(node_at(b, id)->op->name, name) == 0;
}

/* The one node that reads `id`, if it is `name` and nobody else wants it; else −1. */
static int32_t only_reader(const struct builder *b, int32_t id, const char *name) {
  if (b->uses[id] != 1 || b->out_port[id] || !is_op(b, b->reader[id], name)) return -1;
  return b->reader[id];
}

static bool can_add(const struct builder *b, int32_t id) {
  const struct ex_node *node = node_at(b, id);
  int32_t block = b->train->block;
  return node->n_in == 2 && node->in[0] != node->in[1] &&
         ex__train_order(b->program, node->in[0], block) ==
             ex__train_order(b->program, node->in[1], block);
}

/* Extends a step that begins at `first` as far as it goes. */
static void fuse(struct builder *b, int32_t first) {
  int32_t end = first, next;
  if (is_op(b, first, "batch_norm")) {
    next = only_reader(b, first, "add");
    if (next >= 0 && can_add(b, next) && b->head[next] == next) {
      b->head[end] = -1;
      end = next;
    }
  } else if (!is_op(b, first, "add") || !can_add(b, first)) {
    return;
  }
  next = only_reader(b, end, "relu");
  if (next >= 0) {
    b->head[end] = -1;
    end = next;
  }
  b->head[end] = first;
}

static enum ex_status survey(struct builder *b, struct ex_error *err) {
  const ex_program *program = b->program;
  size_t n = (size_t)ex__graph_n_nodes(program->graph);
  b->number = ex__alloc(n, sizeof *b->number);
  b->uses = ex__calloc(n, sizeof *b->uses);
  b->reader = ex__calloc(n, sizeof *b->reader);
  b->head = ex__alloc(n, sizeof *b->head);
  b->out_port = ex__calloc(n, sizeof *b->out_port);
  if (!b->number || !b->uses || !b->reader || !b->head || !b->out_port)
    return ex__fail(err, EX_ENOMEM, "training program: no memory for %zu nodes", n);
  for (size_t i = 0; i < n; i++) b->number[i] = b->head[i] = -1;
  for (int32_t i = 0; i < program->n_out; i++) b->out_port[program->out[i]] = true;
  for (int32_t i = 0; i < program->n_nodes; i++) {
    int32_t id = program->nodes[i];
    const struct ex_node *node = node_at(b, id);
    b->head[id] = id;
    for (int32_t k = 0; k < node->n_in; k++) {
      b->uses[node->in[k]]++;
      b->reader[node->in[k]] = id;
    }
  }
  /* Norms first: an add may end a norm's step, and begins its own only else. */
  for (int32_t i = 0; i < program->n_nodes; i++)
    if (is_op(b, program->nodes[i], "batch_norm")) fuse(b, program->nodes[i]);
  for (int32_t i = 0; i < program->n_nodes; i++)
    if (is_op(b, program->nodes[i], "add") && b->head[program->nodes[i]] == program->nodes[i])
      fuse(b, program->nodes[i]);
  return EX_OK;
}

static int32_t add_value(struct builder *b, int32_t id) {
  struct train *train = b->train;
  struct train_value *value = &train->values[train->n_values];
  const struct ex_node *node = node_at(b, id);
  value->id = id;
  value->shape = node->shape;
  value->order = ex__train_order(b->program, id, train->block);
  value->channels = node->shape.dim[0];
  value->plane = node->shape.rank == 3 ? node->shape.dim[1] * node->shape.dim[2] : 1;
  value->count = ex__shape_count(&node->shape) * train->batch;
  value->in_port = value->out_port = value->producer = -1;
  value->first_reader = value->last_reader = -1;
  value->host = value->grad_host = train->n_values;
  value->offset = value->remake_offset = value->grad_offset = -1;
  for (int32_t i = 0; i < b->program->n_out; i++)
    if (b->program->out[i] == id) value->out_port = i;
  b->number[id] = train->n_values;
  return train->n_values++;
}

static void add_input(struct builder *b, struct train_step *step, int32_t id) {
  step->in[step->n_in++] = b->number[id];
}

static bool rank_3(const struct train *train, int32_t value) {
  return train->values[value].order != TRAIN_PLAIN;
}

static const struct train_step_class *pool_class(const struct builder *b,
                                                 const struct train_step *step) {
  const struct train_value *in = &b->train->values[step->in[0]];
  const struct ex_pool *attr = step->node->attr;
  return in->order != TRAIN_PLAIN && attr->kernel < 16 ? &ex__train_pool : &ex__train_twin;
}

/* Which class does a step that is one node. */
static const struct train_step_class *class_of(const struct builder *b,
                                               const struct train_step *step) {
  const char *name = step->node->op->name;
  const struct train *train = b->train;
  bool same_order = true, all_nhwc = true;
  for (int32_t i = 0; i < step->n_in; i++) {
    same_order &= train->values[step->in[i]].order == train->values[step->out].order;
    all_nhwc &= train->values[step->in[i]].order == TRAIN_NHWC;
  }
  if (strcmp(name, "conv2d") == 0) {
    if (ex__train_dnn_conv_fits(b->program, step)) return &ex__train_dnn_conv;
    return ex__train_conv_fits(b->program, step) ? &ex__train_conv : &ex__train_twin;
  }
  if (strcmp(name, "linear") == 0) return &ex__train_linear;
  if (strcmp(name, "relu") == 0 && same_order) return &ex__train_relu;
  if (strcmp(name, "concat") == 0 && all_nhwc && same_order) return &ex__train_concat;
  if (strcmp(name, "global_avg_pool") == 0 && rank_3(train, step->in[0]))
    return &ex__train_global_pool;
  if (strcmp(name, "max_pool") == 0 || strcmp(name, "avg_pool") == 0) return pool_class(b, step);
  return &ex__train_twin;
}

static void set_class(const struct builder *b, struct train_step *step, int32_t head) {
  bool norm = is_op(b, head, "batch_norm"), add = is_op(b, head, "add");
  unsigned flags = step->node->op->flags;
  if (norm && rank_3(b->train, step->in[0])) {
    step->class = &ex__train_norm;
    step->needs_input[0] = true;
    step->needs_output = step->relu && step->residual;
    return;
  }
  if (add && can_add(b, head)) {
    step->class = &ex__train_add;
    step->needs_output = step->relu;
    return;
  }
  step->class = class_of(b, step);
  if (step->class == &ex__train_pool) return; /* keeps what it needs by itself */
  for (int32_t i = 0; i < step->n_in; i++) step->needs_input[i] = (flags & EX_OP_NEEDS_INPUT) != 0;
  step->needs_output = (flags & EX_OP_NEEDS_OUTPUT) != 0;
}

static void add_step(struct builder *b, int32_t end) {
  struct train *train = b->train;
  int32_t head = b->head[end];
  const struct ex_node *node = node_at(b, head);
  struct train_step *step = &train->steps[train->n_steps++];
  step->node = node;
  step->node_id = head;
  step->relu = end != head && is_op(b, end, "relu");
  int32_t add = end;
  if (step->relu) add = node_at(b, end)->in[0];
  add_input(b, step, node->in[0]);
  if (add != head && is_op(b, add, "add")) { /* a norm with a residual */
    const struct ex_node *sum = node_at(b, add);
    step->residual = true;
    add_input(b, step, sum->in[0] == head ? sum->in[1] : sum->in[0]);
  }
  for (int32_t k = 1; k < node->n_in; k++) add_input(b, step, node->in[k]);
  step->out = add_value(b, end);
  for (int32_t t = 0; t < node->n_tensors; t++)
    step->has_params |=
        ex__graph_tensor(b->program->graph, node->tensor[t])->role != EX_ROLE_BUFFER;
  if (node->op->macs != NULL) {
    const struct ex_shape *in = &node_at(b, node->in[0])->shape;
    step->macs = step->data_macs = node->op->macs(node, &in) * train->batch;
  }
  set_class(b, step, head);
}

static enum ex_status make_steps(struct builder *b, struct ex_error *err) {
  ex_program *program = b->program;
  struct train *train = b->train;
  size_t n = (size_t)program->n_nodes;
  train->values = ex__calloc(n + (size_t)program->n_in, sizeof *train->values);
  train->steps = ex__calloc(n, sizeof *train->steps);
  if (train->values == NULL || train->steps == NULL)
    return ex__fail(err, EX_ENOMEM, "training program: no memory for %zu steps", n);
  for (int32_t i = 0; i < program->n_in; i++)
    train->values[add_value(b, program->in[i])].in_port = i;
  for (int32_t i = 0; i < program->n_nodes; i++)
    if (b->head[program->nodes[i]] >= 0) add_step(b, program->nodes[i]);
  for (int32_t s = 0; s < train->n_steps; s++) train->values[train->steps[s].out].producer = s;
  return EX_OK;
}

/* A batch-norm over features (rank 1) has no fast step; its ReLU and add are
 * not fused, which the twin could not do. */
static void unfuse_rank_1(struct builder *b) {
  for (int32_t i = 0; i < b->program->n_nodes; i++) {
    int32_t id = b->program->nodes[i], head = b->head[id];
    if (head < 0 || head == id || !is_op(b, head, "batch_norm")) continue;
    if (ex__train_order(b->program, head, b->train->block) != TRAIN_PLAIN) continue;
    int32_t below = node_at(b, id)->in[0];
    b->head[id] = id;
    b->head[head] = head;
    if (is_op(b, id, "relu") && below != head) b->head[below] = below;
  }
}

enum ex_status ex__train_build(ex_program *program, struct ex_error *err) {
  struct builder b = {.program = program, .train = train_of(program)};
  enum ex_status status = survey(&b, err);
  if (status == EX_OK) {
    unfuse_rank_1(&b);
    status = make_steps(&b, err);
  }
  ex__free(b.number);
  ex__free(b.uses);
  ex__free(b.reader);
  ex__free(b.head);
  ex__free(b.out_port);
  return status;
}
