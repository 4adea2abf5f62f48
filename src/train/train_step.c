/* SPDX-License-Identifier: Apache-2.0
 *
 * train/train_step: compiling the segments of a phase, and running them.
 *
 * Segments are numbered body, head, gate, stage after stage, which is an order
 * in which every value is made before it is read. Each port of a segment gets
 * one array for its value and, where something below it is trained, one for
 * its gradient (train_step_memory.c says where). In backward the first
 * consumer of a value writes its gradient and later ones add (`filled`), so
 * nothing is cleared; a value that no loss reached is passed on as NULL, and
 * the work below it is skipped.
 *
 * A flow (struct ex_flow) changes what one reader of a value sends down
 * (train_step_flow.c). So the gradient is one of no single loss, and forward is
 * untouched.
 *
 * Seeds are kept apart from gradients: a head that another head reads would
 * otherwise spoil its seed for a second backward from other points.
 */
#include <string.h>

#include "base/memory.h"
#include "graph/op.h"
#include "train/train_step_internal.h"

/* ---- what a phase runs and trains ---------------------------------------- */

static void plan_segments(ex_stepper *stepper) {
  const ex_net *net = stepper->net;
  enum ex_phase phase = stepper->options.phase;
  uint32_t trunk = ex__net_reads(net, net->n_points - 1);
  for (int32_t s = 0; s < net->n_stages; s++)
    stepper->segments[ex__net_segment(s, EX_PART_BODY)] = (struct segment){
        .used = true, .trains = phase == EX_PHASE_ALL || phase == EX_PHASE_TRUNK, .stage = s};
  for (int32_t p = 0; p < net->n_points; p++) {
    const struct ex_point *point = &net->points[p];
    bool in_trunk = (trunk >> p & 1) != 0;
    bool used = in_trunk || phase != EX_PHASE_TRUNK;
    bool trains = phase == EX_PHASE_ALL || (phase == EX_PHASE_HEADS && !in_trunk) ||
                  (phase == EX_PHASE_TRUNK && in_trunk);
    struct segment *head = &stepper->segments[ex__net_segment(point->stage, EX_PART_HEAD)];
    struct segment *gate = &stepper->segments[ex__net_segment(point->stage, EX_PART_GATE)];
    *head = (struct segment){.used = used, .trains = trains, .stage = point->stage};
    *gate = (struct segment){.used = point->gate >= 0 && phase != EX_PHASE_TRUNK,
                             .trains = trains && phase != EX_PHASE_TRUNK,
                             .stage = point->stage};
    stepper->trains_point[p] = trains;
  }
}

static void find_owners(ex_stepper *stepper) {
  const ex_graph *graph = stepper->net->graph;
  stepper->input = -1;
  for (int32_t id = 0; id < stepper->n_ports; id++) {
    const struct ex_node *node = ex__graph_node(graph, id);
    bool input = strcmp(node->op->name, "input") == 0;
    stepper->ports[id].segment = input ? -1 : node->segment;
    if (input) stepper->input = id;
  }
}

static const struct ex_flow *find_flow(const ex_stepper *stepper, int32_t segment, int32_t value) {
  const struct ex_flows *flows = stepper->options.flows;
  for (int32_t i = 0; flows != NULL && i < flows->n; i++)
    if (flows->flow[i].segment == segment && flows->flow[i].value == value) return &flows->flow[i];
  return NULL;
}

/* Whether the segment sends a gradient to this value, which another made. */
static bool sends_gradient(const ex_stepper *stepper, int32_t segment, int32_t value) {
  const struct ex_flow *flow = find_flow(stepper, segment, value);
  return ex__stepper_trains_value(stepper, value) && (flow == NULL || flow->scale != 0);
}

/* Whether the segment reads a value through which a gradient must go on. */
static bool passes_gradient(const ex_stepper *stepper, int32_t index) {
  const ex_graph *graph = stepper->net->graph;
  for (int32_t id = 0; id < stepper->n_ports; id++) {
    const struct ex_node *node = ex__graph_node(graph, id);
    for (int32_t i = 0; node->segment == index && i < node->n_in; i++)
      if (stepper->ports[node->in[i]].segment != index &&
          sends_gradient(stepper, index, node->in[i]))
        return true;
  }
  return false;
}

