/* SPDX-License-Identifier: Apache-2.0
 *
 * The public calls, through a file: what a program that knows exeunt.h alone does.
 */
#include <sys/wait.h>

#include "data/npy.h"
#include "tests/engine_fixture.h"

/* A calibrated model of the fixture's network in `path`. */
static void write_model(const struct fixture *f, const char *path) {
  struct ex_error err;
  static const char *const labels[N_CLASSES] = {"zero", "one", "two",   "three", "four",
                                                "five", "six", "seven", "eight", "nine"};
  ex_model *model;
  assert_ok(ex__model_new(fixture_net(), &f->model->preprocess, labels, &model, &err), &err);
  ex_policy policy = fixture_max_probability(f);
  model->policy = ex__policy_to_json(&policy);
  assert_ok(ex__model_write(model, path, &err), &err);
  ex_model_free(model);
}

static void a_file_runs_as_the_model_that_wrote_it(void **state) {
  (void)state;
  struct ex_error err;
  struct fixture *f = fixture_new();
  ex_policy policy = fixture_max_probability(f);
  struct answers before, after;
  ex_engine *engine = fixture_engine(f, &policy, 1, true);
  fixture_run(f, engine, N_SAMPLES, &before);
  ex_engine_free(engine);

  char folder[64], path[96];
  testing_folder(folder);
  snprintf(path, sizeof path, "%s/model.safetensors", folder);
  write_model(f, path);
  ex_model *model;
  assert_ok(ex_model_load(path, &model, &err), &err);
  struct ex_engine_options options = {.size = sizeof options, .threads = 1, .untimed = true};
  assert_ok(ex_engine_new(model, &options, &engine, &err), &err);
  fixture_run(f, engine, 7, &after);
  assert_same_answers(&before, &after);
  ex_engine_free(engine);
  ex_model_free(model);
  testing_remove(folder);
  fixture_free(f);
}

static void a_model_describes_itself(void **state) {
  (void)state;
  struct ex_error err;
  struct fixture *f = fixture_new();
  char folder[64], path[96];
  testing_folder(folder);
  snprintf(path, sizeof path, "%s/model.safetensors", folder);
  write_model(f, path);
  ex_model *model;
  assert_ok(ex_model_load(path, &model, &err), &err);
  struct ex_model_info info = {.size = sizeof info};
  assert_int_equal(ex_model_describe(model, &info), EX_OK);
  assert_int_equal(info.n_exits, N_POINTS);
  assert_int_equal(info.n_outputs, N_CLASSES);
  assert_int_equal(info.rank, 3);
  assert_true(info.dim[0] == 1 && info.dim[1] == SIDE && info.dim[2] == SIDE);
  assert_true(info.calibrated);
  assert_int_equal(info.full_macs, f->trace->cost.direct_macs[N_POINTS - 1]);
  for (int32_t p = 0; p < N_POINTS; p++)
    assert_int_equal(ex_model_exit_macs(model, p), f->trace->cost.macs[p]);
  assert_int_equal(ex_model_exit_macs(model, N_POINTS), -1);
  assert_int_equal(ex_model_exit_macs(model, -1), -1);
  assert_string_equal(ex_model_label(model, 9), "nine");
  assert_null(ex_model_label(model, 10));
  assert_null(ex_model_label(model, -1));
  /* A caller that was compiled with fewer fields: the rest stays as it was. */
  info = (struct ex_model_info){.size = offsetof(struct ex_model_info, n_outputs), .n_outputs = -7};
  assert_int_equal(ex_model_describe(model, &info), EX_OK);
  assert_true(info.n_exits == N_POINTS && info.n_outputs == -7);
  info.size = sizeof info + 1;
  assert_int_equal(ex_model_describe(model, &info), EX_EINVAL);
  ex_model_free(model);
  testing_remove(folder);
  fixture_free(f);
}

static void what_is_missing_is_named(void **state) {
  (void)state;
  struct ex_error err;
  ex_model *model;
  assert_refused(ex_model_load("/nonexistent/model", &model, &err), EX_ENOTFOUND, &err,
                 "/nonexistent/model");
  assert_null(model);
  assert_refused(ex_model_load(NULL, &model, &err), EX_EINVAL, &err, "no path");
}

/* A policy that no engine could run is refused, so that "calibrated" is true. */
static void a_strange_policy_is_refused(void **state) {
  (void)state;
  struct ex_error err;
  struct fixture *f = fixture_new();
  char folder[64], path[96];
  testing_folder(folder);
  snprintf(path, sizeof path, "%s/model.safetensors", folder);
  ex_model *model;
  assert_ok(ex__model_new(fixture_net(), &f->model->preprocess, NULL, &model, &err), &err);
  model->policy = json_pack("{s:s}", "name", "clairvoyance");
  assert_ok(ex__model_write(model, path, &err), &err);
  ex_model_free(model);
  assert_refused(ex_model_load(path, &model, &err), EX_ENOTFOUND, &err,
                 "\"clairvoyance\" is unknown");
  assert_non_null(strstr(err.text, path));
  assert_null(model);
  testing_remove(folder);
  fixture_free(f);
}

/* examples/classify gives the engine's answer for a .npy file and for raw floats. */
static void the_example_classifies(void **state) {
  (void)state;
  const char *build = getenv("BUILD");
  if (build == NULL) skip();
  struct ex_error err;
  struct fixture *f = fixture_new();
  char folder[64], path[96], command[512], line[256], expected[64];
  testing_folder(folder);
  snprintf(path, sizeof path, "%s/model.safetensors", folder);
  write_model(f, path);
  const int64_t dim[] = {1, SIDE, SIDE};
  snprintf(path, sizeof path, "%s/x.npy", folder);
  assert_ok(ex__npy_write(path, EX_DTYPE_F32, 3, dim, f->x[0], &err), &err);
  snprintf(path, sizeof path, "%s/x.raw", folder);
  FILE *raw = fopen(path, "wb");
  assert_non_null(raw);
  assert_int_equal(fwrite(f->x[0], sizeof(float), FEATURES, raw), FEATURES);
  fclose(raw);

  ex_policy policy = fixture_max_probability(f);
  ex_engine *engine = fixture_engine(f, &policy, 1, true);
  struct ex_result result = {0};
  assert_int_equal(ex_engine_run(engine, f->x[0], &result), EX_OK);
  snprintf(expected, sizeof expected, "(%.1f %%), exit %d of %d", 100 * result.confidence,
           (int)result.exit + 1, N_POINTS);
  ex_engine_free(engine);

  snprintf(command, sizeof command,
           "'%s/examples/classify' '%s/model.safetensors' '%s/x.npy' '%s/x.raw'", build, folder,
           folder, folder);
  FILE *pipe = popen(command, "r");
  assert_non_null(pipe);
  for (int32_t i = 0; i < 2; i++) {
    assert_non_null(fgets(line, sizeof line, pipe));
    if (strstr(line, expected) == NULL) fail_msg("\"%s\" lacks \"%s\"", line, expected);
  }
  int code = pclose(pipe);
  assert_true(WIFEXITED(code) && WEXITSTATUS(code) == 0);
  testing_remove(folder);
  fixture_free(f);
}

int main(void) {
  const struct CMUnitTest tests[] = {
      cmocka_unit_test(a_file_runs_as_the_model_that_wrote_it),
      cmocka_unit_test(a_model_describes_itself),
      cmocka_unit_test(what_is_missing_is_named),
      cmocka_unit_test(a_strange_policy_is_refused),
      cmocka_unit_test(the_example_classifies),
  };
  return cmocka_run_group_tests(tests, NULL, NULL);
}
