/* SPDX-License-Identifier: Apache-2.0
 *
 * attach/attach: the steps from a network to one with exits.
 */
#include "attach/attach.h"

#include <string.h>

#include "attach/placement.h"
#include "attach/taps.h"
#include "base/memory.h"
#include "engine/engine.h"
#include "train/train.h"

#define FIELD(name) offsetof(struct ex_attach_options, name)
const struct ex_param ex__attach_params[] = {
    {"exits", EX_PARAM_INT, FIELD(exits), 1, EX_MAX_TAPS, "6", NULL,
     "Exits at most, the last not counted."},
    {"samples", EX_PARAM_INT, FIELD(samples), 1, 100000000, "50000", NULL,
     "Training samples at most that the network is run on, to train heads."},
    {"epochs", EX_PARAM_INT, FIELD(epochs), 1, 10000, "20", NULL,
     "Epochs over them, of the heads alone."},
    {"apart", EX_PARAM_REAL, FIELD(apart), 0, 0.5, "0.04", NULL,
     "Candidates lie at least this share of full depth's multiply-adds apart."},
    {"head-share", EX_PARAM_REAL, FIELD(head_share), 0, 1, "0.01", NULL,
     "A head costs at most this share of the multiply-adds before it."},
    {"drop", EX_PARAM_REAL, FIELD(drop), 0, 100, "0.5", NULL,
     "Percentage points that may be lost while exits are chosen."},
    {"gain", EX_PARAM_REAL, FIELD(gain), 0, 1, "0.01", NULL,
     "An exit that stays saves at least this share of full depth's time."},
    {"unlabelled", EX_PARAM_BOOL, FIELD(unlabelled), 0, 1, "false", NULL,
     "Do not look at labels: what the network says is the truth."},
    {0}};

struct work {
  const struct ex_attach_job *job;
  ex_net *net; /* the trunk: the network without exits */
  struct ex_tap taps[EX_MAX_TAPS];
  int32_t n; /* candidates */
  int32_t kept[EX_MAX_TAPS], n_kept;
  ex_net *heads;
  ex_data *record;  /* what heads read, and labels or the network's answers */
  ex_trace *select; /* outputs of the heads, and the network's, on select */
  struct ex_placement placement;
  bool labelled, same_bits;
};

/* ---- candidates ---------------------------------------------------------------- */

static enum ex_status find_taps(struct work *work, struct ex_error *err) {
  const struct ex_attach_options *options = work->job->options;
  struct ex_cut cuts[EX_MAX_TAPS];
  const ex_net *given = work->job->model->net;
  enum ex_transform_kind kind = given->transform.kind;
  if (kind != EX_TRANSFORM_IDENTITY && kind != EX_TRANSFORM_TEMPERATURE)
    return ex__fail(err, EX_EUNSUPPORTED,
                    "the exits of this network answer together; its last one alone does "
                    "not give its answers");
  EX_TRY(ex__taps_trunk(given, &work->net, err));
  int32_t most = 2 * options->exits < EX_MAX_TAPS ? 2 * options->exits : EX_MAX_TAPS;
  work->n = ex__cuts_find(work->net, options->apart, cuts, most);
  if (work->n < 0) return ex__fail(err, EX_ENOMEM, "out of memory");
  if (work->n == 0)
    return ex__fail(err, EX_EUNSUPPORTED,
                    "the network has no place for an exit: no value that is its only way "
                    "on, %g of full depth from both ends",
                    options->apart);
  for (int32_t i = 0; i < work->n; i++)
    work->taps[i] = ex__tap_sized(work->net, &cuts[i], options->head_share);
  return EX_OK;
}

/* ---- the record ---------------------------------------------------------------- */

static int32_t argmax(const ex_real *x, int32_t n) {
  int32_t best = 0;
  for (int32_t c = 1; c < n; c++)
    if (x[c] > x[best]) best = c;
  return best;
}

static bool is_labelled(const ex_data *data, enum ex_split split) {
  for (int32_t i = 0; i < ex__data_size(data, split); i++)
    if (ex__data_label(data, split, i) < 0) return false;
  return true;
}

