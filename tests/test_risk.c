/* SPDX-License-Identifier: Apache-2.0
 *
 * Risk control on made-up traces: over 1,000 certify splits the promise is broken
 * no more often than it says, for every risk and form; refusals; receipts.
 */
#include <math.h>

#include "base/clock.h"
#include "base/json.h"
#include "calibrate/bound.h"
#include "calibrate/risk.h"
#include "calibrate/risk_path.h"
#include "calibrate/risk_test.h"
#include "tests/trace_fixture.h"

enum { POINTS = 4, OUTPUTS = 10, SPLITS = 1000, SPLIT = 500, LARGE = 20000 };

static ex_trace *labelled(uint64_t seed, int32_t n) {
  ex_trace *trace = fixture_trace(seed, n, POINTS, OUTPUTS, 2.5, 3.5);
  strcpy(trace->weights, "w");
  snprintf(trace->samples, sizeof trace->samples, "samples %d", (int)seed);
  return trace;
}

static ex_policy rule(const char *name) {
  ex_policy policy;
  struct ex_error err;
  assert_ok(ex__policy_init(&policy, name, POINTS, OUTPUTS, &err), &err);
  return policy;
}

/* ---- 1,000 splits -------------------------------------------------------------- */

/* A path that select fixed, and what it does to everybody there is. */
struct world {
  int32_t n_policies;
  float *loss;         /* [n_policies][LARGE] */
  double *risk, *macs; /* [n_policies] the true mean loss, and work as a share of full depth */
};

static struct world world_new(const char *name, enum ex_risk_of of) {
  ex_trace *truth = labelled(1, LARGE), *select = labelled(2, 2000);
  struct ex_candidates path;
  struct ex_error err;
  ex_policy start = rule(name);
  assert_ok(ex__risk_path_make(&start, select, of, &path, &err), &err);
  size_t n = (size_t)path.n;
  struct world world = {path.n, ex__calloc(n * LARGE, sizeof *world.loss),
                        ex__calloc(n, sizeof *world.risk), ex__calloc(n, sizeof *world.macs)};
  struct ex_outcome *outcomes = ex__calloc(LARGE, sizeof *outcomes);
  for (int32_t p = 0; p < path.n; p++) {
    ex__policy_replay(&path.items[p], truth, NULL, outcomes);
    for (int32_t i = 0; i < LARGE; i++) {
      world.loss[p * LARGE + i] = (float)ex__risk_loss(of, truth, outcomes[i].answer, i);
      world.macs[p] += (double)outcomes[i].macs / LARGE / 410;
    }
    world.risk[p] = ex__risk_mean(of, truth, outcomes);
  }
  ex__free(outcomes);
  ex__candidates_free(&path);
  ex__trace_free(truth);
  ex__trace_free(select);
  return world;
}

static void world_free(struct world *world) {
  ex__free(world->loss);
  ex__free(world->risk);
  ex__free(world->macs);
}

/* The last policy that passes on a split; 0, full depth, passes always. */
static int32_t walk(const struct world *world, const struct ex_risk *risk, const int32_t *items) {
  struct ex_risk_test test;
  struct ex_error err;
  float loss[SPLIT];
  int32_t chosen = 0;
  assert_ok(ex__risk_test_new(risk, SPLIT, &test, &err), &err);
  for (int32_t p = 0; p < world->n_policies; p++) {
    for (int32_t i = 0; i < SPLIT; i++) loss[i] = world->loss[p * LARGE + items[i]];
    if (!ex__risk_test_next(&test, loss).passed && p > 0) break;
    chosen = p;
  }
  ex__risk_test_clear(&test);
  return chosen;
}

struct tally {
  int32_t broken, beyond;    /* splits whose risk is above the value; of the policy after it */
  double risk, square, macs; /* means */
};

static struct tally many_splits(const struct world *world, const struct ex_risk *risk) {
  struct ex_random random = ex__random_seed(9, 9);
  struct tally tally = {0};
  for (int32_t s = 0; s < SPLITS; s++) {
    int32_t items[SPLIT];
    for (int32_t i = 0; i < SPLIT; i++) items[i] = (int32_t)ex__random_below(&random, LARGE);
    int32_t chosen = walk(world, risk, items);
    int32_t after = chosen + 1 < world->n_policies ? chosen + 1 : chosen;
    tally.broken += world->risk[chosen] > risk->value;
    tally.beyond += world->risk[after] > risk->value;
    tally.risk += world->risk[chosen] / SPLITS;
    tally.square += world->risk[chosen] * world->risk[chosen] / SPLITS;
    tally.macs += world->macs[chosen] / SPLITS;
  }
  return tally;
}

