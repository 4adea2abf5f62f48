/* SPDX-License-Identifier: Apache-2.0
 *
 * Samples that come one by one from several threads are answered as
 * ex_engine_run answers them, bit by bit, whoever shares their stages.
 */
#include <pthread.h>
#include <sched.h>
#include <stdatomic.h>

#include "engine/engine_internal.h"
#include "engine/pipeline.h"
#include "tests/engine_fixture.h"

struct seen {
  struct ex_ticket ticket;
  atomic_int n; /* answers so far */
  struct ex_pipeline_answer answer[2];
  float logits[2][N_CLASSES];
};

static void note(void *context, const struct ex_pipeline_answer *answer) {
  struct seen *seen = context;
  int n = atomic_load(&seen->n);
  seen->answer[n] = *answer;
  memcpy(seen->logits[n], answer->logits, sizeof seen->logits[n]);
  atomic_store(&seen->n, n + 1);
}

static struct seen *seen_new(const struct fixture *f) {
  struct seen *seen = ex__calloc(N_SAMPLES, sizeof *seen);
  assert_non_null(seen);
  for (int32_t i = 0; i < N_SAMPLES; i++)
    seen[i].ticket = (struct ex_ticket){.x = f->x[i],
                                        .max_exit = -1,
                                        .deadline_ns = INT64_MAX,
                                        .answered = note,
                                        .context = &seen[i]};
  return seen;
}

static ex_pipeline *pipeline_new(ex_engine *engine, int32_t n_workers) {
  struct ex_error err;
  ex_pipeline *pipeline;
  assert_ok(ex__pipeline_new(engine, n_workers, &pipeline, &err), &err);
  return pipeline;
}

static void submit_one(ex_pipeline *pipeline, struct seen *seen) {
  const struct ex_ticket *ticket = &seen->ticket;
  while (!ex__pipeline_submit(pipeline, &ticket, 1)) sched_yield();
}

struct client {
  ex_pipeline *pipeline;
  struct seen *seen;
  int32_t first, step;
};

static void *submit_share(void *context) {
  struct client *client = context;
  for (int32_t i = client->first; i < N_SAMPLES; i += client->step)
    submit_one(client->pipeline, &client->seen[i]);
  return NULL;
}

enum { N_CLIENTS = 3 };

static void assert_answered_as(const struct seen *seen, const struct answers *alone) {
  for (int32_t i = 0; i < N_SAMPLES; i++) {
    const struct ex_result *result = &seen[i].answer[0].result, *expected = &alone->result[i];
    assert_int_equal(seen[i].n, 1);
    assert_int_equal(seen[i].answer[0].status, EX_OK);
    assert_true(seen[i].answer[0].final);
    assert_int_equal(result->label, expected->label);
    assert_int_equal(result->exit, expected->exit);
    assert_int_equal(result->stage, expected->stage);
    assert_int_equal(result->macs, expected->macs);
    assert_memory_equal(&result->confidence, &expected->confidence, sizeof(double));
    assert_memory_equal(seen[i].logits[0], alone->logits[i], sizeof seen[i].logits[0]);
  }
}

static void strangers_are_answered_as_if_alone(void **state) {
  (void)state;
  struct fixture *f = fixture_new();
  struct answers alone;
  ex_policy policy;
  for (int32_t c = 0; ex__policy_at(c) != NULL; c++) {
    const struct ex_policy_class *class = ex__policy_at(c);
    if (class->needs & (EX_POLICY_NEEDS_GATE | EX_POLICY_NEEDS_TARGET)) continue;
    if (!fixture_policy(f, class, 0, &policy)) continue;
    ex_engine *engine = fixture_engine(f, &policy, 1, true);
    fixture_run(f, engine, 1, &alone);
    struct seen *seen = seen_new(f);
    ex_pipeline *pipeline = pipeline_new(engine, 2);
    pthread_t thread[N_CLIENTS];
    struct client client[N_CLIENTS];
    for (int32_t i = 0; i < N_CLIENTS; i++) {
      client[i] = (struct client){pipeline, seen, i, N_CLIENTS};
      assert_int_equal(pthread_create(&thread[i], NULL, submit_share, &client[i]), 0);
    }
    for (int32_t i = 0; i < N_CLIENTS; i++) pthread_join(thread[i], NULL);
    ex__pipeline_free(pipeline); /* waits */
    assert_answered_as(seen, &alone);
    ex__free(seen);
    ex_engine_free(engine);
  }
  fixture_free(f);
}

