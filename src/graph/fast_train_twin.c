/* SPDX-License-Identifier: Apache-2.0
 *
 * graph/fast_train_twin: any operator by its readable twin, on plain arrays.
 *
 * Inputs are turned into plain order, the result back. Samples are shared out
 * among threads where samples do not depend on each other: no parameters, no
 * workspace (dropout's and batch-norm's reach over the batch).
 */
#include <string.h>

#include "base/memory.h"
#include "base/random.h"
#include "graph/fast_train.h"

static int64_t plain_bytes(const struct train_value *v) {
  return (v->count * (int64_t)sizeof(float) + 63) & ~(int64_t)63;
}

/* Element-wise operators need no order at all, as long as all have the same. */
static bool order_matters(const struct train *train, const struct train_step *step) {
  static const char *const elementwise[] = {"relu", "gelu", "sigmoid", "add", "mul"};
  for (int32_t i = 0; i < step->n_in; i++)
    if (train->values[step->in[i]].order != train->values[step->out].order) return true;
  for (size_t i = 0; i < sizeof elementwise / sizeof *elementwise; i++)
    if (strcmp(step->node->op->name, elementwise[i]) == 0) return false;
  return true;
}

static bool converts(const struct train *train, const struct train_step *step, int32_t value) {
  return train->values[value].order != TRAIN_PLAIN && order_matters(train, step);
}

static enum ex_status plan(const ex_program *program, struct train_step *step,
                           struct ex_error *err) {
  (void)err;
  const struct train *train = train_of(program);
  const struct ex_shape *shapes[EX_MAX_INPUTS] = {NULL};
  int64_t in = 0;
  for (int32_t i = 0; i < step->n_in; i++) {
    shapes[i] = &train->values[step->in[i]].shape;
    if (converts(train, step, step->in[i])) in += plain_bytes(&train->values[step->in[i]]);
  }
  int64_t out = converts(train, step, step->out) ? plain_bytes(&train->values[step->out]) : 0;
  if (step->node->op->workspace != NULL)
    step->saved_bytes = (int64_t)step->node->op->workspace(step->node, shapes, train->batch);
  step->scratch_forward = in + out;
  step->scratch_backward = 2 * (in + out);
  return EX_OK;
}

struct twin_work {
  const struct train *train;
  struct ex_op_call call; /* of the whole batch */
  bool backward;
};

static void run_samples(void *context, int32_t thread, int64_t begin, int64_t end) {
  (void)thread;
  const struct twin_work *work = context;
  struct ex_op_call call = work->call;
  if (begin == end) return;
  for (int32_t i = 0; i < call.node->n_in; i++) {
    int64_t at = begin * ex__shape_count(call.in_shape[i]);
    if (call.in[i] != NULL) call.in[i] += at;
    if (call.din[i] != NULL) call.din[i] += at;
  }
  int64_t at = begin * ex__shape_count(&call.node->shape);
  if (call.out != NULL) call.out += at;
  if (call.dout != NULL) call.dout += at;
  call.batch = (int32_t)(end - begin);
  if (work->backward)
    call.node->op->backward(&call);
  else
    call.node->op->forward(&call);
}

static void run(struct twin_work *work) {
  bool alone = work->call.node->n_tensors > 0 || work->call.node->op->workspace != NULL;
  ex__train_parallel(alone ? 1 : work->train->threads, work->train->batch, run_samples, work);
}

/* Takes plain arrays from the scratch where an order must be changed. */
static float *take(char **scratch, const struct train_value *value) {
  float *at = (float *)(void *)*scratch;
  *scratch += plain_bytes(value);
  return at;
}

static struct twin_work open_call(const struct train_call *call, char **scratch) {
  const struct train *train = train_of(call->program);
  const struct train_step *step = call->step;
  struct twin_work work = {.train = train};
  struct ex_op_call *twin = &work.call;
  *twin = (struct ex_op_call){.node = step->node,
                              .batch = train->batch,
                              .training = !train->frozen,
                              .workspace = call->saved};
  struct ex_random random = ex__random_seed(call->pass->seed, (uint64_t)step->node_id);
  twin->seed = ex__random_u64(&random);
  memcpy(twin->tensor, call->tensor, sizeof twin->tensor);
  memcpy(twin->dtensor, call->dtensor, sizeof twin->dtensor);
  for (int32_t i = 0; i < step->n_in; i++) {
    const struct train_value *v = train_in(call, i);
    twin->in_shape[i] = &v->shape;
    twin->in[i] = call->in[i].data;
    if (twin->in[i] == NULL || !converts(train, step, step->in[i])) continue;
    float *plain = take(scratch, v);
    ex__train_to_plain(train, v, train->batch, call->in[i], plain);
    twin->in[i] = plain;
  }
  twin->out = call->out.data;
  return work;
}

static void forward(const struct train_call *call) {
  const struct train *train = train_of(call->program);
  const struct train_value *out = train_out(call);
  char *scratch = call->scratch;
  struct twin_work work = open_call(call, &scratch);
  bool convert = converts(train, call->step, call->step->out);
  if (convert) work.call.out = take(&scratch, out);
  run(&work);
  if (convert) ex__train_from_plain(train, out, train->batch, work.call.out, call->out, false);
}

/* Where the twin adds an input's gradient: in place, or in a zeroed plain array. */
static float *open_gradient(const struct train_call *call, int32_t i, char **scratch) {
  const struct train *train = train_of(call->program);
  const struct train_value *v = train_in(call, i);
  bool convert = converts(train, call->step, call->step->in[i]);
  float *at = convert ? take(scratch, v) : call->din[i].data;
  if (convert || !call->add[i]) memset(at, 0, (size_t)v->count * sizeof *at);
  return at;
}

static void backward(const struct train_call *call) {
  const struct train *train = train_of(call->program);
  const struct train_step *step = call->step;
  const struct train_value *out = train_out(call);
  char *scratch = call->scratch;
  struct twin_work work = open_call(call, &scratch);
  work.backward = true;
  work.call.dout = call->dout.data;
  if (converts(train, step, step->out)) {
    float *plain = take(&scratch, out);
    ex__train_to_plain(train, out, train->batch, call->dout, plain);
    work.call.dout = plain;
    if (call->out.data != NULL) {
      plain = take(&scratch, out);
      ex__train_to_plain(train, out, train->batch, call->out, plain);
      work.call.out = plain;
    }
  }
  for (int32_t i = 0; i < step->n_in; i++)
    if (call->din[i].data != NULL) work.call.din[i] = open_gradient(call, i, &scratch);
  run(&work);
  for (int32_t i = 0; i < step->n_in; i++)
    if (call->din[i].data != NULL && converts(train, step, step->in[i]))
      ex__train_from_plain(train, train_in(call, i), train->batch, work.call.din[i], call->din[i],
                           call->add[i]);
}

const struct train_step_class ex__train_twin = {
    .name = "twin",
    .plan = plan,
    .forward = forward,
    .backward = backward,
};