/* ---- compiling ----------------------------------------------------------- */

/* Both ends of a port must see the same array in it. */
static enum ex_status measure_port(ex_stepper *stepper, int32_t id, int64_t size,
                                   struct ex_error *err) {
  struct port *port = &stepper->ports[id];
  if (!port->used) {
    port->used = true;
    port->size = size;
  }
  if (port->size != size)
    return ex__fail(err, EX_EBACKEND,
                    "training: value %d has %lld elements where it is made and %lld where it is "
                    "read; segments must agree on its layout",
                    (int)id, (long long)port->size, (long long)size);
  return EX_OK;
}

static enum ex_status bind_lists(struct segment *segment, struct ex_error *err) {
  int32_t n_in = segment->n_in = ex__program_n_in(segment->program);
  int32_t n_out = segment->n_out = ex__program_n_out(segment->program);
  segment->in_id = ex__calloc((size_t)n_in, sizeof *segment->in_id);
  segment->out_id = ex__calloc((size_t)n_out, sizeof *segment->out_id);
  segment->in = ex__calloc((size_t)n_in, sizeof *segment->in);
  segment->din = ex__calloc((size_t)n_in, sizeof *segment->din);
  segment->din_add = ex__calloc((size_t)n_in, sizeof *segment->din_add);
  segment->leak = ex__calloc((size_t)n_in, sizeof *segment->leak);
  segment->out = ex__calloc((size_t)n_out, sizeof *segment->out);
  segment->dout = ex__calloc((size_t)n_out, sizeof *segment->dout);
  bool ok = segment->in_id != NULL && segment->out_id != NULL && segment->in != NULL &&
            segment->din != NULL && segment->din_add != NULL && segment->leak != NULL &&
            segment->out != NULL && segment->dout != NULL;
  if (!ok) return ex__fail(err, EX_ENOMEM, "training: no memory for the ports of a segment");
  for (int32_t i = 0; i < n_in; i++) segment->in_id[i] = ex__program_in_value(segment->program, i);
  for (int32_t i = 0; i < n_out; i++)
    segment->out_id[i] = ex__program_out_value(segment->program, i);
  return EX_OK;
}

static enum ex_status bind_leak(ex_stepper *stepper, const struct segment *segment, int32_t i,
                                struct ex_error *err) {
  int32_t index = (int32_t)(segment - stepper->segments), id = segment->in_id[i];
  const struct ex_flow *flow = find_flow(stepper, index, id);
  struct leak *leak = &segment->leak[i];
  leak->stopped = !sends_gradient(stepper, index, id);
  if (leak->stopped || flow == NULL) return EX_OK;
  return ex__stepper_bind_flow(stepper, segment, flow, leak, err);
}

static enum ex_status measure_ports(ex_stepper *stepper, const struct segment *segment,
                                    struct ex_error *err) {
  for (int32_t i = 0; i < segment->n_in; i++) {
    int32_t id = segment->in_id[i];
    EX_TRY(measure_port(stepper, id, ex__program_in_size(segment->program, i), err));
    if (!segment->trains) continue;
    stepper->ports[id].wants_grad |= ex__stepper_trains_value(stepper, id);
    EX_TRY(bind_leak(stepper, segment, i, err));
  }
  for (int32_t i = 0; i < segment->n_out; i++)
    EX_TRY(
        measure_port(stepper, segment->out_id[i], ex__program_out_size(segment->program, i), err));
  return EX_OK;
}

