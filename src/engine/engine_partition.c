/* SPDX-License-Identifier: Apache-2.0
 *
 * engine/engine_partition: the cuts of a network behind each of its points, and how a
 * sample is carried over one.
 */
#include <math.h>
#include <string.h>

#include "base/memory.h"
#include "engine/engine_internal.h"
#include "net/cut.h"

struct ex_partition {
  const ex_engine *engine;
  ex_cut *cut[EX_MAX_POINTS];    /* NULL: not allowed */
  uint32_t heads[EX_MAX_POINTS]; /* up to the point, that later ones read: they must have run */
  int32_t transform;             /* elements of the exit transform's running state */
  bool remembers; /* rule or transform: what all heads said crosses, else of those alone */
};

static uint32_t up_to(int32_t bit) { return (uint32_t)((UINT64_C(2) << bit) - 1); }

/* ---- what may cross ------------------------------------------------------------ */

enum ex_status ex__partition_allows(const ex_partition *partition, int32_t point,
                                    struct ex_error *err) {
  const ex_engine *engine = partition->engine;
  const ex_net *net = engine->net;
  if (point < 0 || point > net->n_points - 2)
    return ex__fail(err, EX_EINVAL, "split after exit %d; must be in [0, %d], before the last exit",
                    (int)point, (int)net->n_points - 2);
  uint32_t bodies = up_to(net->points[point].stage);
  for (int32_t p = point + 1; p < net->n_points; p++)
    if ((bodies & ~engine->bodies[p]) != 0)
      return ex__fail(err, EX_EUNSUPPORTED,
                      "split after exit %d: exit %d does without a stage before the cut; all must "
                      "be needed",
                      (int)point, (int)p);
  return EX_OK;
}

enum ex_status ex__partition_pays(const ex_partition *partition, int32_t point,
                                  struct ex_error *err) {
  const ex_engine *engine = partition->engine;
  EX_TRY(ex__partition_allows(partition, point, err));
  int32_t first = ex__engine_first_target(engine);
  if (first <= point) return EX_OK;
  return ex__fail(err, EX_EINVAL,
                  "split after exit %d: the rule %s first looks at exit %d, so nothing would leave "
                  "before the cut; must be %d or later",
                  (int)point, engine->policy.class->name, (int)first, (int)first);
}

enum ex_status ex__partition_check(const ex_partition *partition,
                                   const struct ex_crossing *crossing, struct ex_error *err) {
  const ex_net *net = partition->engine->net;
  EX_TRY(ex__partition_allows(partition, crossing->point, err));
  if (crossing->target <= crossing->point || crossing->target >= net->n_points)
    return ex__fail(err, EX_EINVAL, "cut after exit %d: target = %d; must be in [%d, %d]",
                    (int)crossing->point, (int)crossing->target, (int)crossing->point + 1,
                    (int)net->n_points - 1);
  uint32_t before = up_to(crossing->point);
  uint32_t needed = partition->heads[crossing->point];
  if ((crossing->ran & ~before) != 0 || (needed & ~crossing->ran) != 0 ||
      (crossing->looked & ~crossing->ran) != 0)
    return ex__fail(err, EX_EINVAL,
                    "cut after exit %d: heads 0x%x ran and 0x%x were looked at; must lie within "
                    "0x%x and hold 0x%x",
                    (int)crossing->point, (unsigned)crossing->ran, (unsigned)crossing->looked,
                    (unsigned)before, (unsigned)needed);
  return EX_OK;
}

int64_t ex__partition_memory(const ex_partition *partition, uint32_t ran, uint32_t looked) {
  const ex_engine *engine = partition->engine;
  int64_t gates = engine->gates ? __builtin_popcount(looked) : 0;
  return (int64_t)__builtin_popcount(ran) * engine->net->n_outputs + gates + partition->transform;
}

int64_t ex__partition_values(const ex_partition *partition, int32_t point) {
  return ex__cut_size(partition->cut[point]);
}

int32_t ex__partition_tensors(const ex_partition *partition, int32_t point) {
  return ex__cut_values(partition->cut[point]);
}

const struct ex_shape *ex__partition_tensor(const ex_partition *partition, int32_t point,
                                            int32_t i) {
  return ex__cut_shape(partition->cut[point], i);
}

int64_t ex__partition_most(const ex_partition *partition, int32_t point) {
  uint32_t all = partition->remembers ? up_to(point) : partition->heads[point];
  return ex__partition_memory(partition, all, all) + ex__partition_values(partition, point);
}

int64_t ex__partition_macs(const ex_partition *partition, int32_t point) {
  const ex_engine *engine = partition->engine;
  return ex__sum_over(engine->cost.body_macs, up_to(engine->net->points[point].stage));
}

/* ---- crossing -------------------------------------------------------------------- */

