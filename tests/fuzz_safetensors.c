/* SPDX-License-Identifier: Apache-2.0
 *
 * Safetensors: every array of an accepted file can be read to its end, and is
 * found under its name.
 */
#include "base/memory.h"
#include "data/safetensors.h"
#include "tests/fuzzing.h"

static unsigned checksum;

static void read_array(const ex_safetensors *file, const struct ex_array *array) {
  const uint8_t *bytes = array->data;
  for (size_t i = 0; i < array->size; i++) checksum += bytes[i];
  FUZZ_REQUIRE((uintptr_t)array->data % ex__dtype_size(array->dtype) == 0);
  FUZZ_REQUIRE(ex__safetensors_find(file, array->name) == array);
  const struct ex_array *found;
  FUZZ_REQUIRE(ex__safetensors_get(file, array->name, array->dtype, array->rank, array->dim, &found,
                                   NULL) == EX_OK);
  ex_real first;
  if (array->count > 0) (void)ex__array_to_real(array, array->count - 1, 1, &first);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size) {
  struct ex_error err;
  ex_safetensors *file = NULL;
  if (ex__safetensors_parse(data, size, "fuzz", &file, &err) != EX_OK) {
    FUZZ_REQUIRE(file == NULL);
    return 0;
  }
  for (int32_t i = 0; i < ex__safetensors_count(file); i++)
    read_array(file, ex__safetensors_at(file, i));
  (void)ex__safetensors_metadata(file, "format");
  ex__safetensors_free(file);
  return 0;
}

#define SEED(length, text) \
  { length "\0\0\0\0\0\0\0" text, sizeof(text) + 7 }
static const struct fuzz_seed seeds[] = {
    SEED("\x3b", "{\"a\":{\"dtype\":\"F32\",\"shape\":[2,1],\"data_offsets\":[0,8]}}   01234567"),
    SEED(
        "\x80",
        "{\"__metadata__\":{\"format\":\"1\"},\"b\":{\"dtype\":\"U8\",\"shape\":[3],\"data_offsets\":"
        "[8,11]},\"a\":{\"dtype\":\"I64\",\"shape\":[],\"data_offsets\":[0,8]}}01234567abc"),
    SEED("\x02", "{}"),
};

/* Most changes break the length of the header, so it is usually mended. */
size_t LLVMFuzzerCustomMutator(uint8_t *data, size_t size, size_t max_size, unsigned int seed) {
  size = fuzz_mutate(seeds, sizeof seeds / sizeof *seeds, data, size, max_size, seed);
  if (size < 10 || seed % 4 == 0) return size;
  uint64_t length = 0;
  for (size_t i = 8; i < size; i++)
    if (data[i] == '}') length = i - 7;
  memcpy(data, &length, sizeof length);
  return size;
}
