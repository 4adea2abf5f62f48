/* SPDX-License-Identifier: Apache-2.0
 *
 * graph/op_dropout: in training each element is zeroed with probability
 * `rate` and the others are divided by 1 − rate (inverted dropout), so that
 * inference does nothing.
 *
 * The mask is drawn from a stream forked by (seed of the call, value that is
 * dropped), element after element: it depends neither on threads nor on what
 * else draws. Two dropouts of one value differ only if the caller gives their
 * calls different seeds. Forward keeps the mask in the workspace.
 */
#include <string.h>

#include "base/random.h"
#include "graph/shape.h"

static const struct ex_param attrs[] = {
    {"rate", EX_PARAM_REAL, offsetof(struct ex_dropout, rate), 0, 0.999, "0.5", NULL,
     "Probability that an element is dropped."},
    {.name = NULL},
};

/* [batch][shape] bytes, 1 where an element is kept. */
static size_t workspace(const struct ex_node *node, const struct ex_shape *const *in,
                        int32_t batch) {
  (void)in;
  return (size_t)batch * (size_t)ex__shape_count(&node->shape);
}

static ex_real scale_of(const struct ex_op_call *call) {
  const struct ex_dropout *attr = call->node->attr;
  return (ex_real)(1 / (1 - attr->rate));
}

static void forward(const struct ex_op_call *call) {
  const struct ex_dropout *attr = call->node->attr;
  int64_t n = ex__call_count(call);
  if (!call->training) {
    if (call->out != call->in[0]) memcpy(call->out, call->in[0], (size_t)n * sizeof *call->out);
    return;
  }
  struct ex_random random = ex__random_seed(call->seed, (uint64_t)call->node->in[0]);
  uint8_t *kept = call->workspace;
  ex_real scale = scale_of(call);
  for (int64_t i = 0; i < n; i++) {
    kept[i] = ex__random_uniform(&random) >= attr->rate;
    call->out[i] = kept[i] ? call->in[0][i] * scale : 0;
  }
}

static void backward(const struct ex_op_call *call) {
  if (call->din[0] == NULL) return;
  const uint8_t *kept = call->workspace;
  int64_t n = ex__call_count(call);
  ex_real scale = call->training ? scale_of(call) : 1;
  for (int64_t i = 0; i < n; i++)
    if (!call->training || kept[i]) call->din[0][i] += call->dout[i] * scale;
}

const struct ex_op ex__op_dropout = {
    .name = "dropout",
    .version = 1,
    .attrs = attrs,
    .attr_size = sizeof(struct ex_dropout),
    .min_in = 1,
    .max_in = 1,
    .flags = EX_OP_IN_PLACE | EX_OP_PER_CHANNEL,
    .shape = ex__shape_of_inputs,
    .workspace = workspace,
    .forward = forward,
    .backward = backward,
};
