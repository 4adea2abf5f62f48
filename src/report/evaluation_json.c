/* SPDX-License-Identifier: Apache-2.0
 *
 * report/evaluation_json: from what was observed to the object that `evaluate
 * --json` prints. docs/measuring.md defines every field.
 *
 * Accuracies and shares lie in [0, 1]; what is called a drop is in percentage
 * points, as on the command line. A figure that does not exist (the calibration
 * of an exit that nobody reached, times that were not taken) is null.
 */
#include <stdlib.h>

#include "base/memory.h"
#include "calibrate/quota.h"
#include "calibrate/risk.h"
#include "report/evaluation_facts.h"
#include "trace/trace_metrics.h"

/* ---- sums over outcomes -------------------------------------------------- */

/* Of the samples that satisfy a condition: how many, and what they add up to. */
struct tally {
  int32_t n, right, left[EX_MAX_POINTS];
  double macs;
};

static void count(struct tally *tally, const struct ex_evaluation_facts *facts, int32_t sample) {
  const struct ex_outcome *outcome = &facts->outcomes[sample];
  int64_t at = ex__trace_at(facts->trace, outcome->answer, sample);
  tally->n++;
  tally->right += facts->trace->quality[at] > 0.5f;
  tally->left[outcome->point]++;
  tally->macs += (double)outcome->macs;
}

/* Of one class (−1: all), or of those that left at one point (−1: anywhere). */
static struct tally tally_of(const struct ex_evaluation_facts *facts, int32_t class,
                             int32_t point) {
  struct tally tally = {0};
  for (int32_t i = 0; i < facts->trace->n; i++)
    if ((class < 0 || facts->trace->target[i] == class) &&
        (point < 0 || facts->outcomes[i].point == point))
      count(&tally, facts, i);
  return tally;
}

static double ratio(double a, double b) { return b > 0 ? a / b : NAN; }

/* ---- exits --------------------------------------------------------------- */

static json_t *reliability(const ex_trace *trace, int32_t point) {
  struct ex_reliability_bin bins[EX_RELIABILITY_BINS];
  json_t *array = json_array();
  ex__trace_reliability(trace, point, bins);
  for (int32_t b = 0; b < EX_RELIABILITY_BINS; b++) {
    if (bins[b].n == 0) continue;
    json_t *bin = json_pack("{s:f, s:f, s:i}", "confidence", bins[b].confidence, "accuracy",
                            bins[b].accuracy, "n", (int)bins[b].n);
    if (json_array_append_new(array, bin) != 0) {
      json_decref(array);
      return NULL;
    }
  }
  return array;
}

/* Bodies that an exit needs and those before it do not. */
static uint32_t own_bodies(const ex_trace *trace, int32_t p) {
  uint32_t before = 0;
  for (int32_t q = 0; q < p; q++) before |= trace->bodies[q];
  return trace->bodies[p] & ~before;
}

/* Shares of the samples that ran an exit's own bodies, and its head: fewer than came
 * so far where the rule jumps. */
static bool put_run_shares(json_t *exit, const struct ex_evaluation_facts *facts, int32_t p) {
  uint32_t own = own_bodies(facts->trace, p);
  int32_t n = facts->trace->n, bodies = 0, heads = 0;
  for (int32_t i = 0; i < n; i++) {
    bodies += (facts->outcomes[i].bodies & own) == own;
    heads += (facts->outcomes[i].heads >> p & 1) != 0;
  }
  return ex__put_number(exit, "body_share", (double)bodies / n) &&
         ex__put_number(exit, "head_share", (double)heads / n);
}

static bool put_exit_costs(json_t *exit, const ex_trace *trace, int32_t p) {
  const struct ex_cost *cost = &trace->cost;
  uint32_t own = own_bodies(trace, p);
  int64_t body = ex__sum_over(cost->body_macs, own), body_ns = ex__sum_over(cost->body_ns, own);
  return ex__put(exit, "macs", json_integer(cost->macs[p])) &&
         ex__put(exit, "direct_macs", json_integer(cost->direct_macs[p])) &&
         ex__put(exit, "body_macs", json_integer(body)) &&
         ex__put(exit, "head_macs", json_integer(cost->head_macs[p])) &&
         ex__put(exit, "gate_macs", json_integer(cost->gate_macs[p])) &&
         ex__put(exit, "params", json_integer(cost->params[p])) &&
         ex__put(exit, "body_ns", json_integer(body_ns)) &&
         ex__put(exit, "head_ns", json_integer(cost->head_ns[p]));
}

