/* SPDX-License-Identifier: Apache-2.0
 *
 * policy/budget_search: from smooth thresholds to hard ones that keep the bound, and
 * the baselines.
 *
 * With all other exits fixed, one pass over an exit's order gives every cut's right
 * answers and cost, exactly. Under a bound that binds, no exit can be moved alone: one
 * must be made dearer and another cheaper. So after single exits, pairs are tried: one
 * cut from a grid, the other the best answer to it (ours).
 */
#include <math.h>
#include <string.h>

#include "base/memory.h"
#include "policy/budget.h"

enum { PASSES = 8, PAIR_ROUNDS = 3, GRID = 48, BISECTIONS = 40 };

struct search {
  const struct ex_budget *budget;
  double bound;
  int32_t
      *leaves_at; /* [n]: where a sample that passes the exit leaves; −1: it never comes there */
  double *work;
};

/* ---- comparing -------------------------------------------------------------- */

static bool better(struct ex_spent a, struct ex_spent b) {
  return a.right != b.right ? a.right > b.right : a.cost < b.cost;
}

static bool keeps(const struct search *search, const struct ex_cuts *cuts) {
  return ex__budget_keeps(search->budget, ex__budget_spent(search->budget, cuts).cost,
                          search->bound);
}

static bool leaves(const struct ex_budget *budget, const struct ex_cuts *cuts, int32_t exit,
                   int32_t sample) {
  return budget->place[(int64_t)exit * budget->n + sample] < cuts->at[exit];
}

/* No cut may lie between equals: the next that does not. */
static int32_t whole(const struct ex_budget *budget, int32_t exit, int32_t at) {
  int64_t row = (int64_t)exit * budget->n;
  const int32_t *order = budget->order + row;
  while (at > 0 && at < budget->able[exit] &&
         budget->score[row + order[at]] == budget->score[row + order[at - 1]])
    at++;
  return at;
}

/* ---- the best cut of one exit ----------------------------------------------- */

struct sweep {
  const struct search *search;
  int32_t exit;
  int64_t path[EX_MAX_POINTS], look; /* of leaving; behind the exit without its look */
  struct ex_spent now, best;
  int32_t best_at; /* −1: none keeps the bound */
};

static void price(const struct ex_budget *budget, const struct ex_cuts *cuts, struct sweep *sweep) {
  int64_t sum = 0;
  for (int32_t p = 0; p <= budget->n_exits; p++) {
    bool on = p == budget->n_exits || cuts->at[p] > 0;
    sum += budget->costs.way[p];
    if (p != sweep->exit) sum += on ? budget->costs.look[p] : budget->costs.look_off[p];
    sweep->path[p] = sum;
  }
}

/* All who come pass: what that costs without this exit's look; how many they are. */
static int64_t let_pass(const struct ex_budget *budget, const struct ex_cuts *cuts,
                        struct sweep *sweep, int32_t *leaves_at) {
  int64_t arrived = 0;
  for (int32_t i = 0; i < budget->n; i++) {
    int32_t e = 0;
    while (e < sweep->exit && !leaves(budget, cuts, e, i)) e++;
    bool comes = e == sweep->exit;
    if (comes)
      for (e++; e < budget->n_exits && !leaves(budget, cuts, e, i);) e++;
    leaves_at[i] = comes ? e : -1;
    arrived += comes ? budget->count[i] : 0;
    sweep->now.cost += budget->count[i] * sweep->path[e];
    sweep->now.right += budget->count[i] * budget->right[(int64_t)e * budget->n + i];
  }
  return arrived;
}

static void offer(struct sweep *sweep, struct ex_spent found, int32_t at) {
  if (!ex__budget_keeps(sweep->search->budget, found.cost, sweep->search->bound)) return;
  if (sweep->best_at >= 0 && !better(found, sweep->best)) return;
  sweep->best = found;
  sweep->best_at = at;
}

