/* SPDX-License-Identifier: Apache-2.0
 *
 * base/random: random numbers that are passed in, never global.
 *
 * xoshiro256++ seeded by splitmix64 (Blackman & Vigna, public domain). The
 * whole state is 32 bytes without pointers: saving it is memcpy, and a stream
 * forked by (seed, stream) does not depend on how much another has drawn.
 */
#ifndef EX_BASE_RANDOM_H
#define EX_BASE_RANDOM_H

#include <stdint.h>

struct ex_random {
  uint64_t state[4];
};

struct ex_random ex__random_seed(uint64_t seed, uint64_t stream);
uint64_t ex__random_u64(struct ex_random *random);
double ex__random_uniform(struct ex_random *random);                 /* [0, 1) */
double ex__random_normal(struct ex_random *random);                  /* mean 0, variance 1 */
uint32_t ex__random_below(struct ex_random *random, uint32_t bound); /* unbiased; bound ≥ 1 */
void ex__random_shuffle(struct ex_random *random, int32_t *items, int32_t n);

#endif
