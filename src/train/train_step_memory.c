/* SPDX-License-Identifier: Apache-2.0
 *
 * train/train_step_memory: where activations and gradients of a step lie.
 *
 * Segment s runs forward at moment s, and backward, of n segments, at moment
 * 2n − 1 − s. What a segment keeps for its backward, the values and gradients
 * of ports, and the scratch of each call live from one such moment to another,
 * so all of them share one arena: when backward reaches the first, widest
 * stages, what the later ones kept is gone, and scratch and gradients take its
 * place. This is a tenth of all that training of ResNet-18 takes.
 *
 * Who goes backward more than once for a forward (per-exit gradients) needs
 * what was kept until the end, and gets it unless `one_backward` is set.
 *
 * The input and the seeds are the caller's to write at any time and lie apart.
 */
#include "base/arena.h"
#include "base/memory.h"
#include "train/train_step_internal.h"

enum ex_status ex__stepper_reserve(ex_stepper *stepper, int64_t n, ex_real **out,
                                   struct ex_error *err) {
  *out = ex__calloc((size_t)n, sizeof **out);
  if (*out == NULL)
    return ex__fail(err, EX_ENOMEM, "training: no memory for %lld numbers of activations",
                    (long long)n);
  stepper->bytes += n * (int64_t)sizeof **out;
  return EX_OK;
}

/* ---- moments ------------------------------------------------------------- */

static int32_t backward_of(const ex_stepper *stepper, int32_t segment) {
  return 2 * stepper->n_segments - 1 - segment;
}

static int32_t end_of_time(const ex_stepper *stepper) { return 2 * stepper->n_segments; }

/* The last moment at which a segment reads what it keeps, reads or makes. */
static int32_t last_of(const ex_stepper *stepper, int32_t segment) {
  if (!stepper->segments[segment].trains) return segment;
  return stepper->options.one_backward ? backward_of(stepper, segment) : end_of_time(stepper);
}

static bool reads(const struct segment *segment, int32_t id) {
  for (int32_t i = 0; i < segment->n_in; i++)
    if (segment->in_id[i] == id) return true;
  return false;
}

static int32_t last_of_value(const ex_stepper *stepper, int32_t id) {
  const struct port *port = &stepper->ports[id];
  if (port->asked) return end_of_time(stepper);
  int32_t last = last_of(stepper, port->segment);
  for (int32_t s = 0; s < stepper->n_segments; s++)
    if (reads(&stepper->segments[s], id) && last_of(stepper, s) > last) last = last_of(stepper, s);
  return last;
}

/* A seed is planted before backward begins; else the last reader writes first. */
static int32_t first_of_gradient(const ex_stepper *stepper, int32_t id) {
  int32_t n = stepper->n_segments;
  if (stepper->ports[id].asked) return n;
  for (int32_t s = n - 1; s >= 0; s--)
    if (stepper->segments[s].trains && reads(&stepper->segments[s], id))
      return backward_of(stepper, s);
  return n;
}

/* ---- the arena ----------------------------------------------------------- */

static int32_t list_items(ex_stepper *stepper, struct ex_arena_item *items) {
  int32_t n = 0;
  for (int32_t s = 0; s < stepper->n_segments; s++) {
    struct segment *segment = &stepper->segments[s];
    if (!segment->used) continue;
    int64_t scratch = ex__program_transient_bytes(segment->program);
    int32_t back = backward_of(stepper, s);
    items[n++] = (struct ex_arena_item){ex__program_saved_bytes(segment->program), s,
                                        last_of(stepper, s), &segment->saved_at};
    items[n++] = (struct ex_arena_item){scratch, s, s, &segment->forward_at};
    if (segment->trains)
      items[n++] = (struct ex_arena_item){scratch, back, back, &segment->backward_at};
  }
  for (int32_t id = 0; id < stepper->n_ports; id++) {
    struct port *port = &stepper->ports[id];
    if (!port->used || port->segment < 0) continue;
    int64_t bytes = port->size * (int64_t)sizeof(ex_real);
    items[n++] =
        (struct ex_arena_item){bytes, port->segment, last_of_value(stepper, id), &port->value_at};
    if (port->wants_grad)
      items[n++] = (struct ex_arena_item){bytes, first_of_gradient(stepper, id),
                                          backward_of(stepper, port->segment), &port->grad_at};
  }
  return n;
}

static enum ex_status take_arena(ex_stepper *stepper, struct ex_error *err) {
  const ex_stepper *lender = stepper->options.lender;
  if (lender != NULL && lender->arena_bytes >= stepper->arena_bytes) {
    stepper->arena = lender->arena;
    return EX_OK;
  }
  stepper->memory = stepper->arena = ex__alloc((size_t)stepper->arena_bytes, 1);
  if (stepper->memory == NULL)
    return ex__fail(err, EX_ENOMEM, "training: no memory for %lld bytes of activations",
                    (long long)stepper->arena_bytes);
  stepper->bytes += stepper->arena_bytes;
  return EX_OK;
}

enum ex_status ex__stepper_place(ex_stepper *stepper, struct ex_error *err) {
  size_t most = 3 * (size_t)stepper->n_segments + 2 * (size_t)stepper->n_ports;
  struct ex_arena_item *items = ex__alloc(most, sizeof *items);
  stepper->arena_bytes = -1;
  if (items != NULL) stepper->arena_bytes = ex__arena_place(items, list_items(stepper, items));
  ex__free(items);
  if (stepper->arena_bytes < 0)
    return ex__fail(err, EX_ENOMEM, "training: no memory to place %zu arrays", most);
  EX_TRY(take_arena(stepper, err));
  for (int32_t id = 0; id < stepper->n_ports; id++) {
    struct port *port = &stepper->ports[id];
    if (!port->used || port->segment < 0) continue;
    port->value = (ex_real *)(void *)(stepper->arena + port->value_at);
    if (port->wants_grad) port->grad = (ex_real *)(void *)(stepper->arena + port->grad_at);
  }
  return ex__stepper_reserve(stepper, stepper->ports[stepper->input].size,
                             &stepper->ports[stepper->input].value, err);
}