/* Sets the best cut of an exit that keeps the bound; false, and nothing set: none does. */
static bool settle(const struct search *search, int32_t exit, struct ex_cuts *cuts,
                   struct ex_spent *spent) {
  const struct ex_budget *budget = search->budget;
  struct sweep sweep = {.search = search, .exit = exit, .best_at = -1};
  int64_t row = (int64_t)exit * budget->n;
  price(budget, cuts, &sweep);
  int64_t arrived = let_pass(budget, cuts, &sweep, search->leaves_at);
  struct ex_spent off = sweep.now;
  off.cost += arrived * budget->costs.look_off[exit];
  offer(&sweep, off, 0);
  sweep.now.cost += arrived * budget->costs.look[exit];
  for (int32_t at = 0; at < budget->able[exit];) {
    int32_t end = whole(budget, exit, at + 1);
    bool any = false;
    for (; at < end; at++) {
      int32_t i = budget->order[row + at], later = search->leaves_at[i];
      if (later < 0) continue;
      any = true;
      sweep.now.cost -= budget->count[i] * (sweep.path[later] - sweep.path[exit]);
      sweep.now.right += budget->count[i] *
                         (budget->right[row + i] - budget->right[(int64_t)later * budget->n + i]);
    }
    if (any) offer(&sweep, sweep.now, at);
  }
  if (sweep.best_at < 0) return false;
  cuts->at[exit] = sweep.best_at;
  *spent = sweep.best;
  return true;
}

/* ---- local search ----------------------------------------------------------- */

static void improve_singly(const struct search *search, struct ex_cuts *cuts,
                           struct ex_spent *spent) {
  bool moved = true;
  for (int32_t pass = 0; pass < PASSES && moved; pass++) {
    moved = false;
    for (int32_t e = search->budget->n_exits - 1; e >= 0; e--) {
      struct ex_cuts tried = *cuts;
      struct ex_spent found;
      if (!settle(search, e, &tried, &found) || !better(found, *spent)) continue;
      *cuts = tried;
      *spent = found;
      moved = true;
    }
  }
}

/* One exit to each cut of a grid, half of it evenly spread and half near by. */
static bool improve_pair(const struct search *search, int32_t first, int32_t second,
                         struct ex_cuts *cuts, struct ex_spent *spent) {
  const struct ex_budget *budget = search->budget;
  int32_t able = budget->able[first], steps = GRID / budget->n_exits + 4, from = cuts->at[first];
  bool moved = false;
  for (int32_t g = -steps; g <= steps; g++) {
    int32_t at = g % 2 == 0 ? (int32_t)((int64_t)able * (g + steps) / (2 * steps))
                            : from + g * (1 + able / 400);
    if (at < 0 || at > able) continue;
    struct ex_cuts tried = *cuts;
    struct ex_spent found;
    tried.at[first] = whole(budget, first, at);
    if (!settle(search, second, &tried, &found) || !better(found, *spent)) continue;
    *cuts = tried;
    *spent = found;
    moved = true;
  }
  return moved;
}

static void improve_by_pairs(const struct search *search, struct ex_cuts *cuts,
                             struct ex_spent *spent) {
  int32_t n = search->budget->n_exits;
  bool moved = true;
  for (int32_t round = 0; round < PAIR_ROUNDS && moved; round++) {
    moved = false;
    for (int32_t first = 0; first < n; first++)
      for (int32_t second = 0; second < n; second++)
        if (first != second && improve_pair(search, first, second, cuts, spent)) moved = true;
    improve_singly(search, cuts, spent);
  }
}

/* ---- keeping the bound ------------------------------------------------------ */

/* All exits that are on, or every one, let this share of all more leave. */
static struct ex_cuts lowered(const struct ex_budget *budget, const struct ex_cuts *cuts,
                              double share, bool every) {
  struct ex_cuts to = *cuts;
  for (int32_t e = 0; e < budget->n_exits; e++) {
    if (cuts->at[e] == 0 && !every) continue;
    double at = fmin(budget->able[e], ceil(cuts->at[e] + share * budget->able[e]));
    to.at[e] = whole(budget, e, (int32_t)at);
  }
  return to;
}

