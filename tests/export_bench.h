/* SPDX-License-Identifier: Apache-2.0
 *
 * An exit rule that was exported beside the engine: what all exits of a network say is
 * recorded, the rule learns from it, the values are taken under which the exits are used
 * most evenly, and both run all inputs. Who leaves elsewhere must have been near a threshold.
 */
#ifndef EX_TESTS_EXPORT_BENCH_H
#define EX_TESTS_EXPORT_BENCH_H

#include "export/export_values.h"
#include "tests/export_fixture.h"

/* ---- what the exits say ------------------------------------------------------- */

struct bench_recording {
  int32_t sample, n, n_outputs;
  ex_real *raw, *gate;
  int32_t *target;
  struct ex_random random;
};

static inline void bench_record_step(void *context, const struct ex_engine_step *step) {
  struct bench_recording *r = context;
  int64_t at = (int64_t)step->seen->point * r->n + r->sample;
  memcpy(r->raw + at * r->n_outputs, step->seen->output, (size_t)r->n_outputs * sizeof *r->raw);
  r->gate[at] = (ex_real)step->seen->gate;
  if (step->seen->answer.label >= 0 && ex__random_uniform(&r->random) < 0.4)
    r->target[r->sample] = step->seen->answer.label;
}

/* A rule that looks at every exit, reads gates where all have one, and lets nobody leave. */
static inline ex_policy bench_nobody(const ex_model *model) {
  struct ex_error err = {0};
  bool gates = true;
  for (int32_t p = 0; p < model->net->n_points - 1; p++)
    gates = gates && model->net->points[p].gate >= 0;
  ex_policy policy = export_policy(model, gates ? "jei" : "patience");
  assert_ok(ex__policy_set(&policy, gates ? "threshold" : "patience", gates ? "2" : "32", &err),
            &err);
  return policy;
}

/* All exits of all inputs, and what they might cost. Right is what some exit says, mostly a deep
 * one. */
static inline ex_trace *bench_record(const ex_model *model, const struct inputs *in) {
  struct ex_error err = {0};
  struct ex_result result = {0};
  size_t size = (size_t)model->net->n_points * (size_t)in->n;
  struct bench_recording r = {.n = in->n, .n_outputs = model->net->n_outputs};
  r.random = ex__random_seed(3, 3);
  r.raw = ex__calloc(size * (size_t)r.n_outputs, sizeof *r.raw);
  r.gate = ex__calloc(size, sizeof *r.gate);
  r.target = ex__calloc((size_t)in->n, sizeof *r.target);
  assert_true(r.raw != NULL && r.gate != NULL && r.target != NULL);
  ex_policy nobody = bench_nobody(model);
  ex_engine *engine = export_engine(model, &nobody);
  for (r.sample = 0; r.sample < in->n; r.sample++)
    assert_int_equal(ex__engine_watch(engine, in->values + r.sample * in->features,
                                      bench_record_step, &r, &result),
                     EX_OK);
  ex_engine_free(engine);
  ex_trace *trace;
  struct ex_cost cost = {0};
  for (int32_t s = 0; s < model->net->n_stages; s++) cost.body_macs[s] = 100 + 20 * s;
  for (int32_t p = 0; p < model->net->n_points; p++) cost.head_macs[p] = 10;
  assert_ok(ex__trace_from_arrays(in->n, model->net->n_points, r.n_outputs, r.raw, r.gate, r.target,
                                  &cost, &trace, &err),
            &err);
  for (int32_t p = 0; p < trace->n_points; p++) {
    trace->bodies[p] = ex__net_bodies(model->net, p);
    trace->closure[p] = ex__net_closure(model->net, p);
  }
  ex__free(r.raw);
  ex__free(r.gate);
  ex__free(r.target);
  return trace;
}

/* ---- values ------------------------------------------------------------------- */

/* By each exit, how many leave; returns the entropy of that. */
static inline double bench_usage(const ex_policy *policy, const ex_trace *trace, int32_t *left) {
  struct ex_outcome *outcome = ex__calloc((size_t)trace->n, sizeof *outcome);
  assert_non_null(outcome);
  memset(left, 0, EX_MAX_POINTS * sizeof *left);
  ex__policy_replay(policy, trace, NULL, outcome);
  for (int32_t i = 0; i < trace->n; i++) left[outcome[i].answer]++;
  ex__free(outcome);
  double sum = 0;
  for (int32_t p = 0; p < trace->n_points; p++) {
    double share = (double)left[p] / trace->n;
    if (share > 0) sum -= share * log(share);
  }
  return sum;
}

/* On every other sample; false: these knobs cannot be had. */
static inline bool bench_fit(ex_policy *policy, const ex_trace *trace) {
  struct ex_error err = {0};
  const struct ex_policy_fit job = {trace, 0, 2, false};
  if (policy->class->fit == NULL) return true;
  enum ex_status status = policy->class->fit(policy->values, &job, &err);
  if (status != EX_EINFEASIBLE) assert_ok(status, &err);
  return status == EX_OK;
}

