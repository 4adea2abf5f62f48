/* SPDX-License-Identifier: Apache-2.0
 *
 * graph/op_arithmetic: element by element of two operands, each seen through
 * steps (0 repeats it), so that shapes of ONNX go together as they do there.
 * With one input the second operand are parameters, one set for all samples.
 */
#include "graph/strided.h"

static const char *const kinds[] = {"add", "sub", "mul", "div", "max", "min", "prelu", NULL};

static const struct ex_param attrs[] = {
    {"kind", EX_PARAM_ENUM, offsetof(struct ex_arithmetic, kind), 0, 0, "add", kinds,
     "What is done."},
    {"parameters", EX_PARAM_INT, offsetof(struct ex_arithmetic, parameters), 1, INT32_MAX, "1",
     NULL, "Numbers of the second operand, where there is one input."},
    {"swap", EX_PARAM_BOOL, offsetof(struct ex_arithmetic, swap), 0, 1, "false", NULL,
     "Whether the second operand stands on the left."},
    {"shape", EX_PARAM_LIST, offsetof(struct ex_arithmetic, shape), 1, INT32_MAX, "1", NULL,
     "Of the output."},
    {"dims", EX_PARAM_LIST, offsetof(struct ex_arithmetic, dims), 1, INT32_MAX, "1", NULL,
     "Of the output, as the steps count them."},
    {"first-steps", EX_PARAM_LIST, offsetof(struct ex_arithmetic, first_steps), 0, INT32_MAX, "0",
     NULL, "Elements between neighbours of the first operand, a number per dim."},
    {"second-steps", EX_PARAM_LIST, offsetof(struct ex_arithmetic, second_steps), 0, INT32_MAX, "0",
     NULL, "The same of the second."},
    {.name = NULL},
};

static int64_t second_size(const struct ex_node *node, const struct ex_shape *const *in) {
  const struct ex_arithmetic *attr = node->attr;
  return node->n_in > 1 ? ex__shape_count(in[1]) : attr->parameters;
}

static enum ex_status shape(const struct ex_node *node, const struct ex_shape *const *in,
                            struct ex_shape *out, struct ex_error *err) {
  const struct ex_arithmetic *attr = node->attr;
  struct ex_strided first, second;
  EX_TRY(ex__strided("arithmetic", &attr->dims, &attr->first_steps, 0, ex__shape_count(in[0]),
                     &first, err));
  EX_TRY(ex__strided("arithmetic", &attr->dims, &attr->second_steps, 0, second_size(node, in),
                     &second, err));
  return ex__strided_shape("arithmetic", &attr->shape, ex__strided_count(&first), out, err);
}

static int32_t tensors(const struct ex_node *node, const struct ex_shape *const *in,
                       struct ex_tensor_decl decl[EX_MAX_NODE_TENSORS]) {
  const struct ex_arithmetic *attr = node->attr;
  (void)in;
  decl[0] = (struct ex_tensor_decl){"weight", {1, {attr->parameters}}, EX_ROLE_NORM, EX_INIT_ONE};
  return node->n_in > 1 ? 0 : 1;
}

static ex_real value_of(int32_t kind, ex_real a, ex_real b) {
  switch (kind) {
    case EX_ARITHMETIC_ADD: return a + b;
    case EX_ARITHMETIC_SUB: return a - b;
    case EX_ARITHMETIC_MUL: return a * b;
    case EX_ARITHMETIC_DIV: return a / b;
    case EX_ARITHMETIC_MAX: return a > b || a != a ? a : b;
    case EX_ARITHMETIC_MIN: return a < b || a != a ? a : b;
    default: return a < 0 ? a * b : a;
  }
}

/* Slopes of the value in a and in b. */
static void slopes_of(int32_t kind, ex_real a, ex_real b, ex_real *da, ex_real *db) {
  bool first = kind == EX_ARITHMETIC_MAX ? a > b : a < b;
  switch (kind) {
    case EX_ARITHMETIC_ADD: *da = 1, *db = 1; break;
    case EX_ARITHMETIC_SUB: *da = 1, *db = -1; break;
    case EX_ARITHMETIC_MUL: *da = b, *db = a; break;
    case EX_ARITHMETIC_DIV: *da = 1 / b, *db = -a / (b * b); break;
    case EX_ARITHMETIC_PRELU: *da = a < 0 ? b : 1, *db = a < 0 ? a : 0; break;
    default: *da = first, *db = !first; break;
  }
}

struct operands {
  struct ex_strided first, second;
  int64_t n, n_first, n_second; /* elements of one sample; n_second 0: the same for all */
  const ex_real *a, *b;
  ex_real *da, *db; /* or NULL */
};

static struct operands operands_of(const struct ex_op_call *call) {
  const struct ex_arithmetic *attr = call->node->attr;
  bool both = call->node->n_in > 1;
  return (struct operands){
      .first = ex__strided_of(&attr->dims, &attr->first_steps),
      .second = ex__strided_of(&attr->dims, &attr->second_steps),
      .n = ex__shape_count(&call->node->shape),
      .n_first = ex__shape_count(call->in_shape[0]),
      .n_second = both ? ex__shape_count(call->in_shape[1]) : 0,
      .a = call->in[0],
      .b = both ? call->in[1] : call->tensor[0],
      .da = call->din[0],
      .db = both ? call->din[1] : call->dtensor[0],
  };
}

static void forward(const struct ex_op_call *call) {
  const struct ex_arithmetic *attr = call->node->attr;
  struct operands o = operands_of(call);
  for (int64_t s = 0, i = 0; s < call->batch; s++) {
    struct ex_counter one = {{0}}, other = {{0}};
    int64_t a = s * o.n_first, b = s * o.n_second;
    for (int64_t k = 0; k < o.n; k++, i++) {
      call->out[i] =
          attr->swap ? value_of(attr->kind, o.b[b], o.a[a]) : value_of(attr->kind, o.a[a], o.b[b]);
      ex__count_on(&one, &o.first, &a);
      ex__count_on(&other, &o.second, &b);
    }
  }
}

static void backward(const struct ex_op_call *call) {
  const struct ex_arithmetic *attr = call->node->attr;
  struct operands o = operands_of(call);
  for (int64_t s = 0, i = 0; s < call->batch; s++) {
    struct ex_counter one = {{0}}, other = {{0}};
    int64_t a = s * o.n_first, b = s * o.n_second;
    for (int64_t k = 0; k < o.n; k++, i++) {
      ex_real da, db;
      if (attr->swap)
        slopes_of(attr->kind, o.b[b], o.a[a], &db, &da);
      else
        slopes_of(attr->kind, o.a[a], o.b[b], &da, &db);
      if (o.da != NULL) o.da[a] += call->dout[i] * da;
      if (o.db != NULL) o.db[b] += call->dout[i] * db;
      ex__count_on(&one, &o.first, &a);
      ex__count_on(&other, &o.second, &b);
    }
  }
}

const struct ex_op ex__op_arithmetic = {
    .name = "arithmetic",
    .version = 1,
    .attrs = attrs,
    .attr_size = sizeof(struct ex_arithmetic),
    .min_in = 1,
    .max_in = 2,
    .flags = EX_OP_NEEDS_INPUT,
    .shape = shape,
    .tensors = tensors,
    .forward = forward,
    .backward = backward,
};
