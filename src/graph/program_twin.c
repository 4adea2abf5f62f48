/* SPDX-License-Identifier: Apache-2.0
 *
 * graph/program_twin: the readable backend, and the oracle of the others.
 *
 * Each node runs its operator's twin, in order of ids, on plain arrays. Every
 * value has a place of its own: out ports where the caller wants them, the
 * rest in the run's saved memory in training (backward reads them) and in the
 * transient arena otherwise. Nothing is fused and no place is used twice, so
 * that after a run each value can be looked at.
 *
 * Backward goes through the nodes in falling order. A node works only if a
 * gradient has arrived at its value and somebody wants what comes out of it:
 * its parameters (grads given), or an in port behind it (din given).
 *
 * Inference uses a copy of the parameters made when it was compiled, as the
 * fast backend's packed weights are one; ex__program_repack makes it anew.
 */
#include <inttypes.h>
#include <string.h>

#include "base/memory.h"
#include "graph/program_backend.h"

/* One node. Values are numbered: first the in ports, then the steps. */
struct step {
  const struct ex_node *node;
  int32_t value[EX_MAX_INPUTS]; /* numbers of its inputs */
  int32_t out_port;             /* −1: an inner value */
  int64_t count;                /* elements of its value, for the whole batch */
  int64_t value_at;             /* bytes into saved or transient; inner values */
  int64_t workspace_at;         /* −1: none; as value_at */
  int64_t gradient_at;          /* bytes into transient; training */
  int64_t macs;                 /* per call */
};

struct twin {
  struct step *steps; /* [n_nodes] */
  /* Inference: parameters and buffers of the segment, one after another. */
  ex_real *packed;
  int64_t *packed_at; /* [n_nodes][EX_MAX_NODE_TENSORS], elements */
};

/* What one run points at; all [n_in + n_nodes]. */
struct twin_run {
  const ex_real **value;
  ex_real **gradient; /* NULL: nobody wants it */
  bool *arrived;
};

static bool trains(const ex_program *program) {
  return program->options.mode == EX_MODE_TRAIN && !program->options.frozen;
}

/* ---- compiling ------------------------------------------------------------------ */

static int32_t find_id(const int32_t *ids, int32_t n, int32_t id) {
  int32_t low = 0, high = n;
  while (low < high) {
    int32_t middle = low + (high - low) / 2;
    if (ids[middle] < id)
      low = middle + 1;
    else
      high = middle;
  }
  return low < n && ids[low] == id ? low : -1;
}

static int32_t value_number(const ex_program *program, int32_t id) {
  int32_t port = find_id(program->in, program->n_in, id);
  return port >= 0 ? port : program->n_in + find_id(program->nodes, program->n_nodes, id);
}

/* A place of `bytes` at a multiple of 64 in an arena; false where it overflows. */
static bool place(int64_t *arena, int64_t bytes, int64_t *at) {
  *at = *arena;
  return bytes >= 0 && !__builtin_add_overflow(*arena, bytes, arena) &&
         !__builtin_add_overflow(*arena, 63, arena) && (*arena &= ~(int64_t)63, true);
}

static bool plan_step(ex_program *program, int32_t i) {
  struct step *step = &((struct twin *)program->impl)->steps[i];
  const struct ex_node *node = ex__graph_node(program->graph, program->nodes[i]);
  const struct ex_shape *in_shape[EX_MAX_INPUTS] = {NULL};
  int32_t batch = program->options.batch;
  int64_t *arena = trains(program) ? &program->saved_bytes : &program->transient_bytes;
  step->node = node;
  for (int32_t k = 0; k < node->n_in; k++) {
    step->value[k] = value_number(program, node->in[k]);
    in_shape[k] = &ex__graph_node(program->graph, node->in[k])->shape;
  }
  step->count = batch * ex__shape_count(&node->shape);
  step->macs = node->op->macs != NULL ? batch * node->op->macs(node, in_shape) : 0;
  step->out_port = find_id(program->out, program->n_out, program->nodes[i]);
  int64_t bytes = step->count * (int64_t)sizeof(ex_real);
  if (step->out_port < 0 && !place(arena, bytes, &step->value_at)) return false;
  if (trains(program) && !place(&program->transient_bytes, bytes, &step->gradient_at)) return false;
  step->workspace_at = -1;
  size_t workspace = node->op->workspace != NULL ? node->op->workspace(node, in_shape, batch) : 0;
  return workspace == 0 || place(arena, (int64_t)workspace, &step->workspace_at);
}

