/* SPDX-License-Identifier: Apache-2.0 */
#include <math.h>

#include "data/data_transform.h"
#include "tests/testing.h"

static struct ex_error err;

static void statistics(void **state) {
  (void)state;
  /* Two channels of 1 × 2 pixels; the third sample is not in the items. */
  uint8_t x[12] = {0, 255, 51, 51, 255, 0, 51, 51, 9, 9, 9, 9};
  struct ex_samples samples = {.n = 3, .rank = 3, .dim = {2, 1, 2}, .dtype = EX_DTYPE_U8, .x = x};
  const int32_t items[2] = {1, 0};
  struct ex_preprocess out;
  assert_ok(ex__transform_statistics(&samples, items, 2, &out, &err), &err);
  assert_true(out.bytes && fabs(out.mean[0] - 0.5) < 1e-12 && fabs(out.deviation[0] - 0.5) < 1e-12);
  assert_true(fabs(out.mean[1] - 0.2) < 1e-12 && out.deviation[1] == 1); /* constant */
  assert_refused(ex__transform_statistics(&samples, items, 0, &out, &err), EX_EINVAL, &err,
                 "0 training");
}

static void statistics_of_floats(void **state) {
  (void)state;
  float x[4] = {1e6f + 1, 1e6f + 2, 1e6f + 3, 1e6f + 4}; /* far from 0: squares would cancel */
  struct ex_samples samples = {.n = 2, .rank = 1, .dim = {2}, .dtype = EX_DTYPE_F32, .x = x};
  const int32_t items[2] = {0, 1};
  struct ex_preprocess out;
  assert_ok(ex__transform_statistics(&samples, items, 2, &out, &err), &err);
  assert_true(fabs(out.mean[0] - 1000002.5) < 1e-6 && fabs(out.deviation[0] - sqrt(1.25)) < 1e-6);
  x[1] = NAN;
  assert_refused(ex__transform_statistics(&samples, items, 2, &out, &err), EX_ENOTFINITE, &err,
                 "finite");
}

static void filling_keeps_stored_values(void **state) {
  (void)state;
  uint8_t x[8] = {0, 0, 0, 0, 0, 255, 51, 51};
  struct ex_samples samples = {.n = 2, .rank = 3, .dim = {2, 1, 2}, .dtype = EX_DTYPE_U8, .x = x};
  ex_real out[4];
  ex__transform_fill(&samples, 1, NULL, out);
  assert_true(out[0] == 0 && out[1] == 255 && out[2] == 51 && out[3] == 51);
}

static void moving_pads_and_mirrors(void **state) {
  (void)state;
  float x[6] = {1, 2, 3, 4, 5, 6};
  struct ex_samples samples = {.n = 1, .rank = 3, .dim = {1, 2, 3}, .dtype = EX_DTYPE_F32, .x = x};
  ex_real out[6];
  const struct ex_augment_draw right = {.dy = 0, .dx = 1}, mirror = {.mirror = true},
                               both = {.dy = -1, .dx = 1, .mirror = true};
  ex__transform_fill(&samples, 0, &right, out);
  const ex_real moved[6] = {2, 3, 0, 5, 6, 0};
  assert_memory_equal(out, moved, sizeof out);
  ex__transform_fill(&samples, 0, &mirror, out);
  const ex_real mirrored[6] = {3, 2, 1, 6, 5, 4};
  assert_memory_equal(out, mirrored, sizeof out);
  ex__transform_fill(&samples, 0, &both, out);
  const ex_real all[6] = {0, 0, 0, 0, 3, 2};
  assert_true(out[0] == all[0] && out[3] == all[3] && out[4] == all[4] && out[5] == all[5]);
}

static void draws_are_even_and_repeat(void **state) {
  (void)state;
  const struct ex_augment augment = {.crop = 2, .flip = 0.5};
  int rows[5] = {0}, columns[5] = {0}, mirrored = 0, same = 0;
  for (int32_t i = 0; i < 10000; i++) {
    struct ex_augment_draw draw = ex__augment_draw(&augment, 1, 3, i),
                           again = ex__augment_draw(&augment, 1, 3, i);
    struct ex_augment_draw next = ex__augment_draw(&augment, 1, 4, i);
    assert_true(draw.dy == again.dy && draw.dx == again.dx && draw.mirror == again.mirror);
    same += draw.dy == next.dy && draw.dx == next.dx && draw.mirror == next.mirror;
    rows[draw.dy + 2]++;
    columns[draw.dx + 2]++;
    mirrored += draw.mirror;
  }
  for (int i = 0; i < 5; i++)
    assert_true(abs(rows[i] - 2000) < 200 && abs(columns[i] - 2000) < 200);
  assert_in_range(mirrored, 4800, 5200);
  assert_in_range(same, 120, 290); /* 1 in 50 */
  const struct ex_augment none = {0};
  struct ex_augment_draw draw = ex__augment_draw(&none, 1, 3, 5);
  assert_true(draw.dy == 0 && draw.dx == 0 && !draw.mirror);
}

int main(void) {
  const struct CMUnitTest tests[] = {
      cmocka_unit_test(statistics),
      cmocka_unit_test(statistics_of_floats),
      cmocka_unit_test(filling_keeps_stored_values),
      cmocka_unit_test(moving_pads_and_mirrors),
      cmocka_unit_test(draws_are_even_and_repeat),
  };
  return cmocka_run_group_tests(tests, NULL, NULL);
}