/* `saved`: multiply-adds per sample; see ex__exit_savings. */
static enum ex_status exit_row(const struct ex_evaluation_facts *facts, int32_t p, double reached,
                               double saved, json_t **out) {
  const ex_trace *trace = facts->trace;
  struct tally left = tally_of(facts, -1, p);
  const struct ex_policy_class *rule = facts->policy->class;
  bool last = p == trace->n_points - 1;
  bool on = last || rule->skips == NULL || !rule->skips(facts->policy->values, p, trace->n_points);
  double auroc;
  EX_TRY(ex__trace_failure_auroc(trace, p, &auroc));
  json_t *exit = json_object();
  *out = exit;
  bool ok = ex__put(exit, "exit", json_integer(p)) &&
            ex__put(exit, "stage", json_integer(trace->stage[p])) &&
            ex__put(exit, "on", json_boolean(on)) &&
            ex__put_number(exit, "accuracy", ex__trace_accuracy(trace, p)) &&
            ex__put_number(exit, "share", (double)left.n / trace->n) &&
            ex__put_number(exit, "reached", reached) &&
            ex__put_number(exit, "accuracy_left", ratio(left.right, left.n)) &&
            ex__put_number(exit, "ece", ex__trace_ece(trace, p)) &&
            ex__put_number(exit, "auroc", auroc) &&
            ex__put_number(exit, "hindsight", ex__trace_hindsight(trace, p)) &&
            ex__put_number(exit, "saved_macs", last || !on ? NAN : saved) &&
            ex__put(exit, "reliability", reliability(trace, p)) && put_exit_costs(exit, trace, p) &&
            put_run_shares(exit, facts, p);
  return ok ? EX_OK : EX_ENOMEM;
}

static enum ex_status exits(const struct ex_evaluation_facts *facts, json_t **out,
                            struct ex_error *err) {
  const ex_trace *trace = facts->trace;
  double saved[EX_MAX_POINTS], reached = 1;
  for (int32_t p = 0; p < trace->n_points; p++) saved[p] = NAN;
  if (facts->policy->class->score != NULL)
    EX_TRY(ex__exit_savings(facts->policy, trace, saved, err));
  *out = json_array();
  for (int32_t p = 0; p < trace->n_points; p++) {
    json_t *exit = NULL;
    enum ex_status status = exit_row(facts, p, reached, saved[p], &exit);
    if (json_array_append_new(*out, exit) != 0) status = EX_ENOMEM;
    if (status != EX_OK) return ex__fail(err, status, "evaluate: no memory for the exits' figures");
    reached -= (double)tally_of(facts, -1, p).n / trace->n;
    if (reached < 0) reached = 0; /* rounding */
  }
  return EX_OK;
}

/* ---- curves -------------------------------------------------------------- */

static int by_cost(const void *a, const void *b) {
  double x = ((const struct ex_curve_point *)a)->cost, y = ((const struct ex_curve_point *)b)->cost;
  return (x > y) - (x < y);
}

/* Accuracy in percent at a cost, between the points on either side; NaN outside. */
static double interpolate(const struct ex_curve_point *points, int32_t n, double cost) {
  for (int32_t i = 0; i + 1 < n; i++) {
    double from = points[i].cost, to = points[i + 1].cost;
    if (cost < from || cost > to || !(to > from)) continue;
    double t = (cost - from) / (to - from);
    return points[i].accuracy + t * (points[i + 1].accuracy - points[i].accuracy);
  }
  return NAN;
}

/* Mean accuracy in percent over all costs from one to another: the area under the
 * curve by its width. Below its first point the curve has that one's accuracy,
 * above its last that one's: nothing better is known there. */
static double area(const struct ex_curve_point *points, int32_t n, double from, double to) {
  if (n == 0 || !(to > from)) return NAN;
  double sum = points[0].accuracy * fmax(0, fmin(points[0].cost, to) - from) +
               points[n - 1].accuracy * fmax(0, to - fmax(points[n - 1].cost, from));
  for (int32_t i = 0; i + 1 < n; i++) {
    double low = fmax(points[i].cost, from), high = fmin(points[i + 1].cost, to);
    if (!(high > low)) continue;
    double slope =
        (points[i + 1].accuracy - points[i].accuracy) / (points[i + 1].cost - points[i].cost);
    sum += (high - low) * (points[i].accuracy + slope * (0.5 * (low + high) - points[i].cost));
  }
  return sum / (to - from);
}

