/* SPDX-License-Identifier: Apache-2.0
 *
 * graph/fast_train: the fast training backend; it compiles a segment into
 * steps and runs them forward and backward.
 *
 * Backward goes through the steps in falling order. A step works only if a
 * gradient has arrived at its output. The first contribution to a gradient
 * writes, later ones add; where several gradients are slices of one array,
 * the array is zeroed before its first part is written. A seed (dout) at an
 * out port that nobody in the segment reads is used where it lies.
 *
 * Frozen segments run here too, so that their ports are in the order that the
 * trained segments beside them use: with the parameters of the call and the
 * batch-norm statistics of when they were compiled or packed, keeping nothing.
 */
#include <inttypes.h>
#include <string.h>

#include "base/memory.h"
#include "graph/fast_train.h"

struct train_run {
  void **state;  /* [n_steps] of the step classes */
  bool *arrived; /* [n_values] some gradient has reached it */
  bool *started; /* [n_values] its gradient's array holds something */
  bool *remade;  /* [n_values] */
};

/* ---- compiling ------------------------------------------------------------- */

static void free_impl(ex_program *program) {
  struct train *train = train_of(program);
  if (train == NULL) return;
  for (int32_t s = 0; s < train->n_steps; s++) {
    struct train_step *step = &train->steps[s];
    if (step->impl == NULL) continue;
    if (step->class->free_impl != NULL)
      step->class->free_impl(step->impl);
    else
      ex__free(step->impl);
  }
  ex__slabs_free(train->statistics);
  ex__dnn_free(train->dnn);
  ex__free(train->steps);
  ex__free(train->values);
  ex__free(train);
  program->impl = NULL;
}

static enum ex_status compile(ex_program *program, const ex_slabs *params, const ex_slabs *buffers,
                              struct ex_error *err) {
  (void)params; /* read at every call */
  struct train *train = program->impl = ex__calloc(1, sizeof *train);
  if (train == NULL) return ex__fail(err, EX_ENOMEM, "training program: no memory");
  const struct ex_program_options *options = &program->options;
  train->loops = ex__fast_loops();
  train->batch = options->batch;
  train->threads = options->threads;
  train->block = strncmp(ex__dnn_isa(), "avx512", 6) == 0 ? 16 : 8;
  train->layout =
      options->layout != EX_LAYOUT_AUTO
          ? options->layout
          : ex__layout_choose(program->graph, options->batch, options->threads, options->plan);
  train->frozen = options->frozen;
  enum ex_status status = ex__train_build(program, err);
  if (status == EX_OK) status = ex__train_place(program, err);
  if (status == EX_OK && train->frozen) {
    status = ex__slabs_new(program->graph, EX_SLABS_BUFFERS, &train->statistics);
    if (status == EX_OK) ex__slabs_copy(train->statistics, buffers);
  }
  if (status != EX_OK) {
    free_impl(program);
    program->saved_bytes = program->transient_bytes = 0;
  }
  return status;
}

static void repack(ex_program *program, const ex_slabs *params, const ex_slabs *buffers) {
  (void)params;
  if (train_of(program)->frozen) ex__slabs_copy(train_of(program)->statistics, buffers);
}

/* ---- ports ------------------------------------------------------------------- */

static struct train_value port_value(const ex_program *program, int32_t id) {
  const struct ex_node *node = ex__graph_node(program->graph, id);
  struct train_value value = {.id = id, .shape = node->shape};
  value.order = ex__train_order(program, id, train_of(program)->block);
  value.channels = node->shape.dim[0];
  value.plane = node->shape.rank == 3 ? node->shape.dim[1] * node->shape.dim[2] : 1;
  return value;
}

static int64_t port_size(const ex_program *program, int32_t id) {
  return program->options.batch * ex__shape_count(&ex__graph_node(program->graph, id)->shape);
}

static void to_plain(const ex_program *program, int32_t id, int32_t n, const ex_real *port,
                     ex_real *plain) {
  struct train_value value = port_value(program, id);
  struct fast_rows rows = {(float *)(uintptr_t)port, value.channels};
  ex__train_to_plain(train_of(program), &value, n, rows, plain);
}

