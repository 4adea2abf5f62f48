/* SPDX-License-Identifier: Apache-2.0 */
#include <math.h>

#include "base/json.h"
#include "data/preprocess.h"
#include "tests/testing.h"

static struct ex_error err;

static void applying(void **state) {
  (void)state;
  const struct ex_preprocess bytes = {
      .bytes = true, .n_channels = 2, .mean = {0.5, 0}, .deviation = {0.5, 0.1}};
  ex_real x[4] = {0, 255, 51, 0}, out[4];
  ex__preprocess_apply(&bytes, x, 4, out);
  assert_true(out[0] == -1 && out[1] == 1 && fabs((double)out[2] - 2) < 1e-6 && out[3] == 0);
  ex__preprocess_apply(&bytes, x, 4, x); /* in place */
  assert_memory_equal(x, out, sizeof out);
  const struct ex_preprocess plain = {.n_channels = 1, .mean = {1}, .deviation = {2}};
  ex__preprocess_apply(&plain, x, 1, out);
  assert_true(out[0] == -1);
}

static void json_round_trip(void **state) {
  (void)state;
  const struct ex_preprocess given = {
      .bytes = true, .n_channels = 3, .mean = {0.1, 1.0 / 3, -2}, .deviation = {1e-5, 0.3, 7}};
  struct ex_preprocess back;
  json_t *json = ex__preprocess_to_json(&given);
  assert_ok(ex__preprocess_from_json(json, "model", 12, &back, &err), &err);
  assert_true(back.bytes && back.n_channels == 3);
  assert_memory_equal(back.mean, given.mean, sizeof given.mean);
  assert_memory_equal(back.deviation, given.deviation, sizeof given.deviation);
  assert_refused(ex__preprocess_from_json(json, "model", 13, &back, &err), EX_EFORMAT, &err,
                 "divide 13 features");
  json_decref(json);
}

static void hostile_json(void **state) {
  (void)state;
  static const char *const bad[][2] = {
      {"{}", "\"mean\" is missing"},
      {"{\"mean\":[],\"deviation\":[],\"bytes\":true}", "0 means"},
      {"{\"mean\":[0],\"deviation\":[0],\"bytes\":true}", "\"deviation\" must hold"},
      {"{\"mean\":[0],\"deviation\":[-1],\"bytes\":true}", "\"deviation\" must hold"},
      {"{\"mean\":[\"0\"],\"deviation\":[1],\"bytes\":true}", "\"mean\" must hold"},
      {"{\"mean\":[0,0],\"deviation\":[1],\"bytes\":true}", "as many"},
      {"{\"mean\":[0],\"deviation\":[1],\"bytes\":1}", "true or false"},
  };
  for (size_t i = 0; i < sizeof bad / sizeof *bad; i++) {
    json_t *json;
    struct ex_preprocess out;
    assert_ok(ex__json_parse(bad[i][0], strlen(bad[i][0]), "t", &json, &err), &err);
    assert_refused(ex__preprocess_from_json(json, "t", 4, &out, &err), EX_EFORMAT, &err, bad[i][1]);
    json_decref(json);
  }
}

int main(void) {
  const struct CMUnitTest tests[] = {cmocka_unit_test(applying), cmocka_unit_test(json_round_trip),
                                     cmocka_unit_test(hostile_json)};
  return cmocka_run_group_tests(tests, NULL, NULL);
}