/* Accuracies are counts over n samples; percent and back would blur their last digit. */
static json_t *curve_json(const struct ex_curve_point *points, int32_t n_points, int32_t n) {
  json_t *array = json_array();
  for (int32_t i = 0; i < n_points; i++) {
    double accuracy = round(points[i].accuracy / 100 * n) / n;
    if (json_array_append_new(array, json_pack("[f, f]", points[i].cost, accuracy)) != 0) {
      json_decref(array);
      return NULL;
    }
  }
  return array;
}

/* Budgeted accuracy in percent at quarters of the work of full depth, as early-exit
 * papers tabulate it; not defined below the cheapest exit. */
static bool put_quarters(json_t *to, const struct ex_curve_point *budgeted, int32_t n,
                         double full_macs) {
  return ex__put_number(to, "budgeted_25", interpolate(budgeted, n, 0.25 * full_macs)) &&
         ex__put_number(to, "budgeted_50", interpolate(budgeted, n, 0.5 * full_macs)) &&
         ex__put_number(to, "budgeted_75", interpolate(budgeted, n, 0.75 * full_macs));
}

/* Budgeted minus anytime accuracy at equal mean cost, in percentage points: its
 * minimum over the budgeted points, and half-way between the cheapest and the
 * dearest exit. Outside what both curves cover it is not defined. And the mean
 * budgeted accuracy over all costs between these two exits. */
static json_t *gains(const struct ex_curve_point *anytime, int32_t n_anytime,
                     const struct ex_curve_point *budgeted, int32_t n_budgeted) {
  double least = NAN;
  for (int32_t i = 0; i < n_budgeted; i++) {
    double gain = budgeted[i].accuracy - interpolate(anytime, n_anytime, budgeted[i].cost);
    if (isfinite(gain) && !(gain >= least)) least = gain;
  }
  double half = 0.5 * (anytime[0].cost + anytime[n_anytime - 1].cost);
  double mid = interpolate(budgeted, n_budgeted, half) - interpolate(anytime, n_anytime, half);
  json_t *object = json_object();
  if (ex__put_number(object, "budgeted_gain_min", least) &&
      ex__put_number(object, "budgeted_gain_mid", mid) &&
      ex__put_number(object, "mid_macs", half) &&
      ex__put_number(object, "budgeted_area",
                     area(budgeted, n_budgeted, anytime[0].cost, anytime[n_anytime - 1].cost)))
    return object;
  json_decref(object);
  return NULL;
}

/* Rules without a score have no quotas: then it is max-probability's curve, as in the paper. */
static enum ex_status budgeted_points(const struct ex_evaluation_facts *facts,
                                      struct ex_curve_point points[EX_BUDGETED_POINTS], int32_t *n,
                                      struct ex_error *err) {
  const ex_trace *trace = facts->trace;
  *n = 0;
  if (facts->select == NULL || trace->n_points < 2) return EX_OK;
  ex_policy policy = *facts->policy;
  if (policy.class->score == NULL)
    EX_TRY(ex__policy_init(&policy, "max-probability", trace->n_points, trace->n_outputs, err));
  EX_TRY(ex__budgeted_curve(&policy, facts->select, trace, points, err));
  *n = EX_BUDGETED_POINTS;
  qsort(points, EX_BUDGETED_POINTS, sizeof *points, by_cost);
  return EX_OK;
}

static enum ex_status put_curves(const struct ex_evaluation_facts *facts, json_t *to,
                                 struct ex_error *err) {
  const ex_trace *trace = facts->trace;
  struct ex_curve_point anytime[EX_MAX_POINTS] = {{0}}, budgeted[EX_BUDGETED_POINTS] = {{0}};
  int32_t n_budgeted;
  for (int32_t p = 0; p < trace->n_points; p++)
    anytime[p] =
        (struct ex_curve_point){100 * ex__trace_accuracy(trace, p), (double)trace->cost.macs[p]};
  EX_TRY(budgeted_points(facts, budgeted, &n_budgeted, err));
  json_t *curves = gains(anytime, trace->n_points, budgeted, n_budgeted);
  double full_macs = (double)trace->cost.direct_macs[trace->n_points - 1];
  bool ok = ex__put(to, "anytime", curve_json(anytime, trace->n_points, trace->n)) &&
            ex__put(to, "budgeted", curve_json(budgeted, n_budgeted, trace->n)) &&
            ex__put(to, "curves", curves) && put_quarters(curves, budgeted, n_budgeted, full_macs);
  return ok ? EX_OK : ex__fail(err, EX_ENOMEM, "evaluate: no memory for the curves");
}

