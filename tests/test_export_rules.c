/* SPDX-License-Identifier: Apache-2.0
 *
 * Every exit rule as C beside the engine, on thousands of samples and with values that
 * were learned and chosen so that many exits are used: on a network whose exits say what
 * its input tells them to, so that the rule alone is at stake, and on random ones. Who
 * leaves elsewhere must have been near a threshold.
 */
#include "export/export_values.h"
#include "tests/export_fixture.h"
#include "tests/trace_fixture.h"

enum { N_SAMPLES = 1500, N_POINTS = 5 };

/* ---- networks ----------------------------------------------------------------- */

static int32_t part_of(ex_builder *b, int32_t x, int32_t begin, int32_t end) {
  return ex__builder_op(b, "slice", NULL, &(struct ex_slice){begin, end}, &x, 1);
}

/* Input: the outputs of one exit after the other, then a score for each gate. */
static ex_model *told_model(int32_t n_points, int32_t n_outputs) {
  struct ex_error err = {0};
  const struct ex_preprocess as_it_is = {false, 1, {0}, {1}};
  int32_t scores = n_points * n_outputs, all = scores + n_points;
  ex_builder *b;
  ex_net *net;
  ex_model *model;
  assert_ok(ex__builder_new(&(struct ex_shape){1, {all}}, n_outputs, &b, &err), &err);
  int32_t x = ex__builder_input(b);
  for (int32_t p = 0; p < n_points; p++) {
    ex__builder_stage(b);
    x = part_of(b, x, 0, all);
    ex__builder_head(b);
    int32_t output = part_of(b, x, p * n_outputs, (p + 1) * n_outputs);
    ex__builder_gate(b);
    ex__builder_point(b, output, part_of(b, x, scores + p, scores + p + 1), 0);
  }
  assert_ok(ex__builder_finish(b, 4, &net, &err), &err);
  assert_ok(ex__model_new(net, &as_it_is, NULL, &model, &err), &err);
  return model;
}

/* What they are told: errors of one sample hang together, deeper exits see more. */
static struct inputs told_inputs(const ex_model *model, double clear, double spread) {
  int32_t n_points = model->net->n_points, n_outputs = model->net->n_outputs;
  struct inputs in = {N_SAMPLES, ex__shape_count(&model->net->input), NULL, NULL};
  ex_trace *trace = fixture_trace(11, in.n, n_points, n_outputs, clear / 3, clear);
  struct ex_random random = ex__random_seed(5, 5);
  in.values = ex__calloc((size_t)(in.n * in.features), sizeof *in.values);
  assert_non_null(in.values);
  for (int32_t i = 0; i < in.n; i++) {
    float *x = in.values + i * in.features;
    for (int32_t p = 0; p < n_points; p++, x += n_outputs)
      memcpy(x, trace->raw + ex__trace_at(trace, p, i) * n_outputs, (size_t)n_outputs * sizeof *x);
    for (int32_t p = 0; p < n_points; p++)
      *x++ = (float)(spread * ex__random_normal(&random) + p - 2.0);
  }
  ex__trace_free(trace);
  return in;
}

/* Heads that are sure of some inputs and not of others, and gates that tell them apart
 * alike. */
static void sharpen(ex_net *net) {
  for (int32_t t = 0; t < ex__graph_n_tensors(net->graph); t++) {
    const struct ex_tensor_info *info = ex__graph_tensor(net->graph, t);
    ex_real *data = ex__slabs_tensor(net->params, net->graph, t);
    int64_t n = ex__shape_count(&info->shape);
    bool weight = strstr(info->name, "weight") != NULL;
    if (strncmp(info->name, "head", 4) == 0)
      for (int64_t i = 0; i < n; i++) data[i] *= 8;
    if (strncmp(info->name, "gate", 4) == 0)
      for (int64_t i = 0; i < n; i++) data[i] = (ex_real)(!weight ? -3 : i == 0 ? 3 : 0);
  }
}

/* Four exits of convolutions with random weights, and gates as the method jei adds them. */
static ex_model *random_model(void) {
  struct ex_error err = {0};
  ex_builder *b;
  ex_net *net;
  assert_ok(ex__builder_new(&(struct ex_shape){3, {1, 10, 10}}, 10, &b, &err), &err);
  int32_t x = ex__builder_input(b);
  for (int32_t p = 0; p < 4; p++) {
    char name[] = {'c', (char)('0' + p), '\0'};
    ex__builder_stage(b);
    x = ex__builder_relu(b, ex__builder_conv(b, name, x, 8, 3, p == 1 ? 2 : 1, 1, true));
    ex__builder_head(b);
    int32_t output = ex__builder_linear(b, "fc", ex__builder_flatten(b, x), 10);
    ex__builder_gate(b);
    int32_t figures = ex__builder_op(b, "confidence", "figures", NULL, &output, 1);
    ex__builder_point(b, output, ex__builder_linear(b, "fc", figures, 1), 0);
  }
  assert_ok(ex__builder_finish(b, 4, &net, &err), &err);
  sharpen(net);
  return export_model_of(net);
}

/* ---- what the exits say ------------------------------------------------------- */

