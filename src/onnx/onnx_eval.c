/* SPDX-License-Identifier: Apache-2.0
 *
 * onnx/onnx_eval: names, and running node by node.
 */
#include "onnx/onnx_eval.h"

#include <inttypes.h>
#include <string.h>

#include "base/memory.h"

struct value {
  const char *name; /* borrowed from the file */
  struct ex_onnx_tensor tensor;
};

struct ex_onnx_eval {
  const ex_onnx *onnx;
  const Onnx__GraphProto *graph;
  const ex_onnx_eval *outer; /* whose names are seen from here; NULL */
  struct ex_onnx_limits *limits;
  int64_t declared_batch, batch;
  struct value **slots; /* open addressing */
  size_t n_slots;       /* a power of two, twice as many as names at least */
};

/* ---- names --------------------------------------------------------------------- */

static size_t slot_of(const ex_onnx_eval *eval, const char *name) {
  uint64_t hash = UINT64_C(14695981039346656037); /* FNV-1a */
  for (const char *c = name; *c != '\0'; c++) hash = (hash ^ (uint8_t)*c) * 1099511628211U;
  size_t slot = (size_t)(hash ^ hash >> 32) & (eval->n_slots - 1);
  while (eval->slots[slot] != NULL && strcmp(eval->slots[slot]->name, name) != 0)
    slot = (slot + 1) & (eval->n_slots - 1);
  return slot;
}

static size_t count_names(const Onnx__GraphProto *graph) {
  size_t n = graph->n_initializer + graph->n_input;
  for (size_t i = 0; i < graph->n_node; i++) n += graph->node[i]->n_output;
  return n;
}

/* Takes what the tensor owns when it succeeds. */
static enum ex_status define(ex_onnx_eval *eval, const char *name,
                             const struct ex_onnx_tensor *tensor, struct ex_error *err) {
  char text[64];
  size_t slot = slot_of(eval, name);
  if (eval->slots[slot] != NULL)
    return ex__fail(err, EX_EFORMAT, "\"%s\" is defined twice", ex__onnx_text(name, text));
  struct value *value = ex__calloc(1, sizeof *value);
  if (value == NULL) return ex__fail(err, EX_ENOMEM, "ONNX: no memory for a value");
  *value = (struct value){name, *tensor};
  eval->slots[slot] = value;
  return EX_OK;
}

struct ex_onnx_tensor *ex__onnx_eval_find(const ex_onnx_eval *eval, const char *name) {
  for (const ex_onnx_eval *at = eval; at != NULL; at = at->outer) {
    size_t slot = slot_of(at, name);
    if (at->slots[slot] != NULL) return &at->slots[slot]->tensor;
  }
  return NULL;
}

/* ---- beginning and end ------------------------------------------------------------ */

static enum ex_status define_constants(ex_onnx_eval *eval, struct ex_error *err) {
  char text[64];
  const Onnx__GraphProto *graph = eval->graph;
  if (graph->n_sparse_initializer > 0)
    return ex__fail(err, EX_EUNSUPPORTED, "sparse initializers; must be dense");
  for (size_t i = 0; i < graph->n_initializer; i++) {
    const Onnx__TensorProto *proto = graph->initializer[i];
    struct ex_onnx_tensor tensor;
    if (proto->name == NULL) return ex__fail(err, EX_EFORMAT, "initializer %zu has no name", i);
    enum ex_status status = ex__onnx_tensor_from(proto, &tensor, err);
    if (status == EX_OK) status = define(eval, proto->name, &tensor, err);
    if (status != EX_OK)
      return ex__wrap(err, status, "initializer \"%s\"", ex__onnx_text(proto->name, text));
  }
  return EX_OK;
}

static enum ex_status eval_new(const ex_onnx *onnx, const Onnx__GraphProto *graph,
                               const ex_onnx_eval *outer, struct ex_onnx_limits *limits,
                               ex_onnx_eval **out, struct ex_error *err) {
  *out = NULL;
  ex_onnx_eval *eval = ex__calloc(1, sizeof *eval);
  if (eval == NULL) return ex__fail(err, EX_ENOMEM, "ONNX: no memory");
  eval->onnx = onnx;
  eval->graph = graph;
  eval->outer = outer;
  eval->limits = limits;
  eval->n_slots = 16;
  while (eval->n_slots < 2 * count_names(graph)) eval->n_slots *= 2;
  eval->slots = ex__calloc(eval->n_slots, sizeof(struct value *));
  enum ex_status status = eval->slots != NULL ? define_constants(eval, err)
                                              : ex__fail(err, EX_ENOMEM, "ONNX: no memory");
  if (status == EX_OK)
    *out = eval;
  else
    ex__onnx_eval_free(eval);
  return status;
}

enum ex_status ex__onnx_eval_new(const ex_onnx *onnx, struct ex_onnx_limits *limits,
                                 ex_onnx_eval **out, struct ex_error *err) {
  return eval_new(onnx, onnx->proto->graph, NULL, limits, out, err);
}

