/* SPDX-License-Identifier: Apache-2.0
 *
 * report/governing: one pass on the simulated device; on a real one a pass for each
 * way, since its counter of energy is too slow to tell single samples apart.
 *
 * How long work takes on a real processor is foretold from its multiply-adds, at the
 * rate at which full depth runs at the fastest level, and inversely to the frequency.
 * Its voltages are not known; what matters is that a lower level takes less, so they
 * are taken to grow with the frequency.
 */
#include "report/governing.h"

#include <stdlib.h>

#include "base/clock.h"
#include "base/memory.h"
#include "policy/governor.h"
#include "report/evaluation_facts.h"

enum { FULL, RACE, NEXT, ALL, WAYS };
enum { WARM_UP = 10, SWITCHES = 9, REPORT_EVERY = 32 };

static const char *const names[] = {"full", "race", "next", "all"};
static const enum ex_governing governing_of[] = {EX_GOVERN_RACE, EX_GOVERN_RACE, EX_GOVERN_NEXT,
                                                 EX_GOVERN_ALL};

struct sums {
  double ns, joules; /* joules NaN: not told */
  int32_t n, late;
  int64_t changes;
};

struct work {
  const struct ex_governing_job *job;
  ex_engine *rule, *full;
  struct ex_device device;
  double deadline_ns;
  double most_macs, full_macs, first_macs; /* every exit looked at; full depth; to the first */
  int32_t n;
  float *x;
  ex_real *stored;
  int64_t began;
  struct sums sums[WAYS];
};

static void close_work(struct work *work) {
  ex_engine_free(work->rule);
  ex_engine_free(work->full);
  ex__free(work->x);
  ex__free(work->stored);
}

static enum ex_status report(const struct work *work, int32_t done, int32_t total,
                             struct ex_error *err) {
  const struct ex_progress *progress = &work->job->progress;
  const struct ex_progress_event event = {.task = "govern",
                                          .done = done,
                                          .total = total,
                                          .unit = "samples",
                                          .seconds = (double)(ex__now_ns() - work->began) / 1e9};
  bool due = done % REPORT_EVERY == 0 || done == total;
  if (!due || progress->report == NULL || progress->report(progress->context, &event)) return EX_OK;
  return ex__fail(err, EX_ECANCELLED, "govern: stopped after %d of %d samples", (int)done,
                  (int)total);
}

static void read_sample(struct work *work, int32_t i) {
  const struct ex_governing_job *job = work->job;
  int64_t features = ex__data_info(job->data)->features;
  int64_t size = ex__data_size(job->data, job->split);
  ex__data_raw(job->data, job->split, (int32_t)(i * size / work->n), work->stored);
  for (int64_t j = 0; j < features; j++) work->x[j] = (float)work->stored[j];
}

/* ---- simulated ---------------------------------------------------------------- */

struct trip { /* of one sample */
  const struct work *work;
  int32_t n;
  double macs; /* so far */
  struct ex_hop hop[EX_MAX_POINTS];
};

static void note_hop(void *context, const struct ex_engine_step *step) {
  struct trip *trip = context;
  double macs = (double)step->macs;
  trip->hop[trip->n++] = (struct ex_hop){macs - trip->macs, fmax(0, trip->work->most_macs - macs)};
  trip->macs = macs;
}

static void add(struct sums *sums, const struct ex_governed *governed) {
  sums->n++;
  sums->ns += governed->ns;
  sums->joules += governed->joules;
  sums->changes += governed->changes;
  sums->late += governed->missed;
}

static enum ex_status simulate(struct work *work, struct ex_error *err) {
  const struct ex_hop full = {work->full_macs, 0};
  double at_fastest = ex__governor_run(&work->device, &full, 1, INFINITY, EX_GOVERN_RACE).ns;
  work->deadline_ns = work->job->deadline * at_fastest;
  for (int32_t i = 0; i < work->n; i++) {
    struct ex_result result = {.logits = NULL};
    struct trip trip = {.work = work};
    read_sample(work, i);
    enum ex_status status = ex__engine_watch(work->rule, work->x, note_hop, &trip, &result);
    if (status != EX_OK && status != EX_ENOTFINITE)
      return ex__fail(err, status, "govern: sample %d: %s", (int)i, ex_status_text(status));
    for (int32_t way = 0; way < WAYS; way++) {
      struct ex_governed governed =
          ex__governor_run(&work->device, way == FULL ? &full : trip.hop, way == FULL ? 1 : trip.n,
                           work->deadline_ns, governing_of[way]);
      add(&work->sums[way], &governed);
    }
    EX_TRY(report(work, i + 1, work->n, err));
  }
  return EX_OK;
}

/* ---- for real ------------------------------------------------------------------- */

