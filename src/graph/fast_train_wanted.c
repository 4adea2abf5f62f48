/* SPDX-License-Identifier: Apache-2.0
 *
 * graph/fast_train_wanted: who wants gradients, and in which channels not.
 *
 * A gradient is wanted where a trained parameter or an in port is below. Of an
 * in port some channels may be blocked: a reader that gives its gradient need
 * not compute them. Through operators that keep channels apart, and through
 * concatenations, what is blocked stays so for what is made of it; one range is
 * kept for each value, the longest. A step with parameters of its own needs the
 * whole gradient of its output.
 *
 * Products skip blocked channels; other steps do not look. An array of which a
 * part is blocked is zeroed before its first part is written (fast_train.c), so
 * that nothing in it is ever left over from another call.
 */
#include <string.h>

#include "graph/fast_train.h"

struct span {
  int32_t from, to; /* channels; empty where equal */
};

static int32_t length(struct span span) { return span.to - span.from; }

static struct span longer(struct span a, struct span b) { return length(b) > length(a) ? b : a; }

static struct span common(struct span a, struct span b) {
  struct span both = {a.from > b.from ? a.from : b.from, a.to < b.to ? a.to : b.to};
  return both.from < both.to ? both : (struct span){0, 0};
}

/* A value that nobody wants is blocked as a whole. */
static struct span blocked_of(const struct train_value *v) {
  return v->wanted ? (struct span){v->blocked_from, v->blocked_to} : (struct span){0, v->channels};
}

/* What nobody wants of the gradient of a step's output. */
static struct span blocked_behind(const struct train *train, const struct train_step *step) {
  const struct train_value *out = &train->values[step->out];
  const struct train_value *first = &train->values[step->in[0]];
  struct span span = blocked_of(first);
  if (step->has_params) return (struct span){0, 0};
  if (step->class == &ex__train_concat) {
    span = (struct span){0, 0};
    for (int32_t i = 0, at = 0; i < step->n_in; at += train->values[step->in[i]].channels, i++) {
      struct span part = blocked_of(&train->values[step->in[i]]);
      span = longer(span, (struct span){at + part.from, at + part.to});
    }
    return span;
  }
  if ((step->node->op->flags & EX_OP_PER_CHANNEL) != 0) {
    for (int32_t i = 1; i < step->n_in; i++)
      span = common(span, blocked_of(&train->values[step->in[i]]));
    return span;
  }
  if (strcmp(step->node->op->name, "reshape") == 0 && out->shape.rank == 1)
    return (struct span){span.from * first->plane, span.to * first->plane};
  return (struct span){0, 0};
}

static void block_ports(const ex_program *program, struct train *train) {
  const struct ex_program_options *options = &program->options;
  for (int32_t b = 0; b < options->n_blocked; b++)
    for (int32_t i = 0; i < program->n_in; i++) {
      struct train_value *v = &train->values[i];
      if (v->id != options->blocked[b].value) continue;
      v->blocked_from = options->blocked[b].from;
      v->blocked_to = options->blocked[b].to < v->channels ? options->blocked[b].to : v->channels;
    }
}

void ex__train_find_wanted(const ex_program *program) {
  struct train *train = train_of(program);
  for (int32_t i = 0; i < train->n_values; i++)
    train->values[i].wanted = train->values[i].in_port >= 0 && !program->options.no_input_gradient;
  block_ports(program, train);
  for (int32_t s = 0; s < train->n_steps; s++) {
    const struct train_step *step = &train->steps[s];
    struct train_value *out = &train->values[step->out];
    out->wanted = step->has_params && !train->frozen;
    for (int32_t i = 0; i < step->n_in; i++) out->wanted |= train->values[step->in[i]].wanted;
    if (!out->wanted) continue;
    struct span span = blocked_behind(train, step);
    out->blocked_from = span.from;
    out->blocked_to = span.to;
  }
}

int32_t ex__train_wanted_parts(const struct train_value *v, int32_t from[2], int32_t to[2]) {
  int32_t n = 0;
  bool whole = v->blocked_from >= v->blocked_to;
  if (whole || v->blocked_from > 0) {
    from[n] = 0;
    to[n++] = whole ? v->channels : v->blocked_from;
  }
  if (!whole && v->blocked_to < v->channels) {
    from[n] = v->blocked_to;
    to[n++] = v->channels;
  }
  return n;
}
