/* SPDX-License-Identifier: Apache-2.0
 *
 * graph/loss: losses on the logits of one exit, each with its gradient.
 *
 * Whatever is summed is summed in double and in index order, so that a loss
 * has the same bits however many threads computed the logits. Cross-entropies
 * go through the logarithm of the sum of exponentials above the greatest
 * logit, which neither overflows nor rounds a small probability to zero
 * before its logarithm is taken. A sample of weight 0 adds nothing at all, so
 * what is not finite in a sample that does not count stays out of the sums.
 *
 * Distillation: Hinton, Vinyals, Dean, "Distilling the Knowledge in a Neural
 * Network" (2015). Its T² keeps gradients of the same size when T changes.
 * The cross-entropy of soft targets is used, not the divergence; they differ
 * by the entropy of the teacher, which has no gradient here.
 */
#include "graph/loss.h"

#include <math.h>
#include <stddef.h>

static double greatest(const ex_real *x, int32_t n) {
  double max = x[0];
  for (int32_t i = 1; i < n; i++)
    if (x[i] > max) max = x[i];
  return max;
}

/* One row of logits, divided by a temperature. */
struct row {
  double max;   /* the greatest logit, before the division */
  double total; /* Σ exp((x − max)/T), ≥ 1 */
  double log_total;
};

static struct row look_at(const ex_real *x, int32_t n, double temperature) {
  struct row row = {.max = greatest(x, n)};
  for (int32_t i = 0; i < n; i++) row.total += exp((x[i] - row.max) / temperature);
  row.log_total = log(row.total);
  return row;
}

static double probability(const struct row *row, double x, double temperature) {
  return exp((x - row->max) / temperature) / row->total;
}

/* −log p, in nats. */
static double surprise(const struct row *row, double x, double temperature) {
  return row->log_total - (x - row->max) / temperature;
}

void ex__softmax(const ex_real *logits, int32_t n, int32_t n_classes, double temperature,
                 ex_real *p) {
  for (int32_t s = 0; s < n; s++, logits += n_classes, p += n_classes) {
    struct row row = look_at(logits, n_classes, temperature);
    for (int32_t c = 0; c < n_classes; c++)
      p[c] = (ex_real)probability(&row, logits[c], temperature);
  }
}

static double weight_of(const ex_real *weight, int32_t sample) {
  return weight != NULL ? weight[sample] : 1;
}

double ex__loss_cross_entropy(const ex_real *logits, int32_t n, int32_t n_classes,
                              const int32_t *target, const ex_real *weight, ex_real *each,
                              ex_real *dlogits) {
  double sum = 0;
  for (int32_t s = 0; s < n; s++, logits += n_classes) {
    double w = weight_of(weight, s), loss = 0;
    if (target[s] >= 0) {
      struct row row = look_at(logits, n_classes, 1);
      loss = surprise(&row, logits[target[s]], 1);
      if (w != 0) sum += w * loss;
      for (int32_t c = 0; dlogits != NULL && w != 0 && c < n_classes; c++)
        dlogits[c] += (ex_real)(w * (probability(&row, logits[c], 1) - (c == target[s])));
    }
    if (each != NULL) each[s] = (ex_real)loss;
    if (dlogits != NULL) dlogits += n_classes;
  }
  return sum;
}

double ex__loss_soft_cross_entropy(const ex_real *logits, int32_t n, int32_t n_classes,
                                   const ex_real *target, const ex_real *weight, ex_real *each,
                                   ex_real *dlogits) {
  double sum = 0;
  for (int32_t s = 0; s < n; s++, logits += n_classes, target += n_classes) {
    double w = weight_of(weight, s), loss = 0, mass = 0;
    struct row row = look_at(logits, n_classes, 1);
    for (int32_t c = 0; c < n_classes; c++) {
      /* 0 · ∞ is 0 here: a class that the target rules out has no say. */
      if (target[c] != 0) loss += target[c] * surprise(&row, logits[c], 1);
      mass += target[c];
    }
    if (w != 0) sum += w * loss;
    for (int32_t c = 0; dlogits != NULL && w != 0 && c < n_classes; c++)
      dlogits[c] += (ex_real)(w * (mass * probability(&row, logits[c], 1) - target[c]));
    if (each != NULL) each[s] = (ex_real)loss;
    if (dlogits != NULL) dlogits += n_classes;
  }
  return sum;
}

double ex__loss_distillation(const ex_real *logits, int32_t n, int32_t n_classes,
                             const ex_real *teacher, double temperature, const ex_real *weight,
                             ex_real *each, ex_real *dlogits) {
  double sum = 0, t = temperature;
  for (int32_t s = 0; s < n; s++, logits += n_classes, teacher += n_classes) {
    double w = weight_of(weight, s), loss = 0;
    struct row row = look_at(logits, n_classes, t), from = look_at(teacher, n_classes, t);
    for (int32_t c = 0; c < n_classes; c++) {
      double goal = probability(&from, teacher[c], t);
      if (goal != 0) loss += t * t * goal * surprise(&row, logits[c], t);
      if (dlogits != NULL && w != 0)
        dlogits[c] += (ex_real)(w * t * (probability(&row, logits[c], t) - goal));
    }
    if (w != 0) sum += w * loss;
    if (each != NULL) each[s] = (ex_real)loss;
    if (dlogits != NULL) dlogits += n_classes;
  }
  return sum;
}

double ex__loss_mse(const ex_real *output, int32_t n, int32_t n_features, const ex_real *target,
                    const ex_real *weight, ex_real *each, ex_real *doutput) {
  double sum = 0;
  for (int32_t s = 0; s < n; s++, output += n_features, target += n_features) {
    double w = weight_of(weight, s), loss = 0;
    for (int32_t i = 0; i < n_features; i++) {
      double error = (double)output[i] - target[i];
      loss += error * error / n_features;
      if (doutput != NULL && w != 0) doutput[i] += (ex_real)(w * 2 * error / n_features);
    }
    if (w != 0) sum += w * loss;
    if (each != NULL) each[s] = (ex_real)loss;
    if (doutput != NULL) doutput += n_features;
  }
  return sum;
}

/* With x the score and y the target: max(x, 0) − x·y + log(1 + e^−|x|). */
double ex__loss_bce(const ex_real *score, int32_t n, int32_t n_features, const ex_real *target,
                    const ex_real *weight, ex_real *each, ex_real *dscore) {
  double sum = 0;
  for (int32_t s = 0; s < n; s++, score += n_features, target += n_features) {
    double w = weight_of(weight, s), loss = 0;
    for (int32_t i = 0; i < n_features; i++) {
      double x = score[i], y = target[i], small = exp(-fabs(x));
      loss += (fmax(x, 0) - x * y + log1p(small)) / n_features;
      double sigmoid = x >= 0 ? 1 / (1 + small) : small / (1 + small);
      if (dscore != NULL && w != 0) dscore[i] += (ex_real)(w * (sigmoid - y) / n_features);
    }
    if (w != 0) sum += w * loss;
    if (each != NULL) each[s] = (ex_real)loss;
    if (dscore != NULL) dscore += n_features;
  }
  return sum;
}
