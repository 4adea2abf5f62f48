/* SPDX-License-Identifier: Apache-2.0
 *
 * export/export_plan: making a plan, in the order in which its parts need each other.
 */
#include "export/export_plan.h"

#include <math.h>
#include <string.h>

#include "base/memory.h"
#include "export/export_transform.h"
#include "export/layer_product.h"

/* A jump leaves out the bodies that neither its goal nor any exit behind it needs: what
 * were made up later would find its inputs overwritten. */
static void find_uses(struct ex_export_plan *plan) {
  const ex_net *net = plan->net;
  for (int32_t p = 0; p < net->n_points; p++) {
    plan->closure[p] = ex__net_closure(net, p);
    plan->last_use[p] = p;
    uint32_t so_far = UINT32_MAX >> (31 - net->points[p].stage);
    for (int32_t q = p; q < net->n_points; q++) plan->bodies[p] |= ex__net_bodies(net, q) & so_far;
  }
  for (int32_t p = 0; p < net->n_points; p++)
    for (int32_t q = p; q < net->n_points; q++)
      if (plan->closure[q] >> p & 1) plan->last_use[p] = q;
}

/* The rule, and what of the network it reads besides answers. */
static enum ex_status find_rule(struct ex_export_plan *plan, struct ex_error *err) {
  const ex_policy *policy = plan->job->policy;
  plan->values_of_rule.policy = policy;
  EX_TRY(ex__export_rule_find(&plan->values_of_rule, &plan->rule, err));
  plan->gates = (policy->class->needs & EX_POLICY_NEEDS_GATE) != 0 && plan->net->n_points > 1;
  for (int32_t p = 0; plan->gates && p < plan->net->n_points - 1; p++)
    if (plan->net->points[p].gate < 0)
      return ex__fail(err, EX_EINVAL, "%s: exit %d has no gate; every exit but the last must",
                      policy->class->name, (int)p);
  if (!plan->gates || !plan->job->int8) return EX_OK;
  return ex__fail(err, EX_EUNSUPPORTED,
                  "exit rule %s reads gates, which cannot be written in int8; leave --int8 out",
                  policy->class->name);
}

/* What lies in front of all values. */
static void reserve(struct ex_export_plan *plan) {
  const ex_net *net = plan->net;
  plan->kept = plan->reserved = ex__transform_reserved(net);
  if (plan->rule->looks_back)
    plan->reserved += (int64_t)sizeof(float) * net->n_points * net->n_outputs;
}

/* What is not a number cannot be written as one. */
static enum ex_status check_numbers(const struct ex_export_plan *plan, struct ex_error *err) {
  const ex_graph *graph = plan->net->graph;
  for (int32_t t = 0; t < ex__graph_n_tensors(graph); t++) {
    const struct ex_tensor_info *info = ex__graph_tensor(graph, t);
    bool buffer = info->role == EX_ROLE_BUFFER;
    const ex_real *data =
        ex__slabs_tensor(buffer ? plan->net->buffers : plan->net->params, graph, t);
    for (int64_t i = 0; i < ex__shape_count(&info->shape); i++)
      if (!isfinite(data[i]))
        return ex__fail(err, EX_ENOTFINITE, "\"%s\" holds %g; must be finite", info->name,
                        (double)data[i]);
  }
  for (int32_t id = 0; id < ex__graph_n_nodes(graph); id++) {
    const struct ex_node *node = ex__graph_node(graph, id);
    if (strcmp(node->op->name, "batch_norm") != 0) continue;
    for (int32_t c = 0; c < node->shape.dim[0]; c++) {
      double factor, shift;
      ex__norm_at(plan, node, c, &factor, &shift);
      if (isfinite(factor) && isfinite(shift)) continue;
      return ex__fail(err, EX_ENOTFINITE,
                      "node %d, batch_norm: the variance of channel %d must be above zero", (int)id,
                      (int)c);
    }
  }
  return EX_OK;
}

static enum ex_status make(struct ex_export_plan *plan, struct ex_error *err) {
  const struct ex_export_c *job = plan->job;
  if (!ex__export_name_is_good(job->name))
    return ex__fail(err, EX_EINVAL, "name \"%.60s\"; must be [a-z][a-z0-9_]*, shorter than %d",
                    job->name, EX_EXPORT_NAME_SIZE);
  EX_TRY(ex__input_check(plan, err));
  EX_TRY(check_numbers(plan, err));
  EX_TRY(find_rule(plan, err));
  find_uses(plan);
  reserve(plan);
  EX_TRY(ex__export_lower(plan, err));
  if (job->int8) EX_TRY(ex__export_ranges(plan, err));
  return ex__export_place(plan, err);
}

enum ex_status ex__export_plan_new(const struct ex_export_c *job, struct ex_export_plan **out,
                                   struct ex_error *err) {
  *out = NULL;
  struct ex_export_plan *plan = ex__calloc(1, sizeof *plan);
  if (plan == NULL) return ex__fail(err, EX_ENOMEM, "export: no memory");
  plan->job = job;
  plan->net = job->model->net;
  enum ex_status status = make(plan, err);
  if (status == EX_OK)
    *out = plan;
  else
    ex__export_plan_free(plan);
  return status;
}

void ex__export_plan_free(struct ex_export_plan *plan) {
  if (plan == NULL) return;
  ex__free(plan->steps);
  ex__free(plan->values);
  ex__free(plan->value_of);
  ex__free(plan->readers);
  ex__free(plan->ordered);
  ex__free(plan);
}