static enum ex_status take_samples(const struct work *work, const ex_trace *trace,
                                   struct ex_samples *out, struct ex_error *err) {
  int32_t features = trace->n_outputs, classes = work->net->n_outputs;
  *out = (struct ex_samples){.n = trace->n,
                             .rank = 1,
                             .dim = {features},
                             .dtype = EX_DTYPE_REAL,
                             .x = ex__alloc((size_t)trace->n * (size_t)features, sizeof(ex_real)),
                             .y = ex__alloc((size_t)trace->n, sizeof *out->y),
                             .n_classes = classes};
  if (out->x == NULL || out->y == NULL) {
    ex__samples_free(out);
    return ex__fail(err, EX_ENOMEM, "no memory for %lld samples of %d numbers", (long long)trace->n,
                    (int)features);
  }
  memcpy(out->x, trace->raw, (size_t)trace->n * (size_t)features * sizeof(ex_real));
  for (int32_t i = 0; i < trace->n; i++)
    out->y[i] = work->labelled
                    ? trace->target[i]
                    : argmax(trace->raw + (int64_t)(i + 1) * features - classes, classes);
  return EX_OK;
}

static enum ex_status record_split(const struct work *work, const ex_compiled *compiled,
                                   enum ex_split split, struct ex_samples *out,
                                   struct ex_error *err) {
  ex_trace *trace;
  EX_TRY(ex__trace_record(compiled, work->job->data, split, work->job->threads,
                          &work->job->progress, &trace, err));
  enum ex_status status = take_samples(work, trace, out, err);
  ex__trace_free(trace);
  return status;
}

static enum ex_status record_with(struct work *work, const ex_net *net, struct ex_error *err) {
  const struct ex_compile_options options = {
      .backend = EX_BACKEND_FAST, .threads = 1, .max_batch = EX_MICRO_BATCH};
  struct ex_samples train = {0}, select = {0};
  ex_compiled *compiled;
  EX_TRY(ex__compiled_new(net, &options, &compiled, err));
  enum ex_status status = record_split(work, compiled, EX_SPLIT_TRAIN, &train, err);
  if (status == EX_OK) status = record_split(work, compiled, EX_SPLIT_SELECT, &select, err);
  ex__compiled_free(compiled);
  if (status == EX_OK)
    return ex__data_of(&train, &select, (const char *const *)work->job->model->labels,
                       work->net->n_outputs, &work->record, err);
  ex__samples_free(&train);
  ex__samples_free(&select);
  return status;
}

static enum ex_status record(struct work *work, struct ex_error *err) {
  ex_data *data = work->job->data;
  ex_net *features;
  for (int s = EX_SPLIT_TRAIN; s <= EX_SPLIT_SELECT; s++)
    if (ex__data_size(data, (enum ex_split)s) == 0)
      return ex__fail(err, EX_EINVAL, "the %s split has no samples; it needs some",
                      ex__split_name((enum ex_split)s));
  ex__data_thin(data, EX_SPLIT_TRAIN, work->job->options->samples);
  work->labelled = !work->job->options->unlabelled && is_labelled(data, EX_SPLIT_TRAIN) &&
                   is_labelled(data, EX_SPLIT_SELECT);
  EX_TRY(ex__taps_features(work->net, work->taps, work->n, &features, err));
  enum ex_status status = record_with(work, features, err);
  ex_net_free(features);
  return status;
}

/* ---- training heads ------------------------------------------------------------- */

static struct ex_train_options train_options(const struct work *work) {
  struct ex_train_options options;
  ex__param_defaults(ex__train_params, &options);
  options.epochs = work->job->options->epochs;
  options.batch = 128;
  options.optimiser = EX_ADAMW;
  options.schedule = EX_SCHEDULE_ONE_CYCLE;
  options.learning_rate = 0.003;
  options.weight_decay = 0.01;
  return options;
}

