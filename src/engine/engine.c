/* SPDX-License-Identifier: Apache-2.0
 *
 * engine/engine: making an engine: options, policy, programs, and all the
 * memory it will ever use. Whatever can fail fails here; running takes from
 * what was reserved.
 *
 * Every sample of a full batch has a state of its own, so that samples at
 * different depths live side by side; each worker has its lane and buffers
 * for one micro-batch. Public numbers are float, the library's are ex_real:
 * they are the same but in the double-precision oracle.
 */
#include "engine/engine.h"

#include <string.h>
#include <unistd.h>

#include "base/memory.h"
#include "engine/engine_internal.h"

enum { DEFAULT_BATCH = 64, MAX_BATCH = 65536, MAX_THREADS = 256, ALIGNED_REALS = 16 };

/* ---- options and policy --------------------------------------------------- */

static int32_t n_processors(void) {
  long n = sysconf(_SC_NPROCESSORS_ONLN);
  return n < 1 ? 1 : n > MAX_THREADS ? MAX_THREADS : (int32_t)n;
}

static enum ex_status read_options(const struct ex_engine_options *given,
                                   struct ex_engine_options *out, struct ex_error *err) {
  *out = (struct ex_engine_options){0};
  if (given != NULL) {
    if (given->size < offsetof(struct ex_engine_options, threads) || given->size > sizeof *out)
      return ex__fail(err, EX_EINVAL, "engine: options.size = %zu; must be sizeof its struct",
                      given->size);
    memcpy(out, given, given->size);
  }
  if (out->threads < 0 || out->threads > MAX_THREADS)
    return ex__fail(err, EX_EINVAL, "engine: threads = %d; must be in [1, %d], or 0 for all",
                    (int)out->threads, MAX_THREADS);
  if (out->max_batch < 0 || out->max_batch > MAX_BATCH)
    return ex__fail(err, EX_EINVAL, "engine: max_batch = %d; must be in [1, %d], or 0 for %d",
                    (int)out->max_batch, MAX_BATCH, DEFAULT_BATCH);
  if (out->threads == 0) out->threads = n_processors();
  if (out->max_batch == 0) out->max_batch = DEFAULT_BATCH;
  return EX_OK;
}

static enum ex_status check_policy(const ex_policy *policy, const ex_net *net,
                                   struct ex_error *err) {
  const struct ex_policy_class *class = policy->class;
  if (policy->n_points != net->n_points || policy->n_outputs != net->n_outputs)
    return ex__fail(err, EX_EINVAL,
                    "%s: made for %d exits and %d outputs; the network has %d and %d", class->name,
                    (int)policy->n_points, (int)policy->n_outputs, (int)net->n_points,
                    (int)net->n_outputs);
  if (class->needs & EX_POLICY_NEEDS_TARGET)
    return ex__fail(err, EX_EINVAL,
                    "%s: reads the true class; it can be replayed on a trace, not run",
                    class->name);
  for (int32_t p = 0; p < net->n_points - 1; p++)
    if ((class->needs & EX_POLICY_NEEDS_GATE) && net->points[p].gate < 0)
      return ex__fail(err, EX_EINVAL, "%s: exit %d has no gate; every exit but the last must",
                      class->name, (int)p);
  return EX_OK;
}

static enum ex_status take_policy(ex_engine *engine, const ex_policy *policy, bool uncalibrated,
                                  struct ex_error *err) {
  const ex_model *model = engine->model;
  if (policy != NULL)
    engine->policy = *policy;
  else if (model->policy != NULL)
    EX_TRY(ex__policy_from_json(model->policy, engine->net->n_points, engine->net->n_outputs,
                                &engine->policy, err));
  else if (uncalibrated)
    return EX_OK;
  else
    return ex__fail(err, EX_EINVAL,
                    "engine: the model has no policy; calibrate it, or set options.uncalibrated "
                    "and name exits by ex_engine_advance");
  engine->has_policy = true;
  engine->gates = (engine->policy.class->needs & EX_POLICY_NEEDS_GATE) != 0;
  return check_policy(&engine->policy, engine->net, err);
}

