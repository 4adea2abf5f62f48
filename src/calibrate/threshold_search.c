/* SPDX-License-Identifier: Apache-2.0
 *
 * calibrate/threshold_search: the Pareto front of (cost, wrong answers) over
 * one level per exit.
 *
 * BranchyNet screens all combinations, which is exponential in the exits. Here
 * exits are settled from the first to the last: a partial policy knows who has
 * left, at what cost and with how many wrong answers, and who is still here.
 * One pass over those gives all levels of the next exit (histograms by bin).
 * Completed with "all later exits off", each partial policy is a real one and
 * is offered to the front; and it is dropped when the front already covers the
 * best it could become: everybody leaving next at the cheapest exit, with
 * wrong answers only where every later exit is wrong. So far the search is
 * exact. If more than `width` partial policies remain, those are kept that,
 * completed, have the fewest wrong answers among their neighbours in cost; the
 * front says that it is not exact, and is then improved (threshold_polish.c).
 */
#include <stdlib.h>
#include <string.h>

#include "base/memory.h"
#include "calibrate/threshold_problem.h"

struct partial {
  int64_t looks; /* heads paid by each who passes */
  int64_t cost;  /* of those who left */
  int32_t wrong, n_alive;
  uint8_t level[EX_MAX_POINTS];
};

/* A partial policy with its next level, before its survivors are listed. */
struct candidate {
  struct partial partial;
  int32_t parent;
  int64_t whole_cost; /* completed with all later exits off */
  int32_t whole_wrong;
};

struct search {
  const struct ex_threshold_problem *problem;
  struct ex_front *front;
  int32_t width, words;
  struct partial *partials; /* [width], n_partials used */
  uint64_t *alive;          /* [width][words]: bit per sample */
  uint64_t *next_alive;
  struct candidate *candidates; /* [width × (EX_MAX_LEVELS + 1)] */
  int32_t n_partials, n_candidates;
  uint8_t *hopeless;                  /* [n]: every later exit is wrong too */
  int64_t rest_looks[EX_MAX_POINTS];  /* all off: look_off of exits ≥ k, and the last head */
  int64_t least_leave[EX_MAX_POINTS]; /* cheapest way out at or behind exit k, past looks aside */
};

struct bins {
  int32_t count[EX_MAX_LEVELS + 1], wrong[EX_MAX_LEVELS + 1], last_wrong[EX_MAX_LEVELS + 1],
      hopeless[EX_MAX_LEVELS + 1];
};

static void count_bins(const struct search *search, int32_t exit, const uint64_t *alive,
                       struct bins *bins) {
  const struct ex_threshold_problem *problem = search->problem;
  int64_t n = problem->n;
  const uint8_t *bin = problem->bin + exit * n, *wrong = problem->wrong + exit * n;
  const uint8_t *last = problem->wrong + problem->n_exits * n;
  memset(bins, 0, sizeof *bins);
  for (int32_t w = 0; w < search->words; w++)
    for (uint64_t bits = alive[w]; bits != 0; bits &= bits - 1) {
      int32_t i = w * 64 + __builtin_ctzll(bits);
      bins->count[bin[i]]++;
      bins->wrong[bin[i]] += wrong[i];
      bins->last_wrong[bin[i]] += last[i];
      bins->hopeless[bin[i]] += search->hopeless[i];
    }
}

/* Offers the completion; keeps the candidate unless the front covers all it
 * could become. `left`: what stays here, by kind of sample. */
static enum ex_status consider(struct search *search, int32_t exit, const struct partial *partial,
                               int32_t parent, int32_t last_wrong, int32_t hopeless) {
  const struct ex_threshold_problem *problem = search->problem;
  int32_t last = problem->n_exits;
  struct candidate candidate = {.partial = *partial, .parent = parent};
  candidate.whole_cost = partial->cost + partial->n_alive * (problem->body[last] + partial->looks +
                                                             search->rest_looks[exit + 1]);
  candidate.whole_wrong = partial->wrong + last_wrong;
  uint8_t level[EX_MAX_POINTS];
  memcpy(level, partial->level, sizeof level);
  for (int32_t e = exit + 1; e < last; e++) level[e] = (uint8_t)problem->n_levels[e];
  EX_TRY(ex__front_offer(search->front, candidate.whole_cost, candidate.whole_wrong, level, last));
  int64_t least_cost =
      partial->cost + partial->n_alive * (partial->looks + search->least_leave[exit + 1]);
  if (partial->n_alive > 0 && exit + 1 < last &&
      !ex__front_covers(search->front, least_cost, partial->wrong + hopeless))
    search->candidates[search->n_candidates++] = candidate;
  return EX_OK;
}

