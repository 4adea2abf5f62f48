/* SPDX-License-Identifier: Apache-2.0
 *
 * train/train_checkpoint: a run on disk: a safetensors file with one array per
 * slab ("params.0", "best.buffers.2", …) and, as metadata "checkpoint", JSON:
 *
 *   format   an integer; another one is refused
 *   run      what the run is made of: network, data, method, options, seed. A
 *            checkpoint of another run is refused, with the first difference
 *   at       position, sums of the epoch so far, best epoch, time spent
 *   history  the epochs that are finished
 *   plan     timed choices, where there are any
 *
 * There is no state of random numbers to store: every draw is a function of
 * (seed, epoch, step, sample). The number of threads is not part of the run,
 * so a run may move to another machine; bits are promised for equal numbers.
 * Like any file, a checkpoint is checked before it is believed.
 */
#include <inttypes.h>
#include <math.h>
#include <string.h>
#include <unistd.h>

#include "base/clock.h"
#include "base/json.h"
#include "base/memory.h"
#include "data/safetensors.h"
#include "train/train_state.h"

enum { FORMAT = 3, MAX_GROUPS = 8 + EX_MAX_KEPT, MAX_KEY = 32 };

/* ---- what a run is made of ------------------------------------------------ */

static enum ex_status digest_json(json_t *json, char text[EX_DIGEST_TEXT]) {
  char *dump = NULL;
  enum ex_status status = json != NULL ? ex__json_dump(json, false, &dump) : EX_ENOMEM;
  ex_digest *digest = status == EX_OK ? ex__digest_new() : NULL;
  if (digest != NULL) {
    ex__digest_add(digest, dump, strlen(dump));
    ex__digest_finish(digest, text);
  }
  ex__free(dump);
  json_decref(json);
  return digest != NULL ? EX_OK : EX_ENOMEM;
}

enum ex_status ex__checkpoint_describe(struct ex_training *training, struct ex_error *err) {
  const struct ex_train_job *job = training->job;
  char net[EX_DIGEST_TEXT], train[EX_DIGEST_TEXT], select[EX_DIGEST_TEXT], seed[32];
  enum ex_status status = digest_json(ex__net_to_json(job->net), net);
  if (status == EX_OK) status = ex__data_digest(job->data, EX_SPLIT_TRAIN, train);
  if (status == EX_OK) status = ex__data_digest(job->data, EX_SPLIT_SELECT, select);
  snprintf(seed, sizeof seed, "%" PRIu64, job->seed);
  if (status == EX_OK)
    training->run = json_pack(
        "{s:s, s:s, s:s, s:s, s:s, s:s, s:i, s:o, s:o}", "network", net, "training samples", train,
        "select samples", select, "seed", seed, "method", job->method->name, "backend",
        job->backend == EX_BACKEND_TWIN ? "twin" : "fast", "layout", (int)job->layout, "parameters",
        ex__param_to_json(job->method->params, job->method_values), "train",
        ex__param_to_json(ex__train_params, job->options));
  if (training->run == NULL)
    return ex__fail(err, EX_ENOMEM, "%s: no memory to describe the run", job->checkpoint);
  return EX_OK;
}

/* Names the first key under which two descriptions differ. */
static enum ex_status refuse_difference(const char *path, const json_t *theirs, const json_t *ours,
                                        struct ex_error *err) {
  const char *key;
  json_t *mine;
  json_object_foreach((json_t *)(uintptr_t)ours, key, mine) {
    const json_t *other = json_object_get(theirs, key);
    if (json_equal(other, mine)) continue;
    if (json_is_object(mine) && json_is_object(other))
      return refuse_difference(path, other, mine, err);
    char *was = other != NULL ? json_dumps(other, JSON_ENCODE_ANY | JSON_REAL_PRECISION(12)) : NULL;
    char *is = json_dumps(mine, JSON_ENCODE_ANY | JSON_REAL_PRECISION(12));
    ex__fail(err, EX_EINVAL,
             "%.80s: it is of another run: %s = %.24s there, %.24s here; resume with the recipe "
             "that it was made by, or remove it",
             path, key, was != NULL ? was : "missing", is != NULL ? is : "?");
    ex__free(was);
    ex__free(is);
    return EX_EINVAL;
  }
  return ex__fail(err, EX_EINVAL, "%.80s: it is of another run", path);
}

