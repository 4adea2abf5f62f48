/* SPDX-License-Identifier: Apache-2.0
 *
 * policy/routing: see the header.
 */
#include "policy/routing.h"

#include <math.h>
#include <string.h>

#include "base/memory.h"

enum { NOT_HERE = -2 }; /* of struct pass, came */

/* One way in, and the exits behind it from the last to the first. */
struct pass {
  const struct ex_routing *problem;
  struct ex_route *route;
  double *ahead;   /* [n_exits][n_exits][n], by exit and exit before: spent from there on */
  double *passing; /* [n_exits][n], by exit before: spent by the rest of the chain */
  int8_t *came;    /* [n]: the exit before, of samples that count; NULL but in sweeps */
  struct ex_gate_lesson lesson;
};

static bool has_answer(const struct ex_routing *problem, int32_t exit, int32_t sample) {
  return isfinite(problem->price[(int64_t)exit * problem->n + sample]);
}

static const double *feature_of(const struct ex_routing *problem, int32_t exit, int32_t before,
                                int32_t sample) {
  int64_t row = ((int64_t)exit * problem->n_exits + 1 + before) * problem->n + sample;
  return problem->feature + row * problem->d;
}

static double *ahead_at(const struct pass *pass, int32_t exit, int32_t before, int32_t sample) {
  int64_t row = (int64_t)exit * pass->problem->n_exits + 1 + before;
  return pass->ahead + row * pass->problem->n + sample;
}

static double *passing_at(const struct pass *pass, int32_t before, int32_t sample) {
  return pass->passing + (int64_t)(1 + before) * pass->problem->n + sample;
}

static int32_t n_options(const struct ex_routing *problem, int32_t exit) {
  return problem->n_exits - exit; /* to stop, and the exits behind it */
}

/* What an option costs from here on: 0 stops, t goes to exit + t. */
static double cost_of(const struct pass *pass, int32_t exit, int32_t option, int32_t sample) {
  const struct ex_routing *problem = pass->problem;
  if (option == 0) return problem->price[(int64_t)exit * problem->n + sample];
  return problem->step[1 + exit][exit + option] + *ahead_at(pass, exit + option, exit, sample);
}

/* Whether a sample that has an answer here may come with that exit before: by a jump
 * from where it has an answer too, or with none before, past exits that had none. */
static bool may_come(const struct pass *pass, int32_t exit, int32_t before, int32_t sample) {
  const struct ex_routing *problem = pass->problem;
  int32_t first = pass->route->first;
  if (!has_answer(problem, exit, sample)) return false;
  if (before >= 0) return before >= first && has_answer(problem, before, sample);
  for (int32_t e = first; e < exit; e++)
    if (has_answer(problem, e, sample)) return false;
  return true;
}

/* Whether it counts in learning: all ways in, in sweeps the one by which it came. */
static bool counts(const struct pass *pass, int32_t exit, int32_t before, int32_t sample) {
  return may_come(pass, exit, before, sample) &&
         (pass->came == NULL || pass->came[sample] == before);
}

/* ---- one exit ------------------------------------------------------------------- */

static void start_chain(const struct pass *pass, int32_t exit) {
  int32_t last = n_options(pass->problem, exit) - 1;
  for (int32_t before = -1; before < exit; before++)
    for (int32_t i = 0; i < pass->problem->n; i++)
      *passing_at(pass, before, i) = cost_of(pass, exit, last, i);
}

/* Puts an option in front of the chain. */
static void apply(const struct pass *pass, int32_t exit, int32_t option) {
  const struct ex_routing *problem = pass->problem;
  const struct ex_gate *gate = &pass->route->gate[exit][option];
  bool oracle = problem->oracle && pass->came == NULL; /* sweeps go by what happens */
  for (int32_t before = -1; before < exit; before++)
    for (int32_t i = 0; i < problem->n; i++) {
      if (!may_come(pass, exit, before, i)) continue;
      double *passing = passing_at(pass, before, i), cost = cost_of(pass, exit, option, i);
      if (oracle)
        *passing = fmin(*passing, cost);
      else if (ex__gate_fires(gate, feature_of(problem, exit, before, i), problem->d))
        *passing = cost;
    }
}

/* What the samples that count would gain by this gate in front of the chain. */
static double gain_of(const struct pass *pass, int32_t exit, int32_t option,
                      const struct ex_gate *gate) {
  const struct ex_routing *problem = pass->problem;
  double gain = 0;
  for (int32_t before = -1; before < exit; before++)
    for (int32_t i = 0; i < problem->n; i++)
      if (counts(pass, exit, before, i) &&
          ex__gate_fires(gate, feature_of(problem, exit, before, i), problem->d))
        gain += *passing_at(pass, before, i) - cost_of(pass, exit, option, i);
  return gain;
}

static struct ex_gate learn(struct pass *pass, int32_t exit, int32_t option) {
  const struct ex_routing *problem = pass->problem;
  for (int32_t before = -1; before < exit; before++)
    for (int32_t i = 0; i < problem->n; i++)
      if (counts(pass, exit, before, i))
        ex__gate_lesson_add(&pass->lesson, feature_of(problem, exit, before, i),
                            *passing_at(pass, before, i) - cost_of(pass, exit, option, i));
  struct ex_gate gate = ex__gate_learn(&pass->lesson);
  return gain_of(pass, exit, option, &gate) > 0 ? gate : ex__gate_never;
}

/* Of the samples that count, at this exit, by the chain that was applied last. */
static double spent(const struct pass *pass, int32_t exit) {
  double sum = 0;
  for (int32_t before = -1; before < exit; before++)
    for (int32_t i = 0; i < pass->problem->n; i++)
      if (counts(pass, exit, before, i)) sum += *passing_at(pass, before, i);
  return sum;
}

