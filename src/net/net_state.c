/* SPDX-License-Identifier: Apache-2.0
 *
 * net/net_state: where the values of one sample lie between its stages.
 *
 * A value lives from the stage that makes it to the last stage that may read
 * it, both included, so what a body reads and what it writes never overlap and
 * a lone sample can run in place. A head that later points need may run late:
 * what it reads lives until the last of them. So may a body that a point behind
 * it does not need, on the way from there to one that does. Large values are
 * placed first, each at the lowest place that is free for as long as it lives.
 */
#include <stdlib.h>

#include "base/memory.h"
#include "graph/op.h"
#include "net/net_run_internal.h"

struct item {
  int32_t value;
  int32_t first, last; /* stages, inclusive */
  int64_t size, offset;
};

/* The last stage before whose end a body may run: of the last point that needs it
 * and that can be reached from one behind it that does not. */
static int32_t last_run_of_body(const ex_net *net, int32_t stage) {
  int32_t last = stage;
  bool passed = false; /* there is a point behind it that does without */
  for (int32_t p = 0; p < net->n_points; p++) {
    if (net->points[p].stage <= stage) continue;
    bool needed = (ex__net_bodies(net, p) >> stage & 1) != 0;
    if (needed && passed) last = net->points[p].stage;
    passed = passed || !needed;
  }
  return last;
}

/* The last stage at which a segment may run. */
static int32_t last_run(const ex_net *net, int32_t segment) {
  int32_t stage = segment / EX_N_PARTS, last = stage, point = ex__net_point_of(net, stage);
  if (segment % EX_N_PARTS == EX_PART_BODY) return last_run_of_body(net, stage);
  if (segment % EX_N_PARTS != EX_PART_HEAD || point < 0) return last;
  for (int32_t q = point; q < net->n_points; q++)
    if (ex__net_closure(net, q) >> point & 1) last = net->points[q].stage;
  return last;
}

static struct item *find(struct item *items, int32_t n, int32_t value) {
  for (int32_t i = 0; i < n; i++)
    if (items[i].value == value) return &items[i];
  return NULL;
}

/* Every value that some segment reads from outside; returns how many. */
static int32_t collect(const ex_compiled *compiled, struct item *items) {
  int32_t n = 0;
  for (int32_t s = 0; s < compiled->n_segments; s++) {
    const struct segment *segment = &compiled->segments[s];
    int32_t last = last_run(compiled->net, s);
    for (int32_t i = 0; i < segment->n_in; i++) {
      const struct port *port = &segment->in[i];
      struct item *item = find(items, n, port->value);
      if (item == NULL) {
        const struct ex_node *node = ex__graph_node(compiled->net->graph, port->value);
        item = &items[n++];
        *item = (struct item){port->value, node->segment / EX_N_PARTS, last, port->size, 0};
      }
      if (last > item->last) item->last = last;
    }
  }
  return n;
}

static int larger_first(const void *left, const void *right) {
  const struct item *a = left, *b = right;
  if (a->size != b->size) return a->size < b->size ? 1 : -1;
  return (a->value > b->value) - (a->value < b->value);
}

/* The lowest offset at which items[i] meets none of the items before it. */
static int64_t lowest_free(const struct item *items, int32_t i) {
  int64_t offset = 0;
  for (bool moved = true; moved;) {
    moved = false;
    for (int32_t k = 0; k < i; k++) {
      bool together = items[k].first <= items[i].last && items[i].first <= items[k].last;
      bool overlap = offset < items[k].offset + ex__aligned(items[k].size) &&
                     items[k].offset < offset + ex__aligned(items[i].size);
      if (!together || !overlap) continue;
      offset = items[k].offset + ex__aligned(items[k].size);
      moved = true;
    }
  }
  return offset;
}

static void tell_ports(struct port *ports, int32_t n_ports, struct item *items, int32_t n) {
  for (int32_t i = 0; i < n_ports; i++) {
    const struct item *item = find(items, n, ports[i].value);
    ports[i].state = item != NULL ? item->offset : -1;
  }
}

enum ex_status ex__state_plan(ex_compiled *compiled, struct ex_error *err) {
  int32_t capacity = 0;
  for (int32_t s = 0; s < compiled->n_segments; s++) capacity += compiled->segments[s].n_in;
  struct item *items = ex__calloc((size_t)capacity + 1, sizeof *items);
  if (items == NULL) return ex__fail(err, EX_ENOMEM, "net: no memory for %d ports", (int)capacity);
  int32_t n = collect(compiled, items);
  qsort(items, (size_t)n, sizeof *items, larger_first);
  for (int32_t i = 0; i < n; i++) {
    items[i].offset = lowest_free(items, i);
    int64_t end = items[i].offset + ex__aligned(items[i].size);
    if (end > compiled->state_size) compiled->state_size = end;
  }
  for (int32_t s = 0; s < compiled->n_segments; s++) {
    struct segment *segment = &compiled->segments[s];
    tell_ports(segment->in, segment->n_in, items, n);
    tell_ports(segment->out, segment->n_out, items, n);
  }
  const struct item *input = find(items, n, compiled->input);
  compiled->input_state = input != NULL ? input->offset : -1;
  ex__free(items);
  return EX_OK;
}
