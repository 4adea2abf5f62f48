/* SPDX-License-Identifier: Apache-2.0
 *
 * Traces: derived columns, recording against running a lane by hand, files.
 */
#include <math.h>

#include "base/file.h"
#include "data/safetensors.h"
#include "policy/policy.h"
#include "tests/nets.h"
#include "tests/trace_fixture.h"
#include "tests/train_job.h"

/* Not by bytes: the struct has padding. */
static void assert_same_answer(const struct ex_answer *a, const struct ex_answer *b) {
  assert_int_equal(a->label, b->label);
  assert_true(a->max_probability == b->max_probability && a->margin == b->margin &&
              a->entropy == b->entropy);
}

static void derived_columns(void **state) {
  (void)state;
  /* 2 exits, 2 samples, 3 classes. */
  static const ex_real raw[] = {2, 0, 0, 1, 1, 0, /* exit 0 */ 0, 5, 0, NAN, 0, 0 /* exit 1 */};
  static const int32_t target[] = {0, -1};
  ex_trace *trace = fixture_from(2, 2, 3, raw, target);
  assert_true(fabs(trace->answer[0].entropy - 0.6655726819) < 1e-9); /* BranchyNet's, in nats */
  assert_int_equal(trace->answer[0].label, 0);
  assert_int_equal(trace->answer[1].label, 0); /* the lowest index on ties */
  assert_true(trace->answer[1].margin == 0);
  assert_true(trace->quality[0] == 1 && trace->quality[2] == 0);
  assert_true(isnan(trace->quality[1]) && isnan(trace->loss[1]));
  assert_int_equal(trace->answer[3].label, -1);
  assert_int_equal(trace->cost.macs[1], 220);
  assert_int_equal(trace->cost.direct_macs[1], 210);
  assert_ptr_equal(trace->output, trace->raw);
  ex__trace_free(trace);
  ex__trace_free(NULL);
}

static void a_new_transform_renews_the_answers(void **state) {
  (void)state;
  ex_trace *trace = fixture_trace(1, 50, 3, 4, 1, 3);
  struct ex_error err;
  struct ex_transform hot = {.kind = EX_TRANSFORM_TEMPERATURE, .temperature = {3, {1, 2, 1e6}}},
                      identity = {.kind = EX_TRANSFORM_IDENTITY};
  double before[3];
  for (int32_t p = 0; p < 3; p++)
    before[p] = trace->answer[ex__trace_at(trace, p, 7)].max_probability;
  int32_t label = trace->answer[ex__trace_at(trace, 1, 7)].label;
  assert_ok(ex__trace_derive(trace, &hot, &err), &err);
  assert_true(trace->answer[ex__trace_at(trace, 0, 7)].max_probability == before[0]);
  assert_true(trace->answer[ex__trace_at(trace, 1, 7)].max_probability < before[1]);
  assert_int_equal(trace->answer[ex__trace_at(trace, 1, 7)].label, label);
  assert_true(fabs(trace->answer[ex__trace_at(trace, 2, 7)].max_probability - 0.25) < 1e-4);
  assert_ok(ex__trace_derive(trace, &identity, &err), &err);
  for (int32_t p = 0; p < 3; p++)
    assert_true(trace->answer[ex__trace_at(trace, p, 7)].max_probability == before[p]);
  ex__trace_free(trace);
}

static void refused_arrays(void **state) {
  (void)state;
  struct ex_error err;
  struct ex_cost cost = fixture_cost(1);
  ex_trace *trace;
  const ex_real raw[2] = {0, 0};
  const int32_t high[1] = {2}, low[1] = {-2};
  assert_refused(ex__trace_from_arrays(0, 1, 2, raw, NULL, NULL, &cost, &trace, &err), EX_ESHAPE,
                 &err, "0 samples");
  assert_refused(ex__trace_from_arrays(1, 33, 2, raw, NULL, NULL, &cost, &trace, &err), EX_ESHAPE,
                 &err, "at most 32 exits");
  assert_refused(ex__trace_from_arrays(1, 1, 2, raw, NULL, high, &cost, &trace, &err), EX_EINVAL,
                 &err, "target 2 of sample 0");
  assert_refused(ex__trace_from_arrays(1, 1, 2, raw, NULL, low, &cost, &trace, &err), EX_EINVAL,
                 &err, "target -2");
  assert_null(trace);
}

