/* SPDX-License-Identifier: Apache-2.0
 *
 * attach/cuts: where a network without exits can be given some.
 *
 * A cut is a value through which everything that comes later must go: the whole
 * of a network up to there crosses in one tensor. Exits tap cuts at which fused
 * operators end (behind the activation, not before it), so that the programs of
 * full depth stay what they were, to the bit.
 */
#ifndef EX_ATTACH_CUTS_H
#define EX_ATTACH_CUTS_H

#include "net/net.h"

struct ex_cut {
  int32_t value; /* of the net's graph, in a body */
  int64_t macs;  /* of all bodies up to it, per sample */
};

/* Cuts of a net with one answer point, in order: cuts [most], returns how many.
 * Of cuts between which nothing is multiplied the smallest value is taken. Left
 * out are those within `apart` (a share of full depth, in [0, 1)) of the cut
 * before, of the input or of full depth; where more than `most` are left, they
 * are thinned evenly in multiply-adds. −1 when memory is short. */
int32_t ex__cuts_find(const ex_net *net, double apart, struct ex_cut *cuts, int32_t most);

#endif
