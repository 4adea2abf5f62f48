/* SPDX-License-Identifier: Apache-2.0
 *
 * report/picture: a small picture inside the page: PNG, as a data URI.
 */
#ifndef EX_REPORT_PICTURE_H
#define EX_REPORT_PICTURE_H

#include "base/text.h"

/* x [channels][height][width], stored values; those of a sample of bytes are
 * shown as they are, others stretched from their least to their largest. Two
 * channels or more than three: the first alone is shown, in grey. */
enum ex_status ex__picture_add(struct ex_text *text, const double *x, int32_t channels,
                               int32_t height, int32_t width, bool bytes);

#endif
