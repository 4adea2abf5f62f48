/* SPDX-License-Identifier: Apache-2.0
 *
 * engine/model_public: what exeunt.h tells of a model. It stands here and not
 * in net/ because loading for use checks the policy too, so that "calibrated"
 * means that an engine can run it.
 */
#include <string.h>

#include "net/model.h"
#include "policy/policy.h"

static enum ex_status check_policy(const ex_model *model, struct ex_error *err) {
  ex_policy policy;
  if (model->policy == NULL) return EX_OK;
  return ex__policy_from_json(model->policy, model->net->n_points, model->net->n_outputs, &policy,
                              err);
}

enum ex_status ex_model_load(const char *path, ex_model **model, struct ex_error *err) {
  if (model == NULL) return ex__fail(err, EX_EINVAL, "model: no place for the model");
  *model = NULL;
  if (path == NULL) return ex__fail(err, EX_EINVAL, "model: no path");
  EX_TRY(ex__model_read(path, model, err));
  enum ex_status status = check_policy(*model, err);
  if (status == EX_OK) return EX_OK;
  ex_model_free(*model);
  *model = NULL;
  return ex__wrap(err, status, "%s", path);
}

enum ex_status ex_model_describe(const ex_model *model, struct ex_model_info *info) {
  if (model == NULL || info == NULL || info->size <= offsetof(struct ex_model_info, n_exits) ||
      info->size > sizeof *info)
    return EX_EINVAL;
  const ex_net *net = model->net;
  struct ex_cost cost;
  ex__net_cost(net, &cost);
  struct ex_model_info full = {.size = info->size,
                               .n_exits = net->n_points,
                               .n_outputs = net->n_outputs,
                               .rank = net->input.rank,
                               .full_macs = cost.direct_macs[net->n_points - 1],
                               .calibrated = model->policy != NULL};
  for (int32_t i = 0; i < net->input.rank && i < 3; i++) full.dim[i] = net->input.dim[i];
  memcpy(info, &full, info->size); /* a caller that knows fewer fields gets those */
  return EX_OK;
}

const char *ex_model_label(const ex_model *model, int32_t label) {
  if (model == NULL || label < 0 || label >= model->net->n_outputs) return NULL;
  return model->labels[label];
}

int64_t ex_model_exit_macs(const ex_model *model, int32_t exit) {
  if (model == NULL || exit < 0 || exit >= model->net->n_points) return -1;
  struct ex_cost cost;
  ex__net_cost(model->net, &cost);
  return cost.macs[exit];
}
