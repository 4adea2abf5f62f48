/* SPDX-License-Identifier: Apache-2.0
 *
 * cli/cmd_bench: wall clock of a model on this machine: per stage and head,
 * and of the engine at each exit against full depth. Answers are forced to an
 * exit by the rule `fixed`, policies by turns, so that ratios hold on a busy
 * machine.
 */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/clock.h"
#include "base/memory.h"
#include "base/random.h"
#include "cli/console.h"
#include "cli/open.h"
#include "engine/engine.h"

enum { MAX_ROUNDS = 1001 };

struct options {
  struct common_options common;
  int64_t rounds, batch;
};

static const struct option_spec table[] = {
    {"rounds", 0, OPTION_INT, offsetof(struct options, rounds), "N", 3, MAX_ROUNDS, "101",
     "Rounds; medians are given."},
    {"batch", 'b', OPTION_INT, offsetof(struct options, batch), "N", 1, 1024, "1",
     "Samples per call."},
    {0},
};

struct work {
  const struct options *options;
  ex_model *model;
  ex_plan *plan;
  ex_compiled *compiled;
  ex_lane *lane;
  ex_engine *engine[EX_MAX_POINTS]; /* one for each exit */
  float *x;
  struct ex_result *results;
  int64_t *ns[EX_MAX_POINTS]; /* [rounds] */
  struct ex_cost cost;
};

static void close_work(struct work *work) {
  for (int32_t i = 0; i < EX_MAX_POINTS; i++) {
    ex_engine_free(work->engine[i]);
    ex__free(work->ns[i]);
  }
  ex__free(work->x);
  ex__free(work->results);
  ex__lane_free(work->lane);
  ex__compiled_free(work->compiled);
  ex__plan_free(work->plan);
  ex_model_free(work->model);
}

static enum ex_status open_engine(struct work *work, int32_t exit, struct ex_error *err) {
  ex_policy policy;
  char value[32];
  snprintf(value, sizeof value, "exit=%d", (int)exit);
  struct assignments set = {.n = 1, .text = {value}};
  EX_TRY(open_policy(work->model, "fixed", &set, &policy, err));
  const struct ex_engine_options options = {.size = sizeof options,
                                            .threads = console_threads(&work->options->common),
                                            .max_batch = (int32_t)work->options->batch};
  return ex__engine_new(work->model, &policy, &options, &work->engine[exit], err);
}

static enum ex_status reserve(struct work *work, struct ex_error *err) {
  size_t features = (size_t)ex__shape_count(&work->model->net->input);
  size_t n = (size_t)work->options->batch;
  work->x = ex__calloc(n * features, sizeof *work->x);
  work->results = ex__calloc(n, sizeof *work->results);
  bool enough = work->x != NULL && work->results != NULL;
  for (int32_t i = 0; i < work->model->net->n_points; i++) {
    work->ns[i] = ex__calloc((size_t)work->options->rounds, sizeof *work->ns[i]);
    enough = enough && work->ns[i] != NULL;
  }
  if (!enough) return ex__fail(err, EX_ENOMEM, "bench: no memory for %zu inputs", n);
  struct ex_random random = ex__random_seed((uint64_t)work->options->common.seed, 0);
  for (size_t i = 0; i < n * features; i++) work->x[i] = (float)(255 * ex__random_uniform(&random));
  return EX_OK;
}

static void run_round(struct work *work, int64_t round) {
  int32_t n_points = work->model->net->n_points;
  for (int32_t i = 0; i < n_points; i++) {
    int32_t exit = (int32_t)((i + round) % n_points);
    int64_t start = ex__now_ns();
    if (work->options->batch == 1)
      ex_engine_run(work->engine[exit], work->x, work->results);
    else
      ex_engine_run_many(work->engine[exit], work->x, (int32_t)work->options->batch, work->results);
    work->ns[exit][round] = ex__now_ns() - start;
  }
}

static int ascending(const void *a, const void *b) {
  int64_t x = *(const int64_t *)a, y = *(const int64_t *)b;
  return (x > y) - (x < y);
}