static enum ex_status expand(struct search *search, int32_t exit, int32_t parent) {
  const struct ex_threshold_problem *problem = search->problem;
  const struct partial *from = &search->partials[parent];
  struct bins bins;
  count_bins(search, exit, search->alive + (int64_t)parent * search->words, &bins);
  int32_t last_wrong = 0, hopeless = 0, n_levels = problem->n_levels[exit];
  for (int32_t b = 0; b <= n_levels; b++) {
    last_wrong += bins.last_wrong[b];
    hopeless += bins.hopeless[b];
  }
  struct partial off = *from;
  off.level[exit] = (uint8_t)n_levels;
  off.looks += problem->look_off[exit];
  EX_TRY(consider(search, exit, &off, parent, last_wrong, hopeless));
  struct partial on = *from;
  on.looks += problem->look[exit];
  for (int32_t level = n_levels - 1; level >= 0; level--) {
    int32_t b = level + 1; /* the bin that leaves in addition */
    if (bins.count[b] == 0) continue;
    on.level[exit] = (uint8_t)level;
    on.cost += bins.count[b] * (problem->body[exit] + on.looks);
    on.wrong += bins.wrong[b];
    on.n_alive -= bins.count[b];
    last_wrong -= bins.last_wrong[b];
    hopeless -= bins.hopeless[b];
    EX_TRY(consider(search, exit, &on, parent, last_wrong, hopeless));
  }
  return EX_OK;
}

/* ---- thinning ----------------------------------------------------------- */

static int by_cost(const void *left, const void *right) {
  const struct candidate *a = left, *b = right;
  if (a->whole_cost != b->whole_cost) return a->whole_cost < b->whole_cost ? -1 : 1;
  if (a->whole_wrong != b->whole_wrong) return a->whole_wrong < b->whole_wrong ? -1 : 1;
  return memcmp(a->partial.level, b->partial.level, sizeof a->partial.level);
}

static int by_wrong(const void *left, const void *right) {
  const struct candidate *a = left, *b = right;
  if (a->whole_wrong != b->whole_wrong) return a->whole_wrong < b->whole_wrong ? -1 : 1;
  return by_cost(left, right);
}

/* Neighbours in cost compete; a quarter of `width` groups keeps four each. */
static void thin(struct search *search) {
  int32_t n = search->n_candidates, groups = search->width / 4, kept = 0;
  qsort(search->candidates, (size_t)n, sizeof *search->candidates, by_cost);
  for (int32_t g = 0; g < groups; g++) {
    int32_t first = (int32_t)((int64_t)n * g / groups);
    int32_t end = (int32_t)((int64_t)n * (g + 1) / groups);
    qsort(search->candidates + first, (size_t)(end - first), sizeof *search->candidates, by_wrong);
    for (int32_t i = first; i < end && i < first + 4; i++)
      search->candidates[kept++] = search->candidates[i];
  }
  search->n_candidates = kept;
  search->front->exact = false;
}

/* The candidates become the partial policies of the next exit. */
static void advance(struct search *search, int32_t exit) {
  const uint8_t *bin = search->problem->bin + (int64_t)exit * search->problem->n;
  for (int32_t c = 0; c < search->n_candidates; c++) {
    const struct candidate *candidate = &search->candidates[c];
    const uint64_t *from = search->alive + (int64_t)candidate->parent * search->words;
    uint64_t *to = search->next_alive + (int64_t)c * search->words;
    uint8_t level = candidate->partial.level[exit];
    for (int32_t w = 0; w < search->words; w++) {
      to[w] = from[w];
      for (uint64_t bits = from[w]; bits != 0; bits &= bits - 1) {
        int32_t bit = __builtin_ctzll(bits);
        if (bin[w * 64 + bit] > level) to[w] &= ~((uint64_t)1 << bit);
      }
    }
    search->partials[c] = candidate->partial;
  }
  uint64_t *swap = search->alive;
  search->alive = search->next_alive;
  search->next_alive = swap;
  search->n_partials = search->n_candidates;
}

