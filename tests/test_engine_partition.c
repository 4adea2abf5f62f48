/* SPDX-License-Identifier: Apache-2.0
 *
 * Two pipelines, a cut between them, answer as one engine does, bit by bit; what
 * cannot be split is refused by name.
 */
#include <sched.h>
#include <stdatomic.h>

#include "engine/pipeline.h"
#include "tests/engine_fixture.h"

enum { MOST_CUT = 4096 };

struct seen {
  struct ex_ticket ticket;
  struct ex_pipeline_answer answer;
  atomic_int n;
  float logits[N_CLASSES];
  ex_real cut[MOST_CUT];
};

static void note(void *context, const struct ex_pipeline_answer *answer) {
  struct seen *seen = context;
  seen->answer = *answer;
  memcpy(seen->logits, answer->logits, sizeof seen->logits);
  atomic_fetch_add(&seen->n, 1);
}

/* A row of four stages, each with an exit. */
static ex_net *row_net(void) {
  struct ex_error err;
  ex_builder *b;
  ex_net *net;
  assert_ok(ex__builder_new(&(struct ex_shape){3, {1, SIDE, SIDE}}, N_CLASSES, &b, &err), &err);
  ex__builder_init(b, EX_INIT_HE_FAN_IN);
  ex__builder_stage(b);
  int32_t x = fixture_body(b, ex__builder_input(b), 8, 1);
  ex__builder_point(b, fixture_head(b, x), -1, 0);
  for (int32_t s = 1; s < N_POINTS; s++) {
    ex__builder_stage(b);
    x = fixture_body(b, x, 8 + 4 * s, 1 + s % 2);
    ex__builder_point(b, fixture_head(b, x), -1, 0);
  }
  assert_ok(ex__builder_finish(b, 7, &net, &err), &err);
  return net;
}

/* Of which half of the samples leave at each exit, and nothing is remembered. */
static ex_policy entropy(const struct fixture *f) {
  ex_policy policy;
  assert_true(fixture_policy(f, ex__policy_find("entropy"), 0, &policy));
  return policy;
}

/* Submits those that have not been answered, and waits. */
static void run_all(ex_engine *engine, struct seen *seen, int32_t answers) {
  struct ex_error err;
  ex_pipeline *pipeline;
  assert_ok(ex__pipeline_new(engine, 2, &pipeline, &err), &err);
  for (int32_t i = 0; i < N_SAMPLES; i++) {
    const struct ex_ticket *ticket = &seen[i].ticket;
    if (answers > 0 && seen[i].answer.target < 0) continue;
    while (!ex__pipeline_submit(pipeline, &ticket, 1)) sched_yield();
  }
  ex__pipeline_free(pipeline);
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

static void check_split(struct fixture *f, const ex_policy *policy, int32_t point) {
  struct ex_error err;
  struct answers alone;
  ex_partition *near, *far;
  ex_engine *device = fixture_engine(f, policy, 1, true);
  ex_engine *other = fixture_engine(f, policy, 1, true);
  fixture_run(f, device, 1, &alone);
  assert_ok(ex__partition_new(device, point, &near, &err), &err);
  assert_ok(ex__partition_new(other, point, &far, &err), &err);
  assert_true(ex__cut_size(ex__partition_cut(near)) <= MOST_CUT);
  struct seen *seen = ex__calloc(N_SAMPLES, sizeof *seen);
  assert_non_null(seen);
  for (int32_t i = 0; i < N_SAMPLES; i++)
    seen[i].ticket = (struct ex_ticket){.x = f->x[i],
                                        .max_exit = -1,
                                        .deadline_ns = INT64_MAX,
                                        .split = near,
                                        .cut = seen[i].cut,
                                        .answered = note,
                                        .context = &seen[i]};
  run_all(device, seen, 0);
  int64_t macs[N_SAMPLES];
  int32_t n_sent = 0;
  for (int32_t i = 0; i < N_SAMPLES; i++) {
    bool sent = seen[i].answer.target >= 0;
    macs[i] = sent ? seen[i].answer.result.macs : 0;
    n_sent += sent;
    assert_int_equal(sent, alone.result[i].exit > point);
    assert_true(!sent || (seen[i].answer.target > point && seen[i].answer.result.exit == point));
    seen[i].ticket.x = NULL;
    seen[i].ticket.split = far;
    seen[i].ticket.target = seen[i].answer.target;
  }
  assert_true(n_sent > 0 && n_sent < N_SAMPLES);
  run_all(other, seen, 1);
  for (int32_t i = 0; i < N_SAMPLES; i++) {
    assert_int_equal(seen[i].n, seen[i].ticket.target >= 0 ? 2 : 1);
    assert_same(&seen[i], &alone.result[i], alone.logits[i], macs[i] + seen[i].answer.result.macs);
  }
  ex__free(seen);
  ex__partition_free(near);
  ex__partition_free(far);
  ex_engine_free(device);
  ex_engine_free(other);
}

static void two_machines_answer_as_one(void **state) {
  (void)state;
  struct fixture *f = fixture_new_of(row_net(), (struct ex_preprocess){true, 1, {0.5}, {0.16}});
  ex_policy policy = entropy(f);
  for (int32_t p = 0; p < N_POINTS - 1; p++) check_split(f, &policy, p);
  fixture_free(f);
}

static void refused(struct fixture *f, const ex_policy *policy, int32_t point,
                    enum ex_status status, const char *text) {
  struct ex_error err;
  ex_partition *split;
  ex_engine *engine = fixture_engine(f, policy, 1, true);
  assert_refused(ex__partition_new(engine, point, &split, &err), status, &err, text);
  assert_null(split);
  ex_engine_free(engine);
}

static void what_cannot_travel_is_refused(void **state) {
  (void)state;
  struct ex_error err;
  struct fixture *f = fixture_new();
  ex_policy policy = entropy(f), patience;
  refused(f, &policy, N_POINTS - 1, EX_EINVAL, "exit 3; must be in [0, 2]");
  refused(f, &policy, -1, EX_EINVAL, "exit -1");
  refused(f, &policy, 0, EX_EUNSUPPORTED, "exit 2 reads heads before the cut");
  assert_ok(ex__policy_init(&patience, "patience", N_POINTS, N_CLASSES, &err), &err);
  refused(f, &patience, 2, EX_EUNSUPPORTED, "the rule patience remembers earlier exits");
  const ex_policy best = fixture_max_probability(f); /* its answer may be an earlier exit's */
  refused(f, &best, 2, EX_EUNSUPPORTED, "the rule max-probability remembers earlier exits");
  ex__partition_free(NULL);
  fixture_free(f);
}

int main(void) {
  const struct CMUnitTest tests[] = {
      cmocka_unit_test(two_machines_answer_as_one),
      cmocka_unit_test(what_cannot_travel_is_refused),
  };
  return cmocka_run_group_tests(tests, NULL, NULL);
}
