/* SPDX-License-Identifier: Apache-2.0
 *
 * serve/infer_parse: what a client asks for. Nothing in it is believed: counts
 * are held against the model's shape and against what has come before anything
 * is allocated by them.
 */
#include <math.h>
#include <string.h>

#include "base/memory.h"
#include "serve/infer_internal.h"

const char *const ex__infer_output_name[EX_INFER_OUTPUTS] = {"label", "name", "confidence",
                                                             "exit",  "macs", "logits"};
const char *const ex__infer_output_type[EX_INFER_OUTPUTS] = {"INT32", "BYTES", "FP32",
                                                             "INT32", "INT64", "FP32"};

/* ---- parameters ---------------------------------------------------------------- */

/* A number is a class's number, whatever the labels are; text is a label, or else a number,
 * or several of them. */
static enum ex_status add_classes(const struct ex_infer_job *job, const json_t *given) {
  struct ex_infer_request *out = job->out;
  int32_t found[EX_MAX_LIST], n = 1;
  int64_t number = json_integer_value(given);
  if (json_is_string(given))
    EX_TRY(ex__model_classes(job->model, json_string_value(given), found, &n, job->err));
  else if (!json_is_integer(given))
    return ex__fail(job->err, EX_EINVAL,
                    "parameters.classes must be \"7,Bag\" or an array of such");
  else if (number < 0 || number >= job->model->net->n_outputs)
    return ex__fail(job->err, EX_ENOTFOUND, "class %lld is unknown; must be in [0, %d]",
                    (long long)number, (int)job->model->net->n_outputs - 1);
  else
    found[0] = (int32_t)number;
  if (n > EX_MAX_LIST - out->n_classes)
    return ex__fail(job->err, EX_EINVAL, "classes: more than %d; must be at most that many",
                    EX_MAX_LIST);
  memcpy(out->classes + out->n_classes, found, (size_t)n * sizeof *found);
  out->n_classes += n;
  return EX_OK;
}

static enum ex_status read_classes(const struct ex_infer_job *job, const json_t *given) {
  size_t n = json_array_size(given);
  job->out->has_classes = true;
  if (n == 0) return add_classes(job, given);
  for (size_t i = 0; i < n; i++) EX_TRY(add_classes(job, json_array_get(given, i)));
  return EX_OK;
}

static enum ex_status read_integer(const json_t *object, const char *key, int64_t max, int64_t *out,
                                   struct ex_error *err) {
  if (json_object_get(object, key) == NULL) return EX_OK;
  return ex__json_int(object, key, "parameters", 0, max, out, err);
}

static enum ex_status read_parameters(struct ex_infer_job *job, const json_t *request) {
  const json_t *given = json_object_get(request, "parameters");
  struct ex_infer_request *out = job->out;
  if (given == NULL) return EX_OK;
  if (!json_is_object(given)) return ex__fail(job->err, EX_EFORMAT, "parameters must be an object");
  int64_t max_exit = -1, later = 0;
  EX_TRY(read_integer(given, "deadline_us", INT64_MAX / 1000000, &out->deadline_us, job->err));
  EX_TRY(read_integer(given, "max_exit", job->model->net->n_points - 1, &max_exit, job->err));
  EX_TRY(read_integer(given, "exits_later", EX_MAX_POINTS, &later, job->err));
  out->max_exit = (int32_t)max_exit;
  out->later = (int32_t)later;
  const char *mark = json_string_value(json_object_get(given, "mark"));
  if (mark != NULL) snprintf(out->mark, sizeof out->mark, "%s", mark); /* too long: not ours */
  if (json_object_get(given, "max_risk") != NULL)
    EX_TRY(ex__json_real(given, "max_risk", "parameters", 0, 2, &out->max_risk, job->err));
  const json_t *classes = json_object_get(given, "classes");
  if (classes != NULL) EX_TRY(read_classes(job, classes));
  const json_t *binary = json_object_get(given, "binary_data_output");
  if (binary != NULL && !json_is_boolean(binary))
    return ex__fail(job->err, EX_EINVAL, "parameters.binary_data_output must be true or false");
  job->all_binary = json_is_true(binary);
  return EX_OK;
}

