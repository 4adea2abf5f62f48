/* SPDX-License-Identifier: Apache-2.0
 *
 * calibrate/risk_path: the sequence of policies that risk control walks.
 *
 * A rule with a knob brings its own, from careful to bold. A rule with a
 * threshold per exit has as many knobs as exits, and "Fast yet Safe" moves one
 * threshold for all; here (ours) one scalar moves them all along a path that is
 * chosen on the select split. It begins with every exit off. Each step lowers
 * one exit's threshold, by as many levels as give the most multiply-adds per
 * loss:
 *     saving / (max(0, more loss) + one sample's largest loss),
 * where the summand keeps a few lucky samples from looking like a free step. The
 * levels on the way are put in as policies of their own, since a small step is
 * likelier to pass where the whole one fails. So thresholds only fall, and a
 * sample only ever leaves earlier, which keeps CRC's largest loss so far close
 * to the loss.
 *
 * What does not spend at least a 400th of full depth less than the policy before
 * it is left out: a test of it would tell little.
 */
#include "calibrate/risk_path.h"

#include <string.h>

#include "base/memory.h"
#include "calibrate/threshold_problem.h"

static const struct ex_samples_range all = {0, 1};
static const double least_step = 1.0 / 400;
enum { MAX_PATH = 401 };

struct climb {
  const struct ex_threshold_problem *problem;
  float *loss; /* [n_exits + 1][n]; last row: of those who never leave */
  double most; /* of one sample */
  uint8_t level[EX_MAX_POINTS];
  double full_cost, cost, last_cost; /* sums; the last is of the policy added last */
  ex_policy *items;
  int32_t n;
};

/* By bin at one exit, of samples that arrive there: had they passed, less what
 * leaving there takes. */
struct gains {
  double saving[EX_MAX_LEVELS + 1], loss[EX_MAX_LEVELS + 1];
  int32_t count[EX_MAX_LEVELS + 1];
};

struct step {
  int32_t exit;
  uint8_t level;
  double worth;
};

static int64_t look_of(const struct climb *climb, int32_t exit) {
  const struct ex_threshold_problem *problem = climb->problem;
  bool on = exit == problem->n_exits || climb->level[exit] < problem->n_levels[exit];
  return on ? problem->look[exit] : problem->look_off[exit];
}

static bool leaves(const struct climb *climb, int32_t exit, int32_t sample) {
  return climb->problem->bin[(int64_t)exit * climb->problem->n + sample] > climb->level[exit];
}

static void gather(const struct climb *climb, int32_t exit, struct gains *gains) {
  const struct ex_threshold_problem *problem = climb->problem;
  int64_t path[EX_MAX_POINTS] = {0}, looks = 0, n = problem->n;
  for (int32_t e = 0; e <= problem->n_exits; e++) {
    looks += look_of(climb, e);
    path[e] = problem->body[e] + looks;
  }
  int64_t here = path[exit] - look_of(climb, exit) + problem->look[exit];
  memset(gains, 0, sizeof *gains);
  for (int32_t i = 0; i < problem->n; i++) {
    int32_t at = 0;
    while (at < exit && !leaves(climb, at, i)) at++;
    if (at < exit) continue;
    int32_t later = exit;
    while (later < problem->n_exits && !leaves(climb, later, i)) later++;
    uint8_t b = problem->bin[exit * n + i];
    gains->count[b]++;
    gains->saving[b] += (double)(path[later] - here);
    gains->loss[b] += (double)climb->loss[exit * n + i] - (double)climb->loss[later * n + i];
  }
}

/* What lowering `exit` to each lower level saves; saving [level]. Switching the
 * exit on charges its look to those who pass. */
static void savings(const struct climb *climb, int32_t exit, const struct gains *gains,
                    double *saving) {
  const struct ex_threshold_problem *problem = climb->problem;
  int32_t now = climb->level[exit];
  double look = (double)(problem->look[exit] - look_of(climb, exit)), sum = 0;
  int32_t passing = 0;
  for (int32_t b = 0; b <= now; b++) passing += gains->count[b];
  for (int32_t l = now - 1; l >= 0; l--) {
    passing -= gains->count[l + 1];
    sum += gains->saving[l + 1];
    saving[l] = sum - passing * look;
  }
}

static void consider(const struct climb *climb, int32_t exit, struct step *best) {
  struct gains gains;
  double saving[EX_MAX_LEVELS], loss = 0;
  gather(climb, exit, &gains);
  savings(climb, exit, &gains, saving);
  for (int32_t l = climb->level[exit] - 1; l >= 0; l--) {
    loss += gains.loss[l + 1];
    double worth = saving[l] / ((loss > 0 ? loss : 0) + climb->most);
    if (worth > best->worth) *best = (struct step){exit, (uint8_t)l, worth};
  }
}

