/* SPDX-License-Identifier: Apache-2.0
 *
 * serve/drift: windows, indices, and what follows from them.
 */
#include "serve/drift.h"

#include <math.h>
#include <string.h>

void ex__drift_init(struct ex_drift *drift, int32_t window, double limit, bool act) {
  pthread_mutex_init(&drift->lock, NULL);
  drift->window = window;
  drift->limit = limit;
  drift->act = act;
  drift->view.index[0] = drift->view.index[1] = NAN;
}

void ex__drift_free(struct ex_drift *drift) { pthread_mutex_destroy(&drift->lock); }

/* Shares that are not negative and sum to 1; false: they are not there. */
static bool read_shares(const json_t *shares, int32_t n, double *out) {
  double sum = 0;
  if (json_array_size(shares) != (size_t)n) return false;
  for (int32_t i = 0; i < n; i++) {
    out[i] = json_number_value(json_array_get(shares, (size_t)i));
    if (!(out[i] >= 0 && out[i] <= 1)) return false;
    sum += out[i];
  }
  return fabs(sum - 1) < 1e-6;
}

static void begin_window(struct ex_drift *drift) {
  drift->n = 0;
  memset(drift->exit, 0, sizeof drift->exit);
  memset(drift->confidence, 0, sizeof drift->confidence);
}

bool ex__drift_exit_shares(const ex_model *model, double *shares) {
  const json_t *select = json_object_get(model->receipt, "select");
  return read_shares(json_object_get(select, "exit_shares"), model->net->n_points, shares);
}

void ex__drift_expect(struct ex_drift *drift, const ex_model *model, int32_t n) {
  const json_t *first = json_object_get(model->receipt, "first_confidence");
  pthread_mutex_lock(&drift->lock);
  drift->n_points = model->net->n_points;
  drift->n_apart = n;
  drift->view.known[0] = ex__drift_exit_shares(model, drift->expected_exit);
  for (int32_t p = n; p < model->net->n_points; p++)
    drift->expected_exit[n - 1] += drift->expected_exit[p];
  drift->view.known[1] =
      read_shares(json_object_get(first, "shares"), EX_DRIFT_BINS, drift->expected_confidence);
  drift->view.index[0] = drift->view.index[1] = NAN;
  drift->view.later = 0;
  drift->view.alarm = false;
  drift->calm = 0;
  begin_window(drift);
  pthread_mutex_unlock(&drift->lock);
}

/* A bin that is empty on one side would be infinitely far: half a sample is in it. */
static double stability_index(const double *expected, const int32_t *found, int32_t bins,
                              int32_t n) {
  double least = 0.5 / n, sum = 0;
  for (int32_t i = 0; i < bins; i++) {
    double share = fmax((double)found[i] / n, least), wanted = fmax(expected[i], least);
    sum += (share - wanted) * log(share / wanted);
  }
  return sum;
}

static void end_window(struct ex_drift *drift) {
  struct ex_drift_view *view = &drift->view;
  if (view->known[0])
    view->index[0] = stability_index(drift->expected_exit, drift->exit, drift->n_apart, drift->n);
  if (view->known[1])
    view->index[1] =
        stability_index(drift->expected_confidence, drift->confidence, EX_DRIFT_BINS, drift->n);
  view->alarm = (view->known[0] && view->index[0] > drift->limit) ||
                (view->known[1] && view->index[1] > drift->limit);
  view->windows++;
  view->alarms += view->alarm;
  drift->calm = view->alarm ? 0 : drift->calm + 1;
  if (view->alarm && drift->act && view->later < drift->n_points - 1) view->later++;
  if (drift->calm >= EX_DRIFT_CALM && view->later > 0) {
    view->later--;
    drift->calm = 0;
  }
  begin_window(drift);
}

void ex__drift_note(struct ex_drift *drift, int32_t wanted, double first_confidence) {
  if (drift->window == 0) return;
  pthread_mutex_lock(&drift->lock);
  if (first_confidence >= 0) {
    bool apart = wanted >= 0 && wanted < drift->n_apart;
    drift->exit[apart ? wanted : drift->n_apart - 1]++;
    int32_t bin = (int32_t)(first_confidence * EX_DRIFT_BINS);
    drift->confidence[bin < EX_DRIFT_BINS ? bin : EX_DRIFT_BINS - 1]++;
    if (++drift->n >= drift->window) end_window(drift);
  }
  pthread_mutex_unlock(&drift->lock);
}

int32_t ex__drift_later(struct ex_drift *drift) {
  pthread_mutex_lock(&drift->lock);
  int32_t later = drift->view.later;
  pthread_mutex_unlock(&drift->lock);
  return later;
}

struct ex_drift_view ex__drift_look(struct ex_drift *drift) {
  pthread_mutex_lock(&drift->lock);
  struct ex_drift_view view = drift->view;
  pthread_mutex_unlock(&drift->lock);
  return view;
}
