/* SPDX-License-Identifier: Apache-2.0
 *
 * graph/fast_train_linear: y = x Wᵀ + b and its gradients as three matrix
 * products of oneDNN on PyTorch's layout [out][in]; sums go on top of what is
 * there, so that nothing is copied. The gradient of the input is made in parts
 * around the features that are blocked.
 */
#include "base/memory.h"
#include "graph/fast_train.h"

enum { WEIGHT, BIAS };
enum { FORWARD, WEIGHTS, DATA, N_OPS = DATA + 4 }; /* DATA + 2 · part + (adds) */

struct linear {
  bool bias;
  int32_t in, out;
  int32_t n_parts, from[2], to[2]; /* features whose gradient is computed */
  const ex_dnn_op *op[N_OPS];      /* NULL: not needed */
};

static enum ex_status plan_ops(struct train *train, struct linear *l, bool wanted,
                               struct ex_error *err) {
  struct ex_dnn_matmul m = {.threads = train->threads,
                            .m = train->batch,
                            .n = l->out,
                            .k = l->in,
                            .weights_transposed = true,
                            .bias = l->bias};
  EX_TRY(ex__dnn_matmul(train->dnn, &m, &l->op[FORWARD], err));
  struct ex_dnn_matmul w = {.threads = train->threads,
                            .m = l->out,
                            .n = l->in,
                            .k = train->batch,
                            .src_transposed = true,
                            .post = {.sum = true}};
  EX_TRY(ex__dnn_matmul(train->dnn, &w, &l->op[WEIGHTS], err));
  if (!wanted) return EX_OK;
  for (int32_t i = 0; i < 2 * l->n_parts; i++) {
    struct ex_dnn_matmul d = {.threads = train->threads,
                              .m = train->batch,
                              .n = l->to[i / 2] - l->from[i / 2],
                              .k = l->out,
                              .weights_stride = l->in,
                              .dst_stride = l->in,
                              .post = {.sum = i % 2 != 0}};
    EX_TRY(ex__dnn_matmul(train->dnn, &d, &l->op[DATA + i], err));
  }
  return EX_OK;
}

static enum ex_status plan(const ex_program *program, struct train_step *step,
                           struct ex_error *err) {
  struct train *train = train_of(program);
  struct linear *l = step->impl = ex__calloc(1, sizeof *l);
  if (l == NULL) return ex__fail(err, EX_ENOMEM, "linear: no memory");
  if (train->dnn == NULL) EX_TRY(ex__dnn_new(&train->dnn, err));
  const struct train_value *in = &train->values[step->in[0]];
  *l = (struct linear){.bias = ((const struct ex_linear *)step->node->attr)->bias != 0,
                       .in = in->channels,
                       .out = train->values[step->out].channels};
  l->n_parts = ex__train_wanted_parts(in, l->from, l->to);
  step->data_macs = 0;
  for (int32_t p = 0; p < l->n_parts; p++)
    step->data_macs += step->macs / l->in * (l->to[p] - l->from[p]);
  EX_TRY(plan_ops(train, l, in->wanted, err));
  step->scratch_forward = step->scratch_backward = (int64_t)ex__train_calls_scratch(l->op, N_OPS);
  return EX_OK;
}

static void state_free(void *state) { ex__train_calls_free(state, N_OPS); }

static enum ex_status state_new(const struct train_step *step, void **state) {
  return ex__train_calls_new(((const struct linear *)step->impl)->op, N_OPS, state);
}

static void multiply(const struct train_call *call, int32_t which, const float *a, const float *b,
                     float *to) {
  ex_dnn_call *run = ((ex_dnn_call **)call->state)[which];
  ex__dnn_call_set(run, EX_DNN_SRC, a);
  ex__dnn_call_set(run, EX_DNN_WEIGHTS, b);
  ex__dnn_call_set(run, EX_DNN_DST, to);
  ex__dnn_call_set(run, EX_DNN_SCRATCHPAD, call->scratch);
  ex__dnn_call_run(run);
}

static void forward(const struct train_call *call) {
  const struct linear *l = call->step->impl;
  if (l->bias)
    ex__dnn_call_set(((ex_dnn_call **)call->state)[FORWARD], EX_DNN_BIAS, call->tensor[BIAS]);
  multiply(call, FORWARD, call->in[0].data, call->tensor[WEIGHT], call->out.data);
}

static void backward(const struct train_call *call) {
  const struct linear *l = call->step->impl;
  if (call->dtensor[WEIGHT] != NULL)
    multiply(call, WEIGHTS, call->dout.data, call->in[0].data, call->dtensor[WEIGHT]);
  for (int32_t p = 0; call->din[0].data != NULL && p < l->n_parts; p++)
    multiply(call, DATA + 2 * p + (call->add[0] ? 1 : 0), call->dout.data,
             call->tensor[WEIGHT] + l->from[p], call->din[0].data + l->from[p]);
  if (!l->bias || call->dtensor[BIAS] == NULL) return;
  for (int32_t o = 0; o < l->out; o++) {
    double sum = 0;
    for (int32_t n = 0; n < train_of(call->program)->batch; n++)
      sum += call->dout.data[(int64_t)n * l->out + o];
    call->dtensor[BIAS][o] += (float)sum;
  }
}

const struct train_step_class ex__train_linear = {
    .name = "matmul",
    .plan = plan,
    .forward = forward,
    .backward = backward,
    .state_new = state_new,
    .state_free = state_free,
};
