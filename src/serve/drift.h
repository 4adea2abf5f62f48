/* SPDX-License-Identifier: Apache-2.0
 *
 * serve/drift: are the inputs still like those that the model was calibrated on?
 *
 * Two distributions are held against those of the select split that the receipt
 * tells of: at which exit the policy would leave, and the confidence at the exit
 * that everybody reaches first. Both are seen whatever the guard does, so it can
 * also find its way back. The measure is the population stability index,
 *   PSI = sum over bins of (found - expected) * ln(found / expected),
 * of which the trade says that above 0.2 the population has changed.
 *
 * The guard (ours): after each window of samples whose index is above the limit,
 * answers come one exit later than the policy says, up to full depth; after
 * `calm` windows in a row below it, one exit sooner again.
 */
#ifndef EX_SERVE_DRIFT_H
#define EX_SERVE_DRIFT_H

#include <pthread.h>

#include "net/model.h"

enum { EX_DRIFT_BINS = 10, EX_DRIFT_CALM = 3 };

struct ex_drift_view {
  bool known[2];           /* exits, confidence: the receipt tells of it */
  double index[2];         /* of the last whole window; NaN: none yet */
  bool alarm;              /* the last whole window was above the limit */
  int32_t later;           /* exits that are added to the policy's */
  int64_t windows, alarms; /* so far */
};

struct ex_drift {
  pthread_mutex_t lock;
  int32_t window; /* samples; 0: the guard is off */
  double limit;
  bool act;                  /* answers later after an alarm; else it only tells */
  int32_t n_points, n_apart; /* exits, and how many are told apart */
  int32_t n, calm;
  double expected_exit[EX_MAX_POINTS], expected_confidence[EX_DRIFT_BINS];
  int32_t exit[EX_MAX_POINTS], confidence[EX_DRIFT_BINS];
  struct ex_drift_view view;
};

void ex__drift_init(struct ex_drift *drift, int32_t window, double limit, bool act);
/* Where inputs left when the model was calibrated, shares [n_points] by exit that sum
 * to 1; false: its receipt does not say. */
bool ex__drift_exit_shares(const ex_model *model, double *shares);
/* Of a model that was loaded: what is expected; the window begins anew. Exits from the
 * n-th on count as one, because at which of them an input leaves is not always known
 * here: n in [1, n_points]. */
void ex__drift_expect(struct ex_drift *drift, const ex_model *model, int32_t n);
/* One sample of which nothing but the policy decided. wanted: its exit; −1: it is one
 * of those that count as one. first_confidence NaN: no exit was looked at, it is not noted. */
void ex__drift_note(struct ex_drift *drift, int32_t wanted, double first_confidence);
int32_t ex__drift_later(struct ex_drift *drift);
struct ex_drift_view ex__drift_look(struct ex_drift *drift);
void ex__drift_free(struct ex_drift *drift);

#endif
