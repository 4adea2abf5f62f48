/* SPDX-License-Identifier: Apache-2.0
 * base/clock: monotonic time. Policies never include this. */
#ifndef EX_BASE_CLOCK_H
#define EX_BASE_CLOCK_H

#include <stdint.h>

int64_t ex__now_ns(void);

#endif