static void picking(void **state) {
  (void)state;
  ex_trace *trace = fixture_trace(1, 50, 3, 4, 1, 3), *picked;
  struct ex_error err;
  const int32_t items[] = {7, 7, 3}, wrong[] = {50};
  assert_ok(ex__trace_pick(trace, items, 3, &picked, &err), &err);
  for (int32_t i = 0; i < 3; i++) {
    assert_int_equal(picked->target[i], trace->target[items[i]]);
    for (int32_t p = 0; p < 3; p++)
      assert_same_answer(&picked->answer[ex__trace_at(picked, p, i)],
                         &trace->answer[ex__trace_at(trace, p, items[i])]);
  }
  assert_true(picked->gate[2] == trace->gate[3]);
  assert_string_not_equal(picked->samples, trace->samples);
  ex__trace_free(picked);
  assert_refused(ex__trace_pick(trace, wrong, 1, &picked, &err), EX_EINVAL, &err, "sample 50");
  ex__trace_free(trace);
}

/* ---- recording ---------------------------------------------------------- */

static bool stop_at_once(void *context, const struct ex_progress_event *event) {
  *(int64_t *)context = event->done;
  return false;
}

static ex_trace *record(const ex_compiled *compiled, const ex_data *data, int32_t threads) {
  struct ex_error err;
  ex_trace *trace;
  assert_ok(ex__trace_record(compiled, data, EX_SPLIT_TRAIN, threads, NULL, &trace, &err), &err);
  return trace;
}

static void compare_with_lane(const ex_compiled *compiled, const ex_data *data,
                              const ex_trace *trace) {
  struct ex_error err;
  ex_lane *lane;
  ex_real x[MADE_FEATURES], output[4], gate;
  ex_real *memory = ex__calloc((size_t)ex__compiled_state_size(compiled), sizeof *memory);
  assert_ok(ex__lane_new(compiled, &lane, &err), &err);
  for (int32_t i = 0; i < trace->n; i += 13) {
    int32_t y;
    ex__data_read_range(data, EX_SPLIT_TRAIN, i, 1, x, &y);
    ex__lane_input(lane, x, memory);
    assert_int_equal(trace->target[i], y);
    for (int32_t stage = 0; stage < 3; stage++) {
      ex__lane_body(lane, stage, &memory, 1);
      if (stage == 1) continue; /* has no point */
      int32_t p = stage == 0 ? 0 : 1;
      ex__lane_head(lane, p, &memory, 1, output);
      ex__lane_gate(lane, p, &memory, 1, &gate);
      assert_memory_equal(output, trace->raw + ex__trace_at(trace, p, i) * 4, sizeof output);
      assert_true(gate == trace->gate[ex__trace_at(trace, p, i)]);
    }
  }
  ex__lane_free(lane);
  ex__free(memory);
}

static void recording_is_running(void **state) {
  (void)state;
  char folder[64];
  struct ex_error err;
  ex_net *net;
  ex_compiled *compiled;
  testing_folder(folder);
  ex_data *data = made_data(folder);
  assert_ok(nets_gated(1, &net, &err), &err);
  ex__net_init(net, 3);
  const struct ex_compile_options options = {
      .backend = EX_BACKEND_FAST, .threads = 1, .max_batch = EX_MICRO_BATCH};
  assert_ok(ex__compiled_new(net, &options, &compiled, &err), &err);
  ex_trace *one = record(compiled, data, 1), *two = record(compiled, data, 2);
  assert_int_equal(one->n, 90);
  size_t outputs = (size_t)one->n_points * (size_t)one->n * 4;
  assert_memory_equal(one->raw, two->raw, outputs * sizeof *one->raw);
  compare_with_lane(compiled, data, one);
  char digest[EX_DIGEST_TEXT];
  assert_int_equal(ex__net_digest(net, digest), EX_OK);
  assert_string_equal(one->weights, digest);
  assert_int_equal(one->stage[1], 2);
  assert_int_equal(one->closure[1], 3);
  /* The last answer needs the first head: jumping to it is charged for both. */
  ex_policy policy;
  struct ex_outcome outcomes[90];
  assert_ok(ex__policy_init(&policy, "fixed", 2, 4, &err), &err);
  ex__policy_replay(&policy, one, NULL, outcomes);
  assert_int_equal(outcomes[0].macs, one->cost.direct_macs[1]);
  int64_t done = -1;
  const struct ex_progress stopper = {stop_at_once, &done};
  ex_trace *none;
  assert_refused(ex__trace_record(compiled, data, EX_SPLIT_TRAIN, 1, &stopper, &none, &err),
                 EX_ECANCELLED, &err, "of 90 samples");
  assert_true(none == NULL && done > 0);
  assert_refused(ex__trace_record(compiled, data, EX_SPLIT_TEST, 1, NULL, &none, &err), EX_EINVAL,
                 &err, "no test samples");
  assert_refused(ex__trace_record(compiled, data, EX_SPLIT_TRAIN, 0, NULL, &none, &err), EX_EINVAL,
                 &err, "threads = 0");
  ex__trace_free(one);
  ex__trace_free(two);
  ex__compiled_free(compiled);
  ex_net_free(net);
  ex__data_free(data);
  testing_remove(folder);
}

