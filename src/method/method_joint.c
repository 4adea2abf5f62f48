/* SPDX-License-Identifier: Apache-2.0
 *
 * method/joint: all exits at once, L = Σ w_k · CE_k over the trained exits.
 *
 * BranchyNet (Teerapittayanon, McDanel, Kung, ICPR 2016) with fixed weights,
 * by default equal; the paper divides each CE by the number of classes, which
 * only rescales and is left out. Its authors found weights of 1.0 at the first
 * and 0.3 at the last exit of a B-AlexNet about a point better than equal ones
 * (`weights` 1,0.3), and begin from a trunk that was trained alone: here that
 * is the recipe's regime, and it is not the default. MSDNet (Huang et al., ICLR
 * 2018) is the same with all weights 1. Linear weights are those of PABEE (Zhou
 * et al., NeurIPS 2020), w_k = k / Σ j, normalised by their sum as there. Ramped
 * weights are those of SDN (Kaya, Hong, Dumitraş, ICML 2019): the last exit has
 * weight 1 and an earlier one
 *
 *     τ_k(e) = min(C_k, 0.01 + e · C_k / E),   e = 1 … E,
 *
 * where C_k is the exit's share of the trunk's work. SDN places its exits at
 * 15, 30, … % and writes these numbers down; here C_k comes from the cost
 * table unless `weights` gives it. Fixed and ramped sums are not normalised:
 * more exits or larger weights mean larger steps, as in those three papers.
 */
#include "method/method.h"

enum joint_form { FORM_FIXED, FORM_LINEAR, FORM_RAMPED };

struct joint {
  int32_t form; /* enum joint_form */
  struct ex_list weights;
  double label_smoothing;
};

static const char *const forms[] = {"fixed", "linear", "ramped", NULL};

static const struct ex_param params[] = {
    {"form", EX_PARAM_ENUM, offsetof(struct joint, form), 0, 0, "fixed", forms,
     "Weights of the exits' losses: as given; growing with the exit's number k as k / sum "
     "(PABEE); growing with the epoch up to the exit's share of the work (SDN)."},
    {"weights", EX_PARAM_LIST, offsetof(struct joint, weights), 0, 1000, "", NULL,
     "One per exit: the fixed weights, or the ceilings of ramped ones; not given: 1 each, or the "
     "exit's share of the work."},
    {"label-smoothing", EX_PARAM_REAL, offsetof(struct joint, label_smoothing), 0, 0.9, "0", NULL,
     "Share of each target that is spread evenly over all classes."},
    {0}};

static enum ex_status check(const void *values, int32_t n_points, struct ex_error *err) {
  const struct joint *joint = values;
  const struct ex_list *weights = &joint->weights;
  if (weights->n == 0) return EX_OK;
  if (joint->form == FORM_LINEAR)
    return ex__fail(err, EX_EINVAL, "joint: weights given with form = linear, which has its own");
  if (weights->n != n_points)
    return ex__fail(err, EX_EINVAL, "joint: %d weights; must be one for each of the %d exits",
                    (int)weights->n, (int)n_points);
  double sum = 0;
  for (int32_t k = 0; k < n_points; k++) sum += weights->value[k];
  if (!(sum > 0)) return ex__fail(err, EX_EINVAL, "joint: all weights are 0; one must be above");
  return EX_OK;
}

static double weight_of(const struct joint *joint, const struct ex_loss_call *call, int32_t k) {
  int32_t n = call->n_points;
  bool given = joint->weights.n > 0;
  switch ((enum joint_form)joint->form) {
    case FORM_FIXED: return given ? joint->weights.value[k] : 1;
    case FORM_LINEAR: return (k + 1) / (0.5 * n * (n + 1.0));
    case FORM_RAMPED: return ex__method_ramp(call, k, given ? joint->weights.value[k] : -1);
  }
  return 1;
}

static double loss(const void *values, void *state, const struct ex_loss_call *call) {
  (void)state;
  const struct joint *joint = values;
  double sum = 0;
  for (int32_t k = 0; k < call->n_points; k++)
    sum += ex__method_cross_entropy(call, k, weight_of(joint, call, k), joint->label_smoothing);
  return sum;
}

const struct ex_method ex__method_joint = {
    .name = "joint",
    .cite = "Teerapittayanon et al., ICPR 2016; Huang et al., ICLR 2018; Kaya et al., ICML 2019; "
            "Zhou et al., NeurIPS 2020",
    .summary = "Trains all exits together on the weighted sum of their losses. A step costs one "
               "forward and one backward pass of the whole network. Choose it first: it is the "
               "baseline of every other method.",
    .params = params,
    .size = sizeof(struct joint),
    .check = check,
    .loss = loss,
};