static void from_plain(const ex_program *program, int32_t id, int32_t n, const ex_real *plain,
                       ex_real *port) {
  struct train_value value = port_value(program, id);
  struct fast_rows rows = {port, value.channels};
  ex__train_from_plain(train_of(program), &value, n, plain, rows, false);
}

/* ---- runs ---------------------------------------------------------------------- */

static void run_free(ex_run *run) {
  struct train_run *state = run->impl;
  if (state == NULL) return;
  const struct train *train = train_of(run->program);
  for (int32_t s = 0; state->state != NULL && s < train->n_steps; s++)
    if (state->state[s] != NULL) train->steps[s].class->state_free(state->state[s]);
  ex__free(state->state);
  ex__free(state->arrived);
  ex__free(state->started);
  ex__free(state->remade);
  ex__free(state);
  run->impl = NULL;
}

static enum ex_status run_new(ex_run *run, struct ex_error *err) {
  const struct train *train = train_of(run->program);
  struct train_run *state = run->impl = ex__calloc(1, sizeof *state);
  size_t n = (size_t)train->n_values;
  enum ex_status status = EX_ENOMEM;
  if (state != NULL) {
    state->state = ex__calloc((size_t)train->n_steps, sizeof *state->state);
    state->arrived = ex__calloc(n, sizeof *state->arrived);
    state->started = ex__calloc(n, sizeof *state->started);
    state->remade = ex__calloc(n, sizeof *state->remade);
    if (state->state && state->arrived && state->started && state->remade) status = EX_OK;
  }
  for (int32_t s = 0; status == EX_OK && s < train->n_steps; s++)
    if (train->steps[s].class->state_new != NULL)
      status = train->steps[s].class->state_new(&train->steps[s], &state->state[s]);
  if (status == EX_OK) return EX_OK;
  run_free(run);
  return ex__fail(err, status, "training run: no memory for %d steps", (int)train->n_steps);
}

/* What one forward or backward call has at hand. */
struct pass {
  ex_run *run;
  const struct ex_pass *given;
  const float *const *in;
  float *const *out;
  float *const *din;
  bool backward;
};

static struct fast_rows locate(const struct pass *p, int32_t value) {
  const struct train *train = train_of(p->run->program);
  const struct train_value *v = &train->values[value], *host = &train->values[v->host];
  char *saved = p->run->saved, *transient = p->run->transient;
  float *base = NULL;
  switch (host->place) {
    case TRAIN_SAVED: base = (float *)(void *)(saved + host->offset); break;
    case TRAIN_TRANSIENT:
      if (p->backward) return (struct fast_rows){NULL, v->ld}; /* gone by now */
      base = (float *)(void *)(transient + host->offset);
      break;
    case TRAIN_IN_PORT: base = (float *)(uintptr_t)p->in[host->in_port]; break;
    case TRAIN_OUT_PORT: base = p->out[host->out_port]; break;
  }
  return (struct fast_rows){base + v->channel, v->ld};
}

static void set_tensors(const struct pass *p, struct train_call *call) {
  const ex_graph *graph = p->run->program->graph;
  const struct ex_node *node = call->step->node;
  const struct train *train = train_of(p->run->program);
  const ex_slabs *buffers = train->frozen ? train->statistics : p->given->buffers;
  for (int32_t t = 0; t < node->n_tensors; t++) {
    const struct ex_tensor_info *info = ex__graph_tensor(graph, node->tensor[t]);
    bool is_buffer = info->role == EX_ROLE_BUFFER;
    const ex_slabs *slabs = is_buffer ? buffers : p->given->params;
    const ex_slabs *grads = is_buffer ? NULL : p->given->grads;
    if (slabs != NULL) call->tensor[t] = slabs->data[info->slab] + info->offset;
    if (grads != NULL && grads->data[info->slab] != NULL)
      call->dtensor[t] = grads->data[info->slab] + info->offset;
  }
}

