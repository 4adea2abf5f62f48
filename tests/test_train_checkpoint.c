/* SPDX-License-Identifier: Apache-2.0
 *
 * Checkpoints: a run that was stopped, killed or out of disk, and resumed,
 * ends with the bits of one that ran through.
 */
#include <math.h>
#include <signal.h>
#include <sys/resource.h>
#include <sys/wait.h>

#include "base/file.h"
#include "base/memory.h"
#include "tests/train_fixture.h"

/* With a checkpoint after every step, as far as the clock can tell. */
static void start(struct made_job *made) {
  made_job(made, tiny_net(0.2, true, 3), data, ex__method_find("joint"));
  made->options.regime = EX_REGIME_TRUNK_THEN_JOINT;
  made->job.checkpoint = path;
  made->job.checkpoint_seconds = 1e-9;
  made->job.resume = true;
}

/* A run that was never interrupted, and keeps no checkpoint. */
static ex_net *reference(json_t **history) {
  struct made_job made;
  start(&made);
  made.job.checkpoint = NULL;
  assert_ok(ex__train(&made.job, history, &err), &err);
  return made.job.net;
}

/* What does not depend on the clock of each epoch. */
static void assert_same_history(const json_t *a, const json_t *b) {
  static const char *const keys[] = {"epoch",      "phase",           "loss",
                                     "point_loss", "select_accuracy", "learning_rate"};
  assert_int_equal(json_array_size(json_object_get(a, "epochs")), 3);
  assert_true(json_equal(json_object_get(a, "best_epoch"), json_object_get(b, "best_epoch")));
  static const char *const totals[] = {"steps", "passes", "macs"};
  for (size_t k = 0; k < sizeof totals / sizeof totals[0]; k++)
    assert_true(json_equal(json_object_get(a, totals[k]), json_object_get(b, totals[k])));
  for (size_t e = 0; e < 3; e++)
    for (size_t k = 0; k < sizeof keys / sizeof keys[0]; k++) {
      json_t *of_a = json_object_get(json_array_get(json_object_get(a, "epochs"), e), keys[k]);
      json_t *of_b = json_object_get(json_array_get(json_object_get(b, "epochs"), e), keys[k]);
      assert_non_null(of_a);
      assert_true(json_equal(of_a, of_b));
    }
}

struct stop {
  int32_t steps, at, signal;
};

static bool stop(void *context, const struct ex_progress_event *event) {
  struct stop *stop = context;
  if (event->finished || ++stop->steps != stop->at) return true;
  if (stop->signal != 0) raise(stop->signal);
  return false;
}

/* Goes on from the checkpoint, with other initial weights, which must not matter. */
static void resume_and_compare(const ex_net *expected, const json_t *history) {
  struct made_job made;
  json_t *resumed;
  start(&made);
  ex__net_init(made.job.net, 99);
  assert_ok(ex__train(&made.job, &resumed, &err), &err);
  assert_true(same_net(made.job.net, expected));
  assert_same_history(resumed, history);
  json_decref(resumed);
  ex_net_free(made.job.net);
}

static void cancelled_runs_go_on(void **state) {
  (void)state;
  json_t *history;
  ex_net *expected = reference(&history);
  static const int32_t stops[] = {1, 9, 14, 26};
  for (size_t i = 0; i < sizeof stops / sizeof stops[0]; i++) {
    struct made_job made;
    struct stop at = {.at = stops[i]};
    json_t *none;
    start(&made);
    made.job.progress = (struct ex_progress){stop, &at};
    unlink(path);
    enum ex_status status = ex__train(&made.job, &none, &err);
    if (stops[i] % 9 != 0) assert_int_equal(status, EX_ECANCELLED);
    json_decref(none); /* a stop at the end of an epoch is seen when that is reported */
    ex_net_free(made.job.net);
    resume_and_compare(expected, history);
  }
  resume_and_compare(expected, history); /* of a run that is finished */
  json_decref(history);
  ex_net_free(expected);
}