struct recording {
  int32_t sample, n, n_outputs;
  ex_real *raw, *gate;
  int32_t *target;
  struct ex_random random;
};

static void record_step(void *context, const struct ex_engine_step *step) {
  struct recording *r = context;
  int64_t at = (int64_t)step->seen->point * r->n + r->sample;
  memcpy(r->raw + at * r->n_outputs, step->seen->output, (size_t)r->n_outputs * sizeof *r->raw);
  r->gate[at] = (ex_real)step->seen->gate;
  if (ex__random_uniform(&r->random) < 0.4) r->target[r->sample] = step->seen->answer.label;
}

/* All exits of all inputs, under a rule that reads gates and lets nobody leave. Right is
 * what some exit says, mostly a deep one. */
static ex_trace *record(const ex_model *model, const struct inputs *in) {
  struct ex_error err = {0};
  struct ex_result result = {0};
  size_t size = (size_t)model->net->n_points * (size_t)in->n;
  struct recording r = {.n = in->n, .n_outputs = model->net->n_outputs};
  r.random = ex__random_seed(3, 3);
  r.raw = ex__calloc(size * (size_t)r.n_outputs, sizeof *r.raw);
  r.gate = ex__calloc(size, sizeof *r.gate);
  r.target = ex__calloc((size_t)in->n, sizeof *r.target);
  assert_true(r.raw != NULL && r.gate != NULL && r.target != NULL);
  ex_policy nobody = export_policy(model, "jei");
  assert_ok(ex__policy_set(&nobody, "threshold", "2", &err), &err);
  ex_engine *engine = export_engine(model, &nobody);
  for (r.sample = 0; r.sample < in->n; r.sample++)
    assert_int_equal(
        ex__engine_watch(engine, in->values + r.sample * in->features, record_step, &r, &result),
        EX_OK);
  ex_engine_free(engine);
  ex_trace *trace =
      fixture_with_gates(in->n, model->net->n_points, r.n_outputs, r.raw, r.gate, r.target);
  ex__free(r.raw);
  ex__free(r.gate);
  ex__free(r.target);
  return trace;
}

/* ---- values ------------------------------------------------------------------- */

