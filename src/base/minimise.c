/* SPDX-License-Identifier: Apache-2.0
 *
 * base/minimise: L-BFGS with the last eight steps, and steps that are halved
 * until they lower the value by a share of what the slope promises (Armijo). A
 * pair (step, change of gradient) without positive curvature is left out, so
 * directions always lead downhill.
 */
#include "base/minimise.h"

#include <math.h>
#include <stdbool.h>
#include <string.h>

enum { MEMORY = 8, MOST_HALVINGS = 40 };
static const double share = 1e-4; /* of the promised descent */

struct search {
  const struct ex_objective *objective;
  int32_t n, n_pairs, next, calls; /* pairs lie in a ring; `next` is overwritten next */
  double *step, *change;           /* [MEMORY][n] */
  double *gradient, *direction, *x, *x_gradient; /* [n] */
  double by_curvature[MEMORY];                   /* 1 / (step · change) */
};

size_t ex__minimise_scratch(int32_t n) { return (2 * MEMORY + 4) * (size_t)n; }

static double dot(const double *a, const double *b, int32_t n) {
  double sum = 0;
  for (int32_t i = 0; i < n; i++) sum += a[i] * b[i];
  return sum;
}

static void add(double *to, double factor, const double *what, int32_t n) {
  for (int32_t i = 0; i < n; i++) to[i] += factor * what[i];
}

static double largest(const double *a, int32_t n) {
  double most = 0;
  for (int32_t i = 0; i < n; i++) most = fmax(most, fabs(a[i]));
  return most;
}

static int32_t pair_at(const struct search *search, int32_t back) { /* 0: the newest */
  return (search->next + MEMORY - 1 - back) % MEMORY;
}

/* direction ← −H · gradient, H from the pairs (the two loops). */
static void find_direction(struct search *search) {
  int32_t n = search->n;
  double alpha[MEMORY] = {0}, *d = search->direction;
  for (int32_t i = 0; i < n; i++) d[i] = -search->gradient[i];
  for (int32_t back = 0; back < search->n_pairs; back++) {
    int32_t k = pair_at(search, back);
    alpha[back] = search->by_curvature[k] * dot(search->step + k * n, d, n);
    add(d, -alpha[back], search->change + k * n, n);
  }
  double scale = 1 / fmax(1, sqrt(dot(search->gradient, search->gradient, n)));
  if (search->n_pairs > 0) {
    int32_t k = pair_at(search, 0);
    const double *change = search->change + k * n;
    scale = 1 / (search->by_curvature[k] * dot(change, change, n));
  }
  for (int32_t i = 0; i < n; i++) d[i] *= scale;
  for (int32_t back = search->n_pairs - 1; back >= 0; back--) {
    int32_t k = pair_at(search, back);
    double beta = search->by_curvature[k] * dot(search->change + k * n, d, n);
    add(d, alpha[back] - beta, search->step + k * n, n);
  }
}

/* From x along the direction: into search->x and its gradient. False: no step
 * lowers the value. */
static bool find_step(struct search *search, const double *x, int32_t most, double *value) {
  int32_t n = search->n;
  double slope = dot(search->gradient, search->direction, n), length = 1;
  if (!(slope < 0)) return false;
  for (int32_t i = 0; i < MOST_HALVINGS && search->calls < most; i++, length /= 2) {
    memcpy(search->x, x, (size_t)n * sizeof *x);
    add(search->x, length, search->direction, n);
    search->calls++;
    double there =
        search->objective->value(search->objective->context, search->x, search->x_gradient);
    if (!isfinite(there) || !(there < *value + share * length * slope)) continue;
    *value = there;
    return true;
  }
  return false;
}

static void remember(struct search *search, const double *x) {
  int32_t n = search->n, k = search->next;
  double *step = search->step + k * n, *change = search->change + k * n;
  for (int32_t i = 0; i < n; i++) {
    step[i] = search->x[i] - x[i];
    change[i] = search->x_gradient[i] - search->gradient[i];
  }
  double curvature = dot(step, change, n);
  if (!(curvature > 1e-12 * dot(change, change, n))) return;
  search->by_curvature[k] = 1 / curvature;
  search->next = (k + 1) % MEMORY;
  if (search->n_pairs < MEMORY) search->n_pairs++;
}

double ex__minimise(const struct ex_objective *objective, double tolerance, int32_t most, double *x,
                    double *scratch) {
  int32_t n = objective->n;
  struct search search = {.objective = objective, .n = n, .calls = 1};
  search.step = scratch;
  search.change = search.step + MEMORY * (size_t)n;
  search.gradient = search.change + MEMORY * (size_t)n;
  search.direction = search.gradient + n;
  search.x = search.direction + n;
  search.x_gradient = search.x + n;
  double value = objective->value(objective->context, x, search.gradient);
  while (search.calls < most && largest(search.gradient, n) > tolerance) {
    find_direction(&search);
    if (!find_step(&search, x, most, &value)) {
      if (search.n_pairs == 0) break;
      search.n_pairs = 0; /* once more, straight down the slope */
      continue;
    }
    remember(&search, x);
    memcpy(x, search.x, (size_t)n * sizeof *x);
    memcpy(search.gradient, search.x_gradient, (size_t)n * sizeof *x);
  }
  return value;
}