/* P(Bin(SPLITS, level) ≥ count): were the promise just kept, as many or more. */
static double as_many(int32_t count, double level) {
  return count > 0 ? 1 - ex__binomial_tail(SPLITS, count - 1, level) : 1;
}

static void promises_over_a_thousand_splits(void **state) {
  (void)state;
  static const char *const rules[] = {"max-probability", "patience"};
  static const double value[] = {0.04, 0.015, 0.02};
  for (int of = 0; of < 3; of++)
    for (int r = 0; r < 2; r++) {
      struct world world = world_new(rules[r], (enum ex_risk_of)of);
      for (int form = 0; form < 3; form++) {
        struct ex_risk risk = {(enum ex_risk_of)of, (enum ex_risk_form)form, value[of],
                               r == 0 ? 0.9 : 0.8, 1};
        double level = 1 - risk.confidence;
        struct tally tally = many_splits(&world, &risk);
        print_message("%s, %s, %s at most %g: broken in %d of %d, mean risk %.4f, work %.3f, "
                      "%d policies; one further: broken in %d\n",
                      rules[r], ex__risk_form_name(risk.form), ex__risk_of_name(risk.of),
                      risk.value, (int)tally.broken, SPLITS, tally.risk, tally.macs,
                      (int)world.n_policies, (int)tally.beyond);
        double deviation = sqrt(fmax(0, tally.square - tally.risk * tally.risk) / SPLITS);
        if (risk.form == EX_RISK_CRC)
          assert_true(tally.risk <= risk.value + 3 * deviation);
        else
          assert_true(as_many(tally.broken, level) > 0.001);
        if (r == 0) assert_true(tally.macs < 0.95); /* not by never leaving early */
        /* Few policies: one step too far would have been noticed. */
        if (r == 1 && risk.of == EX_RISK_DISAGREEMENT)
          assert_true(as_many(tally.beyond, level) < 0.001);
      }
      world_free(&world);
    }
}

/* ---- paths ------------------------------------------------------------------------ */

/* Thresholds only fall, from all off; each policy is cheaper than the last. */
static void paths_are_monotone(void **state) {
  (void)state;
  ex_trace *select = labelled(2, 1000);
  struct ex_outcome *outcomes = ex__calloc(1000, sizeof *outcomes);
  for (int of = 0; of < 3; of++) {
    struct ex_candidates path;
    struct ex_error err;
    ex_policy start = rule("max-probability");
    double last = 1e18;
    assert_ok(ex__risk_path_make(&start, select, (enum ex_risk_of)of, &path, &err), &err);
    assert_true(ex__is_full_depth(&path.items[0]));
    assert_true(path.n > 20);
    for (int32_t p = 0; p < path.n; p++) {
      double cost = 0;
      ex__policy_replay(&path.items[p], select, NULL, outcomes);
      for (int32_t i = 0; i < 1000; i++) cost += (double)outcomes[i].macs;
      assert_true(cost < last);
      last = cost;
      for (int32_t e = 0; p > 0 && e < POINTS - 1; e++)
        assert_true(ex__policy_thresholds(&path.items[p])->value[e] <=
                    ex__policy_thresholds(&path.items[p - 1])->value[e]);
    }
    assert_true(last <= 111 * 1000); /* its bold end: nearly all at the first exit */
    ex__candidates_free(&path);
  }
  ex__free(outcomes);
  ex__trace_free(select);
}

/* Half of the samples are sure at the first exit, and agree there; the others do
 * not; at the second all agree. Without any loss 50 can leave at the first (110)
 * and 50 at the second (220), and the path passes by it. */
