/* SPDX-License-Identifier: Apache-2.0
 *
 * attach/placement: which of many exits pay.
 */
#ifndef EX_ATTACH_PLACEMENT_H
#define EX_ATTACH_PLACEMENT_H

#include "trace/trace.h"

struct ex_placement_job {
  const ex_trace *trace;      /* all candidates and full depth, labelled */
  const struct ex_cost *cost; /* measured, of the network with all of them */
  int32_t most;               /* exits beside the last */
  double drop;                /* percentage points that thresholds may lose */
  double gain;                /* least share of full depth's time that an exit saves */
};

struct ex_placement { /* of each candidate */
  bool kept[EX_MAX_POINTS];
  double saved[EX_MAX_POINTS]; /* share of full depth's time, when it went or at the end */
  int64_t ns[EX_MAX_POINTS];   /* from the input to its answer, no other head looked at */
  int64_t full_ns;
};

/* Fits thresholds on the greatest probability to the exits that are left, finds what
 * each saves in measured time, and drops the one that saves least, until each saves
 * `gain` and there are no more than `most`. None may be left. EX_EINFEASIBLE: the
 * samples are too few for the drop. */
enum ex_status ex__placement_choose(const struct ex_placement_job *job, struct ex_placement *out,
                                    struct ex_error *err);

#endif
