/* SPDX-License-Identifier: Apache-2.0
 *
 * The drift guard on made samples: nothing on inputs like those of select, an alarm
 * on others, one exit later after each window, and back again.
 */
#include <jansson.h>
#include <math.h>

#include "serve/drift.h"
#include "tests/tiny_net.h"

enum { WINDOW = 100 };

static ex_model made_model(void) {
  ex_model model = {.net = tiny_net(0, false, 1)};
  model.receipt = json_pack("{s:{s:[f,f,f]}, s:{s:i, s:[f,f,f,f,f,f,f,f,f,f]}}", "select",
                            "exit_shares", 0.5, 0.3, 0.2, "first_confidence", "exit", 0, "shares",
                            0.0, 0.0, 0.0, 0.1, 0.1, 0.1, 0.1, 0.2, 0.2, 0.2);
  assert_non_null(model.receipt);
  return model;
}

/* A window as expected, or one of inputs that are hardly ever sure. */
static void feed(struct ex_drift *drift, bool strange) {
  for (int32_t i = 0; i < WINDOW; i++) {
    int32_t tenth = i % 10;
    double usual = tenth < 4 ? 0.35 + 0.1 * tenth : 0.75 + 0.1 * ((tenth - 4) / 2);
    ex__drift_note(drift, strange ? 2 : tenth < 5 ? 0 : tenth < 8 ? 1 : 2, strange ? 0.35 : usual);
  }
}

static void usual_inputs_are_no_alarm(void **state) {
  (void)state;
  ex_model model = made_model();
  struct ex_drift drift = {.n = 0};
  ex__drift_init(&drift, WINDOW, 0.2, true);
  ex__drift_expect(&drift, &model, 3);
  for (int i = 0; i < 5; i++) feed(&drift, false);
  struct ex_drift_view view = ex__drift_look(&drift);
  assert_int_equal(view.windows, 5);
  assert_true(view.known[0] && view.known[1]);
  assert_true(view.index[0] < 1e-9);
  assert_true(view.index[1] < 1e-9);
  assert_false(view.alarm);
  assert_int_equal(view.later, 0);
  ex__drift_free(&drift);
  json_decref(model.receipt);
  ex_net_free(model.net);
}

/* Behind a cut: which of the last two exits it was is not known, nor an alarm. */
static void exits_may_count_as_one(void **state) {
  (void)state;
  ex_model model = made_model();
  struct ex_drift drift = {.n = 0};
  ex__drift_init(&drift, WINDOW, 0.2, true);
  ex__drift_expect(&drift, &model, 2);
  for (int32_t i = 0; i < WINDOW; i++)
    ex__drift_note(&drift, i % 2 == 0 ? 0 : i % 3 == 0 ? -1 : i % 3, i % 2 == 0 ? 0.95 : 0.55);
  ex__drift_note(&drift, 0, (double)NAN); /* nothing was looked at */
  struct ex_drift_view view = ex__drift_look(&drift);
  assert_int_equal(view.windows, 1);
  assert_true(view.index[0] < 1e-9); /* half at the first, as in calibration */
  ex__drift_free(&drift);
  json_decref(model.receipt);
  ex_net_free(model.net);
}

static void strange_inputs_go_deeper_and_back(void **state) {
  (void)state;
  ex_model model = made_model();
  struct ex_drift drift = {.n = 0};
  ex__drift_init(&drift, WINDOW, 0.2, true);
  ex__drift_expect(&drift, &model, 3);
  for (int32_t i = 0; i < 4; i++) {
    feed(&drift, true);
    assert_true(ex__drift_look(&drift).alarm);
    assert_int_equal(ex__drift_later(&drift), i < 1 ? 1 : 2); /* three exits: full depth */
  }
  for (int32_t i = 1; i <= 2 * EX_DRIFT_CALM; i++) {
    feed(&drift, false);
    assert_int_equal(ex__drift_later(&drift), 2 - i / EX_DRIFT_CALM);
  }
  feed(&drift, true);
  assert_int_equal(ex__drift_later(&drift), 1);
  ex__drift_expect(&drift, &model, 3); /* loaded anew */
  assert_int_equal(ex__drift_later(&drift), 0);
  ex__drift_free(&drift);
  json_decref(model.receipt);
  ex_net_free(model.net);
}

static void it_can_be_told_only_or_off(void **state) {
  (void)state;
  ex_model model = made_model();
  struct ex_drift told = {.n = 0}, off = {.n = 0}, ignorant = {.n = 0};
  ex__drift_init(&told, WINDOW, 0.2, false);
  ex__drift_expect(&told, &model, 3);
  feed(&told, true);
  assert_true(ex__drift_look(&told).alarm);
  assert_int_equal(ex__drift_later(&told), 0);
  ex__drift_init(&off, 0, 0.2, true);
  ex__drift_expect(&off, &model, 3);
  feed(&off, true);
  assert_int_equal(ex__drift_look(&off).windows, 0);
  json_decref(model.receipt);
  model.receipt = json_pack("{s:{s:[f,f,f]}}", "select", "exit_shares", 0.5, 0.3, 0.3);
  ex__drift_init(&ignorant, WINDOW, 0.2, true);
  ex__drift_expect(&ignorant, &model, 3); /* shares that do not sum to 1 are no shares */
  feed(&ignorant, true);
  assert_false(ex__drift_look(&ignorant).known[0] || ex__drift_look(&ignorant).alarm);
  ex__drift_free(&told);
  ex__drift_free(&off);
  ex__drift_free(&ignorant);
  json_decref(model.receipt);
  ex_net_free(model.net);
}

int main(void) {
  const struct CMUnitTest tests[] = {
      cmocka_unit_test(usual_inputs_are_no_alarm),
      cmocka_unit_test(exits_may_count_as_one),
      cmocka_unit_test(strange_inputs_go_deeper_and_back),
      cmocka_unit_test(it_can_be_told_only_or_off),
  };
  return cmocka_run_group_tests(tests, NULL, NULL);
}
