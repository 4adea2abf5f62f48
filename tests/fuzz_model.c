/* SPDX-License-Identifier: Apache-2.0
 *
 * Model files: what is accepted is a whole net, whose costs, digest and
 * description can be taken, which reads the same when written again, and which is
 * exported as C or refused with a reason. The
 * seed is a small model, made once. Since most of a file's meaning is JSON
 * inside a string of JSON, half of the mutations change that text and put the
 * file together again.
 */
#include <jansson.h>
#include <unistd.h>

#include "base/digest.h"
#include "base/file.h"
#include "base/json.h"
#include "base/memory.h"
#include "export/export.h"
#include "net/model.h"
#include "tests/fuzzing.h"
#include "zoo/zoo.h"

static struct fuzz_seed model_seed;

int LLVMFuzzerInitialize(int *argc, char ***argv) {
  (void)argc;
  (void)argv;
  static const char text[] =
      "{\"architecture\": \"branchynet_lenet\", \"channels\": [1, 1, 1], \"hidden\": 2, "
      "\"branch-channels\": 1, \"kernel\": 3, \"pad\": 1}";
  const struct ex_shape input = {3, {1, 8, 8}};
  const struct ex_preprocess preprocess = {true, 1, {0.5}, {0.25}};
  char path[] = "/tmp/exeunt-fuzz-XXXXXX";
  int fd = mkstemp(path);
  FUZZ_REQUIRE(fd >= 0);
  close(fd);
  json_t *json;
  ex_net *net;
  ex_model *model;
  void *data;
  FUZZ_REQUIRE(ex__json_parse(text, sizeof text - 1, "seed", &json, NULL) == EX_OK);
  FUZZ_REQUIRE(ex__zoo_build(json, &input, 2, 1, &net, NULL) == EX_OK);
  FUZZ_REQUIRE(ex__model_new(net, &preprocess, NULL, &model, NULL) == EX_OK);
  net->transform = (struct ex_transform){
      .kind = EX_TRANSFORM_ENSEMBLE,
      .ensemble = ex__ensemble_new(EX_MEAN_GEOMETRIC, net->n_points, net->n_outputs)};
  FUZZ_REQUIRE(net->transform.ensemble != NULL &&
               ex__ensemble_row(net->transform.ensemble, net->n_points - 1) != NULL);
  struct ex_cost cost;
  ex__net_cost(net, &cost);
  model->cost = ex__cost_to_json(net, &cost);
  FUZZ_REQUIRE(ex__model_write(model, path, NULL) == EX_OK);
  FUZZ_REQUIRE(ex__file_read(path, 1 << 20, &data, &model_seed.size, NULL) == EX_OK);
  model_seed.data = data;
  unlink(path);
  ex_model_free(model);
  json_decref(json);
  return 0;
}

static void read_zeros(void *context, int32_t index, ex_real *x) {
  const ex_net *net = context;
  (void)index;
  for (int64_t i = 0; i < ex__shape_count(&net->input); i++) x[i] = 0;
}

static void export(const ex_model *model) {
  ex_policy policy;
  struct ex_cost cost;
  const ex_net *net = model->net;
  if (ex__policy_init(&policy, "patience", net->n_points, net->n_outputs, NULL) != EX_OK) return;
  ex__net_cost(net, &cost);
  for (int int8 = 0; int8 < 2; int8++) {
    struct ex_error err = {0};
    struct ex_text source = {0}, header = {0};
    const struct ex_export_c job = {model, &policy, "net", int8 != 0, read_zeros, model->net, 1};
    if (int8 && cost.macs[net->n_points - 1] > 1000000) return; /* takes too long */
    if (ex__export_c(&job, &source, &header, &err) != EX_OK) FUZZ_REQUIRE(err.text[0] != '\0');
    ex__text_clear(&source);
    ex__text_clear(&header);
  }
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size) {
  struct ex_error err;
  ex_model *model;
  if (ex__model_parse(data, size, "fuzz", &model, &err) != EX_OK) {
    FUZZ_REQUIRE(model == NULL && err.text[0] != '\0');
    return 0;
  }
  FUZZ_REQUIRE(ex__net_check(model->net, &err) == EX_OK);
  char digest[EX_DIGEST_TEXT];
  FUZZ_REQUIRE(ex__net_digest(model->net, digest) == EX_OK);
  json_decref(ex__net_inspect(model->net));
  json_t *json = ex__net_to_json(model->net), *again = NULL;
  ex_net *back;
  FUZZ_REQUIRE(ex__net_structure_from_json(json, &back, &err) == EX_OK);
  again = ex__net_to_json(back);
  FUZZ_REQUIRE(json_equal(json, again));
  json_decref(json);
  json_decref(again);
  ex_net_free(back);
  export(model);
  ex_model_free(model);
  return 0;
}

/* The header of a file as JSON; NULL where it is none. */
static json_t *read_header(const uint8_t *data, size_t size, uint64_t *length) {
  if (size < 10) return NULL;
  memcpy(length, data, sizeof *length);
  if (*length > size - 8) return NULL;
  return json_loadb((const char *)data + 8, (size_t)*length, 0, NULL);
}

/* Mutates one text of the metadata in place; 0 where that is not possible. */
static size_t mutate_metadata(uint8_t *data, size_t size, size_t max_size, unsigned int seed) {
  static const char *const keys[] = {"exeunt", "exeunt", "exeunt", "cost", "format"};
  static char text[1 << 16];
  uint64_t length;
  json_t *header = read_header(data, size, &length);
  json_t *metadata = json_object_get(header, "__metadata__");
  const char *key = keys[seed % (sizeof keys / sizeof *keys)];
  const char *old = json_string_value(json_object_get(metadata, key));
  size_t made = 0;
  if (old != NULL && strlen(old) < sizeof text) {
    size_t n = strlen(old);
    memcpy(text, old, n);
    n = LLVMFuzzerMutate((uint8_t *)text, n, sizeof text - 1);
    json_t *value = json_stringn(text, n);
    char *dump = NULL;
    if (value != NULL && json_object_set_new(metadata, key, value) == 0)
      dump = json_dumps(header, JSON_COMPACT);
    size_t rest = size - 8 - (size_t)length, new_length = dump != NULL ? strlen(dump) : 0;
    if (dump != NULL && 8 + new_length + rest <= max_size) {
      memmove(data + 8 + new_length, data + 8 + length, rest);
      memcpy(data + 8, dump, new_length);
      uint64_t stored = new_length;
      memcpy(data, &stored, sizeof stored);
      made = 8 + new_length + rest;
    }
    free(dump);
  }
  json_decref(header);
  return made;
}

size_t LLVMFuzzerCustomMutator(uint8_t *data, size_t size, size_t max_size, unsigned int seed) {
  size_t made = seed % 2 == 0 ? mutate_metadata(data, size, max_size, seed / 2) : 0;
  return made > 0 ? made : fuzz_mutate(&model_seed, 1, data, size, max_size, seed);
}
