/* SPDX-License-Identifier: Apache-2.0
 *
 * policy/stopping: the backward pass, and what a gate is chosen from.
 */
#include "policy/stopping.h"

#include <math.h>
#include <string.h>

#include "base/memory.h"

static const struct ex_gate never = {.on = false, .leave_at = 1}, always = {true, -1, {0}};

/* One exit at a time. */
struct pass {
  const struct ex_stopping *problem;
  int32_t exit;
  double *ahead;    /* [n]: what a sample spends that goes on from this exit */
  uint8_t *reached; /* [n]: the sample counts at this exit */
  /* The samples that the gate is learned from, gathered: [m], x [m][d]. */
  int32_t m;
  int32_t *sample;
  double *gain; /* of stopping, against going on; not 0 */
  double *x, *weight;
  uint8_t *stop;
  struct ex_scored *scored;
};

static const double *feature_of(const struct ex_stopping *problem, int32_t exit, int32_t sample) {
  return problem->feature + ((int64_t)exit * problem->n + sample) * problem->d;
}

static double price_of(const struct ex_stopping *problem, int32_t exit, int32_t sample) {
  return problem->price[(int64_t)exit * problem->n + sample];
}

static bool leaves(const struct ex_stopping *problem, const struct ex_gate *gate, int32_t exit,
                   int32_t sample) {
  return gate->on && isfinite(price_of(problem, exit, sample)) &&
         ex__gate_score(gate->weight, feature_of(problem, exit, sample), problem->d) >=
             gate->leave_at;
}

/* ---- learning one gate ------------------------------------------------------ */

static void gather(struct pass *pass) {
  const struct ex_stopping *problem = pass->problem;
  pass->m = 0;
  for (int32_t i = 0; i < problem->n; i++) {
    double gain = pass->ahead[i] - price_of(problem, pass->exit, i);
    if (!pass->reached[i] || !isfinite(gain) || gain == 0) continue;
    int32_t at = pass->m++;
    pass->sample[at] = i;
    pass->gain[at] = gain;
    pass->weight[at] = fabs(gain);
    pass->stop[at] = gain > 0;
  }
}

/* Features about their mean in units of their spread; a spread of 0 marks one that
 * says nothing. */
static void standardise(struct pass *pass, double *mean, double *spread) {
  int32_t d = pass->problem->d, m = pass->m;
  for (int32_t j = 0; j < d; j++) mean[j] = spread[j] = 0;
  for (int32_t s = 0; s < m; s++) {
    const double *feature = feature_of(pass->problem, pass->exit, pass->sample[s]);
    for (int32_t j = 0; j < d; j++) mean[j] += feature[j] / m;
  }
  for (int32_t s = 0; s < m; s++) {
    const double *feature = feature_of(pass->problem, pass->exit, pass->sample[s]);
    double *x = pass->x + (int64_t)s * d;
    for (int32_t j = 0; j < d; j++) {
      x[j] = feature[j] - mean[j];
      spread[j] += x[j] * x[j] / m;
    }
  }
  for (int32_t j = 0; j < d; j++) {
    spread[j] = sqrt(spread[j]);
    if (spread[j] <= 1e-12 * (1 + fabs(mean[j]))) spread[j] = 0;
  }
  for (int32_t s = 0; s < m; s++)
    for (int32_t j = 0; j < d; j++) {
      double *x = &pass->x[(int64_t)s * d + j];
      *x = spread[j] > 0 ? *x / spread[j] : 0;
    }
}

/* The regression's hyperplane in the features' own units; false: it has none. */
static bool regress(struct pass *pass, struct ex_gate *gate) {
  const struct ex_stopping *problem = pass->problem;
  int32_t d = problem->d;
  double mean[EX_MAX_FEATURES], spread[EX_MAX_FEATURES], coefficient[1 + EX_MAX_FEATURES], most = 0;
  standardise(pass, mean, spread);
  const struct ex_logistic regression = {pass->m,      d,          pass->x, pass->stop,
                                         pass->weight, problem->l2};
  ex__logistic_fit(&regression, coefficient);
  *gate = (struct ex_gate){.on = true, .leave_at = -coefficient[0]};
  for (int32_t j = 0; j < d; j++) {
    gate->weight[j] = spread[j] > 0 ? coefficient[1 + j] / spread[j] : 0;
    gate->leave_at += gate->weight[j] * mean[j];
    most = fmax(most, fabs(gate->weight[j]));
  }
  if (!(most > 0)) {
    *gate = coefficient[0] >= 0 ? always : never;
    return false;
  }
  gate->leave_at /= most;
  for (int32_t j = 0; j < d; j++) gate->weight[j] /= most;
  return true;
}

