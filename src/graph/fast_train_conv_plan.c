/* SPDX-License-Identifier: Apache-2.0
 *
 * graph/fast_train_conv_plan: where the taps of a convolution lie, forward and
 * for the gradient of its input, and how they are gathered.
 *
 * The gradient of the input is a convolution of dout by stride phases: input
 * rows y = s·a + r see kernel rows k with s | r + pad − k·dilation, at dout row
 * a + (r + pad − k·dilation) / s, so each phase is a stride-1 convolution with
 * its own taps. Channels of the input that are blocked are left out, where what
 * is left on both sides of them costs less than all.
 */
#include "base/memory.h"
#include "graph/fast_train_conv.h"

static int64_t round_up(int64_t n, int64_t to) { return (n + to - 1) / to * to; }

static void add_tap(struct taps *taps, int32_t offset, int32_t length, int32_t kernel) {
  int32_t last = taps->n_segments - 1;
  taps->kernel[taps->n++] = kernel;
  if (last >= 0 && taps->offset[last] + taps->length[last] == offset) {
    taps->length[last] += length;
    return;
  }
  taps->offset[last + 1] = offset;
  taps->length[last + 1] = length;
  taps->n_segments++;
}

static void plan_forward(struct conv *c) {
  const struct ex_conv2d *a = &c->attr;
  struct frame *f = &c->in_frame;
  *f = (struct frame){c->in_h, c->in_w, c->in_c, a->pad_h, a->pad_w, 0, 0};
  f->rows = c->in_h + 2 * a->pad_h;
  f->columns = c->in_w + 2 * a->pad_w;
  for (int32_t h = 0; h < a->kernel_h; h++)
    for (int32_t w = 0; w < a->kernel_w; w++)
      add_tap(&c->forward, (h * f->columns + w) * a->dilation * c->in_c, c->in_c,
              h * a->kernel_w + w);
}

/* Along one axis: dout position of input position s·a + r under tap k, less a;
 * false where no output reads it there. */
static bool tap_shift(const struct ex_conv2d *attr, int32_t r, int32_t pad, int32_t k,
                      int32_t *shift) {
  int32_t at = r + pad - k * attr->dilation;
  *shift = at / attr->stride;
  return at % attr->stride == 0;
}

/* Margins of dout along one axis, so that every tap of every phase is inside. */
static void plan_margin(const struct ex_conv2d *attr, int32_t kernel, int32_t pad, int32_t in,
                        int32_t out, int32_t *before, int32_t *whole) {
  int32_t behind = 0, shift;
  *before = 0;
  for (int32_t r = 0; r < attr->stride; r++)
    for (int32_t k = 0; k < kernel; k++) {
      if (!tap_shift(attr, r, pad, k, &shift) || r >= in) continue;
      int32_t last = (in - 1 - r) / attr->stride + shift;
      if (-shift > *before) *before = -shift;
      if (last - (out - 1) > behind) behind = last - (out - 1);
    }
  *whole = *before + out + behind;
}

static void plan_phase(struct conv *c, int32_t row, int32_t column, struct taps *taps) {
  const struct ex_conv2d *a = &c->attr;
  const struct frame *f = &c->dout_frame;
  int32_t dy, dx;
  for (int32_t h = a->kernel_h - 1; h >= 0; h--) {
    if (!tap_shift(a, row, a->pad_h, h, &dy)) continue;
    for (int32_t w = a->kernel_w - 1; w >= 0; w--)
      if (tap_shift(a, column, a->pad_w, w, &dx))
        add_tap(taps, ((dy + f->top) * f->columns + dx + f->left) * c->out_c, c->out_c,
                h * a->kernel_w + w);
  }
}

static enum ex_status plan_backward(struct conv *c, struct ex_error *err) {
  const struct ex_conv2d *a = &c->attr;
  struct frame *f = &c->dout_frame;
  *f = (struct frame){.height = c->out_h, .width = c->out_w, .channels = c->out_c};
  plan_margin(a, a->kernel_h, a->pad_h, c->in_h, c->out_h, &f->top, &f->rows);
  plan_margin(a, a->kernel_w, a->pad_w, c->in_w, c->out_w, &f->left, &f->columns);
  size_t n = (size_t)a->stride * (size_t)a->stride;
  for (int32_t p = 0; p < 2; p++) {
    struct taps *phases = c->part[p].phases = ex__calloc(n, sizeof *phases);
    if (phases == NULL) return ex__fail(err, EX_ENOMEM, "convolution: no memory");
    for (int32_t r = 0; r < a->stride; r++)
      for (int32_t q = 0; q < a->stride; q++) plan_phase(c, r, q, &phases[r * a->stride + q]);
  }
  return EX_OK;
}

static int64_t frame_floats(const struct frame *f) {
  return round_up((int64_t)f->rows * f->columns * f->channels + 16, 16);
}

/* Chooses lanes or dots by the multiply-adds of four pixels, and returns them;
 * the sum over the lanes of 4 × 4 registers costs about as much as three of
 * their products. */