void ex__onnx_eval_free(ex_onnx_eval *eval) {
  if (eval == NULL) return;
  for (size_t i = 0; eval->slots != NULL && i < eval->n_slots; i++) {
    if (eval->slots[i] == NULL) continue;
    ex__onnx_tensor_clear(&eval->slots[i]->tensor);
    ex__free(eval->slots[i]);
  }
  ex__free(eval->slots);
  ex__free(eval);
}

void ex__onnx_eval_batch(ex_onnx_eval *eval, int64_t declared, int64_t batch) {
  eval->declared_batch = declared;
  eval->batch = batch;
}

enum ex_status ex__onnx_eval_input(ex_onnx_eval *eval, const char *name,
                                   struct ex_onnx_tensor *tensor, struct ex_error *err) {
  tensor->depends = true;
  enum ex_status status = define(eval, name, tensor, err);
  if (status != EX_OK) ex__onnx_tensor_clear(tensor);
  return status;
}

enum ex_status ex__onnx_eval_load(ex_onnx_eval *eval, struct ex_onnx_tensor *tensor,
                                  struct ex_error *err) {
  return ex__onnx_tensor_load(tensor, &eval->limits->elements, err);
}

void ex__onnx_eval_unload(const struct ex_onnx_call *call) {
  enum { MUCH = 4096 };
  for (int32_t k = 0; k < call->n_in; k++)
    if (call->in[k] != NULL && call->in[k]->count > MUCH)
      ex__onnx_tensor_unload(call->in[k], &call->limits->elements);
}

/* ---- a node ------------------------------------------------------------------------ */

static enum ex_status find_inputs(struct ex_onnx_call *call) {
  const Onnx__NodeProto *node = call->node;
  char text[64];
  for (int32_t k = 0; k < call->n_in; k++) {
    if (node->input[k][0] == '\0') continue;
    call->in[k] = ex__onnx_eval_find(call->eval, node->input[k]);
    if (call->in[k] == NULL)
      return onnx_fail(call, EX_EFORMAT, "it reads \"%s\", which nothing before it makes",
                       ex__onnx_text(node->input[k], text));
    call->unknown = call->unknown || call->in[k]->unknown;
    call->depends = call->depends || call->in[k]->depends;
  }
  for (int32_t k = 0; k < call->n_in; k++)
    if (!call->unknown && call->in[k] != NULL)
      EX_TRY(ex__onnx_eval_load(call->eval, call->in[k], call->err));
  return EX_OK;
}

static enum ex_status check_counts(struct ex_onnx_call *call, const struct ex_onnx_op *op) {
  bool fits = op->max_in < 0 || call->n_in <= op->max_in;
  if (call->n_in < op->min_in || !fits)
    return onnx_fail(call, EX_EFORMAT, "%d inputs; must be %d to %d", (int)call->n_in,
                     (int)op->min_in, op->max_in < 0 ? EX_ONNX_MAX_IN : (int)op->max_in);
  for (int32_t k = 0; k < op->min_in; k++)
    if (call->in[k] == NULL)
      return onnx_fail(call, EX_EFORMAT, "input %d is left out; must be given", (int)k);
  if (call->n_out > op->max_out)
    return onnx_fail(call, EX_EUNSUPPORTED, "%d outputs; must be at most %d", (int)call->n_out,
                     (int)op->max_out);
  return EX_OK;
}

static enum ex_status store_outputs(struct ex_onnx_call *call) {
  const Onnx__NodeProto *node = call->node;
  for (int32_t k = 0; k < call->n_out; k++) {
    struct ex_onnx_tensor *out = &call->out[k];
    if (node->output[k][0] == '\0') continue;
    if (out->type == 0)
      return onnx_fail(call, EX_EUNSUPPORTED, "output %d is not computed here", (int)k);
    ex__onnx_tensor_settle(out);
    out->depends = call->depends;
    EX_TRY(define(call->eval, node->output[k], out, call->err));
    *out = (struct ex_onnx_tensor){.type = 0};
  }
  return EX_OK;
}

static enum ex_status run_call(struct ex_onnx_call *call) {
  const Onnx__NodeProto *node = call->node;
  const char *type = node->op_type != NULL ? node->op_type : "", *domain = node->domain;
  bool own = domain == NULL || domain[0] == '\0' || strcmp(domain, "ai.onnx") == 0;
  const struct ex_onnx_op *op = own ? ex__onnx_op_find(type) : NULL;
  char text[64];
  if (op == NULL)
    return onnx_fail(call, EX_EUNSUPPORTED, "the operator%s%s is not supported",
                     own ? "" : " of domain ", own ? "" : ex__onnx_text(domain, text));
  if (node->n_input > EX_ONNX_MAX_IN || node->n_output > EX_ONNX_MAX_OUT)
    return onnx_fail(call, EX_EUNSUPPORTED, "%zu inputs and %zu outputs; must be at most %d, %d",
                     node->n_input, node->n_output, EX_ONNX_MAX_IN, EX_ONNX_MAX_OUT);
  call->n_in = (int32_t)node->n_input;
  call->n_out = (int32_t)node->n_output;
  EX_TRY(find_inputs(call));
  EX_TRY(check_counts(call, op));
  EX_TRY(op->run(call));
  EX_TRY(call->status);
  return store_outputs(call);
}

