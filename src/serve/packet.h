/* SPDX-License-Identifier: Apache-2.0
 *
 * serve/packet: what one sample carries over a cut (engine/partition.h), as bytes
 * from machine to machine. Little-endian:
 *
 *    0  "ExC1"
 *    4  8 bytes that tell network and rule apart from others (struct ex_served)
 *   12  form (enum ex_cut_form), flags (1: the policy has left; 2: deflated), point, target
 *   16  heads that ran, points that were looked at: uint32 each
 *   24  the numbers, with zlib around them where that is shorter
 *
 * Numbers before the cut are float32. A tensor of the cut is float32, or its least
 * number and a step as float32 and codes of 8 or 4 bits, number = least + step × code,
 * two codes of 4 bits to a byte, the first in the low half.
 */
#ifndef EX_SERVE_PACKET_H
#define EX_SERVE_PACKET_H

#include "base/text.h"
#include "engine/partition.h"

/* How numbers of a cut cross; EX_CUT_INPUT: not at all, the input does, and the other
 * machine begins anew. */
enum ex_cut_form {
  EX_CUT_FLOAT32,
  EX_CUT_INT8,
  EX_CUT_INT4,
  EX_CUT_FORMS,
  EX_CUT_INPUT = EX_CUT_FORMS
};
enum { EX_PACKET_MARK = 8 };                             /* bytes of the mark of network and rule */
extern const char *const ex__cut_form[EX_CUT_FORMS + 1]; /* "float32", … "input" */

/* Appends the packet; EX_ENOMEM, EX_ENOTFINITE (of a number that crosses). */
enum ex_status ex__packet_write(const ex_partition *partition, const struct ex_crossing *crossing,
                                enum ex_cut_form form, const uint8_t mark[EX_PACKET_MARK],
                                struct ex_text *out, struct ex_error *err);
/* Everything is checked: EX_OK, and it is a crossing that this engine may go on from,
 * of finite numbers; numbers are then to be freed. Errors name what is wrong. */
enum ex_status ex__packet_read(const ex_partition *partition, const uint8_t mark[EX_PACKET_MARK],
                               const void *bytes, size_t size, struct ex_crossing *out,
                               struct ex_error *err);

#endif
