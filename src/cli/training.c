/* SPDX-License-Identifier: Apache-2.0
 *
 * cli/training: opens what a recipe names, trains, and writes the model with
 * where it came from: recipe, seeds, digests of the data, versions.
 */
#include "cli/training.h"

#include <stdio.h>
#include <string.h>
#include <unistd.h>

#include "base/file.h"
#include "base/memory.h"
#include "cli/console.h"
#include "cli/open.h"

static json_t *provenance(const struct training_job *job, const ex_data *data, json_t *history) {
  char date[11], digest[EX_DIGEST_TEXT];
  console_date(date);
  json_t *splits = json_object();
  for (int split = 0; split < EX_N_SPLITS; split++) {
    if (ex__data_size(data, (enum ex_split)split) == 0) continue;
    if (ex__data_digest(data, (enum ex_split)split, digest) != EX_OK) continue;
    json_object_set_new(splits, ex__split_name((enum ex_split)split),
                        json_pack("{s:i, s:s}", "n", (int)ex__data_size(data, (enum ex_split)split),
                                  "sha256", digest));
  }
  return json_pack("{s:s, s:s, s:I, s:i, s:o, s:O}", "exeunt", ex_version(), "date", date, "seed",
                   (json_int_t)job->seed, "threads", (int)job->threads, "splits", splits,
                   "training", history);
}

struct work { /* what one run opens */
  struct ex_recipe recipe;
  ex_data *data;
  ex_net *net;
  ex_model *model;
  json_t *history;
};

static void close_work(struct work *work) {
  ex_model_free(work->model);
  ex_net_free(work->net);
  ex__data_free(work->data);
  ex__recipe_free(&work->recipe);
  json_decref(work->history);
}

static enum ex_status open_work(const struct training_job *job, struct work *work,
                                struct ex_error *err) {
  EX_TRY(open_recipe(job->recipe, job->set, &work->recipe, err));
  EX_TRY(ex__recipe_open_data(&work->recipe, &work->data, err));
  return ex__recipe_build_net(&work->recipe, work->data, job->seed, &work->net, err);
}

static enum ex_status train(const struct training_job *job, struct work *work, char *checkpoint,
                            struct ex_error *err) {
  const struct ex_train_job train_job = {
      .net = work->net,
      .data = work->data,
      .method = work->recipe.method,
      .method_values = work->recipe.method_values,
      .options = &work->recipe.train,
      .seed = job->seed,
      .threads = job->threads,
      .backend = EX_BACKEND_FAST,
      .layout = EX_LAYOUT_AUTO,
      .plan = NULL, /* timed choices would give other bits in the next run */
      .checkpoint = checkpoint,
      .checkpoint_seconds = job->checkpoint_seconds,
      .resume = job->resume,
      .progress = job->progress,
  };
  return ex__train(&train_job, &work->history, err);
}

static enum ex_status make_model(const struct training_job *job, struct work *work,
                                 struct ex_error *err) {
  const struct ex_data_info *info = ex__data_info(work->data);
  EX_TRY(ex__model_new(work->net, info->preprocess, info->class_names, &work->model, err));
  work->net = NULL; /* the model's now */
  work->model->recipe = json_incref(work->recipe.json);
  work->model->provenance = provenance(job, work->data, work->history);
  return ex__model_write(work->model, job->output, err);
}

static json_t *summarise(const struct training_job *job, const struct work *work) {
  struct ex_cost cost;
  const ex_net *net = work->model->net;
  ex__net_cost(net, &cost);
  json_t *exits = json_array();
  for (int32_t point = 0; point < net->n_points; point++)
    json_array_append_new(exits, json_pack("{s:i, s:I, s:I}", "exit", (int)point, "macs",
                                           (json_int_t)cost.macs[point], "params",
                                           (json_int_t)cost.params[point]));
  return json_pack("{s:s, s:O, s:o}", "model", job->output, "training", work->history, "exits",
                   exits);
}

enum ex_status training_run(const struct training_job *job, json_t **summary,
                            struct ex_error *err) {
  *summary = NULL;
  char beside[512];
  snprintf(beside, sizeof beside, "%s.checkpoint", job->output);
  char *checkpoint = ex__strdup(job->checkpoint != NULL ? job->checkpoint : beside);
  if (checkpoint == NULL) return ex__fail(err, EX_ENOMEM, "train: out of memory");
  struct work work = {0};
  enum ex_status status = open_work(job, &work, err);
  if (status == EX_OK) status = train(job, &work, checkpoint, err);
  if (status == EX_OK) status = make_model(job, &work, err);
  if (status == EX_OK) {
    unlink(checkpoint); /* the model is whole now */
    ex__file_sweep(checkpoint);
    *summary = summarise(job, &work);
    if (*summary == NULL) status = ex__fail(err, EX_ENOMEM, "train: out of memory");
  }
  close_work(&work);
  ex__free(checkpoint);
  return status;
}

void training_print(const json_t *summary) {
  const json_t *training = json_object_get(summary, "training");
  printf("%s: trained in %.0f s, best epoch %lld\n",
         json_string_value(json_object_get(summary, "model")),
         json_number_value(json_object_get(training, "seconds")),
         (long long)json_integer_value(json_object_get(training, "best_epoch")));
  printf("next: exeunt calibrate %s --max-drop 0.5\n",
         json_string_value(json_object_get(summary, "model")));
}