/* ---- classes ------------------------------------------------------------- */

static json_t *shares(const struct tally *tally, int32_t n_points) {
  json_t *array = json_array();
  for (int32_t p = 0; p < n_points; p++)
    if (json_array_append_new(array, ex__number(ratio(tally->left[p], tally->n))) != 0) {
      json_decref(array);
      return NULL;
    }
  return array;
}

static bool put_classes(const struct ex_evaluation_facts *facts, json_t *to) {
  json_t *array = json_array();
  double sum = 0;
  int32_t n = 0;
  for (int32_t c = 0; c < facts->trace->n_outputs; c++) {
    struct tally tally = tally_of(facts, c, -1);
    if (tally.n == 0) continue;
    n++;
    sum += (double)tally.right / tally.n;
    json_t *class = json_object();
    bool ok = ex__put(class, "class", json_integer(c)) &&
              ex__put(class, "label", json_string(facts->labels[c])) &&
              ex__put(class, "n", json_integer(tally.n)) &&
              ex__put_number(class, "accuracy", (double)tally.right / tally.n) &&
              ex__put_number(class, "mean_macs", tally.macs / tally.n) &&
              ex__put(class, "exits", shares(&tally, facts->trace->n_points));
    if (json_array_append_new(array, class) != 0 || !ok) {
      json_decref(array);
      return false;
    }
  }
  return ex__put(to, "per_class", array) && ex__put_number(to, "macro_accuracy", ratio(sum, n));
}

/* ---- time ---------------------------------------------------------------- */

static int ascending(const void *a, const void *b) {
  double x = *(const double *)a, y = *(const double *)b;
  return (x > y) - (x < y);
}

static double mean(const double *x, int32_t n) {
  double sum = 0;
  for (int32_t i = 0; i < n; i++) sum += x[i];
  return n > 0 ? sum / n : NAN;
}

/* The nearest rank: the smallest that at least the share `q` does not exceed. */
static double quantile(const double *ascending_x, int32_t n, double q) {
  int32_t rank = (int32_t)ceil(q * n);
  return n > 0 ? ascending_x[rank < 1 ? 0 : rank - 1] : NAN;
}

static bool put_times(const struct ex_evaluation_facts *facts, json_t *to) {
  int32_t n = facts->n_timed;
  double *sorted = ex__alloc((size_t)n, sizeof *sorted);
  if (sorted == NULL) return false;
  for (int32_t i = 0; i < n; i++) sorted[i] = facts->policy_ns[i];
  qsort(sorted, (size_t)n, sizeof *sorted, ascending);
  bool ok = ex__put_number(to, "mean_ns", mean(sorted, n)) &&
            ex__put_number(to, "p50_ns", quantile(sorted, n, 0.50)) &&
            ex__put_number(to, "p95_ns", quantile(sorted, n, 0.95)) &&
            ex__put_number(to, "p99_ns", quantile(sorted, n, 0.99)) &&
            ex__put(to, "timed_samples", json_integer(n)) &&
            ex__put(to, "threads", json_integer(facts->threads));
  ex__free(sorted);
  return ok;
}

/* Per sample, of the many-samples run: multiply-adds by part, and where its
 * workers' nanoseconds went. */
static json_t *ledger_json(const struct ex_ledger *ledger) {
  json_t *object = json_object();
  double n = (double)ledger->samples;
  bool ok = ex__put_number(object, "body_macs", ratio((double)ledger->body, n)) &&
            ex__put_number(object, "head_macs", ratio((double)ledger->head, n)) &&
            ex__put_number(object, "gate_macs", ratio((double)ledger->gate, n)) &&
            ex__put_number(object, "input_ns", ratio((double)ledger->input_ns, n)) &&
            ex__put_number(object, "body_ns", ratio((double)ledger->body_ns, n)) &&
            ex__put_number(object, "head_ns", ratio((double)ledger->head_ns, n)) &&
            ex__put_number(object, "gate_ns", ratio((double)ledger->gate_ns, n)) &&
            ex__put_number(object, "decide_ns", ratio((double)ledger->decide_ns, n)) &&
            ex__put_number(object, "queue_ns", ratio((double)ledger->queue_ns, n)) &&
            ex__put_number(object, "total_ns", ratio((double)ledger->total_ns, n)) &&
            ex__put_number(object, "wall_ns", ratio((double)ledger->wall_ns, n));
  if (ok) return object;
  json_decref(object);
  return NULL;
}

