/* SPDX-License-Identifier: Apache-2.0
 *
 * The fields of an evaluation against each other and against counts by hand.
 */
#include <math.h>

#include "report/evaluation_facts.h"
#include "tests/evaluation_fixture.h"
#include "trace/curve.h"

static struct fixture f;

static int set_up(void **state) {
  (void)state;
  struct ex_error err;
  fixture_open(&f, 3, "[\"a\", \"b\", \"c\"]");
  fixture_thresholds(&f);
  assert_ok(fixture_evaluate(&f, 20, &err), &err);
  return 0;
}

static int tear_down(void **state) {
  (void)state;
  fixture_close(&f);
  return 0;
}

static double number(const char *path) {
  double value = ex__number_at(f.evaluation->json, path);
  assert_true(isfinite(value));
  return value;
}

static double of_exit(int32_t exit, const char *key) {
  const json_t *exits = json_object_get(f.evaluation->json, "exits");
  double value = ex__number_at(json_array_get(exits, (size_t)exit), key);
  assert_true(isfinite(value));
  return value;
}

static void assert_near(double a, double b) { assert_true(fabs(a - b) <= 1e-9 * fmax(1, fabs(a))); }

static void headline_by_hand(void **state) {
  (void)state;
  const ex_trace *trace = f.evaluation->trace;
  int32_t right = 0, full_right = 0;
  double macs = 0;
  for (int32_t i = 0; i < trace->n; i++) {
    const struct ex_outcome *outcome = &f.evaluation->outcome[i];
    right += trace->answer[ex__trace_at(trace, outcome->answer, i)].label == trace->target[i];
    full_right += trace->answer[ex__trace_at(trace, N_POINTS - 1, i)].label == trace->target[i];
    macs += (double)outcome->macs;
  }
  assert_int_equal(number("n"), 150);
  assert_near(number("accuracy"), right / 150.0);
  assert_near(number("full/accuracy"), full_right / 150.0);
  assert_near(number("mean_macs"), macs / 150);
  assert_near(number("executed_macs"), macs / 150);
  assert_near(number("full/macs"), (double)trace->cost.direct_macs[N_POINTS - 1]);
  assert_near(number("full/executed_macs"), number("full/macs"));
  assert_near(number("savings/table"), 1 - macs / 150 / number("full/macs"));
  assert_near(number("savings/executed"), number("savings/table"));
}

static void shares_and_costs_add_up(void **state) {
  (void)state;
  double share = 0, macs = 0, right = 0, reached = 1;
  for (int32_t p = 0; p < N_POINTS; p++) {
    assert_true(of_exit(p, "share") > 0.05);
    assert_near(of_exit(p, "reached"), reached);
    reached -= of_exit(p, "share");
    share += of_exit(p, "share");
    macs += of_exit(p, "share") * of_exit(p, "macs");
    right += of_exit(p, "share") * of_exit(p, "accuracy_left");
    assert_true(of_exit(p, "ece") >= 0 && of_exit(p, "ece") <= 1);
    assert_true(of_exit(p, "hindsight") >= 0 && of_exit(p, "hindsight") <= 1);
    assert_true(of_exit(p, "direct_macs") <= of_exit(p, "macs"));
    assert_true(of_exit(p, "body_ns") > 0 && of_exit(p, "head_ns") > 0);
  }
  assert_near(of_exit(N_POINTS - 1, "hindsight"), number("overthinking/destructive"));
  assert_near(share, 1);
  assert_near(macs, number("mean_macs"));
  assert_near(right, number("accuracy"));
}

static void classes_add_up(void **state) {
  (void)state;
  const json_t *classes = json_object_get(f.evaluation->json, "per_class");
  double right = 0, macro = 0, macs = 0;
  size_t c;
  json_t *class, *share;
  assert_int_equal(json_array_size(classes), N_CLASSES);
  json_array_foreach(classes, c, class) {
    double n = ex__number_at(class, "n"), sum = 0;
    size_t p;
    json_array_foreach(json_object_get(class, "exits"), p, share) sum += json_number_value(share);
    assert_near(sum, 1);
    assert_int_equal(n, 50);
    right += n * ex__number_at(class, "accuracy");
    macs += n * ex__number_at(class, "mean_macs");
    macro += ex__number_at(class, "accuracy") / N_CLASSES;
  }
  assert_near(right / 150, number("accuracy"));
  assert_near(macs / 150, number("mean_macs"));
  assert_near(macro, number("macro_accuracy"));
}

