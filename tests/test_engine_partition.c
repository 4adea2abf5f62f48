/* SPDX-License-Identifier: Apache-2.0
 *
 * Two pipelines, a cut between them, answer as one engine does, bit by bit, under
 * every rule and exit transform; what cannot be split is refused by name.
 */
#include <sched.h>
#include <stdatomic.h>

#include "base/clock.h"
#include "engine/engine_internal.h"
#include "engine/pipeline.h"
#include "tests/engine_fixture.h"

enum { MOST = 8192 };

struct seen {
  struct ex_ticket ticket;
  struct ex_crossing crossing;
  struct ex_pipeline_answer answer;
  atomic_int n;
  float logits[N_CLASSES];
  ex_real numbers[MOST];
};

static void note(void *context, const struct ex_pipeline_answer *answer) {
  struct seen *seen = context;
  seen->answer = *answer;
  memcpy(seen->logits, answer->logits, sizeof seen->logits);
  atomic_fetch_add(&seen->n, 1);
}

static ex_pipeline *pipeline_of(ex_engine *engine) {
  struct ex_error err;
  ex_pipeline *pipeline;
  assert_ok(ex__pipeline_new(engine, 2, &pipeline, &err), &err);
  return pipeline;
}

static void submit(ex_pipeline *pipeline, struct seen *seen) {
  const struct ex_ticket *ticket = &seen->ticket;
  while (!ex__pipeline_submit(pipeline, &ticket, 1)) sched_yield();
}

static void assert_same(const struct seen *seen, const struct ex_result *expected,
                        const float *logits, int64_t macs) {
  assert_int_equal(seen->answer.status, EX_OK);
  assert_int_equal(seen->answer.result.exit, expected->exit);
  assert_int_equal(seen->answer.result.label, expected->label);
  assert_int_equal(macs, expected->macs);
  assert_memory_equal(&seen->answer.result.confidence, &expected->confidence, sizeof(double));
  assert_memory_equal(seen->logits, logits, sizeof seen->logits);
}

/* All samples up to the cut; returns how many crossed. macs [N_SAMPLES] until there. */
static int32_t run_device(ex_engine *engine, const struct fixture *f, int32_t point, int32_t later,
                          struct seen *seen, int64_t *macs) {
  ex_pipeline *pipeline = pipeline_of(engine);
  const ex_partition *partition = ex__pipeline_partition(pipeline);
  assert_true(ex__partition_most(partition, point) <= MOST);
  for (int32_t i = 0; i < N_SAMPLES; i++) {
    seen[i].crossing = (struct ex_crossing){.point = point, .numbers = seen[i].numbers};
    seen[i].ticket = (struct ex_ticket){.x = f->x[i],
                                        .max_exit = -1,
                                        .later = later,
                                        .deadline_ns = INT64_MAX,
                                        .crossing = &seen[i].crossing,
                                        .answered = note,
                                        .context = &seen[i]};
    submit(pipeline, &seen[i]);
  }
  ex__pipeline_free(pipeline);
  int32_t crossed = 0;
  for (int32_t i = 0; i < N_SAMPLES; i++) {
    assert_int_equal(seen[i].n, 1);
    macs[i] = seen[i].answer.result.macs;
    crossed += seen[i].answer.crosses;
  }
  return crossed;
}

static void run_other(ex_engine *engine, struct seen *seen) {
  struct ex_error err;
  ex_pipeline *pipeline = pipeline_of(engine);
  for (int32_t i = 0; i < N_SAMPLES; i++) {
    if (!seen[i].answer.crosses) continue;
    assert_ok(ex__partition_check(ex__pipeline_partition(pipeline), &seen[i].crossing, &err), &err);
    seen[i].ticket.x = NULL;
    submit(pipeline, &seen[i]);
  }
  ex__pipeline_free(pipeline);
}

static int32_t check_split(struct fixture *f, const ex_policy *policy, int32_t point) {
  struct answers alone;
  int64_t macs[N_SAMPLES];
  ex_engine *device = fixture_engine(f, policy, 1, true);
  ex_engine *other = fixture_engine(f, policy, 1, true);
  fixture_run(f, device, 1, &alone);
  struct seen *seen = ex__calloc(N_SAMPLES, sizeof *seen);
  assert_non_null(seen);
  int32_t crossed = run_device(device, f, point, 0, seen, macs);
  run_other(other, seen);
  for (int32_t i = 0; i < N_SAMPLES; i++) {
    bool sent = seen[i].n == 2;
    assert_true(sent || alone.result[i].stage <= f->model->net->points[point].stage);
    assert_same(&seen[i], &alone.result[i], alone.logits[i],
                macs[i] + (sent ? seen[i].answer.result.macs : 0));
  }
  ex__free(seen);
  ex_engine_free(device);
  ex_engine_free(other);
  return crossed;
}

