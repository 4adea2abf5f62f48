/* SPDX-License-Identifier: Apache-2.0
 *
 * graph/fast_train_rows: steps that move or add numbers and hold no state:
 * ReLU, add (+ ReLU), concatenation. All take slices.
 */
#include "graph/fast_train.h"

/* Up to three arrays of one value's shape, cut into rows. */
struct rows_work {
  const struct fast_loops *loops;
  struct fast_rows a, b, to;
  int64_t width; /* of a row; 0: the arrays are dense */
  bool relu, add;
};

static void run_rows(const struct train *train, const struct train_value *value,
                     struct rows_work *work, train_range *run) {
  bool dense = train_dense(value, work->a) && train_dense(value, work->to) &&
               (work->b.data == NULL || train_dense(value, work->b));
  work->loops = train->loops;
  work->width = dense ? 0 : value->channels;
  ex__train_parallel(train->threads, dense ? value->count : (int64_t)train->batch * value->plane,
                     run, work);
}

/* Row r of an array; with dense arrays the part that begins at element r. */
static float *row_at(const struct rows_work *work, struct fast_rows rows, int64_t r) {
  return rows.data + (work->width > 0 ? r * rows.ld : r);
}

/* ---- ReLU -------------------------------------------------------------------- */

static void relu_rows(void *context, int32_t thread, int64_t begin, int64_t end) {
  (void)thread;
  const struct rows_work *w = context;
  int64_t width = w->width > 0 ? w->width : end - begin;
  for (int64_t r = begin; r<end; r += w->width> 0 ? 1 : width)
    w->loops->relu(width, row_at(w, w->a, r), row_at(w, w->to, r));
}

static void relu_forward(const struct train_call *call) {
  struct rows_work work = {.a = call->in[0], .to = call->out};
  run_rows(train_of(call->program), train_out(call), &work, relu_rows);
}

static void relu_grad_rows(void *context, int32_t thread, int64_t begin, int64_t end) {
  (void)thread;
  const struct rows_work *w = context;
  int64_t width = w->width > 0 ? w->width : end - begin;
  for (int64_t r = begin; r<end; r += w->width> 0 ? 1 : width)
    w->loops->relu_grad(width, row_at(w, w->a, r), row_at(w, w->b, r), row_at(w, w->to, r), w->add);
}

static void relu_backward(const struct train_call *call) {
  if (call->din[0].data == NULL) return;
  struct rows_work work = {
      .a = call->out, .b = call->dout, .to = call->din[0], .add = call->add[0]};
  run_rows(train_of(call->program), train_out(call), &work, relu_grad_rows);
}

const struct train_step_class ex__train_relu = {
    .name = "relu",
    .strided = true,
    .elementwise = true,
    .forward = relu_forward,
    .backward = relu_backward,
};

/* ---- add ------------------------------------------------------------------------ */

static void add_rows(void *context, int32_t thread, int64_t begin, int64_t end) {
  (void)thread;
  const struct rows_work *w = context;
  int64_t width = w->width > 0 ? w->width : end - begin;
  for (int64_t r = begin; r<end; r += w->width> 0 ? 1 : width)
    w->loops->add(width, row_at(w, w->a, r), row_at(w, w->b, r), row_at(w, w->to, r), w->relu);
}

static void add_forward(const struct train_call *call) {
  struct rows_work work = {
      .a = call->in[0], .b = call->in[1], .to = call->out, .relu = call->step->relu};
  run_rows(train_of(call->program), train_out(call), &work, add_rows);
}

/* The second input first: the first one's gradient may lie on dout. */
static void add_backward(const struct train_call *call) {
  const struct train *train = train_of(call->program);
  for (int32_t i = 1; i >= 0; i--) {
    struct fast_rows din = call->din[i];
    if (din.data == NULL || (!call->step->relu && din.data == call->dout.data)) continue;
    struct rows_work work = {.a = call->out, .b = call->dout, .to = din, .add = call->add[i]};
    if (call->step->relu)
      run_rows(train, train_out(call), &work, relu_grad_rows);
    else
      ex__train_copy(train, train_out(call), call->dout, din, call->add[i]);
  }
}

const struct train_step_class ex__train_add = {
    .name = "add",
    .strided = true,
    .elementwise = true,
    .forward = add_forward,
    .backward = add_backward,
};

/* ---- concatenation ----------------------------------------------------------------- */

static struct fast_rows part_of(struct fast_rows whole, int32_t channel) {
  return (struct fast_rows){whole.data + channel, whole.ld};
}

/* Parts that are slices of the output are there already. */
static void concat_forward(const struct train_call *call) {
  int32_t channel = 0;
  for (int32_t i = 0; i < call->step->n_in; channel += train_in(call, i)->channels, i++) {
    struct fast_rows to = part_of(call->out, channel);
    if (call->in[i].data != to.data)
      ex__train_copy(train_of(call->program), train_in(call, i), call->in[i], to, false);
  }
}

static void concat_backward(const struct train_call *call) {
  int32_t channel = 0;
  for (int32_t i = 0; i < call->step->n_in; channel += train_in(call, i)->channels, i++) {
    struct fast_rows from = part_of(call->dout, channel);
    if (call->din[i].data != NULL && call->din[i].data != from.data)
      ex__train_copy(train_of(call->program), train_in(call, i), from, call->din[i], call->add[i]);
  }
}

const struct train_step_class ex__train_concat = {
    .name = "concat",
    .strided = true,
    .forward = concat_forward,
    .backward = concat_backward,
};
