/* SPDX-License-Identifier: Apache-2.0
 *
 * policy/gate: see the header.
 */
#include "policy/gate.h"

#include <math.h>

#include "base/memory.h"

const struct ex_gate ex__gate_never = {.on = false, .leave_at = 1},
                     ex__gate_always = {true, -1, {0}};

enum ex_status ex__gate_lesson_new(int32_t capacity, int32_t d, double l2, bool exact,
                                   struct ex_gate_lesson *out) {
  size_t n = (size_t)capacity;
  *out = (struct ex_gate_lesson){.d = d, .l2 = l2, .exact = exact};
  out->feature = ex__calloc(n, sizeof *out->feature);
  out->gain = ex__alloc(n, sizeof *out->gain);
  out->x = ex__alloc(n * (size_t)d, sizeof *out->x);
  out->weight = ex__alloc(n, sizeof *out->weight);
  out->positive = ex__alloc(n, sizeof *out->positive);
  out->scored = ex__alloc(n, sizeof *out->scored);
  if (out->feature != NULL && out->gain != NULL && out->x != NULL && out->weight != NULL &&
      out->positive != NULL && out->scored != NULL)
    return EX_OK;
  ex__gate_lesson_free(out);
  return EX_ENOMEM;
}

void ex__gate_lesson_free(struct ex_gate_lesson *lesson) {
  ex__free(lesson->feature);
  ex__free(lesson->gain);
  ex__free(lesson->x);
  ex__free(lesson->weight);
  ex__free(lesson->positive);
  ex__free(lesson->scored);
  *lesson = (struct ex_gate_lesson){.m = 0};
}

void ex__gate_lesson_add(struct ex_gate_lesson *lesson, const double *feature, double gain) {
  if (!isfinite(gain) || gain == 0) return;
  lesson->feature[lesson->m] = feature;
  lesson->gain[lesson->m] = gain;
  lesson->weight[lesson->m] = fabs(gain);
  lesson->positive[lesson->m++] = gain > 0;
}

/* Features about their mean in units of their spread; a spread of 0 marks one that
 * says nothing. */
static void standardise(struct ex_gate_lesson *lesson, double *mean, double *spread) {
  int32_t d = lesson->d, m = lesson->m;
  for (int32_t j = 0; j < d; j++) mean[j] = spread[j] = 0;
  for (int32_t s = 0; s < m; s++) {
    const double *feature = lesson->feature[s];
    for (int32_t j = 0; j < d; j++) mean[j] += feature[j] / m;
  }
  for (int32_t s = 0; s < m; s++) {
    const double *feature = lesson->feature[s];
    double *x = lesson->x + (int64_t)s * d;
    for (int32_t j = 0; j < d; j++) {
      x[j] = feature[j] - mean[j];
      spread[j] += x[j] * x[j] / m;
    }
  }
  for (int32_t j = 0; j < d; j++) {
    spread[j] = sqrt(spread[j]);
    if (spread[j] <= 1e-12 * (1 + fabs(mean[j]))) spread[j] = 0;
  }
  for (int32_t s = 0; s < m; s++)
    for (int32_t j = 0; j < d; j++) {
      double *x = &lesson->x[(int64_t)s * d + j];
      *x = spread[j] > 0 ? *x / spread[j] : 0;
    }
}

/* The regression's hyperplane in the features' own units; false: it has none. */
static bool regress(struct ex_gate_lesson *lesson, struct ex_gate *gate) {
  int32_t d = lesson->d;
  double mean[EX_MAX_FEATURES], spread[EX_MAX_FEATURES], coefficient[1 + EX_MAX_FEATURES], most = 0;
  standardise(lesson, mean, spread);
  const struct ex_logistic regression = {lesson->m,      d,         lesson->x, lesson->positive,
                                         lesson->weight, lesson->l2};
  ex__logistic_fit(&regression, coefficient);
  *gate = (struct ex_gate){.on = true, .leave_at = -coefficient[0]};
  for (int32_t j = 0; j < d; j++) {
    gate->weight[j] = spread[j] > 0 ? coefficient[1 + j] / spread[j] : 0;
    gate->leave_at += gate->weight[j] * mean[j];
    most = fmax(most, fabs(gate->weight[j]));
  }
  if (!(most > 0)) {
    *gate = coefficient[0] >= 0 ? ex__gate_always : ex__gate_never;
    return false;
  }
  gate->leave_at /= most;
  for (int32_t j = 0; j < d; j++) gate->weight[j] /= most;
  if (fabs(gate->leave_at) <= EX_GATE_REACH) return true;
  *gate = gate->leave_at < 0 ? ex__gate_always : ex__gate_never;
  return false;
}

/* Sets the best threshold of a gate; its gain. */
static double cut(struct ex_gate_lesson *lesson, struct ex_gate *gate) {
  for (int32_t s = 0; s < lesson->m; s++) {
    const double *feature = lesson->feature[s];
    lesson->scored[s] =
        (struct ex_scored){ex__gate_score(gate->weight, feature, lesson->d), lesson->gain[s]};
  }
  struct ex_cut best = ex__best_cut(lesson->scored, lesson->m);
  gate->leave_at = best.at;
  if (isinf(best.at)) *gate = best.at > 0 ? ex__gate_never : ex__gate_always;
  return best.gain;
}

/* The gate on one feature alone, larger or smaller, whichever goes with firing. */
static struct ex_gate alone(const struct ex_gate_lesson *lesson, int32_t j) {
  const int32_t d = lesson->d;
  double side = 0; /* x is about its mean */
  for (int32_t s = 0; s < lesson->m; s++) side += lesson->gain[s] * lesson->x[(int64_t)s * d + j];
  struct ex_gate gate = {.on = true};
  gate.weight[j] = side < 0 ? -1 : 1;
  return gate;
}

static double gain_of_all(const struct ex_gate_lesson *lesson) {
  double sum = 0;
  for (int32_t s = 0; s < lesson->m; s++) sum += lesson->gain[s];
  return sum;
}

static struct ex_gate learn(struct ex_gate_lesson *lesson) {
  struct ex_gate gate, best = ex__gate_never;
  bool sloped = regress(lesson, &gate);
  if (!lesson->exact) return gate;
  double most = 0;
  for (int32_t j = -1; j < lesson->d && sloped; j++) { /* −1: the regression's */
    if (j >= 0) gate = alone(lesson, j);
    double gain = cut(lesson, &gate);
    if (gain <= most) continue;
    most = gain;
    best = gate;
  }
  return !sloped && gain_of_all(lesson) > 0 ? ex__gate_always : best;
}

struct ex_gate ex__gate_learn(struct ex_gate_lesson *lesson) {
  struct ex_gate gate = lesson->m > 0 ? learn(lesson) : ex__gate_never;
  lesson->m = 0;
  return gate;
}