/* ---- the whole ------------------------------------------------------------ */

static bool put_headline(const struct ex_evaluation_facts *facts, json_t *to) {
  const ex_trace *trace = facts->trace;
  int32_t last = trace->n_points - 1, n = trace->n;
  struct tally all = tally_of(facts, -1, -1);
  double full_macs = (double)trace->cost.direct_macs[last];
  double executed = ratio((double)facts->ledger.executed, n);
  double full_executed = facts->full_executed > 0 ? (double)facts->full_executed : NAN;
  double full_ns = mean(facts->full_ns, facts->n_timed);
  double saved_ns = 1 - mean(facts->policy_ns, facts->n_timed) / full_ns;
  json_t *full = json_object(), *savings = json_object();
  return ex__put(to, "full", full) && ex__put(to, "savings", savings) &&
         ex__put(to, "split", json_string(facts->split)) && ex__put(to, "n", json_integer(n)) &&
         ex__put_number(to, "accuracy", (double)all.right / n) &&
         ex__put_number(to, "mean_macs", all.macs / n) &&
         ex__put_number(to, "executed_macs", executed) &&
         ex__put_number(full, "accuracy", ex__trace_accuracy(trace, last)) &&
         ex__put(full, "macs", json_integer(trace->cost.direct_macs[last])) &&
         ex__put_number(full, "executed_macs", full_executed) &&
         ex__put_number(full, "ns", full_ns) &&
         ex__put_number(savings, "table", 1 - all.macs / n / full_macs) &&
         ex__put_number(savings, "executed", 1 - executed / full_executed) &&
         ex__put_number(savings, "wall_clock", saved_ns);
}

static enum ex_status policy_aurc(const struct ex_evaluation_facts *facts, double *out) {
  const ex_trace *trace = facts->trace;
  double *score = ex__alloc((size_t)trace->n, sizeof *score);
  bool *right = ex__alloc((size_t)trace->n, sizeof *right);
  enum ex_status status = score != NULL && right != NULL ? EX_OK : EX_ENOMEM;
  for (int32_t i = 0; status == EX_OK && i < trace->n; i++) {
    int64_t at = ex__trace_at(trace, facts->outcomes[i].answer, i);
    score[i] = trace->answer[at].max_probability;
    right[i] = trace->quality[at] > 0.5f;
  }
  if (status == EX_OK) status = ex__aurc(score, right, trace->n, out);
  ex__free(score);
  ex__free(right);
  return status;
}

static bool put_overthinking(const ex_trace *trace, json_t *to) {
  struct ex_overthinking overthinking = ex__trace_overthinking(trace);
  return ex__put(to, "overthinking",
                 json_pack("{s:f, s:f, s:f, s:f}", "cumulative_accuracy",
                           overthinking.cumulative_accuracy, "destructive",
                           overthinking.destructive, "wasteful", overthinking.wasteful,
                           "oracle_macs", overthinking.oracle_macs));
}

static enum ex_status put_quality(const struct ex_evaluation_facts *facts, json_t *to) {
  const ex_trace *trace = facts->trace;
  double confusion, aurc;
  EX_TRY(ex__trace_confusion_auroc(trace, &confusion));
  EX_TRY(policy_aurc(facts, &aurc));
  json_t *confusion_json = json_object(), *monotonicity = json_object();
  bool ok = ex__put(to, "confusion", confusion_json) &&
            ex__put_number(confusion_json, "auroc", confusion) &&
            ex__put(to, "monotonicity", monotonicity) &&
            ex__put_number(monotonicity, "falls_over_0.1", ex__trace_falls(trace, 0.1)) &&
            ex__put_number(monotonicity, "falls_over_0.5", ex__trace_falls(trace, 0.5)) &&
            ex__put_number(to, "aurc", aurc) && put_overthinking(trace, to);
  return ok ? EX_OK : EX_ENOMEM;
}

