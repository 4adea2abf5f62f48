/* SPDX-License-Identifier: Apache-2.0
 *
 * serve/metrics: a metric is a name, what it says, and a function that writes
 * its lines for one model; each name's help comes once, before all models.
 */
#include "serve/metrics.h"

#include <math.h>

struct view {
  ex_service *service;
  const struct ex_statistics *counts;
  struct ex_pipeline_stats pipeline;
  struct ex_drift_view drift;
  int32_t n_exits, n_stages;
  struct ex_text *text;
};

static void line(const struct view *view, const char *name, const char *labels, int64_t value) {
  ex__text_add(view->text, "exeunt_%s{model=\"%s\"%s} %lld\n", name, view->service->name, labels,
               (long long)value);
}

static void real_line(const struct view *view, const char *name, const char *labels, double value) {
  if (isnan(value)) return; /* nothing to tell yet */
  ex__text_add(view->text, "exeunt_%s{model=\"%s\"%s} %.9g\n", name, view->service->name, labels,
               value);
}

static void numbered(const struct view *view, const char *name, const char *what, int32_t index,
                     int64_t value) {
  char labels[48];
  snprintf(labels, sizeof labels, ",%s=\"%d\"", what, (int)index);
  line(view, name, labels, value);
}

static void write_requests(const struct view *view, const char *name) {
  static const char *const ends[EX_REQUEST_ENDS] = {",outcome=\"answered\"", ",outcome=\"wrong\"",
                                                    ",outcome=\"rejected\"", ",outcome=\"late\"",
                                                    ",outcome=\"failed\""};
  for (int i = 0; i < EX_REQUEST_ENDS; i++)
    line(view, name, ends[i], ex__counted(&view->counts->requests[i]));
}

/* The edges 1, 2.5 and 5 of each power of ten are among those that are counted by. */
static void write_latency(const struct view *view, const char *name) {
  int64_t below = 0;
  for (int32_t i = 0; i < EX_LATENCY_BUCKETS; i++) {
    int32_t step = i % EX_LATENCY_PER_DECADE;
    below += ex__counted(&view->counts->latency[i]);
    if (i == EX_LATENCY_BUCKETS - 1 || (step != 0 && step != 4 && step != 7)) continue;
    ex__text_add(view->text, "exeunt_%s_bucket{model=\"%s\",le=\"%.9g\"} %lld\n", name,
                 view->service->name, ex__latency_edge(i), (long long)below);
  }
  ex__text_add(view->text, "exeunt_%s_bucket{model=\"%s\",le=\"+Inf\"} %lld\n", name,
               view->service->name, (long long)below);
  ex__text_add(view->text, "exeunt_%s_sum{model=\"%s\"} %.9g\nexeunt_%s_count{model=\"%s\"} %lld\n",
               name, view->service->name, (double)ex__counted(&view->counts->latency_ns) / 1e9,
               name, view->service->name, (long long)below);
}

static void write_exits(const struct view *view, const char *name) {
  for (int32_t i = 0; i < view->n_exits; i++)
    numbered(view, name, "exit", i, ex__counted(&view->counts->exits[i]));
}
static void write_macs(const struct view *view, const char *name) {
  line(view, name, "", ex__counted(&view->counts->macs));
}
static void write_saved(const struct view *view, const char *name) {
  line(view, name, "", ex__counted(&view->counts->full_macs) - ex__counted(&view->counts->macs));
}
static void write_hurried(const struct view *view, const char *name) {
  line(view, name, "", ex__counted(&view->counts->hurried));
}
static void write_depth(const struct view *view, const char *name) {
  line(view, name, "", view->pipeline.waiting);
}
static void write_capacity(const struct view *view, const char *name) {
  line(view, name, "", view->pipeline.capacity);
}
static void write_rejected(const struct view *view, const char *name) {
  line(view, name, "", ex__counted(&view->counts->requests[EX_REQUEST_REJECTED]));
}
static void write_batches(const struct view *view, const char *name) {
  for (int32_t s = 0; s < view->n_stages; s++)
    numbered(view, name, "stage", s, view->pipeline.batches[s]);
}
static void write_batched(const struct view *view, const char *name) {
  for (int32_t s = 0; s < view->n_stages; s++)
    numbered(view, name, "stage", s, view->pipeline.samples[s]);
}
static void write_shadow(const struct view *view, const char *name) {
  line(view, name, "", ex__counted(&view->counts->shadowed));
}
static void write_disagreed(const struct view *view, const char *name) {
  line(view, name, "", ex__counted(&view->counts->disagreed));
}
static void write_index(const struct view *view, const char *name) {
  real_line(view, name, ",of=\"exit\"", view->drift.index[0]);
  real_line(view, name, ",of=\"confidence\"", view->drift.index[1]);
}
static void write_alarm(const struct view *view, const char *name) {
  line(view, name, "", view->drift.alarm);
}
static void write_later(const struct view *view, const char *name) {
  line(view, name, "", view->drift.later);
}
static void write_reloads(const struct view *view, const char *name) {
  line(view, name, ",outcome=\"loaded\"", ex__counted(&view->counts->reloads));
  line(view, name, ",outcome=\"failed\"", ex__counted(&view->counts->failed_reloads));
}