/* ---- outputs ------------------------------------------------------------------- */

static enum ex_status read_output(const struct ex_infer_job *job, const json_t *output) {
  struct ex_infer_request *out = job->out;
  const char *name;
  if (!json_is_object(output)) return ex__fail(job->err, EX_EFORMAT, "outputs must hold objects");
  EX_TRY(ex__json_string(output, "name", "outputs", &name, job->err));
  int what = 0;
  while (what < EX_INFER_OUTPUTS && strcmp(name, ex__infer_output_name[what]) != 0) what++;
  if (what == EX_INFER_OUTPUTS)
    return ex__fail(job->err, EX_EINVAL,
                    "outputs: \"%.40s\" is unknown; must be label, name, confidence, exit, macs or "
                    "logits",
                    name);
  for (int32_t i = 0; i < out->n_outputs; i++)
    if ((int)out->output[i].what == what)
      return ex__fail(job->err, EX_EINVAL, "outputs: \"%s\" is asked for twice", name);
  const json_t *binary = json_object_get(json_object_get(output, "parameters"), "binary_data");
  out->output[out->n_outputs].what = (enum ex_infer_output)what;
  out->output[out->n_outputs].binary = binary != NULL ? json_is_true(binary) : job->all_binary;
  out->n_outputs++;
  return EX_OK;
}

static enum ex_status read_outputs(const struct ex_infer_job *job, const json_t *request) {
  struct ex_infer_request *out = job->out;
  if (json_object_get(request, "outputs") == NULL) {
    for (int what = 0; what < EX_INFER_OUTPUTS; what++) {
      out->output[what].what = (enum ex_infer_output)what;
      out->output[what].binary = job->all_binary;
    }
    out->n_outputs = EX_INFER_OUTPUTS;
    return EX_OK;
  }
  const json_t *outputs;
  EX_TRY(ex__json_array(request, "outputs", "request", EX_INFER_OUTPUTS, &outputs, job->err));
  for (size_t i = 0; i < json_array_size(outputs); i++)
    EX_TRY(read_output(job, json_array_get(outputs, i)));
  return EX_OK;
}

/* ---- the whole ------------------------------------------------------------------- */

static enum ex_status read_id(const struct ex_infer_job *job, const json_t *request) {
  const json_t *id = json_object_get(request, "id");
  if (id == NULL) return EX_OK;
  if (!json_is_string(id) || json_string_length(id) > 1000)
    return ex__fail(job->err, EX_EINVAL, "id must be a string of at most 1000 bytes");
  return ex__json_dump(id, false, &job->out->id);
}

static enum ex_status read_request(struct ex_infer_job *job, const json_t *request) {
  if (!json_is_object(request))
    return ex__fail(job->err, EX_EFORMAT, "request must be a JSON object");
  EX_TRY(read_id(job, request));
  EX_TRY(read_parameters(job, request));
  EX_TRY(read_outputs(job, request));
  return ex__infer_read_inputs(job, request);
}

enum ex_status ex__infer_parse(const ex_model *model, int32_t max_n, const void *body, size_t size,
                               int64_t header_length, struct ex_infer_request *out,
                               struct ex_error *err) {
  *out = (struct ex_infer_request){.max_exit = -1, .deadline_us = INT64_MAX, .max_risk = NAN};
  if (header_length > (int64_t)size)
    return ex__fail(err, EX_EINVAL,
                    "Inference-Header-Content-Length = %lld; the body has %zu bytes",
                    (long long)header_length, size);
  size_t json_size = header_length >= 0 ? (size_t)header_length : size;
  struct ex_infer_job job = {.model = model,
                             .max_n = max_n,
                             .binary = (const uint8_t *)body + json_size,
                             .binary_size = size - json_size,
                             .json_size = json_size,
                             .out = out,
                             .err = err};
  json_t *request;
  EX_TRY(ex__json_parse(body, json_size, "request", &request, err));
  enum ex_status status = read_request(&job, request);
  json_decref(request);
  return status;
}

void ex__infer_clear(struct ex_infer_request *request) {
  ex__free(request->id);
  ex__free(request->x);
  request->id = NULL;
  request->x = NULL;
}
