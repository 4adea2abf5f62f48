/* SPDX-License-Identifier: Apache-2.0
 *
 * base/random: xoshiro256++ 1.0 and splitmix64, both by David Blackman and
 * Sebastiano Vigna and in the public domain (prng.di.unimi.it).
 *
 * Seed and stream are each put through splitmix64's finaliser before they
 * meet, so that (seed 1, stream 2) and (seed 2, stream 1) differ. Normal
 * numbers are Box–Muller's first coordinate: the second is thrown away, since
 * keeping it would put more than these 32 bytes into the state.
 */
#include "base/random.h"

#include <math.h>

static uint64_t splitmix(uint64_t *state) {
  uint64_t z = (*state += 0x9e3779b97f4a7c15u);
  z = (z ^ (z >> 30)) * 0xbf58476d1ce4e5b9u;
  z = (z ^ (z >> 27)) * 0x94d049bb133111ebu;
  return z ^ (z >> 31);
}

static uint64_t rotate(uint64_t x, int k) { return (x << k) | (x >> (64 - k)); }

struct ex_random ex__random_seed(uint64_t seed, uint64_t stream) {
  uint64_t other = stream;
  uint64_t mixed = seed ^ rotate(splitmix(&other), 17);
  struct ex_random random;
  for (int i = 0; i < 4; i++) random.state[i] = splitmix(&mixed);
  return random;
}

uint64_t ex__random_u64(struct ex_random *random) {
  uint64_t *s = random->state;
  uint64_t result = rotate(s[0] + s[3], 23) + s[0];
  uint64_t t = s[1] << 17;
  s[2] ^= s[0];
  s[3] ^= s[1];
  s[1] ^= s[2];
  s[0] ^= s[3];
  s[2] ^= t;
  s[3] = rotate(s[3], 45);
  return result;
}

double ex__random_uniform(struct ex_random *random) {
  return (double)(ex__random_u64(random) >> 11) * 0x1.0p-53;
}

double ex__random_normal(struct ex_random *random) {
  const double two_pi = 6.283185307179586476925;
  double radius = 1.0 - ex__random_uniform(random); /* (0, 1]: its logarithm is finite */
  double angle = ex__random_uniform(random);
  return sqrt(-2.0 * log(radius)) * cos(two_pi * angle);
}

/* Lemire, "Fast random integer generation in an interval" (2019). */
uint32_t ex__random_below(struct ex_random *random, uint32_t bound) {
  uint64_t product = (ex__random_u64(random) >> 32) * bound;
  if ((uint32_t)product < bound) {
    uint32_t least = (uint32_t)-bound % bound;
    while ((uint32_t)product < least) product = (ex__random_u64(random) >> 32) * bound;
  }
  return (uint32_t)(product >> 32);
}

void ex__random_shuffle(struct ex_random *random, int32_t *items, int32_t n) {
  for (int32_t i = n - 1; i > 0; i--) {
    int32_t j = (int32_t)ex__random_below(random, (uint32_t)i + 1);
    int32_t held = items[i];
    items[i] = items[j];
    items[j] = held;
  }
}