static enum ex_status compile(ex_stepper *stepper, int32_t index, struct ex_error *err) {
  struct segment *segment = &stepper->segments[index];
  const ex_net *net = stepper->net;
  struct ex_blocked blocked[EX_MAX_FLOWS];
  const struct ex_program_options options = {.batch = stepper->options.batch,
                                             .mode = EX_MODE_TRAIN,
                                             .backend = stepper->options.backend,
                                             .layout = stepper->options.layout,
                                             .threads = stepper->options.threads,
                                             .plan = stepper->options.plan,
                                             .frozen = !segment->trains,
                                             .no_input_gradient = !passes_gradient(stepper, index),
                                             .blocked = blocked,
                                             .n_blocked =
                                                 ex__stepper_find_blocked(stepper, index, blocked)};
  EX_TRY(ex__program_new(net->graph, index, net->params, net->buffers, &options, &segment->program,
                         err));
  EX_TRY(bind_lists(segment, err));
  return measure_ports(stepper, segment, err);
}

static enum ex_status make_runs(ex_stepper *stepper, struct ex_error *err) {
  for (int32_t s = 0; s < stepper->n_segments; s++) {
    struct segment *segment = &stepper->segments[s];
    if (!segment->used) continue;
    EX_TRY(ex__run_new_placed(segment->program, &segment->run, err));
    for (int32_t i = 0; i < segment->n_in; i++)
      segment->in[i] = stepper->ports[segment->in_id[i]].value;
    for (int32_t i = 0; i < segment->n_out; i++)
      segment->out[i] = stepper->ports[segment->out_id[i]].value;
  }
  return EX_OK;
}

/* The place of a point's output or gate; marks what a loss adds to. */
static void mark_point(ex_stepper *stepper, int32_t id, const struct segment *segment) {
  if (!segment->used) return;
  struct port *port = &stepper->ports[id];
  port->asked = true;
  port->wants_grad |= segment->trains;
}

static void mark_points(ex_stepper *stepper) {
  const ex_net *net = stepper->net;
  for (int32_t p = 0; p < net->n_points; p++) {
    const struct ex_point *point = &net->points[p];
    mark_point(stepper, point->output,
               &stepper->segments[ex__net_segment(point->stage, EX_PART_HEAD)]);
    mark_point(stepper, point->gate,
               &stepper->segments[ex__net_segment(point->stage, EX_PART_GATE)]);
  }
}

static enum ex_status bind_seed(ex_stepper *stepper, int32_t id, const struct segment *segment,
                                const ex_real **value, ex_real **seed, struct ex_error *err) {
  if (!segment->used) return EX_OK;
  const struct port *port = &stepper->ports[id];
  *value = port->value;
  return segment->trains ? ex__stepper_reserve(stepper, port->size, seed, err) : EX_OK;
}

static enum ex_status bind_points(ex_stepper *stepper, struct ex_error *err) {
  const ex_net *net = stepper->net;
  for (int32_t p = 0; p < net->n_points; p++) {
    const struct ex_point *point = &net->points[p];
    EX_TRY(bind_seed(stepper, point->output,
                     &stepper->segments[ex__net_segment(point->stage, EX_PART_HEAD)],
                     &stepper->output[p], &stepper->doutput[p], err));
    EX_TRY(bind_seed(stepper, point->gate,
                     &stepper->segments[ex__net_segment(point->stage, EX_PART_GATE)],
                     &stepper->gate[p], &stepper->dgate[p], err));
  }
  return EX_OK;
}

static enum ex_status build(ex_stepper *stepper, struct ex_error *err) {
  plan_segments(stepper);
  find_owners(stepper);
  for (int32_t s = 0; s < stepper->n_segments; s++)
    if (stepper->segments[s].used) EX_TRY(compile(stepper, s, err));
  if (stepper->input < 0 || !stepper->ports[stepper->input].used)
    return ex__fail(err, EX_EINVAL, "training: no stage of the network reads its input");
  mark_points(stepper);
  EX_TRY(ex__stepper_place(stepper, err));
  EX_TRY(make_runs(stepper, err));
  return bind_points(stepper, err);
}

