/* SPDX-License-Identifier: Apache-2.0
 *
 * method/distillation: Phuong and Lampert, "Distillation-Based Training for
 * Multi-Exit Architectures" (ICCV 2019). The last exit of the same forward pass
 * teaches all earlier ones; with C = alpha and K exits
 *
 *     L = S · { (1 − C) Σ_k CE_k + C Σ_{k<K} T² · H(sg p_K^T, p_k^T) },
 *
 * and T rises by a factor of 1.05 after every batch in which the mean greatest
 * probability of the teacher at T exceeds 0.5. Unlabelled samples count in the
 * second sum alone (method/teaching.h).
 *
 * S, `scale`: joint training gives each exit's labels a weight of 1; here they have
 * S(1 − C), and SGD feels the difference as another learning rate. The authors'
 * S = 2 · 5/K (the baseline's is 1) with C = 0.5 is 1/(1 − C) times a factor for the
 * number of exits. The default is S = 1/(1 − C) alone: labels weigh what they do in
 * joint, the last exit is trained as there, and the teacher comes on top. With
 * S = 1 labels and teacher together weigh what labels do in joint, and the last
 * exit half of that.
 *
 * Deviations: `teachers` = later lets every later exit teach, each pair with
 * weight S · C: the uniform dense distillation which HDKD (method_hdkd.c) is
 * compared with. The temperature has a limit, since with two classes the
 * greatest probability is never below 0.5 and T would grow for ever.
 */
#include "method/teaching.h"

enum teachers { TEACHERS_LAST, TEACHERS_LATER };

struct distillation {
  double alpha, scale;
  int32_t teachers;
  struct ex_temperature temperature;
};

/* Kept over steps. */
struct state {
  double temperature;
};

static const char *const teachers[] = {"last", "later", NULL};

#define FIELD(name) offsetof(struct distillation, name)

static const struct ex_param params[] = {
    {"alpha", EX_PARAM_REAL, FIELD(alpha), 0, 1, "0.5", NULL,
     "Share of the teacher in the loss; the labels have the rest, at the last exit too."},
    {"scale", EX_PARAM_REAL, FIELD(scale), 0, 1000, "0", NULL,
     "Factor on the whole loss; 0: 1 / (1 - alpha), with which labels weigh what they do in joint "
     "(1 where alpha is 1). With 1, labels and teacher together do; the paper took 10 / exits."},
    {"teachers", EX_PARAM_ENUM, FIELD(teachers), 0, 0, "last", teachers,
     "Who teaches an exit: the last one; or every later one, each with the same weight."},
    EX_TEMPERATURE_PARAMS(FIELD(temperature), "1", "true"),
    {0}};

static enum ex_status check(const void *values, int32_t n_points, struct ex_error *err) {
  const struct distillation *own = values;
  (void)n_points;
  return ex__temperature_check("distillation", &own->temperature, err);
}

static void needs(const void *values, const ex_net *net, int32_t batch, int32_t n_steps,
                  struct ex_method_needs *needs) {
  (void)values, (void)net, (void)batch, (void)n_steps;
  needs->state = sizeof(struct state);
}

static void start(const void *values, const ex_net *net, uint64_t seed, void *state) {
  (void)net, (void)seed;
  ((struct state *)state)->temperature = ((const struct distillation *)values)->temperature.first;
}

static double scale_of(const struct distillation *own) {
  if (own->scale > 0) return own->scale;
  return own->alpha < 1 ? 1 / (1 - own->alpha) : 1;
}

static double loss(const void *values, void *state, const struct ex_loss_call *call) {
  const struct distillation *own = values;
  struct state *kept = state;
  struct ex_teaching teaching = {.temperature = kept->temperature};
  int32_t n = call->n_points;
  double scale = scale_of(own);
  for (int32_t k = 0; k < n; k++) teaching.label[k] = scale * (1 - own->alpha);
  for (int32_t t = own->teachers == TEACHERS_LAST ? n - 1 : 1; t < n; t++)
    for (int32_t s = 0; s < t; s++) teaching.teach[t][s] = scale * own->alpha;
  double sum = ex__teaching_loss(call, &teaching);
  kept->temperature = ex__teaching_anneal(call, kept->temperature, &own->temperature);
  return sum;
}

const struct ex_method ex__method_distillation = {
    .name = "distillation",
    .cite = "Phuong and Lampert, ICCV 2019",
    .summary = "Trains all exits together, the earlier ones also on the probabilities of the last "
               "one. A step costs what a step of joint costs. Choose it when labels are few or "
               "many samples have none, or when the first exits are much worse than the last.",
    .params = params,
    .size = sizeof(struct distillation),
    .detached = true,
    .check = check,
    .needs = needs,
    .start = start,
    .loss = loss,
};
