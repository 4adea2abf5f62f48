/* SPDX-License-Identifier: Apache-2.0 */
#include <math.h>

#include "base/json.h"
#include "net/transform.h"
#include "tests/testing.h"

static void temperature_divides_and_one_keeps_the_bits(void **state) {
  (void)state;
  struct ex_transform transform = {.kind = EX_TRANSFORM_TEMPERATURE, .temperature = {2, {1, 2}}};
  const ex_real raw[] = {0.1f, -3.7f, 1e-30f};
  ex_real output[3];
  ex__transform_apply(&transform, 0, 3, raw, NULL, output);
  assert_memory_equal(output, raw, sizeof raw);
  ex__transform_apply(&transform, 1, 3, raw, NULL, output);
  for (int i = 0; i < 3; i++) assert_true(output[i] == raw[i] / 2);
  struct ex_transform identity = {0};
  ex__transform_apply(&identity, 1, 3, raw, NULL, output);
  assert_memory_equal(output, raw, sizeof raw);
  assert_int_equal(ex__transform_state_size(&transform, 3), 0);
}

/* F_n = f (1 − tⁿ) / (1 − t) for a constant f; in place; t = 0 is the identity. */
static void additive_adds_what_came_before(void **state) {
  (void)state;
  const struct ex_transform transform = {.kind = EX_TRANSFORM_ADDITIVE, .factor = 0.5};
  ex_real held[2];
  assert_int_equal(ex__transform_state_size(&transform, 2), 2);
  for (int sample = 0; sample < 2; sample++) {
    ex__transform_start(&transform, 2, held);
    for (int n = 1; n <= 4; n++) {
      ex_real output[2] = {3, -1};
      ex__transform_apply(&transform, n - 1, 2, output, held, output);
      double factor = (1 - 1.0 / (1 << n)) / 0.5; /* exact in binary */
      assert_true(output[0] == (ex_real)(3 * factor) && output[1] == (ex_real)-factor);
      assert_int_equal(ex__transform_needs(&transform, n - 1), (1 << (n - 1)) - 1);
    }
  }
  const struct ex_transform none = {.kind = EX_TRANSFORM_ADDITIVE, .factor = 0};
  const ex_real raw[] = {0.1f, -0.0f};
  ex_real output[2];
  ex__transform_apply(&none, 3, 2, raw, NULL, output);
  assert_memory_equal(output, raw, sizeof raw);
  assert_int_equal(ex__transform_state_size(&none, 2), 0);
  assert_int_equal(ex__transform_needs(&none, 5), 0);
}

/* The scale comes last: what is carried on is not scaled. */
static void other_kinds_are_scaled_too(void **state) {
  (void)state;
  struct ex_transform transform = {.kind = EX_TRANSFORM_ADDITIVE, .factor = 0.5};
  const struct ex_list list = {2, {4, 2}}, none = {0};
  ex__transform_set_temperatures(&transform, &list);
  assert_int_equal(transform.kind, EX_TRANSFORM_ADDITIVE);
  const ex_real raw[] = {8, -2};
  ex_real held[2], output[2];
  ex__transform_start(&transform, 2, held);
  ex__transform_apply(&transform, 0, 2, raw, held, output);
  assert_true(output[0] == 2 && output[1] == (ex_real)-0.5);
  ex__transform_apply(&transform, 1, 2, raw, held, output);
  assert_true(output[0] == 6 && output[1] == (ex_real)-1.5); /* (8 + 8 / 2) / 2 */
  ex__transform_set_temperatures(&transform, &none);
  ex__transform_start(&transform, 2, held);
  ex__transform_apply(&transform, 0, 2, raw, held, output);
  assert_true(output[0] == 8 && output[1] == -2);
  struct ex_transform identity = {0};
  ex__transform_set_temperatures(&identity, &list);
  assert_int_equal(identity.kind, EX_TRANSFORM_TEMPERATURE);
  ex__transform_set_temperatures(&identity, &none);
  assert_int_equal(identity.kind, EX_TRANSFORM_IDENTITY);
}

/* By hand: weights 1/2 and 1. A class that got nothing stays out; where all are out
 * the exit's own outputs stand; what is not finite is passed on and forgotten. */
