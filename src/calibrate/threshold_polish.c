/* SPDX-License-Identifier: Apache-2.0
 *
 * calibrate/threshold_polish: what a search of limited width left behind is
 * improved exit by exit.
 *
 * With all other exits fixed, one pass over the samples that arrive at an exit
 * gives cost and wrong answers for every level of it, exactly. All of them are
 * offered to the front; and from a policy of the front with slope λ (what a
 * multiply-add is worth in wrong answers there) the level with the least
 * wrong + λ · cost is taken before the next exit's turn.
 */
#include <string.h>

#include "base/memory.h"
#include "calibrate/threshold_problem.h"

enum { STARTS = 48, ROUNDS = 2 };

/* Sums over samples that arrive at an exit, by bin: had they passed, and as
 * leavers. Looks at the exit itself are added later. */
struct arrivals {
  int64_t before; /* cost of those who left earlier */
  int32_t before_wrong;
  int64_t looks;                        /* heads before the exit */
  int64_t pass_cost[EX_MAX_LEVELS + 1]; /* without the exit's own look */
  int32_t count[EX_MAX_LEVELS + 1], wrong[EX_MAX_LEVELS + 1], pass_wrong[EX_MAX_LEVELS + 1];
};

static bool leaves(const struct ex_threshold_problem *problem, const uint8_t *level, int32_t exit,
                   int32_t sample) {
  return problem->bin[(int64_t)exit * problem->n + sample] > level[exit];
}

static int64_t look_of(const struct ex_threshold_problem *problem, const uint8_t *level,
                       int32_t exit) {
  if (exit == problem->n_exits || level[exit] < problem->n_levels[exit]) return problem->look[exit];
  return problem->look_off[exit];
}

/* path[k]: cost of leaving at k under `level`, the look of `exit` left out. */
static void price(const struct ex_threshold_problem *problem, const uint8_t *level, int32_t exit,
                  int64_t *path) {
  int64_t looks = 0;
  for (int32_t e = 0; e <= problem->n_exits; e++) {
    if (e != exit) looks += look_of(problem, level, e);
    path[e] = problem->body[e] + looks;
  }
}

static void gather(const struct ex_threshold_problem *problem, const uint8_t *level, int32_t exit,
                   struct arrivals *sums) {
  int64_t path[EX_MAX_POINTS], n = problem->n;
  price(problem, level, exit, path);
  memset(sums, 0, sizeof *sums);
  sums->looks = path[exit] - problem->body[exit];
  for (int32_t i = 0; i < problem->n; i++) {
    int32_t at = 0;
    while (at < exit && !leaves(problem, level, at, i)) at++;
    if (at < exit) {
      sums->before += path[at];
      sums->before_wrong += problem->wrong[at * n + i];
      continue;
    }
    int32_t later = exit + 1;
    while (later < problem->n_exits && !leaves(problem, level, later, i)) later++;
    uint8_t b = problem->bin[exit * n + i];
    sums->count[b]++;
    sums->wrong[b] += problem->wrong[exit * n + i];
    sums->pass_cost[b] += path[later];
    sums->pass_wrong[b] += problem->wrong[later * n + i];
  }
}

/* Offers every level of one exit, and sets the best for slope `worth`. */
static enum ex_status settle(const struct ex_threshold_problem *problem, int32_t exit, double worth,
                             uint8_t *level, struct ex_front *front) {
  struct arrivals sums;
  gather(problem, level, exit, &sums);
  int32_t n_levels = problem->n_levels[exit], arrived = 0, wrong = sums.before_wrong;
  int64_t cost = sums.before;
  for (int32_t b = 0; b <= n_levels; b++) {
    cost += sums.pass_cost[b];
    wrong += sums.pass_wrong[b];
    arrived += sums.count[b];
  }
  int64_t off_cost = cost + arrived * problem->look_off[exit];
  uint8_t best = level[exit] = (uint8_t)n_levels;
  double least = wrong + worth * (double)off_cost;
  EX_TRY(ex__front_offer(front, off_cost, wrong, level, problem->n_exits));
  cost += arrived * problem->look[exit];
  for (int32_t l = n_levels - 1; l >= 0; l--) {
    int32_t b = l + 1;
    cost += sums.count[b] * (problem->body[exit] + sums.looks) - sums.pass_cost[b];
    wrong += sums.wrong[b] - sums.pass_wrong[b];
    level[exit] = (uint8_t)l;
    EX_TRY(ex__front_offer(front, cost, wrong, level, problem->n_exits));
    if (wrong + worth * (double)cost >= least) continue;
    least = wrong + worth * (double)cost;
    best = (uint8_t)l;
  }
  level[exit] = best;
  return EX_OK;
}

/* Wrong answers per unit of cost around a point of the front. */
static double slope(const struct ex_front *front, int32_t at) {
  int32_t left = at > 0 ? at - 1 : at, right = at < front->n - 1 ? at + 1 : at;
  const struct ex_front_point *a = &front->items[left], *b = &front->items[right];
  return left == right ? 0 : (double)(a->wrong - b->wrong) / (double)(b->cost - a->cost);
}

enum ex_status ex__threshold_polish(const struct ex_threshold_problem *problem,
                                    struct ex_front *front) {
  int32_t starts = front->n < STARTS ? front->n : STARTS;
  struct ex_front_point start[STARTS];
  double worth[STARTS];
  for (int32_t s = 0; s < starts; s++) {
    int32_t at = (int32_t)((int64_t)(front->n - 1) * s / (starts > 1 ? starts - 1 : 1));
    start[s] = front->items[at];
    worth[s] = slope(front, at);
  }
  for (int32_t s = 0; s < starts; s++)
    for (int32_t round = 0; round < ROUNDS; round++)
      for (int32_t exit = 0; exit < problem->n_exits; exit++)
        EX_TRY(settle(problem, exit, worth[s], start[s].level, front));
  return EX_OK;
}
