/* SPDX-License-Identifier: Apache-2.0
 *
 * policy/governor: see governor.h. Pure functions of their arguments.
 */
#include "policy/governor.h"

const struct ex_device ex__device_board = {
    .n_levels = 4,
    .level = {{216.75e6, 0.65}, {522.75e6, 0.75}, {854.25e6, 0.9}, {1300.5e6, 1.1}},
    .macs_per_cycle = 4,
    .joules_per_mac = 2e-12,
    .switch_ns = 50e3,
    .switch_joules = 1e-6};

static double ns_of(const struct ex_device *device, double macs, int32_t level) {
  return 1e9 * macs / (device->macs_per_cycle * device->level[level].hz);
}

struct option {
  struct ex_governed governed;
  double done_ns; /* with all that may follow, at the fastest level */
};

static struct option at_level(const struct ex_device *device, struct ex_hop hop, double left_ns,
                              int32_t current, int32_t level) {
  int32_t fastest = device->n_levels - 1;
  double volts = device->level[level].volts;
  bool changes = level != current;
  struct option option = {
      .governed = {.level = level,
                   .changes = changes,
                   .ns = ns_of(device, hop.macs, level) + (changes ? device->switch_ns : 0),
                   .joules = hop.macs * device->joules_per_mac * volts * volts +
                             (changes ? device->switch_joules : 0)}};
  option.done_ns = option.governed.ns;
  if (hop.rest > 0)
    option.done_ns += ns_of(device, hop.rest, fastest) + (level != fastest ? device->switch_ns : 0);
  option.governed.missed = option.done_ns > left_ns;
  return option;
}

struct ex_governed ex__governor_choose(const struct ex_device *device, struct ex_hop hop,
                                       double left_ns, int32_t current) {
  int32_t fastest = device->n_levels - 1;
  struct option best = at_level(device, hop, left_ns, current, fastest);
  for (int32_t level = fastest - 1; level >= 0; level--) {
    struct option next = at_level(device, hop, left_ns, current, level);
    bool better = best.governed.missed || next.governed.joules <= best.governed.joules;
    if (!next.governed.missed && better) best = next;
  }
  /* Late in any case, and by less at the level that it is at? Changing takes time too. */
  struct option stay = at_level(device, hop, left_ns, current, current);
  return best.governed.missed && stay.done_ns < best.done_ns ? stay.governed : best.governed;
}

struct ex_governed ex__governor_run(const struct ex_device *device, const struct ex_hop *hop,
                                    int32_t n, double deadline_ns, enum ex_governing governing) {
  int32_t fastest = device->n_levels - 1;
  struct ex_governed sum = {.level = fastest};
  for (int32_t i = 0; i < n; i++) {
    double left = deadline_ns - sum.ns;
    struct ex_hop known = {hop[i].macs, governing == EX_GOVERN_ALL ? hop[i].rest : 0};
    struct ex_governed step = governing == EX_GOVERN_RACE
                                  ? at_level(device, known, left, sum.level, fastest).governed
                                  : ex__governor_choose(device, known, left, sum.level);
    sum.level = step.level;
    sum.changes += step.changes;
    sum.ns += step.ns;
    sum.joules += step.joules;
  }
  sum.missed = sum.ns > deadline_ns;
  if (sum.level == fastest) return sum;
  sum.changes++;
  sum.joules += device->switch_joules;
  return sum;
}
