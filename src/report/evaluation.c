/* SPDX-License-Identifier: Apache-2.0
 *
 * report/evaluation: runs a model under a policy on a split and observes it.
 *
 * Every figure of the policy is the live engine's. The trace is recorded with
 * the engine's own programs, so replay must agree with the engine in exit,
 * answer and charge of every sample; where it does not, something is broken,
 * and the evaluation fails and names the sample. (`fast` admits algorithms
 * that do not keep the bits; then differences are counted and told.)
 *
 * Wall clock: a sample is run alone, three times by each of two engines, the
 * policy's and one that goes to full depth, in the order ABBAAB; what counts is
 * each one's median. A burst of noise then hits both or is voted out, and
 * neither engine always finds the other's leavings in the caches.
 */
#include "report/evaluation.h"

#include <string.h>

#include "base/clock.h"
#include "base/memory.h"
#include "calibrate/quota.h"
#include "report/evaluation_facts.h"

enum { BATCH = 64, ROUNDS = 3, WARM_UP = 20 };

struct work {
  const struct ex_evaluation_job *job;
  const ex_net *net;
  int64_t features;
  ex_engine *engine, *full; /* full: to the last exit, whatever happens */
  ex_trace *trace, *select; /* select: NULL where there is none or it is `trace` */
  struct ex_outcome *live, *replayed;
  struct ex_result *results; /* [BATCH] */
  float *x;                  /* [BATCH][features], raw */
  ex_real *stored;           /* [features] */
  double *policy_ns, *full_ns;
  struct ex_evaluation_facts facts;
};

static void close_work(struct work *work) {
  ex_engine_free(work->engine);
  ex_engine_free(work->full);
  ex__trace_free(work->trace);
  ex__trace_free(work->select);
  ex__free(work->live);
  ex__free(work->replayed);
  ex__free(work->results);
  ex__free(work->x);
  ex__free(work->stored);
  ex__free(work->policy_ns);
  ex__free(work->full_ns);
}

static enum ex_status report(const struct work *work, const char *task, int32_t done, int32_t total,
                             int64_t began, struct ex_error *err) {
  const struct ex_progress *progress = &work->job->progress;
  const struct ex_progress_event event = {.task = task,
                                          .done = done,
                                          .total = total,
                                          .unit = "samples",
                                          .seconds = (double)(ex__now_ns() - began) / 1e9};
  if (progress->report == NULL || progress->report(progress->context, &event)) return EX_OK;
  return ex__fail(err, EX_ECANCELLED, "%s: stopped after %d of %d samples", task, (int)done,
                  (int)total);
}

/* ---- what is needed ------------------------------------------------------- */

static enum ex_status check_labels(const ex_trace *trace, enum ex_split split,
                                   struct ex_error *err) {
  for (int32_t i = 0; i < trace->n; i++)
    if (trace->target[i] < 0)
      return ex__fail(err, EX_EINVAL, "evaluate: sample %d of %s has no label; every one must have",
                      (int)i, ex__split_name(split));
  return EX_OK;
}

static enum ex_status record(struct work *work, struct ex_error *err) {
  const struct ex_evaluation_job *job = work->job;
  const ex_compiled *compiled = ex__engine_compiled(work->engine);
  const enum ex_split select = EX_SPLIT_SELECT;
  if (ex__data_size(job->data, job->split) == 0)
    return ex__fail(err, EX_EINVAL, "evaluate: the %s split has no samples; it needs some",
                    ex__split_name(job->split));
  EX_TRY(ex__trace_record(compiled, job->data, job->split, job->threads, &job->progress,
                          &work->trace, err));
  EX_TRY(check_labels(work->trace, job->split, err));
  work->trace->cost = *ex__engine_cost(work->engine);
  if (job->split == select || ex__data_size(job->data, select) == 0) return EX_OK;
  EX_TRY(ex__trace_record(compiled, job->data, select, job->threads, &job->progress, &work->select,
                          err));
  work->select->cost = work->trace->cost;
  return check_labels(work->select, select, err);
}

