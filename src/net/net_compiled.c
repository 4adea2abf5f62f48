/* SPDX-License-Identifier: Apache-2.0
 *
 * net/net_compiled: the programs of all parts of a net, for every size of
 * micro-batch, and the places of their ports.
 *
 * A port's layout follows from (mode, options, shape) alone, so the programs
 * of one segment agree about it, whatever their size; that is asserted here,
 * since a state is handed from one size to another.
 */
#include <inttypes.h>

#include "base/memory.h"
#include "base/text.h"
#include "graph/op.h"
#include "net/net_run_internal.h"

static bool is_present(const ex_net *net, int32_t segment) {
  for (int32_t id = 0; id < ex__graph_n_nodes(net->graph); id++) {
    const struct ex_node *node = ex__graph_node(net->graph, id);
    if (node->segment == segment && node->op->max_in > 0) return true;
  }
  return false;
}

static int32_t find_input(const ex_net *net) {
  int32_t id = 0;
  while (ex__graph_node(net->graph, id)->op->max_in > 0) id++;
  return id;
}

static enum ex_status compile_sizes(ex_compiled *compiled, int32_t s,
                                    const struct ex_compile_options *options,
                                    struct ex_error *err) {
  const ex_net *net = compiled->net;
  for (int32_t k = 0; k < compiled->n_sizes; k++) {
    const struct ex_program_options each = {.batch = 1 << k,
                                            .mode = EX_MODE_INFER,
                                            .backend = options->backend,
                                            .layout = EX_LAYOUT_AUTO,
                                            .threads = options->threads,
                                            .fast = options->fast,
                                            .plan = options->plan};
    ex_program **program = &compiled->segments[s].program[k];
    EX_TRY(ex__program_new(net->graph, s, net->params, net->buffers, &each, program, err));
    int64_t bytes = ex__program_transient_bytes(*program);
    if (bytes > compiled->transient_bytes) compiled->transient_bytes = bytes;
  }
  return EX_OK;
}

static enum ex_status describe_ports(ex_compiled *compiled, int32_t s, struct ex_error *err) {
  struct segment *segment = &compiled->segments[s];
  const ex_program *one = segment->program[0];
  int64_t largest = 1 << (compiled->n_sizes - 1), gather = 0;
  segment->n_in = ex__program_n_in(one);
  segment->n_out = ex__program_n_out(one);
  segment->in = ex__calloc((size_t)segment->n_in + 1, sizeof *segment->in);
  segment->out = ex__calloc((size_t)segment->n_out + 1, sizeof *segment->out);
  if (segment->in == NULL || segment->out == NULL)
    return ex__fail(err, EX_ENOMEM, "net: no memory for the ports of segment %d", (int)s);
  for (int32_t i = 0; i < segment->n_in + segment->n_out; i++) {
    bool is_in = i < segment->n_in;
    int32_t k = is_in ? i : i - segment->n_in;
    int64_t size = is_in ? ex__program_in_size(one, k) : ex__program_out_size(one, k);
    struct port *port = is_in ? &segment->in[k] : &segment->out[k];
    *port = (struct port){is_in ? ex__program_in_value(one, k) : ex__program_out_value(one, k),
                          size, -1, gather};
    gather += ex__aligned(size * largest);
    for (int32_t b = 1; b < compiled->n_sizes; b++) {
      const ex_program *other = segment->program[b];
      if ((is_in ? ex__program_in_size(other, k) : ex__program_out_size(other, k)) == size << b)
        continue;
      return ex__fail(err, EX_EBACKEND,
                      "net: value %d has another layout in micro-batches of %d than alone",
                      (int)port->value, 1 << b);
    }
  }
  if (gather > compiled->gather_size) compiled->gather_size = gather;
  return EX_OK;
}

static enum ex_status compile(ex_compiled *compiled, const struct ex_compile_options *options,
                              struct ex_error *err) {
  const ex_net *net = compiled->net;
  while (compiled->n_sizes < EX_MICRO_SIZES && 1 << compiled->n_sizes <= options->max_batch)
    compiled->n_sizes++;
  if (compiled->n_sizes == 0 || 1 << (compiled->n_sizes - 1) != options->max_batch)
    return ex__fail(err, EX_EINVAL, "net: max_batch = %d; must be 1, 2, 4 or 8",
                    (int)options->max_batch);
  compiled->n_segments = net->n_stages * EX_N_PARTS;
  compiled->input = find_input(net);
  for (int32_t s = 0; s < compiled->n_segments; s++) {
    if (!is_present(net, s)) continue;
    EX_TRY(compile_sizes(compiled, s, options, err));
    EX_TRY(describe_ports(compiled, s, err));
  }
  return ex__state_plan(compiled, err);
}

enum ex_status ex__compiled_new(const ex_net *net, const struct ex_compile_options *options,
                                ex_compiled **out, struct ex_error *err) {
  *out = NULL;
  ex_compiled *compiled = ex__calloc(1, sizeof *compiled);
  if (compiled == NULL) return ex__fail(err, EX_ENOMEM, "net: no memory to compile it");
  compiled->net = net;
  enum ex_status status = compile(compiled, options, err);
  if (status == EX_OK)
    *out = compiled;
  else
    ex__compiled_free(compiled);
  return status;
}

void ex__compiled_free(ex_compiled *compiled) {
  if (compiled == NULL) return;
  for (int32_t s = 0; s < compiled->n_segments; s++) {
    for (int32_t k = 0; k < compiled->n_sizes; k++)
      ex__program_free(compiled->segments[s].program[k]);
    ex__free(compiled->segments[s].in);
    ex__free(compiled->segments[s].out);
  }
  ex__free(compiled);
}

void ex__compiled_repack(ex_compiled *compiled) {
  const ex_net *net = compiled->net;
  for (int32_t s = 0; s < compiled->n_segments; s++)
    for (int32_t k = 0; k < compiled->n_sizes; k++)
      if (compiled->segments[s].program[k] != NULL)
        ex__program_repack(compiled->segments[s].program[k], net->params, net->buffers);
}

/* ---- asking --------------------------------------------------------------- */

const ex_net *ex__compiled_net(const ex_compiled *compiled) { return compiled->net; }

int64_t ex__compiled_state_size(const ex_compiled *compiled) { return compiled->state_size; }

int64_t ex__compiled_bytes(const ex_compiled *compiled) {
  int64_t elements = 0;
  for (int32_t s = 0; s < compiled->n_segments; s++)
    elements += ex__graph_segment_params(compiled->net->graph, s);
  return elements * compiled->n_sizes * (int64_t)sizeof(ex_real);
}

void ex__compiled_describe(const ex_compiled *compiled, struct ex_text *text) {
  static const char *const part_names[] = {"body", "head", "gate"};
  for (int32_t s = 0; s < compiled->n_segments; s++) {
    if (compiled->segments[s].program[0] == NULL) continue;
    ex__text_add(text, "stage %d, %s:\n", (int)(s / EX_N_PARTS), part_names[s % EX_N_PARTS]);
    ex__program_describe(compiled->segments[s].program[0], text);
  }
}
