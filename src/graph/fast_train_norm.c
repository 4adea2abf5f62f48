/* SPDX-License-Identifier: Apache-2.0
 *
 * graph/fast_train_norm: batch-norm in training, with the add and the ReLU
 * behind it, in own loops for channels-last and blocked orders.
 *
 * With m and v the mean and biased variance of a channel over the batch,
 * s = w / sqrt(v + eps): y = s · x + (bias − m · s). Backward, with
 * g = dy through the ReLU, P = Σ g, Q = Σ g · (x − m), n values:
 *   dbias = P,  dw = Q / sqrt(v + eps),
 *   dx = s · (g − P/n − (x − m) · Q / (n · (v + eps))) = a · g + b · x + c.
 * Sums are taken about a pivot (the first pixel), or a large mean would eat
 * the variance's digits; PyTorch moves its running variance by the unbiased
 * one. Rows of few channels are grouped so that they fill a vector.
 */
#include <math.h>
#include <string.h>

#include "base/memory.h"
#include "graph/fast_train.h"

enum { WEIGHT, BIAS, RUNNING_MEAN, RUNNING_VAR };
/* Per-channel constants kept from forward to backward, each [channels]. */
enum { KEPT_MEAN, KEPT_INVERSE, KEPT_SCALE, KEPT_SHIFT, N_KEPT };
enum { MAX_GROUP = 16 };

static int64_t channels_of(const struct train_step *step, const ex_program *program) {
  return train_of(program)->values[step->in[0]].channels;
}

/* Scratch: constants of grouped rows [6][channels · MAX_GROUP] floats, then per
 * thread two sums [channels · MAX_GROUP] doubles. */
static enum ex_status plan(const ex_program *program, struct train_step *step,
                           struct ex_error *err) {
  (void)err;
  int64_t wide = channels_of(step, program) * MAX_GROUP;
  int64_t sums = train_of(program)->threads * 2 * wide * (int64_t)sizeof(double);
  step->saved_bytes = N_KEPT * channels_of(step, program) * (int64_t)sizeof(float);
  step->scratch_forward = step->scratch_backward = 6 * wide * (int64_t)sizeof(float) + sums;
  return EX_OK;
}

/* One pass over the rows of a value by several threads. */
struct sweep {
  const struct train_value *value;
  int32_t block, group; /* group: pixels per row of the loops */
  struct fast_norm norm;
  double *sums; /* [threads][2][channels · group], or NULL */
  void (*loop)(const struct fast_norm *norm);
};

static void move_rows(struct fast_rows *rows, int64_t floats) {
  if (rows->data != NULL) rows->data += floats;
}

static void run_part(const struct sweep *sweep, struct fast_norm norm, int32_t thread,
                     int64_t floats, int64_t channel) {
  struct fast_rows *all[] = {&norm.x, &norm.other, &norm.y, &norm.dy, &norm.dx, &norm.dother};
  for (size_t i = 0; i < sizeof all / sizeof *all; i++)
    move_rows(all[i], sweep->value->order == TRAIN_NHWC ? floats * all[i]->ld : floats);
  const float **constants[] = {&norm.scale, &norm.shift, &norm.mean, &norm.a, &norm.b, &norm.c};
  for (size_t i = 0; i < sizeof constants / sizeof *constants; i++)
    if (*constants[i] != NULL) *constants[i] += channel;
  int64_t wide = (int64_t)sweep->value->channels * sweep->group;
  if (sweep->sums != NULL) {
    norm.sum = sweep->sums + 2 * wide * thread + channel;
    norm.sum_of_products = norm.sum + wide;
  }
  sweep->loop(&norm);
}

/* Rows are pixels (or groups of them) in channels-last order. */
static void sweep_pixels(void *context, int32_t thread, int64_t begin, int64_t end) {
  const struct sweep *sweep = context;
  struct fast_norm norm = sweep->norm;
  norm.rows = end - begin;
  norm.width = sweep->value->channels * sweep->group;
  run_part(sweep, norm, thread, begin, 0);
}

