/* SPDX-License-Identifier: Apache-2.0
 *
 * Gates learned backward: what the derivation promises, and small problems whose
 * optimum is known.
 */
#include <math.h>

#include "base/random.h"
#include "policy/stopping.h"
#include "tests/testing.h"

enum { N = 31, EXITS = 3, D = 31 };

struct data {
  double feature[EXITS * N * D], price[EXITS][N]; /* rows of features as wide as are used */
};

static const double way[] = {0.25, 0.25, 0.25, 0.25}, look[] = {0.02, 0.03, 0.02, 0.02},
                    look_off[] = {0, 0, 0, 0};

static struct ex_stopping problem_of(const struct data *data, int32_t d) {
  return (struct ex_stopping){.n = N,
                              .n_exits = EXITS,
                              .d = d,
                              .feature = data->feature,
                              .price = data->price[0],
                              .way = way,
                              .look = look,
                              .look_off = look_off,
                              .l2 = 1e-4};
}

/* Prices are `lambda` where an exit is wrong, the likelier the earlier it is;
 * `identity`: features are the sample's number, one of D is 1. */
static void make(uint64_t seed, double lambda, bool identity, struct data *data) {
  struct ex_random random = ex__random_seed(seed, 1);
  double *at = data->feature;
  int32_t d = identity ? D : 2;
  for (int32_t e = 0; e < EXITS; e++)
    for (int32_t i = 0; i < N; i++) {
      double hard = ex__random_uniform(&random);
      bool wrong = hard > 0.4 + 0.2 * e;
      data->price[e][i] = wrong ? lambda : 0;
      for (int32_t j = 0; j < d; j++)
        at[(e * N + i) * d + j] =
            identity ? j == i : (j == 0 ? -hard : 0) + 0.3 * ex__random_normal(&random);
    }
}

static double fit(const struct ex_stopping *problem, struct ex_gate *gates) {
  struct ex_error err;
  double expected;
  assert_ok(ex__stopping_fit(problem, gates, &expected, &err), &err);
  return expected;
}

/* The pass backward and a run forward tell the same mean. */
static void what_was_expected_is_what_is_spent(void **state) {
  (void)state;
  static const double lambdas[] = {0, 0.1, 1, 5, 100};
  for (uint64_t seed = 1; seed <= 10; seed++)
    for (size_t l = 0; l < 5; l++) {
      struct data data;
      struct ex_gate gates[EXITS];
      make(seed, lambdas[l], false, &data);
      for (int32_t kind = 0; kind < 4; kind++) {
        struct ex_stopping problem = problem_of(&data, 2);
        problem.exact = kind % 2 == 1;
        problem.sweeps = kind >= 2 ? 3 : 0;
        double expected = fit(&problem, gates);
        assert_true(fabs(expected - ex__stopping_cost(&problem, gates)) < 1e-12);
      }
    }
}

static void sweeps_never_cost(void **state) {
  (void)state;
  double least = 0;
  for (uint64_t seed = 1; seed <= 30; seed++) {
    struct data data;
    struct ex_gate gates[EXITS];
    make(seed, 2, false, &data);
    for (int32_t exact = 0; exact < 2; exact++) {
      struct ex_stopping problem = problem_of(&data, 2);
      problem.exact = exact;
      fit(&problem, gates);
      double before = ex__stopping_cost(&problem, gates);
      for (problem.sweeps = 1; problem.sweeps <= 3; problem.sweeps++) {
        fit(&problem, gates);
        double now = ex__stopping_cost(&problem, gates);
        assert_true(now <= before + 1e-12);
        least = fmin(least, now - before);
        before = now;
      }
    }
  }
  assert_true(least < -1e-3); /* and now and then they pay */
}

static void free_errors_stop_at_once(void **state) {
  (void)state;
  struct data data;
  struct ex_gate gates[EXITS];
  make(3, 0, false, &data);
  struct ex_stopping problem = problem_of(&data, 2);
  for (int32_t exact = 0; exact < 2; exact++) {
    problem.exact = exact;
    assert_true(fabs(fit(&problem, gates) - (way[0] + look[0])) < 1e-12);
  }
}

/* Features that tell each sample: the gates do what an oracle would. And dear
 * errors are then not made: what is spent is cost alone. */
static void telling_features_make_an_oracle(void **state) {
  (void)state;
  for (uint64_t seed = 1; seed <= 5; seed++) {
    struct data data;
    struct ex_gate gates[EXITS];
    make(seed, 0.4, true, &data);
    struct ex_stopping problem = problem_of(&data, D);
    double learned = fit(&problem, gates);
    problem.oracle = true;
    assert_true(fabs(fit(&problem, gates) - learned) < 1e-12);
    make(seed, 1e6, true, &data);
    problem.oracle = false;
    fit(&problem, gates);
    assert_true(ex__stopping_cost(&problem, gates) < 1.1);
  }
}

static void an_oracle_spends_no_more_and_rises_with_the_price(void **state) {
  (void)state;
  for (uint64_t seed = 1; seed <= 10; seed++) {
    double before = 0;
    for (double lambda = 0; lambda < 20; lambda = 2 * lambda + 0.1) {
      struct data data;
      struct ex_gate gates[EXITS];
      make(seed, lambda, false, &data);
      struct ex_stopping problem = problem_of(&data, 2);
      problem.exact = true;
      double learned = fit(&problem, gates);
      problem.oracle = true;
      double oracle = fit(&problem, gates);
      assert_true(oracle <= learned + 1e-12);
      assert_true(oracle >= before - 1e-12);
      before = oracle;
    }
  }
}

