/* SPDX-License-Identifier: Apache-2.0
 *
 * train/train_select: a stepper that trains nothing, over a split in order.
 * The last batch is filled up with samples that were already counted. What is
 * judged are answers, behind the exit transform, as they will be given.
 */
#include "train/train_select.h"

#include "base/memory.h"

struct ex_selector {
  const ex_net *net;
  ex_stepper *stepper;
  int32_t batch;
  int32_t *y;           /* [batch] */
  ex_real *probability; /* [n_outputs] */
  ex_real *answer;      /* [n_outputs] */
  ex_real *state;       /* of the exit transform */
};

enum ex_status ex__selector_new(const ex_net *net, const struct ex_stepper_options *options,
                                ex_selector **out, struct ex_error *err) {
  *out = NULL;
  ex_selector *selector = ex__calloc(1, sizeof *selector);
  if (selector == NULL) return ex__fail(err, EX_ENOMEM, "training: no memory for an evaluation");
  selector->net = net;
  selector->batch = options->batch;
  selector->y = ex__calloc((size_t)options->batch, sizeof *selector->y);
  int32_t state = ex__transform_state_size(&net->transform, net->n_outputs);
  selector->probability = ex__calloc((size_t)net->n_outputs, sizeof *selector->probability);
  selector->answer = ex__calloc((size_t)net->n_outputs, sizeof *selector->answer);
  selector->state = ex__calloc((size_t)state + 1, sizeof *selector->state);
  struct ex_stepper_options frozen = *options;
  frozen.phase = EX_PHASE_NONE;
  enum ex_status status = EX_OK;
  if (selector->y == NULL || selector->probability == NULL || selector->answer == NULL ||
      selector->state == NULL)
    status = ex__fail(err, EX_ENOMEM, "training: no memory for an evaluation");
  else
    status = ex__stepper_new(net, &frozen, &selector->stepper, err);
  if (status == EX_OK)
    *out = selector;
  else
    ex__selector_free(selector);
  return status;
}

void ex__selector_free(ex_selector *selector) {
  if (selector == NULL) return;
  ex__stepper_free(selector->stepper);
  ex__free(selector->y);
  ex__free(selector->probability);
  ex__free(selector->answer);
  ex__free(selector->state);
  ex__free(selector);
}

int64_t ex__selector_bytes(const ex_selector *selector) {
  return ex__stepper_bytes(selector->stepper);
}

/* Samples first … n of the batch count. */
static void add_batch(ex_selector *selector, int32_t first, struct ex_select_result *sum) {
  const ex_net *net = selector->net;
  const ex_real *const *output = ex__stepper_output(selector->stepper);
  for (int32_t i = first; i < selector->batch; i++) {
    int32_t target = selector->y[i];
    if (target < 0) continue;
    sum->n++;
    ex__transform_start(&net->transform, net->n_outputs, selector->state);
    for (int32_t p = 0; p < net->n_points; p++) {
      ex_real *row = selector->answer;
      ex__transform_apply(&net->transform, p, net->n_outputs,
                          output[p] + (int64_t)i * net->n_outputs, selector->state, row);
      struct ex_answer answer;
      net->task->answer(row, net->n_outputs, selector->probability, &answer);
      sum->quality[p] += net->task->quality(&answer, target);
      sum->loss[p] += net->task->loss(row, net->n_outputs, target);
    }
  }
}

void ex__selector_look(ex_selector *selector, const ex_data *data, enum ex_split split,
                       struct ex_select_result *out) {
  const struct ex_pass pass = {.params = selector->net->params};
  int32_t n = ex__data_size(data, split), batch = selector->batch;
  *out = (struct ex_select_result){0};
  if (n < batch) return; /* the caller compiles for no more than there are */
  ex__stepper_repack(selector->stepper);
  for (int32_t done = 0; done < n; done += batch) {
    int32_t first = done + batch <= n ? done : n - batch;
    ex__data_read_range(data, split, first, batch, ex__stepper_input(selector->stepper),
                        selector->y);
    ex__stepper_forward(selector->stepper, &pass);
    add_batch(selector, done - first, out);
  }
  for (int32_t p = 0; p < selector->net->n_points && out->n > 0; p++) {
    out->quality[p] /= out->n;
    out->loss[p] /= out->n;
  }
}