/* ---- slabs ----------------------------------------------------------------- */

struct group {
  char name[24];
  ex_slabs *slabs;
};

static int32_t list_groups(const struct ex_training *training, bool with_best,
                           struct group groups[MAX_GROUPS]) {
  int32_t n = 0;
  groups[n++] = (struct group){"params", training->job->net->params};
  groups[n++] = (struct group){"buffers", training->job->net->buffers};
  for (int32_t i = 0; i < training->n_moments; i++, n++) {
    snprintf(groups[n].name, sizeof groups[n].name, "moment%d", (int)i + 1);
    groups[n].slabs = training->moments[i];
  }
  for (int32_t i = 0; i < training->needs.kept; i++, n++) {
    snprintf(groups[n].name, sizeof groups[n].name, "kept%d", (int)i);
    groups[n].slabs = training->kept[i];
  }
  if (with_best) {
    groups[n++] = (struct group){"best.params", training->best_params};
    groups[n++] = (struct group){"best.buffers", training->best_buffers};
  }
  return n;
}

static enum ex_status add_slabs(ex_safetensors_writer *writer, const struct group *group,
                                struct ex_error *err) {
  for (int32_t i = 0; i < group->slabs->n; i++) {
    char key[MAX_KEY];
    snprintf(key, sizeof key, "%.19s.%d", group->name, (int)i);
    EX_TRY(ex__safetensors_add(writer, key, EX_DTYPE_REAL, 1, &group->slabs->size[i],
                               group->slabs->data[i], err));
  }
  return EX_OK;
}

static enum ex_status get_slabs(const ex_safetensors *file, const struct group *group,
                                struct ex_error *err) {
  for (int32_t i = 0; i < group->slabs->n; i++) {
    char key[MAX_KEY];
    const struct ex_array *array;
    snprintf(key, sizeof key, "%.19s.%d", group->name, (int)i);
    EX_TRY(ex__safetensors_get(file, key, EX_DTYPE_REAL, 1, &group->slabs->size[i], &array, err));
    memcpy(group->slabs->data[i], array->data, array->size);
  }
  return EX_OK;
}

/* ---- position -------------------------------------------------------------- */

static json_t *position_to_json(const struct ex_training *training) {
  json_t *points = json_array();
  for (int32_t p = 0; points != NULL && p < training->job->net->n_points; p++)
    if (json_array_append_new(points, json_pack("[f, i]", training->sums.point_loss[p],
                                                (int)training->sums.point_steps[p])) != 0) {
      json_decref(points);
      return NULL;
    }
  double now = (double)(ex__now_ns() - training->since_ns) * 1e-9;
  struct ex_pass_counts macs = ex__training_macs(training);
  return json_pack("{s:i, s:i, s:f, s:o, s:f, s:i, s:f, s:f, s:f, s:I, s:I, s:I, s:I}", "epoch",
                   (int)training->epoch, "step", (int)training->step, "loss", training->sums.loss,
                   "points", points, "level", training->level, "best-epoch",
                   (int)training->best_epoch, "best-quality", training->best_quality, "seconds",
                   training->seconds + now, "epoch-seconds", training->epoch_seconds + now,
                   "forward", (json_int_t)training->passes.forward, "backward",
                   (json_int_t)training->passes.backward, "forward-macs", (json_int_t)macs.forward,
                   "backward-macs", (json_int_t)macs.backward);
}

