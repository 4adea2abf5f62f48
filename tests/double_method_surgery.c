/* SPDX-License-Identifier: Apache-2.0
 *
 * Merging by inner products: PCGrad and CAGrad on gradients made here, against
 * the vectors themselves.
 */
#include <math.h>

#include "base/random.h"
#include "method/method.h"
#include "tests/testing.h"

enum { DIM = 7, MOST = 8 };

static struct ex_error err;

struct problem {
  int32_t n;
  double g[MOST][DIM], product[MOST * MOST], weight[MOST], merged[DIM];
};

/* `common`: what all gradients share; negative makes them fight. */
static void make(struct problem *p, int32_t n, double common, uint64_t seed) {
  struct ex_random random = ex__random_seed(seed, 1);
  double shared[DIM];
  memset(p, 0, sizeof *p);
  p->n = n;
  for (int32_t d = 0; d < DIM; d++) shared[d] = ex__random_normal(&random);
  for (int32_t i = 0; i < n; i++)
    for (int32_t d = 0; d < DIM; d++)
      p->g[i][d] = ex__random_normal(&random) + (i % 2 ? common : fabs(common)) * shared[d];
  for (int32_t i = 0; i < n; i++)
    for (int32_t j = 0; j < n; j++)
      for (int32_t d = 0; d < DIM; d++) p->product[i * n + j] += p->g[i][d] * p->g[j][d];
}

static double dot(const double *a, const double *b) {
  double sum = 0;
  for (int32_t d = 0; d < DIM; d++) sum += a[d] * b[d];
  return sum;
}

static void merge(struct problem *p, const char *name, const char *param, const char *text,
                  uint64_t seed) {
  const struct ex_method *method = ex__method_find(name);
  _Alignas(16) char values[EX_MAX_METHOD_VALUES];
  ex__param_defaults(method->params, values);
  if (param != NULL)
    assert_ok(ex__param_set(name, method->params, values, param, text, &err), &err);
  const struct ex_merge_call call = {p->n, p->product, seed, p->weight};
  method->merge(values, NULL, &call);
  memset(p->merged, 0, sizeof p->merged);
  for (int32_t i = 0; i < p->n; i++)
    for (int32_t d = 0; d < DIM; d++) p->merged[d] += p->weight[i] * p->g[i][d];
}

/* ---- PCGrad ---------------------------------------------------------------- */

static void two_that_fight_are_projected(void **state) {
  (void)state;
  for (uint64_t seed = 1; seed < 50; seed++) {
    struct problem p;
    make(&p, 2, -1, seed);
    merge(&p, "pcgrad", NULL, NULL, seed);
    double ab = p.product[1];
    for (int32_t d = 0; d < DIM; d++) {
      double expected = p.g[0][d] + p.g[1][d];
      if (ab < 0) expected -= ab / p.product[3] * p.g[1][d] + ab / p.product[0] * p.g[0][d];
      assert_true(fabs(p.merged[d] - expected) < 1e-12);
    }
    assert_true(dot(p.merged, p.g[0]) > -1e-12 && dot(p.merged, p.g[1]) > -1e-12);
  }
}

static void those_that_agree_are_summed(void **state) {
  (void)state;
  struct problem p;
  make(&p, 5, 20, 3);
  merge(&p, "pcgrad", NULL, NULL, 7);
  for (int32_t i = 0; i < 5; i++) assert_true(p.weight[i] == 1);
}

/* With vectors, in every order: the result is one of those that they give. */
static void several_are_projected_in_some_order(void **state) {
  (void)state;
  static const int32_t orders[2][3][2] = {{{1, 2}, {0, 2}, {0, 1}}, {{2, 1}, {2, 0}, {1, 0}}};
  int32_t different = 0;
  for (uint64_t seed = 1; seed < 40; seed++) {
    struct problem p;
    make(&p, 3, -0.5, 5);
    merge(&p, "pcgrad", NULL, NULL, seed);
    bool found = false;
    for (int32_t code = 0; code < 8; code++) {
      double sum[DIM] = {0};
      for (int32_t i = 0; i < 3; i++) {
        double g[DIM];
        memcpy(g, p.g[i], sizeof g);
        for (int32_t k = 0; k < 2; k++) {
          const double *other = p.g[orders[code >> i & 1][i][k]];
          double along = dot(g, other);
          for (int32_t d = 0; d < DIM && along < 0; d++)
            g[d] -= along / dot(other, other) * other[d];
        }
        for (int32_t d = 0; d < DIM; d++) sum[d] += g[d];
      }
      double apart = 0;
      for (int32_t d = 0; d < DIM; d++) apart = fmax(apart, fabs(sum[d] - p.merged[d]));
      found |= apart < 1e-12;
    }
    assert_true(found);
    struct problem q = p;
    merge(&q, "pcgrad", NULL, NULL, seed); /* the seed decides */
    assert_memory_equal(p.weight, q.weight, sizeof p.weight);
    merge(&q, "pcgrad", NULL, NULL, seed + 100);
    different += memcmp(p.weight, q.weight, sizeof p.weight) != 0;
  }
  assert_true(different > 0);
}

