/* SPDX-License-Identifier: Apache-2.0
 *
 * serve/infer_answer: the reply to a request for answers. The JSON is written
 * straight into the text, because building it as a tree takes longer than a
 * small network runs.
 */
#include <jansson.h>
#include <string.h>

#include "base/json.h"
#include "base/memory.h"
#include "serve/infer.h"

static const struct ex_result *result_at(const struct ex_infer_reply *reply, int32_t i) {
  return &reply->results[i];
}

/* −1: no class of the model, which has no name. */
static int32_t label_of(const struct ex_infer_reply *reply, const struct ex_result *result) {
  return result->label < reply->n_classes ? result->label : -1;
}

static void write_value(const struct ex_infer_reply *reply, enum ex_infer_output what, int32_t i,
                        struct ex_text *json) {
  const struct ex_result *result = result_at(reply, i);
  switch (what) {
    case EX_OUTPUT_LABEL: ex__text_add(json, "%d", (int)result->label); break;
    case EX_OUTPUT_NAME:
      ex__text_add(json, "%s",
                   label_of(reply, result) >= 0 ? reply->quoted[result->label] : "\"\"");
      break;
    case EX_OUTPUT_CONFIDENCE: ex__text_add(json, "%.9g", result->confidence); break;
    case EX_OUTPUT_EXIT: ex__text_add(json, "%d", (int)result->exit); break;
    case EX_OUTPUT_MACS: ex__text_add(json, "%lld", (long long)result->macs); break;
    case EX_OUTPUT_LOGITS:
      for (int32_t c = 0; c < reply->n_classes; c++)
        ex__text_add(json, c > 0 ? ",%.9g" : "%.9g",
                     (double)reply->logits[(int64_t)i * reply->n_classes + c]);
      break;
    case EX_INFER_OUTPUTS: break;
  }
}

static void write_binary_value(const struct ex_infer_reply *reply, enum ex_infer_output what,
                               int32_t i, struct ex_text *binary) {
  const struct ex_result *result = result_at(reply, i);
  const float confidence = (float)result->confidence;
  switch (what) {
    case EX_OUTPUT_LABEL: ex__text_add_bytes(binary, &result->label, 4); break;
    case EX_OUTPUT_NAME: {
      const char *label = label_of(reply, result) >= 0 ? reply->label[result->label] : "";
      uint32_t length = (uint32_t)strlen(label);
      ex__text_add_bytes(binary, &length, 4);
      ex__text_add_bytes(binary, label, length);
      break;
    }
    case EX_OUTPUT_CONFIDENCE: ex__text_add_bytes(binary, &confidence, 4); break;
    case EX_OUTPUT_EXIT: ex__text_add_bytes(binary, &result->exit, 4); break;
    case EX_OUTPUT_MACS: ex__text_add_bytes(binary, &result->macs, 8); break;
    case EX_OUTPUT_LOGITS:
      ex__text_add_bytes(binary, reply->logits + (int64_t)i * reply->n_classes,
                         (size_t)reply->n_classes * sizeof(float));
      break;
    case EX_INFER_OUTPUTS: break;
  }
}

static void write_output(const struct ex_infer_reply *reply, enum ex_infer_output what,
                         bool in_binary, struct ex_text *json, struct ex_text *binary) {
  int32_t n = reply->request->n;
  size_t before = binary->size;
  ex__text_add(json, "{\"name\":\"%s\",\"datatype\":\"%s\",\"shape\":[%d",
               ex__infer_output_name[what], ex__infer_output_type[what], (int)n);
  if (what == EX_OUTPUT_LOGITS) ex__text_add(json, ",%d", (int)reply->n_classes);
  if (in_binary) {
    for (int32_t i = 0; i < n; i++) write_binary_value(reply, what, i, binary);
    ex__text_add(json, "],\"parameters\":{\"binary_data_size\":%zu}}", binary->size - before);
    return;
  }
  ex__text_add(json, "],\"data\":[");
  for (int32_t i = 0; i < n; i++) {
    if (i > 0) ex__text_add(json, ",");
    write_value(reply, what, i, json);
  }
  ex__text_add(json, "]}");
}

static void write_parameters(const struct ex_infer_reply *reply, struct ex_text *json) {
  int32_t exit = 0;
  double confidence = 1;
  int64_t macs = 0;
  for (int32_t i = 0; i < reply->request->n; i++) {
    const struct ex_result *result = result_at(reply, i);
    if (result->exit > exit) exit = result->exit;
    if (result->confidence < confidence) confidence = result->confidence;
    macs += result->macs;
  }
  ex__text_add(json, "\"parameters\":{\"exit\":%d,\"confidence\":%.9g,\"macs\":%lld", (int)exit,
               confidence, (long long)macs);
  if (reply->split)
    ex__text_add(json, ",\"upstream\":%d,\"alone\":%d", (int)reply->n_upstream,
                 (int)reply->n_alone);
  ex__text_add(json, "},");
}

void ex__infer_write(const struct ex_infer_reply *reply, struct ex_text *json,
                     struct ex_text *binary) {
  const struct ex_infer_request *request = reply->request;
  ex__text_add(json, "{\"model_name\":\"%s\",\"model_version\":\"1\",", reply->name);
  if (request->id != NULL) ex__text_add(json, "\"id\":%s,", request->id);
  write_parameters(reply, json);
  ex__text_add(json, "\"outputs\":[");
  for (int32_t i = 0; i < request->n_outputs; i++) {
    if (i > 0) ex__text_add(json, ",");
    write_output(reply, request->output[i].what, request->output[i].binary, json, binary);
  }
  ex__text_add(json, "]}");
}

/* Messages quote what clients sent, and may have been cut within a character. */
static char *quote(const char *message) {
  char plain[256], *quoted = NULL;
  json_t *text = json_string(message);
  if (text == NULL) {
    size_t n = 0;
    for (; n < sizeof plain - 1 && message[n] != '\0'; n++)
      plain[n] = message[n] >= ' ' && message[n] < 127 ? message[n] : '?';
    plain[n] = '\0';
    text = json_string(plain);
  }
  if (text != NULL) ex__json_dump(text, false, &quoted);
  json_decref(text);
  return quoted;
}

void ex__infer_write_error(const char *message, struct ex_text *json) {
  char *quoted = quote(message);
  ex__text_add(json, "{\"error\":%s}", quoted != NULL ? quoted : "\"out of memory\"");
  ex__free(quoted);
}
