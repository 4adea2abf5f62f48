/* SPDX-License-Identifier: Apache-2.0
 *
 * policy/governor: which frequency a processor should run at when the work up to the
 * next decision is known, on a *simulated* device. A rule that jumps (predictive) knows
 * that work; with the time that is left it may run slower and spend less (Predictive
 * Exit, Li et al., AAAI 2023).
 *
 * Nothing here is measured and no frequency is set: energies are those of the model
 * below, and whoever prints one says that it is simulated. The paper's governor takes
 * the lowest level that keeps the deadline; its equations were not to be had, and what
 * a change of level costs is ours, since without it a governor always looks good.
 *
 *     time of W multiply-adds   = W / (macs_per_cycle · hz)
 *     energy of them            = W · joules_per_mac · volts²
 *     a change of level         = switch_ns and switch_joules more
 */
#ifndef EX_POLICY_GOVERNOR_H
#define EX_POLICY_GOVERNOR_H

#include <stdbool.h>
#include <stdint.h>

enum { EX_MAX_DEVICE_LEVELS = 16 };

struct ex_device {  /* simulated */
  int32_t n_levels; /* 1 … EX_MAX_DEVICE_LEVELS */
  struct {
    double hz, volts; /* > 0, both rising */
  } level[EX_MAX_DEVICE_LEVELS];
  double macs_per_cycle;           /* > 0 */
  double joules_per_mac;           /* at 1 V, > 0 */
  double switch_ns, switch_joules; /* ≥ 0 */
};

struct ex_governed {
  int32_t level; /* that is run at */
  double ns, joules;
  bool missed; /* not even the fastest keeps the deadline */
};

/* For `macs` ≥ 0 of work with `left_ns` until the deadline, now at level `current`: of
 * the levels that keep it the one of least energy, what changing to it costs included
 * (the lowest of equals; without that cost it is always the lowest that keeps it); else
 * the fastest, which is the best that can be done. */
struct ex_governed ex__governor_choose(const struct ex_device *device, double macs, double left_ns,
                                       int32_t current);

/* A sample that goes from decision to decision: macs[i] of work to the i-th, and no
 * more is known before. It begins at the fastest level with `deadline_ns` to go.
 * `governed`: a level is chosen for each; else all is run at the fastest (race to
 * idle). `level` of the result is the last, `missed` tells whether it came too late. */
struct ex_governed ex__governor_run(const struct ex_device *device, const double *macs, int32_t n,
                                    double deadline_ns, bool governed);

#endif