/* A threshold for each exit that two thirds of all samples do not reach, which is no
 * sample's own score. */
static inline void bench_set_thresholds(ex_policy *policy, const ex_trace *trace) {
  struct ex_list *list = ex__policy_thresholds(policy);
  double *score = ex__calloc((size_t)trace->n, sizeof *score);
  assert_non_null(score);
  list->n = trace->n_points - 1;
  for (int32_t p = 0; p < list->n; p++) {
    int32_t n = 0;
    for (int32_t i = 0; i < trace->n; i++) {
      const struct ex_observation seen = ex__policy_observe(trace, p, i);
      if (seen.answer.label >= 0) score[n++] = policy->class->score(policy->values, &seen);
    }
    qsort(score, (size_t)n, sizeof *score, export_compare);
    const double *at = score + 2 * n / 3;
    list->value[p] = policy->class->leave_at((at[0] + at[1]) / 2);
  }
  ex__free(score);
}

/* Of the candidates of calibration, the one under which the exits are used most evenly. */
static inline void bench_choose(ex_policy *policy, const ex_trace *trace) {
  int32_t left[EX_MAX_POINTS];
  double most = -1;
  ex_policy tried = *policy;
  assert_true(bench_fit(&tried, trace));
  *policy = tried;
  for (int32_t i = 0; policy->class->candidate(tried.values, trace->n_points, i); i++) {
    if (policy->class->fit_each && !bench_fit(&tried, trace)) break;
    double even = bench_usage(&tried, trace, left);
    if (even <= most) continue;
    most = even;
    *policy = tried;
  }
}

/* ---- near a threshold ----------------------------------------------------------- */

/* Sum of the moduli of a row of weights: what an error of its features may become. */
static inline double bench_unit_of(const ex_policy *policy) {
  struct ex_rule_values values = {.policy = policy};
  const char *rule = policy->class->name;
  double most = 1;
  if (strcmp(rule, "lte") == 0) {
    const struct ex_list *list = ex__value_list(&values, "weights");
    double sum = 0;
    for (int32_t i = 0; i < list->n; i++) sum += fabs(list->value[i]);
    most = fmax(most, sum);
  }
  if (strcmp(rule, "eenet") == 0) {
    const struct ex_table *table = ex__value_table(&values, "score");
    for (int32_t r = 0; r < table->n_rows; r++) {
      double sum = 0;
      for (int32_t i = 0; i < table->n_columns; i++) sum += fabs(table->value[r][i]);
      most = fmax(most, sum);
    }
  }
  return most;
}

/* Where a recorded sample leaves, if all its outputs were `factor` as large; *nearest: of
 * its scores, the distance from the threshold. */
static inline int32_t bench_path(const ex_policy *policy, const ex_trace *trace, int32_t sample,
                                 double factor, double *nearest) {
  _Alignas(16) unsigned char scratch[EX_MAX_POLICY_SCRATCH] = {0};
  ex_real output[64], probability[64];
  int32_t last = trace->n_points - 1, n = trace->n_outputs;
  const struct ex_env env = {.time_left_ns = INT64_MAX, .max_point = last, .target = -1};
  for (int32_t p = ex__policy_next(policy, -1, last);;) {
    struct ex_observation seen = ex__policy_observe(trace, p, sample);
    struct ex_reading reading;
    for (int32_t c = 0; c < n; c++) output[c] = (ex_real)(factor * (double)seen.output[c]);
    trace->task->answer(output, n, probability, &seen.answer);
    seen.output = output;
    seen.probability = probability;
    seen.gate *= factor;
    struct ex_decision decision = ex__policy_decide(policy, scratch, &env, &seen);
    if (ex__policy_read(policy, scratch, &seen, &reading))
      *nearest = fmin(*nearest,
                      fabs(reading.value - reading.threshold) / fmax(1, fabs(reading.threshold)));
    if (decision.action == EX_LEAVE) return decision.point;
    p = decision.action == EX_GO_TO ? decision.point : ex__policy_next(policy, p, last);
  }
}

static inline bool bench_is_near(const ex_policy *policy, const ex_trace *trace, int32_t sample) {
  double nearest = INFINITY;
  int32_t exit = bench_path(policy, trace, sample, 1, &nearest);
  if (nearest < 1e-5 * bench_unit_of(policy)) return true;
  return bench_path(policy, trace, sample, 1 + 1e-5, &nearest) != exit ||
         bench_path(policy, trace, sample, 1 - 1e-5, &nearest) != exit;
}

/* ---- beside the engine ---------------------------------------------------------- */

static inline const void *bench_input_of(const ex_model *model, const struct inputs *in,
                                         int32_t i) {
  return model->preprocess.bytes ? (const void *)(in->bytes + i * in->features)
                                 : (const void *)(in->values + i * in->features);
}

