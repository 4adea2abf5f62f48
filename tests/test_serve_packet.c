/* SPDX-License-Identifier: Apache-2.0
 *
 * A packet is read as it was written; one that was not written so is refused.
 */
#include "base/random.h"
#include "serve/packet.h"
#include "tests/engine_fixture.h"

static const uint8_t mark[EX_PACKET_MARK] = {1, 2, 3, 4, 5, 6, 7, 8};

struct made {
  struct fixture *f;
  ex_engine *engine;
  ex_partition *partition;
  struct ex_crossing crossing;
  int64_t memory, n; /* numbers before the cut, and all */
};

static struct made made_new(int32_t point) {
  struct ex_error err;
  struct made made = {.f = fixture_new()};
  ex_policy policy = fixture_max_probability(made.f);
  made.engine = fixture_engine(made.f, &policy, 1, true);
  assert_ok(ex__partition_new(made.engine, &made.partition, &err), &err);
  uint32_t all = (2U << point) - 1;
  made.crossing = (struct ex_crossing){
      .point = point, .target = point + 1, .stops = true, .ran = all, .looked = all};
  made.memory = ex__partition_memory(made.partition, all, all);
  made.n = made.memory + ex__partition_values(made.partition, point);
  assert_true(made.n == ex__partition_most(made.partition, point));
  made.crossing.numbers = ex__alloc((size_t)made.n, sizeof(ex_real));
  assert_non_null(made.crossing.numbers);
  for (int64_t i = 0; i < made.n; i++) /* as after a ReLU */
    made.crossing.numbers[i] = i % 3 == 0 ? 0 : (ex_real)(i * 37 % 101) / 50;
  return made;
}

static void made_free(struct made *made) {
  ex__free(made->crossing.numbers);
  ex__partition_free(made->partition);
  ex_engine_free(made->engine);
  fixture_free(made->f);
}

static struct ex_text write_packet(const struct made *made, enum ex_cut_form form) {
  struct ex_error err;
  struct ex_text text = {0};
  assert_ok(ex__packet_write(made->partition, &made->crossing, form, mark, &text, &err), &err);
  return text;
}

static void a_packet_comes_back(void **state) {
  (void)state;
  for (int32_t point = 0; point < N_POINTS - 1; point++) {
    struct made made = made_new(point);
    for (int form = 0; form < EX_CUT_FORMS; form++) {
      const double step = form == EX_CUT_FLOAT32 ? 0 : 2.0 / (form == EX_CUT_INT8 ? 255 : 15);
      struct ex_error err;
      struct ex_crossing read;
      struct ex_text text = write_packet(&made, (enum ex_cut_form)form);
      assert_ok(ex__packet_read(made.partition, mark, text.data, text.size, &read, &err), &err);
      assert_int_equal(read.point, point);
      assert_int_equal(read.target, point + 1);
      assert_true(read.stops && read.ran == made.crossing.ran &&
                  read.looked == made.crossing.looked);
      for (int64_t i = 0; i < made.n; i++) {
        double error = fabs((double)(read.numbers[i] - made.crossing.numbers[i]));
        assert_true(i < made.memory ? error == 0 : error <= 0.5001 * step);
      }
      ex__free(read.numbers);
      ex__text_clear(&text);
    }
    made_free(&made);
  }
}

static void equal_numbers_and_ends_of_the_range_come_back(void **state) {
  (void)state;
  struct made made = made_new(0);
  for (int pass = 0; pass < 2; pass++) {
    struct ex_error err;
    struct ex_crossing read;
    for (int64_t i = made.memory; i < made.n; i++)
      made.crossing.numbers[i] = pass == 0 ? (ex_real)-1.25 : (ex_real)(i % 2 ? 3 : -5);
    struct ex_text text = write_packet(&made, EX_CUT_INT4);
    assert_ok(ex__packet_read(made.partition, mark, text.data, text.size, &read, &err), &err);
    for (int64_t i = made.memory; i < made.n; i++)
      assert_true(fabs((double)(read.numbers[i] - made.crossing.numbers[i])) < 1e-5);
    ex__free(read.numbers);
    ex__text_clear(&text);
  }
  made_free(&made);
}

