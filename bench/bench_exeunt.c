/* SPDX-License-Identifier: Apache-2.0
 *
 * bench/bench_exeunt: Exeunt's worker, inference: an engine as a program that
 * uses the library would make it, under the fixed rule (full depth: earlier
 * heads do not run) or under max-probability with the thresholds given.
 *
 * With exits, each sample of the clock is followed by as many profiled passes:
 * the times of the bodies and heads that ran, as the workers themselves
 * measured them while they ran (their sum over the threads), and of the decisions. What
 * the clock shows above the former is what choosing, queueing, carrying
 * survivors and waiting for the other thread cost.
 */
#include "bench_exeunt.h"

#include <string.h>

#include "engine/engine.h"

struct inference {
  const struct bench_job *job;
  ex_engine *engine;
  const float *x;
  struct ex_result *results; /* [samples] */
  float *logits;             /* [samples][classes] */
};

static void make_policy(const struct bench_job *job, const ex_model *model, ex_policy *policy) {
  const ex_net *net = model->net;
  struct ex_error err;
  bool exits = strcmp(job->task, "exits") == 0;
  if (exits && job->thresholds == NULL) bench_die("--thresholds is missing");
  bench_check(ex__policy_init(policy, exits ? "max-probability" : "fixed", net->n_points,
                              net->n_outputs, &err),
              &err);
  if (exits) bench_check(ex__policy_set(policy, "thresholds", job->thresholds, &err), &err);
}

static void run_call(struct inference *inference, int32_t first) {
  const struct bench_job *job = inference->job;
  const float *x = inference->x + (int64_t)first * job->features;
  enum ex_status status =
      job->batch == 1
          ? ex_engine_run(inference->engine, x, &inference->results[first])
          : ex_engine_run_many(inference->engine, x, job->batch, &inference->results[first]);
  if (status != EX_OK) bench_die("Exeunt: %s", ex_status_text(status));
}

static void pass(void *state) {
  struct inference *inference = state;
  for (int32_t i = 0; i < inference->job->samples; i += inference->job->batch)
    run_call(inference, i);
}

static void add_ledgers(struct inference *inference, int64_t *parts, int64_t *decide) {
  const struct bench_job *job = inference->job;
  for (int32_t i = 0; i < job->samples; i += job->batch) {
    run_call(inference, i);
    const struct ex_ledger *ledger = ex__engine_ledger(inference->engine);
    *parts += ledger->body_ns + ledger->head_ns + ledger->gate_ns;
    *decide += ledger->decide_ns;
  }
}

static void write_parts(void *state, long n, FILE *out) {
  struct inference *inference = state;
  const struct bench_job *job = inference->job;
  int64_t parts = 0, decide = 0, decisions = 0;
  ex__engine_profile(inference->engine, true);
  for (long i = 0; i < n; i++) add_ledgers(inference, &parts, &decide);
  ex__engine_profile(inference->engine, false);
  for (int32_t i = 0; i < job->samples; i++) decisions += inference->results[i].exit + 1;
  double workers = job->batch == 1 ? 1 : job->threads;
  double calls = (double)n * job->samples / job->batch;
  fprintf(out, ", \"parts_ns\": %.1f, \"decide_ns\": %.1f", (double)parts / workers / calls,
          (double)decide / ((double)n * (double)decisions));
}

static void write_answers(const struct inference *inference) {
  const struct bench_job *job = inference->job;
  int64_t row = 1 + job->classes;
  float *answers = bench_allocate((size_t)(job->samples * row), sizeof *answers);
  for (int64_t i = 0; i < job->samples; i++) {
    answers[i * row] = (float)inference->results[i].exit;
    memcpy(answers + i * row + 1, inference->results[i].logits,
           (size_t)job->classes * sizeof *answers);
  }
  bench_write(job->outputs, answers, job->samples * row);
}

static void infer(const struct bench_job *job) {
  const struct ex_engine_options options = {.size = sizeof options,
                                            .threads = job->threads,
                                            .max_batch = job->batch,
                                            .fast = job->fast,
                                            .ready_input = true};
  struct ex_error err;
  ex_model *model;
  ex_policy policy;
  struct inference inference = {.job = job};
  bench_check(ex__model_read(job->model, &model, &err), &err);
  make_policy(job, model, &policy);
  bench_check(ex__engine_new(model, &policy, &options, &inference.engine, &err), &err);
  inference.x = bench_read(job->inputs, (int64_t)job->samples * job->features);
  inference.results = bench_allocate((size_t)job->samples, sizeof *inference.results);
  inference.logits = bench_allocate((size_t)job->samples, (size_t)job->classes * sizeof(float));
  for (int32_t i = 0; i < job->samples; i++)
    inference.results[i].logits = inference.logits + (int64_t)i * job->classes;
  pass(&inference);
  write_answers(&inference);
  bool exits = strcmp(job->task, "exits") == 0;
  bench_serve(&(struct bench_system){.state = &inference,
                                     .description = BENCH_VERSION,
                                     .calls = job->samples / job->batch,
                                     .pass = pass,
                                     .more = exits ? write_parts : NULL});
  ex_engine_free(inference.engine);
  ex_model_free(model);
}

int main(int argc, char **argv) {
  struct bench_job job;
  bench_parse(argc, argv, &job);
  if (strcmp(job.task, "train") == 0)
    bench_train(&job);
  else
    infer(&job);
  return 0;
}