/* ---- programs ------------------------------------------------------------- */

static int32_t largest_micro_batch(int32_t max_batch) {
  int32_t size = 1;
  while (2 * size <= max_batch && 2 * size <= EX_MICRO_BATCH) size *= 2;
  return size;
}

/* The choices that were stored with the model serve where they fit this machine. */
static enum ex_status take_plan(ex_engine *engine, struct ex_error *err) {
  if (engine->model->plan != NULL)
    return ex__plan_from_json(engine->model->plan, &engine->plan, err);
  if (ex__plan_new(&engine->plan) == EX_OK) return EX_OK;
  return ex__fail(err, EX_ENOMEM, "engine: no memory for a plan");
}

static enum ex_status compile(ex_engine *engine, const struct ex_engine_options *options,
                              struct ex_error *err) {
  if (!options->untimed) EX_TRY(take_plan(engine, err));
  struct ex_compile_options compile = {.backend = EX_BACKEND_FAST,
                                       .threads = 1,
                                       .max_batch = largest_micro_batch(options->max_batch),
                                       .fast = options->fast,
                                       .plan = engine->plan};
  EX_TRY(ex__compiled_new(engine->net, &compile, &engine->compiled, err));
  if (options->untimed || options->threads == 1) return EX_OK;
  compile.threads = options->threads;
  compile.max_batch = 1;
  EX_TRY(ex__compiled_new(engine->net, &compile, &engine->wide, err));
  return ex__lane_new(engine->wide, &engine->wide_lane, err);
}

/* ---- memory --------------------------------------------------------------- */

/* Sizes in ex_real, each padded to whole cache lines. */
struct sizes {
  int64_t state, transform, output, probability, sample; /* sample: all of these */
  int64_t input, raw, worker;
};

static int64_t padded(int64_t n) { return (n + ALIGNED_REALS - 1) / ALIGNED_REALS * ALIGNED_REALS; }

static struct sizes sizes_of(const ex_engine *engine) {
  const ex_net *net = engine->net;
  struct sizes size = {.state = padded(ex__compiled_state_size(engine->compiled)),
                       .transform =
                           padded(ex__transform_state_size(&net->transform, net->n_outputs)),
                       .output = padded((int64_t)net->n_points * net->n_outputs),
                       .probability = padded(net->n_outputs),
                       .input = padded(engine->features),
                       .raw = padded((int64_t)EX_MICRO_BATCH * net->n_outputs)};
  size.sample = size.state + size.transform + size.output + size.probability;
  size.worker = size.input + size.raw;
  return size;
}

static ex_real *place(ex_real **at, int64_t size) {
  ex_real *here = *at;
  *at += size;
  return here;
}

static void place_samples(ex_engine *engine, const struct sizes *size, ex_real **at) {
  size_t scratch = engine->has_policy ? engine->policy.class->scratch_size : 0;
  for (int32_t i = 0; i <= engine->max_batch; i++) {
    struct ex_engine_sample *sample = &engine->samples[i];
    sample->state = place(at, size->state);
    sample->transform = place(at, size->transform);
    sample->output = place(at, size->output);
    sample->probability = place(at, size->probability);
    sample->scratch = (char *)engine->scratch + (size_t)i * EX_MAX_POLICY_SCRATCH;
    if (scratch == 0) sample->scratch = engine->scratch;
  }
}

static void place_workers(ex_engine *engine, const struct sizes *size, ex_real **at) {
  for (int32_t i = 0; i < engine->n_workers; i++) {
    struct ex_engine_worker *worker = &engine->workers[i];
    worker->input = place(at, size->input);
    worker->raw = place(at, size->raw);
    for (int32_t s = 0; s < EX_MAX_SEGMENTS; s++) worker->lane[s] = engine->lanes[i];
  }
  engine->lone = engine->workers[0];
}