/* Sets the best threshold of a gate; its gain. */
static double cut(struct pass *pass, struct ex_gate *gate) {
  for (int32_t s = 0; s < pass->m; s++) {
    const double *feature = feature_of(pass->problem, pass->exit, pass->sample[s]);
    pass->scored[s] =
        (struct ex_scored){ex__gate_score(gate->weight, feature, pass->problem->d), pass->gain[s]};
  }
  struct ex_cut best = ex__best_cut(pass->scored, pass->m);
  gate->leave_at = best.at;
  if (isinf(best.at)) *gate = best.at > 0 ? never : always;
  return best.gain;
}

/* The gate on one feature alone, larger or smaller, whichever goes with stopping. */
static struct ex_gate alone(const struct pass *pass, int32_t j) {
  const int32_t d = pass->problem->d;
  double side = 0; /* x is about its mean */
  for (int32_t s = 0; s < pass->m; s++) side += pass->gain[s] * pass->x[(int64_t)s * d + j];
  struct ex_gate gate = {.on = true};
  gate.weight[j] = side < 0 ? -1 : 1;
  return gate;
}

static double gain_of_all(const struct pass *pass) {
  double sum = 0;
  for (int32_t s = 0; s < pass->m; s++) sum += pass->gain[s];
  return sum;
}

static struct ex_gate learn(struct pass *pass) {
  gather(pass);
  if (pass->m == 0) return never;
  struct ex_gate gate, best = never;
  bool sloped = regress(pass, &gate);
  if (!pass->problem->exact) return gate;
  double most = 0;
  for (int32_t j = -1; j < pass->problem->d && sloped; j++) { /* −1: the regression's */
    if (j >= 0) gate = alone(pass, j);
    double gain = cut(pass, &gate);
    if (gain <= most) continue;
    most = gain;
    best = gate;
  }
  return !sloped && gain_of_all(pass) > 0 ? always : best;
}

/* ---- from exit to exit ------------------------------------------------------ */

/* What one sample spends from this exit's head on. */
static double spent(const struct pass *pass, const struct ex_gate *gate, int32_t sample) {
  const struct ex_stopping *problem = pass->problem;
  int32_t exit = pass->exit;
  if (!gate->on) return problem->look_off[exit] + pass->ahead[sample];
  return problem->look[exit] + (leaves(problem, gate, exit, sample)
                                    ? price_of(problem, exit, sample)
                                    : pass->ahead[sample]);
}

static double spent_by_reached(const struct pass *pass, const struct ex_gate *gate) {
  double sum = 0;
  for (int32_t i = 0; i < pass->problem->n; i++)
    if (pass->reached[i]) sum += spent(pass, gate, i);
  return sum;
}

/* What lies ahead of the exit before this one. */
static void step_back(struct pass *pass, const struct ex_gate *gate) {
  for (int32_t i = 0; i < pass->problem->n; i++)
    pass->ahead[i] = pass->problem->way[pass->exit] + spent(pass, gate, i);
}

/* The same where an oracle decides here, and whether there is a head to look at. */
static void step_back_as_oracle(struct pass *pass) {
  const struct ex_stopping *problem = pass->problem;
  int32_t exit = pass->exit;
  double on = 0, off = 0;
  for (int32_t i = 0; i < problem->n; i++) {
    on += problem->look[exit] + fmin(price_of(problem, exit, i), pass->ahead[i]);
    off += problem->look_off[exit] + pass->ahead[i];
  }
  for (int32_t i = 0; i < problem->n; i++) {
    double here = on < off ? problem->look[exit] + fmin(price_of(problem, exit, i), pass->ahead[i])
                           : problem->look_off[exit] + pass->ahead[i];
    pass->ahead[i] = problem->way[exit] + here;
  }
}

/* Behind the last gate: the way to the last exit and its head. */
static void begin_at_the_end(struct pass *pass) {
  const struct ex_stopping *problem = pass->problem;
  int32_t last = problem->n_exits;
  for (int32_t i = 0; i < problem->n; i++)
    pass->ahead[i] = problem->way[last] + problem->look[last];
}

