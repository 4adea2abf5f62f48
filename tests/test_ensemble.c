/* SPDX-License-Identifier: Apache-2.0 */
#include <math.h>

#include "base/json.h"
#include "base/memory.h"
#include "net/transform.h"
#include "task/task.h"
#include "tests/testing.h"

enum { POINTS = 3, CLASSES = 4 };

static const ex_real raw[POINTS][CLASSES] = {
    {1, -2, 0.5f, 0}, {0.1f, 2.5f, 2.4f, -7}, {-30, 3, 3.5f, 40}};

/* Probabilities of an output, in double. */
static void softmax(const ex_real *output, double *p) {
  double sum = 0;
  for (int c = 0; c < CLASSES; c++) sum += p[c] = exp((double)output[c]);
  for (int c = 0; c < CLASSES; c++) p[c] /= sum;
}

/* Every point has the same factor for all heads so far, and no bias. */
static struct ex_transform equal(enum ex_mean mean, bool by_number) {
  struct ex_ensemble *ensemble = ex__ensemble_new(mean, POINTS, CLASSES);
  assert_non_null(ensemble);
  for (int p = 0; p < POINTS; p++) {
    double *row = ex__ensemble_row(ensemble, p);
    for (int j = 0; j <= p; j++) row[j] = by_number ? 1.0 / (p + 1) : 1;
  }
  return (struct ex_transform){.kind = EX_TRANSFORM_ENSEMBLE, .ensemble = ensemble};
}

static void answers(const struct ex_transform *transform, ex_real output[POINTS][CLASSES]) {
  ex_real state[POINTS * CLASSES];
  assert_true(ex__transform_state_size(transform, CLASSES) <= POINTS * CLASSES);
  ex__transform_start(transform, CLASSES, state);
  for (int p = 0; p < POINTS; p++) {
    memcpy(output[p], raw[p], sizeof raw[p]);
    ex__transform_apply(transform, p, CLASSES, output[p], state, output[p]);
  }
}

/* w = 0 and b = 0: the mean of log p, or of p; with one head the identity; factors
 * of 1 multiply the heads' probabilities. */
static void without_weights_it_is_the_mean(void **state) {
  (void)state;
  for (int variant = 0; variant < 3; variant++) {
    bool geometric = variant != 1;
    struct ex_transform transform =
        equal(geometric ? EX_MEAN_GEOMETRIC : EX_MEAN_ARITHMETIC, variant != 2);
    ex_real output[POINTS][CLASSES];
    answers(&transform, output);
    for (int p = 0; p < POINTS; p++) {
      double head[CLASSES], expected[CLASSES], found[CLASSES], sum = 0;
      for (int c = 0; c < CLASSES; c++) {
        double total = 0;
        for (int j = 0; j <= p; j++) {
          softmax(raw[j], head);
          total += geometric ? log(head[c]) : head[c];
        }
        if (variant != 2) total /= p + 1;
        sum += expected[c] = geometric ? exp(total) : total;
      }
      softmax(output[p], found);
      for (int c = 0; c < CLASSES; c++) assert_true(fabs(found[c] - expected[c] / sum) < 1e-6);
    }
    ex__transform_clear(&transform);
  }
}

/* Of a single head the answer is the head's: label, confidence, order. */
static void one_head_is_the_identity(void **state) {
  (void)state;
  const struct ex_task *task = ex__task_find("classification");
  struct ex_transform transform = equal(EX_MEAN_GEOMETRIC, true);
  ex_real output[POINTS][CLASSES], probability[CLASSES];
  struct ex_answer alone, together;
  answers(&transform, output);
  task->answer(raw[0], CLASSES, probability, &alone);
  task->answer(output[0], CLASSES, probability, &together);
  assert_int_equal(alone.label, together.label);
  assert_true(fabs(alone.max_probability - together.max_probability) < 1e-7);
  ex__transform_clear(&transform);
}

/* Points without a row keep their bits and need nobody; a factor of 0 is not read. */
static void only_what_is_needed_is_read(void **state) {
  (void)state;
  struct ex_transform transform = equal(EX_MEAN_GEOMETRIC, true);
  struct ex_ensemble *ensemble = transform.ensemble;
  ensemble->row[1][0] = 0;
  ex__free(ensemble->row[2]);
  ensemble->row[2] = NULL;
  assert_int_equal(ex__transform_needs(&transform, 0), 0);
  assert_int_equal(ex__transform_needs(&transform, 1), 0);
  assert_int_equal(ex__transform_needs(&transform, 2), 0);
  assert_int_equal(ex__transform_state_size(&transform, CLASSES), 2 * CLASSES);
  ex_real output[POINTS][CLASSES], held[2 * CLASSES], again[CLASSES];
  answers(&transform, output);
  assert_memory_equal(output[2], raw[2], sizeof raw[2]);
  for (int i = 0; i < 2 * CLASSES; i++) held[i] = (ex_real)NAN; /* the first head did not run */
  ex__transform_apply(&transform, 1, CLASSES, raw[1], held, again);
  assert_memory_equal(again, output[1], sizeof again);
  ensemble->row[1][0] = 0.5;
  assert_int_equal(ex__transform_needs(&transform, 1), 1);
  ex__transform_clear(&transform);
  assert_int_equal(transform.kind, EX_TRANSFORM_IDENTITY);
}

