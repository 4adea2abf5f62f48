/* SPDX-License-Identifier: Apache-2.0
 *
 * graph/fast_train_conv: the step class of convolutions in own loops, and its
 * forward pass.
 */
#include <string.h>

#include "graph/fast_train_conv.h"

bool ex__train_conv_fits(const ex_program *program, const struct train_step *step) {
  const struct train *train = train_of(program);
  const struct ex_conv2d *attr = step->node->attr;
  return attr->groups == 1 && attr->kernel_h * attr->kernel_w <= FAST_MAX_SEGMENTS &&
         train->values[step->out].order == TRAIN_NHWC &&
         train->values[step->in[0]].order != TRAIN_BLOCKED;
}

static void forward_samples(void *context, int32_t thread, int64_t begin, int64_t end) {
  const struct conv_work *w = context;
  const struct conv *c = w->conv;
  const struct train_call *call = w->call;
  float *frame = w->frames + thread * c->frame_floats;
  bool slack = c->forward.dots && taps_ragged(&c->forward);
  bool in_place = !c->in_plain && ex__train_conv_in_place(c, &c->in_frame, call->in[0], slack);
  if (!in_place) memset(frame, 0, 4 * (size_t)c->frame_floats);
  struct fast_conv loop = {.blocks = c->out_blocks,
                           .out_step = call->out.ld,
                           .channels = c->out_c,
                           .pixels = c->out_w,
                           .bias = w->bias};
  ex__train_conv_set_taps(&c->forward, w->weight, &loop);
  void (*run)(const struct fast_conv *) = c->forward.dots ? w->loops->conv_dots : w->loops->conv;
  for (int64_t s = begin; s < end; s++) {
    struct source from =
        ex__train_conv_open(&c->in_frame, call->in[0], s, c->in_plain, in_place, frame);
    float *out = call->out.data + s * c->out_h * c->out_w * call->out.ld;
    loop.in_step = from.step * c->attr.stride;
    if (in_place && c->forward.n == 1 && c->attr.stride == 1) { /* one long row */
      loop.in = from.data;
      loop.out = out;
      loop.pixels = c->out_h * c->out_w;
      run(&loop);
      continue;
    }
    for (int32_t y = 0; y < c->out_h; y++) {
      loop.in = from.data + (int64_t)y * c->attr.stride * from.row;
      loop.out = out + (int64_t)y * c->out_w * call->out.ld;
      run(&loop);
    }
  }
}

static void forward(const struct train_call *call) {
  const struct train *train = train_of(call->program);
  const struct conv *c = call->step->impl;
  int64_t kernel = c->attr.kernel_h * c->attr.kernel_w;
  float *bias = (float *)(void *)call->scratch;
  struct conv_work w = {.call = call, .conv = c, .loops = train->loops};
  w.weight = bias + 16 * c->out_blocks;
  w.frames = w.weight + c->forward.weight_floats;
  ex__train_conv_pack(&c->forward, call->tensor[CONV_WEIGHT], c->in_c, kernel, c->out_c,
                      c->in_c * kernel, w.weight);
  if (c->attr.bias) {
    memset(bias, 0, 64 * (size_t)c->out_blocks);
    memcpy(bias, call->tensor[CONV_BIAS], 4 * (size_t)c->out_c);
    w.bias = bias;
  }
  ex__train_parallel(train->threads, train->batch, forward_samples, &w);
}

static void describe(const struct train_step *step, struct ex_text *text) {
  const struct conv *c = step->impl;
  ex__text_add(text, ", own %s %dx%d, by %s, d(weight) %s", ex__fast_loops()->name,
               (int)c->attr.kernel_h, (int)c->attr.kernel_w, c->forward.dots ? "dots" : "lanes",
               c->turned ? "turned" : "straight");
}

const struct train_step_class ex__train_conv = {
    .name = "conv",
    .strided = true,
    .plan = ex__train_conv_plan,
    .forward = forward,
    .backward = ex__train_conv_backward,
    .free_impl = ex__train_conv_free,
    .describe = describe,
};
