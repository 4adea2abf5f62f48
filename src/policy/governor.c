/* SPDX-License-Identifier: Apache-2.0
 *
 * policy/governor: see governor.h. A pure function of its arguments.
 */
#include "policy/governor.h"

static struct ex_governed at_level(const struct ex_device *device, double macs, double left_ns,
                                   int32_t current, int32_t level) {
  double hz = device->level[level].hz, volts = device->level[level].volts;
  bool changes = level != current;
  struct ex_governed governed = {
      .level = level,
      .ns = 1e9 * macs / (device->macs_per_cycle * hz) + (changes ? device->switch_ns : 0),
      .joules =
          macs * device->joules_per_mac * volts * volts + (changes ? device->switch_joules : 0)};
  governed.missed = governed.ns > left_ns;
  return governed;
}

struct ex_governed ex__governor_choose(const struct ex_device *device, double macs, double left_ns,
                                       int32_t current) {
  int32_t fastest = device->n_levels - 1;
  struct ex_governed best = at_level(device, macs, left_ns, current, fastest);
  for (int32_t level = fastest - 1; level >= 0; level--) {
    struct ex_governed next = at_level(device, macs, left_ns, current, level);
    if (!next.missed && (best.missed || next.joules <= best.joules)) best = next;
  }
  /* Late in any case, and by less at the level that it is at? Changing takes time too. */
  struct ex_governed stay = at_level(device, macs, left_ns, current, current);
  return best.missed && stay.ns < best.ns ? stay : best;
}

struct ex_governed ex__governor_run(const struct ex_device *device, const double *macs, int32_t n,
                                    double deadline_ns, bool governed) {
  struct ex_governed sum = {.level = device->n_levels - 1};
  for (int32_t i = 0; i < n; i++) {
    double left = deadline_ns - sum.ns;
    struct ex_governed step = governed ? ex__governor_choose(device, macs[i], left, sum.level)
                                       : at_level(device, macs[i], left, sum.level, sum.level);
    sum.level = step.level;
    sum.ns += step.ns;
    sum.joules += step.joules;
  }
  sum.missed = sum.ns > deadline_ns;
  return sum;
}