static bool pays(const struct fixture *f, const ex_policy *policy, int32_t point) {
  struct ex_error err;
  ex_partition *partition;
  ex_engine *engine = fixture_engine(f, policy, 1, true);
  assert_ok(ex__partition_new(engine, &partition, &err), &err);
  bool pays = ex__partition_pays(partition, point, &err) == EX_OK;
  ex__partition_free(partition);
  ex_engine_free(engine);
  return pays;
}

/* Rules that remember, answer with an earlier exit, jump, or read gates; a head that
 * reads an earlier one. */
static void two_machines_answer_as_one(void **state) {
  (void)state;
  const struct ex_policy_class *class;
  struct fixture *f = fixture_new();
  int32_t crossed = 0, tried = 0;
  for (int32_t r = 0; (class = ex__policy_at(r)) != NULL; r++) {
    if (class->needs & EX_POLICY_NEEDS_TARGET) continue;
    ex_policy policy;
    for (int32_t v = 0; fixture_policy(f, class, v, &policy); v++)
      for (int32_t p = 0; p < N_POINTS - 1; p++)
        if (pays(f, &policy, p)) {
          crossed += check_split(f, &policy, p);
          tried++;
        }
  }
  assert_true(crossed > 1000 && tried > 50);
  fixture_free(f);
}

static void an_earlier_exit_may_answer(void **state) {
  (void)state;
  struct ex_error err;
  struct fixture *f = fixture_new();
  ex_policy policy = fixture_max_probability(f);
  assert_ok(ex__policy_set(&policy, "fallback", "true", &err), &err);
  for (int32_t p = 0; p < N_POINTS - 1; p++) assert_true(check_split(f, &policy, p) > 0);
  fixture_free(f);
}

/* The rule does not look at exit 0, whose head exit 2 reads: it runs before the cut. */
static void heads_that_others_read_cross(void **state) {
  (void)state;
  struct ex_error err;
  struct fixture *f = fixture_new();
  ex_policy policy = fixture_max_probability(f);
  assert_ok(ex__policy_set(&policy, "thresholds", "2,0.5,0.5", &err), &err);
  for (int32_t p = 1; p < N_POINTS - 1; p++) assert_true(check_split(f, &policy, p) > 0);
  fixture_free(f);
}

/* A sample that aims at an exit behind the cut is in time here where the stages before
 * the cut are. */
static void time_is_needed_up_to_the_cut(void **state) {
  (void)state;
  struct ex_error err;
  struct fixture *f = fixture_new();
  ex_policy policy = fixture_max_probability(f);
  assert_ok(ex__policy_set(&policy, "thresholds", "1,2,0.5", &err), &err); /* from 0 to 2 */
  ex_engine *engine = fixture_engine(f, &policy, 1, true);
  engine->cost.body_ns[f->model->net->points[2].stage] = INT64_C(1) << 40;
  ex_pipeline *pipeline = pipeline_of(engine);
  struct seen *seen = ex__calloc(1, sizeof *seen);
  assert_non_null(seen);
  seen->crossing = (struct ex_crossing){.point = 1, .numbers = seen->numbers};
  seen->ticket = (struct ex_ticket){.x = f->x[0],
                                    .max_exit = -1,
                                    .deadline_ns = ex__now_ns() + (INT64_C(1) << 36),
                                    .crossing = &seen->crossing,
                                    .answered = note,
                                    .context = seen};
  submit(pipeline, seen);
  ex__pipeline_free(pipeline);
  assert_true(seen->answer.crosses && !seen->answer.hurried);
  assert_int_equal(seen->crossing.target, 2);
  ex__free(seen);
  ex_engine_free(engine);
  fixture_free(f);
}

static void what_exits_add_up_crosses(void **state) {
  (void)state;
  struct ex_transform additive = {.kind = EX_TRANSFORM_ADDITIVE, .factor = 0.75}, product = {0};
  ex__transform_set_product(&product, N_POINTS);
  const struct ex_transform *const all[] = {&additive, &product};
  for (size_t t = 0; t < sizeof all / sizeof *all; t++) {
    struct fixture *f = fixture_new_with(all[t]);
    ex_policy policy = fixture_max_probability(f);
    for (int32_t p = 0; p < N_POINTS - 1; p++) assert_true(check_split(f, &policy, p) > 0);
    fixture_free(f);
  }
}

