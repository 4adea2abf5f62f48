/* SPDX-License-Identifier: Apache-2.0
 *
 * serve/infer_client: the other side of the protocol, for one sample: what a server
 * asks of the one that goes on behind its cut, and what it takes from the reply,
 * which is believed no more than a client is.
 */
#include <math.h>
#include <string.h>

#include "base/json.h"
#include "serve/infer.h"

static void write_tensor(const struct ex_infer_tensor *tensor, struct ex_text *json) {
  ex__text_add(json, "{\"name\":\"%s\",\"datatype\":\"%s\",\"shape\":[", tensor->name,
               tensor->datatype);
  if (tensor->shape == NULL) ex__text_add(json, "%zu", tensor->size);
  for (int32_t i = 0; tensor->shape != NULL && i < tensor->shape->rank; i++)
    ex__text_add(json, i > 0 ? ",%d" : "%d", (int)tensor->shape->dim[i]);
  ex__text_add(json, "],\"parameters\":{\"binary_data_size\":%zu}}", tensor->size);
}

void ex__infer_write_call(const struct ex_infer_request *asked, int32_t later, int64_t left_us,
                          const char *mark, const struct ex_infer_tensor *tensor,
                          struct ex_text *json) {
  ex__text_add(json, "{\"parameters\":{\"deadline_us\":%lld,\"mark\":\"%s\"", (long long)left_us,
               mark);
  if (later > 0) ex__text_add(json, ",\"exits_later\":%d", (int)later);
  if (asked->max_exit >= 0) ex__text_add(json, ",\"max_exit\":%d", (int)asked->max_exit);
  if (!isnan(asked->max_risk)) ex__text_add(json, ",\"max_risk\":%.17g", asked->max_risk);
  if (asked->has_classes) {
    ex__text_add(json, ",\"classes\":[");
    for (int32_t i = 0; i < asked->n_classes; i++)
      ex__text_add(json, i > 0 ? ",%d" : "%d", (int)asked->classes[i]);
    ex__text_add(json, "]");
  }
  ex__text_add(json, "},\"outputs\":[{\"name\":\"label\"},{\"name\":\"confidence\"},"
                     "{\"name\":\"exit\"},{\"name\":\"macs\"}");
  if (ex__infer_wants(asked, EX_OUTPUT_LOGITS)) ex__text_add(json, ",{\"name\":\"logits\"}");
  ex__text_add(json, "],\"inputs\":[");
  write_tensor(tensor, json);
  ex__text_add(json, "]}");
}

/* The numbers of the output `what`, of which there must be n. */
static enum ex_status find_output(const json_t *reply, enum ex_infer_output what, size_t n,
                                  const json_t **data, struct ex_error *err) {
  const json_t *outputs;
  const char *name = ex__infer_output_name[what];
  EX_TRY(ex__json_array(reply, "outputs", "reply", EX_INFER_OUTPUTS, &outputs, err));
  for (size_t i = 0; i < json_array_size(outputs); i++) {
    const json_t *output = json_array_get(outputs, i), *given = json_object_get(output, "name");
    if (!json_is_string(given) || strcmp(json_string_value(given), name) != 0) continue;
    EX_TRY(ex__json_array(output, "data", name, n, data, err));
    if (json_array_size(*data) == n) return EX_OK;
  }
  return ex__fail(err, EX_EFORMAT, "reply: output \"%s\" must be there, with %zu numbers", name, n);
}

static enum ex_status read_integer(const json_t *reply, enum ex_infer_output what, int64_t most,
                                   int64_t *out, struct ex_error *err) {
  const json_t *data;
  EX_TRY(find_output(reply, what, 1, &data, err));
  const json_t *value = json_array_get(data, 0);
  *out = json_integer_value(value);
  if (json_is_integer(value) && *out >= 0 && *out <= most) return EX_OK;
  return ex__fail(err, EX_EFORMAT, "reply: %s must be an integer in [0, %lld]",
                  ex__infer_output_name[what], (long long)most);
}

static enum ex_status read_real(const json_t *reply, enum ex_infer_output what, size_t n, size_t i,
                                double *out, struct ex_error *err) {
  const json_t *data;
  EX_TRY(find_output(reply, what, n, &data, err));
  const json_t *value = json_array_get(data, i);
  *out = json_number_value(value);
  if (json_is_number(value) && isfinite((float)*out)) return EX_OK;
  return ex__fail(err, EX_EFORMAT, "reply: %s must be a finite number",
                  ex__infer_output_name[what]);
}

static enum ex_status read_reply(const json_t *reply, const struct ex_model_info *info, bool logits,
                                 struct ex_result *result, struct ex_error *err) {
  int64_t label, exit, macs;
  double value;
  EX_TRY(read_integer(reply, EX_OUTPUT_LABEL, info->n_outputs - 1, &label, err));
  EX_TRY(read_integer(reply, EX_OUTPUT_EXIT, info->n_exits - 1, &exit, err));
  /* Heads on the way, and stages that are run anew, may come to more than full depth. */
  EX_TRY(read_integer(reply, EX_OUTPUT_MACS, 2 * info->full_macs, &macs, err));
  EX_TRY(read_real(reply, EX_OUTPUT_CONFIDENCE, 1, 0, &value, err));
  if (value < 0 || value > 1)
    return ex__fail(err, EX_EFORMAT, "reply: confidence = %g; must be in [0, 1]", value);
  result->label = (int32_t)label;
  result->exit = (int32_t)exit;
  result->macs = macs;
  result->confidence = value;
  size_t n = (size_t)info->n_outputs;
  for (size_t i = 0; logits && i < n; i++) {
    EX_TRY(read_real(reply, EX_OUTPUT_LOGITS, n, i, &value, err));
    result->logits[i] = (float)value;
  }
  return EX_OK;
}

enum ex_status ex__infer_read_reply(const void *json, size_t size, const struct ex_model_info *info,
                                    bool logits, struct ex_result *result, struct ex_error *err) {
  json_t *reply;
  EX_TRY(ex__json_parse(json, size, "reply", &reply, err));
  enum ex_status status = read_reply(reply, info, logits, result, err);
  json_decref(reply);
  return status;
}
