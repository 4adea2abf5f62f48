/* SPDX-License-Identifier: Apache-2.0
 *
 * train/train_select: how good every exit is on a split, while training.
 */
#ifndef EX_TRAIN_TRAIN_SELECT_H
#define EX_TRAIN_TRAIN_SELECT_H

#include "data/data.h"
#include "train/train_step.h"

struct ex_select_result {
  int32_t n;                     /* labelled samples looked at; 0: nothing below is set */
  double quality[EX_MAX_POINTS]; /* mean over them: accuracy in [0, 1] */
  double loss[EX_MAX_POINTS];    /* mean, nats */
};

typedef struct ex_selector ex_selector;

/* Compiles the network without training anything. `options->phase` is not read. */
enum ex_status ex__selector_new(const ex_net *net, const struct ex_stepper_options *options,
                                ex_selector **out, struct ex_error *err); /* borrows the net */
void ex__selector_free(ex_selector *selector);                            /* accepts NULL */
int64_t ex__selector_bytes(const ex_selector *selector);
/* With the net's weights of now. */
void ex__selector_look(ex_selector *selector, const ex_data *data, enum ex_split split,
                       struct ex_select_result *out);

#endif
