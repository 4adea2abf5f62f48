/* SPDX-License-Identifier: Apache-2.0
 *
 * attach/attach: gives a trained network exits, and leaves the network as it was.
 *
 * Candidates lie at the network's cuts (attach/cuts.h). What their heads read is
 * recorded once over the data; all heads are trained on that record together, to the
 * labels and to the network's own answers (method/distillation, whose teacher is the
 * last exit), without running the network again. Then candidates that do not pay are
 * dropped: with measured times, and thresholds fitted on select, the exit whose absence
 * costs least goes, until each that is left saves its share.
 *
 * Full depth gives the bits of the network that was given.
 */
#ifndef EX_ATTACH_ATTACH_H
#define EX_ATTACH_ATTACH_H

#include "base/param.h"
#include "base/progress.h"
#include "data/data.h"
#include "net/model.h"

struct ex_attach_options {
  int32_t exits;      /* at most this many beside the last; 1 … 31 */
  int32_t samples;    /* of train, at most, that heads are trained on */
  int32_t epochs;     /* over them */
  double apart;       /* candidates lie at least this share of full depth apart */
  double head_share;  /* a head costs at most this share of the bodies before it */
  double drop;        /* percentage points that thresholds may lose while exits are chosen */
  double gain;        /* an exit that stays saves at least this share of full depth's time */
  int32_t unlabelled; /* labels are not looked at: the network's own answers are the truth */
};
extern const struct ex_param ex__attach_params[];

struct ex_attach_job {   /* all borrowed */
  const ex_model *model; /* of its exits the last alone counts */
  ex_data *data;         /* train and select have samples; train may be thinned */
  const struct ex_attach_options *options;
  uint64_t seed;
  int32_t threads; /* 1 … 256 */
  struct ex_progress progress;
};

/* *out: an uncalibrated model with the model's labels and pre-processing. *report: {full:
 * {macs, ns, accuracy}, labelled, samples, same_bits, candidates: [{after, macs, share,
 * ns, head_macs, accuracy, agreement, saved, kept}…], exits}; accuracies on select;
 * `saved`: of full depth's time, when it was dropped or at the end. Both owned by the
 * caller. EX_EUNSUPPORTED: the network has no cut, or its
 * exits answer together. EX_EINFEASIBLE: no exit pays;
 * the report is there all the same. */
enum ex_status ex__attach(const struct ex_attach_job *job, ex_model **out, json_t **report,
                          struct ex_error *err);

#endif
