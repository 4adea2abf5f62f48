/* SPDX-License-Identifier: Apache-2.0
 *
 * engine/engine_partition: may a network be split after a point, under its rule?
 *
 * What the second machine does not get it must not need. So a rule that keeps
 * scratch is refused, not silently started anew: it would leave elsewhere than
 * the whole model does.
 */
#include "engine/partition.h"

#include <math.h>

#include "base/memory.h"
#include "engine/engine_internal.h"

struct ex_partition {
  int32_t point, stage;
  ex_cut *cut;
};

static enum ex_status check_rule(const ex_engine *engine, int32_t point, struct ex_error *err) {
  if (!engine->has_policy)
    return ex__fail(err, EX_EINVAL, "split: the engine has no policy; it must");
  const struct ex_policy_class *class = engine->policy.class;
  if (class->scratch_size > 0)
    return ex__fail(err, EX_EUNSUPPORTED,
                    "split: the rule %s remembers earlier exits, and its memory does not travel; "
                    "must be a rule that looks at one exit alone",
                    class->name);
  int32_t first = ex__engine_first_target(engine);
  if (first > point)
    return ex__fail(err, EX_EUNSUPPORTED,
                    "split after exit %d: the rule %s first looks at exit %d; must be split there "
                    "or later",
                    (int)point, class->name, (int)first);
  return EX_OK;
}

static enum ex_status check_net(const ex_engine *engine, int32_t point, struct ex_error *err) {
  const ex_net *net = engine->net;
  uint32_t heads = (UINT32_C(2) << point) - 1;
  uint32_t bodies = (uint32_t)((UINT64_C(2) << net->points[point].stage) - 1);
  if (ex__transform_state_size(&net->transform, net->n_outputs) > 0)
    return ex__fail(err, EX_EUNSUPPORTED,
                    "split: the model's exits are combined with earlier ones, which do not travel");
  for (int32_t p = point + 1; p < net->n_points; p++) {
    if ((engine->closure[p] & heads) != 0)
      return ex__fail(
          err, EX_EUNSUPPORTED,
          "split after exit %d: exit %d reads heads before the cut, which do not travel",
          (int)point, (int)p);
    if ((bodies & ~engine->bodies[p]) != 0)
      return ex__fail(err, EX_EUNSUPPORTED,
                      "split after exit %d: exit %d does without a stage before the cut; all must "
                      "be needed",
                      (int)point, (int)p);
  }
  return EX_OK;
}

enum ex_status ex__partition_new(const ex_engine *engine, int32_t point, ex_partition **out,
                                 struct ex_error *err) {
  *out = NULL;
  if (point < 0 || point > engine->net->n_points - 2)
    return ex__fail(err, EX_EINVAL, "split: exit %d; must be in [0, %d], before the last exit",
                    (int)point, (int)engine->net->n_points - 2);
  EX_TRY(check_rule(engine, point, err));
  EX_TRY(check_net(engine, point, err));
  ex_partition *split = ex__calloc(1, sizeof *split);
  if (split == NULL) return ex__fail(err, EX_ENOMEM, "split: no memory");
  split->point = point;
  split->stage = engine->net->points[point].stage;
  enum ex_status status = ex__cut_new(engine->compiled, split->stage, &split->cut, err);
  if (status == EX_OK)
    *out = split;
  else
    ex__partition_free(split);
  return status;
}

void ex__partition_free(ex_partition *split) {
  if (split == NULL) return;
  ex__cut_free(split->cut);
  ex__free(split);
}

const ex_cut *ex__partition_cut(const ex_partition *split) { return split->cut; }
int32_t ex__partition_point(const ex_partition *split) { return split->point; }
int32_t ex__partition_stage(const ex_partition *split) { return split->stage; }

void ex__engine_resume(const ex_engine *engine, struct ex_engine_sample *sample,
                       const ex_partition *split, const ex_real *plain, int32_t target) {
  ex__transform_start(&engine->net->transform, engine->net->n_outputs, sample->transform);
  ex__cut_unpack(split->cut, plain, sample->state);
  sample->ran = 0;
  sample->bodies = (uint32_t)((UINT64_C(2) << split->stage) - 1);
  sample->point = sample->exit = -1;
  sample->gate = NAN;
  sample->asked = false;
  sample->macs = 0;
  sample->target = target;
}
