/* SPDX-License-Identifier: Apache-2.0
 *
 * attach/taps: a network, opened at its cuts.
 *
 * A network that has exits is taken without them first: what its last answer depends
 * on, in one stage. A tap is a cut with a head: the value is pooled to `side` × `side` by means,
 * normalised, and goes through one hidden layer to the outputs. Three networks are
 * made of one and its taps: one whose answer is what the heads read (run once over
 * the data), one of the heads alone that reads this (trained on it), and the network
 * with its exits. Nodes, names and weights of the given network stay as they are.
 */
#ifndef EX_ATTACH_TAPS_H
#define EX_ATTACH_TAPS_H

#include "attach/cuts.h"

enum { EX_MAX_TAPS = EX_MAX_POINTS - 1 };

struct ex_tap {
  int32_t value; /* a cut of the net */
  int64_t macs;  /* of the bodies up to it */
  int32_t side;  /* pooled to side × side; 0: of rank 1, read as it is */
  bool rows;     /* features are the last dimension, not channels: pooled to `side` means of rows */
  int32_t features; /* that the head reads */
  int32_t hidden;   /* units of its hidden layer; 0: none */
};

/* A copy of what the last answer of a net depends on: one stage, one answer point. */
enum ex_status ex__taps_trunk(const ex_net *net, ex_net **out, struct ex_error *err);

/* The head of a cut, as large as it may be while its multiply-adds are at most
 * `share` of those up to the cut; the smallest there is where nothing is. */
struct ex_tap ex__tap_sized(const ex_net *net, const struct ex_cut *cut, double share);
int64_t ex__tap_macs(const struct ex_tap *tap, int32_t n_outputs); /* of its head */

/* One answer point, whose raw output is what taps[0 … n) read, one after the other,
 * and behind it the net's own raw output. */
enum ex_status ex__taps_features(const ex_net *net, const struct ex_tap *taps, int32_t n,
                                 ex_net **out, struct ex_error *err);
/* Reads that; n + 1 answer points: the heads, with initial weights by seed, and the
 * net's own output. */
enum ex_status ex__taps_heads(const ex_net *net, const struct ex_tap *taps, int32_t n,
                              uint64_t seed, ex_net **out, struct ex_error *err);
/* The net with exits at the taps kept[0 … n_kept), ascending, whose heads have the
 * weights of `heads`. */
enum ex_status ex__taps_attach(const ex_net *net, const struct ex_tap *taps, const int32_t *kept,
                               int32_t n_kept, const ex_net *heads, ex_net **out,
                               struct ex_error *err);

#endif