static void room_is_bounded(void **state) {
  (void)state;
  struct fixture *f = fixture_new();
  ex_policy policy = fixture_max_probability(f);
  ex_engine *engine = fixture_engine(f, &policy, 1, true);
  ex_pipeline *pipeline = pipeline_new(engine, 1);
  struct seen *seen = seen_new(f);
  const struct ex_ticket *ticket[N_SAMPLES + 1];
  for (int32_t i = 0; i <= N_SAMPLES; i++) ticket[i] = &seen[i % N_SAMPLES].ticket;
  assert_false(ex__pipeline_submit(pipeline, ticket, N_SAMPLES + 1));
  assert_int_equal(seen[0].n, 0);
  assert_true(ex__pipeline_submit(pipeline, ticket, N_SAMPLES));
  struct ex_pipeline_stats stats;
  do ex__pipeline_stats(pipeline, &stats);
  while (stats.waiting > 0);
  assert_int_equal(stats.capacity, N_SAMPLES);
  int64_t macs = 0;
  for (int32_t i = 0; i < N_SAMPLES; i++) {
    assert_int_equal(seen[i].n, 1);
    macs += seen[i].answer[0].result.macs;
  }
  assert_int_equal(stats.executed, macs);
  assert_int_equal(stats.samples[0], N_SAMPLES);
  assert_true(stats.batches[0] < N_SAMPLES); /* they came together */
  assert_true(stats.samples[4] < N_SAMPLES);
  ex__pipeline_free(pipeline);
  ex__free(seen);
  ex_engine_free(engine);
  fixture_free(f);
}

static void run_all(ex_engine *engine, struct seen *seen) {
  ex_pipeline *pipeline = pipeline_new(engine, 2);
  for (int32_t i = 0; i < N_SAMPLES; i++) submit_one(pipeline, &seen[i]);
  ex__pipeline_free(pipeline);
}

/* What a ticket may ask for beside the policy. */
static void tickets_are_minded(void **state) {
  (void)state;
  struct fixture *f = fixture_new();
  ex_policy policy = fixture_max_probability(f);
  ex_engine *engine = fixture_engine(f, &policy, 1, true);
  struct answers alone;
  fixture_run(f, engine, 1, &alone);
  struct seen *seen = seen_new(f);
  for (int32_t i = 0; i < N_SAMPLES; i++) {
    if (i % 4 == 0) seen[i].ticket.max_exit = 1;
    if (i % 4 == 1) seen[i].ticket.later = 1;
    if (i % 4 == 2) seen[i].ticket.both = true;
    if (i % 4 == 3) seen[i].ticket.deadline_ns = 1; /* long gone */
  }
  run_all(engine, seen);
  int32_t n_both = 0;
  for (int32_t i = 0; i < N_SAMPLES; i++) {
    int32_t exit = alone.result[i].exit;
    const struct ex_pipeline_answer *answer = seen[i].answer, *last = &answer[seen[i].n - 1];
    assert_true(last->final);
    if (i % 4 == 0) assert_int_equal(last->result.exit, exit < 1 ? exit : 1);
    if (i % 4 == 1) {
      assert_int_equal(last->wanted, exit);
      assert_int_equal(last->result.exit, exit < N_POINTS - 1 ? exit + 1 : exit);
    }
    if (i % 4 == 2) {
      assert_int_equal(seen[i].n, exit < N_POINTS - 1 ? 2 : 1);
      assert_int_equal(answer[0].result.exit, exit);
      assert_int_equal(answer[0].result.macs, alone.result[i].macs);
      assert_memory_equal(seen[i].logits[0], alone.logits[i], sizeof alone.logits[i]);
      assert_int_equal(last->result.exit, N_POINTS - 1);
      n_both += seen[i].n == 2;
    }
    if (i % 4 == 3) {
      assert_int_equal(last->status, EX_EDEADLINE);
      assert_true(last->hurried);
    }
    if (i % 4 != 3) assert_int_equal(last->first, 0);
  }
  assert_true(n_both > 0);
  ex__free(seen);
  ex_engine_free(engine);
  fixture_free(f);
}