/* A certified risk beside the mean loss on this split. */
static bool put_risk(const struct ex_evaluation_facts *facts, json_t *promise) {
  const json_t *risk = json_object_get(facts->receipt, "risk");
  const char *name = json_string_value(json_object_get(risk, "of"));
  enum ex_risk_of of;
  if (name == NULL || ex__risk_of_parse(name, &of, NULL) != EX_OK) return true;
  return ex__put(promise, "risk_of", json_string(name)) &&
         ex__put_number(promise, "risk_bound", ex__number_at(facts->receipt, "constraint/value")) &&
         ex__put_number(promise, "risk", ex__risk_mean(of, facts->trace, facts->outcomes)) &&
         ex__put_number(promise, "confidence", ex__number_at(facts->receipt, "confidence"));
}

/* Exits looked at per sample, and how jumps turned out; shares null where nobody jumped. */
static bool put_jumps(const struct ex_evaluation_facts *facts, json_t *to) {
  struct ex_jumps jumps;
  ex__policy_jumps(facts->policy, facts->trace, &facts->env, &jumps);
  double n = facts->trace->n, jumped = (double)jumps.jumped;
  json_t *object = json_object();
  return ex__put(to, "jumps", object) &&
         ex__put_number(object, "looked", ratio((double)jumps.looked, n)) &&
         ex__put_number(object, "jumped", ratio(jumped, n)) &&
         ex__put_number(object, "right", ratio((double)jumps.right, jumped)) &&
         ex__put_number(object, "over", ratio((double)jumps.over, jumped)) &&
         ex__put_number(object, "under", ratio((double)jumps.under, jumped));
}

/* What calibration promised on certify, and what came of it on this split. */
static bool put_promise(const struct ex_evaluation_facts *facts, json_t *to) {
  const json_t *receipt = facts->receipt;
  double drop = 100 * (ex__number_at(to, "full/accuracy") - ex__number_at(to, "accuracy"));
  double share = ex__number_at(to, "mean_macs") / ex__number_at(to, "full/macs");
  const char *kind =
      json_string_value(json_object_get(json_object_get(receipt, "constraint"), "kind"));
  json_t *promise = json_object();
  return ex__put(to, "promise", promise) && put_risk(facts, promise) &&
         ex__put(promise, "constraint", kind != NULL ? json_string(kind) : json_null()) &&
         ex__put_number(promise, "value", ex__number_at(receipt, "constraint/value")) &&
         ex__put_number(promise, "drop_bound", ex__number_at(receipt, "certify/drop_bound")) &&
         ex__put_number(promise, "drop", drop) &&
         ex__put_number(promise, "macs_share_bound",
                        ex__number_at(receipt, "certify/macs_share_bound")) &&
         ex__put_number(promise, "macs_share", share) &&
         ex__put_number(promise, "latency_us_bound",
                        ex__number_at(receipt, "certify/latency_us_bound")) &&
         ex__put_number(promise, "latency_us", ex__number_at(to, "mean_ns") / 1000);
}

static bool put_policy(const struct ex_evaluation_facts *facts, json_t *to) {
  return ex__put(to, "policy", ex__policy_to_json(facts->policy)) &&
         ex__put(to, "receipt",
                 facts->receipt != NULL ? json_deep_copy(facts->receipt) : json_null());
}

static enum ex_status put_all(const struct ex_evaluation_facts *facts, json_t *to,
                              struct ex_error *err) {
  json_t *rows = NULL;
  enum ex_status status = exits(facts, &rows, err);
  if (!ex__put(to, "exits", rows) && status == EX_OK) status = EX_ENOMEM;
  EX_TRY(status);
  EX_TRY(put_curves(facts, to, err));
  EX_TRY(put_quality(facts, to));
  bool ok = put_headline(facts, to) && put_times(facts, to) && put_classes(facts, to) &&
            ex__evaluation_interest(facts, to) && put_jumps(facts, to) &&
            ex__put(to, "ledger", ledger_json(&facts->ledger)) && put_policy(facts, to) &&
            put_promise(facts, to) && ex__evaluation_notes(facts, to);
  return ok ? EX_OK : EX_ENOMEM;
}

enum ex_status ex__evaluation_json(const struct ex_evaluation_facts *facts, json_t **out,
                                   struct ex_error *err) {
  json_t *object = json_object();
  struct ex_error why = {0};
  enum ex_status status = object != NULL ? put_all(facts, object, &why) : EX_ENOMEM;
  *out = status == EX_OK ? object : NULL;
  if (status == EX_OK) return EX_OK;
  json_decref(object);
  if (why.text[0] != '\0') return ex__fail(err, status, "%s", why.text);
  return ex__fail(err, status, "evaluate: no memory for the figures");
}