struct drive { /* of one sample, while it runs */
  struct work *work;
  enum ex_governing governing;
  int64_t began;
  int32_t level, changes;
  enum ex_status status; /* of setting frequencies */
};

static void set_level(struct drive *drive, int32_t level) {
  if (level == drive->level || drive->status != EX_OK) return;
  drive->status = ex__cpufreq_set(drive->work->job->cpufreq, level);
  drive->level = level;
  drive->changes++;
}

static void choose_level(struct drive *drive, double macs, double most) {
  const struct work *work = drive->work;
  double left = work->deadline_ns - (double)(ex__now_ns() - drive->began);
  struct ex_hop hop = {macs, drive->governing == EX_GOVERN_ALL ? fmax(0, most - macs) : 0};
  if (drive->governing == EX_GOVERN_RACE) return;
  set_level(drive, ex__governor_choose(&work->device, hop, left, drive->level).level);
}

static void steer(void *context, const struct ex_engine_step *step) {
  struct drive *drive = context;
  if (step->decision.action == EX_LEAVE) return;
  choose_level(drive, (double)step->next_macs, drive->work->most_macs - (double)step->macs);
}

/* Back at the fastest level when it is done, outside the sample's time. */
static enum ex_status drive_sample(struct work *work, int32_t way, int32_t i, struct sums *sums,
                                   struct ex_error *err) {
  int32_t fastest = work->device.n_levels - 1;
  struct ex_result result = {.logits = NULL};
  struct drive drive = {.work = work, .governing = governing_of[way], .level = fastest};
  read_sample(work, i);
  drive.began = ex__now_ns();
  choose_level(&drive, work->first_macs, work->most_macs);
  enum ex_status status =
      ex__engine_watch(way == FULL ? work->full : work->rule, work->x, steer, &drive, &result);
  double ns = (double)(ex__now_ns() - drive.began);
  set_level(&drive, fastest);
  if (drive.status != EX_OK)
    return ex__fail(err, drive.status, "govern: a frequency could not be set: %s",
                    ex_status_text(drive.status));
  if (status != EX_OK && status != EX_ENOTFINITE)
    return ex__fail(err, status, "govern: sample %d: %s", (int)i, ex_status_text(status));
  sums->n++;
  sums->ns += ns;
  sums->changes += drive.changes;
  sums->late += ns > work->deadline_ns;
  return EX_OK;
}

static enum ex_status drive_way(struct work *work, int32_t way, struct ex_error *err) {
  const ex_cpufreq *cpufreq = work->job->cpufreq;
  struct sums warm = {0}, *sums = &work->sums[way];
  double before = 0, after = 0;
  for (int32_t i = 0; i < WARM_UP; i++) EX_TRY(drive_sample(work, way, i % work->n, &warm, err));
  bool told = ex__cpufreq_joules(cpufreq, &before);
  for (int32_t i = 0; i < work->n; i++) {
    EX_TRY(drive_sample(work, way, i, sums, err));
    EX_TRY(report(work, way * work->n + i + 1, WAYS * work->n, err));
  }
  told = told && ex__cpufreq_joules(cpufreq, &after) && after >= before; /* else it began anew */
  sums->joules = told ? after - before : (double)NAN;
  return EX_OK;
}

static int ascending(const void *a, const void *b) {
  double x = *(const double *)a, y = *(const double *)b;
  return (x > y) - (x < y);
}

/* What one change takes from here; whether the processor follows at once it does not say. */
static enum ex_status time_switch(struct work *work, struct ex_error *err) {
  double ns[SWITCHES];
  int32_t fastest = work->device.n_levels - 1;
  for (int32_t i = 0; i <= SWITCHES; i++) {
    int64_t began = ex__now_ns();
    enum ex_status status = ex__cpufreq_set(work->job->cpufreq, i % 2 == 0 ? 0 : fastest);
    if (status != EX_OK) return ex__fail(err, status, "govern: a frequency could not be set");
    if (i < SWITCHES) ns[i] = (double)(ex__now_ns() - began);
  }
  qsort(ns, SWITCHES, sizeof *ns, ascending);
  work->device.switch_ns = ns[SWITCHES / 2];
  return EX_OK;
}

