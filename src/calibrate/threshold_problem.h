/* SPDX-License-Identifier: Apache-2.0
 *
 * calibrate/threshold_problem: fitting thresholds as a problem of small
 * integers, which is what makes a search over millions of policies cheap.
 *
 * The scores at each exit are cut into at most EX_MAX_LEVELS levels; a policy
 * is a level per exit: a sample leaves where its bin is above the level; the
 * highest level lets nobody leave, which switches the exit off. Costs are
 * integers (multiply-adds or nanoseconds), so equal costs are equal.
 */
#ifndef EX_CALIBRATE_THRESHOLD_PROBLEM_H
#define EX_CALIBRATE_THRESHOLD_PROBLEM_H

#include "calibrate/estimate.h"

enum { EX_MAX_LEVELS = 64 };

struct ex_threshold_problem {
  int32_t n;                       /* samples */
  int32_t n_exits;                 /* that have a threshold: the trace's points but the last */
  int32_t n_levels[EX_MAX_POINTS]; /* per exit; as a level, it is "off" */
  double level[EX_MAX_POINTS][EX_MAX_LEVELS]; /* scores, ascending: leave at ≥ */
  uint8_t *bin;   /* [n_exits][n]: how many levels the sample's score reaches */
  uint8_t *wrong; /* [n_exits + 1][n]: each exit's answer is at fault; last row: of those who
                     never leave */
  /* Leaving at exit k costs body[k], and look[j] for each exit j ≤ k on the
   * way that is on (look_off[j] if it is off); the last always looks. */
  int64_t body[EX_MAX_POINTS], look[EX_MAX_POINTS], look_off[EX_MAX_POINTS];
};

/* A rule's score; NaN, which never leaves, where the output is not finite. */
double ex__trace_score(const ex_policy *policy, const ex_trace *trace, int32_t point,
                       int32_t sample);

enum ex_fault {
  EX_FAULT_WRONG, /* a wrong answer */
  EX_FAULT_LOST   /* a wrong answer where full depth is right */
};

/* From a range of a labelled trace; `ns`: costs are measured time. */
enum ex_status ex__threshold_problem_new(const ex_policy *policy, const ex_trace *trace,
                                         struct ex_samples_range range, enum ex_fault fault,
                                         bool ns, struct ex_threshold_problem **out,
                                         struct ex_error *err);
void ex__threshold_problem_free(struct ex_threshold_problem *problem); /* accepts NULL */

/* Writes the thresholds of levels [n_exits] into a policy of the same rule. */
void ex__threshold_problem_apply(const struct ex_threshold_problem *problem, const uint8_t *level,
                                 ex_policy *policy);

/* ---- searching (threshold_search.c) -------------------------------------- */

struct ex_front_point {
  int64_t cost; /* sums over the problem's samples */
  int32_t wrong;
  uint8_t level[EX_MAX_POINTS];
};

struct ex_front {
  struct ex_front_point *items; /* [n], cost ascending, wrong strictly descending */
  int32_t n, capacity;
  bool exact; /* no policy of the grid is left out that would belong here */
};

/* The Pareto front of (cost, wrong). `width`: partial policies kept per exit. */
enum ex_status ex__threshold_search(const struct ex_threshold_problem *problem, int32_t width,
                                    struct ex_front *front, struct ex_error *err);
void ex__front_free(struct ex_front *front);
/* Adds a policy where none of the front is as cheap and as right. */
enum ex_status ex__front_offer(struct ex_front *front, int64_t cost, int32_t wrong,
                               const uint8_t *level, int32_t n_exits);
bool ex__front_covers(const struct ex_front *front, int64_t cost, int32_t wrong);
/* Improves policies of the front exit by exit (threshold_polish.c). */
enum ex_status ex__threshold_polish(const struct ex_threshold_problem *problem,
                                    struct ex_front *front);

#endif
