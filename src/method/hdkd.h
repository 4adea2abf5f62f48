/* SPDX-License-Identifier: Apache-2.0
 *
 * method/hdkd: what HDKD keeps between steps, in its own header for the tests
 * that look into it.
 */
#ifndef EX_METHOD_HDKD_H
#define EX_METHOD_HDKD_H

#include "method/adam.h"
#include "method/teaching.h"

enum { EX_HDKD_TERMS = EX_MAX_POINTS + EX_MAX_POINTS * (EX_MAX_POINTS - 1) / 2 };

struct ex_hdkd_state {
  double temperature;
  struct ex_adam adam;            /* its step: updates of the weights so far */
  double expected[EX_MAX_POINTS]; /* running mean of each exit's loss on held-out samples; biased
                                     to 0 as it begins there */
  /* Terms as in ex__teaching_terms; weight = softplus(a), up to what keeps their
   * sum. The other two are Adam's. */
  double a[EX_HDKD_TERMS], mean[EX_HDKD_TERMS], square[EX_HDKD_TERMS];
};

#endif