/* In blocked order, planes of one block of channels. */
static void sweep_planes(void *context, int32_t thread, int64_t begin, int64_t end) {
  const struct sweep *sweep = context;
  int32_t blocks = sweep->value->channels / sweep->block;
  struct fast_norm norm = sweep->norm;
  norm.rows = sweep->value->plane;
  norm.width = sweep->block;
  for (int64_t plane = begin; plane < end; plane++)
    run_part(sweep, norm, thread, plane * sweep->value->plane * sweep->block,
             plane % blocks * sweep->block);
}

/* Runs a loop over all rows. The leftover pixels of grouped rows are one more
 * call on this thread, whose sums go to thread 0's first group. */
static void run_sweep(const struct train *train, struct sweep *sweep) {
  struct fast_rows *all[] = {&sweep->norm.x,  &sweep->norm.other, &sweep->norm.y,
                             &sweep->norm.dy, &sweep->norm.dx,    &sweep->norm.dother};
  int64_t pixels = (int64_t)train->batch * sweep->value->plane;
  if (sweep->value->order == TRAIN_BLOCKED) {
    for (size_t i = 0; i < 6; i++) all[i]->ld = sweep->block;
    ex__train_parallel(train->threads,
                       (int64_t)train->batch * sweep->value->channels / sweep->block, sweep_planes,
                       sweep);
    return;
  }
  int32_t group = sweep->group;
  struct fast_norm rest = sweep->norm;
  for (size_t i = 0; i < 6; i++) all[i]->ld *= group;
  ex__train_parallel(train->threads, pixels / group, sweep_pixels, sweep);
  if (pixels % group == 0) return;
  struct fast_norm grouped = sweep->norm;
  sweep->norm = rest;
  sweep->norm.rows = pixels % group;
  sweep->norm.width = sweep->value->channels;
  run_part(sweep, sweep->norm, 0, pixels - pixels % group, 0);
  sweep->norm = grouped;
}

/* How many pixels make a row: enough that rows are full vectors, 1 where a
 * slice of a wider array is in play. */
static int32_t group_of(const struct train_value *value, const struct sweep *sweep) {
  const struct fast_norm *n = &sweep->norm;
  const struct fast_rows *all[] = {&n->x, &n->other, &n->y, &n->dy, &n->dx, &n->dother};
  if (value->order == TRAIN_BLOCKED || value->channels % 16 == 0) return 1;
  for (size_t i = 0; i < sizeof all / sizeof *all; i++)
    if (all[i]->data != NULL && all[i]->ld != value->channels) return 1;
  int32_t group = 1;
  while (value->channels * group % 16 != 0) group *= 2;
  return group;
}

static float *constants_at(const struct train_call *call, int32_t which) {
  return (float *)(void *)call->scratch + which * (int64_t)train_in(call, 0)->channels * MAX_GROUP;
}

static double *sums_at(const struct train_call *call) {
  return (double *)(void *)constants_at(call, 6);
}

/* Repeats the first `channels` constants for every pixel of a group. */
static const float *repeat(float *constants, int32_t channels, int32_t group) {
  for (int32_t i = channels; i < channels * group; i++) constants[i] = constants[i - channels];
  return constants;
}

static void clear_sums(const struct train *train, const struct sweep *sweep) {
  int64_t wide = (int64_t)sweep->value->channels * sweep->group;
  memset(sweep->sums, 0, (size_t)(train->threads * 2 * wide) * sizeof(double));
}

/* Folds threads and groups into sums[0 … channels) and products[0 … channels). */
static void fold_sums(const struct train *train, const struct sweep *sweep, int32_t c, double *sum,
                      double *product) {
  int64_t wide = (int64_t)sweep->value->channels * sweep->group;
  *sum = *product = 0;
  for (int32_t t = 0; t < train->threads; t++)
    for (int32_t g = 0; g < sweep->group; g++) {
      const double *at = sweep->sums + 2 * wide * t + g * sweep->value->channels + c;
      *sum += at[0];
      *product += at[wide];
    }
}

