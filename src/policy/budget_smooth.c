/* SPDX-License-Identifier: Apache-2.0
 *
 * policy/budget_smooth: the problem with sigmoids in place of steps, and the inexact
 * proximal-point penalty method.
 *
 * With a_k what leaving at exit k is worth (minus a right answer; the cost),
 *
 *     V_k = s_k a_k + (1 − s_k) V_{k+1},  V_K = a_K,
 *     ∂V_0/∂t_j = −alpha s_j (1 − s_j) (a_j − V_{j+1}) Π_{i<j} (1 − s_i),
 *
 * which sums p_k a_k with p_k = s_k Π_{j<k} (1 − s_j). The method goes round
 *
 *     t ← argmin  f(t) + rho/2 max(0, h(t))² + gamma/2 |t − t_r|²   in [0, 1]^(K−1),
 *
 * h being the mean cost less the bound, by some steps of accelerated projected
 * gradient, with rho growing. alpha doubles from 10, where everything is gentle, to
 * 40. All constants are ours; t are ranks.
 */
#include <math.h>
#include <string.h>

#include "base/exponential.h"
#include "policy/budget.h"

enum { BLOCK = 256, ROUNDS = 7, INNER = 5, BACKTRACKS = 12 };

static const double steepness[] = {10, 20, 40};
enum { STAGES = sizeof steepness / sizeof *steepness };
static const double FIRST_RHO = 2, RHO_GROWS = 2.5;
static const double STILL = 1e-4; /* a round that moves no threshold by more is the last */

size_t ex__budget_work(const struct ex_budget *budget) {
  return (size_t)(budget->n_exits + 1) * BLOCK;
}

/* sigmoid(alpha (rank − t)) of a block. */
static void sigmoids(const double *rank, int32_t n, double alpha, double t, double *out) {
  ex_real z[BLOCK];
  for (int32_t i = 0; i < n; i++) z[i] = (ex_real)-fabs(alpha * (rank[i] - t));
  ex__exponentials(z, n, 0, out);
  for (int32_t i = 0; i < n; i++) out[i] = (rank[i] < t ? out[i] : 1) / (1 + out[i]);
}

/* One sample of a block: s [n_exits] and reach at stride BLOCK. */
static void add_sample(const struct ex_budget *budget, int32_t sample, double alpha,
                       const double *s, double *reach, struct ex_smooth *out) {
  int32_t last = budget->n_exits;
  double share = (double)budget->count[sample] / (double)budget->total, here = 1;
  for (int32_t e = 0; e < last; e++) {
    reach[e] = here;
    here *= 1 - s[(int64_t)e * BLOCK];
  }
  const uint8_t *right = budget->right + sample;
  double wrong = -(double)right[(int64_t)last * budget->n], cost = budget->leave[last];
  for (int32_t e = last - 1; e >= 0; e--) {
    double leave = s[(int64_t)e * BLOCK], mine = -(double)right[(int64_t)e * budget->n];
    double slope = -alpha * leave * (1 - leave) * reach[e] * share;
    out->d_wrong[e] += slope * (mine - wrong);
    out->d_cost[e] += slope * (budget->leave[e] - cost);
    wrong += leave * (mine - wrong);
    cost += leave * (budget->leave[e] - cost);
  }
  out->wrong += share * wrong;
  out->cost += share * cost;
}

void ex__budget_smooth(const struct ex_budget *budget, double alpha, const double *t, double *work,
                       struct ex_smooth *out) {
  *out = (struct ex_smooth){.wrong = 0};
  double reach[EX_MAX_POINTS];
  for (int32_t first = 0; first < budget->n; first += BLOCK) {
    int32_t n = budget->n - first < BLOCK ? budget->n - first : BLOCK;
    for (int32_t e = 0; e < budget->n_exits; e++)
      sigmoids(budget->rank + (int64_t)e * budget->n + first, n, alpha, t[e],
               work + (int64_t)e * BLOCK);
    for (int32_t i = 0; i < n; i++) add_sample(budget, first + i, alpha, work + i, reach, out);
  }
}

/* ---- the method ------------------------------------------------------------- */

struct method {
  const struct ex_budget *budget;
  double bound, alpha, rho, gamma;
  const double *anchor; /* t_r */
  double *work;
};

/* The penalised objective and its gradient. */
static double penalised(const struct method *method, const double *t, double *gradient) {
  struct ex_smooth smooth;
  ex__budget_smooth(method->budget, method->alpha, t, method->work, &smooth);
  double over = fmax(0, smooth.cost - method->bound);
  double value = smooth.wrong + method->rho / 2 * over * over;
  for (int32_t e = 0; e < method->budget->n_exits; e++) {
    double moved = t[e] - method->anchor[e];
    value += method->gamma / 2 * moved * moved;
    gradient[e] = smooth.d_wrong[e] + method->rho * over * smooth.d_cost[e] + method->gamma * moved;
  }
  return value;
}

/* One projected step from y, as short as the curvature asks; the new point in `to`. */
static void step(const struct method *method, const double *y, double *lipschitz, double *to) {
  int32_t n = method->budget->n_exits;
  double gradient[EX_MAX_POINTS], unused[EX_MAX_POINTS];
  double value = penalised(method, y, gradient);
  for (int32_t b = 0; b < BACKTRACKS; b++, *lipschitz *= 2) {
    double model = value;
    for (int32_t e = 0; e < n; e++) {
      to[e] = fmin(1, fmax(0, y[e] - gradient[e] / *lipschitz));
      double moved = to[e] - y[e];
      model += gradient[e] * moved + *lipschitz / 2 * moved * moved;
    }
    if (penalised(method, to, unused) <= model + 1e-12) return;
  }
}

/* Nesterov's acceleration for a strongly convex problem. */
static void minimise(const struct method *method, double *t) {
  int32_t n = method->budget->n_exits;
  double y[EX_MAX_POINTS], next[EX_MAX_POINTS], lipschitz = 2 * method->gamma;
  memcpy(y, t, (size_t)n * sizeof *y);
  for (int32_t i = 0; i < INNER; i++) {
    step(method, y, &lipschitz, next);
    double root = sqrt(method->gamma / lipschitz), carry = (1 - root) / (1 + root);
    for (int32_t e = 0; e < n; e++) {
      y[e] = fmin(1, fmax(0, next[e] + carry * (next[e] - t[e])));
      t[e] = next[e];
    }
  }
}

void ex__budget_penalty(const struct ex_budget *budget, double bound, bool warm, double *work,
                        double *t) {
  double anchor[EX_MAX_POINTS];
  for (int32_t stage = warm ? STAGES - 1 : 0; stage < STAGES; stage++) {
    struct method method = {budget, bound, steepness[stage], FIRST_RHO, 0, anchor, work};
    for (int32_t r = 0; r < ROUNDS; r++, method.rho *= RHO_GROWS) {
      double most = 0;
      method.gamma = 2 + method.rho / 16; /* grows with the penalty's own curvature */
      memcpy(anchor, t, (size_t)budget->n_exits * sizeof *anchor);
      minimise(&method, t);
      for (int32_t e = 0; e < budget->n_exits; e++) most = fmax(most, fabs(t[e] - anchor[e]));
      if (most < STILL && r > 2) break;
    }
  }
}