static int64_t choose_gathering(const struct fast_loops *loops, int32_t outputs,
                                struct taps *taps) {
  int64_t elements = 0, chunks = 0, blocks = (outputs + 15) / 16, groups = (outputs + 3) / 4;
  for (int32_t s = 0; s < taps->n_segments; s++) {
    elements += taps->length[s];
    chunks += (taps->length[s] + 15) / 16;
  }
  int64_t dots = 16 * groups * (chunks + 3), lanes = 4 * blocks * elements;
  taps->dots = loops->conv_dots != NULL && dots < lanes;
  taps->weight_floats = 16 * (taps->dots ? 4 * groups * chunks : blocks * elements);
  return taps->dots ? dots : lanes;
}

/* Chooses what the weight's gradient spreads, and returns the floats of its sum. */
static int64_t choose_turned(struct conv *c) {
  int64_t straight = 0, turned = 0;
  for (int32_t s = 0; s < c->forward.n_segments; s++) {
    straight += c->forward.length[s] * c->out_blocks;
    turned += (c->forward.length[s] + 15) / 16 * c->out_c;
  }
  c->turned = turned < straight;
  return 16 * (c->turned ? turned : straight);
}

/* The gradient of the input in these parts of its channels; returns the cost. */
static int64_t plan_parts(const struct train *train, struct conv *c, int32_t n, const int32_t *from,
                          const int32_t *to) {
  int64_t cost = 0;
  c->n_parts = n;
  c->phase_floats = 0;
  for (int32_t p = 0; p < n; p++) {
    struct data_part *part = &c->part[p];
    part->channel = from[p];
    part->channels = to[p] - from[p];
    part->blocks = (part->channels + 15) / 16;
    for (int32_t i = 0; i < c->attr.stride * c->attr.stride; i++) {
      cost += choose_gathering(train->loops, part->channels, &part->phases[i]);
      c->phase_floats += part->phases[i].weight_floats;
    }
  }
  return cost;
}

static void choose_parts(const struct train *train, struct conv *c, const struct train_value *in) {
  int32_t from[2], to[2], none = 0;
  int32_t n = ex__train_wanted_parts(in, from, to);
  int64_t parts = plan_parts(train, c, n, from, to);
  if (n == 0 || plan_parts(train, c, 1, &none, &c->in_c) > parts) plan_parts(train, c, n, from, to);
}

static void plan_gathering(const struct train *train, struct conv *c,
                           const struct train_value *in) {
  choose_gathering(train->loops, c->out_c, &c->forward);
  choose_parts(train, c, in);
  int64_t bias_sums = 4LL * 16 * c->out_blocks; /* two doubles each share the room */
  c->dweight_floats = choose_turned(c) + bias_sums;
  c->lane_floats =
      c->out_c % 16 != 0 && !c->turned ? 16LL * c->out_blocks * c->out_h * c->out_w : 0;
}

/* The gradient of a plain image is made channels-last, and then rearranged. */
static bool wants_plain(const struct conv *c, const struct train_value *in) {
  return c->in_plain && c->in_c > 1 && in->wanted;
}

static struct conv make_conv(const struct ex_conv2d *attr, const struct train_value *in,
                             const struct train_value *out) {
  return (struct conv){.attr = *attr,
                       .in_c = in->channels,
                       .in_h = in->shape.dim[1],
                       .in_w = in->shape.dim[2],
                       .out_c = out->channels,
                       .out_h = out->shape.dim[1],
                       .out_w = out->shape.dim[2],
                       .in_plain = in->order == TRAIN_PLAIN,
                       .out_blocks = (out->channels + 15) / 16};
}

enum ex_status ex__train_conv_plan(const ex_program *program, struct train_step *step,
                                   struct ex_error *err) {
  const struct train *train = train_of(program);
  const struct train_value *in = &train->values[step->in[0]], *out = &train->values[step->out];
  struct conv *c = step->impl = ex__calloc(1, sizeof *c);
  if (c == NULL) return ex__fail(err, EX_ENOMEM, "convolution: no memory");
  *c = make_conv(step->node->attr, in, out);
  plan_forward(c);
  EX_TRY(plan_backward(c, err));
  plan_gathering(train, c, in);
  step->data_macs = 0;
  for (int32_t p = 0; p < c->n_parts; p++)
    step->data_macs += step->macs / c->in_c * c->part[p].channels;
  int64_t a = frame_floats(&c->in_frame), b = frame_floats(&c->dout_frame);
  c->frame_floats = a > b ? a : b;
  step->scratch_forward =
      4 * (c->forward.weight_floats + 16 * c->out_blocks + train->threads * c->frame_floats);
  step->scratch_backward =
      4 * (c->phase_floats +
           train->threads * (2 * c->frame_floats + c->lane_floats + c->dweight_floats) +
           (wants_plain(c, in) ? 2 * in->count : 0));
  return EX_OK;
}

void ex__train_conv_free(void *impl) {
  struct conv *c = impl;
  for (int32_t p = 0; p < 2; p++) ex__free(c->part[p].phases);
  ex__free(c);
}
