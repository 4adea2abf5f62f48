/* SPDX-License-Identifier: Apache-2.0
 *
 * base/clock: CLOCK_MONOTONIC in nanoseconds; it does not jump when the time
 * of day is set.
 */
#include "base/clock.h"

#include <time.h>

int64_t ex__now_ns(void) {
  struct timespec now;
  clock_gettime(CLOCK_MONOTONIC, &now);
  return (int64_t)now.tv_sec * 1000000000 + now.tv_nsec;
}