static enum ex_status reserve(struct work *work, struct ex_error *err) {
  const struct ex_evaluation_job *job = work->job;
  int32_t n = work->trace->n, timed = job->timed_samples < n ? job->timed_samples : n;
  work->facts.n_timed = timed > 0 ? timed : 0;
  size_t n_timed = (size_t)work->facts.n_timed;
  work->live = ex__calloc((size_t)n, sizeof *work->live);
  work->replayed = ex__calloc((size_t)n, sizeof *work->replayed);
  work->results = ex__calloc(BATCH, sizeof *work->results);
  work->x = ex__calloc(BATCH * (size_t)work->features, sizeof *work->x);
  work->stored = ex__calloc((size_t)work->features, sizeof *work->stored);
  work->policy_ns = ex__calloc(n_timed, sizeof *work->policy_ns);
  work->full_ns = ex__calloc(n_timed, sizeof *work->full_ns);
  if (work->live != NULL && work->replayed != NULL && work->results != NULL && work->x != NULL &&
      work->stored != NULL && work->policy_ns != NULL && work->full_ns != NULL)
    return EX_OK;
  return ex__fail(err, EX_ENOMEM, "evaluate: no memory for %d samples", (int)n);
}

/* For the classes of the request, in the engine and in replay. */
static enum ex_status ask(struct work *work, struct ex_error *err) {
  const struct ex_evaluation_job *job = work->job;
  const struct ex_request request = {
      .size = sizeof request, .classes = job->classes, .n_classes = job->n_classes};
  work->facts.env = (struct ex_env){.time_left_ns = INT64_MAX,
                                    .max_point = work->net->n_points - 1,
                                    .target = -1,
                                    .classes = job->classes,
                                    .n_classes = job->n_classes};
  enum ex_status status = ex_engine_request(work->engine, &request);
  if (status == EX_OK) return EX_OK;
  return ex__fail(err, status, "classes: %s; the rule %s knows no classes of interest",
                  ex_status_text(status), job->policy->class->name);
}

static enum ex_status open_engines(struct work *work, struct ex_error *err) {
  const struct ex_evaluation_job *job = work->job;
  struct ex_engine_options options = {
      .size = sizeof options, .threads = job->threads, .max_batch = BATCH, .fast = job->fast};
  EX_TRY(ex__engine_new(job->model, job->policy, &options, &work->engine, err));
  EX_TRY(ask(work, err));
  if (job->timed_samples <= 0) return EX_OK;
  ex_policy last;
  EX_TRY(ex__policy_init(&last, "fixed", work->net->n_points, work->net->n_outputs, err));
  options.max_batch = 1;
  return ex__engine_new(job->model, &last, &options, &work->full, err);
}

/* ---- answers -------------------------------------------------------------- */

static void read_raw(const struct work *work, int32_t index, float *x) {
  ex__data_raw(work->job->data, work->job->split, index, work->stored);
  for (int64_t j = 0; j < work->features; j++) x[j] = (float)work->stored[j];
}

static void add_ledger(struct ex_ledger *sum, const struct ex_ledger *call) {
  sum->samples += call->samples;
  sum->body += call->body;
  sum->head += call->head;
  sum->gate += call->gate;
  sum->executed += call->executed;
  sum->input_ns += call->input_ns;
  sum->body_ns += call->body_ns;
  sum->head_ns += call->head_ns;
  sum->gate_ns += call->gate_ns;
  sum->decide_ns += call->decide_ns;
  sum->queue_ns += call->queue_ns;
  sum->total_ns += call->total_ns;
  sum->wall_ns += call->wall_ns;
}

static enum ex_status run_batch(struct work *work, int32_t first, int32_t n, struct ex_error *err) {
  for (int32_t i = 0; i < n; i++) read_raw(work, first + i, work->x + (int64_t)i * work->features);
  enum ex_status status = ex_engine_run_many(work->engine, work->x, n, work->results);
  if (status != EX_OK)
    return ex__fail(err, status, "evaluate: samples %d to %d: %s", (int)first, (int)(first + n - 1),
                    ex_status_text(status));
  add_ledger(&work->facts.ledger, ex__engine_ledger(work->engine));
  for (int32_t i = 0; i < n; i++)
    work->live[first + i] =
        (struct ex_outcome){.point = ex__net_point_of(work->net, work->results[i].stage),
                            .answer = work->results[i].exit,
                            .macs = work->results[i].macs};
  return EX_OK;
}