static struct train_call make_call(const struct pass *p, int32_t s) {
  const struct train *train = train_of(p->run->program);
  const struct train_step *step = &train->steps[s];
  char *saved = p->run->saved, *transient = p->run->transient;
  struct train_call call = {.program = p->run->program,
                            .step = step,
                            .pass = p->given,
                            .state = ((struct train_run *)p->run->impl)->state[s]};
  for (int32_t i = 0; i < step->n_in; i++) call.in[i] = locate(p, step->in[i]);
  call.out = locate(p, step->out);
  if (step->saved_bytes > 0) call.saved = saved + step->saved_offset;
  call.scratch = transient + (p->backward ? step->offset_backward : step->offset_forward);
  set_tensors(p, &call);
  return call;
}

static void forward(ex_run *run, const struct ex_pass *pass, const ex_real *const *in,
                    ex_real *const *out) {
  const struct train *train = train_of(run->program);
  struct pass p = {.run = run, .given = pass, .in = in, .out = out};
  int32_t before = ex__dnn_threads(train->threads);
  for (int32_t s = 0; s < train->n_steps; s++) {
    struct train_call call = make_call(&p, s);
    train->steps[s].class->forward(&call);
    run->executed_macs += train->steps[s].macs;
  }
  ex__dnn_threads(before);
}

/* ---- backward --------------------------------------------------------------------- */

/* The array of a value's gradient; data NULL where it has none. */
static struct fast_rows locate_gradient(const struct pass *p, int32_t value) {
  const struct train *train = train_of(p->run->program);
  const struct train_value *v = &train->values[value], *host = &train->values[v->grad_host];
  struct fast_rows rows = {NULL, v->grad_ld};
  if (!v->wanted) return rows;
  if (v->in_port >= 0) {
    rows.data = p->din != NULL ? p->din[v->in_port] : NULL;
  } else {
    char *at = (char *)p->run->transient + host->grad_offset;
    rows.data = (float *)(void *)at + v->grad_channel;
  }
  return rows;
}

/* Says whether the next contribution to a gradient adds, and notes that it is
 * made. Slices share their host's flag, and the host is zeroed if a part of it
 * comes first, as an array is where its first contribution is `partial`: leaves
 * out what is blocked. Aliases of element-wise steps have a flag of their own. */
static bool start(const struct pass *p, int32_t value, bool partial) {
  const struct train *train = train_of(p->run->program);
  struct train_run *state = p->run->impl;
  const struct train_value *v = &train->values[value];
  int32_t flag = v->slice ? v->grad_host : value;
  bool add = state->started[flag];
  bool part = flag != value && train->values[flag].channels != v->channels;
  bool holes = partial && flag == v->grad_host;
  if (!add && (part || holes)) {
    struct fast_rows whole = locate_gradient(p, flag);
    if (whole.data != NULL)
      memset(whole.data, 0, (size_t)train->values[flag].count * sizeof(float));
    add = true;
  }
  state->started[flag] = true;
  state->arrived[value] = true;
  return add;
}

static bool has_slices(const struct train *train, int32_t value) {
  const struct train_step *producer = &train->steps[train->values[value].producer];
  return producer->class == &ex__train_concat || train->values[value].grad_host != value;
}

/* The gradient of a step's output, the seed from outside included; data NULL
 * where nothing has arrived. */
static struct fast_rows collect_gradient(const struct pass *p, int32_t value,
                                         const float *const *dout) {
  const struct train *train = train_of(p->run->program);
  const struct train_run *state = p->run->impl;
  const struct train_value *v = &train->values[value];
  const float *seed = v->out_port >= 0 ? dout[v->out_port] : NULL;
  if (!v->wanted || (seed == NULL && !state->arrived[value])) return (struct fast_rows){NULL, 0};
  struct fast_rows from = {(float *)(uintptr_t)seed, v->channels};
  if (seed != NULL && !state->arrived[value] && !has_slices(train, value)) return from;
  struct fast_rows to = locate_gradient(p, value);
  if (seed != NULL) ex__train_copy(train, v, from, to, start(p, value, false));
  return to;
}

/* Makes a value again, once in a backward, after what it is made from. A
 * residual is made from what no other residual has to be remade for, so this
 * goes as deep as norms follow each other, which is two. */
