/* SPDX-License-Identifier: Apache-2.0
 *
 * export/export_memory: where values lie in the work memory.
 *
 * A value lives from the step that makes it to the last that reads it, and a step
 * that may write over an input does. A head that later exits read too may run as
 * late as the last of them, so what it reads and makes lives as long. An answer lives
 * until its gate has run, as the rule looks at both. Values are placed stage by stage, the largest of a stage first, each at the lowest place
 * where nothing that lives at the same time is in its way: so an early exit needs
 * no more memory than its own stages do, which is what the header states.
 */
#include <stdlib.h>
#include <string.h>

#include "base/memory.h"
#include "export/export_layer.h"

enum { ALIGNMENT = 4 };

static int64_t bytes_of(const struct ex_export_plan *plan, const struct ex_value *value) {
  int64_t element = plan->job->int8 && !value->is_logits ? 1 : 4;
  int64_t bytes = element * ex__shape_count(&value->shape);
  return (bytes + ALIGNMENT - 1) / ALIGNMENT * ALIGNMENT;
}

/* Position of a step: from 1, in order. */
static int32_t end_of_segment(const struct ex_export_plan *plan, int32_t segment) {
  int32_t end = 0;
  for (int32_t s = 0; s < plan->n_steps && plan->steps[s].segment <= segment; s++) end = s + 1;
  return end;
}

static void touch(struct ex_value *value, int32_t position, int32_t until) {
  if (value->begins < 0) value->begins = position;
  if (until > value->ends) value->ends = until;
}

static void find_lives(struct ex_export_plan *plan) {
  const ex_net *net = plan->net;
  for (int32_t v = 0; v < plan->n_values; v++) plan->values[v].begins = v == 0 ? 0 : -1;
  for (int32_t s = 0; s < plan->n_steps; s++) {
    const struct ex_layer_step *step = &plan->steps[s];
    int32_t until = s + 1, point = ex__net_point_of(net, ex__export_stage(step));
    if (ex__export_in_head(step) && plan->last_use[point] > point) {
      int32_t last = net->points[plan->last_use[point]].stage;
      until = end_of_segment(plan, ex__net_segment(last, EX_PART_HEAD));
    }
    for (int32_t k = 0; k < step->n_in; k++) touch(&plan->values[step->in[k]], s + 1, until);
    touch(&plan->values[step->out], s + 1, until);
  }
  for (int32_t p = 0; plan->gates && p < net->n_points; p++) {
    struct ex_value *answer = &plan->values[plan->value_of[net->points[p].output]];
    int32_t gate = ex__net_segment(net->points[p].stage, EX_PART_GATE);
    touch(answer, answer->begins, end_of_segment(plan, gate));
  }
}

/* The value in whose place a value lies, after all sharing. */
static struct ex_value *root_of(const struct ex_export_plan *plan, int32_t v) {
  while (plan->values[v].shares >= 0) v = plan->values[v].shares;
  return &plan->values[v];
}

/* A residual is read where the sum is written; what a convolution reads is not. */
static bool may_write_over(const struct ex_export_plan *plan, const struct ex_layer_step *step,
                           int32_t k) {
  if (step->layer->flags & EX_LAYER_IN_PLACE) return true;
  return step->adds && k == 1 && root_of(plan, step->in[0]) != root_of(plan, step->in[1]);
}

static void share_places(struct ex_export_plan *plan) {
  for (int32_t s = 0; s < plan->n_steps; s++) {
    const struct ex_layer_step *step = &plan->steps[s];
    struct ex_value *out = &plan->values[step->out];
    for (int32_t k = 0; k < step->n_in && out->shares < 0; k++) {
      struct ex_value *in = root_of(plan, step->in[k]);
      if (!may_write_over(plan, step, k) || in->ends != s + 1 ||
          bytes_of(plan, in) != bytes_of(plan, out))
        continue;
      if (in->is_logits != out->is_logits) continue;
      out->shares = step->in[k];
      in->ends = out->ends;
    }
  }
}

struct order {
  int32_t value, stage;
  int64_t bytes;
};

static int by_stage(const void *a, const void *b) {
  const struct order *x = a, *y = b;
  if (x->stage != y->stage) return x->stage < y->stage ? -1 : 1;
  if (x->bytes != y->bytes) return x->bytes > y->bytes ? -1 : 1;
  return (x->value > y->value) - (x->value < y->value);
}

/* The lowest place that is free while `value` lives, among the n first of `placed`. */
static int64_t find_place(const struct ex_export_plan *plan, const struct ex_value *value,
                          const struct order *placed, int32_t n) {
  int64_t offset = plan->reserved, bytes = bytes_of(plan, value);
  for (int32_t i = 0; i < n; i++) {
    const struct ex_value *other = &plan->values[placed[i].value];
    bool together = other->begins <= value->ends && value->begins <= other->ends;
    bool meets = offset < other->offset + placed[i].bytes && other->offset < offset + bytes;
    if (!together || !meets) continue;
    offset = other->offset + placed[i].bytes;
    i = -1; /* what was passed may be in the way of the new place */
  }
  return offset;
}

/* Bytes up to the end of what steps touch, exit by exit. */
static void sum_up(struct ex_export_plan *plan) {
  for (int32_t p = 0; p < plan->net->n_points; p++) {
    const struct ex_value *input = &plan->values[0];
    plan->work[p] = p > 0 ? plan->work[p - 1] : input->offset + bytes_of(plan, input);
    int32_t last = ex__net_segment(plan->net->points[p].stage, EX_PART_HEAD);
    for (int32_t s = 0; s < plan->n_steps && plan->steps[s].segment <= last; s++) {
      const struct ex_value *out = &plan->values[plan->steps[s].out];
      int64_t end = out->offset + bytes_of(plan, out);
      if (end > plan->work[p]) plan->work[p] = end;
    }
  }
}

enum ex_status ex__export_place(struct ex_export_plan *plan, struct ex_error *err) {
  struct order *order = ex__calloc((size_t)plan->n_values, sizeof *order);
  if (order == NULL) return ex__fail(err, EX_ENOMEM, "export: no memory to place values");
  find_lives(plan);
  share_places(plan);
  int32_t n = 0;
  for (int32_t v = 0; v < plan->n_values; v++)
    if (plan->values[v].begins >= 0 && plan->values[v].shares < 0)
      order[n++] = (struct order){v, plan->values[v].stage, bytes_of(plan, &plan->values[v])};
  qsort(order, (size_t)n, sizeof *order, by_stage);
  for (int32_t i = 0; i < n; i++) {
    struct ex_value *value = &plan->values[order[i].value];
    value->offset = find_place(plan, value, order, i);
  }
  for (int32_t v = 0; v < plan->n_values; v++)
    if (plan->values[v].shares >= 0) plan->values[v].offset = root_of(plan, v)->offset;
  ex__free(order);
  sum_up(plan);
  return EX_OK;
}