/* The policy leaves at the first exit, and the answer of the one after is wanted. */
static void later_answers_cross_and_stop(void **state) {
  (void)state;
  struct fixture *f = fixture_new();
  ex_policy policy = fixture_max_probability(f);
  struct answers alone;
  int64_t macs[N_SAMPLES];
  ex_engine *engine = fixture_engine(f, &policy, 1, true);
  struct seen *seen = ex__calloc(N_SAMPLES, sizeof *seen);
  assert_non_null(seen);
  fixture_run(f, engine, 1, &alone);
  assert_int_equal(run_device(engine, f, 0, 1, seen, macs), N_SAMPLES);
  for (int32_t i = 0; i < N_SAMPLES; i++) {
    assert_int_equal(seen[i].answer.wanted, alone.result[i].exit == 0 ? 0 : -1);
    assert_int_equal(seen[i].crossing.stops, alone.result[i].exit == 0);
  }
  run_other(engine, seen);
  for (int32_t i = 0; i < N_SAMPLES; i++) {
    int32_t expected = alone.result[i].exit + 1;
    assert_int_equal(seen[i].answer.result.exit, expected < N_POINTS ? expected : N_POINTS - 1);
  }
  ex__free(seen);
  ex_engine_free(engine);
  fixture_free(f);
}

static void crossings_from_outside_are_checked(void **state) {
  (void)state;
  struct ex_error err;
  struct fixture *f = fixture_new();
  ex_policy policy = fixture_max_probability(f);
  ex_engine *engine = fixture_engine(f, &policy, 1, true);
  ex_partition *partition;
  assert_ok(ex__partition_new(engine, &partition, &err), &err);
  const struct ex_crossing good = {.point = 1, .target = 2, .ran = 3, .looked = 2};
  assert_ok(ex__partition_check(partition, &good, &err), &err);
  const struct {
    struct ex_crossing crossing;
    const char *text;
  } bad[] = {
      {{.point = 3, .target = 4}, "exit 3; must be in [0, 2]"},
      {{.point = -1, .target = 2}, "exit -1"},
      {{.point = 1, .target = 1, .ran = 3}, "target = 1; must be in [2, 3]"},
      {{.point = 1, .target = 4, .ran = 3}, "target = 4"},
      {{.point = 1, .target = 2, .ran = 7}, "heads 0x7 ran"},
      {{.point = 1, .target = 2, .ran = 2}, "hold 0x1"}, /* which exit 2 reads */
      {{.point = 1, .target = 2, .ran = 1, .looked = 2}, "0x2 were looked at"},
  };
  for (size_t i = 0; i < sizeof bad / sizeof *bad; i++)
    assert_refused(ex__partition_check(partition, &bad[i].crossing, &err), EX_EINVAL, &err,
                   bad[i].text);
  ex__partition_free(partition);
  ex__partition_free(NULL);
  ex_engine_free(engine);
  fixture_free(f);
}

static void a_cut_before_which_nobody_leaves_is_refused(void **state) {
  (void)state;
  struct ex_error err;
  struct fixture *f = fixture_new();
  ex_policy policy = fixture_max_probability(f);
  assert_ok(ex__policy_set(&policy, "thresholds", "2,2,0.5", &err), &err);
  ex_engine *engine = fixture_engine(f, &policy, 1, true);
  ex_partition *partition;
  assert_ok(ex__partition_new(engine, &partition, &err), &err);
  assert_refused(ex__partition_pays(partition, 1, &err), EX_EINVAL, &err, "first looks at exit 2");
  assert_ok(ex__partition_pays(partition, 2, &err), &err);
  ex__partition_free(partition);
  ex_engine_free(engine);
  fixture_free(f);
}

int main(void) {
  const struct CMUnitTest tests[] = {
      cmocka_unit_test(two_machines_answer_as_one),
      cmocka_unit_test(an_earlier_exit_may_answer),
      cmocka_unit_test(heads_that_others_read_cross),
      cmocka_unit_test(time_is_needed_up_to_the_cut),
      cmocka_unit_test(what_exits_add_up_crosses),
      cmocka_unit_test(later_answers_cross_and_stop),
      cmocka_unit_test(crossings_from_outside_are_checked),
      cmocka_unit_test(a_cut_before_which_nobody_leaves_is_refused),
  };
  return cmocka_run_group_tests(tests, NULL, NULL);
}
