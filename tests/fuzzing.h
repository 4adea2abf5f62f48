/* SPDX-License-Identifier: Apache-2.0
 *
 * What the fuzz targets share: a valid file to start from. libFuzzer knows
 * nothing of the formats, so now and then, and whenever its input is nearly
 * empty, a mutation begins anew from one of the target's own seeds.
 */
#ifndef EX_TESTS_FUZZING_H
#define EX_TESTS_FUZZING_H

#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/status.h"

/* libFuzzer's interface. */
int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);
int LLVMFuzzerInitialize(int *argc, char ***argv);
size_t LLVMFuzzerMutate(uint8_t *data, size_t size, size_t max_size);
size_t LLVMFuzzerCustomMutator(uint8_t *data, size_t size, size_t max_size, unsigned int seed);

struct fuzz_seed {
  const void *data;
  size_t size;
};

static inline size_t fuzz_mutate(const struct fuzz_seed *seeds, size_t n, uint8_t *data,
                                 size_t size, size_t max_size, unsigned int seed) {
  if (size < 8 || seed % 500 == 0) {
    const struct fuzz_seed *chosen = &seeds[seed / 500 % n];
    size = chosen->size < max_size ? chosen->size : max_size;
    memcpy(data, chosen->data, size);
    if (seed % 2 == 0) return size;
  }
  return LLVMFuzzerMutate(data, size, max_size);
}

/* A broken promise of the code under test, which sanitizers do not see. */
#define FUZZ_REQUIRE(condition)                                                \
  do {                                                                         \
    if (!(condition)) {                                                        \
      fprintf(stderr, "%s:%d: %s is false\n", __FILE__, __LINE__, #condition); \
      abort();                                                                 \
    }                                                                          \
  } while (0)

#endif