static enum ex_status reserve(ex_engine *engine, struct ex_error *err) {
  const struct sizes size = sizes_of(engine);
  size_t n_samples = (size_t)engine->max_batch + 1, n_workers = (size_t)engine->n_workers;
  size_t of_samples, of_workers, total;
  bool fits = ex__mul_size(n_samples, (size_t)size.sample, &of_samples) &&
              ex__mul_size(n_workers, (size_t)size.worker, &of_workers) &&
              ex__add_size(of_samples, of_workers, &total);
  bool scratched = engine->has_policy && engine->policy.class->scratch_size > 0;
  engine->slab = fits ? ex__calloc(total, sizeof(ex_real)) : NULL;
  engine->scratch = ex__calloc(scratched ? n_samples : 1, EX_MAX_POLICY_SCRATCH);
  engine->samples = ex__calloc(n_samples, sizeof *engine->samples);
  engine->workers = ex__calloc(n_workers, sizeof *engine->workers);
  engine->lanes = ex__calloc(n_workers, sizeof *engine->lanes);
  if (engine->slab == NULL || engine->scratch == NULL || engine->samples == NULL ||
      engine->workers == NULL || engine->lanes == NULL ||
      ex__engine_queues_new(engine->net->n_stages, engine->max_batch, &engine->queues) != EX_OK)
    return ex__fail(err, EX_ENOMEM, "engine: no memory for %d samples of %lld bytes",
                    (int)engine->max_batch, (long long)(size.sample * (int64_t)sizeof(ex_real)));
  for (int32_t i = 0; i < engine->n_workers; i++)
    EX_TRY(ex__lane_new(engine->compiled, &engine->lanes[i], err));
  ex_real *at = engine->slab;
  place_samples(engine, &size, &at);
  place_workers(engine, &size, &at);
  return EX_OK;
}

/* ---- making and freeing --------------------------------------------------- */

static void find_points(ex_engine *engine) {
  const ex_net *net = engine->net;
  for (int32_t s = 0; s < net->n_stages; s++) engine->point_of[s] = ex__net_point_of(net, s);
  for (int32_t p = 0; p < net->n_points; p++) {
    engine->bodies[p] = ex__net_bodies(net, p);
    engine->closure[p] = ex__net_closure(net, p);
  }
}

static enum ex_status build(ex_engine *engine, const ex_policy *policy,
                            const struct ex_engine_options *options, struct ex_error *err) {
  const ex_net *net = engine->net;
  engine->ready_input = options->ready_input;
  engine->n_workers = options->threads;
  engine->max_batch = options->max_batch;
  engine->features = ex__shape_count(&net->input);
  find_points(engine);
  ex__net_cost(net, &engine->cost);
  EX_TRY(take_policy(engine, policy, options->uncalibrated, err));
  EX_TRY(compile(engine, options, err));
  EX_TRY(reserve(engine, err));
  EX_TRY(ex__engine_tune(engine, options->untimed, err));
  return ex__pool_new(engine->n_workers, &engine->pool, err);
}

enum ex_status ex__engine_new(const ex_model *model, const ex_policy *policy,
                              const struct ex_engine_options *options, ex_engine **out,
                              struct ex_error *err) {
  *out = NULL;
  struct ex_engine_options read;
  EX_TRY(read_options(options, &read, err));
  ex_engine *engine = ex__calloc(1, sizeof *engine);
  if (engine == NULL) return ex__fail(err, EX_ENOMEM, "engine: no memory");
  engine->model = model;
  engine->net = model->net;
  enum ex_status status = build(engine, policy, &read, err);
  if (status == EX_OK)
    *out = engine;
  else
    ex_engine_free(engine);
  return status;
}

enum ex_status ex_engine_new(const ex_model *model, const struct ex_engine_options *options,
                             ex_engine **engine, struct ex_error *err) {
  if (engine == NULL) return ex__fail(err, EX_EINVAL, "engine: no place for the engine");
  *engine = NULL;
  if (model == NULL) return ex__fail(err, EX_EINVAL, "engine: no model");
  return ex__engine_new(model, NULL, options, engine, err);
}