static enum ex_status read_points(struct ex_training *training, const json_t *at, const char *path,
                                  struct ex_error *err) {
  int32_t n = training->job->net->n_points;
  const json_t *points;
  EX_TRY(ex__json_array(at, "points", path, (size_t)n, &points, err));
  if (json_array_size(points) != (size_t)n)
    return ex__fail(err, EX_EFORMAT, "%s: sums of %zu exits; must be %d", path,
                    json_array_size(points), (int)n);
  for (int32_t p = 0; p < n; p++) {
    const json_t *pair = json_array_get(points, (size_t)p);
    const json_t *loss = json_array_get(pair, 0), *steps = json_array_get(pair, 1);
    if (!json_is_number(loss) || !json_is_integer(steps))
      return ex__fail(err, EX_EFORMAT, "%s: sums of exit %d must be [loss, steps]", path, (int)p);
    training->sums.point_loss[p] = json_number_value(loss);
    training->sums.point_steps[p] = (int32_t)json_integer_value(steps);
  }
  return EX_OK;
}

static enum ex_status read_position(struct ex_training *training, const json_t *json,
                                    const char *path, struct ex_error *err) {
  const json_t *at, *history;
  int64_t epoch, step, best;
  int32_t n_epochs = training->job->options->epochs;
  EX_TRY(ex__json_object(json, "at", path, &at, err));
  EX_TRY(ex__json_int(at, "epoch", path, 0, n_epochs, &epoch, err));
  EX_TRY(ex__json_int(at, "step", path, 0, training->n_steps - 1, &step, err));
  EX_TRY(ex__json_int(at, "best-epoch", path, -1, n_epochs - 1, &best, err));
  EX_TRY(ex__json_real(at, "loss", path, -HUGE_VAL, HUGE_VAL, &training->sums.loss, err));
  EX_TRY(ex__json_real(at, "level", path, -HUGE_VAL, HUGE_VAL, &training->level, err));
  EX_TRY(
      ex__json_real(at, "best-quality", path, -HUGE_VAL, HUGE_VAL, &training->best_quality, err));
  EX_TRY(ex__json_real(at, "seconds", path, 0, HUGE_VAL, &training->seconds, err));
  EX_TRY(ex__json_real(at, "epoch-seconds", path, 0, HUGE_VAL, &training->epoch_seconds, err));
  EX_TRY(ex__json_int(at, "forward", path, 0, INT64_MAX, &training->passes.forward, err));
  EX_TRY(ex__json_int(at, "backward", path, 0, INT64_MAX, &training->passes.backward, err));
  EX_TRY(ex__json_int(at, "forward-macs", path, 0, INT64_MAX, &training->macs.forward, err));
  EX_TRY(ex__json_int(at, "backward-macs", path, 0, INT64_MAX, &training->macs.backward, err));
  EX_TRY(read_points(training, at, path, err));
  EX_TRY(ex__json_array(json, "history", path, (size_t)n_epochs, &history, err));
  json_t *epochs = json_deep_copy(history);
  if (epochs == NULL) return ex__fail(err, EX_ENOMEM, "%s: no memory", path);
  json_decref(training->epochs);
  training->epochs = epochs;
  training->epoch = (int32_t)epoch;
  training->step = (int32_t)step;
  training->best_epoch = (int32_t)best;
  return EX_OK;
}

/* ---- writing --------------------------------------------------------------- */

static enum ex_status add_metadata(ex_safetensors_writer *writer,
                                   const struct ex_training *training, struct ex_error *err) {
  const struct ex_train_job *job = training->job;
  json_t *plan = job->plan != NULL && *job->plan != NULL ? ex__plan_to_json(*job->plan) : NULL;
  json_t *json =
      json_pack("{s:i, s:O, s:o, s:O, s:o*}", "format", FORMAT, "run", training->run, "at",
                position_to_json(training), "history", training->epochs, "plan", plan);
  char *text = NULL;
  enum ex_status status = json != NULL ? ex__json_dump(json, false, &text) : EX_ENOMEM;
  json_decref(json);
  if (status == EX_OK)
    status = ex__safetensors_add_metadata(writer, "checkpoint", text, err);
  else
    ex__fail(err, status, "%s: no memory for its description", job->checkpoint);
  ex__free(text);
  return status;
}

