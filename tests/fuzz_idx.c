/* SPDX-License-Identifier: Apache-2.0
 *
 * IDX files, plain and compressed. zlib reads from a path, so each input is
 * written to one file (in memory where /dev/shm exists).
 */
#include <unistd.h>

#include "data/idx.h"
#include "tests/fuzzing.h"

static char path[64];
static unsigned checksum;

static void remove_file(void) { unlink(path); }

int LLVMFuzzerInitialize(int *argc, char ***argv) {
  (void)argc, (void)argv;
  const char *folder = access("/dev/shm", W_OK) == 0 ? "/dev/shm" : "/tmp";
  snprintf(path, sizeof path, "%s/exeunt-fuzz-idx-%ld", folder, (long)getpid());
  atexit(remove_file);
  return 0;
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size) {
  FILE *file = fopen(path, "wb");
  FUZZ_REQUIRE(file != NULL && fwrite(data, 1, size, file) == size && fclose(file) == 0);
  struct ex_error err;
  for (int32_t rank = 1; rank <= 3; rank += 2) {
    struct ex_array array;
    if (ex__idx_read(path, rank, &array, &err) != EX_OK) {
      FUZZ_REQUIRE(array.data == NULL);
      continue;
    }
    const uint8_t *bytes = array.data;
    for (size_t i = 0; i < array.size; i++) checksum += bytes[i];
    ex__array_free(&array);
  }
  return 0;
}

#define SEED(text) \
  { text, sizeof(text) - 1 }
static const struct fuzz_seed seeds[] = {
    SEED("\0\0\x8\3\0\0\0\2\0\0\0\1\0\0\0\3abcdef"),
    SEED("\0\0\x8\1\0\0\0\5abcde"),
    SEED("\0\0\xd\1\0\0\0\2abcdefgh"),
    /* the second, by gzip -n */
    SEED("\x1f\x8b\x08\0\0\0\0\0\0\x03\x63\x60\xe0\x60\x64\x60\x60\x60\x4d\x4c\x4a\x4e\x49\x05\0"
         "\x32\x72\x1d\x49\x0d\0\0\0"),
};

size_t LLVMFuzzerCustomMutator(uint8_t *data, size_t size, size_t max_size, unsigned int seed) {
  return fuzz_mutate(seeds, sizeof seeds / sizeof *seeds, data, size, max_size, seed);
}