static void pack(ex_program *program, const ex_slabs *params, const ex_slabs *buffers) {
  struct twin *twin = program->impl;
  for (int32_t i = 0; twin->packed != NULL && i < program->n_nodes; i++) {
    const struct ex_node *node = twin->steps[i].node;
    for (int32_t t = 0; t < node->n_tensors; t++) {
      const struct ex_tensor_info *info = ex__graph_tensor(program->graph, node->tensor[t]);
      const ex_slabs *slabs = info->role == EX_ROLE_BUFFER ? buffers : params;
      memcpy(twin->packed + twin->packed_at[i * EX_MAX_NODE_TENSORS + t],
             ex__slabs_tensor(slabs, program->graph, node->tensor[t]),
             (size_t)ex__shape_count(&info->shape) * sizeof(ex_real));
    }
  }
}

static bool make_room_to_pack(ex_program *program) {
  struct twin *twin = program->impl;
  int64_t bytes = 0, at;
  twin->packed_at =
      ex__calloc((size_t)program->n_nodes * EX_MAX_NODE_TENSORS, sizeof *twin->packed_at);
  for (int32_t i = 0; twin->packed_at != NULL && i < program->n_nodes; i++) {
    const struct ex_node *node = twin->steps[i].node;
    for (int32_t t = 0; t < node->n_tensors; t++) {
      const struct ex_tensor_info *info = ex__graph_tensor(program->graph, node->tensor[t]);
      if (!place(&bytes, ex__shape_count(&info->shape) * (int64_t)sizeof(ex_real), &at))
        return false;
      twin->packed_at[i * EX_MAX_NODE_TENSORS + t] = at / (int64_t)sizeof(ex_real);
    }
  }
  if (twin->packed_at != NULL) twin->packed = ex__alloc((size_t)bytes, 1);
  return twin->packed != NULL;
}

static void free_impl(ex_program *program) {
  struct twin *twin = program->impl;
  ex__free(twin->steps);
  ex__free(twin->packed);
  ex__free(twin->packed_at);
  ex__free(twin);
  program->impl = NULL;
}

static enum ex_status compile(ex_program *program, const ex_slabs *params, const ex_slabs *buffers,
                              struct ex_error *err) {
  struct twin *twin = program->impl = ex__calloc(1, sizeof *twin);
  if (twin == NULL) return ex__fail(err, EX_ENOMEM, "program: no memory");
  twin->steps = ex__calloc((size_t)program->n_nodes, sizeof *twin->steps);
  bool ok = twin->steps != NULL;
  for (int32_t i = 0; ok && i < program->n_nodes; i++) ok = plan_step(program, i);
  if (ok && !trains(program)) ok = make_room_to_pack(program);
  if (!ok) {
    free_impl(program);
    return ex__fail(err, EX_ENOMEM, "segment %d: no memory for its %d nodes", (int)program->segment,
                    (int)program->n_nodes);
  }
  pack(program, params, buffers);
  return EX_OK;
}

/* ---- ports ------------------------------------------------------------------------ */

static int64_t sample_count(const ex_program *program, int32_t value) {
  return ex__shape_count(&ex__graph_node(program->graph, value)->shape);
}

static int64_t port_size(const ex_program *program, int32_t value) {
  return program->options.batch * sample_count(program, value);
}

static void copy_plain(const ex_program *program, int32_t value, int32_t n, const ex_real *from,
                       ex_real *to) {
  memcpy(to, from, (size_t)(n * sample_count(program, value)) * sizeof *to);
}

/* ---- running ------------------------------------------------------------------------ */

static void run_free(ex_run *run) {
  struct twin_run *state = run->impl;
  if (state == NULL) return;
  ex__free(state->value);
  ex__free(state->gradient);
  ex__free(state->arrived);
  ex__free(state);
  run->impl = NULL;
}

