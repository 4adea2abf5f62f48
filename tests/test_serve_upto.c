/* SPDX-License-Identifier: Apache-2.0
 *
 * The cut for the least mean time: the arithmetic by hand, and where it cannot be
 * done.
 */
#include "serve/upto.h"
#include "tests/serve_fixture.h"

/* Four stages of 1 ms, heads of 0.1 ms; half of those that come leave at each exit. */
static const struct ex_cost cost = {.body_ns = {1000000, 1000000, 1000000, 1000000},
                                    .head_ns = {100000, 100000, 100000, 100000}};
static const struct ex_point points[] = {{.stage = 0}, {.stage = 1}, {.stage = 2}, {.stage = 3}};
static const double shares[] = {0.5, 0.25, 0.125, 0.125};

static void assert_near(double a, double b) { assert_true(fabs(a - b) < 1e-9); }

static void a_mean_is_summed_by_hand(void **state) {
  (void)state;
  const double there[] = {0.0005, 0.01, 0.01};
  struct ex_upto_view views[4];
  assert_int_equal(ex__upto_compare(&cost, points, 4, shares, there, views), 0);
  assert_near(views[0].here, 0.0011);
  assert_near(views[0].crosses, 0.5);
  assert_near(views[0].mean, 0.0011 + 0.5 * 0.0005);
  assert_near(views[2].here, 0.0011 * (1 + 0.5 + 0.25));
  assert_near(views[2].crosses, 0.125);
  assert_near(views[2].mean, 0.0011 * 1.75 + 0.125 * 0.01);
  assert_near(views[3].mean, 0.0011 * 1.875);
  assert_near(views[3].crosses, 0);
}

static void a_slow_link_moves_the_cut_back(void **state) {
  (void)state;
  struct ex_upto_view views[4];
  const double slow[] = {0.1, 0.1, 0.0005}, slower[] = {1, 1, 1}, gone[] = {NAN, NAN, NAN};
  assert_int_equal(ex__upto_compare(&cost, points, 4, shares, slow, views), 2);
  assert_int_equal(ex__upto_compare(&cost, points, 4, shares, slower, views), EX_UPTO_WHOLE);
  assert_int_equal(ex__upto_compare(&cost, points, 4, shares, gone, views), EX_UPTO_WHOLE);
}

/* A stage without a point belongs to the next one that has one. */
static void stages_without_exits_are_charged(void **state) {
  (void)state;
  static const struct ex_point sparse[] = {{.stage = 1}, {.stage = 3}};
  const double two[] = {0.5, 0.5}, there[] = {0.01};
  struct ex_upto_view views[2];
  assert_int_equal(ex__upto_compare(&cost, sparse, 2, two, there, views), EX_UPTO_WHOLE);
  assert_near(views[0].here, 0.0021);
  assert_near(views[1].mean, 0.0021 * 1.5);
}

static void a_model_without_a_receipt_cannot_choose(void **state) {
  (void)state;
  struct ex_error err;
  struct ex_server_options options = served_options();
  struct served_fixture s = served_new(&options);
  const char *const models[] = {model_path};
  ex_server *server;
  options.service.upstream = "http://127.0.0.1:1";
  options.service.upstream_seconds = 1;
  options.service.upto = EX_UPTO_AUTO;
  assert_refused(ex__server_new(&options, models, 1, &server, &err), EX_EINVAL, &err,
                 "receipt does not say where inputs leave");
  served_free(&s);
}

int main(void) {
  const struct CMUnitTest tests[] = {
      cmocka_unit_test(a_mean_is_summed_by_hand),
      cmocka_unit_test(a_slow_link_moves_the_cut_back),
      cmocka_unit_test(stages_without_exits_are_charged),
      cmocka_unit_test(a_model_without_a_receipt_cannot_choose),
  };
  return cmocka_run_group_tests(tests, NULL, NULL);
}