static enum ex_status bench(struct work *work, const char *path, struct ex_error *err) {
  EX_TRY(ex__model_read(path, &work->model, err));
  EX_TRY(open_compiled(work->model, 1, &work->plan, &work->compiled, err));
  EX_TRY(ex__lane_new(work->compiled, &work->lane, err));
  EX_TRY(reserve(work, err));
  ex__net_cost(work->model->net, &work->cost);
  ex__lane_measure(work->lane, work->x, (int32_t)work->options->rounds, &work->cost);
  for (int32_t i = 0; i < work->model->net->n_points; i++) EX_TRY(open_engine(work, i, err));
  for (int64_t round = 0; round < work->options->rounds; round++) run_round(work, round);
  for (int32_t i = 0; i < work->model->net->n_points; i++)
    qsort(work->ns[i], (size_t)work->options->rounds, sizeof *work->ns[i], ascending);
  return EX_OK;
}

/* Of the bodies that an exit needs and those before it do not. */
static int64_t own_body_ns(const struct work *work, int32_t exit) {
  uint32_t before = 0;
  for (int32_t p = 0; p < exit; p++) before |= ex__net_bodies(work->model->net, p);
  return ex__sum_over(work->cost.body_ns, ex__net_bodies(work->model->net, exit) & ~before);
}

static json_t *result(const struct work *work) {
  int64_t rounds = work->options->rounds, batch = work->options->batch;
  json_t *exits = json_array();
  for (int32_t i = 0; i < work->model->net->n_points; i++) {
    const int64_t *ns = work->ns[i];
    json_array_append_new(
        exits,
        json_pack("{s:i, s:I, s:I, s:I, s:I, s:I, s:{s:I, s:I, s:I}}", "exit", (int)i, "macs",
                  (json_int_t)work->cost.direct_macs[i], "body_ns",
                  (json_int_t)own_body_ns(work, i), "head_ns", (json_int_t)work->cost.head_ns[i],
                  "gate_ns", (json_int_t)work->cost.gate_ns[i], "ns",
                  (json_int_t)(ns[rounds / 2] / batch), "engine_ns", "minimum",
                  (json_int_t)(ns[0] / batch), "median", (json_int_t)(ns[rounds / 2] / batch),
                  "maximum", (json_int_t)(ns[rounds - 1] / batch)));
  }
  return json_pack("{s:i, s:i, s:i, s:o}", "batch", (int)batch, "rounds", (int)rounds, "threads",
                   (int)console_threads(&work->options->common), "exits", exits);
}

static void print_text(const struct work *work) {
  char a[24], b[24], c[24], d[16];
  int32_t n = work->model->net->n_points;
  int64_t rounds = work->options->rounds, median = rounds / 2;
  double full = (double)work->ns[n - 1][median];
  printf("per input, medians of %d rounds, batch %d; body and head: one thread, one input\n"
         "exit        body        head  multiply-adds  straight there  of full depth\n",
         (int)rounds, (int)work->options->batch);
  for (int32_t i = 0; i < n; i++)
    printf("%4d  %10s  %10s  %13s  %14s  %11.2f\n", (int)i + 1,
           console_ns((double)own_body_ns(work, i), a),
           console_ns((double)work->cost.head_ns[i], b),
           console_macs((double)work->cost.direct_macs[i], d),
           console_ns((double)work->ns[i][median] / (double)work->options->batch, c),
           (double)work->ns[i][median] / full);
}

static int run(const void *given, char *const *arguments, int32_t n) {
  (void)n;
  struct work work = {.options = given};
  struct ex_error err = {0};
  int code = EXIT_SUCCESS;
  if (bench(&work, arguments[0], &err) != EX_OK)
    code = console_fail(&command_bench, &err);
  else if (work.options->common.json)
    code = console_json(&command_bench, result(&work));
  else
    print_text(&work);
  close_work(&work);
  return code;
}

const struct command command_bench = {
    .name = "bench",
    .arguments = "MODEL",
    .summary = "wall clock per stage and exit, against full depth",
    .help = "Times every body and head alone, and the engine sent straight to each exit, by\n"
            "turns, on random input. `make bench` compares with other systems.",
    .options = table,
    .size = sizeof(struct options),
    .min_arguments = 1,
    .max_arguments = 1,
    .run = run,
};