static inline void assert_answer(const struct exported_result *got,
                                 const struct ex_result *expected, int32_t n) {
  float most = 0;
  for (int32_t c = 0; c < n; c++) most = fmaxf(most, fabsf(expected->logits[c]));
  for (int32_t c = 0; c < n; c++)
    assert_true(fabsf(got->logits[c] - expected->logits[c]) <= 1e-4f * most);
  assert_int_equal(got->label, expected->label);
  assert_true(fabs((double)got->confidence - expected->confidence) < 1e-4);
}

struct bench;
/* Runs all inputs; returns how many left elsewhere than in the engine, all of them near a
 * threshold. */
typedef int32_t bench_run(const struct bench *bench, const ex_policy *policy);

struct bench {
  ex_model *model;
  struct inputs in;
  ex_trace *trace;
  bench_run *run;
};

static inline int32_t bench_run_c(const struct bench *bench, const ex_policy *policy) {
  const ex_model *model = bench->model;
  const struct inputs *in = &bench->in;
  float logits[64];
  int32_t near = 0;
  const struct ex_export_c job = {.model = model, .policy = policy, .name = "net"};
  struct exported exported = export_compile(&job);
  float *work = export_work(export_macro(&exported, "NET_WORK"));
  ex_engine *engine = export_engine(model, policy);
  for (int32_t i = 0; i < in->n; i++) {
    struct ex_result expected = {.logits = logits};
    struct exported_result got = {0};
    assert_int_equal(ex_engine_run(engine, in->values + i * in->features, &expected), EX_OK);
    assert_int_equal(exported.run(bench_input_of(model, in, i), work, &got), 0);
    if (got.exit == expected.exit) {
      assert_answer(&got, &expected, model->net->n_outputs);
      continue;
    }
    near++;
    if (!bench_is_near(policy, bench->trace, i))
      fail_msg("%s: input %d left at exit %d; the engine says %d", policy->class->name, (int)i,
               got.exit, (int)expected.exit);
  }
  ex_engine_free(engine);
  free(work);
  export_close(&exported);
  return near;
}

/* `set`: "key=value", a space behind each. `used`: exits that must let somebody go. */
static inline void bench_check_rule(const struct bench *bench, const char *rule, const char *set,
                                    int32_t used) {
  struct ex_error err = {0};
  ex_policy policy = export_policy(bench->model, rule);
  int32_t left[EX_MAX_POINTS], n_used = 0;
  char key[32], value[64];
  const char *given = set;
  for (; sscanf(set, "%31[^=]=%63s", key, value) == 2; set += strlen(key) + strlen(value) + 2)
    assert_ok(ex__policy_set(&policy, key, value, &err), &err);
  if (policy.class->score != NULL)
    bench_set_thresholds(&policy, bench->trace);
  else
    bench_choose(&policy, bench->trace);
  bench_usage(&policy, bench->trace, left);
  for (int32_t p = 0; p < bench->trace->n_points; p++) n_used += left[p] > 0;
  int32_t near = bench->run(bench, &policy);
  printf("%-16s %-24s by exit", rule, given);
  for (int32_t p = 0; p < bench->trace->n_points; p++) printf(" %d", (int)left[p]);
  printf("; %d near a threshold\n", (int)near);
  if (n_used < used) fail_msg("%s: %d exits are used", rule, (int)n_used);
  assert_true(near <= bench->in.n / 20);
}

/* Every rule; `some`: exits that most of them use, at least. */
static inline void bench_every_rule(const struct bench *bench, int32_t some) {
  static const struct {
    const char *rule, *set;
    int32_t fewer; /* exits that are used, than `some` */
  } tried[] = {
      {"max-probability", "", 0},
      {"max-probability", "fallback=true ", 1},
      {"margin", "", 0},
      {"entropy", "", 0},
      {"patience", "", 1},
      {"jei", "", 1},
      {"pcee", "", 0},
      {"lte", "", 0},
      {"window", "", 0},
      {"window", "accept=0.3 ", 0},
      {"eenet", "", 0},
      {"predictive", "", 1},
      {"predictive", "rmax=2 start=1 ", 1},
      {"predictive", "engine=learned ", 2},
      {"predictive", "engine=learned measure=confidence ", 1},
      {"adaptive", "", 1},
      {"adaptive", "successors=any ", 1},
      {"latency-aware", "", 1},
      {"classy", "", 1},
      {"classy", "classes=1,3,4 from=0,1,0 others=refuse ", 1},
  };
  for (size_t i = 0; i < sizeof tried / sizeof *tried; i++)
    bench_check_rule(bench, tried[i].rule, tried[i].set, some - tried[i].fewer);
}

static inline struct bench bench_of(ex_model *model, struct inputs in, bench_run *run) {
  return (struct bench){model, in, bench_record(model, &in), run};
}

static inline void bench_free(struct bench *bench) {
  ex__trace_free(bench->trace);
  export_inputs_free(&bench->in);
  ex_model_free(bench->model);
}

#endif
