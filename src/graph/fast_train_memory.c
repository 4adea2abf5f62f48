/* SPDX-License-Identifier: Apache-2.0
 *
 * graph/fast_train_memory: where values and gradients of a training segment lie.
 *
 * A concatenation in channels-last order is a wider array of which its parts
 * are slices, so long as nobody but steps that understand slices touches them;
 * a concatenation of concatenations grows in one array. The gradients lie the
 * same way, so the backward of a concatenation is nothing at all.
 *
 * Time runs from 0 to n_steps − 1 forward, and in backward again from 0, step
 * s at time n_steps − 1 − s. The transient arena serves one call at a time, so
 * both directions are placed on their own.
 */
#include "base/arena.h"
#include "base/memory.h"
#include "graph/fast_train.h"

static void find_readers(struct train *train) {
  for (int32_t s = 0; s < train->n_steps; s++)
    for (int32_t i = 0; i < train->steps[s].n_in; i++) {
      struct train_value *v = &train->values[train->steps[s].in[i]];
      if (v->n_readers++ == 0) v->first_reader = s;
      v->last_reader = s;
    }
}

static bool all_strided(const struct train *train, int32_t value) {
  const struct train_value *v = &train->values[value];
  if (v->producer < 0 || !train->steps[v->producer].class->strided) return false;
  for (int32_t s = v->first_reader; s <= v->last_reader; s++)
    for (int32_t i = 0; i < train->steps[s].n_in; i++)
      if (train->steps[s].in[i] == value && !train->steps[s].class->strided) return false;
  return true;
}

/* Parts of concatenations become slices. */
static void make_slices(struct train *train) {
  for (int32_t s = 0; s < train->n_steps; s++) {
    const struct train_step *step = &train->steps[s];
    if (step->class != &ex__train_concat) continue;
    int32_t channel = 0;
    for (int32_t i = 0; i < step->n_in; channel += train->values[step->in[i]].channels, i++) {
      struct train_value *part = &train->values[step->in[i]];
      if (part->in_port >= 0 || part->out_port >= 0 || part->host != step->in[i]) continue;
      if (!all_strided(train, step->in[i])) continue;
      part->slice = true;
      part->host = part->grad_host = step->out;
      part->channel = part->grad_channel = channel;
    }
  }
  for (int32_t i = 0; i < train->n_values; i++) { /* hosts of hosts */
    struct train_value *v = &train->values[i];
    while (train->values[v->host].host != v->host) {
      v->channel += train->values[v->host].channel;
      v->host = train->values[v->host].host;
    }
    v->grad_host = v->host;
    v->grad_channel = v->channel;
  }
}

/* A ReLU writes over its input where nobody else reads that, now or later. */
static void work_in_place(struct train *train) {
  for (int32_t s = 0; s < train->n_steps; s++) {
    const struct train_step *step = &train->steps[s];
    if (step->class != &ex__train_relu) continue;
    struct train_value *in = &train->values[step->in[0]], *out = &train->values[step->out];
    if (in->producer < 0 || in->n_readers != 1 || in->out_port >= 0 || in->host != step->in[0])
      continue;
    const struct train_step *producer = &train->steps[in->producer];
    if (producer->needs_output || (out->host != step->out && !producer->class->strided)) continue;
    bool hosts = false; /* a host of slices keeps its own array */
    for (int32_t i = 0; i < train->n_values; i++)
      hosts |= i != step->in[0] && train->values[i].host == step->in[0];
    if (hosts) continue;
    in->host = out->host;
    in->channel = out->channel;
  }
}

static bool can_remake(const struct train *train, int32_t value) {
  const struct train_value *v = &train->values[value];
  if (v->producer < 0 || v->out_port >= 0 || v->order != TRAIN_BLOCKED) return false;
  return v->host == value && train->steps[v->producer].class->remake != NULL;
}

static bool is_residual(const struct train *train, int32_t value) {
  const struct train_value *v = &train->values[value];
  return v->producer >= 0 && train->steps[v->producer].residual;
}

/* Whether backward has the value, or can make it from what it has. What would
 * take a remade residual is kept: else making the last of a row of blocks
 * would make them all, and nothing were saved. */
