/* SPDX-License-Identifier: Apache-2.0
 *
 * report/comparison: what runs gain over their baselines, exit by exit.
 *
 * A run of a catalogue entry that names a baseline ("against") and the conditions
 * that both share ("setting") is a row of a comparison. Rows of one setting have
 * one baseline, whatever entries they come from.
 */
#ifndef EX_REPORT_COMPARISON_H
#define EX_REPORT_COMPARISON_H

#include <jansson.h>
#include <stdbool.h>

/* Whether a run of the reproduction is compared with a baseline. */
bool ex__comparison_wanted(const json_t *reproduction);
/* The rows of one entry, from `evaluations`, per seed {run: evaluation}: a new
 * array of {entry, run, against, setting, steps, passes, work, exits: [{accuracy,
 * baseline, difference, interval}…], budgeted_area: the same}. `work`: multiply-adds that training
 * executed over the baseline's. Accuracies are
 * shares, areas are mean accuracies in percent; differences are of the run less
 * its baseline, paired by seed, with 95 % intervals. */
json_t *ex__comparison_rows(const char *entry, const json_t *reproduction,
                            const json_t *evaluations);

#endif