static void learn_chain(struct pass *pass, int32_t exit) {
  start_chain(pass, exit);
  for (int32_t option = n_options(pass->problem, exit) - 2; option >= 0; option--) {
    pass->route->gate[exit][option] = learn(pass, exit, option);
    apply(pass, exit, option);
  }
}

static void apply_chain(const struct pass *pass, int32_t exit) {
  start_chain(pass, exit);
  for (int32_t option = n_options(pass->problem, exit) - 2; option >= 0; option--)
    apply(pass, exit, option);
}

static void note_ahead(const struct pass *pass, int32_t exit) {
  const struct ex_routing *problem = pass->problem;
  for (int32_t before = -1; before < exit; before++)
    for (int32_t i = 0; i < problem->n; i++)
      *ahead_at(pass, exit, before, i) =
          has_answer(problem, exit, i)
              ? *passing_at(pass, before, i)
              : problem->step[1 + exit][exit + 1] + *ahead_at(pass, exit + 1, before, i);
}

/* ---- from exit to exit ------------------------------------------------------------ */

/* Where a sample that is at `exit` goes; the exit itself: it stops. */
static int32_t next_of(const struct ex_routing *problem, const struct ex_route *route, int32_t exit,
                       int32_t before, int32_t sample) {
  int32_t last = n_options(problem, exit) - 1;
  if (!has_answer(problem, exit, sample)) return exit + 1;
  const double *feature = feature_of(problem, exit, before, sample);
  for (int32_t option = 0; option < last; option++)
    if (ex__gate_fires(&route->gate[exit][option], feature, problem->d)) return exit + option;
  return exit + last;
}

static void mark_came(const struct pass *pass, int32_t exit) {
  const struct ex_routing *problem = pass->problem;
  for (int32_t i = 0; i < problem->n; i++) {
    int32_t at = pass->route->first, before = -1;
    while (at < exit) {
      int32_t next = next_of(problem, pass->route, at, before, i);
      if (next == at) break;
      if (has_answer(problem, at, i)) before = at;
      at = next;
    }
    pass->came[i] = (int8_t)(at == exit ? before : NOT_HERE);
  }
}

static void sweep(struct pass *pass) {
  size_t size = sizeof pass->route->gate[0];
  for (int32_t exit = pass->problem->n_exits - 2; exit >= pass->route->first; exit--) {
    struct ex_gate(*gates)[EX_MAX_ROUTED - 1] = &pass->route->gate[exit], old[EX_MAX_ROUTED - 1];
    mark_came(pass, exit);
    memcpy(old, *gates, size);
    apply_chain(pass, exit);
    double before = spent(pass, exit);
    learn_chain(pass, exit);
    if (!(spent(pass, exit) < before)) {
      memcpy(*gates, old, size);
      apply_chain(pass, exit);
    }
    note_ahead(pass, exit);
  }
}

static void run(struct pass *pass, int8_t *came) {
  const struct ex_routing *problem = pass->problem;
  pass->came = NULL;
  for (int32_t exit = problem->n_exits - 2; exit >= pass->route->first; exit--) {
    learn_chain(pass, exit);
    note_ahead(pass, exit);
  }
  pass->came = came;
  for (int32_t s = 0; s < problem->sweeps; s++) sweep(pass);
}

/* Each way in; the cheapest is kept, of equals the latest: it needs least. */
static void choose(struct pass *pass, int8_t *came, struct ex_route *out) {
  const struct ex_routing *problem = pass->problem;
  int32_t last = problem->n_exits - 1;
  *out = (struct ex_route){.first = last};
  double least = ex__routing_cost(problem, out);
  for (int32_t first = last - 1; first >= 0; first--) {
    *pass->route = (struct ex_route){.first = first};
    run(pass, came);
    double cost = ex__routing_cost(problem, pass->route);
    if (!(cost < least)) continue;
    least = cost;
    *out = *pass->route;
  }
}

enum ex_status ex__routing_fit(const struct ex_routing *problem, struct ex_route *out,
                               struct ex_error *err) {
  size_t n = (size_t)problem->n, exits = (size_t)problem->n_exits;
  struct pass pass = {.problem = problem};
  int8_t *came = ex__alloc(n, sizeof *came);
  pass.route = ex__alloc(1, sizeof *pass.route);
  pass.ahead = ex__calloc(exits * exits * n, sizeof *pass.ahead); /* 0 at the last */
  pass.passing = ex__alloc(exits * n, sizeof *pass.passing);
  bool ok = came != NULL && pass.route != NULL && pass.ahead != NULL && pass.passing != NULL &&
            ex__gate_lesson_new(problem->n * problem->n_exits, problem->d, problem->l2,
                                problem->exact, &pass.lesson) == EX_OK;
  if (ok) choose(&pass, came, out);
  ex__gate_lesson_free(&pass.lesson);
  ex__free(pass.passing);
  ex__free(pass.ahead);
  ex__free(pass.route);
  ex__free(came);
  return ok ? EX_OK : ex__fail(err, EX_ENOMEM, "gates: no memory for %d samples", (int)problem->n);
}

double ex__routing_cost(const struct ex_routing *problem, const struct ex_route *route) {
  double sum = 0;
  int32_t last = problem->n_exits - 1;
  for (int32_t i = 0; i < problem->n; i++) {
    int32_t at = route->first, before = -1;
    sum += problem->step[0][at];
    while (at < last) {
      int32_t next = next_of(problem, route, at, before, i);
      if (next == at) break;
      if (has_answer(problem, at, i)) before = at;
      sum += problem->step[1 + at][next];
      at = next;
    }
    if (at < last) sum += problem->price[(int64_t)at * problem->n + i];
  }
  return sum / problem->n;
}
