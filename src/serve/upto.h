/* SPDX-License-Identifier: Apache-2.0
 *
 * serve/upto: behind which exit the cut should lie, for the least mean time of an
 * answer: measured times of the stages here, the shares of inputs that left at each
 * exit when the model was calibrated, and the link as it is now, over which a packet
 * of each cut is sent.
 */
#ifndef EX_SERVE_UPTO_H
#define EX_SERVE_UPTO_H

#include "serve/service.h"

enum { EX_UPTO_WHOLE = -1, EX_UPTO_AUTO = -2 }; /* in the place of an exit */

/* Of one cut, in seconds; what was not measured is NaN. */
struct ex_upto_view {
  double here;    /* mean time of this machine's part */
  double crosses; /* share of inputs that cross */
  double there;   /* from the cut to the answer, over the link */
  double mean;    /* of all inputs */
  int64_t bytes;  /* of a request there */
};

/* Sends a few packets for each exit behind which a cut may lie and pays. *out: the
 * exit, or EX_UPTO_WHOLE where no cut is faster than the whole network here. Tells
 * `log` what it saw, a line for each. EX_EINVAL where the receipt does not say where
 * inputs leave; EX_EDEADLINE where the other server did not answer. */
enum ex_status ex__upto_choose(const struct ex_served *served, ex_service *service, int32_t *out,
                               struct ex_error *err);

/* The arithmetic: cost of this machine, shares [n_points], `there` [n_points − 1] with
 * NaN where a cut is not to be had. views [n_points], the last of which is the whole. */
int32_t ex__upto_compare(const struct ex_cost *cost, const struct ex_point *points,
                         int32_t n_points, const double *shares, const double *there,
                         struct ex_upto_view *views);

#endif
