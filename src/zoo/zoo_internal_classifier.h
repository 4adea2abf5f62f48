/* SPDX-License-Identifier: Apache-2.0
 *
 * zoo/zoo_internal_classifier: SDN's internal classifiers and where they go.
 */
#ifndef EX_ZOO_ZOO_INTERNAL_CLASSIFIER_H
#define EX_ZOO_ZOO_INTERNAL_CLASSIFIER_H

#include "zoo/zoo_blocks.h"

enum { EX_MAX_SDN_LAYERS = 256 };

/* Marks, for each share, the layer after which the cumulative share of the
 * work is nearest to it. cost [n]: multiply-adds of each layer that a classifier may follow;
 * `total`: of the whole network without classifiers. Fails, through the
 * builder, where two shares fall on one layer. */
void ex__zoo_place(ex_builder *builder, const int64_t *cost, int32_t n, int64_t total,
                   const struct ex_list *shares, bool *marked);
/* The head of the current stage over the map x, as in the paper. */
void ex__zoo_internal_classifier(ex_builder *builder, int32_t x);

#endif