static void write_upstream(const struct view *view, const char *name) {
  for (int i = 0; i < EX_UPLINK_ENDS; i++) {
    char labels[48];
    snprintf(labels, sizeof labels, ",outcome=\"%s\"", ex__uplink_end[i]);
    line(view, name, labels, ex__counted(&view->counts->upstream[i]));
  }
}
static void write_upstream_bytes(const struct view *view, const char *name) {
  line(view, name, "", ex__counted(&view->counts->upstream_bytes));
}
static void write_upstream_seconds(const struct view *view, const char *name) {
  real_line(view, name, "", (double)ex__counted(&view->counts->upstream_ns) / 1e9);
}

static const struct metric {
  const char *name, *type, *help;
  void (*write)(const struct view *view, const char *name);
} metrics[] = {
    {"requests_total", "counter", "Requests for answers, by how they ended.", write_requests},
    {"request_duration_seconds", "histogram", "From a request's first byte to its answer.",
     write_latency},
    {"exits_total", "counter", "Inputs answered, by the exit whose answer was given.", write_exits},
    {"macs_total", "counter", "Multiply-adds spent on inputs that were answered.", write_macs},
    {"macs_saved_total", "counter", "Multiply-adds that full depth would have spent beyond.",
     write_saved},
    {"hurried_total", "counter", "Inputs that their deadline ended, not the policy.",
     write_hurried},
    {"queue_depth", "gauge", "Inputs inside.", write_depth},
    {"queue_capacity", "gauge", "Inputs inside at most.", write_capacity},
    {"rejected_total", "counter", "Requests that found no room.", write_rejected},
    {"batches_total", "counter", "Micro-batches run, by stage, since the model was loaded.",
     write_batches},
    {"batched_inputs_total", "counter", "Inputs in them.", write_batched},
    {"shadow_total", "counter", "Inputs that went on to full depth unseen.", write_shadow},
    {"shadow_disagreements_total", "counter", "Those that were answered otherwise there.",
     write_disagreed},
    {"drift_index", "gauge", "Population stability index of the last window.", write_index},
    {"drift_alarm", "gauge", "1: the last window was above the limit.", write_alarm},
    {"exits_later", "gauge", "Exits that the drift guard adds to the policy's.", write_later},
    {"upstream_total", "counter",
     "Inputs that crossed the cut to another server, by how that ended.", write_upstream},
    {"upstream_bytes_total", "counter", "Bytes of the bodies that were sent there.",
     write_upstream_bytes},
    {"upstream_seconds_total", "counter", "Time until they were answered, of those that were.",
     write_upstream_seconds},
    {"loads_total", "counter", "Times the model was loaded anew.", write_reloads},
};

static void look(ex_service *service, struct view *view, struct ex_text *text) {
  struct ex_served *served = ex__service_take(service);
  *view = (struct view){.service = service,
                        .counts = &service->statistics,
                        .drift = ex__drift_look(&service->drift),
                        .n_exits = served->info.n_exits,
                        .n_stages = served->model->net->n_stages,
                        .text = text};
  ex__pipeline_stats(served->pipeline, &view->pipeline);
  ex__served_release(served);
}

void ex__metrics_write(ex_service *const *services, int32_t n, struct ex_text *text) {
  for (size_t m = 0; m < sizeof metrics / sizeof *metrics; m++) {
    const struct metric *metric = &metrics[m];
    ex__text_add(text, "# HELP exeunt_%s %s\n# TYPE exeunt_%s %s\n", metric->name, metric->help,
                 metric->name, metric->type);
    for (int32_t i = 0; i < n; i++) {
      struct view view;
      look(services[i], &view, text);
      metric->write(&view, metric->name);
    }
  }
}