static void check_curve(const char *name, size_t n) {
  const json_t *curve = json_object_get(f.evaluation->json, name);
  double before = 0;
  size_t i;
  json_t *point;
  assert_int_equal(json_array_size(curve), n);
  json_array_foreach(curve, i, point) {
    double cost = json_number_value(json_array_get(point, 0));
    double accuracy = json_number_value(json_array_get(point, 1));
    assert_true(cost >= before && cost <= of_exit(N_POINTS - 1, "macs"));
    assert_true(accuracy >= 0 && accuracy <= 1);
    before = cost;
  }
}

/* Accuracy of the budgeted curve in percent at a cost, the ends held. */
static double budgeted_at(double cost) {
  const json_t *curve = json_object_get(f.evaluation->json, "budgeted");
  double x = 0, y = 0;
  size_t i;
  json_t *point;
  json_array_foreach(curve, i, point) {
    double next = json_number_value(json_array_get(point, 0));
    double accuracy = json_number_value(json_array_get(point, 1));
    if (next >= cost)
      return 100 * (i == 0 || next == x ? accuracy : y + (accuracy - y) * (cost - x) / (next - x));
    x = next;
    y = accuracy;
  }
  return 100 * y;
}

static void area_is_the_mean_of_the_budgeted_curve(void **state) {
  (void)state;
  enum { STRIPS = 20000 };
  double from = of_exit(0, "macs"), to = of_exit(N_POINTS - 1, "macs"), sum = 0;
  for (int32_t i = 0; i < STRIPS; i++)
    sum += budgeted_at(from + (i + 0.5) * (to - from) / STRIPS) / STRIPS;
  assert_true(fabs(number("curves/budgeted_area") - sum) < 0.01);
  double full = number("full/macs");
  assert_near(number("curves/budgeted_50"), budgeted_at(0.5 * full));
  assert_near(number("curves/budgeted_75"), budgeted_at(0.75 * full));
}

static void curves_rise_in_cost(void **state) {
  (void)state;
  check_curve("anytime", N_POINTS);
  check_curve("budgeted", 39);
  double mid = number("curves/budgeted_gain_mid"), least = number("curves/budgeted_gain_min");
  assert_true(least <= mid + 1e-9);
  const json_t *first = json_array_get(json_object_get(f.evaluation->json, "anytime"), 0);
  assert_near(json_number_value(json_array_get(first, 1)), of_exit(0, "accuracy"));
}

static void times_are_ordered(void **state) {
  (void)state;
  assert_true(number("mean_ns") > 0 && number("full/ns") > 0);
  assert_true(number("p50_ns") <= number("p95_ns"));
  assert_true(number("p95_ns") <= number("p99_ns"));
  assert_near(number("savings/wall_clock"), 1 - number("mean_ns") / number("full/ns"));
  assert_int_equal(number("timed_samples"), 20);
  double parts = number("ledger/input_ns") + number("ledger/body_ns") + number("ledger/head_ns") +
                 number("ledger/gate_ns") + number("ledger/decide_ns") + number("ledger/queue_ns");
  assert_true(fabs(parts - number("ledger/total_ns")) <= 1e-6 * parts);
}

/* Everybody looked at the exits up to that where it left; this rule does not jump. */
static void exits_on_the_way_are_counted(void **state) {
  (void)state;
  double looked = 0;
  size_t n = json_array_size(json_object_get(f.evaluation->json, "exits"));
  for (size_t p = 0; p < n; p++) looked += of_exit((int32_t)p, "reached");
  assert_near(number("jumps/looked"), looked);
  assert_true(number("jumps/jumped") == 0);
  assert_true(json_is_null(json_object_get(json_object_get(f.evaluation->json, "jumps"), "right")));
}

static void json_is_well_formed(void **state) {
  (void)state;
  struct ex_error err;
  char *text;
  json_t *again;
  assert_int_equal(ex__json_dump(f.evaluation->json, true, &text), EX_OK);
  assert_ok(ex__json_parse(text, strlen(text), "evaluation", &again, &err), &err);
  assert_true(json_equal(again, f.evaluation->json));
  assert_true(json_is_null(json_object_get(again, "receipt")));
  assert_true(json_array_size(json_object_get(again, "notes")) > 0);
  json_decref(again);
  ex__free(text);
}

static void dynamic_is_the_budgeted_curve(void **state) {
  (void)state;
  struct ex_error err;
  char path[96];
  struct ex_curve_point *points;
  int32_t n;
  snprintf(path, sizeof path, "%s/dynamic.txt", f.folder);
  assert_ok(ex__evaluation_write_dynamic(f.evaluation, path, &err), &err);
  assert_ok(ex__curve_read(path, &points, &n, &err), &err);
  assert_int_equal(n, 39);
  const json_t *last = json_array_get(json_object_get(f.evaluation->json, "budgeted"), 38);
  assert_near(points[38].accuracy / 100, json_number_value(json_array_get(last, 1)));
  ex__free(points);
}