static struct ex_gate cheaper(const struct pass *pass, const struct ex_gate *gate,
                              const struct ex_gate *other) {
  return spent_by_reached(pass, gate) < spent_by_reached(pass, other) ? *gate : *other;
}

static void learn_all(struct pass *pass, struct ex_gate *gates) {
  begin_at_the_end(pass);
  memset(pass->reached, 1, (size_t)pass->problem->n);
  for (pass->exit = pass->problem->n_exits - 1; pass->exit >= 0; pass->exit--) {
    struct ex_gate gate = learn(pass);
    gates[pass->exit] = cheaper(pass, &gate, &never);
    if (pass->problem->oracle)
      step_back_as_oracle(pass);
    else
      step_back(pass, &gates[pass->exit]);
  }
}

/* Who arrives at this exit under the gates before it. */
static void mark_reached(struct pass *pass, const struct ex_gate *gates) {
  for (int32_t i = 0; i < pass->problem->n; i++) {
    int32_t e = 0;
    while (e < pass->exit && !leaves(pass->problem, &gates[e], e, i)) e++;
    pass->reached[i] = e == pass->exit;
  }
}

static void sweep(struct pass *pass, struct ex_gate *gates) {
  begin_at_the_end(pass);
  for (pass->exit = pass->problem->n_exits - 1; pass->exit >= 0; pass->exit--) {
    struct ex_gate *gate = &gates[pass->exit];
    mark_reached(pass, gates);
    struct ex_gate other = learn(pass), best = cheaper(pass, &other, gate);
    *gate = cheaper(pass, &never, &best);
    step_back(pass, gate);
  }
}

static double mean(const double *x, int32_t n) {
  double sum = 0;
  for (int32_t i = 0; i < n; i++) sum += x[i];
  return sum / n;
}

static void run(struct pass *pass, struct ex_gate *gates, double *expected) {
  learn_all(pass, gates);
  if (expected != NULL) *expected = mean(pass->ahead, pass->problem->n);
  for (int32_t s = 0; s < pass->problem->sweeps; s++) sweep(pass, gates);
  bool of_gates = pass->problem->sweeps > 0 && !pass->problem->oracle;
  if (expected != NULL && of_gates) *expected = mean(pass->ahead, pass->problem->n);
}

enum ex_status ex__stopping_fit(const struct ex_stopping *problem, struct ex_gate *gates,
                                double *expected, struct ex_error *err) {
  size_t n = (size_t)problem->n;
  struct pass pass = {.problem = problem};
  pass.ahead = ex__alloc(n, sizeof *pass.ahead);
  pass.reached = ex__alloc(n, sizeof *pass.reached);
  pass.sample = ex__alloc(n, sizeof *pass.sample);
  pass.gain = ex__alloc(n, sizeof *pass.gain);
  pass.x = ex__alloc(n * (size_t)problem->d, sizeof *pass.x);
  pass.weight = ex__alloc(n, sizeof *pass.weight);
  pass.stop = ex__alloc(n, sizeof *pass.stop);
  pass.scored = ex__alloc(n, sizeof *pass.scored);
  bool ok = pass.ahead != NULL && pass.reached != NULL && pass.sample != NULL &&
            pass.gain != NULL && pass.x != NULL && pass.weight != NULL && pass.stop != NULL &&
            pass.scored != NULL;
  if (ok) run(&pass, gates, expected);
  ex__free(pass.ahead);
  ex__free(pass.reached);
  ex__free(pass.sample);
  ex__free(pass.gain);
  ex__free(pass.x);
  ex__free(pass.weight);
  ex__free(pass.stop);
  ex__free(pass.scored);
  return ok ? EX_OK : ex__fail(err, EX_ENOMEM, "gates: no memory for %d samples", (int)problem->n);
}

/* ---- forward ---------------------------------------------------------------- */

double ex__stopping_cost(const struct ex_stopping *problem, const struct ex_gate *gates) {
  double sum = 0;
  for (int32_t i = 0; i < problem->n; i++) {
    int32_t e = 0;
    for (; e < problem->n_exits; e++) {
      sum += problem->way[e] + (gates[e].on ? problem->look[e] : problem->look_off[e]);
      if (leaves(problem, &gates[e], e, i)) break;
    }
    sum += e < problem->n_exits ? price_of(problem, e, i) : problem->way[e] + problem->look[e];
  }
  return sum / problem->n;
}