enum ex_status ex__stepper_new(const ex_net *net, const struct ex_stepper_options *options,
                               ex_stepper **out, struct ex_error *err) {
  *out = NULL;
  ex_stepper *stepper = ex__calloc(1, sizeof *stepper);
  if (stepper == NULL) return ex__fail(err, EX_ENOMEM, "training: no memory for a stepper");
  *stepper = (ex_stepper){.net = net, .options = *options, .input = -1};
  int32_t n_segments = net->n_stages * EX_N_PARTS, n_ports = ex__graph_n_nodes(net->graph);
  stepper->segments = ex__calloc((size_t)n_segments, sizeof *stepper->segments);
  stepper->ports = ex__calloc((size_t)n_ports, sizeof *stepper->ports);
  enum ex_status status = EX_OK;
  if (stepper->segments == NULL || stepper->ports == NULL) {
    status = ex__fail(err, EX_ENOMEM, "training: no memory for %d segments", (int)n_segments);
  } else {
    stepper->n_segments = n_segments;
    stepper->n_ports = n_ports;
    status = build(stepper, err);
  }
  if (status == EX_OK)
    *out = stepper;
  else
    ex__stepper_free(stepper);
  return status;
}

static void free_segment(struct segment *segment) {
  ex__run_free(segment->run);
  ex__program_free(segment->program);
  ex__free(segment->in_id);
  ex__free(segment->out_id);
  ex__free((void *)segment->in);
  ex__free((void *)segment->dout);
  ex__free((void *)segment->out);
  ex__free((void *)segment->din);
  ex__free(segment->din_add);
  for (int32_t i = 0; segment->leak != NULL && i < segment->n_in; i++) {
    ex__free(segment->leak[i].runs);
    ex__free(segment->leak[i].gaps);
    ex__free(segment->leak[i].own);
  }
  ex__free(segment->leak);
}

void ex__stepper_free(ex_stepper *stepper) {
  if (stepper == NULL) return;
  for (int32_t s = 0; s < stepper->n_segments; s++) free_segment(&stepper->segments[s]);
  if (stepper->input >= 0) ex__free(stepper->ports[stepper->input].value);
  for (int32_t p = 0; p < EX_MAX_POINTS; p++) {
    ex__free(stepper->doutput[p]);
    ex__free(stepper->dgate[p]);
  }
  ex__free(stepper->memory);
  ex__free(stepper->segments);
  ex__free(stepper->ports);
  ex__free(stepper);
}

void ex__stepper_repack(ex_stepper *stepper) {
  for (int32_t s = 0; s < stepper->n_segments; s++) {
    struct segment *segment = &stepper->segments[s];
    if (segment->used && !segment->trains)
      ex__program_repack(segment->program, stepper->net->params, stepper->net->buffers);
  }
}

/* ---- looking ------------------------------------------------------------- */

bool ex__stepper_trains(const ex_stepper *stepper, int32_t tensor) {
  const ex_graph *graph = stepper->net->graph;
  int32_t owner = ex__graph_tensor(graph, tensor)->node;
  return stepper->segments[ex__graph_node(graph, owner)->segment].trains;
}

bool ex__stepper_trains_point(const ex_stepper *stepper, int32_t point) {
  return stepper->trains_point[point];
}

struct ex_pass_counts ex__stepper_macs(const ex_stepper *stepper) {
  struct ex_pass_counts macs = {0, 0};
  for (int32_t s = 0; s < stepper->n_segments; s++) {
    const ex_run *run = stepper->segments[s].run;
    if (run == NULL) continue;
    macs.forward += ex__run_executed_macs(run);
    macs.backward += ex__run_backward_macs(run);
  }
  return macs;
}

int64_t ex__stepper_bytes(const ex_stepper *stepper) { return stepper->bytes; }

ex_real *ex__stepper_input(ex_stepper *stepper) { return stepper->ports[stepper->input].value; }

const ex_real *const *ex__stepper_output(const ex_stepper *stepper) { return stepper->output; }
const ex_real *const *ex__stepper_gate(const ex_stepper *stepper) { return stepper->gate; }
ex_real *const *ex__stepper_doutput(const ex_stepper *stepper) { return stepper->doutput; }
ex_real *const *ex__stepper_dgate(const ex_stepper *stepper) { return stepper->dgate; }