static void paths_find_what_is_free(void **state) {
  (void)state;
  enum { N = 100 };
  ex_real raw[3 * N * 2];
  int32_t target[N] = {0};
  struct ex_outcome outcomes[N];
  struct ex_candidates path;
  struct ex_error err;
  double least = 1e18;
  for (int32_t j = 0; j < 3 * N; j++) {
    bool unsure = j < N && j >= N / 2;
    raw[2 * j] = (ex_real)(unsure ? 0 : 4);
    raw[2 * j + 1] = (ex_real)(unsure ? 1 : 0);
  }
  ex_trace *select = fixture_from(N, 3, 2, raw, target);
  ex_policy start;
  assert_ok(ex__policy_init(&start, "max-probability", 3, 2, &err), &err);
  assert_ok(ex__risk_path_make(&start, select, EX_RISK_DISAGREEMENT, &path, &err), &err);
  for (int32_t p = 0; p < path.n; p++) {
    double cost = 0;
    ex__policy_replay(&path.items[p], select, NULL, outcomes);
    for (int32_t i = 0; i < N; i++) cost += (double)outcomes[i].macs;
    if (ex__risk_mean(EX_RISK_DISAGREEMENT, select, outcomes) == 0) least = fmin(least, cost);
  }
  assert_true(least == 50 * 110 + 50 * 220);
  ex__candidates_free(&path);
  ex__trace_free(select);
}

/* ---- the whole ---------------------------------------------------------------------- */

static struct ex_risk wanted(enum ex_risk_of of, enum ex_risk_form form, double value) {
  return (struct ex_risk){of, form, value, 0.9, 7};
}

static double work(const ex_trace *select, const ex_trace *certify, const struct ex_risk *risk) {
  struct ex_calibration out;
  struct ex_error err;
  ex_policy start = rule("entropy");
  assert_ok(ex__calibrate_risk(&start, select, certify, risk, NULL, &out, &err), &err);
  double share =
      json_number_value(json_object_get(json_object_get(out.receipt, "select"), "macs_share"));
  json_decref(out.receipt);
  return share;
}

/* More confidence never leaves earlier, a larger risk never later; at most 0 is
 * full depth, but for losses with a sign, which wins may make up for. */
static void order_of_promises(void **state) {
  (void)state;
  ex_trace *select = labelled(2, 1500), *certify = labelled(3, 1500);
  for (int of = 0; of < 3; of++)
    for (int form = 0; form < 3; form++) {
      struct ex_risk risk = wanted((enum ex_risk_of)of, (enum ex_risk_form)form, 0.02);
      double middle = work(select, certify, &risk);
      risk.value = 0.08;
      assert_true(work(select, certify, &risk) <= middle);
      risk.value = 0.02;
      risk.confidence = 0.99;
      assert_true(work(select, certify, &risk) >= middle);
      risk.value = 0;
      if (form != EX_RISK_UCB) assert_true(work(select, certify, &risk) == 1);
    }
  ex__trace_free(select);
  ex__trace_free(certify);
}

static void refusals(void **state) {
  (void)state;
  ex_trace *select = labelled(2, 400), *certify = labelled(3, 400);
  struct ex_error err;
  struct ex_calibration out;
  ex_policy start = rule("max-probability"), oracle = rule("oracle");
  struct ex_risk risk = wanted(EX_RISK_DISAGREEMENT, EX_RISK_LTT, 0.005);
  assert_refused(ex__calibrate_risk(&start, select, certify, &risk, NULL, &out, &err),
                 EX_EINFEASIBLE, &err,
                 "risk = 0.005 of disagreement cannot be shown by ltt with 400 samples in certify; "
                 "it takes at least 460");
  risk.form = EX_RISK_CRC;
  risk.value = 0.002;
  assert_refused(ex__calibrate_risk(&start, select, certify, &risk, NULL, &out, &err),
                 EX_EINFEASIBLE, &err, "it takes at least 499");
  risk = wanted(EX_RISK_ACCURACY, EX_RISK_UCB, 1);
  assert_refused(ex__calibrate_risk(&start, select, certify, &risk, NULL, &out, &err), EX_EINVAL,
                 &err, "risk = 1; must be in [0, 1) for accuracy");
  risk.value = 0.1;
  risk.confidence = 1;
  assert_refused(ex__calibrate_risk(&start, select, certify, &risk, NULL, &out, &err), EX_EINVAL,
                 &err, "confidence = 1; must be");
  risk.confidence = 0.9;
  assert_refused(ex__calibrate_risk(&oracle, select, certify, &risk, NULL, &out, &err), EX_EINVAL,
                 &err, "cannot be deployed");
  assert_refused(ex__calibrate_risk(&start, select, select, &risk, NULL, &out, &err), EX_EINVAL,
                 &err, "same samples");
  enum ex_risk_of of;
  enum ex_risk_form form;
  assert_refused(ex__risk_of_parse("hellinger", &of, &err), EX_EINVAL, &err,
                 "must be disagreement, accuracy or brier");
  assert_refused(ex__risk_form_parse("naive", &form, &err), EX_EINVAL, &err,
                 "must be ltt, ucb or crc");
  ex__trace_free(select);
  ex__trace_free(certify);
}