static bool stop(void *context, const struct ex_progress_event *event) {
  (void)event;
  return --*(int *)context > 0;
}

/* Wherever it is asked to stop, it does, and leaves nothing behind. */
static void stops_where_it_is_asked_to(void **state) {
  (void)state;
  struct ex_error err;
  int calls = 0, first = 0;
  struct ex_evaluation_job job = {.model = f.model,
                                  .policy = &f.policy,
                                  .data = f.data,
                                  .split = EX_SPLIT_TEST,
                                  .threads = 1,
                                  .timed_samples = 3,
                                  .progress = {stop, &calls}};
  ex_evaluation *evaluation;
  enum ex_status status = EX_ECANCELLED;
  while (status == EX_ECANCELLED) {
    calls = ++first;
    status = ex__evaluate(&job, &evaluation, &err);
    if (status != EX_ECANCELLED) break;
    assert_non_null(strstr(err.text, "stopped after"));
    assert_null(evaluation);
  }
  assert_ok(status, &err);
  assert_true(first > 3); /* two traces, batches, wall clock */
  ex__evaluation_free(evaluation);
}

static void refuses_what_cannot_run(void **state) {
  (void)state;
  struct ex_error err;
  ex_policy oracle;
  assert_ok(ex__policy_init(&oracle, "oracle", N_POINTS, N_CLASSES, &err), &err);
  const struct ex_evaluation_job job = {
      .model = f.model, .policy = &oracle, .data = f.data, .split = EX_SPLIT_TEST, .threads = 1};
  ex_evaluation *evaluation;
  assert_refused(ex__evaluate(&job, &evaluation, &err), EX_EINVAL, &err, "oracle");
  assert_null(evaluation);
}

/* A note about an exit that is off, and one about an exit that costs more than it saves. */
static void notes_tell_of_bad_exits(void **state) {
  (void)state;
  struct ex_error err;
  ex_policy kept = f.policy;
  assert_ok(ex__policy_set(&f.policy, "thresholds", "2,1", &err), &err);
  assert_ok(fixture_evaluate(&f, 0, &err), &err);
  char *text;
  assert_int_equal(ex__json_dump(json_object_get(f.evaluation->json, "notes"), false, &text),
                   EX_OK);
  assert_non_null(strstr(text, "Exit 1 is switched off"));
  assert_non_null(strstr(text, "Exit 2 costs more than it saves"));
  assert_non_null(strstr(text, "Wall clock was not measured"));
  ex__free(text);
  assert_true(json_is_null(json_object_get(f.evaluation->json, "mean_ns")));
  f.policy = kept;
  assert_ok(fixture_evaluate(&f, 20, &err), &err);
}

/* What was promised of disagreement, beside a count by hand of what came of it. */
static void promised_beside_realised(void **state) {
  (void)state;
  struct ex_error err;
  char *text;
  int32_t differ = 0;
  f.model->receipt =
      json_pack("{s:s, s:o, s:{s:s, s:f}, s:{s:s}, s:f}", "kind", "certified", "policy",
                ex__policy_to_json(&f.policy), "constraint", "kind", "risk", "value", 0.0, "risk",
                "of", "disagreement", "confidence", 0.95);
  assert_ok(fixture_evaluate(&f, 0, &err), &err);
  const ex_trace *trace = f.evaluation->trace;
  for (int32_t i = 0; i < trace->n; i++) {
    const struct ex_answer *given =
        &trace->answer[ex__trace_at(trace, f.evaluation->outcome[i].answer, i)];
    differ += given->label != trace->answer[ex__trace_at(trace, N_POINTS - 1, i)].label;
  }
  assert_true(differ > 0);
  assert_near(number("promise/risk"), (double)differ / trace->n);
  assert_near(number("promise/risk_bound"), 0);
  assert_near(number("promise/confidence"), 0.95);
  assert_int_equal(ex__json_dump(json_object_get(f.evaluation->json, "notes"), false, &text),
                   EX_OK);
  assert_non_null(strstr(text, "(disagreement)"));
  assert_non_null(strstr(text, "with 95 % confidence"));
  ex__free(text);
  json_decref(f.model->receipt);
  f.model->receipt = NULL;
  assert_ok(fixture_evaluate(&f, 20, &err), &err);
}