/* By each exit, how many leave; returns the entropy of that. */
static double usage(const ex_policy *policy, const ex_trace *trace, int32_t *left) {
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
static bool fit(ex_policy *policy, const ex_trace *trace) {
  struct ex_error err = {0};
  const struct ex_policy_fit job = {trace, 0, 2, false};
  if (policy->class->fit == NULL) return true;
  enum ex_status status = policy->class->fit(policy->values, &job, &err);
  if (status != EX_EINFEASIBLE) assert_ok(status, &err);
  return status == EX_OK;
}

/* A threshold for each exit that two thirds of all samples do not reach, which is no
 * sample's own score. */
static void set_thresholds(ex_policy *policy, const ex_trace *trace) {
  struct ex_list *list = ex__policy_thresholds(policy);
  double *score = ex__calloc((size_t)trace->n, sizeof *score);
  assert_non_null(score);
  list->n = trace->n_points - 1;
  for (int32_t p = 0; p < list->n; p++) {
    for (int32_t i = 0; i < trace->n; i++) {
      const struct ex_observation seen = ex__policy_observe(trace, p, i);
      score[i] = policy->class->score(policy->values, &seen);
    }
    qsort(score, (size_t)trace->n, sizeof *score, export_compare);
    const double *at = score + 2 * trace->n / 3;
    list->value[p] = policy->class->leave_at((at[0] + at[1]) / 2);
  }
  ex__free(score);
}

/* Of the candidates of calibration, the one under which the exits are used most evenly. */
static void choose(ex_policy *policy, const ex_trace *trace) {
  int32_t left[EX_MAX_POINTS];
  double most = -1;
  ex_policy tried = *policy;
  assert_true(fit(&tried, trace));
  *policy = tried;
  for (int32_t i = 0; policy->class->candidate(tried.values, trace->n_points, i); i++) {
    if (policy->class->fit_each && !fit(&tried, trace)) break;
    double even = usage(&tried, trace, left);
    if (even <= most) continue;
    most = even;
    *policy = tried;
  }
}

/* ---- near a threshold ----------------------------------------------------------- */

/* Sum of the moduli of a row of weights: what an error of its features may become. */
static double unit_of(const ex_policy *policy) {
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
static int32_t path(const ex_policy *policy, const ex_trace *trace, int32_t sample, double factor,
                    double *nearest) {
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

static bool is_near(const ex_policy *policy, const ex_trace *trace, int32_t sample) {
  double nearest = INFINITY;
  int32_t exit = path(policy, trace, sample, 1, &nearest);
  if (nearest < 1e-5 * unit_of(policy)) return true;
  return path(policy, trace, sample, 1 + 1e-5, &nearest) != exit ||
         path(policy, trace, sample, 1 - 1e-5, &nearest) != exit;
}

/* ---- beside the engine ---------------------------------------------------------- */

static const void *input_of(const ex_model *model, const struct inputs *in, int32_t i) {
  return model->preprocess.bytes ? (const void *)(in->bytes + i * in->features)
                                 : (const void *)(in->values + i * in->features);
}

static void assert_answer(const struct exported_result *got, const struct ex_result *expected,
                          int32_t n) {
  float most = 0;
  for (int32_t c = 0; c < n; c++) most = fmaxf(most, fabsf(expected->logits[c]));
  for (int32_t c = 0; c < n; c++)
    assert_true(fabsf(got->logits[c] - expected->logits[c]) <= 1e-4f * most);
  assert_int_equal(got->label, expected->label);
  assert_true(fabs((double)got->confidence - expected->confidence) < 1e-4);
}

/* Returns how many left elsewhere, all of them near a threshold. */
static int32_t run_both(const ex_model *model, const ex_policy *policy, const ex_trace *trace,
                        const struct inputs *in) {
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
    assert_int_equal(exported.run(input_of(model, in, i), work, &got), 0);
    if (got.exit == expected.exit) {
      assert_answer(&got, &expected, model->net->n_outputs);
      continue;
    }
    near++;
    if (!is_near(policy, trace, i))
      fail_msg("%s: input %d left at exit %d; the engine says %d", policy->class->name, (int)i,
               got.exit, (int)expected.exit);
  }
  ex_engine_free(engine);
  free(work);
  export_close(&exported);
  return near;
}

struct bench {
  ex_model *model;
  struct inputs in;
  ex_trace *trace;
};

/* `set`: "key=value", a space behind each. `used`: exits that must let somebody go. */
static void check_rule(const struct bench *bench, const char *rule, const char *set, int32_t used) {
  struct ex_error err = {0};
  ex_policy policy = export_policy(bench->model, rule);
  int32_t left[EX_MAX_POINTS], n_used = 0;
  char key[32], value[64];
  for (; sscanf(set, "%31[^=]=%63s", key, value) == 2; set += strlen(key) + strlen(value) + 2)
    assert_ok(ex__policy_set(&policy, key, value, &err), &err);
  if (policy.class->score != NULL)
    set_thresholds(&policy, bench->trace);
  else
    choose(&policy, bench->trace);
  usage(&policy, bench->trace, left);
  for (int32_t p = 0; p < bench->trace->n_points; p++) n_used += left[p] > 0;
  int32_t near = run_both(bench->model, &policy, bench->trace, &bench->in);
  printf("%-16s by exit", rule);
  for (int32_t p = 0; p < bench->trace->n_points; p++) printf(" %d", (int)left[p]);
  printf("; %d near a threshold\n", (int)near);
  if (n_used < used) fail_msg("%s: %d exits are used", rule, (int)n_used);
  assert_true(near <= bench->in.n / 50);
}

static struct bench bench_of(ex_model *model, struct inputs in) {
  return (struct bench){model, in, record(model, &in)};
}

static void bench_free(struct bench *bench) {
  ex__trace_free(bench->trace);
  export_inputs_free(&bench->in);
  ex_model_free(bench->model);
}

static struct bench told(int32_t n_points, int32_t n_outputs, double clear) {
  ex_model *model = told_model(n_points, n_outputs);
  return bench_of(model, told_inputs(model, clear, 1.5));
}

/* `some`: exits that most rules use, at least. */
static void every_rule(const struct bench *bench, int32_t some) {
  check_rule(bench, "max-probability", "", some);
  check_rule(bench, "max-probability", "fallback=true ", some - 1);
  check_rule(bench, "margin", "", some);
  check_rule(bench, "entropy", "", some);
  check_rule(bench, "patience", "", 2);
  check_rule(bench, "jei", "", some - 1);
  check_rule(bench, "pcee", "", some);
  check_rule(bench, "lte", "", some);
  check_rule(bench, "window", "", some);
  check_rule(bench, "window", "accept=0.3 ", some);
  check_rule(bench, "eenet", "", some);
  check_rule(bench, "predictive", "", 2);
  check_rule(bench, "predictive", "rmax=2 start=1 ", 2);
  check_rule(bench, "predictive", "engine=learned ", 2);
  check_rule(bench, "predictive", "engine=learned measure=confidence ", some - 1);
  check_rule(bench, "adaptive", "", some - 1);
  check_rule(bench, "adaptive", "successors=any ", 2);
  check_rule(bench, "latency-aware", "", some - 1);
  check_rule(bench, "classy", "", some - 1);
  check_rule(bench, "classy", "classes=1,3,4 from=0,1,0 others=refuse ", some - 1);
}

static void told_exits(void **state) {
  (void)state;
  struct bench bench = told(N_POINTS, 10, 4);
  every_rule(&bench, 4);
  bench_free(&bench);
}

static void random_exits(void **state) {
  (void)state;
  ex_model *model = random_model();
  struct bench bench = bench_of(model, export_inputs(model, N_SAMPLES));
  every_rule(&bench, 3);
  bench_free(&bench);
}

int main(void) {
  const struct CMUnitTest tests[] = {
      cmocka_unit_test(told_exits),
      cmocka_unit_test(random_exits),
  };
  return cmocka_run_group_tests(tests, NULL, NULL);
}