/* Numbers that deflation cannot shorten go as they are. */
static void what_is_not_shorter_is_not_deflated(void **state) {
  (void)state;
  struct made made = made_new(1);
  struct ex_random random = ex__random_seed(5, 1);
  for (int64_t i = 0; i < made.n; i++) {
    uint32_t bits = (uint32_t)(ex__random_uniform(&random) * 4294967295.0) & 0xbfffffffU;
    float value;
    memcpy(&value, &bits, sizeof value);
    made.crossing.numbers[i] = isfinite(value) ? (ex_real)value : 0;
  }
  struct ex_error err;
  struct ex_crossing read;
  struct ex_text text = write_packet(&made, EX_CUT_FLOAT32);
  assert_int_equal(text.size, 24 + 4 * made.n);
  assert_ok(ex__packet_read(made.partition, mark, text.data, text.size, &read, &err), &err);
  assert_memory_equal(read.numbers, made.crossing.numbers, (size_t)made.n * sizeof(ex_real));
  ex__free(read.numbers);
  ex__text_clear(&text);
  made_free(&made);
}

static void refused(const struct made *made, const void *bytes, size_t size, const char *text) {
  struct ex_error err;
  struct ex_crossing read;
  enum ex_status status = ex__packet_read(made->partition, mark, bytes, size, &read, &err);
  assert_true(status != EX_OK && status != EX_ENOMEM);
  assert_null(read.numbers);
  if (strstr(err.text, text) == NULL) fail_msg("\"%s\" lacks \"%s\"", err.text, text);
}

static void other_bytes_are_refused(void **state) {
  (void)state;
  static const struct {
    size_t at;
    int value;
    const char *text;
  } bad[] = {
      {0, 'e', "do not begin as a cut does"},
      {4, 9, "another network or exit rule"},
      {12, 3, "form 3"},
      {12, 0, "inflate"}, /* other numbers than its body holds */
      {13, 4, "flags 4"},
      {13, 1, "bytes of numbers"}, /* not deflated */
      {14, 3, "must be in [0, 2]"},
      {15, 1, "target = 1"},
      {16, 0xff, "heads 0xff ran"},
      {21, 1, "were looked at"},
      {24, 0, "inflate"},
  };
  struct made made = made_new(1);
  struct ex_text text = write_packet(&made, EX_CUT_INT8);
  assert_int_equal(text.data[13], 3);
  for (size_t i = 0; i < sizeof bad / sizeof *bad; i++) {
    char kept = text.data[bad[i].at];
    text.data[bad[i].at] = (char)bad[i].value;
    refused(&made, text.data, text.size, bad[i].text);
    text.data[bad[i].at] = kept;
  }
  for (size_t size = 0; size < text.size; size++) refused(&made, text.data, size, "cut: ");
  ex__text_add_bytes(&text, "x", 1);
  refused(&made, text.data, text.size, "inflate");
  ex__text_clear(&text);
  made_free(&made);
}

static void numbers_must_be_finite(void **state) {
  (void)state;
  struct made made = made_new(1);
  struct ex_error err;
  struct ex_text none = {0};
  struct ex_text text = write_packet(&made, EX_CUT_FLOAT32);
  made.crossing.numbers[made.n - 1] = (ex_real)NAN;
  assert_refused(ex__packet_write(made.partition, &made.crossing, EX_CUT_INT8, mark, &none, &err),
                 EX_ENOTFINITE, &err, "is not finite");
  assert_int_equal(none.size, 0);
  ex__text_clear(&text);
  /* Not deflated, so that one of its numbers can be changed. */
  struct ex_text plain = {0};
  uint8_t head[24] = {'E', 'x',         'C', '1', 1, 2, 3, 4, 5, 6, 7,
                      8,   EX_CUT_INT8, 0,   1,   2, 3, 0, 0, 0, 3};
  const float infinite = INFINITY, zero = 0;
  ex__text_add_bytes(&plain, head, sizeof head);
  for (int64_t i = 0; i < made.memory; i++) ex__text_add_bytes(&plain, &zero, 4);
  for (int32_t t = 0; t < ex__partition_tensors(made.partition, 1); t++) {
    ex__text_add_bytes(&plain, &zero, 4);
    ex__text_add_bytes(&plain, &infinite, 4); /* a step with which no code is a number */
    int64_t n = ex__shape_count(ex__partition_tensor(made.partition, 1, t));
    for (int64_t i = 0; i < n; i++) ex__text_add_bytes(&plain, "\1", 1);
  }
  refused(&made, plain.data, plain.size, "is not finite");
  ex__text_clear(&plain);
  made_free(&made);
}

int main(void) {
  const struct CMUnitTest tests[] = {
      cmocka_unit_test(a_packet_comes_back),
      cmocka_unit_test(equal_numbers_and_ends_of_the_range_come_back),
      cmocka_unit_test(what_is_not_shorter_is_not_deflated),
      cmocka_unit_test(other_bytes_are_refused),
      cmocka_unit_test(numbers_must_be_finite),
  };
  return cmocka_run_group_tests(tests, NULL, NULL);
}