static enum ex_status train(struct work *work, struct ex_error *err) {
  const struct ex_attach_job *job = work->job;
  const struct ex_train_options options = train_options(work);
  const struct ex_method *method = ex__method_find("distillation");
  _Alignas(8) unsigned char values[EX_MAX_METHOD_VALUES] = {0};
  json_t *history = NULL;
  ex__param_defaults(method->params, values);
  EX_TRY(ex__taps_heads(work->net, work->taps, work->n, job->seed, &work->heads, err));
  const struct ex_train_job train_job = {.net = work->heads,
                                         .data = work->record,
                                         .method = method,
                                         .method_values = values,
                                         .options = &options,
                                         .seed = job->seed,
                                         .threads = job->threads,
                                         .backend = EX_BACKEND_FAST,
                                         .layout = EX_LAYOUT_AUTO,
                                         .progress = job->progress};
  enum ex_status status = ex__train(&train_job, &history, err);
  json_decref(history);
  return status;
}

static enum ex_status try_heads(struct work *work, struct ex_error *err) {
  const struct ex_compile_options options = {
      .backend = EX_BACKEND_FAST, .threads = 1, .max_batch = EX_MICRO_BATCH};
  ex_compiled *compiled;
  EX_TRY(ex__compiled_new(work->heads, &options, &compiled, err));
  enum ex_status status = ex__trace_record(compiled, work->record, EX_SPLIT_SELECT,
                                           work->job->threads, NULL, &work->select, err);
  ex__compiled_free(compiled);
  return status;
}

/* ---- placing -------------------------------------------------------------------- */

static enum ex_status make_model(const struct work *work, const int32_t *kept, int32_t n_kept,
                                 ex_model **out, struct ex_error *err) {
  const ex_model *given = work->job->model;
  ex_net *net;
  EX_TRY(ex__taps_attach(work->net, work->taps, kept, n_kept, work->heads, &net, err));
  enum ex_status status =
      ex__model_new(net, &given->preprocess, (const char *const *)given->labels, out, err);
  if (status != EX_OK) ex_net_free(net);
  return status;
}

/* Times of all candidates in one network, as they would run. */
static enum ex_status measure(const struct work *work, struct ex_cost *cost, struct ex_error *err) {
  int32_t all[EX_MAX_TAPS];
  ex_model *model;
  ex_engine *engine;
  for (int32_t i = 0; i < work->n; i++) all[i] = i;
  EX_TRY(make_model(work, all, work->n, &model, err));
  const struct ex_engine_options options = {
      .size = sizeof options, .threads = work->job->threads, .max_batch = 1, .uncalibrated = true};
  enum ex_status status = ex_engine_new(model, &options, &engine, err);
  if (status == EX_OK)
    status = ex__engine_measure_split(engine, work->job->data, EX_SPLIT_SELECT, cost, err);
  ex_engine_free(engine);
  ex_model_free(model);
  return status;
}

static enum ex_status place(struct work *work, struct ex_error *err) {
  struct ex_cost cost;
  EX_TRY(measure(work, &cost, err));
  const struct ex_placement_job job = {.trace = work->select,
                                       .cost = &cost,
                                       .most = work->job->options->exits,
                                       .drop = work->job->options->drop,
                                       .gain = work->job->options->gain};
  EX_TRY(ex__placement_choose(&job, &work->placement, err));
  for (int32_t i = 0; i < work->n; i++)
    if (work->placement.kept[i]) work->kept[work->n_kept++] = i;
  if (work->n_kept > 0) return EX_OK;
  return ex__fail(err, EX_EINFEASIBLE,
                  "of %d places for exits none saves %g of the time while at most %g points are "
                  "lost; allow more points, or ask for less gain",
                  (int)work->n, work->job->options->gain, work->job->options->drop);
}

/* ---- what came out --------------------------------------------------------------- */

static enum ex_status last_outputs(const struct work *work, const ex_net *net, ex_data *data,
                                   ex_trace **out, struct ex_error *err) {
  const struct ex_compile_options options = {
      .backend = EX_BACKEND_FAST, .threads = 1, .max_batch = EX_MICRO_BATCH};
  ex_compiled *compiled;
  EX_TRY(ex__compiled_new(net, &options, &compiled, err));
  enum ex_status status =
      ex__trace_record(compiled, data, EX_SPLIT_TRAIN, work->job->threads, NULL, out, err);
  ex__compiled_free(compiled);
  return status;
}