/* ---- passes -------------------------------------------------------------- */

static void clear_seed(const ex_stepper *stepper, int32_t id, ex_real *seed) {
  if (seed != NULL) memset(seed, 0, (size_t)stepper->ports[id].size * sizeof *seed);
}

void ex__stepper_forward(ex_stepper *stepper, const struct ex_pass *pass) {
  const ex_net *net = stepper->net;
  for (int32_t s = 0; s < stepper->n_segments; s++) {
    struct segment *segment = &stepper->segments[s];
    if (!segment->used) continue;
    ex__run_place(segment->run, stepper->arena + segment->saved_at,
                  stepper->arena + segment->forward_at);
    ex__run_forward(segment->run, pass, segment->in, segment->out);
  }
  for (int32_t p = 0; p < net->n_points; p++) {
    clear_seed(stepper, net->points[p].output, stepper->doutput[p]);
    if (net->points[p].gate >= 0) clear_seed(stepper, net->points[p].gate, stepper->dgate[p]);
  }
}

static bool is_zero(const ex_real *x, int64_t n) {
  for (int64_t i = 0; i < n; i++)
    if (x[i] != 0) return false; /* NaN is not zero, and travels on */
  return true;
}

static void plant(ex_stepper *stepper, int32_t id, const ex_real *seed) {
  struct port *port = id >= 0 ? &stepper->ports[id] : NULL;
  if (port == NULL || seed == NULL || is_zero(seed, port->size)) return;
  memcpy(port->grad, seed, (size_t)port->size * sizeof *seed);
  port->filled = true;
}

void ex__stepper_backward_begin(ex_stepper *stepper, int32_t points) {
  const ex_net *net = stepper->net;
  for (int32_t id = 0; id < stepper->n_ports; id++) stepper->ports[id].filled = false;
  for (int32_t p = 0; p < net->n_points; p++) {
    if (((uint32_t)points >> p & 1) == 0) continue;
    plant(stepper, net->points[p].output, stepper->doutput[p]);
    plant(stepper, net->points[p].gate, stepper->dgate[p]);
  }
}

static void backward_segment(ex_stepper *stepper, const struct ex_pass *pass,
                             struct segment *segment) {
  if (!segment->used || !segment->trains) return;
  bool reached = false;
  for (int32_t i = 0; i < segment->n_out; i++) {
    const struct port *port = &stepper->ports[segment->out_id[i]];
    segment->dout[i] = port->filled ? port->grad : NULL;
    reached |= port->filled;
  }
  if (!reached) return;
  for (int32_t i = 0; i < segment->n_in; i++) {
    struct port *port = &stepper->ports[segment->in_id[i]];
    const struct leak *leak = &segment->leak[i];
    bool own = leak->own != NULL;
    segment->din[i] = leak->stopped ? NULL : ex__stepper_leak_target(leak, port);
    segment->din_add[i] = port->filled && !own;
    port->filled |= !leak->stopped && !own;
  }
  ex__run_place(segment->run, stepper->arena + segment->saved_at,
                stepper->arena + segment->backward_at);
  ex__run_backward(segment->run, pass, segment->in, segment->out, segment->dout, segment->din,
                   segment->din_add);
  for (int32_t i = 0; i < segment->n_in; i++)
    if (segment->leak[i].own != NULL)
      ex__stepper_pass_leak(stepper, &segment->leak[i], &stepper->ports[segment->in_id[i]]);
}

void ex__stepper_backward_stage(ex_stepper *stepper, const struct ex_pass *pass, int32_t stage) {
  for (int32_t part = EX_N_PARTS - 1; part >= 0; part--)
    backward_segment(stepper, pass, &stepper->segments[ex__net_segment(stage, (enum ex_part)part)]);
}

void ex__stepper_backward(ex_stepper *stepper, const struct ex_pass *pass, int32_t points) {
  ex__stepper_backward_begin(stepper, points);
  for (int32_t stage = stepper->net->n_stages - 1; stage >= 0; stage--)
    ex__stepper_backward_stage(stepper, pass, stage);
}