static void products_shut_classes_out(void **state) {
  (void)state;
  struct ex_transform transform = {0};
  ex__transform_set_product(&transform, 2);
  assert_int_equal(ex__transform_state_size(&transform, 3), 3);
  assert_int_equal(ex__transform_needs(&transform, 1), 1);
  const ex_real first[] = {4, 1, -1}, second[] = {2, 3, 9}, none[] = {-1, -2, -3};
  const ex_real broken[] = {1, (ex_real)NAN, 1};
  ex_real held[3], output[3];
  ex__transform_start(&transform, 3, held);
  ex__transform_apply(&transform, 0, 3, first, held, output);
  assert_float_equal(output[0], log(2), 1e-6);
  assert_float_equal(output[1], 0, 1e-6);
  assert_true(output[2] <= -1000);
  ex__transform_apply(&transform, 1, 3, broken, held, output);
  assert_true(output[0] == 1 && isnan(output[1]));
  ex__transform_apply(&transform, 1, 3, second, held, output);
  assert_float_equal(output[0], log(4), 1e-6);
  assert_float_equal(output[1], log(3), 1e-6);
  assert_true(output[2] <= -1000);
  ex__transform_apply(&transform, 1, 3, none, held, output);
  assert_memory_equal(output, none, sizeof none);
  ex__transform_apply(&transform, 1, 3, second, held, output); /* all are out for good */
  assert_memory_equal(output, second, sizeof second);
}

static void json_round_trip(void **state) {
  (void)state;
  const struct ex_transform transforms[] = {
      {.kind = EX_TRANSFORM_IDENTITY},
      {.kind = EX_TRANSFORM_TEMPERATURE, .temperature = {2, {0.1, 3}}},
      {.kind = EX_TRANSFORM_ADDITIVE, .factor = 0.3},
      {.kind = EX_TRANSFORM_ADDITIVE, .factor = 0.3, .temperature = {2, {5, 0.5}}},
      {.kind = EX_TRANSFORM_PRODUCT, .weight = {2, {0.5, 1}}}};
  for (int i = 0; i < 5; i++) {
    struct ex_error err;
    struct ex_transform back;
    json_t *json = ex__transform_to_json(&transforms[i]);
    assert_ok(ex__transform_from_json(json, 2, 3, &back, &err), &err);
    assert_int_equal(back.kind, transforms[i].kind);
    assert_true(back.factor == transforms[i].factor);
    assert_memory_equal(&back.weight, &transforms[i].weight, sizeof back.weight);
    assert_int_equal(back.temperature.n, transforms[i].temperature.n);
    for (int k = 0; k < back.temperature.n; k++)
      assert_true(back.temperature.value[k] == transforms[i].temperature.value[k]);
    json_decref(json);
  }
}

static void refuse(const char *text, enum ex_status code, const char *part) {
  struct ex_error err;
  struct ex_transform out;
  json_t *json = NULL;
  assert_ok(ex__json_parse(text, strlen(text), "test", &json, &err), &err);
  assert_refused(ex__transform_from_json(json, 2, 3, &out, &err), code, &err, part);
  json_decref(json);
}

static void hostile_json_is_refused(void **state) {
  (void)state;
  refuse("[]", EX_EFORMAT, "kind");
  refuse("{\"kind\": \"boost\"}", EX_EUNSUPPORTED, "boost");
  refuse("{\"kind\": \"additive\"}", EX_EFORMAT, "factor");
  refuse("{\"kind\": \"additive\", \"factor\": 1.5}", EX_EFORMAT, "[0, 1]");
  refuse("{\"kind\": \"temperature\"}", EX_EFORMAT, "temperature");
  refuse("{\"kind\": \"temperature\", \"temperature\": [1]}", EX_EFORMAT, "1 temperatures for 2");
  refuse("{\"kind\": \"temperature\", \"temperature\": [1, 0]}", EX_EFORMAT, "temperature 1");
  refuse("{\"kind\": \"temperature\", \"temperature\": [\"1\", 1]}", EX_EFORMAT, "temperature 0");
}

int main(void) {
  const struct CMUnitTest tests[] = {
      cmocka_unit_test(temperature_divides_and_one_keeps_the_bits),
      cmocka_unit_test(additive_adds_what_came_before),
      cmocka_unit_test(other_kinds_are_scaled_too),
      cmocka_unit_test(products_shut_classes_out),
      cmocka_unit_test(json_round_trip),
      cmocka_unit_test(hostile_json_is_refused),
  };
  return cmocka_run_group_tests(tests, NULL, NULL);
}
