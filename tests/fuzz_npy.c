/* SPDX-License-Identifier: Apache-2.0
 *
 * NumPy files: an accepted array lies wholly within the file.
 */
#include "data/npy.h"
#include "tests/fuzzing.h"

static unsigned checksum;

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size) {
  struct ex_error err;
  struct ex_npy npy;
  if (ex__npy_parse(data, size, "fuzz", &npy, &err) == EX_OK) {
    const uint8_t *bytes = npy.array.data;
    for (size_t i = 0; i < npy.array.size; i++) checksum += bytes[i];
    FUZZ_REQUIRE(npy.array.size < size);
  }
  ex__npy_close(&npy);
  return 0;
}

#define SEED(text) \
  { text, sizeof(text) - 1 }
static const struct fuzz_seed seeds[] = {
    SEED("\x93NUMPY\1\0\x3b\0{'descr': '<f4', 'fortran_order': False, 'shape': (2, 1), }01234567"),
    SEED("\x93NUMPY\2\0\x37\0\0\0{'descr': '|u1', 'fortran_order': False, 'shape': (1,)}x"),
};

size_t LLVMFuzzerCustomMutator(uint8_t *data, size_t size, size_t max_size, unsigned int seed) {
  return fuzz_mutate(seeds, sizeof seeds / sizeof *seeds, data, size, max_size, seed);
}
