/* SPDX-License-Identifier: Apache-2.0
 *
 * JSON from untrusted places: what is accepted survives a round trip, and
 * parameters read from it keep their bounds.
 */
#include "base/json.h"
#include "base/memory.h"
#include "base/param.h"
#include "tests/fuzzing.h"

struct part {
  int32_t patience, nesterov, kind;
  double rate;
  struct ex_list weights;
};

static const char *const kinds[] = {"step", "cosine", NULL};
static const struct ex_param table[] = {
    {"patience", EX_PARAM_INT, offsetof(struct part, patience), 1, 64, "3", NULL, ""},
    {"nesterov", EX_PARAM_BOOL, offsetof(struct part, nesterov), 0, 1, "true", NULL, ""},
    {"schedule", EX_PARAM_ENUM, offsetof(struct part, kind), 0, 0, "cosine", kinds, ""},
    {"rate", EX_PARAM_REAL, offsetof(struct part, rate), 0, 10, "0.1", NULL, ""},
    {"weights", EX_PARAM_LIST, offsetof(struct part, weights), 0, 5, "1,0.5", NULL, ""},
    {.name = NULL},
};

static void check_param(const json_t *json) {
  struct part part;
  struct ex_error err;
  ex__param_defaults(table, &part);
  (void)ex__param_from_json("fuzz", table, &part, json, &err);
  FUZZ_REQUIRE(part.patience >= 1 && part.patience <= 64);
  FUZZ_REQUIRE(part.kind == 0 || part.kind == 1);
  FUZZ_REQUIRE(part.rate >= 0 && part.rate <= 10);
  FUZZ_REQUIRE(part.weights.n >= 0 && part.weights.n <= EX_MAX_LIST);
  for (int32_t i = 0; i < part.weights.n; i++)
    FUZZ_REQUIRE(part.weights.value[i] >= 0 && part.weights.value[i] <= 5);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size) {
  struct ex_error err;
  json_t *json = NULL;
  if (ex__json_parse((const char *)data, size, "fuzz", &json, &err) != EX_OK) {
    FUZZ_REQUIRE(json == NULL && strlen(err.text) < sizeof err.text);
    return 0;
  }
  char *text = NULL;
  json_t *again = NULL;
  FUZZ_REQUIRE(ex__json_dump(json, size % 2 == 0, &text) == EX_OK);
  FUZZ_REQUIRE(ex__json_parse(text, strlen(text), "again", &again, &err) == EX_OK);
  FUZZ_REQUIRE(json_equal(json, again));
  check_param(json);
  ex__free(text);
  json_decref(json);
  json_decref(again);
  return 0;
}

#define SEED(text) \
  { text, sizeof(text) - 1 }
static const struct fuzz_seed seeds[] = {
    SEED("{\"patience\": 5, \"rate\": 0.5, \"weights\": [1, 2.5], \"schedule\": \"step\"}"),
    SEED("{\"nesterov\": true, \"rate\": 1e-3, \"x\": {\"y\": [null, \"\\u00e9\\ud83d\\ude00\"]}}"),
    SEED("[[[[-0.0, 123456789012345678]]], {}, []]"),
};

size_t LLVMFuzzerCustomMutator(uint8_t *data, size_t size, size_t max_size, unsigned int seed) {
  return fuzz_mutate(seeds, sizeof seeds / sizeof *seeds, data, size, max_size, seed);
}