void ex__engine_carry(const ex_engine *engine, struct ex_engine_worker *worker,
                      struct ex_engine_sample *sample, const ex_partition *partition, int32_t point,
                      struct ex_crossing *out) {
  const ex_net *net = engine->net;
  ex__engine_heads(engine, worker, partition->heads[point] & ~sample->ran, sample);
  out->point = point;
  out->target = sample->target;
  out->ran = partition->remembers ? sample->ran : partition->heads[point];
  out->looked = partition->remembers ? sample->looked : 0;
  ex_real *to = out->numbers;
  for (int32_t p = 0; p <= point; p++)
    if (out->ran >> p & 1) {
      memcpy(to, sample->output + (int64_t)p * net->n_outputs, (size_t)net->n_outputs * sizeof *to);
      to += net->n_outputs;
    }
  for (int32_t p = 0; engine->gates && p <= point; p++)
    if (out->looked >> p & 1) *to++ = sample->gates[p];
  memcpy(to, sample->transform, (size_t)partition->transform * sizeof *to);
  ex__cut_pack(partition->cut[point], sample->state, to + partition->transform);
}

/* What a head said, and the gate beside it, as if both had just run. */
static void show_again(const ex_engine *engine, struct ex_engine_sample *sample, int32_t point,
                       const ex_real *output) {
  const ex_net *net = engine->net;
  ex_real *own = sample->output + (int64_t)point * net->n_outputs;
  memcpy(own, output, (size_t)net->n_outputs * sizeof *own);
  net->task->answer(own, net->n_outputs, sample->probability, &sample->answer[point]);
  sample->point = point;
}

void ex__engine_resume(const ex_engine *engine, struct ex_engine_sample *sample,
                       const ex_partition *partition, const struct ex_crossing *crossing,
                       const struct ex_env *env) {
  const ex_net *net = engine->net;
  int32_t ran = __builtin_popcount(crossing->ran), last = -1;
  const ex_real *output = crossing->numbers, *gate = output + (ptrdiff_t)ran * net->n_outputs;
  memset(sample->scratch, 0, engine->policy.class->scratch_size);
  for (int32_t p = 0; p <= crossing->point; p++) {
    if ((crossing->ran >> p & 1) == 0) continue;
    show_again(engine, sample, p, output);
    output += net->n_outputs;
    if ((crossing->looked >> p & 1) == 0) continue;
    last = p;
    sample->gate = engine->gates ? (double)*gate++ : (double)NAN;
    const struct ex_observation seen = ex__engine_observe(engine, sample);
    ex__policy_decide(&engine->policy, sample->scratch, env, &seen);
  }
  memcpy(sample->transform, gate, (size_t)partition->transform * sizeof *gate);
  ex__cut_unpack(partition->cut[crossing->point], gate + partition->transform, sample->state);
  ex__engine_place(engine, sample, crossing);
  sample->point = last;
  sample->gate = NAN;
  sample->macs = 0;
}

void ex__engine_place(const ex_engine *engine, struct ex_engine_sample *sample,
                      const struct ex_crossing *crossing) {
  sample->ran = crossing->ran;
  sample->looked = crossing->looked;
  sample->bodies = up_to(engine->net->points[crossing->point].stage);
  sample->point = sample->exit = -1;
  sample->asked = false;
  sample->target = crossing->target;
}

/* ---- making and freeing ------------------------------------------------------------ */

enum ex_status ex__partition_new(const ex_engine *engine, ex_partition **out,
                                 struct ex_error *err) {
  *out = NULL;
  const ex_net *net = engine->net;
  if (!engine->has_policy)
    return ex__fail(err, EX_EINVAL, "split: the engine has no policy; it must");
  ex_partition *partition = ex__calloc(1, sizeof *partition);
  if (partition == NULL) return ex__fail(err, EX_ENOMEM, "split: no memory");
  partition->engine = engine;
  partition->transform = ex__transform_state_size(&net->transform, net->n_outputs);
  partition->remembers = engine->policy.class->scratch_size > 0 || partition->transform > 0;
  enum ex_status status = EX_OK;
  for (int32_t point = 0; status == EX_OK && point < net->n_points - 1; point++) {
    for (int32_t p = point + 1; p < net->n_points; p++)
      partition->heads[point] |= engine->closure[p] & up_to(point);
    if (ex__partition_allows(partition, point, NULL) == EX_OK)
      status = ex__cut_new(engine->compiled, net->points[point].stage, &partition->cut[point], err);
  }
  if (status == EX_OK)
    *out = partition;
  else
    ex__partition_free(partition);
  return status;
}

void ex__partition_free(ex_partition *partition) {
  if (partition == NULL) return;
  for (int32_t p = 0; p < EX_MAX_POINTS; p++) ex__cut_free(partition->cut[p]);
  ex__free(partition);
}
