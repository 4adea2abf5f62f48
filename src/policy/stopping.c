/* SPDX-License-Identifier: Apache-2.0
 *
 * policy/stopping: the backward pass, and what a gate is chosen from.
 */
#include "policy/stopping.h"

#include <math.h>
#include <string.h>

#include "base/memory.h"

/* One exit at a time. */
struct pass {
  const struct ex_stopping *problem;
  int32_t exit;
  double *ahead;    /* [n]: what a sample spends that goes on from this exit */
  uint8_t *reached; /* [n]: the sample counts at this exit */
  struct ex_gate_lesson lesson;
};

static const double *feature_of(const struct ex_stopping *problem, int32_t exit, int32_t sample) {
  return problem->feature + ((int64_t)exit * problem->n + sample) * problem->d;
}

static double price_of(const struct ex_stopping *problem, int32_t exit, int32_t sample) {
  return problem->price[(int64_t)exit * problem->n + sample];
}

static bool leaves(const struct ex_stopping *problem, const struct ex_gate *gate, int32_t exit,
                   int32_t sample) {
  return isfinite(price_of(problem, exit, sample)) &&
         ex__gate_fires(gate, feature_of(problem, exit, sample), problem->d);
}

static struct ex_gate learn(struct pass *pass) {
  const struct ex_stopping *problem = pass->problem;
  for (int32_t i = 0; i < problem->n; i++)
    if (pass->reached[i])
      ex__gate_lesson_add(&pass->lesson, feature_of(problem, pass->exit, i),
                          pass->ahead[i] - price_of(problem, pass->exit, i));
  return ex__gate_learn(&pass->lesson);
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
    gates[pass->exit] = cheaper(pass, &gate, &ex__gate_never);
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
    *gate = cheaper(pass, &ex__gate_never, &best);
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
  bool ok = pass.ahead != NULL && pass.reached != NULL &&
            ex__gate_lesson_new(problem->n, problem->d, problem->l2, problem->exact,
                                &pass.lesson) == EX_OK;
  if (ok) run(&pass, gates, expected);
  ex__gate_lesson_free(&pass.lesson);
  ex__free(pass.ahead);
  ex__free(pass.reached);
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
