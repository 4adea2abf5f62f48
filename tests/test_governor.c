/* SPDX-License-Identifier: Apache-2.0
 *
 * The simulated governor: deadlines are kept or their loss is told, the choice is that
 * of brute force, what a change of level costs counts, and so does what may follow.
 */
#include "policy/governor.h"

#include <math.h>

#include "base/random.h"
#include "tests/testing.h"

#define device ex__device_board

static struct ex_hop known(double macs) { return (struct ex_hop){macs, 0}; }

static double ns_at(const struct ex_device *d, double macs, int32_t level) {
  return 1e9 * macs / (d->macs_per_cycle * d->level[level].hz);
}

static void deadlines_are_kept_or_told(void **state) {
  (void)state;
  struct ex_random random = ex__random_seed(1, 0);
  int32_t missed = 0, levels[4] = {0};
  for (int32_t i = 0; i < 5000; i++) {
    double macs = 1e8 * ex__random_uniform(&random);
    double left = 10 * ns_at(&device, macs, 3) * ex__random_uniform(&random) - 1e5;
    int32_t current = (int32_t)ex__random_below(&random, 4);
    struct ex_governed chosen = ex__governor_choose(&device, known(macs), left, current);
    double least = INFINITY, soonest = INFINITY; /* by brute force */
    for (int32_t l = 0; l < 4; l++) {
      bool changes = l != current;
      double ns = ns_at(&device, macs, l) + (changes ? 50e3 : 0);
      double joules =
          macs * 2e-12 * device.level[l].volts * device.level[l].volts + (changes ? 1e-6 : 0);
      if (ns <= left) least = fmin(least, joules);
      if (l == 3 || l == current) soonest = fmin(soonest, ns);
    }
    assert_int_equal(chosen.missed, isinf(least));
    assert_true(chosen.missed == (chosen.ns > left));
    if (chosen.missed)
      assert_true(chosen.ns == soonest);
    else
      assert_true(chosen.joules == least);
    missed += chosen.missed;
    levels[chosen.level]++;
  }
  assert_true(missed > 100 && missed < 4900);
  for (int32_t l = 0; l < 4; l++) assert_true(levels[l] > 100);
}

/* Where changing is free: the lowest level that keeps the deadline, as in the paper. */
static void free_switching_takes_the_lowest_level(void **state) {
  (void)state;
  struct ex_device free = device;
  free.switch_ns = free.switch_joules = 0;
  const double macs = 1e7;
  for (int32_t l = 0; l < 4; l++)
    for (int32_t current = 0; current < 4; current++) {
      struct ex_governed chosen =
          ex__governor_choose(&free, known(macs), ns_at(&free, macs, l), current);
      assert_int_equal(chosen.level, l);
      assert_false(chosen.missed);
    }
  struct ex_governed late =
      ex__governor_choose(&free, known(macs), ns_at(&free, macs, 3) * 0.99, 0);
  assert_true(late.missed && late.level == 3);
}

/* A change that costs more than it saves is not made; nor is one that comes too late. */
static void switching_has_its_price(void **state) {
  (void)state;
  struct ex_device dear = device;
  dear.switch_joules = 1;
  assert_int_equal(ex__governor_choose(&dear, known(1e6), 1e12, 3).level, 3);
  assert_int_equal(ex__governor_choose(&device, known(1e8), 1e12, 3).level, 0);
  /* 0.1 ms of work at the second level, less at the fastest, but for the change. */
  struct ex_device slow = device;
  slow.switch_ns = 1e6;
  struct ex_governed chosen = ex__governor_choose(&slow, known(2e5), 1, 1);
  assert_true(chosen.missed && chosen.level == 1);
}

/* Known work is done with less energy than by racing, and in time; work that was not
 * known may come too late, and then that is told. */
static void runs_add_up(void **state) {
  (void)state;
  const struct ex_hop hops[] = {{4e6, 8e7}, {2e7, 6e7}, {6e7, 0}}, all = {8.4e7, 0};
  double deadline = 2 * ns_at(&device, all.macs, 3);
  struct ex_governed race = ex__governor_run(&device, hops, 3, deadline, EX_GOVERN_RACE);
  assert_true(fabs(race.ns - ns_at(&device, all.macs, 3)) <= 1e-9 * race.ns);
  assert_true(fabs(race.joules - all.macs * 2e-12 * 1.1 * 1.1) <= 1e-9 * race.joules);
  assert_true(!race.missed && race.level == 3 && race.changes == 0);
  struct ex_governed once = ex__governor_run(&device, &all, 1, deadline, EX_GOVERN_NEXT);
  assert_true(!once.missed && once.ns <= deadline && once.joules < race.joules);
  assert_int_equal(once.changes, 2); /* and back, for the next sample */
  struct ex_governed surprised = ex__governor_run(&device, hops, 3, deadline, EX_GOVERN_NEXT);
  assert_true(surprised.missed && surprised.ns > deadline && surprised.level == 3);
  struct ex_governed careful = ex__governor_run(&device, hops, 3, deadline, EX_GOVERN_ALL);
  assert_true(!careful.missed && careful.joules < race.joules);
  struct ex_governed nothing = ex__governor_run(&device, hops, 0, 0, EX_GOVERN_NEXT);
  assert_true(nothing.ns == 0 && nothing.joules == 0 && !nothing.missed);
}

/* Whatever follows, up to what was said to be possible, time that is kept back is
 * enough: late only where racing is, and seldom dearer than it. */
static void time_kept_back_is_enough(void **state) {
  (void)state;
  struct ex_random random = ex__random_seed(2, 0);
  int32_t late = 0, surprised = 0, saved = 0;
  for (int32_t i = 0; i < 5000; i++) {
    enum { MOST = 6 };
    int32_t n = 1 + (int32_t)ex__random_below(&random, MOST);
    struct ex_hop hop[MOST];
    double left = 0;
    for (int32_t h = n - 1; h >= 0; h--) {
      left += 2e7 * ex__random_uniform(&random); /* that does not come to pass */
      hop[h] = (struct ex_hop){2e7 * ex__random_uniform(&random), left};
      left += hop[h].macs;
    }
    double deadline = (0.3 + 2 * ex__random_uniform(&random)) * ns_at(&device, left, 3);
    struct ex_governed race = ex__governor_run(&device, hop, n, deadline, EX_GOVERN_RACE);
    struct ex_governed next = ex__governor_run(&device, hop, n, deadline, EX_GOVERN_NEXT);
    struct ex_governed all = ex__governor_run(&device, hop, n, deadline, EX_GOVERN_ALL);
    assert_true(race.missed || !all.missed);
    late += all.missed;
    surprised += next.missed && !race.missed;
    saved += all.joules < race.joules;
  }
  assert_true(late > 100 && surprised > 100 && saved > 1000);
}

int main(void) {
  const struct CMUnitTest tests[] = {
      cmocka_unit_test(deadlines_are_kept_or_told),
      cmocka_unit_test(free_switching_takes_the_lowest_level),
      cmocka_unit_test(switching_has_its_price),
      cmocka_unit_test(runs_add_up),
      cmocka_unit_test(time_kept_back_is_enough),
  };
  return cmocka_run_group_tests(tests, NULL, NULL);
}