static struct fast_rows remake(const struct pass *p, int32_t value) {
  const struct train *train = train_of(p->run->program);
  struct train_run *state = p->run->impl;
  const struct train_value *v = &train->values[value];
  float *at = (float *)(void *)((char *)p->run->transient + v->remake_offset);
  struct fast_rows rows = {at, v->ld};
  if (state->remade[value]) return rows;
  struct train_call make = make_call(p, v->producer);
  for (int32_t i = 0; i < make.step->n_in; i++)
    if (train->values[make.step->in[i]].remade) make.in[i] = remake(p, make.step->in[i]);
  make.out = rows;
  make.step->class->remake(&make);
  state->remade[value] = true;
  return rows;
}

static void remake_needed(const struct pass *p, struct train_call *call) {
  const struct train *train = train_of(p->run->program);
  const struct train_step *step = call->step;
  for (int32_t i = 0; i < step->n_in; i++)
    if (step->needs_input[i] && train->values[step->in[i]].remade)
      call->in[i] = remake(p, step->in[i]);
  if (step->needs_output && train->values[step->out].remade) call->out = remake(p, step->out);
}

static void backward_step(const struct pass *p, int32_t s, const float *const *dout) {
  const struct train_step *step = &train_of(p->run->program)->steps[s];
  struct fast_rows gradient = collect_gradient(p, step->out, dout);
  if (gradient.data == NULL) return;
  struct train_call call = make_call(p, s);
  call.dout = gradient;
  for (int32_t i = 0; i < step->n_in; i++) {
    call.din[i] = locate_gradient(p, step->in[i]);
    bool partial = step->data_macs < step->macs; /* of a product, whose input is the first */
    if (call.din[i].data != NULL) call.add[i] = start(p, step->in[i], partial);
  }
  remake_needed(p, &call);
  if (step->has_params) {
    if (call.dtensor[0] != NULL) p->run->backward_macs += step->macs;
    if (call.din[0].data != NULL) p->run->backward_macs += step->data_macs;
  }
  step->class->backward(&call);
}

static void backward(ex_run *run, const struct ex_pass *pass, const ex_real *const *in,
                     ex_real *const *out, const ex_real *const *dout, ex_real *const *din,
                     const bool *din_add) {
  const ex_program *program = run->program;
  const struct train *train = train_of(program);
  struct train_run *state = run->impl;
  struct pass p = {run, pass, in, out, din, true};
  memset(state->arrived, 0, (size_t)train->n_values * sizeof *state->arrived);
  memset(state->started, 0, (size_t)train->n_values * sizeof *state->started);
  memset(state->remade, 0, (size_t)train->n_values * sizeof *state->remade);
  for (int32_t i = 0; i < program->n_in; i++) state->started[i] = din_add != NULL && din_add[i];
  int32_t before = ex__dnn_threads(train->threads);
  for (int32_t s = train->n_steps - 1; s >= 0; s--) backward_step(&p, s, dout);
  for (int32_t i = 0; i < program->n_in; i++) /* nothing came by */
    if (train->values[i].wanted && din != NULL && din[i] != NULL && !state->started[i])
      memset(din[i], 0, (size_t)port_size(program, program->in[i]) * sizeof **din);
  ex__dnn_threads(before);
}

/* ---- telling -------------------------------------------------------------------------- */

static void describe(const ex_program *program, struct ex_text *text) {
  static const char *const orders[] = {"plain", "nhwc", "blocked"};
  const struct train *train = train_of(program);
  for (int32_t s = 0; s < train->n_steps; s++) {
    const struct train_step *step = &train->steps[s];
    ex__text_add(text, "%-24s %-16s %s%s%s, %s, %" PRId64 " multiply-adds", step->node->name,
                 step->node->op->name, step->class->name, step->residual ? " + add" : "",
                 step->relu ? " + relu" : "", orders[train->values[step->out].order], step->macs);
    if (step->class->describe != NULL) step->class->describe(step, text);
    ex__text_add(text, "\n");
  }
}

const struct ex_backend_class ex__backend_fast_train = {
    .name = "fast training",
    .compile = compile,
    .free_impl = free_impl,
    .repack = repack,
    .port_size = port_size,
    .to_plain = to_plain,
    .from_plain = from_plain,
    .run_new = run_new,
    .run_free = run_free,
    .forward = forward,
    .backward = backward,
    .describe = describe,
};