static struct sweep make_sweep(const struct train_call *call) {
  const struct train *train = train_of(call->program);
  return (struct sweep){.value = train_in(call, 0), .block = train->block, .group = 1};
}

/* Channel c of the first pixel: near enough to the mean for its digits. */
static float pivot_of(const struct train_call *call, int32_t c) {
  const struct train_value *value = train_in(call, 0);
  int32_t block = train_of(call->program)->block;
  if (value->order != TRAIN_BLOCKED) return call->in[0].data[c];
  return call->in[0].data[(int64_t)(c / block) * value->plane * block + c % block];
}

static void set_constants(const struct train_call *call, int32_t c, double mean, double var) {
  const struct ex_batch_norm *attr = call->step->node->attr;
  const struct train_value *value = train_in(call, 0);
  float *kept = call->saved;
  double inverse = 1 / sqrt(var + attr->eps);
  kept[KEPT_MEAN * value->channels + c] = (float)mean;
  kept[KEPT_INVERSE * value->channels + c] = (float)inverse;
  float scale = call->tensor[WEIGHT][c] * (float)inverse;
  kept[KEPT_SCALE * value->channels + c] = scale;
  kept[KEPT_SHIFT * value->channels + c] = (float)(call->tensor[BIAS][c] - mean * scale);
}

static void move_statistics(const struct train_call *call, int32_t c, double mean, double var) {
  const struct ex_batch_norm *attr = call->step->node->attr;
  double count = (double)train_of(call->program)->batch * train_in(call, 0)->plane;
  double unbiased = count > 1 ? var * count / (count - 1) : var;
  float *running_mean = call->tensor[RUNNING_MEAN], *running_var = call->tensor[RUNNING_VAR];
  if (running_mean != NULL)
    running_mean[c] = (float)((1 - attr->momentum) * running_mean[c] + attr->momentum * mean);
  if (running_var != NULL)
    running_var[c] = (float)((1 - attr->momentum) * running_var[c] + attr->momentum * unbiased);
}

static void find_statistics(const struct train_call *call) {
  const struct train *train = train_of(call->program);
  const struct train_value *value = train_in(call, 0);
  struct sweep sweep = make_sweep(call);
  sweep.norm.x = call->in[0];
  sweep.group = group_of(value, &sweep);
  sweep.sums = sums_at(call);
  sweep.loop = train->loops->norm_sums;
  float *pivot = constants_at(call, 0);
  for (int32_t c = 0; c < value->channels; c++) pivot[c] = pivot_of(call, c);
  sweep.norm.mean = repeat(pivot, value->channels, sweep.group);
  clear_sums(train, &sweep);
  run_sweep(train, &sweep);
  double count = (double)train->batch * value->plane;
  for (int32_t c = 0; c < value->channels; c++) {
    double sum, squares;
    fold_sums(train, &sweep, c, &sum, &squares);
    double shift = sum / count, var = squares / count - shift * shift;
    set_constants(call, c, pivot[c] + shift, var > 0 ? var : 0);
    move_statistics(call, c, pivot[c] + shift, var > 0 ? var : 0);
  }
}

static const float *kept(const struct train_call *call, int32_t which, int32_t slot,
                         int32_t group) {
  int32_t channels = train_in(call, 0)->channels;
  float *to = constants_at(call, slot);
  memcpy(to, (const float *)call->saved + (int64_t)which * channels, (size_t)channels * sizeof *to);
  return repeat(to, channels, group);
}