/* Also the label, which the outcome does not hold. */
static bool agrees(const struct work *work, int32_t sample, const struct ex_result *result) {
  const struct ex_outcome *live = &work->live[sample], *replayed = &work->replayed[sample];
  const ex_trace *trace = work->trace;
  return live->point == replayed->point && live->answer == replayed->answer &&
         live->macs == replayed->macs &&
         result->label == trace->answer[ex__trace_at(trace, replayed->answer, sample)].label;
}

static enum ex_status compare(struct work *work, int32_t first, int32_t n, struct ex_error *err) {
  for (int32_t i = 0; i < n; i++) {
    int32_t sample = first + i;
    work->live[sample].bodies = work->replayed[sample].bodies; /* results do not tell */
    work->live[sample].heads = work->replayed[sample].heads;
    if (agrees(work, sample, &work->results[i])) continue;
    work->facts.n_differ++;
    if (work->job->fast) continue;
    const struct ex_outcome *live = &work->live[sample], *replayed = &work->replayed[sample];
    return ex__fail(err, EX_EBACKEND,
                    "evaluate: sample %d of %s: the engine left at exit %d for %lld multiply-adds "
                    "with label %d, replay of its trace at exit %d for %lld; they must agree",
                    (int)sample, ex__split_name(work->job->split), (int)live->point,
                    (long long)live->macs, (int)work->results[i].label, (int)replayed->point,
                    (long long)replayed->macs);
  }
  return EX_OK;
}

static enum ex_status answer_all(struct work *work, struct ex_error *err) {
  int32_t total = work->trace->n;
  int64_t began = ex__now_ns();
  ex__policy_replay(work->job->policy, work->trace, &work->facts.env, work->replayed);
  ex__engine_profile(work->engine, true);
  for (int32_t first = 0; first < total; first += BATCH) {
    int32_t n = total - first < BATCH ? total - first : BATCH;
    EX_TRY(run_batch(work, first, n, err));
    EX_TRY(compare(work, first, n, err));
    EX_TRY(report(work, "evaluate", first + n, total, began, err));
  }
  ex__engine_profile(work->engine, false);
  return EX_OK;
}

/* ---- wall clock ----------------------------------------------------------- */

static double median_of_three(const double *x) {
  double low = x[0] < x[1] ? x[0] : x[1], high = x[0] < x[1] ? x[1] : x[0];
  return x[2] < low ? low : x[2] > high ? high : x[2];
}

static enum ex_status time_once(ex_engine *engine, const float *x, double *ns) {
  struct ex_result result = {.logits = NULL};
  int64_t before = ex__now_ns();
  enum ex_status status = ex_engine_run(engine, x, &result);
  *ns = (double)(ex__now_ns() - before);
  return status;
}

static enum ex_status time_sample(struct work *work, const float *x, double *policy_ns,
                                  double *full_ns) {
  double policy[ROUNDS], full[ROUNDS];
  for (int32_t r = 0; r < ROUNDS; r++) {
    bool full_first = r % 2 == 1;
    if (full_first) EX_TRY(time_once(work->full, x, &full[r]));
    EX_TRY(time_once(work->engine, x, &policy[r]));
    if (!full_first) EX_TRY(time_once(work->full, x, &full[r]));
  }
  *policy_ns = median_of_three(policy);
  *full_ns = median_of_three(full);
  return EX_OK;
}