static void add(struct climb *climb, double cost, const ex_policy *policy) {
  climb->cost = cost;
  if (climb->n >= MAX_PATH || climb->last_cost - cost < least_step * climb->full_cost) return;
  ex_policy *next = &climb->items[climb->n++];
  *next = *policy;
  ex__threshold_problem_apply(climb->problem, climb->level, next);
  climb->last_cost = cost;
}

static void take(struct climb *climb, const struct step *step, const ex_policy *policy) {
  struct gains gains;
  double saving[EX_MAX_LEVELS], before = climb->cost;
  gather(climb, step->exit, &gains);
  savings(climb, step->exit, &gains, saving);
  for (int32_t l = climb->level[step->exit] - 1; l >= step->level; l--) {
    climb->level[step->exit] = (uint8_t)l;
    add(climb, before - saving[l], policy);
  }
}

static void fill_loss(const ex_policy *policy, const ex_trace *select, enum ex_risk_of of,
                      struct ex_outcome *outcomes, float *loss) {
  int32_t last = select->n_points - 1;
  ex__policy_replay(policy, select, NULL, outcomes); /* every exit is off */
  for (int32_t i = 0; i < select->n; i++) {
    for (int32_t e = 0; e < last; e++)
      loss[ex__trace_at(select, e, i)] = (float)ex__risk_loss(of, select, e, i);
    loss[ex__trace_at(select, last, i)] = (float)ex__risk_loss(of, select, outcomes[i].answer, i);
  }
}

/* climb->items[0] is the policy with every exit off. */
static void walk(struct climb *climb) {
  const struct ex_threshold_problem *problem = climb->problem;
  for (int32_t e = 0; e < problem->n_exits; e++) climb->level[e] = (uint8_t)problem->n_levels[e];
  double looks = 0;
  for (int32_t e = 0; e <= problem->n_exits; e++) looks += (double)look_of(climb, e);
  climb->full_cost = climb->cost = climb->last_cost =
      problem->n * ((double)problem->body[problem->n_exits] + looks);
  for (;;) {
    struct step best = {.exit = -1, .worth = 0};
    for (int32_t e = 0; e < problem->n_exits; e++) consider(climb, e, &best);
    if (best.exit < 0) return;
    take(climb, &best, &climb->items[0]);
  }
}

static enum ex_status of_thresholds(const ex_trace *select, enum ex_risk_of of,
                                    struct ex_candidates *out, struct ex_error *err) {
  struct ex_threshold_problem *problem;
  struct ex_outcome *outcomes = ex__alloc((size_t)select->n, sizeof *outcomes);
  float *loss = ex__alloc((size_t)select->n * (size_t)select->n_points, sizeof *loss);
  enum ex_status status =
      outcomes != NULL && loss != NULL
          ? EX_OK
          : ex__fail(err, EX_ENOMEM, "risk: no memory for %d samples", (int)select->n);
  if (status == EX_OK)
    status =
        ex__threshold_problem_new(&out->items[0], select, all, EX_FAULT_LOST, false, &problem, err);
  if (status == EX_OK) {
    fill_loss(&out->items[0], select, of, outcomes, loss);
    struct climb climb = {.problem = problem,
                          .loss = loss,
                          .most = ex__risk_loss_most(of),
                          .items = out->items,
                          .n = 1};
    walk(&climb);
    out->n = climb.n;
    ex__threshold_problem_free(problem);
  }
  ex__free(outcomes);
  ex__free(loss);
  return status;
}

/* Of a rule's own candidates, those that spend less and less. */
static enum ex_status thin(const ex_trace *select, struct ex_candidates *path,
                           struct ex_error *err) {
  struct ex_outcome *outcomes = ex__alloc((size_t)select->n, sizeof *outcomes);
  if (outcomes == NULL)
    return ex__fail(err, EX_ENOMEM, "risk: no memory for %d outcomes", (int)select->n);
  double full = (double)select->n * (double)select->cost.direct_macs[select->n_points - 1];
  double last_cost = 0;
  int32_t kept = 0;
  for (int32_t i = 0; i < path->n; i++) {
    double cost = 0;
    ex__policy_replay(&path->items[i], select, NULL, outcomes);
    for (int32_t j = 0; j < select->n; j++) cost += (double)outcomes[j].macs;
    if (kept > 0 && last_cost - cost < least_step * full) continue;
    path->items[kept++] = path->items[i];
    last_cost = cost;
  }
  path->n = kept;
  ex__free(outcomes);
  return EX_OK;
}

enum ex_status ex__risk_path_make(const ex_policy *policy, const ex_trace *select,
                                  enum ex_risk_of of, struct ex_candidates *out,
                                  struct ex_error *err) {
  EX_TRY(ex__candidates_start(policy, select, MAX_PATH, out, err));
  out->exact = false;
  enum ex_status status =
      policy->class->score != NULL ? of_thresholds(select, of, out, err) : thin(select, out, err);
  if (status != EX_OK) ex__candidates_free(out);
  return status;
}
