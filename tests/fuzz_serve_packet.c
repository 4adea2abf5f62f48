/* SPDX-License-Identifier: Apache-2.0
 *
 * What crosses a cut: a packet that is accepted holds finite numbers, as many as the
 * network wants, and can be written again.
 */
#include <math.h>

#include "base/json.h"
#include "base/memory.h"
#include "serve/packet.h"
#include "tests/fuzzing.h"
#include "zoo/zoo.h"

enum { CLASSES = 3, POINTS = 3 };
static const uint8_t mark[EX_PACKET_MARK] = {'m', 'a', 'r', 'k', 'm', 'a', 'r', 'k'};
static ex_model *model;
static ex_engine *engine;
static ex_partition *partition;
static struct ex_text packets[EX_CUT_FORMS];

int LLVMFuzzerInitialize(int *argc, char ***argv) {
  (void)argc;
  (void)argv;
  static const char text[] =
      "{\"architecture\": \"msdnet\", \"exits\": 3, \"base\": 2, \"step\": 1, \"channels\": 4, "
      "\"growth\": 2, \"head-channels\": 8}";
  const struct ex_shape input = {3, {1, 28, 28}};
  const struct ex_preprocess preprocess = {true, 1, {0.5}, {0.25}};
  const struct ex_engine_options options = {
      .size = sizeof options, .threads = 1, .max_batch = 1, .untimed = true, .uncalibrated = true};
  json_t *json;
  ex_net *net;
  ex_policy policy;
  FUZZ_REQUIRE(ex__json_parse(text, sizeof text - 1, "seed", &json, NULL) == EX_OK);
  FUZZ_REQUIRE(ex__zoo_build(json, &input, CLASSES, 1, &net, NULL) == EX_OK);
  json_decref(json);
  FUZZ_REQUIRE(ex__model_new(net, &preprocess, NULL, &model, NULL) == EX_OK);
  FUZZ_REQUIRE(ex__policy_init(&policy, "patience", POINTS, CLASSES, NULL) == EX_OK);
  FUZZ_REQUIRE(ex__engine_new(model, &policy, &options, &engine, NULL) == EX_OK);
  FUZZ_REQUIRE(ex__partition_new(engine, &partition, NULL) == EX_OK);
  struct ex_crossing crossing = {.point = 1, .target = 2, .ran = 3, .looked = 3};
  size_t n = (size_t)ex__partition_most(partition, 1);
  crossing.numbers = ex__calloc(n, sizeof(ex_real));
  for (size_t i = 0; i < n; i++) crossing.numbers[i] = (ex_real)(i % 7) / 4;
  for (int form = 0; form < EX_CUT_FORMS; form++)
    FUZZ_REQUIRE(ex__packet_write(partition, &crossing, (enum ex_cut_form)form, mark,
                                  &packets[form], NULL) == EX_OK);
  ex__free(crossing.numbers);
  return 0;
}

size_t LLVMFuzzerCustomMutator(uint8_t *data, size_t size, size_t max_size, unsigned int seed) {
  struct fuzz_seed seeds[EX_CUT_FORMS];
  for (int form = 0; form < EX_CUT_FORMS; form++)
    seeds[form] = (struct fuzz_seed){packets[form].data, packets[form].size};
  return fuzz_mutate(seeds, EX_CUT_FORMS, data, size, max_size, seed);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size) {
  struct ex_crossing crossing;
  struct ex_error err = {0};
  if (ex__packet_read(partition, mark, data, size, &crossing, &err) != EX_OK) {
    FUZZ_REQUIRE(err.text[0] != '\0' && crossing.numbers == NULL);
    return 0;
  }
  FUZZ_REQUIRE(crossing.point >= 0 && crossing.point < crossing.target && crossing.target < POINTS);
  int64_t n = ex__partition_memory(partition, crossing.ran, crossing.looked) +
              ex__partition_values(partition, crossing.point);
  for (int64_t i = 0; i < n; i++) FUZZ_REQUIRE(isfinite(crossing.numbers[i]));
  struct ex_text again = {0};
  FUZZ_REQUIRE(ex__packet_write(partition, &crossing, EX_CUT_INT4, mark, &again, NULL) == EX_OK);
  ex__text_clear(&again);
  ex__free(crossing.numbers);
  return 0;
}