/* ---- CAGrad ---------------------------------------------------------------- */

static double worst(const struct problem *p, const double *d) {
  double least = INFINITY;
  for (int32_t i = 0; i < p->n; i++) least = fmin(least, dot(p->g[i], d));
  return least;
}

static void mean_of(const struct problem *p, double *mean) {
  for (int32_t d = 0; d < DIM; d++) {
    mean[d] = 0;
    for (int32_t i = 0; i < p->n; i++) mean[d] += p->g[i][d] / p->n;
  }
}

/* The primal problem: no direction in the ball does better by its worst exit;
 * tried with random ones, and with small steps from the solution. */
static void no_direction_helps_the_worst_more(void **state) {
  (void)state;
  for (uint64_t seed = 1; seed < 30; seed++) {
    struct problem p;
    double mean[DIM], d[DIM];
    int32_t n = 2 + (int32_t)(seed % 5);
    make(&p, n, seed % 3 ? -0.7 : 1, seed);
    merge(&p, "cagrad", "rescale", "false", 0);
    mean_of(&p, mean);
    double radius = 0.5 * sqrt(dot(mean, mean)), away = 0;
    for (int32_t k = 0; k < DIM; k++) {
      d[k] = p.merged[k] / n;
      away += (d[k] - mean[k]) * (d[k] - mean[k]);
    }
    assert_true(fabs(sqrt(away) - radius) < 1e-9); /* on the edge of the ball */
    double best = worst(&p, d);
    assert_true(best >= worst(&p, mean));
    struct ex_random random = ex__random_seed(seed, 2);
    for (int32_t trial = 0; trial < 4000; trial++) {
      double other[DIM], size = 0, step = trial % 4 == 0 ? 1 : pow(0.1, trial % 4 + 1);
      for (int32_t k = 0; k < DIM; k++) {
        other[k] = (trial % 4 == 0 ? 0 : d[k] - mean[k]) + step * ex__random_normal(&random);
        size += other[k] * other[k];
      }
      for (int32_t k = 0; k < DIM; k++) other[k] = mean[k] + other[k] * radius / sqrt(size);
      if (worst(&p, other) > best + 1e-9)
        fail_msg("seed %d: %g is above %g", (int)seed, worst(&p, other), best);
    }
  }
}

static void without_room_it_is_joint(void **state) {
  (void)state;
  struct problem p;
  make(&p, 4, -1, 3);
  merge(&p, "cagrad", "c", "0", 0);
  for (int32_t i = 0; i < 4; i++) assert_true(p.weight[i] == 1);
}

/* Gradients that are all the same, that cancel, and that are zero. */
static void hard_cases_stay_finite(void **state) {
  (void)state;
  for (int32_t kind = 0; kind < 3; kind++) {
    struct problem p;
    make(&p, 4, 0, 9);
    double factor[4] = {1, kind == 0 ? 1 : -1, 1, kind == 0 ? 1 : -1};
    for (int32_t i = 0; i < 4; i++)
      for (int32_t j = 0; j < 4; j++)
        p.product[i * 4 + j] = kind == 2 ? 0 : factor[i] * factor[j] * p.product[0];
    merge(&p, "cagrad", NULL, NULL, 0);
    for (int32_t i = 0; i < 4; i++) assert_true(fabs(p.weight[i]) < 10);
    merge(&p, "pcgrad", NULL, NULL, 3);
    for (int32_t i = 0; i < 4; i++) assert_true(fabs(p.weight[i]) < 10);
  }
}

int main(void) {
  const struct CMUnitTest tests[] = {
      cmocka_unit_test(two_that_fight_are_projected),
      cmocka_unit_test(those_that_agree_are_summed),
      cmocka_unit_test(several_are_projected_in_some_order),
      cmocka_unit_test(no_direction_helps_the_worst_more),
      cmocka_unit_test(without_room_it_is_joint),
      cmocka_unit_test(hard_cases_stay_finite),
  };
  return cmocka_run_group_tests(tests, NULL, NULL);
}