static enum ex_status drive_all(struct work *work, struct ex_error *err) {
  double hz[EX_MAX_FREQUENCIES];
  struct ex_device *device = &work->device;
  *device = (struct ex_device){.n_levels = ex__cpufreq_levels(work->job->cpufreq, hz),
                               .joules_per_mac = 1};
  int32_t fastest = device->n_levels - 1;
  for (int32_t l = 0; l <= fastest; l++) {
    device->level[l].hz = hz[l];
    device->level[l].volts = hz[l] / hz[fastest];
  }
  device->macs_per_cycle = 1; /* until full depth has been timed, which nobody governs */
  work->deadline_ns = INFINITY;
  EX_TRY(time_switch(work, err));
  EX_TRY(drive_way(work, FULL, err));
  double full_ns = work->sums[FULL].ns / work->n;
  device->macs_per_cycle = 1e9 * work->full_macs / full_ns / hz[fastest];
  work->deadline_ns = work->job->deadline * full_ns;
  for (int32_t way = RACE; way < WAYS; way++) EX_TRY(drive_way(work, way, err));
  return EX_OK;
}

/* ---- the whole -------------------------------------------------------------------- */

static enum ex_status open_engines(struct work *work, struct ex_error *err) {
  const struct ex_governing_job *job = work->job;
  const ex_net *net = job->model->net;
  const struct ex_engine_options options = {
      .size = sizeof options, .threads = 1, .max_batch = 1, .untimed = true};
  ex_policy last;
  EX_TRY(ex__policy_init(&last, "fixed", net->n_points, net->n_outputs, err));
  EX_TRY(ex__engine_new(job->model, job->policy, &options, &work->rule, err));
  EX_TRY(ex__engine_new(job->model, &last, &options, &work->full, err));
  const struct ex_cost *cost = ex__engine_cost(work->rule);
  int32_t end = net->n_points - 1;
  work->most_macs = (double)cost->macs[end];
  work->full_macs = (double)cost->direct_macs[end];
  work->first_macs = (double)cost->direct_macs[ex__policy_next(job->policy, -1, end)];
  for (int32_t p = 0; p < net->n_points; p++) /* heads that a later answer needs among them */
    work->most_macs = fmax(work->most_macs, (double)cost->direct_macs[p]);
  return EX_OK;
}

static enum ex_status start(struct work *work, struct ex_error *err) {
  const struct ex_governing_job *job = work->job;
  int64_t size = ex__data_size(job->data, job->split);
  size_t features = (size_t)ex__data_info(job->data)->features;
  if (size == 0)
    return ex__fail(err, EX_EINVAL, "govern: the %s split has no samples; it needs some",
                    ex__split_name(job->split));
  work->n = job->samples < size ? job->samples : (int32_t)size;
  work->x = ex__calloc(features, sizeof *work->x);
  work->stored = ex__calloc(features, sizeof *work->stored);
  if (work->x == NULL || work->stored == NULL)
    return ex__fail(err, EX_ENOMEM, "govern: no memory for an input");
  work->began = ex__now_ns();
  return open_engines(work, err);
}

static json_t *way_json(const struct work *work, int32_t way) {
  const struct sums *sums = &work->sums[way];
  json_t *json = json_pack("{s:s}", "way", names[way]);
  bool ok = ex__put_number(json, "mean_ns", sums->ns / sums->n) &&
            ex__put_number(json, "mean_joules", sums->joules / sums->n) &&
            ex__put_number(json, "late", (double)sums->late / sums->n) &&
            ex__put_number(json, "changes", (double)sums->changes / sums->n) &&
            ex__put_number(json, "energy", sums->joules / work->sums[FULL].joules);
  if (ok) return json;
  json_decref(json);
  return NULL;
}

static bool tell(const struct work *work, json_t *to) {
  json_t *levels = json_array(), *ways = json_array();
  bool ok = ex__put(to, "levels_hz", levels) && ex__put(to, "ways", ways) &&
            ex__put(to, "simulated", json_boolean(work->job->cpufreq == NULL)) &&
            ex__put_number(to, "deadline_ns", work->deadline_ns) &&
            ex__put_number(to, "switch_ns", work->device.switch_ns) &&
            ex__put(to, "n", json_integer(work->n));
  for (int32_t l = 0; ok && l < work->device.n_levels; l++)
    ok = json_array_append_new(levels, json_real(work->device.level[l].hz)) == 0;
  for (int32_t way = 0; ok && way < WAYS; way++)
    ok = json_array_append_new(ways, way_json(work, way)) == 0;
  return ok;
}

enum ex_status ex__govern(const struct ex_governing_job *job, json_t **out, struct ex_error *err) {
  struct work work = {.job = job, .device = ex__device_board};
  *out = NULL;
  enum ex_status status = start(&work, err);
  if (status == EX_OK) status = job->cpufreq != NULL ? drive_all(&work, err) : simulate(&work, err);
  if (status == EX_OK) {
    *out = json_object();
    if (!tell(&work, *out)) {
      json_decref(*out);
      *out = NULL;
      status = ex__fail(err, EX_ENOMEM, "govern: no memory for the figures");
    }
  }
  close_work(&work);
  return status;
}
