/* SPDX-License-Identifier: Apache-2.0
 *
 * One operator by itself, without a graph around it: its node from the
 * operator's name and attributes as text, arrays for everything that a call
 * needs. For test_ops (values) and double_ops (gradients).
 */
#ifndef EX_TESTS_OP_HARNESS_H
#define EX_TESTS_OP_HARNESS_H

#include "base/random.h"
#include "graph/op.h"
#include "tests/testing.h"

struct op_spec {
  const char *op, *attrs; /* "stride=2 pad-h=1" */
  int32_t batch, n_in;
  struct ex_shape in[EX_MAX_INPUTS];
  bool training;
};

struct op_case {
  struct ex_node node;
  struct ex_shape in_shape[EX_MAX_INPUTS];
  struct ex_tensor_decl decl[EX_MAX_NODE_TENSORS];
  struct ex_op_call call;
  ex_real *in[EX_MAX_INPUTS], *dout; /* as in call, but to be written */
};

static inline ex_real *op_array(int64_t n) {
  ex_real *array = calloc((size_t)(n > 0 ? n : 1), sizeof *array);
  assert_non_null(array);
  return array;
}

static inline void op_fill(ex_real *array, int64_t n, uint64_t stream) {
  struct ex_random random = ex__random_seed(7, stream);
  for (int64_t i = 0; i < n; i++) array[i] = (ex_real)ex__random_normal(&random);
}

static inline enum ex_status op_attributes(const struct ex_op *op, const char *text, void *attr,
                                           struct ex_error *err) {
  char copy[256];
  snprintf(copy, sizeof copy, "%s", text != NULL ? text : "");
  ex__param_defaults(op->attrs, attr);
  char *rest = copy;
  for (char *item; (item = strtok_r(rest, " ", &rest)) != NULL;) {
    char *value = strchr(item, '=');
    *value = '\0';
    EX_TRY(ex__param_set(op->name, op->attrs, attr, item, value + 1, err));
  }
  return EX_OK;
}

/* Sets node and shapes; op_close frees, also after a failure. */
static inline enum ex_status op_node(struct op_case *c, const struct op_spec *spec,
                                     struct ex_error *err) {
  memset(c, 0, sizeof *c);
  c->node.op = ex__op_find(spec->op);
  assert_non_null(c->node.op);
  c->node.n_in = spec->n_in;
  c->node.attr = calloc(1, c->node.op->attr_size + 1);
  assert_non_null(c->node.attr);
  EX_TRY(op_attributes(c->node.op, spec->attrs, c->node.attr, err));
  for (int32_t i = 0; i < spec->n_in; i++) {
    c->in_shape[i] = spec->in[i];
    c->call.in_shape[i] = &c->in_shape[i];
    c->node.in[i] = i;
  }
  return c->node.op->shape(&c->node, c->call.in_shape, &c->node.shape, err);
}

static inline int64_t op_in_count(const struct op_case *c, int32_t i) {
  return c->call.batch * ex__shape_count(&c->in_shape[i]);
}

static inline int64_t op_out_count(const struct op_case *c) {
  return c->call.batch * ex__shape_count(&c->node.shape);
}

static inline void op_open(struct op_case *c, const struct op_spec *spec) {
  struct ex_error err = {0};
  assert_ok(op_node(c, spec, &err), &err);
  const struct ex_op *op = c->node.op;
  c->call.node = &c->node;
  c->call.batch = spec->batch;
  c->call.training = spec->training;
  c->call.seed = 99;
  for (int32_t i = 0; i < spec->n_in; i++) {
    c->call.in[i] = c->in[i] = op_array(op_in_count(c, i));
    op_fill(c->in[i], op_in_count(c, i), (uint64_t)i);
  }
  c->call.out = op_array(op_out_count(c));
  c->call.dout = c->dout = op_array(op_out_count(c));
  op_fill(c->dout, op_out_count(c), 100);
  if (op->tensors != NULL) c->node.n_tensors = op->tensors(&c->node, c->call.in_shape, c->decl);
  for (int32_t t = 0; t < c->node.n_tensors; t++) {
    int64_t n = ex__shape_count(&c->decl[t].shape);
    c->call.tensor[t] = op_array(n);
    op_fill(c->call.tensor[t], n, 50 + (uint64_t)t);
    if (strcmp(c->decl[t].suffix, "running_var") == 0)
      for (int64_t i = 0; i < n; i++) c->call.tensor[t][i] *= c->call.tensor[t][i];
  }
  size_t bytes = op->workspace ? op->workspace(&c->node, c->call.in_shape, spec->batch) : 0;
  c->call.workspace = calloc(1, bytes + 1);
  assert_non_null(c->call.workspace);
}

static inline void op_close(struct op_case *c) {
  for (int32_t i = 0; i < EX_MAX_INPUTS; i++) {
    free(c->in[i]);
    free(c->call.din[i]);
  }
  for (int32_t t = 0; t < EX_MAX_NODE_TENSORS; t++) {
    free(c->call.tensor[t]);
    free(c->call.dtensor[t]);
  }
  free(c->call.out);
  free(c->dout);
  free(c->call.workspace);
  free(c->node.attr);
}

#endif