static void apply(const struct train_call *call) {
  const struct train *train = train_of(call->program);
  struct sweep sweep = make_sweep(call);
  sweep.norm.x = call->in[0];
  sweep.norm.y = call->out;
  if (call->step->residual) sweep.norm.other = call->in[1];
  sweep.norm.relu = call->step->relu;
  sweep.group = group_of(sweep.value, &sweep);
  sweep.norm.scale = kept(call, KEPT_SCALE, 1, sweep.group);
  sweep.norm.shift = kept(call, KEPT_SHIFT, 2, sweep.group);
  sweep.loop = train->loops->norm_apply;
  run_sweep(train, &sweep);
}

static void forward(const struct train_call *call) {
  const float *mean = call->tensor[RUNNING_MEAN], *var = call->tensor[RUNNING_VAR];
  if (!train_of(call->program)->frozen)
    find_statistics(call);
  else
    for (int32_t c = 0; c < train_in(call, 0)->channels; c++)
      set_constants(call, c, mean[c], var[c]);
  apply(call);
}

/* dw and dbias, and the constants of dx = a · g + b · x + c. */
static void close_sums(const struct train_call *call, const struct sweep *sweep) {
  const struct train *train = train_of(call->program);
  int32_t channels = sweep->value->channels;
  const float *saved = call->saved;
  double count = (double)train->batch * sweep->value->plane;
  float *a = constants_at(call, 3), *b = constants_at(call, 4), *c = constants_at(call, 5);
  for (int32_t k = 0; k < channels; k++) {
    double sum, product;
    fold_sums(train, sweep, k, &sum, &product);
    double mean = saved[KEPT_MEAN * channels + k], inverse = saved[KEPT_INVERSE * channels + k];
    double scale = saved[KEPT_SCALE * channels + k];
    if (call->dtensor[WEIGHT] != NULL) call->dtensor[WEIGHT][k] += (float)(product * inverse);
    if (call->dtensor[BIAS] != NULL) call->dtensor[BIAS][k] += (float)sum;
    double slope = -scale * product * inverse * inverse / count;
    a[k] = (float)scale;
    b[k] = (float)slope;
    c[k] = (float)(-scale * sum / count - slope * mean);
  }
  repeat(a, channels, sweep->group);
  repeat(b, channels, sweep->group);
  repeat(c, channels, sweep->group);
}

static void backward(const struct train_call *call) {
  const struct train *train = train_of(call->program);
  struct sweep sweep = make_sweep(call);
  sweep.norm.x = call->in[0];
  sweep.norm.dy = call->dout;
  sweep.norm.dx = call->din[0];
  sweep.norm.add_dx = call->add[0];
  sweep.norm.relu = call->step->relu;
  if (call->step->residual) {
    if (call->step->relu) sweep.norm.y = call->out;
    sweep.norm.dother = call->din[1];
    sweep.norm.add_dother = call->add[1];
  }
  sweep.group = group_of(sweep.value, &sweep);
  sweep.sums = sums_at(call);
  sweep.norm.mean = kept(call, KEPT_MEAN, 0, sweep.group);
  sweep.norm.scale = kept(call, KEPT_SCALE, 1, sweep.group);
  sweep.norm.shift = kept(call, KEPT_SHIFT, 2, sweep.group);
  sweep.loop = train->loops->norm_grad_sums;
  clear_sums(train, &sweep);
  struct sweep second = sweep;
  run_sweep(train, &sweep);
  close_sums(call, &sweep);
  if (call->din[0].data == NULL && (!call->step->residual || call->din[1].data == NULL)) return;
  second.sums = NULL;
  second.norm.a = constants_at(call, 3);
  second.norm.b = constants_at(call, 4);
  second.norm.c = constants_at(call, 5);
  second.loop = train->loops->norm_grad;
  run_sweep(train, &second);
}

const struct train_step_class ex__train_norm = {
    .name = "norm",
    .strided = true,
    .elementwise = true,
    .plan = plan,
    .forward = forward,
    .backward = backward,
    .remake = apply,
};