static enum ex_status time_all(struct work *work, struct ex_error *err) {
  int32_t n = work->facts.n_timed;
  int64_t began = ex__now_ns();
  for (int32_t i = n > 0 ? -WARM_UP : 0; i < n; i++) {
    double policy_ns, full_ns;
    int32_t sample = i < 0 ? 0 : (int32_t)((int64_t)i * work->trace->n / n);
    read_raw(work, sample, work->x);
    enum ex_status status = time_sample(work, work->x, &policy_ns, &full_ns);
    if (status != EX_OK)
      return ex__fail(err, status, "evaluate: sample %d: %s", (int)sample, ex_status_text(status));
    if (i < 0) continue;
    work->policy_ns[i] = policy_ns;
    work->full_ns[i] = full_ns;
    if (i % BATCH == BATCH - 1 || i == n - 1)
      EX_TRY(report(work, "wall clock", i + 1, n, began, err));
  }
  if (n > 0) work->facts.full_executed = ex__engine_ledger(work->full)->executed;
  return EX_OK;
}

/* ---- the whole ------------------------------------------------------------ */

/* A receipt speaks of one policy; another one's figures are nothing to it, nor are those
 * of a request that narrows it. */
static const json_t *receipt_of(const ex_model *model, const ex_policy *policy) {
  json_t *own = ex__policy_to_json(policy);
  const json_t *promised = json_object_get(model->receipt, "policy");
  bool same = own != NULL && promised != NULL && json_equal(own, promised) == 1;
  json_decref(own);
  return same ? model->receipt : NULL;
}

static void gather(struct work *work) {
  const struct ex_evaluation_job *job = work->job;
  struct ex_evaluation_facts *facts = &work->facts;
  facts->trace = work->trace;
  facts->select = job->split == EX_SPLIT_SELECT ? work->trace : work->select;
  facts->outcomes = work->live;
  facts->policy = job->policy;
  facts->receipt = job->classes == NULL ? receipt_of(job->model, job->policy) : NULL;
  facts->labels = (const char *const *)job->model->labels;
  facts->split = ex__split_name(job->split);
  facts->threads = job->threads;
  facts->policy_ns = work->policy_ns;
  facts->full_ns = work->full_ns;
}

static enum ex_status evaluate(struct work *work, json_t **json, struct ex_error *err) {
  EX_TRY(open_engines(work, err));
  EX_TRY(record(work, err));
  EX_TRY(reserve(work, err));
  EX_TRY(answer_all(work, err));
  EX_TRY(time_all(work, err));
  gather(work);
  return ex__evaluation_json(&work->facts, json, err);
}

enum ex_status ex__evaluate(const struct ex_evaluation_job *job, ex_evaluation **out,
                            struct ex_error *err) {
  *out = NULL;
  struct work work = {
      .job = job, .net = job->model->net, .features = ex__data_info(job->data)->features};
  ex_evaluation *evaluation = ex__calloc(1, sizeof *evaluation);
  if (evaluation == NULL) return ex__fail(err, EX_ENOMEM, "evaluate: no memory");
  enum ex_status status = evaluate(&work, &evaluation->json, err);
  if (status == EX_OK) {
    evaluation->trace = work.trace;
    evaluation->outcome = work.live;
    work.trace = NULL;
    work.live = NULL;
    *out = evaluation;
  } else {
    ex__free(evaluation);
  }
  close_work(&work);
  return status;
}

void ex__evaluation_free(ex_evaluation *evaluation) {
  if (evaluation == NULL) return;
  json_decref(evaluation->json);
  ex__trace_free(evaluation->trace);
  ex__free(evaluation->outcome);
  ex__free(evaluation);
}

enum ex_status ex__evaluation_write_dynamic(const ex_evaluation *evaluation, const char *path,
                                            struct ex_error *err) {
  const json_t *budgeted = json_object_get(evaluation->json, "budgeted");
  struct ex_curve_point points[EX_BUDGETED_POINTS];
  int32_t n = 0;
  for (size_t i = 0; i < json_array_size(budgeted) && n < EX_BUDGETED_POINTS; i++) {
    const json_t *pair = json_array_get(budgeted, i);
    points[n++] = (struct ex_curve_point){100 * json_number_value(json_array_get(pair, 1)),
                                          json_number_value(json_array_get(pair, 0))};
  }
  return ex__curve_write(path, points, n, err);
}