static bool is_at_hand(const struct train *train, int32_t value) {
  const struct train_value *v = &train->values[value];
  if (v->in_port >= 0 || v->out_port >= 0) return true;
  if (v->host != value) return false;
  return v->saved || (can_remake(train, value) && !is_residual(train, value));
}

/* In the order in which values are made, so that those below are decided. */
static void choose_remade(struct train *train) {
  for (int32_t i = 0; i < train->n_values; i++) {
    struct train_value *v = &train->values[i];
    if (!v->saved || !can_remake(train, i)) continue;
    if (is_residual(train, i)) {
      int32_t below = train->steps[v->producer].in[1];
      struct train_value *other = &train->values[below];
      if (!is_at_hand(train, below)) continue;
      if (other->in_port < 0 && other->out_port < 0 && !other->saved) other->remade = true;
    }
    v->remade = true;
    v->saved = false;
  }
}

static void find_saved(struct train *train) {
  for (int32_t s = 0; s < train->n_steps; s++) {
    const struct train_step *step = &train->steps[s];
    if (!train->values[step->out].wanted) continue;
    train->values[step->out].saved |= step->needs_output;
    for (int32_t i = 0; i < step->n_in; i++)
      train->values[step->in[i]].saved |= step->needs_input[i];
  }
  choose_remade(train);
  for (int32_t i = 0; i < train->n_values; i++)
    train->values[train->values[i].host].saved |= train->values[i].saved;
  for (int32_t i = 0; i < train->n_values; i++) {
    struct train_value *v = &train->values[i];
    v->place = v->in_port >= 0    ? TRAIN_IN_PORT
               : v->out_port >= 0 ? TRAIN_OUT_PORT
               : v->saved         ? TRAIN_SAVED
                                  : TRAIN_TRANSIENT;
    v->ld = train->values[v->host].channels;
  }
}

/* Gradients in place: din[0] of an element-wise step lies where dout does. */
static void share_gradients(struct train *train) {
  for (int32_t s = 0; s < train->n_steps; s++) {
    const struct train_step *step = &train->steps[s];
    struct train_value *in = &train->values[step->in[0]], *out = &train->values[step->out];
    if (!step->class->elementwise || in->in_port >= 0 || in->out_port >= 0) continue;
    if (in->n_readers != 1 || in->grad_host != step->in[0] || !in->wanted) continue;
    if (out->grad_host != step->out && train->values[out->grad_host].channels != in->channels)
      continue;
    bool hosts = false;
    for (int32_t i = 0; i < train->n_values; i++)
      hosts |= i != step->in[0] && train->values[i].grad_host == step->in[0];
    if (!hosts) in->grad_host = step->out;
  }
  for (int32_t i = 0; i < train->n_values; i++) {
    struct train_value *v = &train->values[i];
    while (train->values[v->grad_host].grad_host != v->grad_host)
      v->grad_host = train->values[v->grad_host].grad_host;
    v->grad_ld = train->values[v->grad_host].channels;
  }
}

static int32_t back(const struct train *train, int32_t step) { return train->n_steps - 1 - step; }

static int32_t smaller(int32_t a, int32_t b) { return a < b ? a : b; }
static int32_t larger(int32_t a, int32_t b) { return a > b ? a : b; }

static int64_t bytes_of(const struct train_value *v) { return v->count * (int64_t)sizeof(float); }

static void place_saved(ex_program *program, struct train *train) {
  int64_t at = 0;
  for (int32_t i = 0; i < train->n_values; i++)
    if (train->values[i].host == i && train->values[i].place == TRAIN_SAVED) {
      train->values[i].offset = at;
      at += (bytes_of(&train->values[i]) + 63) & ~(int64_t)63;
    }
  for (int32_t s = 0; s < train->n_steps; s++) {
    train->steps[s].saved_offset = at;
    at += (train->steps[s].saved_bytes + 63) & ~(int64_t)63;
  }
  program->saved_bytes = at;
}