static enum ex_status evaluate_for(const ex_policy *policy, const int32_t *classes, int32_t n,
                                   struct ex_error *err) {
  const struct ex_evaluation_job job = {.model = f.model,
                                        .policy = policy,
                                        .classes = classes,
                                        .n_classes = n,
                                        .data = f.data,
                                        .split = EX_SPLIT_TEST,
                                        .threads = 2};
  ex__evaluation_free(f.evaluation);
  f.evaluation = NULL;
  return ex__evaluate(&job, &f.evaluation, err);
}

/* By hand: who is of interest, who leaves early as what; with and without a request. */
static void classes_of_interest_are_told_apart(void **state) {
  (void)state;
  struct ex_error err;
  ex_policy policy;
  assert_ok(ex__policy_init(&policy, "classy", N_POINTS, N_CLASSES, &err), &err);
  assert_ok(ex__policy_set(&policy, "classes", "1,2", &err), &err);
  json_t *json =
      json_pack("{s:s, s:{s:[i,i], s:f, s:s, s:[i,i], s:[[f,f],[f,f]], s:[f,f]}}", "name", "classy",
                "values", "classes", 1, 2, "precision", 0.5, "others", "refuse", "column", 1, 2,
                "threshold", 0.34, 0.34, 0.35, 0.35, "refusal", 0.64, 0.7);
  assert_ok(ex__policy_from_json(json, N_POINTS, N_CLASSES, &policy, &err), &err);
  json_decref(json);
  static const int32_t asked = 2;
  for (int32_t narrowed = 0; narrowed < 2; narrowed++) {
    assert_ok(evaluate_for(&policy, narrowed ? &asked : NULL, narrowed, &err), &err);
    const ex_trace *trace = f.evaluation->trace;
    double n = 0, early_right = 0, early = 0, late_right = 0, alarms = 0, refused[2] = {0},
           macs = 0;
    for (int32_t i = 0; i < trace->n; i++) {
      const struct ex_outcome *outcome = &f.evaluation->outcome[i];
      int32_t label = trace->answer[ex__trace_at(trace, outcome->answer, i)].label;
      int32_t target = trace->target[i];
      bool in = target == 2 || (target == 1 && !narrowed);
      bool as = label == 2 || (label == 1 && !narrowed), gone = outcome->point < N_POINTS - 1;
      n += in;
      macs += in ? (double)outcome->macs : 0;
      early += gone && as;
      early_right += gone && as && label == target;
      late_right += in && !gone && label == target;
      alarms += !in && gone && as;
      refused[in] += gone && !as;
    }
    assert_true(n > 0 && early > 0);
    assert_true((refused[0] + refused[1] > 0) == (narrowed == 0)); /* a request refuses nothing */
    assert_near(number("interest/n"), n);
    assert_near(number("interest/early_right"), early_right / n);
    assert_near(number("interest/late_right"), late_right / n);
    assert_near(number("interest/precision"), early_right / early);
    assert_near(number("interest/mean_macs"), macs / n);
    assert_near(number("interest/others/false_alarms"), alarms / (trace->n - n));
    assert_near(number("interest/refused"), refused[1] / n);
    assert_near(number("interest/others/refused"), refused[0] / (trace->n - n));
    const json_t *names =
        json_object_get(json_object_get(f.evaluation->json, "interest"), "classes");
    assert_int_equal(json_array_size(names), narrowed ? 1 : 2);
  }
  assert_refused(evaluate_for(&f.policy, &asked, 1, &err), EX_EUNSUPPORTED, &err,
                 "knows no classes of interest");
  assert_ok(fixture_evaluate(&f, 20, &err), &err);
  assert_true(json_is_null(json_object_get(f.evaluation->json, "interest")));
}

int main(void) {
  const struct CMUnitTest tests[] = {
      cmocka_unit_test(headline_by_hand),
      cmocka_unit_test(shares_and_costs_add_up),
      cmocka_unit_test(classes_add_up),
      cmocka_unit_test(curves_rise_in_cost),
      cmocka_unit_test(area_is_the_mean_of_the_budgeted_curve),
      cmocka_unit_test(times_are_ordered),
      cmocka_unit_test(exits_on_the_way_are_counted),
      cmocka_unit_test(json_is_well_formed),
      cmocka_unit_test(dynamic_is_the_budgeted_curve),
      cmocka_unit_test(stops_where_it_is_asked_to),
      cmocka_unit_test(refuses_what_cannot_run),
      cmocka_unit_test(notes_tell_of_bad_exits),
      cmocka_unit_test(promised_beside_realised),
      cmocka_unit_test(classes_of_interest_are_told_apart),
  };
  return cmocka_run_group_tests(tests, set_up, tear_down);
}