static bool repair_among(const struct search *search, bool every, struct ex_cuts *cuts) {
  double low = 0, high = 1;
  struct ex_cuts most = lowered(search->budget, cuts, 1, every);
  if (!keeps(search, &most)) return false;
  for (int32_t b = 0; b < 20; b++) {
    double middle = (low + high) / 2;
    struct ex_cuts tried = lowered(search->budget, cuts, middle, every);
    if (keeps(search, &tried)) {
      most = tried;
      high = middle;
    } else {
      low = middle;
    }
  }
  *cuts = most;
  return true;
}

/* The cheapest of: everybody at one exit, those before it off. */
static struct ex_cuts cheapest(const struct ex_budget *budget) {
  struct ex_cuts best = {{0}};
  int64_t least = ex__budget_spent(budget, &best).cost;
  for (int32_t e = 0; e < budget->n_exits; e++) {
    struct ex_cuts cuts = {{0}};
    cuts.at[e] = budget->able[e];
    for (int32_t later = e + 1; later < budget->n_exits; later++)
      cuts.at[later] = budget->able[e] < budget->n ? budget->able[later] : 0;
    int64_t cost = ex__budget_spent(budget, &cuts).cost;
    if (cost >= least) continue;
    least = cost;
    best = cuts;
  }
  return best;
}

/* Lower thresholds until the bound is kept; false: it cannot be. */
static bool repair(const struct search *search, struct ex_cuts *cuts) {
  if (keeps(search, cuts) || repair_among(search, false, cuts) || repair_among(search, true, cuts))
    return true;
  *cuts = cheapest(search->budget);
  return keeps(search, cuts);
}

/* ---- baselines -------------------------------------------------------------- */

/* One threshold for all: mean cost falls with it. */
static struct ex_cuts shared(const struct search *search) {
  struct ex_cuts best = cheapest(search->budget);
  double low = 0, high = 1 + 1e-9, threshold[EX_MAX_POINTS]; /* all leave; nobody does */
  for (int32_t b = 0; b < BISECTIONS; b++) {
    double middle = (low + high) / 2;
    struct ex_cuts tried;
    for (int32_t e = 0; e < search->budget->n_exits; e++) threshold[e] = middle;
    ex__budget_cuts(search->budget, threshold, &tried);
    if (keeps(search, &tried)) {
      best = tried;
      low = middle;
    } else {
      high = middle;
    }
  }
  return best;
}

/* The surest of those who come, as many as the quota of all says; equals together. */
static struct ex_cuts quotas(const struct search *search, double ratio) {
  const struct ex_budget *budget = search->budget;
  struct ex_cuts cuts = {{0}};
  double sum = 0, term = 1;
  for (int32_t p = 0; p <= budget->n_exits; p++) sum += pow(ratio, p);
  for (int32_t e = 0; e < budget->n_exits; e++, term *= ratio) {
    int64_t row = (int64_t)e * budget->n, wanted = (int64_t)((double)budget->total * term / sum);
    int32_t at = 0;
    for (; at < budget->able[e] && wanted > 0; at++) {
      int32_t i = budget->order[row + at], before = 0;
      while (before < e && !leaves(budget, &cuts, before, i)) before++;
      if (before == e) wanted -= budget->count[i];
    }
    cuts.at[e] = whole(budget, e, at);
  }
  return cuts;
}

static struct ex_cuts geometric(const struct search *search) {
  struct ex_cuts best = cheapest(search->budget);
  double low = -8, high = 8; /* of the ratio's logarithm */
  for (int32_t b = 0; b < BISECTIONS; b++) {
    double middle = (low + high) / 2;
    struct ex_cuts tried = quotas(search, exp(middle));
    if (keeps(search, &tried)) {
      best = tried;
      low = middle;
    } else {
      high = middle;
    }
  }
  return best;
}

