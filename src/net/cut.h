/* SPDX-License-Identifier: Apache-2.0
 *
 * net/cut: what one sample carries over from a stage to all that follow, as
 * plain numbers, so that another machine can go on from there.
 *
 * A sample's state (net/net_run.h) is laid out for the machine that compiled
 * it; the cut is not: its values in ascending order of their ids in the graph,
 * each [c][h][w] or [n]. Two programs of one network that are compiled alike go on
 * from a cut with the bits that the first would have gone on with.
 */
#ifndef EX_NET_CUT_H
#define EX_NET_CUT_H

#include "net/net_run.h"

typedef struct ex_cut ex_cut;

/* The cut after `stage`, in [0, n_stages − 2]: what bodies, heads and gates of later
 * stages read of this one and of earlier ones. Borrows `compiled`. */
enum ex_status ex__cut_new(const ex_compiled *compiled, int32_t stage, ex_cut **out,
                           struct ex_error *err);
void ex__cut_free(ex_cut *cut);            /* accepts NULL */
int32_t ex__cut_values(const ex_cut *cut); /* how many values cross */
int64_t ex__cut_size(const ex_cut *cut);   /* elements of them all */
/* The shape of value i in [0, ex__cut_values). */
const struct ex_shape *ex__cut_shape(const ex_cut *cut, int32_t i);

/* plain [ex__cut_size], the values one after the other; state as ex__lane_body
 * takes it. Before packing, the bodies up to the stage must have run, and those
 * heads up to there that later heads read: what has not run is whatever lay in
 * the state. Every number is accepted, finite or not: who takes plain from
 * outside checks it. */
void ex__cut_pack(const ex_cut *cut, const ex_real *state, ex_real *plain);
void ex__cut_unpack(const ex_cut *cut, const ex_real *plain, ex_real *state);

#endif