/* Not-finite early is the worst, at full depth the best there is. */
static void losses_of_what_is_not_finite(void **state) {
  (void)state;
  /* Two exits, three samples of two classes: sure and right twice; NaN early; NaN late. */
  static const ex_real raw[] = {40, 0, (ex_real)NAN, 0, 40, 0, 40, 0, 40, 0, (ex_real)NAN, 0};
  static const int32_t target[] = {0, 0, 0};
  static const double expected[3][3] = {{0, 1, 1}, {0, 1, -1}, {0, 2, 0}};
  ex_trace *trace = fixture_from(3, 2, 2, raw, target);
  for (int of = 0; of < 3; of++)
    for (int32_t i = 0; i < 3; i++) {
      assert_true(fabs(ex__risk_loss((enum ex_risk_of)of, trace, 0, i) - expected[of][i]) < 1e-9);
      assert_true(ex__risk_loss((enum ex_risk_of)of, trace, 1, i) == 0);
    }
  ex__trace_free(trace);
}

/* ---- receipts ------------------------------------------------------------------------ */

static bool held(const json_t *receipt, const ex_policy *policy, const ex_trace *certify,
                 const char *broken) {
  struct ex_error err;
  json_t *report, *check;
  bool seen = broken == NULL;
  size_t i;
  assert_ok(ex__receipt_verify(receipt, policy, certify, &report, &err), &err);
  bool result = json_is_true(json_object_get(report, "held"));
  json_array_foreach(json_object_get(report, "checks"), i, check) {
    if (broken == NULL || strcmp(json_string_value(json_object_get(check, "what")), broken) != 0)
      continue;
    assert_true(json_is_false(json_object_get(check, "ok")));
    seen = true;
  }
  assert_true(seen);
  json_decref(report);
  return result;
}

/* As it is read from a model file. */
static json_t *through_text(const json_t *receipt) {
  char *text;
  json_t *again;
  struct ex_error err;
  assert_int_equal(ex__json_dump(receipt, false, &text), EX_OK);
  assert_ok(ex__json_parse(text, strlen(text), "receipt", &again, &err), &err);
  ex__free(text);
  return again;
}

/* Every rule, risk and form (of rules whose fits take their time, each risk and each
 * form once): the receipt says certified, and holds. */
static void receipts_hold(void **state) {
  (void)state;
  ex_trace *select = labelled(2, 600), *certify = labelled(3, 600);
  for (int32_t c = 0; ex__policy_at(c) != NULL; c++)
    for (int kind = 0; kind < 9; kind += ex__policy_at(c)->fit_each ? 4 : 1) {
      if ((ex__policy_at(c)->needs & EX_POLICY_NEEDS_TARGET) != 0) continue;
      struct ex_risk risk = wanted((enum ex_risk_of)(kind / 3), (enum ex_risk_form)(kind % 3), 0.2);
      struct ex_calibration out;
      struct ex_error err;
      ex_policy start = rule(ex__policy_at(c)->name);
      assert_ok(ex__calibrate_risk(&start, select, certify, &risk, "2026-01-02", &out, &err), &err);
      json_t *receipt = through_text(out.receipt);
      assert_string_equal(json_string_value(json_object_get(receipt, "kind")), "certified");
      assert_true(json_is_null(json_object_get(receipt, "confidence")) ==
                  (risk.form == EX_RISK_CRC));
      assert_true(held(receipt, &out.policy, certify, NULL));
      json_decref(receipt);
      json_decref(out.receipt);
    }
  ex__trace_free(select);
  ex__trace_free(certify);
}

