/* SPDX-License-Identifier: Apache-2.0
 *
 * policy/governor: which frequency a processor should run at when the work up to the
 * next decision is known, on a *simulated* device. A rule that jumps (predictive) knows
 * that work; with the time that is left it may run slower and spend less (Predictive
 * Exit, Li et al., AAAI 2023).
 *
 * Nothing here is measured and no frequency is set: energies are those of the model
 * below, and whoever prints one says that it is simulated. (engine/cpufreq sets real
 * ones, to levels that are chosen here.) The paper's governor takes the lowest level
 * that keeps the deadline; its equations were not to be had, and what a change of level
 * costs is ours, since without it a governor always looks good.
 *
 *     time of W multiply-adds   = W / (macs_per_cycle · hz)
 *     energy of them            = W · joules_per_mac · volts²
 *     a change of level         = switch_ns and switch_joules more
 *
 * A prediction may be wrong. Who looks at the next decision alone, as the paper does,
 * may have used up the time that is needed then. So, ours, a governor may keep time
 * back for all that can follow, at the fastest level: then it is late only where
 * running at the fastest level throughout is late too.
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

/* Frequencies as of the small board that the paper's code names; voltages, energies and
 * what a change costs are made up. */
extern const struct ex_device ex__device_board;

enum ex_governing {
  EX_GOVERN_RACE, /* the fastest level throughout */
  EX_GOVERN_NEXT, /* so that the next decision comes in time: the paper's */
  EX_GOVERN_ALL   /* so that whatever may follow it does */
};

struct ex_hop {
  double macs; /* to the next decision, ≥ 0 */
  double rest; /* at most, after it, ≥ 0 */
};

struct ex_governed {
  int32_t level;   /* that is run at, the last of several */
  int32_t changes; /* of level */
  double ns, joules;
  bool missed; /* not even the fastest keeps the deadline */
};

/* With `left_ns` until the deadline, now at level `current`: of the levels that keep it,
 * what may follow being run at the fastest, the one of least energy, the change to it
 * included (the lowest of equals; were changes free it is always the lowest that keeps
 * it); else the one that is soonest done. */
struct ex_governed ex__governor_choose(const struct ex_device *device, struct ex_hop hop,
                                       double left_ns, int32_t current);

/* A sample that goes from decision to decision, and no more is known before than hop by
 * hop. It begins at the fastest level with `deadline_ns` to go; when it is done the
 * device goes back there, which takes energy but nobody's time. `missed`: it came too
 * late. */
struct ex_governed ex__governor_run(const struct ex_device *device, const struct ex_hop *hop,
                                    int32_t n, double deadline_ns, enum ex_governing governing);

#endif
