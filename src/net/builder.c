/* SPDX-License-Identifier: Apache-2.0
 *
 * net/builder: the graph and the answer points, written down together.
 *
 * After a failure every value is −1 and every shape is a single 1, so that an
 * architecture need not look at anything in between; what it computes from
 * such a shape is thrown away by ex__builder_finish.
 */
#include "net/builder.h"

#include <stdarg.h>
#include <stdio.h>

#include "base/memory.h"

struct ex_builder {
  ex_net *net;
  int32_t stage; /* that nodes are added to, and its part */
  enum ex_part part;
  enum ex_status status; /* of the first failure */
  struct ex_error err;
};

static const struct ex_shape unknown_shape = {1, {1}};

enum ex_status ex__builder_new(const struct ex_shape *input, int32_t n_outputs, ex_builder **out,
                               struct ex_error *err) {
  *out = NULL;
  ex_builder *builder = ex__calloc(1, sizeof *builder);
  ex_net *net = ex__calloc(1, sizeof *net);
  if (builder == NULL || net == NULL || ex__graph_new(&net->graph) != EX_OK) {
    ex__free(builder);
    ex__free(net);
    return ex__fail(err, EX_ENOMEM, "net: no memory");
  }
  net->task = ex__task_find("classification");
  net->input = *input;
  net->n_outputs = n_outputs;
  builder->net = net;
  *out = builder;
  return EX_OK;
}

enum ex_status ex__builder_finish(ex_builder *builder, uint64_t seed, ex_net **out,
                                  struct ex_error *err) {
  *out = NULL;
  ex_net *net = builder->net;
  enum ex_status status = builder->status;
  if (status != EX_OK)
    ex__fail(err, status, "%s", builder->err.text);
  else
    status = ex__net_check(net, err);
  if (status == EX_OK) status = ex__net_allocate(net, err);
  if (status == EX_OK) {
    ex__net_init(net, seed);
    *out = net;
  } else {
    ex_net_free(net);
  }
  ex__free(builder);
  return status;
}

enum ex_status ex__builder_status(const ex_builder *builder, struct ex_error *err) {
  if (builder->status == EX_OK) return EX_OK;
  return ex__fail(err, builder->status, "%s", builder->err.text);
}

void ex__builder_fail(ex_builder *builder, enum ex_status code, const char *format, ...) {
  if (builder->status != EX_OK) return;
  builder->status = builder->err.code = code;
  va_list args;
  va_start(args, format);
  vsnprintf(builder->err.text, sizeof builder->err.text, format, args);
  va_end(args);
}

/* ---- where nodes go ------------------------------------------------------- */

void ex__builder_enter(ex_builder *builder, int32_t stage, enum ex_part part) {
  builder->stage = stage;
  builder->part = part;
  ex__graph_segment(builder->net->graph, ex__net_segment(stage, part), stage);
}

void ex__builder_stage(ex_builder *builder) {
  if (builder->net->n_stages == EX_MAX_STAGES) {
    ex__builder_fail(builder, EX_EINVAL, "net: more than %d stages", EX_MAX_STAGES);
    return;
  }
  builder->net->n_stages++;
  ex__builder_enter(builder, builder->net->n_stages - 1, EX_PART_BODY);
}

void ex__builder_head(ex_builder *builder) {
  ex__builder_enter(builder, builder->net->n_stages - 1, EX_PART_HEAD);
}

void ex__builder_gate(ex_builder *builder) {
  ex__builder_enter(builder, builder->net->n_stages - 1, EX_PART_GATE);
}

void ex__builder_point(ex_builder *builder, int32_t output, int32_t gate, uint32_t needs) {
  if (builder->status != EX_OK) return;
  ex_net *net = builder->net;
  if (net->n_points == EX_MAX_POINTS || output < 0) {
    ex__builder_fail(builder, EX_EINVAL, "point %d: output = %d; must be a value, of at most %d",
                     (int)net->n_points, (int)output, EX_MAX_POINTS);
    return;
  }
  ex__graph_keep(net->graph, output);
  if (gate >= 0) ex__graph_keep(net->graph, gate);
  net->points[net->n_points++] = (struct ex_point){builder->stage, output, gate, needs};
}

int32_t ex__builder_points(const ex_builder *builder) { return builder->net->n_points; }

const struct ex_point *ex__builder_at(const ex_builder *builder, int32_t point) {
  return &builder->net->points[point];
}

void ex__builder_back(ex_builder *builder, int32_t point, enum ex_part part) {
  if (point >= 0 && point < builder->net->n_points)
    ex__builder_enter(builder, builder->net->points[point].stage, part);
  else
    ex__builder_fail(builder, EX_EINVAL, "point %d: must be one of the %d that were made",
                     (int)point, (int)builder->net->n_points);
}

void ex__builder_answer(ex_builder *builder, int32_t point, int32_t output, int32_t gate,
                        uint32_t needs) {
  if (builder->status != EX_OK) return;
  ex_net *net = builder->net;
  ex__graph_keep(net->graph, output);
  if (gate >= 0) ex__graph_keep(net->graph, gate);
  net->points[point] = (struct ex_point){net->points[point].stage, output, gate, needs};
}