/* ---- the whole -------------------------------------------------------------- */

/* Thresholds as ranks, and back. */
static void to_ranks(const struct ex_budget *budget, const struct ex_cuts *cuts, double *t) {
  for (int32_t e = 0; e < budget->n_exits; e++) {
    int64_t row = (int64_t)e * budget->n;
    t[e] = cuts->at[e] > 0 ? budget->rank[row + budget->order[row + cuts->at[e] - 1]] : 1;
  }
}

static struct ex_cuts from_ranks(const struct ex_budget *budget, const double *t) {
  struct ex_cuts cuts = {{0}};
  for (int32_t e = 0; e < budget->n_exits; e++) {
    int64_t row = (int64_t)e * budget->n;
    int32_t at = 0;
    while (at < budget->able[e] && budget->rank[row + budget->order[row + at]] >= t[e]) at++;
    cuts.at[e] = at;
  }
  return cuts;
}

/* Repairs and improves a start; the better of it and the best so far. */
static void try(const struct search *search, struct ex_cuts start, struct ex_cuts *best,
                struct ex_spent *spent) {
  if (!repair(search, &start)) return;
  struct ex_spent found = ex__budget_spent(search->budget, &start);
  improve_singly(search, &start, &found);
  if (!better(found, *spent)) return;
  *best = start;
  *spent = found;
}

/* What was best under a wider bound, and keeps this one, is best under this one. */
static struct ex_cuts penalty(const struct search *search, const struct ex_cuts *start) {
  if (start != NULL && keeps(search, start)) return *start;
  const struct ex_budget *budget = search->budget;
  double t[EX_MAX_POINTS];
  struct ex_cuts one = shared(search), best = one;
  struct ex_spent spent = ex__budget_spent(budget, &best);
  to_ranks(budget, start != NULL ? start : &one, t);
  ex__budget_penalty(budget, search->bound, start != NULL, search->work, t);
  try(search, from_ranks(budget, t), &best, &spent);
  try(search, one, &best, &spent);
  if (start != NULL) try(search, *start, &best, &spent); /* repaired */
  improve_by_pairs(search, &best, &spent);
  return best;
}

static void solve(const struct search *search, enum ex_budget_search how,
                  const struct ex_cuts *start, struct ex_cuts *out) {
  switch (how) {
    case EX_BUDGET_PENALTY: *out = penalty(search, start); break;
    case EX_BUDGET_SHARED: *out = shared(search); break;
    case EX_BUDGET_GEOMETRIC: *out = geometric(search); break;
  }
}

enum ex_status ex__budget_solve(const struct ex_budget *budget, double bound,
                                enum ex_budget_search search, const struct ex_cuts *start,
                                struct ex_cuts *out, struct ex_error *err) {
  struct search run = {.budget = budget, .bound = bound};
  *out = (struct ex_cuts){{0}};
  if (bound >= 1 || budget->n_exits == 0) return EX_OK;
  struct ex_cuts least = cheapest(budget);
  if (!keeps(&run, &least))
    return ex__fail(err, EX_EINFEASIBLE,
                    "share = %g of full depth's cost; the cheapest that these exits allow is %g",
                    bound,
                    (double)ex__budget_spent(budget, &least).cost /
                        ((double)budget->costs.full * (double)budget->total));
  run.leaves_at = ex__alloc((size_t)budget->n, sizeof *run.leaves_at);
  run.work = ex__alloc(ex__budget_work(budget), sizeof *run.work);
  bool ok = run.leaves_at != NULL && run.work != NULL;
  if (ok) solve(&run, search, start, out);
  ex__free(run.leaves_at);
  ex__free(run.work);
  return ok ? EX_OK : ex__fail(err, EX_ENOMEM, "budget: no memory for %d samples", (int)budget->n);
}