/* The measured time of the last stage is made so long that no deadline leaves room for it. */
static void deadlines_end_early(void **state) {
  (void)state;
  struct fixture *f = fixture_new();
  ex_policy never = fixture_max_probability(f);
  struct ex_list *thresholds = ex__policy_thresholds(&never);
  for (int32_t p = 0; p < thresholds->n; p++) thresholds->value[p] = 1; /* looked at, not left */
  ex_engine *engine = fixture_engine(f, &never, 1, true);
  engine->cost.body_ns[4] = INT64_C(3600000000000);
  struct seen *seen = seen_new(f);
  for (int32_t i = 0; i < N_SAMPLES; i++)
    if (i % 2 == 0) seen[i].ticket.deadline_ns = ex__now_ns() + INT64_C(600000000000);
  run_all(engine, seen);
  for (int32_t i = 0; i < N_SAMPLES; i++) {
    const struct ex_pipeline_answer *answer = &seen[i].answer[0];
    assert_int_equal(answer->status, EX_OK);
    assert_int_equal(answer->hurried, i % 2 == 0);
    assert_int_equal(answer->result.exit, i % 2 == 0 ? N_POINTS - 2 : N_POINTS - 1);
    assert_int_equal(answer->wanted, i % 2 == 0 ? -1 : N_POINTS - 1);
  }
  ex__free(seen);
  ex_engine_free(engine);
  fixture_free(f);
}

struct rank {
  atomic_int *next;
  int at;
};

static void note_rank(void *context, const struct ex_pipeline_answer *answer) {
  struct rank *rank = context;
  (void)answer;
  rank->at = atomic_fetch_add(rank->next, 1);
}

/* Of samples that come together, those with a deadline are through sooner. */
static void deadlines_go_first(void **state) {
  (void)state;
  struct fixture *f = fixture_new();
  ex_policy policy = fixture_max_probability(f);
  ex_engine *engine = fixture_engine(f, &policy, 1, true);
  ex_pipeline *pipeline = pipeline_new(engine, 1);
  struct seen *seen = seen_new(f);
  const struct ex_ticket *ticket[N_SAMPLES];
  struct rank rank[N_SAMPLES];
  atomic_int next = 0;
  int64_t deadline = ex__now_ns() + 90000000;
  for (int32_t i = 0; i < N_SAMPLES; i++) {
    rank[i].next = &next;
    seen[i].ticket.answered = note_rank;
    seen[i].ticket.context = &rank[i];
    if (i >= N_SAMPLES - 8) seen[i].ticket.deadline_ns = deadline;
    ticket[i] = &seen[i].ticket;
  }
  assert_true(ex__pipeline_submit(pipeline, ticket, N_SAMPLES));
  ex__pipeline_free(pipeline);
  int hurried = 0;
  for (int32_t i = N_SAMPLES - 8; i < N_SAMPLES; i++) hurried += rank[i].at;
  assert_true(hurried < 8 * N_SAMPLES / 2); /* the mean of all would be half of them */
  ex__free(seen);
  ex_engine_free(engine);
  fixture_free(f);
}

int main(void) {
  const struct CMUnitTest tests[] = {
      cmocka_unit_test(strangers_are_answered_as_if_alone),
      cmocka_unit_test(room_is_bounded),
      cmocka_unit_test(tickets_are_minded),
      cmocka_unit_test(deadlines_end_early),
      cmocka_unit_test(deadlines_go_first),
  };
  return cmocka_run_group_tests(tests, NULL, NULL);
}