static void broken_receipts(void **state) {
  (void)state;
  ex_trace *select = labelled(2, 1000), *certify = labelled(3, 1000), *fresh = labelled(4, 1000);
  struct ex_risk risk = wanted(EX_RISK_ACCURACY, EX_RISK_UCB, 0.03);
  struct ex_calibration out;
  struct ex_error err;
  json_t *report;
  ex_policy start = rule("max-probability");
  assert_ok(ex__calibrate_risk(&start, select, certify, &risk, NULL, &out, &err), &err);
  assert_true(held(out.receipt, &out.policy, certify, NULL));
  assert_false(held(out.receipt, &out.policy, fresh, "samples"));

  json_t *receipt = json_deep_copy(out.receipt); /* a smaller promise than was shown */
  json_object_set_new(json_object_get(receipt, "constraint"), "value", json_real(0.015));
  assert_false(held(receipt, &out.policy, certify, "last policy that passed"));
  json_decref(receipt);

  receipt =
      json_deep_copy(out.receipt); /* the policy that failed, in place of the last that passed */
  json_t *risk_json = json_object_get(receipt, "risk");
  json_int_t chosen = json_integer_value(json_object_get(risk_json, "chosen"));
  assert_int_equal(json_array_size(json_object_get(risk_json, "path")), chosen + 2);
  json_object_set_new(risk_json, "chosen", json_integer(chosen + 1));
  assert_false(held(receipt, &out.policy, certify, "last policy that passed"));
  json_decref(receipt);

  receipt = json_deep_copy(out.receipt); /* another order of bets, other evidence */
  json_object_set_new(json_object_get(receipt, "risk"), "seed", json_integer(8));
  assert_false(held(receipt, &out.policy, certify, "evidence"));
  json_object_set_new(json_object_get(receipt, "risk"), "form", json_string("naive"));
  assert_refused(ex__receipt_verify(receipt, &out.policy, certify, &report, &err), EX_EINVAL, &err,
                 "form of risk \"naive\"");
  json_object_set_new(json_object_get(receipt, "risk"), "form", json_string("ucb"));
  json_array_set_new(json_object_get(json_object_get(receipt, "risk"), "path"), 0, json_integer(1));
  assert_refused(ex__receipt_verify(receipt, &out.policy, certify, &report, &err), EX_EFORMAT, &err,
                 "path");
  json_object_del(receipt, "risk");
  assert_refused(ex__receipt_verify(receipt, &out.policy, certify, &report, &err), EX_EFORMAT, &err,
                 "risk");
  json_decref(receipt);
  json_decref(out.receipt);
  ex__trace_free(fresh);
  ex__trace_free(select);
  ex__trace_free(certify);
}

static void time_for_ten_thousand(void **state) {
  (void)state;
  ex_trace *select = fixture_trace(5, 10000, 10, 10, 0.5, 3);
  ex_trace *certify = fixture_trace(6, 10000, 10, 10, 0.5, 3);
  for (int of = 0; of < 3; of++) {
    struct ex_risk risk = wanted((enum ex_risk_of)of, EX_RISK_UCB, 0.01);
    struct ex_calibration out;
    struct ex_error err;
    ex_policy start;
    assert_ok(ex__policy_init(&start, "entropy", 10, 10, &err), &err);
    int64_t begin = ex__now_ns();
    assert_ok(ex__calibrate_risk(&start, select, certify, &risk, NULL, &out, &err), &err);
    const json_t *on = json_object_get(out.receipt, "certify");
    print_message("%s: %.0f ms, macs %.3f of full depth\n", ex__risk_of_name(risk.of),
                  (double)(ex__now_ns() - begin) / 1e6,
                  json_number_value(json_object_get(on, "macs_share")));
    json_decref(out.receipt);
  }
  ex__trace_free(select);
  ex__trace_free(certify);
}

int main(void) {
  const struct CMUnitTest tests[] = {
      cmocka_unit_test(promises_over_a_thousand_splits),
      cmocka_unit_test(paths_are_monotone),
      cmocka_unit_test(paths_find_what_is_free),
      cmocka_unit_test(order_of_promises),
      cmocka_unit_test(refusals),
      cmocka_unit_test(losses_of_what_is_not_finite),
      cmocka_unit_test(receipts_hold),
      cmocka_unit_test(broken_receipts),
      cmocka_unit_test(time_for_ten_thousand),
  };
  return cmocka_run_group_tests(tests, NULL, NULL);
}