/* Of full depth, on some training samples; they are not needed any more. */
static enum ex_status compare_bits(struct work *work, const ex_net *made, struct ex_error *err) {
  ex_trace *before = NULL, *after = NULL;
  ex__data_thin(work->job->data, EX_SPLIT_TRAIN, 64);
  enum ex_status status = last_outputs(work, work->net, work->job->data, &before, err);
  if (status == EX_OK) status = last_outputs(work, made, work->job->data, &after, err);
  if (status == EX_OK) {
    size_t count = (size_t)before->n * (size_t)before->n_outputs;
    const ex_real *last =
        after->raw + ex__trace_at(after, made->n_points - 1, 0) * after->n_outputs;
    work->same_bits = memcmp(before->raw, last, count * sizeof(ex_real)) == 0;
  }
  ex__trace_free(before);
  ex__trace_free(after);
  return status;
}

static double share_right(const ex_trace *trace, int32_t point) {
  int32_t right = 0;
  for (int32_t i = 0; i < trace->n; i++)
    right += trace->answer[ex__trace_at(trace, point, i)].label == trace->target[i];
  return (double)right / trace->n;
}

static double share_agreed(const ex_trace *trace, int32_t point) {
  int32_t agreed = 0;
  for (int32_t i = 0; i < trace->n; i++)
    agreed += trace->answer[ex__trace_at(trace, point, i)].label ==
              trace->answer[ex__trace_at(trace, trace->n_points - 1, i)].label;
  return (double)agreed / trace->n;
}

static json_t *describe_candidate(const struct work *work, int32_t i, int64_t full_macs) {
  const struct ex_tap *tap = &work->taps[i];
  const struct ex_placement *placement = &work->placement;
  const struct ex_node *node = ex__graph_node(work->net->graph, tap->value);
  return json_pack("{s:s, s:i, s:I, s:f, s:I, s:I, s:f, s:f, s:f, s:b}", "after", node->op->name,
                   "value", (int)tap->value, "macs", (json_int_t)tap->macs, "share",
                   (double)tap->macs / (double)full_macs, "ns", (json_int_t)placement->ns[i],
                   "head_macs", (json_int_t)ex__tap_macs(tap, work->net->n_outputs), "accuracy",
                   share_right(work->select, i), "agreement", share_agreed(work->select, i),
                   "saved", placement->saved[i], "kept", (int)placement->kept[i]);
}

static json_t *describe(const struct work *work) {
  struct ex_cost cost;
  ex__net_cost(work->net, &cost);
  json_t *candidates = json_array();
  for (int32_t i = 0; i < work->n; i++)
    json_array_append_new(candidates, describe_candidate(work, i, cost.macs[0]));
  return json_pack("{s:{s:I, s:I, s:f}, s:b, s:i, s:b, s:o, s:i}", "full", "macs",
                   (json_int_t)cost.macs[0], "ns", (json_int_t)work->placement.full_ns, "accuracy",
                   share_right(work->select, work->n), "labelled", (int)work->labelled, "samples",
                   (int)ex__data_size(work->record, EX_SPLIT_TRAIN), "same_bits",
                   (int)work->same_bits, "candidates", candidates, "exits", (int)work->n_kept);
}

static enum ex_status run(struct work *work, ex_model **out, json_t **report,
                          struct ex_error *err) {
  EX_TRY(find_taps(work, err));
  EX_TRY(record(work, err));
  EX_TRY(train(work, err));
  EX_TRY(try_heads(work, err));
  enum ex_status status = place(work, err);
  if (status == EX_OK) status = make_model(work, work->kept, work->n_kept, out, err);
  if (status == EX_OK) status = compare_bits(work, (*out)->net, err);
  if (status != EX_OK && status != EX_EINFEASIBLE) return status;
  *report = describe(work);
  return *report != NULL ? status : ex__fail(err, EX_ENOMEM, "out of memory");
}

enum ex_status ex__attach(const struct ex_attach_job *job, ex_model **out, json_t **report,
                          struct ex_error *err) {
  struct work work = {.job = job};
  *out = NULL;
  *report = NULL;
  enum ex_status status = run(&work, out, report, err);
  if (status != EX_OK) {
    ex_model_free(*out);
    *out = NULL;
  }
  ex__trace_free(work.select);
  ex__data_free(work.record);
  ex_net_free(work.heads);
  ex_net_free(work.net);
  return status;
}