static enum ex_status add_all(ex_safetensors_writer *writer, const struct ex_training *training,
                              struct ex_error *err) {
  struct group groups[MAX_GROUPS];
  int32_t n = list_groups(training, training->best_epoch >= 0, groups);
  EX_TRY(add_metadata(writer, training, err));
  for (int32_t i = 0; i < n; i++) EX_TRY(add_slabs(writer, &groups[i], err));
  int64_t size = (int64_t)training->needs.state;
  if (size == 0) return EX_OK;
  return ex__safetensors_add(writer, "method", EX_DTYPE_U8, 1, &size, training->method_state, err);
}

enum ex_status ex__checkpoint_write(const struct ex_training *training, struct ex_error *err) {
  ex_safetensors_writer *writer = ex__safetensors_writer_new();
  if (writer == NULL) return ex__fail(err, EX_ENOMEM, "checkpoint: no memory");
  enum ex_status status = add_all(writer, training, err);
  if (status == EX_OK) status = ex__safetensors_save(writer, training->job->checkpoint, err);
  ex__safetensors_writer_free(writer);
  return status;
}

/* ---- reading --------------------------------------------------------------- */

static enum ex_status read_plan(const struct ex_train_job *job, const json_t *json,
                                struct ex_error *err) {
  const json_t *stored = json_object_get(json, "plan");
  if (job->plan == NULL || stored == NULL) return EX_OK;
  ex_plan *plan;
  EX_TRY(ex__plan_from_json(stored, &plan, err));
  ex__plan_free(*job->plan);
  *job->plan = plan;
  return EX_OK;
}

static enum ex_status check_run(const struct ex_training *training, const json_t *json,
                                struct ex_error *err) {
  const char *path = training->job->checkpoint;
  const json_t *theirs;
  int64_t format;
  EX_TRY(ex__json_int(json, "format", path, 1, INT32_MAX, &format, err));
  if (format != FORMAT)
    return ex__fail(err, EX_EUNSUPPORTED, "%s: format %d; this version reads %d", path, (int)format,
                    FORMAT);
  EX_TRY(ex__json_object(json, "run", path, &theirs, err));
  if (json_equal(theirs, training->run)) return EX_OK;
  return refuse_difference(path, theirs, training->run, err);
}

static enum ex_status read_arrays(struct ex_training *training, const ex_safetensors *file,
                                  struct ex_error *err) {
  struct group groups[MAX_GROUPS];
  int32_t n = list_groups(training, training->best_epoch >= 0, groups);
  for (int32_t i = 0; i < n; i++) EX_TRY(get_slabs(file, &groups[i], err));
  int64_t size = (int64_t)training->needs.state;
  if (size == 0) return EX_OK;
  const struct ex_array *state;
  EX_TRY(ex__safetensors_get(file, "method", EX_DTYPE_U8, 1, &size, &state, err));
  memcpy(training->method_state, state->data, state->size);
  return EX_OK;
}

static enum ex_status read_file(struct ex_training *training, const ex_safetensors *file,
                                struct ex_error *err) {
  const char *path = training->job->checkpoint;
  const char *text = ex__safetensors_metadata(file, "checkpoint");
  if (text == NULL) return ex__fail(err, EX_EFORMAT, "%s: is not a checkpoint of a training", path);
  json_t *json;
  EX_TRY(ex__json_parse(text, strlen(text), path, &json, err));
  enum ex_status status = check_run(training, json, err);
  if (status == EX_OK) status = read_position(training, json, path, err);
  if (status == EX_OK) status = read_arrays(training, file, err);
  if (status == EX_OK) status = read_plan(training->job, json, err);
  json_decref(json);
  return status;
}

enum ex_status ex__checkpoint_read(struct ex_training *training, struct ex_error *err) {
  const char *path = training->job->checkpoint;
  if (access(path, F_OK) != 0) return EX_ENOTFOUND;
  ex_safetensors *file;
  EX_TRY(ex__safetensors_open(path, &file, err));
  enum ex_status status = read_file(training, file, err);
  ex__safetensors_free(file);
  return status;
}
