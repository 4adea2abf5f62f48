/* SPDX-License-Identifier: Apache-2.0
 *
 * Replies of the server behind a cut: what is taken from one is within the model's
 * ranges.
 */
#include <math.h>

#include "serve/infer.h"
#include "tests/fuzzing.h"

enum { CLASSES = 3, EXITS = 4 };
static const char seed_text[] =
    "{\"outputs\":[{\"name\":\"label\",\"data\":[2]},{\"name\":\"exit\",\"data\":[3]},"
    "{\"name\":\"macs\",\"data\":[99]},{\"name\":\"confidence\",\"data\":[0.5]},"
    "{\"name\":\"logits\",\"data\":[0.5,-1,2e3]}]}";

size_t LLVMFuzzerCustomMutator(uint8_t *data, size_t size, size_t max_size, unsigned int seed) {
  const struct fuzz_seed seeds[] = {{seed_text, sizeof seed_text - 1}};
  return fuzz_mutate(seeds, 1, data, size, max_size, seed);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size) {
  const struct ex_model_info info = {
      .size = sizeof info, .n_exits = EXITS, .n_outputs = CLASSES, .full_macs = 100};
  for (int logits = 0; logits < 2; logits++) {
    float values[CLASSES] = {0};
    struct ex_result result = {.logits = values};
    struct ex_error err = {0};
    if (ex__infer_read_reply(data, size, &info, logits, &result, &err) != EX_OK) {
      FUZZ_REQUIRE(err.text[0] != '\0');
      continue;
    }
    FUZZ_REQUIRE(result.label >= 0 && result.label < CLASSES);
    FUZZ_REQUIRE(result.exit >= 0 && result.exit < EXITS);
    FUZZ_REQUIRE(result.macs >= 0 && result.macs <= 200);
    FUZZ_REQUIRE(result.confidence >= 0 && result.confidence <= 1);
    for (int c = 0; c < CLASSES; c++) FUZZ_REQUIRE(isfinite(values[c]));
  }
  return 0;
}
