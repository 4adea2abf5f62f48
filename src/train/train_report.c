/* SPDX-License-Identifier: Apache-2.0
 *
 * train/train_report: what a run tells while it goes, and afterwards.
 */
#include <math.h>

#include "base/clock.h"
#include "base/text.h"
#include "train/train_state.h"

static double seconds_of_epoch(const struct ex_training *training) {
  return training->epoch_seconds + (double)(ex__now_ns() - training->since_ns) * 1e-9;
}

/* `epoch`, from 0, is named; its images so far are those of `step` steps. */
static bool report(const struct ex_training *training, int32_t epoch, int32_t step, double seconds,
                   const char *note, bool finished) {
  const struct ex_train_job *job = training->job;
  if (job->progress.report == NULL) return true;
  char task[48];
  snprintf(task, sizeof task, "epoch %d/%d", (int)epoch + 1, (int)job->options->epochs);
  const struct ex_progress_event event = {.task = task,
                                          .done = (int64_t)step * training->batch,
                                          .total = (int64_t)training->n_steps * training->batch,
                                          .unit = "images",
                                          .seconds = seconds,
                                          .note = note,
                                          .finished = finished};
  return job->progress.report(job->progress.context, &event);
}

bool ex__training_report_step(const struct ex_training *training, double loss) {
  char note[48];
  snprintf(note, sizeof note, "loss %.4f", loss);
  return report(training, training->epoch, training->step, seconds_of_epoch(training), note, false);
}

static json_t *number_or_null(double value) {
  return isfinite(value) ? json_real(value) : json_null();
}

bool ex__training_report_epoch(const struct ex_training *training) {
  const json_t *entry = json_array_get(training->epochs, json_array_size(training->epochs) - 1);
  const json_t *accuracy = json_object_get(entry, "select_accuracy");
  struct ex_text note = {0};
  ex__text_add(&note, "loss %.4f", json_number_value(json_object_get(entry, "loss")));
  for (size_t p = 0; p < json_array_size(accuracy); p++)
    ex__text_add(&note, "%s%.2f", p == 0 ? ", select " : " ",
                 100 * json_number_value(json_array_get(accuracy, p)));
  if (json_array_size(accuracy) > 0) ex__text_add(&note, " %%");
  double seconds = json_number_value(json_object_get(entry, "seconds"));
  ex__text_add(&note, ", %.1f s", seconds);
  bool go_on = report(training, training->epoch - 1, training->n_steps, seconds, note.data, true);
  ex__text_clear(&note);
  return go_on;
}

static json_t *per_point(const struct ex_training *training, const double *values) {
  json_t *list = json_array();
  for (int32_t p = 0; list != NULL && p < training->job->net->n_points; p++)
    if (json_array_append_new(list, number_or_null(values[p])) != 0) {
      json_decref(list);
      return NULL;
    }
  return list;
}

enum ex_status ex__training_record(struct ex_training *training,
                                   const struct ex_select_result *result, double learning_rate) {
  static const char *const phase_names[] = {"joint", "heads", "trunk", "none"};
  double point_loss[EX_MAX_POINTS], seconds = seconds_of_epoch(training);
  double images = (double)training->n_steps * training->batch;
  for (int32_t p = 0; p < EX_MAX_POINTS; p++)
    point_loss[p] = training->sums.point_loss[p] / training->sums.point_steps[p];
  json_t *entry =
      json_pack("{s:i, s:s, s:o, s:o, s:f, s:f, s:f}", "epoch", (int)training->epoch + 1, "phase",
                phase_names[training->phases[training->phase].phase], "loss",
                number_or_null(training->sums.loss / training->n_steps), "point_loss",
                per_point(training, point_loss), "learning_rate", learning_rate, "seconds", seconds,
                "images_per_second", seconds > 0 ? images / seconds : 0);
  bool looked = result != NULL && result->n > 0;
  if (entry == NULL ||
      (looked &&
       (json_object_set_new(entry, "select_accuracy", per_point(training, result->quality)) != 0 ||
        json_object_set_new(entry, "select_loss", per_point(training, result->loss)) != 0))) {
    json_decref(entry);
    return EX_ENOMEM;
  }
  return json_array_append_new(training->epochs, entry) == 0 ? EX_OK : EX_ENOMEM;
}

json_t *ex__training_history(const struct ex_training *training) {
  int64_t bytes = 0;
  if (training->stepper != NULL) bytes += ex__stepper_bytes(training->stepper);
  if (training->aside != NULL) bytes += ex__stepper_bytes(training->aside);
  if (training->selector != NULL) bytes += ex__selector_bytes(training->selector);
  int64_t steps = (int64_t)training->epoch * training->n_steps + training->step;
  double seconds = training->seconds + (double)(ex__now_ns() - training->since_ns) * 1e-9;
  struct ex_pass_counts macs = ex__training_macs(training);
  return json_pack("{s:O, s:i, s:I, s:i, s:f, s:I, s:{s:I, s:I}, s:{s:I, s:I}}", "epochs",
                   training->epochs, "best_epoch", (int)training->best_epoch + 1, "steps",
                   (json_int_t)steps, "batch", (int)training->batch, "seconds", seconds, "bytes",
                   (json_int_t)bytes, "passes", "forward", (json_int_t)training->passes.forward,
                   "backward", (json_int_t)training->passes.backward, "macs", "forward",
                   (json_int_t)macs.forward, "backward", (json_int_t)macs.backward);
}
