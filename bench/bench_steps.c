/* SPDX-License-Identifier: Apache-2.0
 *
 * bench/bench_steps: what a training step of a method costs: the trainer of
 * `exeunt train` itself, on the recipe's data, without looks at select and
 * without checkpoints.
 *
 *   bench_steps --methods                       names, each with its parameters'
 *   bench_steps RECIPE THREADS PATH=VALUE...    a worker (bench_worker.h)
 *
 * A call is a step of the trainer: one batch of training samples is due in each,
 * whatever else a method reads in it. A pass is an epoch, which holds whole
 * cycles and turns of a method, and the step's time is the mean over it; beside
 * it stand the multiply-adds that a step executed in that epoch. The first
 * epoch is made before the worker is ready.
 */
#include <stdlib.h>
#include <string.h>

#include "bench_exeunt.h"
#include "train/recipe.h"
#include "train/train_state.h"

struct steps {
  struct ex_recipe recipe;
  ex_data *data;
  ex_net *net;
  struct ex_train_job job;
  struct ex_training training;
  struct ex_pass_counts macs; /* of the last epoch */
};

/* A pass: an epoch. */
static void make_epoch(void *state) {
  struct steps *steps = state;
  struct ex_training *training = &steps->training;
  struct ex_error err;
  struct ex_pass_counts before = ex__training_macs(training);
  double loss;
  for (training->step = 0; training->step < training->n_steps;)
    bench_check(ex__training_step(training, &loss, &err), &err);
  training->epoch++;
  training->step = 0;
  struct ex_pass_counts after = ex__training_macs(training);
  steps->macs.forward = after.forward - before.forward;
  steps->macs.backward = after.backward - before.backward;
}

static void write_macs(void *state, long n, FILE *out) {
  const struct steps *steps = state;
  double n_steps = steps->training.n_steps;
  (void)n;
  fprintf(out, ", \"forward\": %.1f, \"backward\": %.1f", (double)steps->macs.forward / n_steps,
          (double)steps->macs.backward / n_steps);
}

static void open_steps(struct steps *steps, const char *path, int32_t threads,
                       const char *const *assignments, int32_t n) {
  struct ex_error err;
  bench_check(ex__recipe_read(path, assignments, n, &steps->recipe, &err), &err);
  bench_check(ex__recipe_open_data(&steps->recipe, &steps->data, &err), &err);
  bench_check(ex__recipe_build_net(&steps->recipe, steps->data, 1, &steps->net, &err), &err);
  steps->job = (struct ex_train_job){.net = steps->net,
                                     .data = steps->data,
                                     .method = steps->recipe.method,
                                     .method_values = steps->recipe.method_values,
                                     .options = &steps->recipe.train,
                                     .seed = 1,
                                     .threads = threads,
                                     .backend = EX_BACKEND_FAST,
                                     .layout = EX_LAYOUT_AUTO};
  steps->recipe.train.select_every = 0;
  bench_check(ex__training_open(&steps->training, &steps->job, &err), &err);
  bench_check(ex__training_phase(&steps->training, &err), &err);
}

static void list_methods(void) {
  for (int32_t i = 0; ex__method_at(i) != NULL; i++) {
    const struct ex_param *param = ex__method_at(i)->params;
    printf("%s", ex__method_at(i)->name);
    for (; param != NULL && param->name != NULL; param++) printf(" %s", param->name);
    printf("\n");
  }
}

int main(int argc, char **argv) {
  if (argc == 2 && strcmp(argv[1], "--methods") == 0) {
    list_methods();
    return 0;
  }
  if (argc < 3) bench_die("usage: bench_steps --methods, or RECIPE THREADS PATH=VALUE...");
  int32_t threads = (int32_t)strtol(argv[2], NULL, 10);
  struct steps *steps = bench_allocate(1, sizeof *steps);
  open_steps(steps, argv[1], threads, (const char *const *)(argv + 3), argc - 3);
  make_epoch(steps);
  bench_serve(&(struct bench_system){.state = steps,
                                     .description = BENCH_VERSION,
                                     .calls = steps->training.n_steps,
                                     .pass = make_epoch,
                                     .more = write_macs,
                                     .long_pass = true});
  ex__training_clear(&steps->training);
  ex_net_free(steps->net);
  ex__data_free(steps->data);
  ex__recipe_free(&steps->recipe);
  free(steps);
  return 0;
}