static enum ex_status run_new(ex_run *run, struct ex_error *err) {
  size_t n = (size_t)run->program->n_in + (size_t)run->program->n_nodes;
  struct twin_run *state = run->impl = ex__calloc(1, sizeof *state);
  if (state != NULL) {
    state->value = ex__calloc(n, sizeof *state->value);
    state->gradient = ex__calloc(n, sizeof *state->gradient);
    state->arrived = ex__calloc(n, sizeof *state->arrived);
    if (state->value != NULL && state->gradient != NULL && state->arrived != NULL) return EX_OK;
  }
  run_free(run);
  return ex__fail(err, EX_ENOMEM, "run: no memory for %zu values", n);
}

static char *arena_of(const ex_run *run) {
  return trains(run->program) ? run->saved : run->transient;
}

static ex_real *place_of(const ex_run *run, const struct step *step, ex_real *const *out) {
  return step->out_port >= 0 ? out[step->out_port]
                             : (ex_real *)(void *)(arena_of(run) + step->value_at);
}

static void set_tensors(const ex_run *run, const struct ex_pass *pass, int32_t i,
                        struct ex_op_call *call) {
  const ex_program *program = run->program;
  const struct twin *twin = program->impl;
  for (int32_t t = 0; t < call->node->n_tensors; t++) {
    int32_t index = call->node->tensor[t];
    if (!trains(program)) {
      call->tensor[t] = twin->packed + twin->packed_at[i * EX_MAX_NODE_TENSORS + t];
      continue;
    }
    bool is_buffer = ex__graph_tensor(program->graph, index)->role == EX_ROLE_BUFFER;
    const ex_slabs *slabs = is_buffer ? pass->buffers : pass->params;
    if (slabs != NULL) call->tensor[t] = ex__slabs_tensor(slabs, program->graph, index);
    if (!is_buffer && pass->grads != NULL)
      call->dtensor[t] = ex__slabs_tensor(pass->grads, program->graph, index);
  }
}

/* What forward and backward of step i have in common. */
static struct ex_op_call make_call(const ex_run *run, const struct ex_pass *pass, int32_t i,
                                   ex_real *const *out) {
  const ex_program *program = run->program;
  const struct step *step = &((const struct twin *)program->impl)->steps[i];
  const struct twin_run *state = run->impl;
  struct ex_op_call call = {.node = step->node,
                            .batch = program->options.batch,
                            .training = trains(program),
                            .out = place_of(run, step, out)};
  if (pass != NULL) { /* each dropout draws a stream of its own */
    struct ex_random random = ex__random_seed(pass->seed, (uint64_t)program->nodes[i]);
    call.seed = ex__random_u64(&random);
  }
  for (int32_t k = 0; k < step->node->n_in; k++) {
    call.in_shape[k] = &ex__graph_node(program->graph, step->node->in[k])->shape;
    call.in[k] = state->value[step->value[k]];
  }
  if (step->workspace_at >= 0) call.workspace = arena_of(run) + step->workspace_at;
  set_tensors(run, pass, i, &call);
  return call;
}

static void forward(ex_run *run, const struct ex_pass *pass, const ex_real *const *in,
                    ex_real *const *out) {
  const ex_program *program = run->program;
  const struct twin *twin = program->impl;
  struct twin_run *state = run->impl;
  for (int32_t i = 0; i < program->n_in; i++) state->value[i] = in[i];
  for (int32_t i = 0; i < program->n_nodes; i++) {
    const struct step *step = &twin->steps[i];
    struct ex_op_call call = make_call(run, pass, i, out);
    step->node->op->forward(&call);
    state->value[program->n_in + i] = call.out;
    run->executed_macs += step->macs;
  }
}

static bool trains_own_tensor(const ex_program *program, const struct ex_node *node) {
  for (int32_t t = 0; t < node->n_tensors; t++)
    if (ex__graph_tensor(program->graph, node->tensor[t])->role != EX_ROLE_BUFFER) return true;
  return false;
}

/* Where gradients go: to the in ports that want one, and to each step from
 * which a wanted one is reached. */