struct ex_transform *ex__builder_transform(ex_builder *builder) {
  return &builder->net->transform;
}

void ex__builder_init(ex_builder *builder, enum ex_init init) {
  ex__graph_init(builder->net->graph, init);
}

bool ex__builder_in(const ex_builder *builder, int32_t value, int32_t stage, enum ex_part part) {
  return value >= 0 &&
         ex__graph_node(builder->net->graph, value)->segment == ex__net_segment(stage, part);
}

const struct ex_shape *ex__builder_shape(const ex_builder *builder, int32_t value) {
  return value >= 0 ? &ex__graph_node(builder->net->graph, value)->shape : &unknown_shape;
}

int64_t ex__builder_macs(const ex_builder *builder) {
  int64_t macs = 0;
  for (int32_t stage = 0; stage < builder->net->n_stages; stage++)
    macs += ex__graph_segment_macs(builder->net->graph, ex__net_segment(stage, EX_PART_BODY));
  return macs;
}

/* ---- operators ------------------------------------------------------------ */

int32_t ex__builder_outputs(const ex_builder *builder) { return builder->net->n_outputs; }

int32_t ex__builder_input(ex_builder *builder) {
  int32_t value = -1;
  if (builder->status != EX_OK) return -1;
  if (builder->net->n_stages == 0) ex__builder_stage(builder);
  builder->status =
      ex__graph_add_input(builder->net->graph, &builder->net->input, &value, &builder->err);
  return value;
}

int32_t ex__builder_op(ex_builder *builder, const char *op, const char *name, const void *attr,
                       const int32_t *in, int32_t n_in) {
  static const char *const prefixes[] = {"stage", "head", "gate"};
  int32_t value = -1;
  if (builder->status != EX_OK) return -1;
  char full[EX_NAME_SIZE];
  if (name != NULL) {
    int length =
        snprintf(full, sizeof full, "%s%d.%s", prefixes[builder->part], (int)builder->stage, name);
    if (length < 0 || length >= EX_NAME_SIZE) {
      ex__builder_fail(builder, EX_EINVAL, "the name \"%.60s…\" has %d characters; at most %d",
                       name, length, EX_NAME_SIZE - 1);
      return -1;
    }
  }
  builder->status = ex__graph_add(builder->net->graph, op, name != NULL ? full : NULL, attr, in,
                                  n_in, &value, &builder->err);
  return value;
}

int32_t ex__builder_conv(ex_builder *builder, const char *name, int32_t x, int32_t channels,
                         int32_t kernel, int32_t stride, int32_t pad, bool bias) {
  const struct ex_conv2d attr = {.channels = channels,
                                 .kernel_h = kernel,
                                 .kernel_w = kernel,
                                 .stride = stride,
                                 .pad_h = pad,
                                 .pad_w = pad,
                                 .dilation = 1,
                                 .groups = 1,
                                 .bias = bias};
  return ex__builder_op(builder, "conv2d", name, &attr, &x, 1);
}

int32_t ex__builder_batch_norm(ex_builder *builder, const char *name, int32_t x) {
  return ex__builder_op(builder, "batch_norm", name, NULL, &x, 1);
}

int32_t ex__builder_relu(ex_builder *builder, int32_t x) {
  return ex__builder_op(builder, "relu", NULL, NULL, &x, 1);
}

static int32_t pool(ex_builder *builder, const char *op, int32_t x, int32_t kernel, int32_t stride,
                    int32_t pad) {
  const struct ex_pool attr = {
      .kernel = kernel, .stride = stride, .pad = pad, .count_include_pad = 1};
  return ex__builder_op(builder, op, NULL, &attr, &x, 1);
}

int32_t ex__builder_max_pool(ex_builder *builder, int32_t x, int32_t kernel, int32_t stride,
                             int32_t pad) {
  return pool(builder, "max_pool", x, kernel, stride, pad);
}

int32_t ex__builder_avg_pool(ex_builder *builder, int32_t x, int32_t kernel, int32_t stride,
                             int32_t pad) {
  return pool(builder, "avg_pool", x, kernel, stride, pad);
}

int32_t ex__builder_global_pool(ex_builder *builder, int32_t x) {
  return ex__builder_op(builder, "global_avg_pool", NULL, NULL, &x, 1);
}

int32_t ex__builder_flatten(ex_builder *builder, int32_t x) {
  const struct ex_shape *shape = ex__builder_shape(builder, x);
  if (shape->rank == 1) return x;
  struct ex_reshape attr = {{1, {(double)ex__shape_count(shape)}}};
  return ex__builder_op(builder, "reshape", NULL, &attr, &x, 1);
}

int32_t ex__builder_linear(ex_builder *builder, const char *name, int32_t x, int32_t features) {
  const struct ex_linear attr = {features, 1};
  return ex__builder_op(builder, "linear", name, &attr, &x, 1);
}

int32_t ex__builder_add(ex_builder *builder, int32_t a, int32_t b) {
  const int32_t in[] = {a, b};
  return ex__builder_op(builder, "add", NULL, NULL, in, 2);
}

int32_t ex__builder_concat(ex_builder *builder, const int32_t *in, int32_t n_in) {
  return ex__builder_op(builder, "concat", NULL, NULL, in, n_in);
}