/* One gate, one feature: no cut of that feature is better than the exact one. */
static void one_gate_is_that_of_brute_force(void **state) {
  (void)state;
  int32_t inside = 0;
  for (uint64_t seed = 1; seed <= 50; seed++) {
    struct ex_random random = ex__random_seed(seed, 2);
    double feature[N], price[N], least = INFINITY;
    for (int32_t i = 0; i < N; i++) {
      feature[i] = ex__random_below(&random, 20);
      price[i] = ex__random_below(&random, 20) > feature[i] ? 1.5 : 0;
    }
    struct ex_stopping problem = {.n = N,
                                  .n_exits = 1,
                                  .d = 1,
                                  .feature = feature,
                                  .price = price,
                                  .way = way,
                                  .look = look,
                                  .look_off = look_off,
                                  .l2 = 1e-4,
                                  .exact = true};
    struct ex_gate gate = {true, 0, {1}}, never = {false, 1, {0}};
    for (double at = -0.5; at < 21; at++) {
      gate.leave_at = at;
      least = fmin(least, ex__stopping_cost(&problem, &gate));
    }
    least = fmin(least, ex__stopping_cost(&problem, &never));
    double found = fit(&problem, &gate);
    assert_true(found <= least + 1e-12); /* a feature that falls may do better still */
    inside += gate.weight[0] > 0 && gate.leave_at > 0.5;
    if (gate.weight[0] > 0) assert_true(fabs(found - least) < 1e-12);
  }
  assert_true(inside > 25);
}

/* cost of any gate = Σ min(e, c) + Σ |e − c| · [it errs], per sample. */
static void the_reduction_is_exact(void **state) {
  (void)state;
  struct data data;
  make(4, 0.7, false, &data);
  struct ex_stopping problem = problem_of(&data, 2);
  problem.n_exits = 1;
  double ahead = way[1] + look[1]; /* the second exit is the last */
  for (double at = -1; at < 0.5; at += 0.1) {
    const struct ex_gate gate = {true, at, {1, 0.2}};
    double sum = 0;
    for (int32_t i = 0; i < N; i++) {
      double price = data.price[0][i];
      const double *feature = problem.feature + (int64_t)i * 2;
      bool stops = ex__gate_score(gate.weight, feature, 2) >= at, right = price <= ahead;
      sum += fmin(price, ahead) + (stops != right ? fabs(price - ahead) : 0);
    }
    assert_true(fabs(way[0] + look[0] + sum / N - ex__stopping_cost(&problem, &gate)) < 1e-12);
  }
}

static void the_order_of_samples_is_nothing(void **state) {
  (void)state;
  struct data data, other;
  struct ex_gate gates[EXITS], turned[EXITS];
  make(5, 1, false, &data);
  const double *from = data.feature;
  double *to = other.feature;
  for (int32_t e = 0; e < EXITS; e++)
    for (int32_t i = 0; i < N; i++) {
      int32_t j = (7 * i + 3) % N;
      other.price[e][i] = data.price[e][j];
      memcpy(to + (e * N + i) * 2, from + (e * N + j) * 2, 2 * sizeof *to);
    }
  struct ex_stopping problem = problem_of(&data, 2), same = problem_of(&other, 2);
  fit(&problem, gates);
  fit(&same, turned);
  for (int32_t e = 0; e < EXITS; e++) {
    assert_true(gates[e].on == turned[e].on);
    assert_true(fabs(gates[e].leave_at - turned[e].leave_at) < 1e-9);
    for (int32_t j = 0; j < 2; j++)
      assert_true(fabs(gates[e].weight[j] - turned[e].weight[j]) < 1e-9);
  }
}

/* A head that costs more than leaving there could save is switched off. */
static void dear_heads_are_off(void **state) {
  (void)state;
  static const double dear[] = {0.9, 0.03, 0.02, 0.02};
  struct data data;
  struct ex_gate gates[EXITS];
  make(6, 1, false, &data);
  struct ex_stopping problem = problem_of(&data, 2);
  problem.look = dear;
  double expected = fit(&problem, gates);
  assert_false(gates[0].on);
  assert_true(gates[1].on || gates[2].on);
  assert_true(fabs(expected - ex__stopping_cost(&problem, gates)) < 1e-12);
}

/* Nobody can stop at an exit whose price is infinite, and nothing else changes. */
static void no_price_no_stop(void **state) {
  (void)state;
  struct data data;
  struct ex_gate gates[EXITS];
  make(7, 0, false, &data);
  for (int32_t i = 0; i < N; i++) data.price[0][i] = INFINITY;
  struct ex_stopping problem = problem_of(&data, 2);
  double expected = fit(&problem, gates);
  assert_true(fabs(expected - (way[0] + way[1] + look[1])) < 1e-12);
}

int main(void) {
  const struct CMUnitTest tests[] = {
      cmocka_unit_test(what_was_expected_is_what_is_spent),
      cmocka_unit_test(sweeps_never_cost),
      cmocka_unit_test(free_errors_stop_at_once),
      cmocka_unit_test(telling_features_make_an_oracle),
      cmocka_unit_test(an_oracle_spends_no_more_and_rises_with_the_price),
      cmocka_unit_test(one_gate_is_that_of_brute_force),
      cmocka_unit_test(the_reduction_is_exact),
      cmocka_unit_test(the_order_of_samples_is_nothing),
      cmocka_unit_test(dear_heads_are_off),
      cmocka_unit_test(no_price_no_stop),
  };
  return cmocka_run_group_tests(tests, NULL, NULL);
}