static void open_gradients(ex_run *run, const struct ex_pass *pass, ex_real *const *din,
                           const bool *din_add) {
  const ex_program *program = run->program;
  const struct twin *twin = program->impl;
  struct twin_run *state = run->impl;
  bool to_inputs = din != NULL && !program->options.no_input_gradient;
  for (int32_t i = 0; i < program->n_in; i++) {
    ex_real *gradient = to_inputs ? din[i] : NULL;
    state->gradient[i] = gradient;
    state->arrived[i] = true; /* it is zeroed here, not at its first use */
    if (gradient != NULL && !(din_add != NULL && din_add[i]))
      memset(gradient, 0, (size_t)port_size(program, program->in[i]) * sizeof *gradient);
  }
  for (int32_t i = 0; i < program->n_nodes; i++) {
    const struct step *step = &twin->steps[i];
    bool wanted = pass->grads != NULL && trains_own_tensor(program, step->node);
    for (int32_t k = 0; k < step->node->n_in; k++)
      wanted = wanted || state->gradient[step->value[k]] != NULL;
    char *at = (char *)run->transient + step->gradient_at;
    state->gradient[program->n_in + i] = wanted ? (ex_real *)(void *)at : NULL;
    state->arrived[program->n_in + i] = false;
  }
}

static void backward_step(ex_run *run, const struct ex_pass *pass, int32_t i, ex_real *const *out) {
  const ex_program *program = run->program;
  const struct twin *twin = program->impl;
  const struct step *step = &twin->steps[i];
  struct twin_run *state = run->impl;
  struct ex_op_call call = make_call(run, pass, i, out);
  call.dout = state->gradient[program->n_in + i];
  for (int32_t k = 0; k < step->node->n_in; k++) {
    int32_t number = step->value[k];
    call.din[k] = state->gradient[number];
    if (call.din[k] == NULL || state->arrived[number]) continue;
    int64_t count = twin->steps[number - program->n_in].count;
    memset(call.din[k], 0, (size_t)count * sizeof(ex_real));
    state->arrived[number] = true;
  }
  if (trains_own_tensor(program, step->node)) {
    if (pass->grads != NULL) run->backward_macs += step->macs;
    if (call.din[0] != NULL) run->backward_macs += step->macs;
  }
  step->node->op->backward(&call);
}

static void backward(ex_run *run, const struct ex_pass *pass, const ex_real *const *in,
                     ex_real *const *out, const ex_real *const *dout, ex_real *const *din,
                     const bool *din_add) {
  const ex_program *program = run->program;
  const struct twin *twin = program->impl;
  struct twin_run *state = run->impl;
  (void)in; /* forward has noted them */
  open_gradients(run, pass, din, din_add);
  for (int32_t i = program->n_nodes - 1; i >= 0; i--) {
    const struct step *step = &twin->steps[i];
    int32_t number = program->n_in + i;
    ex_real *gradient = state->gradient[number];
    if (gradient == NULL) continue;
    const ex_real *seed = step->out_port >= 0 ? dout[step->out_port] : NULL;
    if (seed != NULL && !state->arrived[number])
      memcpy(gradient, seed, (size_t)step->count * sizeof *gradient);
    else if (seed != NULL)
      for (int64_t k = 0; k < step->count; k++) gradient[k] += seed[k];
    if (seed != NULL || state->arrived[number]) backward_step(run, pass, i, out);
  }
}

static void describe(const ex_program *program, struct ex_text *text) {
  const struct twin *twin = program->impl;
  for (int32_t i = 0; i < program->n_nodes; i++) {
    const struct step *step = &twin->steps[i];
    ex__text_add(text, "%-24s %-16s twin, plain, %" PRId64 " multiply-adds\n", step->node->name,
                 step->node->op->name, step->macs);
  }
}

const struct ex_backend_class ex__backend_twin = {
    .name = "twin",
    .compile = compile,
    .free_impl = free_impl,
    .repack = pack,
    .port_size = port_size,
    .to_plain = copy_plain,
    .from_plain = copy_plain,
    .run_new = run_new,
    .run_free = run_free,
    .forward = forward,
    .backward = backward,
    .describe = describe,
};