/* ---- files -------------------------------------------------------------- */

/* Derived again from the raw outputs in the file, by the transform in the file. */
static void file_gives_back_an_ensemble(void **state) {
  (void)state;
  char folder[64], path[96];
  struct ex_error err;
  testing_folder(folder);
  snprintf(path, sizeof path, "%s/t.safetensors", folder);
  ex_trace *trace = fixture_trace(1, 50, 3, 4, 1, 3), *again, *picked;
  struct ex_transform mean = {.kind = EX_TRANSFORM_ENSEMBLE,
                              .ensemble = ex__ensemble_new(EX_MEAN_ARITHMETIC, 3, 4)};
  for (int32_t j = 0; j < 3 + 4; j++) ex__ensemble_row(mean.ensemble, 2)[j] = 1.0 / (j + 3);
  assert_ok(ex__trace_derive(trace, &mean, &err), &err);
  ex__transform_clear(&mean); /* the trace has its own */
  assert_ok(ex__trace_write(trace, path, &err), &err);
  assert_ok(ex__trace_read(path, &again, &err), &err);
  assert_memory_equal(again->output, trace->output, sizeof *trace->output * 50 * 3 * 4);
  assert_memory_not_equal(trace->output, trace->raw, sizeof *trace->output * 50 * 3 * 4);
  const int32_t item = 7;
  assert_ok(ex__trace_pick(again, &item, 1, &picked, &err), &err);
  ex__trace_free(again);
  assert_same_answer(&picked->answer[2], &trace->answer[ex__trace_at(trace, 2, item)]);
  ex__trace_free(picked);
  ex__trace_free(trace);
  testing_remove(folder);
}

static void file_gives_back_the_same_trace(void **state) {
  (void)state;
  char folder[64], path[96];
  struct ex_error err;
  testing_folder(folder);
  snprintf(path, sizeof path, "%s/t.safetensors", folder);
  ex_trace *trace = fixture_trace(1, 50, 3, 4, 1, 3), *again;
  struct ex_transform hot = {.kind = EX_TRANSFORM_TEMPERATURE, .temperature = {3, {1, 2, 0.5}}};
  assert_ok(ex__trace_derive(trace, &hot, &err), &err);
  trace->closure[2] = 5;
  trace->bodies[2] = 5;
  strcpy(trace->weights, "abc");
  assert_ok(ex__trace_write(trace, path, &err), &err);
  assert_ok(ex__trace_read(path, &again, &err), &err);
  assert_int_equal(again->n, 50);
  assert_memory_equal(again->raw, trace->raw, sizeof *trace->raw * 50 * 3 * 4);
  assert_memory_equal(again->gate, trace->gate, sizeof *trace->gate * 50 * 3);
  assert_memory_equal(again->target, trace->target, sizeof *trace->target * 50);
  for (int32_t i = 0; i < 150; i++) assert_same_answer(&again->answer[i], &trace->answer[i]);
  assert_memory_equal(again->stage, trace->stage, sizeof trace->stage);
  assert_memory_equal(again->closure, trace->closure, sizeof trace->closure);
  assert_memory_equal(again->bodies, trace->bodies, sizeof trace->bodies);
  assert_int_equal(again->cost.macs[2], trace->cost.macs[2]);
  assert_int_equal(again->cost.direct_macs[2],
                   220); /* without the second body, with the first head */
  assert_int_equal(again->cost.head_ns[2], 20);
  assert_string_equal(again->weights, "abc");
  ex__trace_free(again);
  ex__trace_free(trace);
  testing_remove(folder);
}

