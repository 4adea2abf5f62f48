/* SPDX-License-Identifier: Apache-2.0
 *
 * net/cut: which values cross, found once from the ports of later segments, and
 * their copying from and to a state.
 */
#include "net/cut.h"

#include "base/memory.h"
#include "graph/op.h"
#include "net/net_run_internal.h"

struct crossing {
  int32_t value;
  const ex_program *program; /* that reads it, and so knows its layout */
  int64_t state;             /* where it lies in a state */
};

struct ex_cut {
  const ex_compiled *compiled;
  int32_t n;
  int64_t size;
  struct crossing *crossings; /* [n], ascending by value */
};

static const struct ex_shape *shape_of(const ex_cut *cut, int32_t value) {
  return &ex__graph_node(cut->compiled->net->graph, value)->shape;
}

/* Into its place by id; a value that several segments read crosses once. */
static void add(ex_cut *cut, const struct crossing *crossing) {
  int32_t at = cut->n;
  for (int32_t i = 0; i < cut->n; i++)
    if (cut->crossings[i].value == crossing->value) return;
  for (; at > 0 && cut->crossings[at - 1].value > crossing->value; at--)
    cut->crossings[at] = cut->crossings[at - 1];
  cut->crossings[at] = *crossing;
  cut->n++;
  cut->size += ex__shape_count(shape_of(cut, crossing->value));
}

static void collect(ex_cut *cut, int32_t stage) {
  const ex_compiled *compiled = cut->compiled;
  for (int32_t s = ex__net_segment(stage + 1, EX_PART_BODY); s < compiled->n_segments; s++) {
    const struct segment *segment = &compiled->segments[s];
    for (int32_t i = 0; i < segment->n_in; i++) {
      const struct port *port = &segment->in[i];
      int32_t made = ex__graph_node(compiled->net->graph, port->value)->segment / EX_N_PARTS;
      const struct crossing crossing = {port->value, segment->program[0], port->state};
      if (made <= stage) add(cut, &crossing);
    }
  }
}

enum ex_status ex__cut_new(const ex_compiled *compiled, int32_t stage, ex_cut **out,
                           struct ex_error *err) {
  *out = NULL;
  int32_t n_stages = compiled->net->n_stages;
  if (stage < 0 || stage > n_stages - 2)
    return ex__fail(err, EX_EINVAL, "cut: stage = %d; must be in [0, %d], before the last stage",
                    (int)stage, (int)n_stages - 2);
  size_t ports = 0;
  for (int32_t s = 0; s < compiled->n_segments; s++) ports += (size_t)compiled->segments[s].n_in;
  ex_cut *cut = ex__calloc(1, sizeof *cut);
  struct crossing *crossings = ex__calloc(ports + 1, sizeof *crossings);
  if (cut == NULL || crossings == NULL) {
    ex__free(cut);
    ex__free(crossings);
    return ex__fail(err, EX_ENOMEM, "cut: no memory for %zu ports", ports);
  }
  cut->compiled = compiled;
  cut->crossings = crossings;
  collect(cut, stage);
  *out = cut;
  return EX_OK;
}

void ex__cut_free(ex_cut *cut) {
  if (cut == NULL) return;
  ex__free(cut->crossings);
  ex__free(cut);
}

int32_t ex__cut_values(const ex_cut *cut) { return cut->n; }
int64_t ex__cut_size(const ex_cut *cut) { return cut->size; }
const struct ex_shape *ex__cut_shape(const ex_cut *cut, int32_t i) {
  return shape_of(cut, cut->crossings[i].value);
}

void ex__cut_pack(const ex_cut *cut, const ex_real *state, ex_real *plain) {
  for (int32_t i = 0; i < cut->n; i++) {
    const struct crossing *crossing = &cut->crossings[i];
    ex__port_to_plain(crossing->program, crossing->value, 1, state + crossing->state, plain);
    plain += ex__shape_count(shape_of(cut, crossing->value));
  }
}

void ex__cut_unpack(const ex_cut *cut, const ex_real *plain, ex_real *state) {
  for (int32_t i = 0; i < cut->n; i++) {
    const struct crossing *crossing = &cut->crossings[i];
    ex__port_from_plain(crossing->program, crossing->value, 1, plain, state + crossing->state);
    plain += ex__shape_count(shape_of(cut, crossing->value));
  }
}
