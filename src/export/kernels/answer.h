/* SPDX-License-Identifier: Apache-2.0
 *
 * export/kernels/answer: label and confidence of an exit's outputs.
 */
#ifndef EX_EXPORT_KERNELS_ANSWER_H
#define EX_EXPORT_KERNELS_ANSWER_H

#include "export/kernels/kernel_exponential.h"

/* What an exit says, of outputs z: their softmax is exp(z − most) / sum. */
struct answer {
  int label;          /* class of the largest, the lowest on ties; −1: one is not finite */
  float most, second; /* the largest output and the next */
  float sum;          /* Σ exp(z − most) ≥ 1, in order; the confidence is 1 / sum */
  float weighted;     /* Σ (z − most) · exp(z − most) */
  float gate;         /* score of its gate, for rules that read gates */
  const float *z;
};

/* What a rule decides: an exit so far, whose answer it is; a later one, to which to go;
 * or to go on, to the next exit that the rule looks at. */
enum { GO_ON = -1 };

/* z [n], n > 0 */
static struct answer answer_of(const float *z, int n) {
  struct answer answer = {0, z[0], -0x1.fffffep+127f, 0, 0, 0, z}; /* no next one yet */
  for (int i = 0; i < n; i++) {
    if (z[i] - z[i] != 0) answer.label = -1; /* infinity less itself is not a number */
    if (answer.label < 0) return answer;
    if (i == 0 || z[i] <= answer.second) continue;
    if (z[i] > answer.most) {
      answer.second = answer.most;
      answer.most = z[i];
      answer.label = i;
    } else {
      answer.second = z[i];
    }
  }
  for (int i = 0; i < n; i++) {
    const float e = exponential(z[i] - answer.most);
    answer.sum += e;
    answer.weighted += (z[i] - answer.most) * e;
  }
  return answer;
}

#endif