static void extremes_stay_finite(void **state) {
  (void)state;
  const ex_real far[CLASSES] = {3e38f, -3e38f, 0, 3e38f}, bad[CLASSES] = {0, (ex_real)NAN, 1, 2};
  for (int mean = 0; mean < 2; mean++) {
    struct ex_transform transform = equal((enum ex_mean)mean, false);
    for (int p = 0; p < POINTS; p++)
      for (int j = 0; j <= p; j++) transform.ensemble->row[p][j] = ex_largest_factor;
    ex_real held[POINTS * CLASSES], output[CLASSES];
    for (int p = 0; p < POINTS; p++) {
      ex__transform_apply(&transform, p, CLASSES, far, held, output);
      for (int c = 0; c < CLASSES; c++) assert_true(isfinite(output[c]));
      assert_true(output[0] == output[3] && output[0] > output[2]);
    }
    for (int i = 0; i <= POINTS + CLASSES - 1; i++) transform.ensemble->row[2][i] = 0;
    ex__transform_apply(&transform, 2, CLASSES, raw[2], held, output);
    for (int c = 0; c < CLASSES; c++) assert_true(output[c] == output[0] && isfinite(output[c]));
    ex__transform_apply(&transform, 0, CLASSES, bad, held, output);
    assert_true(isnan(output[0])); /* no answer: rules go on */
    ex__transform_clear(&transform);
  }
}

static struct ex_transform uneven(enum ex_mean mean) {
  struct ex_transform transform = equal(mean, true);
  for (int i = 0; i < 1 + CLASSES; i++) transform.ensemble->row[0][i] = 1.0 / (i + 3);
  for (int i = 0; i < 3 + CLASSES; i++) transform.ensemble->row[2][i] = exp(-i);
  ex__free(transform.ensemble->row[1]);
  transform.ensemble->row[1] = NULL;
  return transform;
}

static void copies_and_json_keep_the_bits(void **state) {
  (void)state;
  for (int mean = 0; mean < 2; mean++) {
    struct ex_error err;
    struct ex_transform transform = uneven((enum ex_mean)mean), back = {0}, copy = {0};
    ex_real output[3][POINTS][CLASSES];
    char *text;
    json_t *json = ex__transform_to_json(&transform), *again;
    assert_int_equal(ex__json_dump(json, false, &text), EX_OK);
    assert_ok(ex__json_parse(text, strlen(text), "test", &again, &err), &err);
    assert_ok(ex__transform_from_json(again, POINTS, CLASSES, &back, &err), &err);
    assert_int_equal(ex__transform_copy(&transform, &copy), EX_OK);
    answers(&transform, output[0]);
    ex__transform_clear(&transform);
    answers(&back, output[1]);
    answers(&copy, output[2]);
    assert_memory_equal(output[0], output[1], sizeof output[0]);
    assert_memory_equal(output[0], output[2], sizeof output[0]);
    assert_null(copy.ensemble->row[1]);
    assert_memory_equal(back.ensemble->row[2], copy.ensemble->row[2], 7 * sizeof(double));
    ex__transform_clear(&back);
    ex__transform_clear(&copy);
    json_decref(json);
    json_decref(again);
    ex__free(text);
  }
}

static void refuse(const char *text, enum ex_status code, const char *part) {
  struct ex_error err;
  struct ex_transform out;
  json_t *json = NULL;
  assert_ok(ex__json_parse(text, strlen(text), "test", &json, &err), &err);
  assert_refused(ex__transform_from_json(json, 2, 2, &out, &err), code, &err, part);
  json_decref(json);
}

#define ENSEMBLE(mean, exits) \
  "{\"kind\": \"ensemble\", \"mean\": \"" mean "\", \"exits\": " exits "}"

static void hostile_json_is_refused(void **state) {
  (void)state;
  refuse("{\"kind\": \"ensemble\"}", EX_EFORMAT, "mean");
  refuse(ENSEMBLE("harmonic", "[]"), EX_EUNSUPPORTED, "harmonic");
  refuse(ENSEMBLE("geometric", "7"), EX_EFORMAT, "exits");
  refuse(ENSEMBLE("geometric", "[null]"), EX_EFORMAT, "1 exits of an ensemble for 2");
  refuse(ENSEMBLE("geometric", "[7, null]"), EX_EFORMAT, "exit 0 must have 1 \"factors\"");
  refuse(ENSEMBLE("geometric", "[null, {\"factors\": [1], \"bias\": [0, 0]}]"), EX_EFORMAT,
         "exit 1 must have 2 \"factors\"");
  refuse(ENSEMBLE("geometric", "[null, {\"factors\": [1, 1], \"bias\": [0]}]"), EX_EFORMAT,
         "exit 1 must have 2 \"bias\"");
  refuse(ENSEMBLE("geometric", "[null, {\"factors\": [1, -1], \"bias\": [0, 0]}]"), EX_EFORMAT,
         "factors 1 of exit 1 must be a number in [0, 1e+06]");
  refuse(ENSEMBLE("geometric", "[{\"factors\": [\"1\"], \"bias\": [0, 0]}, null]"), EX_EFORMAT,
         "factors 0 of exit 0");
  refuse(ENSEMBLE("geometric", "[{\"factors\": [1], \"bias\": [0, 2e6]}, null]"), EX_EFORMAT,
         "bias 1 of exit 0 must be a number in [-1e+06, 1e+06]");
  refuse(ENSEMBLE("arithmetic", "[{\"factors\": [1], \"bias\": [0, -0.1]}, null]"), EX_EFORMAT,
         "bias 1 of exit 0 must be a number in [0, 1e+06]");
}

int main(void) {
  const struct CMUnitTest tests[] = {
      cmocka_unit_test(without_weights_it_is_the_mean), cmocka_unit_test(one_head_is_the_identity),
      cmocka_unit_test(only_what_is_needed_is_read),    cmocka_unit_test(extremes_stay_finite),
      cmocka_unit_test(copies_and_json_keep_the_bits),  cmocka_unit_test(hostile_json_is_refused),
  };
  return cmocka_run_group_tests(tests, NULL, NULL);
}