void ex_engine_free(ex_engine *engine) {
  if (engine == NULL) return;
  ex__pool_free(engine->pool);
  ex__engine_queues_free(engine->queues);
  for (int32_t i = 0; engine->lanes != NULL && i < engine->n_workers; i++)
    ex__lane_free(engine->lanes[i]);
  ex__lane_free(engine->wide_lane);
  ex__compiled_free(engine->wide);
  ex__compiled_free(engine->compiled);
  ex__plan_free(engine->plan);
  ex__free(engine->lanes);
  ex__free(engine->workers);
  ex__free(engine->samples);
  ex__free(engine->scratch);
  ex__free(engine->slab);
  ex__free(engine);
}

/* ---- ledger --------------------------------------------------------------- */

int64_t ex__engine_executed(const ex_engine *engine) {
  int64_t macs = engine->wide_lane != NULL ? ex__lane_executed_macs(engine->wide_lane) : 0;
  for (int32_t i = 0; i < engine->n_workers; i++) macs += ex__lane_executed_macs(engine->lanes[i]);
  return macs;
}

void ex__engine_open(ex_engine *engine, struct ex_engine_worker *workers, int32_t n_workers) {
  engine->executed_before = ex__engine_executed(engine);
  engine->began = engine->profiled ? ex__now_ns() : 0;
  for (int32_t i = 0; i < n_workers; i++) {
    workers[i].ledger = (struct ex_ledger){0};
    workers[i].lap = engine->began;
    workers[i].profiled = engine->profiled;
  }
}

void ex__engine_close(ex_engine *engine, struct ex_engine_worker *workers, int32_t n_workers,
                      int32_t n_samples) {
  struct ex_ledger *sum = &engine->ledger;
  *sum = workers[0].ledger;
  for (int32_t i = 1; i < n_workers; i++) {
    const struct ex_ledger *one = &workers[i].ledger;
    sum->body += one->body;
    sum->head += one->head;
    sum->gate += one->gate;
    sum->input_ns += one->input_ns;
    sum->body_ns += one->body_ns;
    sum->head_ns += one->head_ns;
    sum->gate_ns += one->gate_ns;
    sum->decide_ns += one->decide_ns;
    sum->queue_ns += one->queue_ns;
  }
  sum->samples = n_samples;
  sum->total_ns =
      sum->input_ns + sum->body_ns + sum->head_ns + sum->gate_ns + sum->decide_ns + sum->queue_ns;
  sum->wall_ns = engine->profiled ? ex__now_ns() - engine->began : 0;
}

const struct ex_ledger *ex__engine_ledger(ex_engine *engine) {
  engine->ledger.executed = ex__engine_executed(engine) - engine->executed_before;
  return &engine->ledger;
}

void ex__engine_profile(ex_engine *engine, bool on) { engine->profiled = on; }

const ex_compiled *ex__engine_compiled(const ex_engine *engine) { return engine->compiled; }

const struct ex_cost *ex__engine_cost(const ex_engine *engine) { return &engine->cost; }

/* ---- requests ------------------------------------------------------------- */

bool ex__engine_minds_classes(const ex_engine *engine) {
  return engine->has_policy && (engine->policy.class->needs & EX_POLICY_READS_CLASSES) != 0;
}

enum ex_status ex_engine_request(ex_engine *engine, const struct ex_request *request) {
  if (engine == NULL) return EX_EINVAL;
  const struct ex_request none = {.size = sizeof none};
  if (request == NULL) request = &none;
  if (request->size != sizeof *request) return EX_EINVAL;
  if (request->classes != NULL) {
    if (!ex__engine_minds_classes(engine)) return EX_EUNSUPPORTED;
    if (request->n_classes < 0 || request->n_classes > EX_MAX_LIST) return EX_EINVAL;
    for (int32_t i = 0; i < request->n_classes; i++)
      if (request->classes[i] < 0 || request->classes[i] >= engine->net->n_outputs)
        return EX_EINVAL;
    memcpy(engine->classes, request->classes,
           (size_t)request->n_classes * sizeof *request->classes);
  }
  engine->asks_for_classes = request->classes != NULL;
  engine->n_classes = engine->asks_for_classes ? request->n_classes : 0;
  return EX_OK;
}
