/* SPDX-License-Identifier: Apache-2.0
 *
 * Requests for answers, with binary tensors and without: what is accepted has as
 * many finite numbers as the model takes, and a reply to it can be written. The
 * first two bytes are where the JSON ends.
 */
#include <math.h>

#include "base/json.h"
#include "base/memory.h"
#include "net/model.h"
#include "serve/infer.h"
#include "tests/fuzzing.h"
#include "zoo/zoo.h"

enum { MOST = 4, FEATURES = 64, CLASSES = 2 };
static ex_model *model;

int LLVMFuzzerInitialize(int *argc, char ***argv) {
  (void)argc;
  (void)argv;
  static const char text[] =
      "{\"architecture\": \"branchynet_lenet\", \"channels\": [1, 1, 1], \"hidden\": 2, "
      "\"branch-channels\": 1, \"kernel\": 3, \"pad\": 1}";
  const struct ex_shape input = {3, {1, 8, 8}};
  const struct ex_preprocess preprocess = {true, 1, {0.5}, {0.25}};
  json_t *json;
  ex_net *net;
  FUZZ_REQUIRE(ex__json_parse(text, sizeof text - 1, "seed", &json, NULL) == EX_OK);
  FUZZ_REQUIRE(ex__zoo_build(json, &input, CLASSES, 1, &net, NULL) == EX_OK);
  FUZZ_REQUIRE(ex__model_new(net, &preprocess, NULL, &model, NULL) == EX_OK);
  json_decref(json);
  return 0;
}

static void write_reply(const struct ex_infer_request *request) {
  char quoted[] = "\"a\"", *labels[CLASSES] = {quoted, quoted};
  struct ex_result results[MOST] = {{.label = 0}};
  const float logits[MOST * CLASSES] = {0};
  const char *const plain[CLASSES] = {"a", "b"};
  struct ex_text json = {0}, binary = {0};
  const struct ex_infer_reply reply = {.name = "m",
                                       .quoted = labels,
                                       .label = plain,
                                       .n_classes = CLASSES,
                                       .request = request,
                                       .results = results,
                                       .logits = logits};
  ex__infer_write(&reply, &json, &binary);
  json_t *parsed;
  FUZZ_REQUIRE(ex__json_parse(json.data, json.size, "reply", &parsed, NULL) == EX_OK);
  json_decref(parsed);
  ex__text_clear(&json);
  ex__text_clear(&binary);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size) {
  struct ex_infer_request request;
  struct ex_error err = {0};
  if (size < 2) return 0;
  int64_t header = data[0] | data[1] << 8;
  if (header == 0xffff) header = -1;
  enum ex_status status = ex__infer_parse(model, MOST, data + 2, size - 2, header, &request, &err);
  if (status == EX_OK) {
    FUZZ_REQUIRE(request.n >= 1 && request.n <= MOST && request.n_outputs <= EX_INFER_OUTPUTS);
    FUZZ_REQUIRE((request.x != NULL) != (request.cut != NULL));
    if (request.cut != NULL)
      FUZZ_REQUIRE(request.n == 1 && request.cut >= data && request.cut_size <= size &&
                   request.cut + request.cut_size == data + size);
    for (int32_t i = 0; request.x != NULL && i < request.n * FEATURES; i++)
      FUZZ_REQUIRE(isfinite(request.x[i]));
    write_reply(&request);
  } else {
    struct ex_text json = {0};
    FUZZ_REQUIRE(err.text[0] != '\0');
    ex__infer_write_error(err.text, &json);
    ex__text_clear(&json);
  }
  ex__infer_clear(&request);
  return 0;
}
