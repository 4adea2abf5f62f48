/* SPDX-License-Identifier: Apache-2.0
 *
 * Attributes of operators that see a sample as rows of numbers, drawn to fit
 * what they read: for test_fast_infer_random.
 */
#ifndef EX_TESTS_FAST_RANDOM_H
#define EX_TESTS_FAST_RANDOM_H

#include "tests/fast_harness.h"

enum { ATTRS = 256 };

static inline int draw(struct ex_random *random, int least, int most) {
  return least + (int)ex__random_below(random, (uint32_t)(most - least + 1));
}

/* A shape as three dimensions, with the steps between their neighbours. */
struct dims {
  int dim[3], step[3];
};

static inline struct dims dims_of(const struct ex_shape *shape) {
  struct dims d = {{1, 1, shape->dim[0]}, {1, 1, 1}};
  for (int i = 0; shape->rank == 3 && i < 3; i++) d.dim[i] = shape->dim[i];
  d.step[1] = d.dim[2];
  d.step[0] = d.dim[1] * d.dim[2];
  return d;
}

/* Transposed; and by chance cut, turned round or repeated. */
static inline void draw_view(struct ex_random *random, const struct ex_shape *in,
                             char attrs[ATTRS]) {
  struct dims from = dims_of(in), to;
  int order[] = {0, 1, 2}, offset = 0, a = draw(random, 0, 2), b = draw(random, 0, 2);
  order[a] = b, order[b] = a;
  for (int i = 0; i < 3; i++) {
    to.dim[i] = from.dim[order[i]];
    to.step[i] = from.step[order[i]];
    int chance = draw(random, 0, 9), first = to.dim[i] > 1 ? draw(random, 0, 1) : 0;
    if (chance < 2) {
      to.dim[i] -= first;
      offset += first * to.step[i];
    } else if (chance == 2) {
      offset += (to.dim[i] - 1) * to.step[i];
      to.step[i] = -to.step[i];
    } else if (chance == 3) {
      to.step[i] = 0;
    }
  }
  snprintf(attrs, ATTRS, "shape=%d,%d,%d dims=%d,%d,%d steps=%d,%d,%d offset=%d", to.dim[0],
           to.dim[1], to.dim[2], to.dim[0], to.dim[1], to.dim[2], to.step[0], to.step[1],
           to.step[2], offset);
}

/* Of a shape like the first input's, whose steps it has; the second operand is repeated along
 * what dimensions chance says. Quotients are by parameters alone, which are far from 0. */
static inline void draw_arithmetic(struct ex_random *random, const struct ex_shape *in, int n_in,
                                   char attrs[ATTRS]) {
  static const char *const kinds[] = {"add", "sub", "mul", "max", "min", "prelu", "div"};
  struct dims d = dims_of(in);
  int parameters = 1, step[3];
  bool whole = draw(random, 0, 2) == 0;
  for (int i = 2; i >= 0; i--) {
    bool repeated = !whole && draw(random, 0, 1) == 0;
    step[i] = repeated ? 0 : parameters;
    if (!repeated) parameters *= d.dim[i];
  }
  const char *kind = kinds[draw(random, 0, n_in > 1 ? 5 : 6)];
  bool swap = strcmp(kind, "div") != 0 && draw(random, 0, 1) == 0;
  snprintf(attrs, ATTRS,
           "kind=%s parameters=%d swap=%s shape=%d,%d,%d dims=%d,%d,%d first-steps=%d,%d,%d "
           "second-steps=%d,%d,%d",
           kind, parameters, swap ? "true" : "false", d.dim[0], d.dim[1], d.dim[2], d.dim[0],
           d.dim[1], d.dim[2], d.step[0], d.step[1], d.step[2], step[0], step[1], step[2]);
}

/* By parameters, or by a second value that has as many numbers as its depth asks for. */
static inline void draw_matmul(struct ex_random *random, const struct ex_shape *in,
                               const struct ex_shape *second, int n_in, char attrs[ATTRS]) {
  struct dims d = dims_of(in);
  bool shared = draw(random, 0, 1) == 0;
  int count = d.dim[0], rows = d.dim[1], depth = d.dim[2], columns = draw(random, 1, 70);
  if (n_in > 1) {
    int numbers = (int)ex__shape_count(second), each = (shared ? 1 : count) * depth;
    columns = numbers / each > 0 ? numbers / each : 1;
  }
  snprintf(attrs, ATTRS, "count=%d rows=%d depth=%d columns=%d shared=%s shape=%d,%d,%d", count,
           rows, depth, columns, shared ? "true" : "false", count, rows, columns);
}

/* Along the last dimension or the last two. */
static inline int draw_group(struct ex_random *random, const struct ex_shape *in) {
  struct dims d = dims_of(in);
  return draw(random, 0, 3) == 0 ? d.step[0] : d.dim[2];
}

static inline void draw_reduce(struct ex_random *random, const struct ex_shape *in,
                               char attrs[ATTRS]) {
  static const char *const kinds[] = {"sum", "mean", "max", "min"};
  int size = draw_group(random, in);
  snprintf(attrs, ATTRS, "kind=%s size=%d shape=%d,1,1", kinds[draw(random, 0, 3)], size,
           (int)ex__shape_count(in) / size);
}

#endif