/* SIGKILL in the middle of an epoch; the last checkpoint is some steps old. */
static void killed_runs_go_on(void **state) {
  (void)state;
  json_t *history;
  ex_net *expected = reference(&history);
  static const int32_t kills[] = {3, 13, 25};
  for (size_t i = 0; i < sizeof kills / sizeof kills[0]; i++) {
    unlink(path);
    pid_t child = fork();
    assert_true(child >= 0);
    if (child == 0) {
      struct made_job made;
      struct stop at = {.at = kills[i], .signal = SIGKILL};
      json_t *none;
      start(&made);
      made.job.progress = (struct ex_progress){stop, &at};
      ex__train(&made.job, &none, NULL);
      _exit(1);
    }
    int status;
    assert_int_equal(waitpid(child, &status, 0), child);
    assert_true(WIFSIGNALED(status) && WTERMSIG(status) == SIGKILL);
    assert_int_equal(access(path, F_OK), 0);
    resume_and_compare(expected, history);
  }
  json_decref(history);
  ex_net_free(expected);
}

static void full_disk_leaves_the_last_one_whole(void **state) {
  (void)state;
  json_t *history, *none;
  ex_net *expected = reference(&history);
  struct made_job made;
  struct stop at = {.at = 12};
  start(&made);
  made.job.progress = (struct ex_progress){stop, &at};
  unlink(path);
  assert_int_equal(ex__train(&made.job, &none, &err), EX_ECANCELLED);
  made.job.progress = (struct ex_progress){NULL, NULL};
  /* A limit on the size of files fails a write as a full disk does. */
  struct rlimit limit, small;
  assert_int_equal(getrlimit(RLIMIT_FSIZE, &limit), 0);
  small = limit;
  small.rlim_cur = 4096;
  signal(SIGXFSZ, SIG_IGN);
  assert_int_equal(setrlimit(RLIMIT_FSIZE, &small), 0);
  enum ex_status status = ex__train(&made.job, &none, &err);
  assert_int_equal(setrlimit(RLIMIT_FSIZE, &limit), 0);
  assert_int_equal(status, EX_EIO);
  assert_non_null(strstr(err.text, "run.checkpoint"));
  ex_net_free(made.job.net);
  resume_and_compare(expected, history);
  json_decref(history);
  ex_net_free(expected);
}

static void write_one(void) {
  struct made_job made;
  json_t *history;
  start(&made);
  made.options.epochs = 2;
  unlink(path);
  assert_ok(ex__train(&made.job, &history, &err), &err);
  json_decref(history);
  ex_net_free(made.job.net);
}

static void other_runs_are_refused(void **state) {
  (void)state;
  write_one();
  static const char *const expected[] = {"learning-rate = 0.05 there, 0.06 here",
                                         "seed = ", "form = \"fixed\" there, \"linear\" here",
                                         "network = "};
  for (int i = 0; i < 4; i++) {
    struct made_job made;
    json_t *history;
    start(&made);
    made.options.epochs = 2;
    if (i == 0) made.options.learning_rate = 0.06;
    if (i == 1) made.job.seed++;
    if (i == 2)
      assert_ok(
          ex__param_set("joint", made.job.method->params, made.values, "form", "linear", &err),
          &err);
    if (i == 3) {
      ex_net_free(made.job.net);
      made.job.net = tiny_net(0.25, true, 3);
    }
    assert_refused(ex__train(&made.job, &history, &err), EX_EINVAL, &err, expected[i]);
    assert_null(history);
    ex_net_free(made.job.net);
  }
}

/* What is cut off is an error; nothing crashes. */
static void damaged_files_are_refused(void **state) {
  (void)state;
  void *bytes;
  size_t size;
  write_one();
  assert_ok(ex__file_read(path, 1 << 20, &bytes, &size, &err), &err);
  for (size_t i = 0; i < 40; i++) {
    struct made_job made;
    json_t *history;
    bool cut = i % 2 == 0;
    size_t at = cut ? i * size / 40 : 8 + i * 41;
    char held = ((char *)bytes)[at];
    ((char *)bytes)[at] = '#';
    assert_ok(ex__file_write_whole(path, bytes, cut ? at : size, &err), &err);
    ((char *)bytes)[at] = held;
    start(&made);
    made.options.epochs = 2;
    enum ex_status status = ex__train(&made.job, &history, &err);
    if (cut) assert_int_not_equal(status, EX_OK); /* a letter may be one of a name in the history */
    json_decref(history);
    ex_net_free(made.job.net);
  }
  ex__free(bytes);
}

int main(void) {
  const struct CMUnitTest tests[] = {
      cmocka_unit_test(cancelled_runs_go_on),
      cmocka_unit_test(killed_runs_go_on),
      cmocka_unit_test(full_disk_leaves_the_last_one_whole),
      cmocka_unit_test(other_runs_are_refused),
      cmocka_unit_test(damaged_files_are_refused),
  };
  return cmocka_run_group_tests(tests, set_up, tear_down);
}
