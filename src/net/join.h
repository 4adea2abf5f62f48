/* SPDX-License-Identifier: Apache-2.0
 *
 * net/join: several whole networks on the same inputs and classes as one model,
 * whose exits are the networks' answers, from cheap to dear: the choice among
 * networks of Bolukbasi et al. (ICML 2017).
 *
 * Nothing else knows of joined networks. Each keeps its stages, which follow those
 * of the network before and begin at the raw input, behind an operator `normalise`
 * with the network's own statistics. So an exit needs the bodies of its own network
 * and no others (ex__net_bodies), and engine, cost table and replay follow from
 * that. Each network has the bits that it has alone.
 *
 * Of a network with several exits only the last takes part; what the others alone
 * read is left out, gates too. An earlier head that the last one reads becomes part
 * of its stage's body.
 */
#ifndef EX_NET_JOIN_H
#define EX_NET_JOIN_H

#include "net/model.h"

/* Models [n], 2 ≤ n ≤ EX_MAX_POINTS, in ascending order of the work of going
 * straight to the last exit, of EX_MAX_STAGES stages in all; `names` [n] are for
 * messages. They must have the same input, task and labels, take the same raw
 * values (bytes or numbers), and answer at their last exit by that head alone, at
 * most scaled by a temperature. The result copies what it needs; it has no policy,
 * receipt, recipe or provenance. EX_EINVAL, EX_ESHAPE name model, value and rule. */
enum ex_status ex__models_join(const ex_model *const *models, const char *const *names, int32_t n,
                               ex_model **out, struct ex_error *err);

#endif