/* The file with one array changed before it is written. */
static void assert_file_refused(const char *path, void (*spoil)(ex_trace *), const char *part) {
  struct ex_error err;
  ex_trace *trace = fixture_trace(1, 5, 3, 4, 1, 3), *read;
  spoil(trace);
  assert_ok(ex__trace_write(trace, path, &err), &err);
  assert_refused(ex__trace_read(path, &read, &err), EX_EFORMAT, &err, part);
  assert_null(read);
  ex__trace_free(trace);
}

static void spoil_stage(ex_trace *trace) { trace->stage[1] = 0; }
static void spoil_closure(ex_trace *trace) { trace->closure[1] = 4; }
static void spoil_own_head(ex_trace *trace) { trace->closure[1] = 1; }
static void spoil_bodies(ex_trace *trace) { trace->bodies[1] = 4 | 2; }
static void spoil_own_body(ex_trace *trace) { trace->bodies[1] = 1; }
static void spoil_cost(ex_trace *trace) { trace->cost.head_macs[1] = -1; }
static void spoil_large(ex_trace *trace) { trace->cost.body_macs[2] = INT64_MAX; }
static void spoil_temperature(ex_trace *trace) {
  trace->transform.kind = EX_TRANSFORM_TEMPERATURE;
  trace->transform.temperature = (struct ex_list){2, {1, 1}};
}

static void hostile_files(void **state) {
  (void)state;
  char folder[64], path[96];
  struct ex_error err;
  ex_trace *read;
  testing_folder(folder);
  snprintf(path, sizeof path, "%s/t.safetensors", folder);
  assert_file_refused(path, spoil_stage, "stage[1] = 0; must be above");
  assert_file_refused(path, spoil_closure, "closure[1]");
  assert_file_refused(path, spoil_own_head, "closure[1]");
  assert_file_refused(path, spoil_bodies, "bodies[1]");
  assert_file_refused(path, spoil_own_body, "bodies[1]");
  assert_file_refused(path, spoil_cost, "head_macs[1] = -1");
  assert_file_refused(path, spoil_large, "body_macs[2]");
  assert_file_refused(path, spoil_temperature, "2 temperatures");
  /* Every prefix of a good file, and a file without metadata. */
  ex_trace *trace = fixture_trace(1, 2, 2, 2, 1, 3);
  assert_ok(ex__trace_write(trace, path, &err), &err);
  ex__trace_free(trace);
  void *data;
  size_t size;
  assert_ok(ex__file_read(path, 1 << 20, &data, &size, &err), &err);
  for (size_t n = 0; n < size; n++)
    assert_int_not_equal(ex__trace_parse(data, n, "prefix", &read, &err), EX_OK);
  assert_ok(ex__trace_parse(data, size, "whole", &read, &err), &err);
  ex__trace_free(read);
  ex__free(data);
  ex_safetensors_writer *writer = ex__safetensors_writer_new();
  assert_ok(ex__safetensors_save(writer, path, &err), &err);
  ex__safetensors_writer_free(writer);
  assert_refused(ex__trace_read(path, &read, &err), EX_EFORMAT, &err, "not a trace");
  testing_remove(folder);
}

int main(void) {
  const struct CMUnitTest tests[] = {
      cmocka_unit_test(derived_columns),
      cmocka_unit_test(a_new_transform_renews_the_answers),
      cmocka_unit_test(refused_arrays),
      cmocka_unit_test(picking),
      cmocka_unit_test(recording_is_running),
      cmocka_unit_test(file_gives_back_an_ensemble),
      cmocka_unit_test(file_gives_back_the_same_trace),
      cmocka_unit_test(hostile_files),
  };
  return cmocka_run_group_tests(tests, NULL, NULL);
}