static int32_t forward_items(struct train *train, struct ex_arena_item *items) {
  int32_t n = 0;
  for (int32_t h = 0; h < train->n_values; h++) {
    struct train_value *host = &train->values[h];
    if (host->host != h || host->place != TRAIN_TRANSIENT) continue;
    struct ex_arena_item item = {bytes_of(host), train->n_steps, 0, &host->offset};
    for (int32_t i = 0; i < train->n_values; i++) {
      const struct train_value *v = &train->values[i];
      if (v->host != h) continue;
      item.begin = smaller(item.begin, v->producer);
      item.end = larger(item.end, larger(v->producer, v->last_reader));
    }
    items[n++] = item;
  }
  for (int32_t s = 0; s < train->n_steps; s++)
    items[n++] = (struct ex_arena_item){train->steps[s].scratch_forward, s, s,
                                        &train->steps[s].offset_forward};
  return n;
}

/* When remade values are made: for the last step that reads them in backward,
 * or for the first thing that is made from them. */
static void find_first_uses(struct train *train) {
  for (int32_t i = 0; i < train->n_values; i++) train->values[i].remake_step = -1;
  for (int32_t s = 0; s < train->n_steps; s++) {
    const struct train_step *step = &train->steps[s];
    if (step->needs_output) train->values[step->out].remake_step = s;
    for (int32_t i = 0; i < step->n_in; i++)
      if (step->needs_input[i]) train->values[step->in[i]].remake_step = s;
  }
  for (int32_t s = train->n_steps - 1; s >= 0; s--) {
    const struct train_value *out = &train->values[train->steps[s].out];
    for (int32_t i = 0; out->remade && i < train->steps[s].n_in; i++) {
      struct train_value *in = &train->values[train->steps[s].in[i]];
      in->remake_step = larger(in->remake_step, out->remake_step);
    }
  }
}

/* The last moment of backward at which a remade value is read. */
static int32_t last_use(const struct train *train, const struct train_value *v) {
  bool by_producer = train->steps[v->producer].needs_output;
  return back(train, by_producer ? v->producer : v->first_reader);
}

static int32_t backward_items(struct train *train, struct ex_arena_item *items) {
  int32_t n = 0;
  find_first_uses(train);
  for (int32_t h = 0; h < train->n_values; h++) {
    struct train_value *host = &train->values[h];
    if (host->remade)
      items[n++] = (struct ex_arena_item){bytes_of(host), back(train, host->remake_step),
                                          last_use(train, host), &host->remake_offset};
    if (host->grad_host != h || host->in_port >= 0) continue;
    struct ex_arena_item item = {bytes_of(host), train->n_steps, 0, &host->grad_offset};
    bool wanted = false;
    for (int32_t i = 0; i < train->n_values; i++) {
      const struct train_value *v = &train->values[i];
      if (v->grad_host != h || !v->wanted) continue;
      wanted = true;
      item.begin = smaller(item.begin, back(train, larger(v->producer, v->last_reader)));
      item.end = larger(item.end, back(train, v->producer));
    }
    if (wanted) items[n++] = item;
  }
  for (int32_t s = 0; s < train->n_steps; s++) {
    const struct train_value *out = &train->values[train->steps[s].out];
    /* It is made again with this scratch. */
    int32_t first = out->remade ? out->remake_step : s;
    items[n++] = (struct ex_arena_item){train->steps[s].scratch_backward, back(train, first),
                                        back(train, s), &train->steps[s].offset_backward};
  }
  return n;
}

enum ex_status ex__train_place(ex_program *program, struct ex_error *err) {
  struct train *train = train_of(program);
  find_readers(train);
  make_slices(train);
  work_in_place(train);
  ex__train_find_wanted(program);
  find_saved(train);
  share_gradients(train);
  for (int32_t s = 0; s < train->n_steps; s++)
    if (train->steps[s].class->plan != NULL)
      EX_TRY(train->steps[s].class->plan(program, &train->steps[s], err));
  place_saved(program, train);
  size_t most = 2 * (size_t)train->n_values + (size_t)train->n_steps;
  struct ex_arena_item *items = ex__alloc(most, sizeof *items);
  int64_t forward = -1, backward = -1;
  if (items != NULL) {
    forward = ex__arena_place(items, forward_items(train, items));
    backward = ex__arena_place(items, backward_items(train, items));
  }
  ex__free(items);
  if (forward < 0 || backward < 0)
    return ex__fail(err, EX_ENOMEM, "training program: no memory to place %zu arrays", most);
  program->transient_bytes = forward > backward ? forward : backward;
  return EX_OK;
}