enum ex_status ex__onnx_name_node(const Onnx__NodeProto *node, size_t i, enum ex_status status,
                                  struct ex_error *err) {
  char name[64], type[64];
  ex__onnx_text(node->op_type, type);
  if (node->name != NULL && node->name[0] != '\0')
    return ex__wrap(err, status, "node \"%s\" (%s)", ex__onnx_text(node->name, name), type);
  return ex__wrap(err, status, "node %zu (%s)", i, type);
}

static void begin_call(ex_onnx_eval *eval, size_t i, struct ex_onnx_call *call,
                       struct ex_error *err) {
  *call = (struct ex_onnx_call){.eval = eval,
                                .node = eval->graph->node[i],
                                .opset = eval->onnx->opset,
                                .declared_batch = eval->declared_batch,
                                .batch = eval->batch,
                                .limits = eval->limits,
                                .err = err};
}

enum ex_status ex__onnx_eval_call(ex_onnx_eval *eval, size_t i, struct ex_onnx_call *call,
                                  struct ex_error *err) {
  begin_call(eval, i, call, err);
  call->n_in = (int32_t)call->node->n_input; /* it has been run: they are not too many */
  call->n_out = (int32_t)call->node->n_output;
  return find_inputs(call);
}

enum ex_status ex__onnx_eval_node(ex_onnx_eval *eval, size_t i, struct ex_error *err) {
  const Onnx__NodeProto *node = eval->graph->node[i];
  struct ex_onnx_call *call = ex__calloc(1, sizeof *call);
  if (call == NULL) return ex__fail(err, EX_ENOMEM, "ONNX: no memory");
  begin_call(eval, i, call, err);
  enum ex_status status = run_call(call);
  ex__onnx_eval_unload(call);
  for (int32_t k = 0; k < EX_ONNX_MAX_OUT; k++) ex__onnx_tensor_clear(&call->out[k]);
  ex__free(call);
  return status == EX_OK ? EX_OK : ex__onnx_name_node(node, i, status, err);
}

enum ex_status ex__onnx_eval_run(ex_onnx_eval *eval, struct ex_error *err) {
  for (size_t i = 0; i < eval->graph->n_node; i++) EX_TRY(ex__onnx_eval_node(eval, i, err));
  return EX_OK;
}

/* ---- graphs within a node ------------------------------------------------------------ */

/* An output that the inner graph made moves; one that it only names is copied. */
static enum ex_status take(ex_onnx_eval *inner, const char *name, struct ex_onnx_tensor *out,
                           struct ex_error *err) {
  char text[64];
  struct ex_onnx_tensor *found = ex__onnx_eval_find(inner, name);
  if (found == NULL)
    return ex__fail(err, EX_EFORMAT, "output \"%s\" is made by nothing", ex__onnx_text(name, text));
  EX_TRY(ex__onnx_eval_load(inner, found, err));
  EX_TRY(ex__onnx_tensor_shape(out, found->type, found->rank, found->dim, err));
  out->unknown = found->unknown;
  if (found->unknown) return EX_OK;
  EX_TRY(ex__onnx_tensor_alloc(out, &inner->limits->elements, err));
  for (int64_t i = 0; i < out->count; i++) ex__onnx_copy(out, i, found, i);
  return EX_OK;
}

enum ex_status ex__onnx_eval_inner(ex_onnx_eval *outer, const Onnx__GraphProto *graph,
                                   struct ex_onnx_tensor *out, int32_t n_out,
                                   struct ex_error *err) {
  ex_onnx_eval *inner;
  if (graph->n_output < (size_t)n_out)
    return ex__fail(err, EX_EFORMAT, "its graph has %zu outputs; must have %d", graph->n_output,
                    (int)n_out);
  EX_TRY(eval_new(outer->onnx, graph, outer, outer->limits, &inner, err));
  ex__onnx_eval_batch(inner, outer->declared_batch, outer->batch);
  enum ex_status status = ex__onnx_eval_run(inner, err);
  for (int32_t k = 0; status == EX_OK && k < n_out; k++)
    status = graph->output[k]->name != NULL
                 ? take(inner, graph->output[k]->name, &out[k], err)
                 : ex__fail(err, EX_EFORMAT, "output %d of its graph has no name", (int)k);
  ex__onnx_eval_free(inner);
  return status;
}