/* ---- the search --------------------------------------------------------- */

static void prepare(struct search *search) {
  const struct ex_threshold_problem *problem = search->problem;
  int32_t last = problem->n_exits;
  search->rest_looks[last] = problem->look[last];
  search->least_leave[last] = problem->body[last] + problem->look[last];
  for (int32_t e = last - 1; e >= 0; e--) {
    int64_t here = problem->body[e] + problem->look[e];
    int64_t later =
        search->least_leave[e + 1] +
        (problem->look_off[e] < problem->look[e] ? problem->look_off[e] : problem->look[e]);
    search->rest_looks[e] = search->rest_looks[e + 1] + problem->look_off[e];
    search->least_leave[e] = here < later ? here : later;
  }
  search->partials[0] = (struct partial){.n_alive = problem->n};
  search->n_partials = 1;
  for (int32_t i = 0; i < problem->n; i++) search->alive[i / 64] |= (uint64_t)1 << (i % 64);
}

static void mark_hopeless(struct search *search, int32_t exit) {
  const struct ex_threshold_problem *problem = search->problem;
  memset(search->hopeless, 1, (size_t)problem->n);
  for (int32_t e = exit + 1; e <= problem->n_exits; e++)
    for (int32_t i = 0; i < problem->n; i++)
      search->hopeless[i] &= problem->wrong[(int64_t)e * problem->n + i];
}

static enum ex_status run(struct search *search) {
  for (int32_t exit = 0; exit < search->problem->n_exits; exit++) {
    mark_hopeless(search, exit);
    search->n_candidates = 0;
    for (int32_t p = 0; p < search->n_partials; p++) EX_TRY(expand(search, exit, p));
    if (search->n_candidates > search->width) thin(search);
    advance(search, exit);
  }
  return EX_OK;
}

/* A net of one exit has one policy. */
static enum ex_status offer_all_off(const struct search *search) {
  const struct ex_threshold_problem *problem = search->problem;
  uint8_t level[EX_MAX_POINTS] = {0};
  int32_t wrong = 0, last = problem->n_exits;
  for (int32_t e = 0; e < last; e++) level[e] = (uint8_t)problem->n_levels[e];
  for (int32_t i = 0; i < problem->n; i++) wrong += problem->wrong[(int64_t)last * problem->n + i];
  return ex__front_offer(search->front, problem->n * (problem->body[last] + search->rest_looks[0]),
                         wrong, level, last);
}

enum ex_status ex__threshold_search(const struct ex_threshold_problem *problem, int32_t width,
                                    struct ex_front *front, struct ex_error *err) {
  *front = (struct ex_front){.exact = true};
  struct search search = {.problem = problem, .front = front, .width = width};
  search.words = (problem->n + 63) / 64;
  size_t states = (size_t)width, bits = states * (size_t)search.words;
  search.partials = ex__calloc(states, sizeof *search.partials);
  search.alive = ex__calloc(bits, sizeof *search.alive);
  search.next_alive = ex__calloc(bits, sizeof *search.next_alive);
  search.candidates = ex__alloc(states * (EX_MAX_LEVELS + 1), sizeof *search.candidates);
  search.hopeless = ex__calloc((size_t)problem->n, 1);
  enum ex_status status = EX_ENOMEM;
  if (search.partials != NULL && search.alive != NULL && search.next_alive != NULL &&
      search.candidates != NULL && search.hopeless != NULL) {
    prepare(&search);
    status = offer_all_off(&search);
    if (status == EX_OK) status = run(&search);
    if (status == EX_OK && !front->exact) status = ex__threshold_polish(problem, front);
  }
  ex__free(search.partials);
  ex__free(search.alive);
  ex__free(search.next_alive);
  ex__free(search.candidates);
  ex__free(search.hopeless);
  if (status == EX_OK) return EX_OK;
  ex__front_free(front);
  return ex__fail(err, status, "calibrate: no memory to search %d exits", (int)problem->n_exits);
}
